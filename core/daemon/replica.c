/*
 * The host of a module with peers: what a step takes in (messages, what was stored and applied, clients'
 * requests, time), and what is done about the effects. Messages that promise durability leave when their
 * persist is stored. Where the journal fails, or the module does, the shard stops, and everybody who waits
 * hears why.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include "replica.h"
#include "banned.h"

struct mail *mail_new(enum mail_kind kind, size_t entries, size_t bytes)
{
	struct mail *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->kind = kind;
	m->entries = entries ? calloc(entries, sizeof(*m->entries)) : NULL;
	m->data = bytes ? malloc(bytes) : NULL;
	if ((entries && !m->entries) || (bytes && !m->data)) {
		mail_free(m);
		return NULL;
	}
	return m;
}

void mail_free(struct mail *m)
{
	for (size_t i = 0; m->entries && i < m->event.count; i++)
		if (m->entries[i].reference)
			entry_put((struct entry *)(uintptr_t)m->entries[i].reference);
	free(m->entries);
	free(m->data);
	free(m);
}

void replica_post(struct replica *r, struct mail *m)
{
	m->next = atomic_load_explicit(&r->mail, memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&r->mail, &m->next, m))
		;
}

void replica_kick(struct replica *r)
{
	struct loop *l = r->shard->node->loop;

	if (loop_inside(l)) /* together with whatever else comes in this turn */
		shard_step_at_turn_end(r->shard, l);
	else
		shard_try_step(r->shard, NULL);
}

/* --- what a step takes in --- */

bool replica_is_due(struct shard *s, bool inside)
{
	struct replica *r = s->replica;

	return (inside && (r->post || r->again)) || s->saved || s->unsavable || s->applied != s->told ||
		r->timer_due || r->sweep_due || atomic_load_explicit(&r->mail, memory_order_relaxed) ||
		atomic_load_explicit(&r->read_inbox, memory_order_relaxed) ||
		atomic_load_explicit(&s->inbox, memory_order_relaxed);
}

/* Take what was posted to the end of the list, oldest first. */
static void take_mail(struct replica *r)
{
	struct mail *m = atomic_exchange(&r->mail, NULL), *first = NULL, **last = r->post_last;

	while (m) {
		struct mail *next = m->next;

		if (!first)
			last = &m->next;
		m->next = first;
		first = m;
		m = next;
	}
	if (first) {
		*r->post_last = first;
		r->post_last = last;
	}
}

static void peer_gone(struct replica *r, uint64_t peer)
{
	snapshot_stop(r, peer);
	install_stop(r, peer);
	if (peer == r->leader)
		replica_take_back(r);
}

/* Make events of the mail, up to number MAX. */
static size_t read_mail(struct replica *r, size_t n, size_t max, uint64_t now)
{
	struct shard *s = r->shard;

	take_mail(r);
	while (r->post && n < max) {
		struct mail *m = r->post;

		r->post = m->next;
		if (!r->post)
			r->post_last = &r->post;
		if (m->kind == MAIL_ANSWER)
			replica_answered(r, m);
		else if (m->kind == MAIL_AGAIN)
			r->again = true;
		if (m->kind == MAIL_GONE)
			peer_gone(r, m->event.peer);
		if (m->kind == MAIL_EVENT || m->kind == MAIL_GONE) {
			s->events[n] = m->event;
			s->events[n].entries = m->entries;
			s->events[n++].now_us = now / 1000;
		}
		m->next = r->read_mail;
		r->read_mail = m;
	}
	return n;
}

/* The shard has stopped, or closes: nobody waits any more. */
static void drain(struct replica *r, const struct cairn_error *error)
{
	replica_drain_writes(r, error);
	replica_drain_reads(r, error);
	take_mail(r);
	while (r->post) {
		struct mail *m = r->post;

		r->post = m->next;
		mail_free(m);
	}
	r->post_last = &r->post;
	r->timer_due = r->sweep_due = false;
	r->again = false;
}

static bool is_over(struct replica *r)
{
	struct shard *s = r->shard;
	struct cairn_error error;

	if (s->closing && !s->stopped)
		cairn_fail(&error, CAIRN_E_UNAVAILABLE, "volume %s is being closed", s->name);
	else if (!shard_health(s, &error))
		return false;
	atomic_exchange(&s->saved, 0);
	s->unsavable = false;
	s->told = s->applied;
	drain(r, &error);
	return true;
}

static void sweep(struct replica *r, uint64_t now)
{
	r->sweep_due = false;
	r->outstanding = false;
	replica_sweep_writes(r, now);
	replica_sweep_reads(r, now);
	r->again = true;
}

size_t replica_gather(struct shard *s, uint64_t now)
{
	struct replica *r = s->replica;
	uint64_t token, applied = s->applied;
	size_t n = 0;

	if (is_over(r))
		return 0;
	token = atomic_exchange(&s->saved, 0);
	if (token) {
		replica_release(r, token);
		s->events[n++] = (struct cairn_event){ .kind = CAIRN_EVENT_STORED,
						       .token = token,
						       .now_us = now / 1000 };
	}
	if (applied != s->told) {
		s->events[n++] = (struct cairn_event){ .kind = CAIRN_EVENT_APPLIED,
						       .index = applied,
						       .now_us = now / 1000 };
		s->told = applied;
		replica_reads_applied(r);
		replica_evict(r);
	}
	if (atomic_exchange(&r->timer_due, false))
		s->events[n++] = (struct cairn_event){ .kind = CAIRN_EVENT_TIMER, .now_us = now / 1000 };
	n = read_mail(r, n, STEP_MAX / 2, now);
	if (r->sweep_due)
		sweep(r, now);
	n = replica_propose(r, n, now);
	n = replica_ask(r, n, now);
	if (!n)
		replica_stepped(s);
	return n;
}

void replica_stepped(struct shard *s)
{
	struct replica *r = s->replica;

	while (r->read_mail) {
		struct mail *m = r->read_mail;

		r->read_mail = m->next;
		mail_free(m);
	}
}

/* --- what the module wants done --- */

static void out_of_memory(struct replica *r)
{
	struct cairn_error error;

	cairn_fail(&error, CAIRN_E_INTERNAL, "no memory for the log");
	shard_stop(r->shard, &error);
}

/* An entry that the module makes has its bytes in a command of ours, so that logs hold nothing else. */
static struct entry *own_entry(struct replica *r, const struct cairn_entry *e)
{
	struct cairn_msg m = { 0 };
	struct entry *own = NULL;

	cairn_msg_start(&m, e->kind == CAIRN_ENTRY_MEMBERS ? CAIRN_OP_MEMBERS : CAIRN_OP_NOTHING);
	if (e->kind == CAIRN_ENTRY_MEMBERS)
		cairn_msg_bytes(&m, CAIRN_F_VALUE, e->body);
	if (!cairn_msg_error(&m))
		own = entry_new(r, cairn_msg_slice(&m), e->term);
	cairn_msg_free(&m);
	return own;
}

/* Whose entry E is: one that a leader's message brought, or that was proposed here, or the module's own. */
static struct entry *appended(struct replica *r, const struct cairn_entry *e)
{
	struct entry *known = (struct entry *)(uintptr_t)e->reference;

	if (e->kind != CAIRN_ENTRY_COMMAND && (!e->reference || e->reference & 1))
		return own_entry(r, e);
	if (known->mailed)
		*known->mailed = 0; /* the log's from now on */
	known->mailed = NULL;
	return known;
}

static void on_append(struct replica *r, const struct cairn_entry *e)
{
	struct entry *entry = appended(r, e);

	if (!entry) {
		out_of_memory(r);
		return;
	}
	entry->w.place = (struct cairn_position){ e->index, e->term };
	le64_put(entry->bytes + 8, e->term);
	if (replica_push(r, entry) < 0)
		out_of_memory(r);
}

static void on_apply(struct replica *r, uint64_t index, uint64_t last)
{
	struct shard *s = r->shard;
	struct cairn_error error;

	r->commit = last;
	pthread_mutex_lock(&s->lock);
	for (; index <= last; index++) {
		struct entry *e = replica_entry(r, index);

		if (!e)
			break;
		atomic_fetch_add(&e->uses, 1);
		e->w.next = NULL;
		*s->committed_last = &e->w;
		s->committed_last = &e->w.next;
	}
	pthread_mutex_unlock(&s->lock);
	if (index <= last) {
		cairn_fail(&error, CAIRN_E_INTERNAL, "entry %llu was committed and is not in memory",
			   (unsigned long long)index);
		shard_stop(s, &error);
	}
}

/* The last stamp that a command of the log carries. */
static uint64_t last_stamp(struct replica *r)
{
	struct store_facts facts;
	struct entry *e;
	uint64_t time = 0;

	store_facts(r->shard->store, &facts);
	for (uint64_t i = r->last; !time && (e = replica_entry(r, i)); i--)
		time = cairn_field_u64(cairn_message_fields(cairn_msg_slice(&e->w.command)), CAIRN_F_TIME, 0);
	return time > facts.clock_ns ? time : facts.clock_ns;
}

static void on_role(struct replica *r, const struct cairn_effect *e)
{
	static const char *const names[] = { "follower", "learner", "candidate", "leader" };
	struct shard *s = r->shard;
	char leader[PEER_NAME_MAX + 1] = "none";
	bool other = e->peer != r->leader || e->term != r->term;

	if (e->role == CAIRN_ROLE_LEADER && r->role != CAIRN_ROLE_LEADER) {
		pthread_mutex_lock(&s->lock);
		s->clock = stamp_start(last_stamp(r), clock_wall_ns(), clock_boot_ns());
		pthread_mutex_unlock(&s->lock);
	}
	r->role = e->role;
	r->term = e->term;
	r->leader = e->peer;
	r->generation++;
	r->heard_ns = clock_boot_ns();
	if (other)
		replica_take_back(r);
	if (e->role != CAIRN_ROLE_LEADER)
		snapshot_stop(r, 0);
	r->again = true;
	if (e->peer)
		cluster_node_name(r->cluster, e->peer, leader);
	log_info(s->node->log, LOG_REPLICATION, "role", LOG_TEXT("volume", s->name),
		 LOG_TEXT("role", names[e->role]), LOG_NUMBER("term", e->term), LOG_TEXT("leader", leader));
	if (e->role == CAIRN_ROLE_LEADER)
		volumes_tick_soon(s->node);
}

static void on_reject(struct replica *r, uint64_t reference)
{
	if (!(reference & 1)) /* else a transfer's, which nobody waits for */
		replica_rejected(r, (struct entry *)(uintptr_t)reference);
}

static void on_timer(struct replica *r, uint64_t at_us)
{
	r->timer_us = at_us;
	cluster_wake(r->cluster, at_us * 1000);
}

void replica_effect(struct shard *s, const struct cairn_effect *e)
{
	struct replica *r = s->replica;

	switch (e->kind) {
	case CAIRN_EFFECT_APPEND:
		on_append(r, &e->entry);
		break;
	case CAIRN_EFFECT_TRUNCATE:
		replica_truncate(r, e->index);
		break;
	case CAIRN_EFFECT_PERSIST:
		r->hard.term = e->term;
		r->hard.vote = e->peer;
		replica_persist(r, e->token);
		break;
	case CAIRN_EFFECT_SEND:
		replica_send(r, e);
		break;
	case CAIRN_EFFECT_APPLY:
		on_apply(r, e->index, e->last);
		break;
	case CAIRN_EFFECT_READ_OK:
		replica_read_ok(r, e->reference, e->index);
		break;
	case CAIRN_EFFECT_READ_NO:
		replica_read_refused(r, e->reference);
		break;
	case CAIRN_EFFECT_REJECT:
		on_reject(r, e->reference);
		break;
	case CAIRN_EFFECT_ROLE:
		on_role(r, e);
		break;
	case CAIRN_EFFECT_SET_TIMER:
		on_timer(r, e->now_us);
		break;
	case CAIRN_EFFECT_SNAPSHOT:
		snapshot_start(r, e->peer);
		break;
	case CAIRN_EFFECT_ACCEPT:
		break;
	}
}

/* --- its life --- */

static enum cairn_code check_options(struct shard *s, struct cairn_error *error)
{
	if (!s->node->cluster)
		return cairn_fail(error, CAIRN_E_UNSUPPORTED,
				  "replication-%s needs other nodes, and this one is on its own",
				  s->module->name);
	if (!s->journal)
		return cairn_fail(error, CAIRN_E_UNSUPPORTED,
				  "replication-%s needs the journal: an engine that is kept, and neither "
				  "sync=no nor through=yes",
				  s->module->name);
	return CAIRN_OK;
}

enum cairn_code replica_open(struct shard *s, const struct shard_options *o, struct cairn_error *error)
{
	struct replica *r;
	enum cairn_code code = check_options(s, error);

	if (code)
		return code;
	r = calloc(1, sizeof(*r));
	if (!r)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory");
	s->replica = r;
	r->shard = s;
	r->cluster = s->node->cluster;
	r->id = shard_id(s->folder);
	r->post_last = &r->post;
	r->held_last = &r->held;
	r->chased_last = &r->chased;
	pthread_mutex_init(&r->lock, NULL);
	if (getrandom(&r->next_reference, sizeof(r->next_reference), 0) != sizeof(r->next_reference))
		return cairn_fail(error, CAIRN_E_INTERNAL, "no random bytes: %s", strerror(errno));
	r->next_reference = r->next_reference >> 1 | 1;
	hard_state_load(s->journal, &r->hard);
	if (!r->hard.members_len && o->members.len <= sizeof(r->hard.members)) {
		memcpy(r->hard.members, o->members.data, o->members.len);
		r->hard.members_len = o->members.len;
	}
	r->applied = r->hard;
	return CAIRN_OK;
}

/* What the log is to the module: where terms begin, and who belongs to the shard; what stands in the journal
 * and was applied comes first. */
static struct cairn_entry *describe_log(struct replica *r, size_t *count)
{
	bool ours = journal_extent(r->shard->journal).first > r->hard.from;
	size_t old = ours ? journal_terms(r->shard->journal, r->first - 1, NULL, 0) : 0, n;
	struct journal_entry *terms = calloc(old + 1, sizeof(*terms));
	struct cairn_entry *log = calloc((size_t)(r->last - r->first + 2) + old, sizeof(*log));

	if (!terms || !log) {
		free(terms);
		free(log);
		return NULL;
	}
	n = journal_terms(r->shard->journal, r->first - 1, terms, old);
	for (*count = 0; *count < n && *count < old; ++*count)
		log[*count] = (struct cairn_entry){ .index = terms[*count].index,
						    .term = terms[*count].term,
						    .kind = CAIRN_ENTRY_COMMAND };
	free(terms);
	for (uint64_t i = r->first; log && i <= r->last; i++) {
		struct entry *e = replica_entry(r, i);

		log[*count] = (struct cairn_entry){ .index = i, .term = e->w.place.term, .kind = e->kind };
		if (e->kind == CAIRN_ENTRY_MEMBERS)
			cairn_field_find(cairn_message_fields(cairn_msg_slice(&e->w.command)), CAIRN_F_VALUE,
					 &log[*count].body);
		++*count;
	}
	return log;
}

enum cairn_code replica_start(struct shard *s, struct cairn_error *error)
{
	struct replica *r = s->replica;
	struct cairn_durable d = { .self = r->cluster->self, .term = r->hard.term, .vote = r->hard.vote };
	struct cairn_event e = { .kind = CAIRN_EVENT_START, .durable = &d };
	struct store_facts facts;
	enum cairn_code code;
	int result;

	store_facts(s->store, &facts);
	code = replica_load(r, facts.position.index, error);
	if (code)
		return code;
	d.index = r->first - 1;
	d.index_term = facts.position.term;
	d.last = r->last;
	d.members = cairn_slice(r->hard.members, r->hard.members_len);
	d.log = describe_log(r, &d.count);
	if (!d.log || getrandom(&e.random, sizeof(e.random), 0) != sizeof(e.random))
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory for the log");
	s->applied = s->told = r->commit = facts.position.index;
	s->clock = stamp_start(facts.clock_ns, clock_wall_ns(), clock_boot_ns());
	e.now_us = clock_boot_ns() / 1000;
	s->step = true; /* what it asks for may be done before it has returned */
	result = s->module->step(s->instance, &e, 1);
	free((void *)d.log);
	cluster_add(r->cluster, r);
	s->step = false;
	if (result < 0)
		return cairn_fail(error, CAIRN_E_INTERNAL, "replication-%s failed: %s", s->module->name,
				  strerror(-result));
	replica_kick(r);
	return shard_health(s, error);
}

void replica_tick(struct replica *r)
{
	struct volume *system = volumes_system(r->shard->node);
	struct shard_role role;
	struct mail *m;

	snapshot_tick(r);
	if (r->role != CAIRN_ROLE_LEADER || !system || !system->shard || system->shard == r->shard)
		return;
	shard_role(system->shard, &role);
	if (!role.leader || role.leader == r->cluster->self)
		return;
	m = mail_new(MAIL_EVENT, 0, 0);
	if (!m)
		return;
	m->event = (struct cairn_event){ .kind = CAIRN_EVENT_TRANSFER, .peer = role.leader, .reference = 1 };
	replica_post(r, m);
	replica_kick(r);
}

void replica_close(struct replica *r)
{
	cluster_remove(r->cluster, r);
	snapshot_stop(r, 0);
	install_stop(r, 0);
	r->sweep_due = true;
	shard_try_step(r->shard, NULL);
}

void replica_free(struct replica *r)
{
	struct cairn_error error = { 0 };

	if (!r)
		return;
	cluster_remove(r->cluster, r);
	cairn_fail(&error, CAIRN_E_UNAVAILABLE, "volume %s is closed", r->shard->name);
	drain(r, &error);
	while (r->held) {
		struct outgoing *o = r->held;

		r->held = o->next;
		free(o);
	}
	for (uint64_t i = r->first; i <= r->last && r->cap; i++)
		entry_put(replica_entry(r, i));
	free(r->ring);
	pthread_mutex_destroy(&r->lock);
	free(r);
}
