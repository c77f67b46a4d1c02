/*
 * Names of files and the parts of keys that they stand for. The map is a bijection: every part of a key has
 * exactly one name, and every name that may be used stands for exactly one part (README.md has the rules).
 */
#ifndef KEYMAP_H
#define KEYMAP_H

#include <cairn/slice.h>

#define KEYMAP_NAME_MAX 255 /* bytes of a name, as everywhere on Linux */
#define KEYMAP_HASH 32      /* hex digits that stand for a part that is too long for a name */

enum keymap_kind {
	KEYMAP_PART, /* an ordinary name: PART has the bytes */
	KEYMAP_SELF, /* "%=": the value of the key that is also this folder */
	KEYMAP_LONG, /* "%@…": a part too long for a name; PART has the hash's digits */
	KEYMAP_VIEW, /* ".cluster" and ".history" in the root: not keys */
	KEYMAP_BAD,  /* longer than a name can be, or no name at all */
};

struct keymap_part {
	enum keymap_kind kind;
	size_t len;
	unsigned char bytes[KEYMAP_NAME_MAX];
};

/* What the name NAME of LEN bytes in a folder (ROOT: the mount's own) stands for. Sets *PART. */
void keymap_from_name(const char *name, size_t len, bool root, struct keymap_part *part);
/* The name of the part BYTES of a key, without a NUL behind it. Returns its length. */
size_t keymap_to_name(struct cairn_slice bytes, bool root, char name[KEYMAP_NAME_MAX]);
/* The digits of "%@…" for BYTES. */
void keymap_hash(struct cairn_slice bytes, char digits[KEYMAP_HASH]);

#endif
