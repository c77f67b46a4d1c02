/*
 * The folders of volumes. One is made and removed under another name, which no volume has, so that a crash
 * leaves none behind; the file "pending" in one says "believe the system volume". At the start what lies
 * around is settled by that: a folder without the file is never removed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "files.h"
#include "volumes.h"
#include "banned.h"

#define PENDING "pending"
#define GONE ".gone-" /* in front of the name of a folder that is made or removed: no volume's */

int volume_folder_open(struct volumes *t, const char *name)
{
	int fd = openat(t->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Put the file "pending" into the folder NAME, or take it away. 0 or -errno. */
int volume_folder_pending(struct volumes *t, const char *name, bool pending)
{
	int fd = volume_folder_open(t, name), r;

	if (fd < 0)
		return fd;
	if (pending)
		r = file_replace(fd, PENDING,
				 cairn_str("the system volume says whether this volume is there\n"));
	else
		r = unlinkat(fd, PENDING, 0) < 0 && errno != ENOENT ? -errno : 0;
	close(fd);
	return r;
}

/* Remove the folder NAME and what is in it; what a crash leaves of it goes with the next start. 0 or -errno.
 */
int volume_folder_drop(struct volumes *t, const char *name)
{
	char gone[VOLUME_NAME_MAX + 24 + sizeof(GONE)];

	snprintf(gone, sizeof(gone), GONE "%s", name);
	if (renameat(t->fd, name, t->fd, gone) < 0)
		return errno == ENOENT ? 0 : -errno;
	return folder_remove(t->fd, gone);
}

enum cairn_code volume_folder_make(struct volume_change *c, const char *folder, struct cairn_error *error)
{
	struct volumes *t = c->node->volumes;
	char made[sizeof(c->volume->folder) + sizeof(GONE)];
	int r;

	snprintf(made, sizeof(made), GONE "%s", folder);
	r = mkdirat(t->fd, made, 0700) < 0 ? -errno : 0;
	if (r == 0)
		r = volume_folder_pending(t, made, true);
	if (r == 0 && renameat(t->fd, made, t->fd, folder) < 0)
		r = -errno;
	if (r == 0 && fsync(t->fd) < 0)
		r = -errno;
	if (r == 0)
		return CAIRN_OK;
	return cairn_fail(error, cairn_error_from_errno(-r), "volume %s: its folder %s/%s cannot be made: %s",
			  c->volume->name, t->path, folder, strerror(-r));
}

/* What lies in the folder of volumes and in no row. */
static void settle_folder(struct node *n, const char *name)
{
	struct volumes *t = n->volumes;
	bool known = false, pending;
	int fd = volume_folder_open(t, name);

	if (fd < 0)
		return;
	pending = faccessat(fd, PENDING, F_OK, 0) == 0;
	close(fd);
	for (struct volume *v = t->first; v; v = v->next)
		known = known || !strcmp(v->folder, name);
	if (known) {
		volume_folder_pending(t, name, false);
	} else if (pending) {
		log_info(n->log, LOG_VOLUME, "a volume that was being made or dropped is removed",
			 LOG_TEXT("folder", name));
		volume_folder_drop(t, name);
	} else {
		log_warn(n->log, LOG_VOLUME, "a folder belongs to no volume; it is left alone",
			 LOG_TEXT("path", t->path), LOG_TEXT("folder", name));
	}
}

void volumes_settle_folders(struct node *n)
{
	DIR *dir = opendir(n->volumes->path);
	struct dirent *d;

	while (dir && (d = readdir(dir)))
		if (!strncmp(d->d_name, GONE, strlen(GONE)))
			folder_remove(n->volumes->fd, d->d_name);
		else if (!n->cluster && d->d_name[0] != '.' && strcmp(d->d_name, VOLUME_SYSTEM))
			settle_folder(n, d->d_name);
	if (dir)
		closedir(dir);
}
