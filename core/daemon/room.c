/*
 * Room on the disks of a node: those of its volumes and of its journal are looked at once a tick. Where one
 * has less than node.min-free, volumes take nothing but what makes room, and give up the oldest of their
 * history; what is kept free is for that, and for the journal's own work. Engines that have a parameter
 * min-free do it themselves, with each write: only they know what is free within their files. A disk that
 * cannot be asked counts as one that has room.
 */
#include <sys/statvfs.h>
#include "room.h"
#include "volumes.h"
#include "banned.h"

static uint64_t room_of(const char *path)
{
	struct statvfs fs;

	return statvfs(path, &fs) < 0 || !fs.f_blocks ? UINT64_MAX : (uint64_t)fs.f_bavail * fs.f_frsize;
}

void room_look(struct node *n)
{
	char path[4096];
	uint64_t data = room_of(n->data_dir), journal;

	node_journal_path(n, path, sizeof(path));
	journal = room_of(path);
	n->room = journal < data ? journal : data;
}

bool room_is_low(const struct node *n, struct cairn_error *error)
{
	uint64_t room = n->room;

	if (!n->min_free || room >= n->min_free)
		return false;
	cairn_fail(error, CAIRN_E_FULL, "the disk has %llu bytes left, and node.min-free keeps %llu of them",
		   (unsigned long long)room, (unsigned long long)n->min_free);
	cairn_hint(error, "make room on the disk; deletes are taken, and writing goes on by itself");
	return true;
}
