/* Bytes of LMDB's pages, as format.md has them; for those who read them without liblmdb. */
#ifndef LMDB_FORMAT_H
#define LMDB_FORMAT_H

#define LMDB_MAGIC 0xBEEFC0DEu
#define LMDB_VERSION 1

/* A page: its number (8), 2 of padding, flags (2), then lower and upper bound (2 each) or the number of pages
 * of a value (4). */
#define PAGE_FLAGS 10
#define PAGE_LOWER 12
#define PAGE_UPPER 14
#define PAGE_COUNT 12
#define PAGE_HEAD 16

enum { PAGE_BRANCH = 1, PAGE_LEAF = 2, PAGE_OVERFLOW = 4, PAGE_META = 8, PAGE_DIRTY = 16 };

/* The content of a meta page. */
#define META_DB 24 /* the free list's record, then that of the rows */
#define META_LAST 120
#define META_TXN 128
#define META_BYTES 136

/* In such a record. */
#define DB_DEPTH 6
#define DB_ROOT 40
#define DB_BYTES 48

/* A node: length or child (4), flags or the child's upper 16 bits (2), length of the key (2), key, value. */
#define NODE_FLAGS 4
#define NODE_KEY_LEN 6
#define NODE_HEAD 8
#define NODE_BIG 1 /* flag: the value stands in pages of its own, and here is the number of the first */

#endif
