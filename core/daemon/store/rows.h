/*
 * Rows: what the store keeps in its engine. Each kind has a leading byte; rows.md has the byte counts.
 * Everything here is a pure function over bytes.
 */
#ifndef ROWS_H
#define ROWS_H

#include <stdint.h>
#include <cairn/slice.h>

/* The leading byte of an engine key. Disk format. */
enum row_tag {
	ROW_CHUNK = 'b',   /* chunk id → bytes */
	ROW_CHANGE = 'c',  /* revision, ordinal → change */
	ROW_EXPIRY = 'e',  /* time, file id → key */
	ROW_FOLDER = 'f',  /* prefix → what is in it */
	ROW_GONE = 'g',    /* key → tombstone */
	ROW_LATEST = 'k',  /* key → live record */
	ROW_META = 'm',    /* → struct meta */
	ROW_COUNT = 'n',   /* chunk id → how many lists hold it */
	ROW_REQUEST = 'r', /* client id → results of its last writes */
	ROW_UPLOAD = 'u',  /* upload id → its state; upload id, index → staged piece */
};

#define ROW_CHUNK_KEY 9   /* tag, chunk id */
#define ROW_CHANGE_KEY 13 /* tag, revision, ordinal */
#define ROW_UPLOAD_KEY 17 /* tag, upload id */
#define ROW_PIECE_KEY 21  /* tag, upload id, index */
#define ROW_REQUEST_KEY 17
#define ROW_EXPIRY_KEY 17 /* tag, time, file id */
#define ROW_CHECKSUM 4    /* bytes at the end of a row where the engine has no checksums */

/* Write the key of a row into BUFFER, which has room for it, and return it. */
struct cairn_slice row_key(unsigned char *buffer, enum row_tag tag, struct cairn_slice rest);
struct cairn_slice row_chunk_key(unsigned char buffer[ROW_CHUNK_KEY], enum row_tag tag, uint64_t id);
struct cairn_slice row_change_key(unsigned char buffer[ROW_CHANGE_KEY], uint64_t revision, uint32_t ordinal);
struct change_place {
	uint64_t revision;
	uint32_t ordinal;
};
/* The place in the key of a change row. */
struct change_place row_change_place(struct cairn_slice key);
struct cairn_slice row_piece_key(unsigned char buffer[ROW_PIECE_KEY], struct cairn_slice upload,
				 uint32_t index);

/*
 * The end of the range of keys that begin with PREFIX, into BUFFER (of PREFIX.len bytes): the first key
 * behind all of them. Empty where there is none (a prefix of 0xFF bytes only).
 */
struct cairn_slice row_prefix_end(unsigned char *buffer, struct cairn_slice prefix);

/* Checksum of a row, over its key and its body. */
uint32_t row_checksum(struct cairn_slice key, struct cairn_slice body);
/* Take the checksum off the end of VALUE. 0, or -EUCLEAN where it does not fit. */
int row_verify(struct cairn_slice key, struct cairn_slice value, struct cairn_slice *body);

/* A folder: what stands directly in it. */
struct folder {
	uint64_t children;      /* keys, its marker not counted */
	uint64_t subfolders;    /* folders */
	uint64_t list_revision; /* of the last change to the list of names */
	uint64_t list_time_ns;  /* of that change */
	bool marker;            /* whether the key "prefix/" exists */
};

#define FOLDER_BYTES 33
void folder_encode(const struct folder *f, unsigned char body[FOLDER_BYTES]);
/* 0, or -EUCLEAN. */
int folder_decode(struct cairn_slice body, struct folder *f);

/* A staged piece, and one entry of a chunk list. */
struct piece {
	uint64_t chunk; /* id */
	uint64_t hash;  /* hash_bytes of the first LENGTH bytes of the chunk */
	uint32_t length;
};

#define PIECE_BYTES 20
void piece_encode(const struct piece *p, unsigned char body[PIECE_BYTES]);
/* BODY has PIECE_BYTES. */
void piece_decode(const void *body, struct piece *p);

/* An upload: what was staged under one id and not used yet. */
struct upload {
	uint64_t time_ns; /* of the last stage */
	uint64_t bytes;   /* staged */
	uint32_t pieces;
};

/*
 * A change: what a command did to one key. Once a newer version has replaced the one that it made, also that
 * version's record.
 */
struct change {
	uint64_t time_ns;       /* commit time */
	uint64_t next_revision; /* place and time of what replaced it; 0: nothing did, and there is no record
				 */
	uint64_t next_time_ns;
	uint32_t next_ordinal;
	uint8_t kind;  /* enum change_kind */
	uint8_t flags; /* CHANGE_… */
	uint64_t held; /* bytes of chunks that only the record holds, as history counts them */
	struct cairn_slice key, other; /* other: the one that it was moved from or to */
	struct cairn_slice record;     /* empty where there is none */
};

enum {
	CHANGE_GONE = 1 << 0,      /* the key was removed by it */
	CHANGE_IS_PREFIX = 1 << 1, /* key and other are prefixes; their keys' rows follow */
};

#define CHANGE_HEAD 44
/* Bytes of C's body, and the body. */
size_t change_size(const struct change *c);
void change_encode(const struct change *c, unsigned char *body);
/* 0, or -EUCLEAN. The slices point into BODY. */
int change_decode(struct cairn_slice body, struct change *c);

#define UPLOAD_BYTES 20
void upload_encode(const struct upload *u, unsigned char body[UPLOAD_BYTES]);
/* 0, or -EUCLEAN. */
int upload_decode(struct cairn_slice body, struct upload *u);

#endif
