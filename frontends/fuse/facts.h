/* What is known about a key or a folder, between the server's fields and the kernel's struct stat. */
#ifndef FACTS_H
#define FACTS_H

#include <sys/stat.h>
#include <cairn/message.h>
#include "options.h"

enum {
	FACTS_MODE = 1,
	FACTS_UID = 2,
	FACTS_GID = 4,
	FACTS_MTIME = 8,
	FACTS_CTIME = 16,
	FACTS_ALL = 31,
	FACTS_ATIME = 32
};

struct facts {
	bool there;
	unsigned kind; /* enum cairn_kind */
	uint64_t revision, create_revision, version;
	uint64_t time_ns; /* of the commit */
	uint64_t size;
	uint64_t file_id; /* 0: a folder without a marker, or a file that the server has not seen yet */
	unsigned has;     /* FACTS_…: what the record itself says */
	unsigned mode;    /* permission bits */
	uint64_t rdev;    /* of a device file */
	uint32_t uid, gid;
	uint64_t mtime_ns, ctime_ns, atime_ns;
	uint64_t changed_ns; /* of a folder: when a name in it last came or went */
	uint64_t subfolders;
	struct cairn_msg xattrs; /* XATTR fields, as they stand in the record; len 0: none */
};

void facts_free(struct facts *f);
/* Move FROM to *TO, whose old content is freed. */
void facts_move(struct facts *to, struct facts *from);
/* Read the fields of a get's answer or of a row. False where they make no sense or memory is short. */
bool facts_take(struct facts *f, struct cairn_slice fields);
/* Add an ATTRIBUTES field with those of F that WHICH (FACTS_…) names to M. A put keeps the others. */
void facts_attributes(const struct facts *f, unsigned which, struct cairn_msg *m);
/* Fill the mode, owner and times that F has not from O. */
void facts_own(struct facts *f, const struct options *o);
/* As stat(2) shows it; links and inode number are the caller's. */
void facts_stat(const struct facts *f, const struct options *o, struct stat *st);
/* The kind for the file type of MODE; -1 where there is none. */
int facts_kind(mode_t mode);
/* The file type bits for KIND. */
mode_t facts_type(unsigned kind);

/* User attribute NAME: found and *VALUE (points into F). */
bool facts_xattr(const struct facts *f, const char *name, struct cairn_slice *value);
/* Call FN with the name of each user attribute. */
void facts_each_xattr(const struct facts *f, void (*fn)(void *arg, struct cairn_slice name), void *arg);

#endif
