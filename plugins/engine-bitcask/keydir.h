/*
 * The key directory: every key in order, with the place of its entry on disk. One writer changes it in
 * batches; any number of readers look into one version each and wait for nobody.
 */
#ifndef KEYDIR_H
#define KEYDIR_H

#include <cairn/slice.h>
#include "versions.h"

/* Where an entry lies. */
struct keydir_place {
	uint32_t offset, length; /* bytes */
	uint16_t file;           /* slot of the data file */
};

struct keydir {
	struct versions versions; /* guards and pins are taken there */
	/* The batch; the writer's. */
	struct object *root;
	uint64_t keys, live;
};

/* 0 or -ENOMEM. */
int keydir_init(struct keydir *k);
/* Free everything. No reader is left. */
void keydir_end(struct keydir *k);

/* A place as a leaf has it. */
void keydir_place_put(void *value, struct keydir_place p);
/* Free the node N and all below it. */
void keydir_free_below(struct keydir *k, struct object *n);

/* Whether KEY is in VERSION, and where its entry lies. From any thread that holds VERSION. */
bool keydir_find(const struct version *version, struct cairn_slice key, struct keydir_place *place);

/*
 * A batch: begin, any steps, publish or abort. A step returns 1 where KEY was there (*OLD is what it had), 0
 * where it was not, or -ENOMEM, and then the batch can only be aborted.
 */
void keydir_begin(struct keydir *k);
int keydir_put(struct keydir *k, struct cairn_slice key, struct keydir_place place, struct keydir_place *old);
int keydir_remove(struct keydir *k, struct cairn_slice key, struct keydir_place *old);
/* What the batch has now. */
bool keydir_look(const struct keydir *k, struct cairn_slice key, struct keydir_place *place);
/* Call FN when nobody sees a version before this batch, in the writer's thread. Last before publish. -ENOMEM.
 */
int keydir_defer(struct keydir *k, void (*fn)(void *arg), void *arg);
/* Make the batch visible. 0, or -ENOMEM and it is aborted. */
int keydir_publish(struct keydir *k, uint64_t index, uint64_t term);
void keydir_abort(struct keydir *k);

/*
 * Walk the keys K of a held version with from <= K < to (an empty TO means no end), last one first with
 * REVERSE. Keys are lent until the next call.
 */
struct keydir_walk {
	struct object *path[24]; /* down to the leaf of the next entry */
	unsigned at[24], depth;  /* way taken in each; in the leaf: next entry, reverse: the one after it */
	bool reverse, ended;
	struct cairn_slice bound; /* where it ends; points into what the caller gave */
	unsigned char *key;       /* owned */
	size_t cap;
};
/* FROM and TO stay valid until the end of the walk. The walk is zeroed before, or was ended. */
void keydir_walk_begin(struct keydir_walk *w, const struct object *root, struct cairn_slice from,
		       struct cairn_slice to, bool reverse);
/* 1 with the next key; 0 at the end; -ENOMEM. */
int keydir_walk_next(struct keydir_walk *w, struct cairn_slice *key, struct keydir_place *place);
void keydir_walk_end(struct keydir_walk *w);

#endif
