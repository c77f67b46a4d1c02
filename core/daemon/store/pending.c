/*
 * A list of rows in the order of their first write, found through a table of hashes; an undo log of what each
 * write replaced, so that a command that fails leaves no trace. A later write of a row replaces the earlier
 * one: the engine sees each row once a batch.
 */
#include <errno.h>
#include <stdlib.h>
#include "pending.h"
#include "banned.h"

#define ARENA_BLOCK (256u << 10)

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	_Alignas(8) unsigned char bytes[];
};

void *arena_alloc(struct arena *a, size_t n)
{
	struct arena_block *b = a->blocks;
	void *p;

	n = (n + 7) & ~(size_t)7;
	if (!b || b->size - b->used < n) {
		size_t size = n > ARENA_BLOCK ? n : ARENA_BLOCK;

		b = malloc(sizeof(*b) + size);
		if (!b)
			return NULL;
		b->used = 0;
		b->size = size;
		b->next = a->blocks;
		a->blocks = b;
	}
	p = b->bytes + b->used;
	b->used += n;
	return p;
}

void arena_reset(struct arena *a)
{
	struct arena_block *keep = NULL, *b = a->blocks;

	while (b) {
		struct arena_block *next = b->next;

		if (!keep && b->size == ARENA_BLOCK) {
			keep = b;
			b->used = 0;
			b->next = NULL;
		} else {
			free(b);
		}
		b = next;
	}
	a->blocks = keep;
}

void arena_free(struct arena *a)
{
	while (a->blocks) {
		struct arena_block *next = a->blocks->next;

		free(a->blocks);
		a->blocks = next;
	}
}

void pending_free(struct pending *p)
{
	free(p->rows);
	free(p->table);
	free(p->undo);
	arena_free(&p->arena);
	*p = (struct pending){ 0 };
}

static size_t slot_of(const struct pending *p, struct cairn_slice key, uint64_t hash)
{
	size_t i = hash & (p->slots - 1);

	while (p->table[i]) {
		const struct pending_row *r = &p->rows[p->table[i] - 1];

		if (r->hash == hash && cairn_slice_eq(r->key, key))
			break;
		i = (i + 1) & (p->slots - 1);
	}
	return i;
}

#define KEEP_SLOTS (1u << 15) /* a table larger than this is given back after its batch */

void pending_reset(struct pending *p)
{
	if (p->slots > KEEP_SLOTS) {
		free(p->rows);
		free(p->table);
		p->rows = NULL;
		p->table = NULL;
		p->cap = p->slots = 0;
	} else if (p->count * 8 < p->slots) {
		for (size_t i = 0; i < p->count; i++) {
			size_t slot = p->rows[i].hash & (p->slots - 1);

			/* Every row's slot lies in the run that starts at its hash: clear the run. */
			for (; p->table[slot]; slot = (slot + 1) & (p->slots - 1))
				p->table[slot] = 0;
		}
	} else if (p->count) {
		memset(p->table, 0, p->slots * sizeof(*p->table));
	}
	p->count = 0;
	p->undo_count = 0;
	arena_reset(&p->arena);
}

struct pending_row *pending_find(const struct pending *p, struct cairn_slice key, uint64_t hash)
{
	uint32_t i;

	if (!p->count)
		return NULL;
	i = p->table[slot_of(p, key, hash)];
	return i ? &p->rows[i - 1] : NULL;
}

static int make_room(struct pending *p)
{
	size_t cap = p->cap ? p->cap * 2 : 512, slots = cap * 4;
	struct pending_row *rows = realloc(p->rows, cap * sizeof(*rows));
	uint32_t *table;

	if (!rows)
		return -ENOMEM;
	p->rows = rows;
	table = calloc(slots, sizeof(*table));
	if (!table)
		return -ENOMEM;
	free(p->table);
	p->table = table;
	p->slots = slots;
	p->cap = cap;
	for (size_t i = 0; i < p->count; i++)
		p->table[slot_of(p, p->rows[i].key, p->rows[i].hash)] = (uint32_t)i + 1;
	return 0;
}

static int remember(struct pending *p, size_t row)
{
	if (p->undo_count == p->undo_cap) {
		size_t cap = p->undo_cap ? p->undo_cap * 2 : 512;
		struct pending_undo *undo = realloc(p->undo, cap * sizeof(*undo));

		if (!undo)
			return -ENOMEM;
		p->undo = undo;
		p->undo_cap = cap;
	}
	p->undo[p->undo_count++] =
		(struct pending_undo){ .row = row, .body = p->rows[row].body, .state = p->rows[row].state };
	return 0;
}

int pending_set(struct pending *p, struct cairn_slice key, uint64_t hash, enum pending_state state,
		struct cairn_slice body)
{
	size_t slot, row;
	int e;

	if (p->count == p->cap) {
		e = make_room(p);
		if (e < 0)
			return e;
	}
	slot = slot_of(p, key, hash);
	if (p->table[slot]) {
		row = p->table[slot] - 1;
	} else {
		row = p->count++;
		p->rows[row] = (struct pending_row){ .key = key, .hash = hash };
		p->table[slot] = (uint32_t)row + 1;
	}
	e = remember(p, row);
	if (e < 0)
		return e;
	p->rows[row].state = state;
	p->rows[row].body = body;
	return 0;
}

size_t pending_mark(const struct pending *p)
{
	return p->undo_count;
}

void pending_undo(struct pending *p, size_t mark)
{
	while (p->undo_count > mark) {
		const struct pending_undo *u = &p->undo[--p->undo_count];

		p->rows[u->row].state = u->state;
		p->rows[u->row].body = u->body;
	}
}

void pending_keep(struct pending *p)
{
	p->undo_count = 0;
}
