/* Listening sockets. */
#ifndef LISTEN_H
#define LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <cairn/errors.h>

/*
 * A socket in the file system at PATH, with MODE, of the group GID ((gid_t)-1: that of the process),
 * listening and not blocking. The socket that a dead process left is replaced; one on which somebody answers
 * is left alone (EXISTS). WHAT stands before the path in errors. *FD is the caller's; he removes the file.
 */
enum cairn_code listen_unix(const char *what, const char *path, mode_t mode, gid_t gid, int *fd,
			    struct cairn_error *error);

#define LISTEN_MAX 8 /* addresses that a name can have here */

/*
 * Listen at HOST:PORT, [HOST]:PORT, or *:PORT (at all addresses); port 0 is any that is free. FDS and *COUNT
 * get what was opened, the caller's also after an error. LOOPBACK_ONLY: DENIED where an address can be
 * reached from elsewhere.
 */
enum cairn_code listen_tcp(const char *what, const char *address, bool loopback_only, int fds[LISTEN_MAX],
			   size_t *count, struct cairn_error *error);

/* The address of FD's own end, or with PEER of the other one, as HOST:PORT. */
void listen_address(int fd, bool peer, char *text, size_t size);

#endif
