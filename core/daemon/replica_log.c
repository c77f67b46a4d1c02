/*
 * The log of a replica: its newest entries in memory, from the first that is not applied on, and some before
 * for nodes that are a little behind. The journal has all that are stored; term, vote and members stand
 * beside them as the shard's hard state.
 *
 * The hard state, little-endian: 0 version 1, 1 to 7 zeros, 8 term, 16 vote, 24 cut, 32 commit, 40 from,
 * 48 index of the members, 56 their length (4), 60 four zeros, 64 the members.
 */
#include <errno.h>
#include <stdlib.h>
#include "replica.h"
#include "banned.h"

#define RING_BYTES (8u << 20) /* of entries that are applied and stored, kept for others */

static void entry_applied(struct shard_write *w)
{
	struct entry *e = (struct entry *)w;
	struct replica *r = e->replica;
	struct shard_write *client;

	pthread_mutex_lock(&r->lock);
	client = e->client;
	e->client = NULL;
	if (e->kind == CAIRN_ENTRY_MEMBERS && !w->error.code) {
		struct cairn_slice m = { 0 };

		cairn_field_find(cairn_message_fields(cairn_msg_slice(&w->command)), CAIRN_F_VALUE, &m);
		if (m.len && m.len <= sizeof(r->applied.members)) {
			memcpy(r->applied.members, m.data, m.len);
			r->applied.members_len = m.len;
			r->applied.members_index = w->place.index;
		}
	}
	pthread_mutex_unlock(&r->lock);
	if (client) {
		struct cairn_msg answer = client->answer;

		client->answer = w->answer;
		w->answer = answer;
		client->error = w->error;
		client->place = w->place;
		shard_complete(client);
	}
	entry_put(e);
}

struct entry *entry_new(struct replica *r, struct cairn_slice command, uint64_t term)
{
	struct entry *e = malloc(sizeof(*e) + ENTRY_HEAD + command.len);
	unsigned op = cairn_message_number(command);

	if (!e)
		return NULL;
	memset(e, 0, sizeof(*e));
	e->replica = r;
	e->uses = 1;
	e->size = (uint32_t)command.len;
	e->kind = op == CAIRN_OP_NOTHING ? CAIRN_ENTRY_NONE
		: op == CAIRN_OP_MEMBERS ? CAIRN_ENTRY_MEMBERS
					 : CAIRN_ENTRY_COMMAND;
	e->w.done = entry_applied;
	e->w.mute = true;
	e->w.command = (struct cairn_msg){ .data = e->bytes + ENTRY_HEAD, .len = command.len };
	le32_put(e->bytes, e->size);
	le32_put(e->bytes + 4, 0);
	le64_put(e->bytes + 8, term);
	memcpy(e->bytes + ENTRY_HEAD, command.data, command.len);
	return e;
}

void entry_put(struct entry *e)
{
	if (atomic_fetch_sub(&e->uses, 1) != 1)
		return;
	cairn_msg_free(&e->w.answer);
	free(e);
}

struct entry *replica_entry(struct replica *r, uint64_t index)
{
	return index >= r->first && index <= r->last ? r->ring[index & (r->cap - 1)] : NULL;
}

static int grow(struct replica *r)
{
	size_t cap = r->cap ? 2 * r->cap : 256;
	struct entry **ring = calloc(cap, sizeof(*ring));

	if (!ring)
		return -ENOMEM;
	for (uint64_t i = r->first; i <= r->last; i++)
		ring[i & (cap - 1)] = r->ring[i & (r->cap - 1)];
	free(r->ring);
	r->ring = ring;
	r->cap = cap;
	return 0;
}

int replica_push(struct replica *r, struct entry *e)
{
	if (r->last + 1 - r->first == r->cap && grow(r) < 0) {
		entry_put(e);
		return -ENOMEM;
	}
	r->last++;
	r->ring[r->last & (r->cap - 1)] = e;
	r->bytes += sizeof(*e) + e->size;
	if (!r->unsaved)
		r->unsaved = r->last;
	return 0;
}

void replica_truncate(struct replica *r, uint64_t from)
{
	for (uint64_t i = r->last; i >= from && i >= r->first; i--) {
		struct entry *e = replica_entry(r, i);

		replica_detach(r, e);
		r->bytes -= sizeof(*e) + e->size;
		entry_put(e);
	}
	if (from <= r->last) {
		r->last = from - 1;
		r->cut = true;
	}
	if (r->unsaved > r->last)
		r->unsaved = 0;
}

void replica_evict(struct replica *r)
{
	uint64_t applied = r->shard->applied;

	while (r->bytes > RING_BYTES && r->first <= applied && r->first <= r->last &&
	       (!r->unsaved || r->first < r->unsaved)) {
		struct entry *e = replica_entry(r, r->first);

		r->bytes -= sizeof(*e) + e->size;
		r->first++;
		entry_put(e);
	}
}

/* --- persists --- */

/* A persist on its way through the journal. */
struct saving {
	struct journal_request request;
	struct shard *shard;
	uint64_t token;
	struct entry **held; /* of the entries; in this allocation */
	unsigned char state[HARD_MAX];
	struct journal_entry entries[];
};

static void saved(struct journal_request *request)
{
	struct saving *x = (struct saving *)((char *)request - offsetof(struct saving, request));
	struct shard *s = x->shard;

	for (size_t i = 0; i < request->count; i++)
		entry_put(x->held[i]);
	if (request->error.code) {
		if (request->error.code == CAIRN_E_FULL)
			request->error.code = CAIRN_E_UNAVAILABLE;
		shard_stop(s, &request->error);
		s->unsavable = true;
	} else {
		s->saved = x->token;
	}
	shard_try_step(s, NULL);
	free(x);
	shard_let_go(s);
}

size_t hard_state_encode(const struct hard_state *h, unsigned char bytes[HARD_MAX])
{
	memset(bytes, 0, HARD_HEAD);
	bytes[0] = 1;
	le64_put(bytes + 8, h->term);
	le64_put(bytes + 16, h->vote);
	le64_put(bytes + 24, h->cut);
	le64_put(bytes + 32, h->commit);
	le64_put(bytes + 40, h->from);
	le64_put(bytes + 48, h->members_index);
	le32_put(bytes + 56, (uint32_t)h->members_len);
	memcpy(bytes + HARD_HEAD, h->members, h->members_len);
	return HARD_HEAD + h->members_len;
}

void hard_state_load(struct journal_shard *log, struct hard_state *h)
{
	unsigned char b[HARD_MAX];
	size_t len = journal_state(log, b, sizeof(b));

	*h = (struct hard_state){ .cut = UINT64_MAX };
	if (len < HARD_HEAD || b[0] != 1 || len > sizeof(b) || len != HARD_HEAD + le32_get(b + 56))
		return;
	h->term = le64_get(b + 8);
	h->vote = le64_get(b + 16);
	h->cut = le64_get(b + 24);
	h->commit = le64_get(b + 32);
	h->from = le64_get(b + 40);
	h->members_index = le64_get(b + 48);
	h->members_len = le32_get(b + 56);
	memcpy(h->members, b + HARD_HEAD, h->members_len);
}

void replica_persist(struct replica *r, uint64_t token)
{
	struct shard *s = r->shard;
	size_t n = r->unsaved ? (size_t)(r->last + 1 - r->unsaved) : 0;
	struct saving *x = calloc(1, sizeof(*x) + n * (sizeof(*x->entries) + sizeof(*x->held)));
	struct cairn_error error;

	if (!x) {
		cairn_fail(&error, CAIRN_E_INTERNAL, "no memory for the journal");
		shard_stop(s, &error);
		return;
	}
	r->cut = r->cut && !n;
	r->hard.cut = r->cut ? r->last : UINT64_MAX;
	r->hard.commit = r->commit;
	pthread_mutex_lock(&r->lock);
	r->hard.members_index = r->applied.members_index;
	r->hard.members_len = r->applied.members_len;
	memcpy(r->hard.members, r->applied.members, r->applied.members_len);
	pthread_mutex_unlock(&r->lock);
	x->shard = s;
	x->token = token;
	x->held = (struct entry **)&x->entries[n];
	for (size_t i = 0; i < n; i++) {
		struct entry *e = replica_entry(r, r->unsaved + i);

		atomic_fetch_add(&e->uses, 1);
		x->held[i] = e;
		x->entries[i] = (struct journal_entry){ e->w.place.index, e->w.place.term,
							cairn_msg_slice(&e->w.command) };
	}
	x->request = (struct journal_request){ .shard = s->journal,
					       .entries = x->entries,
					       .count = n,
					       .state = cairn_slice(x->state,
								    hard_state_encode(&r->hard, x->state)),
					       .done = saved };
	r->unsaved = 0;
	shard_use(s);
	journal_append(s->node->journal, &x->request);
}

static int load_entry(void *arg, const struct journal_entry *j)
{
	struct replica *r = arg;
	struct entry *e = entry_new(r, j->command, j->term);

	if (!e)
		return -ENOMEM;
	e->w.place = (struct cairn_position){ j->index, j->term };
	return replica_push(r, e);
}

enum cairn_code replica_load(struct replica *r, uint64_t index, struct cairn_error *error)
{
	struct journal_extent x = journal_extent(r->shard->journal);
	uint64_t last = x.last < r->hard.cut ? x.last : r->hard.cut;
	enum cairn_code code;
	int stopped = 0;

	r->first = index + 1;
	r->last = index;
	r->cut = x.last > r->hard.cut;
	if (last <= index)
		return CAIRN_OK;
	if (x.first > index + 1)
		return cairn_fail(error, CAIRN_E_CORRUPT,
				  "the engine stands at entry %llu and the journal begins at entry %llu",
				  (unsigned long long)index, (unsigned long long)x.first);
	code = journal_read(r->shard->journal, index + 1, last, load_entry, r, &stopped, error);
	if (!code && stopped)
		code = cairn_fail(error, CAIRN_E_INTERNAL, "no memory for the log");
	r->unsaved = 0;
	return code;
}
