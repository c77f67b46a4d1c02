/* Whole small files, read and replaced safely. */
#ifndef FILES_H
#define FILES_H

#include <cairn/slice.h>

/*
 * Replace the file NAME in the folder DIRFD by BODY, with mode 0600. After a crash a reader finds the whole
 * old file or the whole new one, never a mixture. Returns 0 once BODY is durable, else -errno.
 */
int file_replace(int dirfd, const char *name, struct cairn_slice body);

/* The same for a body that FILL writes into the descriptor that it is given: 0 or -errno, which is returned.
 */
int file_replace_by(int dirfd, const char *name, int (*fill)(void *arg, int fd), void *arg);
/* Write all of BODY to FD. 0 or -errno. */
int file_write(int fd, struct cairn_slice body);

/*
 * Read the whole file NAME in DIRFD, at most MAX bytes (-EFBIG beyond). *DATA is the caller's to free, has a
 * NUL behind its *LEN bytes. 0 or -errno.
 */
int file_read(int dirfd, const char *name, size_t max, char **data, size_t *len);

/* Make the folder PATH and the folders above it, each new one with mode 0700. 0 or -errno. */
int folder_make(const char *path);

/* Remove NAME in DIRFD and, where it is a folder, everything in it; does not follow links. 0 or -errno; 0
 * where it is not there. */
int folder_remove(int dirfd, const char *name);

#endif
