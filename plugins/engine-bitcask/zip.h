/* Values compressed with zstd, where the build has it. */
#ifndef ZIP_H
#define ZIP_H

#include <stdbool.h>
#include <cairn/slice.h>

struct zip;

/* Whether this build can. */
bool zip_there(void);
/* NULL where there is no memory. */
struct zip *zip_new(void);
void zip_free(struct zip *z);
/* Compress VALUE into the ROOM bytes at TO, which is behind none of it. How many; 0 where it does not fit.
 * The writer's. */
size_t zip_pack(struct zip *z, struct cairn_slice value, void *to, size_t room);
/* Bytes that VALUE will have when it is expanded; -1: it is not zstd, or too long. */
long long zip_size(struct cairn_slice value);
/* Expand VALUE into the SIZE bytes at TO. Whether it came out with just that size. From any thread. */
bool zip_unpack(struct zip *z, struct cairn_slice value, void *to, size_t size);

#endif
