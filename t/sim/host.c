/* A node: the host of one instance, with a disk that may lose what it was not asked to keep yet. */
#include "sim.h"
#include "banned.h"

/* An allocation knows its size, so that what an instance holds can be bounded. */
static void *host_alloc(void *arg, size_t size)
{
	struct node *n = arg;
	size_t *p = calloc(1, size + 16);

	p[0] = size;
	n->memory += size;
	return p + 2;
}

static void host_free(void *arg, void *p)
{
	struct node *n = arg;

	if (!p)
		return;
	n->memory -= ((size_t *)p - 2)[0];
	free((size_t *)p - 2);
}

uint64_t mix(uint64_t a, uint64_t b)
{
	a ^= b + 0x9e3779b97f4a7c15ull + (a << 6) + (a >> 2);
	a = (a ^ (a >> 30)) * 0xbf58476d1ce4e5b9ull;
	a = (a ^ (a >> 27)) * 0x94d049bb133111ebull;
	return (a ^ (a >> 31)) | 1;
}

uint64_t node_clock(const struct world *w, const struct node *n)
{
	return (uint64_t)((double)w->now * n->drift) + n->skew_us;
}

/* --- records --- */

uint64_t records_last(const struct records *r)
{
	return r->base + r->count;
}

const struct record *records_get(const struct records *r, uint64_t index)
{
	return index > r->base && index <= records_last(r) ? &r->at[index - r->base - 1] : NULL;
}

uint64_t records_hash(const struct records *r, uint64_t index)
{
	const struct record *e = records_get(r, index);

	return e ? e->hash : index == r->base ? r->base_hash : 0;
}

uint64_t records_term(const struct records *r, uint64_t index)
{
	const struct record *e = records_get(r, index);

	return e ? e->term : index == r->base ? r->base_term : 0;
}

static void records_add(struct records *r, const struct record *e)
{
	if (r->count == r->cap) {
		r->cap = r->cap ? r->cap * 2 : 64;
		r->at = realloc(r->at, r->cap * sizeof(*r->at));
	}
	r->at[r->count++] = *e;
}

static void records_cut(struct records *r, uint64_t from)
{
	r->count = from > r->base ? (size_t)(from - r->base - 1) : 0;
}

/* Nothing up to INDEX is kept. */
static void records_begin(struct records *r, uint64_t index, uint64_t term, uint64_t hash)
{
	size_t gone = index - r->base < r->count ? (size_t)(index - r->base) : r->count;

	if (r->count)
		memmove(r->at, r->at + gone, (r->count - gone) * sizeof(*r->at));
	r->count -= gone;
	r->base = index;
	r->base_term = term;
	r->base_hash = hash;
}

static void records_copy(struct records *to, const struct records *from)
{
	struct record *at = to->at;
	size_t cap = to->cap;

	if (cap < from->count) {
		cap = from->count;
		at = realloc(at, cap * sizeof(*at));
	}
	*to = *from;
	to->at = at;
	to->cap = cap;
	if (from->count)
		memcpy(at, from->at, from->count * sizeof(*at));
}

/* --- effects --- */

static void note_change(struct node *n, const struct change *c)
{
	if (n->change_count == n->change_cap) {
		n->change_cap = n->change_cap ? n->change_cap * 2 : 32;
		n->changes = realloc(n->changes, n->change_cap * sizeof(*n->changes));
	}
	n->changes[n->change_count++] = *c;
}

void packet_free(struct packet *p)
{
	if (!p)
		return;
	free(p->entries);
	free(p->snapshot);
	free(p);
}

static struct packet *packet_copy(const struct packet *p)
{
	struct packet *c = malloc(sizeof(*c));

	*c = *p;
	if (p->count) {
		c->entries = malloc(p->count * sizeof(*c->entries));
		memcpy(c->entries, p->entries, p->count * sizeof(*c->entries));
	}
	if (p->snapshot) {
		c->snapshot = malloc(sizeof(*c->snapshot));
		*c->snapshot = *p->snapshot;
	}
	return c;
}

/* P leaves N now. It may be lost, doubled, late. */
static void transmit(struct world *w, struct node *n, struct packet *p)
{
	uint64_t delay = 50 + draw(w, w->delay_us);

	if (!p->snapshot)
		check_send(w, n, p);
	if (draw(w, 1000) < w->loss) {
		packet_free(p);
		return;
	}
	if (draw(w, 20) == 0 && w->faults && w->options.faults >> FAULT_late & 1)
		delay *= 10;
	if (draw(w, 1000) < w->duplicate)
		world_at(w, delay + draw(w, 10 * w->delay_us), DELIVER, p->to, packet_copy(p));
	world_at(w, delay, DELIVER, p->to, p);
}

static void on_send(struct world *w, struct node *n, const struct cairn_effect *e)
{
	struct packet *p = calloc(1, sizeof(*p));

	p->from = n->id;
	p->to = (unsigned)e->peer;
	p->len = e->body.len;
	memcpy(p->body, e->body.data, e->body.len);
	p->index = e->index;
	p->term = e->term;
	p->token = e->token;
	if (e->last) {
		p->count = (size_t)(e->last - e->index + 1);
		p->entries = calloc(p->count, sizeof(*p->entries));
		for (size_t i = 0; i < p->count; i++) {
			const struct record *r = records_get(&n->log, e->index + i);

			if (!r) {
				world_fail(w, "node %u sends entry %llu, which it does not have", n->id,
					   (unsigned long long)(e->index + i));
				packet_free(p);
				return;
			}
			p->entries[i] = (struct cairn_entry){ .index = e->index + i,
							      .term = r->term,
							      .reference = r->reference,
							      .kind = r->kind,
							      .size = 100 };
			if (r->body)
				p->entries[i].body = cairn_slice(r->body->bytes, r->body->len);
		}
	}
	if (p->token <= n->stored_token || w->options.wrong == WRONG_early) {
		transmit(w, n, p);
		return;
	}
	if (n->held_count == n->held_cap) {
		n->held_cap = n->held_cap ? n->held_cap * 2 : 16;
		n->held = realloc(n->held, n->held_cap * sizeof(*n->held));
	}
	n->held[n->held_count++] = p;
}

static void on_append(struct world *w, struct node *n, const struct cairn_entry *e)
{
	struct record r = { .term = e->term, .reference = e->reference, .kind = e->kind };
	uint64_t index = records_last(&n->log) + 1;

	if (e->index != index) {
		world_fail(w, "node %u appends entry %llu where its log ends at %llu", n->id,
			   (unsigned long long)e->index, (unsigned long long)index - 1);
		return;
	}
	if (e->kind == CAIRN_ENTRY_MEMBERS)
		r.body = world_blob(w, e->body.data, e->body.len);
	r.hash = mix(mix(mix(records_hash(&n->log, index - 1), r.term), r.reference), r.kind);
	records_add(&n->log, &r);
	note_change(n, &(struct change){ .index = index, .record = r });
	check_append(w, n, index, &r);
	w->entries++;
}

static void on_truncate(struct world *w, struct node *n, uint64_t from)
{
	check_truncate(w, n, from);
	world_trace(w, "node %u drops its log from entry %llu on", n->id, (unsigned long long)from);
	for (uint64_t i = from; i <= records_last(&n->log); i++)
		if (records_get(&n->log, i)->kind == CAIRN_ENTRY_COMMAND)
			client_refused(w, records_get(&n->log, i)->reference, false);
	records_cut(&n->log, from);
	note_change(n, &(struct change){ .truncate = true, .index = from });
}

static void on_persist(struct world *w, struct node *n, const struct cairn_effect *e)
{
	if (n->persist_count == 32) {
		world_fail(w, "node %u has 32 persists under way", n->id);
		return;
	}
	n->persists[n->persist_count++] =
		(struct persist){ e->token, e->term, e->peer, n->changes, n->change_count };
	n->changes = NULL;
	n->change_count = n->change_cap = 0;
	if (!n->writing) {
		n->writing = true;
		world_at(w, 100 + draw(w, 400) + n->disk_us, DISK_DONE, n->id, NULL);
	}
}

static void on_apply(struct world *w, struct node *n, const struct cairn_effect *e)
{
	if (e->index != n->apply_to + 1 || e->last < e->index || e->last > records_last(&n->log)) {
		world_fail(w, "node %u applies %llu to %llu after %llu, and has %llu", n->id,
			   (unsigned long long)e->index, (unsigned long long)e->last,
			   (unsigned long long)n->apply_to, (unsigned long long)records_last(&n->log));
		return;
	}
	if (e->last > w->committed_to && records_term(&n->log, e->last) != e->term)
		world_fail(w, "commit: node %u commits entry %llu of an older term by counting", n->id,
			   (unsigned long long)e->last);
	for (uint64_t i = e->index; i <= e->last; i++)
		check_commit(w, n, i, records_get(&n->log, i), e->term);
	world_trace(w, "node %u applies entries %llu to %llu", n->id, (unsigned long long)e->index,
		    (unsigned long long)e->last);
	n->apply_to = e->last;
	if (!n->applying) {
		n->applying = true;
		world_at(w, 10 + draw(w, 50) + n->slow_us, APPLY_DONE, n->id, NULL);
	}
}

static uint64_t value_of(struct world *w, struct node *n, unsigned key)
{
	return w->options.store ? behind_read(w, n, key) : n->state.value[key];
}

static void serve_reads(struct world *w, struct node *n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n->read_count; i++) {
		struct waiting_read *r = &n->reads[i];

		if (r->index > n->state.index && w->options.wrong != WRONG_read)
			n->reads[kept++] = *r;
		else
			client_answer(w, r->reference, true, value_of(w, n, w->ops[r->reference - 1].key));
	}
	n->read_count = kept;
}

static void on_read(struct world *w, struct node *n, const struct cairn_effect *e)
{
	if (n->read_count == n->read_cap) {
		n->read_cap = n->read_cap ? n->read_cap * 2 : 16;
		n->reads = realloc(n->reads, n->read_cap * sizeof(*n->reads));
	}
	n->reads[n->read_count++] = (struct waiting_read){ e->reference, e->index };
	serve_reads(w, n);
}

static void on_snapshot(struct world *w, struct node *n, unsigned peer)
{
	struct packet *p = calloc(1, sizeof(*p));

	p->from = n->id;
	p->to = peer;
	p->snapshot = malloc(sizeof(*p->snapshot));
	*p->snapshot = n->state;
	if (w->options.store)
		p->snapshot->stream = behind_save(w, n);
	w->snapshots++;
	world_trace(w, "node %u sends node %u a snapshot at %llu", n->id, peer,
		    (unsigned long long)n->state.index);
	world_at(w, 2000 + draw(w, 20000), DELIVER, peer, p);
	/* Whatever becomes of it, the sender hears about it. */
	p = packet_copy(p);
	world_at(w, 25000 + draw(w, 20000), SNAPSHOT_DONE, n->id, p);
}

static void on_role(struct world *w, struct node *n, const struct cairn_effect *e)
{
	static const char *const names[] = { "a follower", "a learner", "a candidate", "the leader" };

	if (e->term < n->term)
		world_fail(w, "node %u goes back from term %llu to %llu", n->id, (unsigned long long)n->term,
			   (unsigned long long)e->term);
	n->role = e->role;
	n->term = e->term;
	n->leader = e->peer;
	world_trace(w, "node %u is %s in term %llu, led by %llu", n->id, names[e->role],
		    (unsigned long long)e->term, (unsigned long long)e->peer);
	if (e->role == CAIRN_ROLE_LEADER)
		check_leader(w, n);
}

static struct world *the_world; /* of the step under way: the host's callback has room for the node only */

static void host_effect(void *arg, const struct cairn_effect *e)
{
	struct world *w = the_world;
	struct node *n = arg;

	switch (e->kind) {
	case CAIRN_EFFECT_APPEND:
		on_append(w, n, &e->entry);
		break;
	case CAIRN_EFFECT_TRUNCATE:
		on_truncate(w, n, e->index);
		break;
	case CAIRN_EFFECT_PERSIST:
		on_persist(w, n, e);
		break;
	case CAIRN_EFFECT_SEND:
		on_send(w, n, e);
		break;
	case CAIRN_EFFECT_APPLY:
		on_apply(w, n, e);
		break;
	case CAIRN_EFFECT_READ_OK:
		on_read(w, n, e);
		break;
	case CAIRN_EFFECT_READ_NO:
	case CAIRN_EFFECT_REJECT:
		client_refused(w, e->reference, true);
		break;
	case CAIRN_EFFECT_ACCEPT:
		world_trace(w, "node %u accepts a change of members as entry %llu", n->id,
			    (unsigned long long)e->index);
		break;
	case CAIRN_EFFECT_ROLE:
		on_role(w, n, e);
		break;
	case CAIRN_EFFECT_SET_TIMER:
		n->timer_at = e->now_us;
		world_at(w,
			 e->now_us > node_clock(w, n)
				 ? (uint64_t)((double)(e->now_us - node_clock(w, n)) / n->drift) + 1
				 : 0,
			 TIMER, n->id, NULL);
		break;
	case CAIRN_EFFECT_SNAPSHOT:
		on_snapshot(w, n, (unsigned)e->peer);
		break;
	}
}

void node_step(struct world *w, struct node *n, const struct cairn_event *events, size_t count)
{
	int r;

	if (!n->alive || w->failure[0])
		return;
	w->steps++;
	the_world = w;
	for (size_t i = 0; i < count; i++)
		((struct cairn_event *)&events[i])->now_us = node_clock(w, n);
	r = w->module->step(n->instance, events, count);
	if (r < 0)
		world_fail(w, "node %u stops: %s", n->id, strerror(-r));
	check_members(w, n);
	check_progress(w, n);
	if (n->memory > 65536)
		world_fail(w, "node %u holds %zu bytes", n->id, n->memory);
}

/* --- the life of a node --- */

void node_start(struct world *w, struct node *n)
{
	struct cairn_value values[] = { { .number = 150 }, { .number = 20 } };
	struct disk *d = &n->disk;
	struct cairn_entry *log = calloc(d->log.count + 1, sizeof(*log));
	struct cairn_durable durable = { .self = n->id,
					 .term = d->term,
					 .vote = d->vote,
					 .index = d->snapshot.index,
					 .index_term = d->snapshot.term,
					 .log = log,
					 .last = records_last(&d->log) };
	struct cairn_error error;

	n->alive = true;
	n->paused = false;
	n->epoch++;
	n->state = d->snapshot;
	if (w->options.store)
		behind_start(w, n);
	n->apply_to = n->state.index;
	records_copy(&n->log, &d->log);
	n->role = (enum cairn_role) - 1;
	n->leader = 0;
	n->term = d->term;
	n->stored_token = n->timer_at = 0;
	n->host = (struct cairn_replication_host){ n, host_alloc, host_free, host_effect };
	if (d->snapshot.members)
		durable.members = cairn_slice(d->snapshot.members->bytes, d->snapshot.members->len);
	for (uint64_t i = d->log.base + 1; i <= records_last(&d->log); i++) {
		const struct record *r = records_get(&d->log, i);

		/* Entries may be left out where the term goes on. */
		if (r->kind == CAIRN_ENTRY_COMMAND && durable.count && log[durable.count - 1].term == r->term)
			continue;
		log[durable.count++] = (struct cairn_entry){ .index = i, .term = r->term, .kind = r->kind };
		if (r->body)
			log[durable.count - 1].body = cairn_slice(r->body->bytes, r->body->len);
	}
	if (w->module->open(&n->host, values, &n->instance, &error) < 0)
		world_fail(w, "node %u cannot be opened", n->id);
	world_trace(w, "node %u starts: term %llu, log %llu to %llu", n->id, (unsigned long long)d->term,
		    (unsigned long long)d->log.base, (unsigned long long)records_last(&d->log));
	node_step(w, n,
		  &(struct cairn_event){
			  .kind = CAIRN_EVENT_START, .random = draw(w, UINT64_MAX), .durable = &durable },
		  1);
	free(log);
}

/* The first COUNT changes of P come to disk, and term and vote, which are never behind them. */
static void put_on_disk(struct world *w, struct node *n, struct persist *p, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct change *c = &p->changes[i];

		if (c->index <= n->disk.log.base)
			continue;
		if (c->truncate && w->options.wrong != WRONG_truncate)
			records_cut(&n->disk.log, c->index);
		else if (!c->truncate && c->index == records_last(&n->disk.log) + 1)
			records_add(&n->disk.log, &c->record);
	}
	if (w->options.wrong != WRONG_order || count == p->count) {
		check_hard(w, n, p->term, p->vote);
		n->disk.term = p->term;
		n->disk.vote = p->vote;
	}
	if (n->disk.log.count && records_term(&n->disk.log, records_last(&n->disk.log)) > n->disk.term)
		world_fail(w, "hard state: node %u has entries of term %llu on disk, and term %llu", n->id,
			   (unsigned long long)records_term(&n->disk.log, records_last(&n->disk.log)),
			   (unsigned long long)n->disk.term);
	free(p->changes);
}

void node_crash(struct world *w, struct node *n)
{
	size_t kept = n->persist_count ? (size_t)draw(w, n->persist_count + 1) : 0, torn = 0;

	if (!n->alive)
		return;
	if (w->faults && kept < n->persist_count && draw(w, 2)) { /* of the next one, a part */
		torn = 1 + (size_t)draw(w, n->persists[kept].count + 1);
		world_trace(w, "of the next persist %zu of %zu changes are on disk", torn - 1,
			    n->persists[kept].count);
	}
	world_trace(w, "node %u dies; %zu of %zu persists under way are on disk", n->id, kept,
		    n->persist_count);
	for (size_t i = 0; i < n->persist_count; i++)
		if (i < kept)
			put_on_disk(w, n, &n->persists[i], n->persists[i].count);
		else if (i == kept && torn)
			put_on_disk(w, n, &n->persists[i], torn - 1);
		else
			free(n->persists[i].changes);
	for (size_t i = 0; i < n->held_count; i++)
		packet_free(n->held[i]);
	n->persist_count = n->held_count = n->change_count = n->read_count = 0;
	n->writing = n->applying = n->alive = false;
	n->doomed = 0;
	n->epoch++;
	w->module->close(n->instance);
	behind_stop(n);
	if (n->memory)
		world_fail(w, "node %u has leaked %zu bytes", n->id, n->memory);
	w->restarts++;
}

static void install(struct world *w, struct node *n, const struct packet *p)
{
	const struct state *s = p->snapshot;
	struct cairn_event e = { .kind = CAIRN_EVENT_INSTALLED,
				 .index = s->index,
				 .term = s->term,
				 .body = cairn_slice(s->members->bytes, s->members->len) };
	bool keeps, disk_keeps;

	if (s->index <= n->apply_to || !n->alive)
		return;
	/* It is durable before anybody hears of it; what was being written is behind it, or of another log.
	 */
	while (n->persist_count)
		node_disk_done(w, n);
	if (!n->alive)
		return;
	if (w->options.store && !behind_install(w, n, s)) {
		node_crash(w, n);
		return;
	}
	if (w->options.wrong == WRONG_swap && draw(w, 3) == 0) {
		node_step(w, n, &e, 1);
		node_crash(w, n);
		return;
	}
	keeps = records_term(&n->log, s->index) == s->term && s->index >= n->log.base;
	disk_keeps = records_term(&n->disk.log, s->index) == s->term && s->index >= n->disk.log.base;
	n->disk.snapshot = *s;
	if (!disk_keeps)
		n->disk.log.count = 0;
	records_begin(&n->disk.log, s->index, s->term, s->log_hash);
	if (!keeps) {
		n->log.count = 0;
		n->change_count = 0;
	}
	records_begin(&n->log, s->index, s->term, s->log_hash);
	n->state = *s;
	n->state.stream = NULL;
	n->apply_to = s->index;
	world_trace(w, "node %u has the snapshot at %llu", n->id, (unsigned long long)s->index);
	node_step(w, n, &e, 1);
	serve_reads(w, n);
}

/* N hears what the sender of P has. */
static void note_ack(struct node *n, const struct packet *p)
{
	uint64_t term = check_number(p->body + 8), match = check_number(p->body + 16);

	if (p->body[1] != 2 || n->role != CAIRN_ROLE_LEADER || term != n->term)
		return;
	if (n->known_term != term)
		memset(n->known, 0, sizeof(n->known));
	n->known_term = term;
	n->known[p->from] = match > n->known[p->from] ? match : n->known[p->from];
}

void node_deliver(struct world *w, struct node *n, struct packet *p)
{
	if (p->snapshot) {
		struct node *from = &w->nodes[p->from];

		install(w, n, p);
		node_step(w, from,
			  &(struct cairn_event){
				  .kind = CAIRN_EVENT_SENT, .peer = n->id, .index = p->snapshot->index },
			  1);
		return;
	}
	note_ack(n, p);
	node_step(w, n,
		  &(struct cairn_event){ .kind = CAIRN_EVENT_MESSAGE,
					 .peer = p->from,
					 .body = cairn_slice(p->body, p->len),
					 .index = p->index,
					 .term = p->term,
					 .entries = p->entries,
					 .count = p->count },
		  1);
}

void node_disk_done(struct world *w, struct node *n)
{
	struct persist p = n->persists[0];
	size_t kept = 0;

	if (!n->persist_count)
		return;
	if (n->doomed && --n->doomed == 0) {
		node_crash(w, n);
		return;
	}
	memmove(n->persists, n->persists + 1, --n->persist_count * sizeof(p));
	put_on_disk(w, n, &p, p.count);
	n->stored_token = p.token;
	for (size_t i = 0; i < n->held_count; i++)
		if (n->held[i]->token <= p.token)
			transmit(w, n, n->held[i]);
		else
			n->held[kept++] = n->held[i];
	n->held_count = kept;
	n->writing = n->persist_count != 0;
	if (n->writing)
		world_at(w, 100 + draw(w, 400) + n->disk_us, DISK_DONE, n->id, NULL);
	if (n->role == CAIRN_ROLE_LEADER && n->known_term == n->term)
		n->known[n->id] = records_last(&n->disk.log);
	node_step(w, n, &(struct cairn_event){ .kind = CAIRN_EVENT_STORED, .token = p.token }, 1);
}

void node_apply_done(struct world *w, struct node *n)
{
	uint64_t last = n->apply_to;

	if (!n->applying)
		return;
	while (n->state.index < last) {
		uint64_t index = n->state.index + 1, found;
		const struct record *r = records_get(&n->log, index);

		n->state.hash = mix(mix(mix(n->state.hash, r->term), r->reference), r->kind);
		n->state.index = index;
		n->state.term = r->term;
		n->state.log_hash = r->hash;
		if (r->kind == CAIRN_ENTRY_MEMBERS)
			n->state.members = r->body;
		if (r->kind == CAIRN_ENTRY_COMMAND && w->options.store)
			behind_apply(w, n, index, r);
		if (r->kind != CAIRN_ENTRY_COMMAND || w->options.store) {
			check_applied(w, n);
			continue;
		}
		found = client_apply(w, &n->state, r->reference);
		check_applied(w, n);
		if (w->ops[r->reference - 1].node == n->id)
			client_answer(w, r->reference, true, found);
	}
	n->applying = false;
	if (w->options.store)
		behind_flush(w, n);
	serve_reads(w, n);
	node_step(w, n, &(struct cairn_event){ .kind = CAIRN_EVENT_APPLIED, .index = last }, 1);
}

void node_compact(struct world *w, struct node *n)
{
	struct state s = n->state;

	if (!n->alive || s.index <= n->disk.log.base || s.index > records_last(&n->disk.log) ||
	    records_hash(&n->disk.log, s.index) != s.log_hash)
		return;
	if (w->options.store)
		s.stream = behind_save(w, n);
	n->disk.snapshot = s;
	records_begin(&n->disk.log, s.index, s.term, s.log_hash);
	records_begin(&n->log, s.index, s.term, s.log_hash);
	world_trace(w, "node %u keeps nothing of its log up to %llu", n->id, (unsigned long long)s.index);
	node_step(w, n,
		  &(struct cairn_event){ .kind = CAIRN_EVENT_COMPACTED, .index = s.index, .term = s.term },
		  1);
}
