/* Durable replacement by a temporary file, rename and a sync of the folder; and small helpers around folders.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "files.h"
#include "sys.h"
#include "banned.h"

int file_write(int fd, struct cairn_slice body)
{
	const char *p = body.data;

	for (size_t left = body.len; left;) {
		ssize_t n = sys->write(fd, p, left);

		if (n < 0)
			return (int)n;
		p += n;
		left -= (size_t)n;
	}
	return 0;
}

int file_replace_by(int dirfd, const char *name, int (*fill)(void *arg, int fd), void *arg)
{
	char temporary[NAME_MAX + 1];
	int fd, r;

	if (snprintf(temporary, sizeof(temporary), "%s.new", name) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	fd = sys->openat(dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		return fd;
	r = fill(arg, fd);
	if (r == 0)
		r = sys->fsync(fd);
	close(fd);
	if (r == 0)
		r = sys->renameat(dirfd, temporary, dirfd, name);
	if (r < 0) {
		sys->unlinkat(dirfd, temporary, 0);
		return r;
	}
	return sys->fsync(dirfd);
}

static int fill_with(void *arg, int fd)
{
	return file_write(fd, *(struct cairn_slice *)arg);
}

int file_replace(int dirfd, const char *name, struct cairn_slice body)
{
	return file_replace_by(dirfd, name, fill_with, &body);
}

int file_read(int dirfd, const char *name, size_t max, char **data, size_t *len)
{
	int fd = sys->openat(dirfd, name, O_RDONLY, 0);
	size_t used = 0, cap = 4096;
	char *p;
	ssize_t n;

	if (fd < 0)
		return fd;
	p = malloc(cap + 1);
	for (n = 1; p && n > 0;) {
		if (used == cap) {
			char *q = cap < max ? realloc(p, cap * 2 + 1) : NULL;

			if (!q) {
				n = cap < max ? -ENOMEM : -EFBIG;
				break;
			}
			p = q;
			cap *= 2;
		}
		n = sys->pread(fd, p + used, cap - used, (off_t)used);
		if (n > 0)
			used += (size_t)n;
	}
	close(fd);
	if (!p)
		return -ENOMEM;
	if (n < 0 || used > max) {
		free(p);
		return n < 0 ? (int)n : -EFBIG;
	}
	p[used] = 0;
	*data = p;
	*len = used;
	return 0;
}

int folder_make(const char *path)
{
	char part[PATH_MAX];
	size_t n = strlen(path);

	if (n == 0 || n >= sizeof(part))
		return n ? -ENAMETOOLONG : -EINVAL;
	for (size_t i = 1; i <= n; i++) {
		if (path[i] != '/' && path[i] != 0)
			continue;
		memcpy(part, path, i);
		part[i] = 0;
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

int folder_remove(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct dirent *d;
	DIR *dir;
	int r = 0;

	if (fd < 0) {
		if (errno == ENOENT)
			return 0;
		if (errno == ENOTDIR || errno == ELOOP)
			return sys->unlinkat(dirfd, name, 0);
		return -errno;
	}
	dir = fdopendir(fd);
	if (!dir) {
		r = -errno;
		close(fd);
		return r;
	}
	while (r == 0 && (d = readdir(dir)))
		if (strcmp(d->d_name, ".") && strcmp(d->d_name, ".."))
			r = folder_remove(fd, d->d_name);
	closedir(dir);
	return r ? r : sys->unlinkat(dirfd, name, AT_REMOVEDIR);
}
