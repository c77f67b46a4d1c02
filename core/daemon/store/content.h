/* Values as commands see them: in the record, or as a list of chunks that versions and copies share. */
#ifndef CONTENT_H
#define CONTENT_H

#include "state.h"

/* A list of pieces that grows; memory of the arena. */
struct pieces {
	struct piece *at;
	size_t count, cap;
};

/*
 * chunks.c: chunk rows and how many lists hold each. Functions return 0 or a code; the sentence is in
 * W->error or the store has stopped.
 */
/* A new chunk of BYTES (at most chunk_max; valid until the batch ends), held once, as *P. */
enum cairn_code chunk_new(struct work *w, struct cairn_slice bytes, struct piece *p);
/* One more list holds P's chunk, or one less: the last one takes it along. */
enum cairn_code chunk_hold(struct work *w, const struct piece *p);
enum cairn_code chunk_release(struct work *w, const struct piece *p);
/* The whole row of P's chunk, at least P->length bytes of it; valid until the batch ends. */
enum cairn_code chunk_load(struct work *w, const struct piece *p, struct cairn_slice *bytes);
/* Put BYTES in place of the chunk's row (they begin with what was there). */
enum cairn_code chunk_rewrite(struct work *w, const struct piece *p, struct cairn_slice bytes);

/* content.c */
/* Entry I of the chunk list LIST. */
static inline struct piece pieces_entry(struct cairn_slice list, size_t i)
{
	struct piece p;

	piece_decode((const char *)list.data + i * PIECE_BYTES, &p);
	return p;
}

static inline size_t pieces_count(struct cairn_slice list)
{
	return list.len / PIECE_BYTES;
}

enum cairn_code pieces_add(struct work *w, struct pieces *list, struct piece p);
/* TOO_LARGE where a value of LENGTH bytes is more than the volume takes. */
enum cairn_code content_fits(struct work *w, uint64_t length);
/* R's value becomes BYTES (valid until the batch ends), in the record or in new chunks. */
enum cairn_code content_set(struct work *w, struct record *r, struct cairn_slice bytes);
/* R's value becomes what LIST says, LENGTH bytes: more than stand in a record. */
enum cairn_code content_set_pieces(struct work *w, struct record *r, const struct pieces *list,
				   uint64_t length);
/* LENGTH bytes from OFFSET of R's value into OUT; they are there. */
enum cairn_code content_read(struct work *w, const struct record *r, uint64_t offset, uint64_t length,
			     unsigned char *out);
/* Release the chunks of OLD; where NEXT is not NULL, those that do not stand at the same place in it. */
enum cairn_code content_release(struct work *w, const struct record *old, const struct record *next);
/* Hold every chunk of R once more. */
enum cairn_code content_hold(struct work *w, const struct record *r);

/* The LENGTH bytes of LIST in one piece of memory; its chunks are released. */
enum cairn_code content_gather(struct work *w, const struct pieces *list, uint64_t length,
			       struct cairn_slice *bytes);
/* R's value becomes what A gives: VALUE, or UPLOAD (which is used up), or nothing. */
enum cairn_code content_given(struct work *w, const struct args *a, struct record *r);

/* upload.c */
/*
 * Use up the upload that A names: its pieces in order, held by the caller from now on, *SIZE bytes together.
 * NOT_FOUND, or INVALID where a piece is missing or, with SIZED, A's size is another.
 */
enum cairn_code upload_take(struct work *w, const struct args *a, bool sized, struct pieces *list,
			    uint64_t *size);

#endif
