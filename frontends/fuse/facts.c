/*
 * What is known about a key. A record's attributes are fields of its ATTRIBUTES object; a record without them
 * (put by another face) takes mode and owner from the mount's options and its times from the commit. User
 * attributes are kept encoded: they are only searched and replaced.
 */
#include <errno.h>
#include <stdlib.h>
#include "facts.h"
#include "banned.h"

void facts_free(struct facts *f)
{
	cairn_msg_free(&f->xattrs);
	*f = (struct facts){ 0 };
}

void facts_move(struct facts *to, struct facts *from)
{
	if (to == from)
		return;
	facts_free(to);
	*to = *from;
	*from = (struct facts){ 0 };
}

static bool take_attributes(struct facts *f, struct cairn_slice fields)
{
	struct cairn_slice body;
	unsigned field;

	for (;;) {
		if (cairn_field_next(&fields, &field, &body) < 0)
			return false;
		switch (field) {
		case CAIRN_F_END:
			return cairn_msg_error(&f->xattrs) == 0;
		case CAIRN_F_MODE:
			f->mode = cairn_body_u64(body) & 07777;
			f->has |= FACTS_MODE;
			break;
		case CAIRN_F_UID:
			f->uid = (uint32_t)cairn_body_u64(body);
			f->has |= FACTS_UID;
			break;
		case CAIRN_F_GID:
			f->gid = (uint32_t)cairn_body_u64(body);
			f->has |= FACTS_GID;
			break;
		case CAIRN_F_MTIME:
			f->mtime_ns = cairn_body_u64(body);
			f->has |= FACTS_MTIME;
			break;
		case CAIRN_F_CTIME:
			f->ctime_ns = cairn_body_u64(body);
			f->has |= FACTS_CTIME;
			break;
		case CAIRN_F_ATIME:
			f->atime_ns = cairn_body_u64(body);
			f->has |= FACTS_ATIME;
			break;
		case CAIRN_F_RDEV:
			f->rdev = cairn_body_u64(body);
			break;
		case CAIRN_F_XATTR:
			cairn_msg_bytes(&f->xattrs, CAIRN_F_XATTR, body);
			break;
		}
	}
}

bool facts_take(struct facts *f, struct cairn_slice fields)
{
	struct cairn_slice body;

	facts_free(f);
	f->there = true;
	f->revision = cairn_field_u64(fields, CAIRN_F_REVISION, 0);
	f->create_revision = cairn_field_u64(fields, CAIRN_F_CREATE_REVISION, f->revision);
	f->version = cairn_field_u64(fields, CAIRN_F_VERSION, 0);
	f->time_ns = cairn_field_u64(fields, CAIRN_F_TIME, 0);
	f->size = cairn_field_u64(fields, CAIRN_F_SIZE, 0);
	f->file_id = cairn_field_u64(fields, CAIRN_F_FILE_ID, 0);
	f->changed_ns = cairn_field_u64(fields, CAIRN_F_CHANGED, 0);
	f->subfolders = cairn_field_u64(fields, CAIRN_F_SUBFOLDERS, 0);
	if (cairn_field_find(fields, CAIRN_F_KIND, &body) && body.len == 1)
		f->kind = *(const unsigned char *)body.data;
	if (cairn_field_find(fields, CAIRN_F_ATTRIBUTES, &body))
		return take_attributes(f, body);
	return true;
}

void facts_attributes(const struct facts *f, unsigned which, struct cairn_msg *m)
{
	size_t mark = cairn_msg_open(m, CAIRN_F_ATTRIBUTES);

	if (which & FACTS_MODE)
		cairn_msg_u64(m, CAIRN_F_MODE, f->mode);
	if (which & FACTS_UID)
		cairn_msg_u64(m, CAIRN_F_UID, f->uid);
	if (which & FACTS_GID)
		cairn_msg_u64(m, CAIRN_F_GID, f->gid);
	if (which & FACTS_MTIME)
		cairn_msg_u64(m, CAIRN_F_MTIME, f->mtime_ns);
	if (which & FACTS_CTIME)
		cairn_msg_u64(m, CAIRN_F_CTIME, f->ctime_ns);
	if (which & FACTS_ATIME)
		cairn_msg_u64(m, CAIRN_F_ATIME, f->atime_ns);
	if (f->rdev)
		cairn_msg_u64(m, CAIRN_F_RDEV, f->rdev);
	cairn_msg_close(m, mark);
}

void facts_own(struct facts *f, const struct options *o)
{
	if (!(f->has & FACTS_MODE))
		f->mode = (unsigned)(f->kind == CAIRN_KIND_DIRECTORY         ? o->dmode
					     : f->kind == CAIRN_KIND_SYMLINK ? 0777
									     : o->fmode);
	if (!(f->has & FACTS_UID))
		f->uid = (uint32_t)o->uid;
	if (!(f->has & FACTS_GID))
		f->gid = (uint32_t)o->gid;
	if (!(f->has & FACTS_MTIME))
		f->mtime_ns = f->time_ns;
	if (!(f->has & FACTS_CTIME))
		f->ctime_ns = f->time_ns;
	f->has |= FACTS_ALL;
}

static struct timespec time_of(uint64_t ns)
{
	return (struct timespec){ (time_t)(ns / 1000000000), (long)(ns % 1000000000) };
}

void facts_stat(const struct facts *f, const struct options *o, struct stat *st)
{
	struct facts g = *f;

	facts_own(&g, o);
	if (g.changed_ns > g.ctime_ns) { /* names came or went after somebody last set its times */
		g.mtime_ns = g.ctime_ns = g.changed_ns;
		g.has &= ~(unsigned)FACTS_ATIME;
	}
	*st = (struct stat){ 0 };
	st->st_mode = facts_type(g.kind) | (mode_t)g.mode;
	st->st_uid = g.uid;
	st->st_rdev = (dev_t)g.rdev;
	st->st_gid = g.gid;
	st->st_size = (off_t)(g.kind == CAIRN_KIND_DIRECTORY ? 0 : g.size);
	st->st_blocks = (st->st_size + 511) / 512;
	st->st_blksize = 4096;
	st->st_mtim = time_of(g.mtime_ns);
	st->st_atim = g.has & FACTS_ATIME ? time_of(g.atime_ns) : st->st_mtim;
	st->st_ctim = time_of(g.ctime_ns);
}

static const mode_t types[CAIRN_KIND_COUNT] = {
	[CAIRN_KIND_VALUE] = S_IFREG, [CAIRN_KIND_DIRECTORY] = S_IFDIR, [CAIRN_KIND_SYMLINK] = S_IFLNK,
	[CAIRN_KIND_FIFO] = S_IFIFO,  [CAIRN_KIND_SOCKET] = S_IFSOCK,   [CAIRN_KIND_CHARACTER] = S_IFCHR,
	[CAIRN_KIND_BLOCK] = S_IFBLK,
};

int facts_kind(mode_t mode)
{
	for (int i = 0; i < CAIRN_KIND_COUNT; i++)
		if (types[i] == (mode & S_IFMT))
			return i;
	return -1;
}

mode_t facts_type(unsigned kind)
{
	return kind < CAIRN_KIND_COUNT ? types[kind] : S_IFREG;
}

bool facts_xattr(const struct facts *f, const char *name, struct cairn_slice *value)
{
	struct cairn_slice list = cairn_msg_slice(&f->xattrs), item, body;
	unsigned field;

	while (list.len > 0 && cairn_field_next(&list, &field, &item) == 0)
		if (cairn_field_find(item, CAIRN_F_NAME, &body) && cairn_slice_eq(body, cairn_str(name))) {
			if (!cairn_field_find(item, CAIRN_F_VALUE, value))
				*value = cairn_slice("", 0);
			return true;
		}
	return false;
}

void facts_each_xattr(const struct facts *f, void (*fn)(void *arg, struct cairn_slice name), void *arg)
{
	struct cairn_slice list = cairn_msg_slice(&f->xattrs), item, body;
	unsigned field;

	while (list.len > 0 && cairn_field_next(&list, &field, &item) == 0)
		if (cairn_field_find(item, CAIRN_F_NAME, &body))
			fn(arg, body);
}
