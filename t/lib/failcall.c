/*
 * For tests: preloaded into a program, calls fail as the file $CAIRN_FAIL says, which is read anew each time:
 * lines of CALL, a part of the file's path, and the number of the error. CALL is fdatasync, fsync, pwritev,
 * write, openat or renameat.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Whether CALL on the file FD, or on NAME in the folder FD, is to fail; errno says how. */
static int fails(const char *call, int fd, const char *name)
{
	const char *rules = getenv("CAIRN_FAIL");
	char link[64], path[8192] = "", which[16], part[256];
	FILE *f = rules ? fopen(rules, "re") : NULL;
	ssize_t n;
	int e, found = 0;

	if (!f)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, 4096);
	n = n < 0 ? 0 : n;
	snprintf(path + n, sizeof(path) - (size_t)n, "/%s", name);
	while (!found && fscanf(f, "%15s %255s %d", which, part, &e) == 3)
		found = !strcmp(which, call) && strstr(path, part) ? e : 0;
	fclose(f);
	errno = found ? found : errno;
	return found;
}

int fdatasync(int fd)
{
	return fails("fdatasync", fd, "") ? -1 : REAL(fdatasync)(fd);
}

int fsync(int fd)
{
	return fails("fsync", fd, "") ? -1 : REAL(fsync)(fd);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
	return fails("pwritev", fd, "") ? -1 : REAL(pwritev)(fd, iov, count, at);
}

ssize_t write(int fd, const void *data, size_t len)
{
	return fails("write", fd, "") ? -1 : REAL(write)(fd, data, len);
}

int openat(int fd, const char *name, int flags, ...)
{
	mode_t mode = 0;
	va_list args;

	va_start(args, flags);
	if (flags & (O_CREAT | O_TMPFILE))
		mode = va_arg(args, mode_t);
	va_end(args);
	return fails("openat", fd, name) ? -1 : REAL(openat)(fd, name, flags, mode);
}

int renameat(int from, const char *a, int to, const char *b)
{
	return fails("renameat", to, b) ? -1 : REAL(renameat)(from, a, to, b);
}
