/*
 * Memory for many small objects of few sizes that come and go: quicker than malloc where they do not fit into
 * the processor's caches, because it touches nothing beside the object and lies in huge pages. For one
 * thread.
 */
#ifndef SLAB_H
#define SLAB_H

#include <stddef.h>

struct slab;

/* NULL when there is no memory. */
struct slab *slab_new(void);
/* Free all memory; every object beyond 1 KiB was given back before. */
void slab_free(struct slab *s);
/* SIZE bytes, aligned to 16; NULL when there is no memory. */
void *slab_take(struct slab *s, size_t size);
/* Give back P, taken with the same SIZE. */
void slab_give(struct slab *s, void *p, size_t size);
/* Bytes that it has from the system: more than what is taken, for pages that are partly empty. */
size_t slab_bytes(const struct slab *s);

#endif
