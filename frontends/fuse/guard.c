/*
 * The guard below a mount point. While nothing is mounted, an empty folder there looks as if all data were
 * lost, and what is written to it vanishes at the next mount. So the folder itself is made read-only, as far
 * as the file system below can even for root, and holds one file that says what to run. Doing it again
 * changes nothing. A folder that holds anything else is refused: it is somebody's data.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "guard.h"
#include "banned.h"

#define NAME "NOT-MOUNTED"

/* 1 where NAME is all that is in FOLDER, 0 where that is empty, -EEXIST where it holds something else. */
static int look(int folder)
{
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), found = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d)
		return -errno;
	while (found >= 0 && (e = readdir(d)))
		if (!strcmp(e->d_name, NAME))
			found = 1;
		else if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			found = -EEXIST;
	closedir(d);
	return found;
}

static int write_note(int folder, const struct options *o)
{
	int fd = openat(folder, NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444), n;

	if (fd < 0)
		return -errno;
	n = dprintf(
		fd,
		"This is the folder below a mount of cairn, which is not there now. No data is lost.\n"
		"To mount it:\n\n    mount %s\n\nor, where /etc/fstab does not name it:\n\n    cairnfs %s %s "
		"-o volume=%s,guard\n",
		o->mountpoint, o->servers, o->mountpoint, o->volume);
	if (close(fd) < 0 || n < 0)
		return -EIO;
	return 0;
}

enum cairn_code guard_make(const struct options *o, struct cairn_error *e)
{
	int folder = open(o->mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC), there, flags, r = 0;

	there = folder < 0 ? -errno : look(folder);
	if (there == 0) {
		r = write_note(folder, o);
		if (!r && fchmod(folder, 0555) < 0)
			r = -errno;
		if (!r && ioctl(folder, FS_IOC_GETFLAGS, &flags) == 0) {
			flags |= FS_IMMUTABLE_FL;
			ioctl(folder, FS_IOC_SETFLAGS, &flags); /* not every file system, and only root */
		}
	}
	if (folder >= 0)
		close(folder);
	if (there == -EEXIST) {
		cairn_fail(e, CAIRN_E_INVALID, "guard: %s holds files that the mount would hide",
			   o->mountpoint);
		cairn_hint(e, "move them away, or mount without guard");
		return CAIRN_E_INVALID;
	}
	if (there < 0 || r < 0)
		return cairn_fail(e, CAIRN_E_DENIED, "guard: %s: %s", o->mountpoint,
				  strerrordesc_np(there < 0 ? -there : -r));
	return CAIRN_OK;
}
