/*
 * The model of the request table: which commands of a client are known, and when a client is forgotten. Plain
 * arrays; it reads the same fields as the store.
 */
#ifndef MODEL_REQUESTS_H
#define MODEL_REQUESTS_H

#include "model.h"

#define MODEL_CLIENTS 16
#define MODEL_RESULTS 128
#define MODEL_IDLE_NS (600ull * 1000000000)
#define MODEL_EVICTED 4 /* clients that one command forgets */

struct model_result {
	uint64_t sequence;
	enum cairn_code code;
};

struct model_client {
	unsigned char id[16];
	bool there;
	uint64_t last_index, last_time_ns, lowest;
	struct model_result results[MODEL_RESULTS];
	size_t count;
};

struct model_requests {
	struct model_client clients[MODEL_CLIENTS];
	uint64_t floor;
	unsigned long forgotten, unknown, repeated; /* how often that happened */
};

/* Before any command: who was idle for too long is forgotten, the oldest first. */
static void model_forget(struct model_requests *r, uint64_t clock_ns)
{
	for (int n = 0; n < MODEL_EVICTED; n++) {
		struct model_client *oldest = NULL;

		for (size_t i = 0; i < MODEL_CLIENTS; i++)
			if (r->clients[i].there && (!oldest || r->clients[i].last_index < oldest->last_index))
				oldest = &r->clients[i];
		if (!oldest || oldest->last_time_ns + MODEL_IDLE_NS > clock_ns)
			return;
		if (oldest->last_index > r->floor)
			r->floor = oldest->last_index;
		oldest->there = false;
		r->forgotten++;
	}
}

static struct model_client *model_client(struct model_requests *r, struct cairn_slice id)
{
	struct model_client *c = NULL;

	for (size_t i = 0; i < MODEL_CLIENTS; i++)
		if (r->clients[i].there && memcmp(r->clients[i].id, id.data, 16) == 0)
			return &r->clients[i];
	for (size_t i = 0; i < MODEL_CLIENTS && !c; i++)
		c = r->clients[i].there ? NULL : &r->clients[i];
	*c = (struct model_client){ .there = false };
	memcpy(c->id, id.data, 16);
	return c;
}

/* A command with a client: whether it is done now. Where not, *CODE is its answer's. */
static bool model_is_new(struct model_requests *r, struct cairn_slice fields, enum cairn_code *code)
{
	struct model_client *c = model_client(r, field_of(fields, CAIRN_F_CLIENT));
	uint64_t sequence = cairn_field_u64(fields, CAIRN_F_SEQUENCE, 0);

	for (size_t i = 0; c->there && i < c->count; i++)
		if (c->results[i].sequence == sequence) {
			*code = c->results[i].code;
			r->repeated++;
			return false;
		}
	*code = CAIRN_E_UNKNOWN;
	if ((c->there && sequence < c->lowest) ||
	    (r->floor && cairn_field_u64(fields, CAIRN_F_BORN, 0) <= r->floor)) {
		r->unknown++;
		return false;
	}
	return true;
}

/* It was done at INDEX, and ended with CODE. */
static void model_done(struct model_requests *r, struct cairn_slice fields, uint64_t index, uint64_t clock_ns,
		       enum cairn_code code)
{
	struct model_client *c = model_client(r, field_of(fields, CAIRN_F_CLIENT));
	uint64_t lowest = cairn_field_u64(fields, CAIRN_F_LOWEST, 0), least = UINT64_MAX;
	size_t n = 0;

	if (!c->there)
		c->lowest = 0;
	c->there = true;
	c->lowest = lowest > c->lowest ? lowest : c->lowest;
	for (size_t i = 0; i < c->count; i++)
		if (c->results[i].sequence >= c->lowest) {
			c->results[n++] = c->results[i];
			least = c->results[i].sequence < least ? c->results[i].sequence : least;
		}
	if (n >= MODEL_RESULTS) {
		c->lowest = least + 1;
		for (size_t i = 0; i < n; i++)
			if (c->results[i].sequence == least)
				memmove(&c->results[i], &c->results[i + 1],
					(--n - i) * sizeof(c->results[i]));
	}
	c->results[n++] = (struct model_result){ cairn_field_u64(fields, CAIRN_F_SEQUENCE, 0), code };
	c->count = n;
	c->last_index = index;
	c->last_time_ns = clock_ns;
}

#endif
