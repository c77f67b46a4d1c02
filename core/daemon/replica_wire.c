/*
 * Frames between the nodes of a shard. The first byte of each is its version, 1; numbers are little-endian.
 *
 *   WIRE_MODULE   1 zero, 2 length of the module's message (2), 4 number of entries (4), 8 index of the first
 *                 entry, 16 term of the one before, 24 the message, then the entries: length (4), 4 zeros,
 * term, command WIRE_FORWARD  1 seven zeros, 8 reference, 16 milliseconds that are left (0: no limit), 24 the
 * command WIRE_ANSWER   1 one byte: 1 where it was not proposed; 2 code (2), 4 length of the sentence (2), 6
 * of the hint (2), 8 reference, 16 revision, 24 sentence, hint, the answer's message
 *
 * What a frame brings is copied into one piece of mail; what is malformed is as if it had been lost.
 */
#include <stdlib.h>
#include "replica.h"
#include "banned.h"

#define HEAD 24
#define VERSION 1
#define BATCH 512 /* most entries of one frame */

/* --- out --- */

static enum peer_lane lane_of(uint64_t index)
{
	return index ? PEER_LOG : PEER_URGENT; /* whatever has a place in the log keeps its order */
}

static void send_module(struct replica *r, uint64_t peer, struct cairn_slice body, uint64_t index,
			uint64_t term, struct cairn_slice *slices, size_t entries)
{
	unsigned char head[HEAD] = { VERSION };

	le16_put(head + 2, (uint16_t)body.len);
	le32_put(head + 4, (uint32_t)entries);
	le64_put(head + 8, index);
	le64_put(head + 16, term);
	slices[0] = cairn_slice(head, sizeof(head));
	slices[1] = body;
	cluster_send(r->cluster, peer, lane_of(index), WIRE_MODULE, r->id, slices, entries + 2);
}

/* Entries from INDEX to LAST, as many frames as they need. */
static void send_entries(struct replica *r, uint64_t peer, struct cairn_slice body, uint64_t index,
			 uint64_t last, uint64_t term)
{
	struct cairn_slice slices[BATCH + 2];

	while (index <= last) {
		size_t n = 0, bytes = HEAD + body.len;
		struct entry *e = NULL;

		while (n < BATCH && index + n <= last) {
			struct entry *next = replica_entry(r, index + n);

			if (!next || (n && bytes + ENTRY_HEAD + next->size > PEER_BODY_MAX))
				break;
			e = next;
			slices[2 + n++] = cairn_slice(e->bytes, ENTRY_HEAD + e->size);
			bytes += ENTRY_HEAD + e->size;
		}
		if (!n)
			return;
		send_module(r, peer, body, index, term, slices, n);
		index += n;
		term = e->w.place.term;
	}
}

static void send_now(struct replica *r, uint64_t peer, struct cairn_slice body, uint64_t index, uint64_t last,
		     uint64_t term)
{
	struct cairn_slice slices[2];

	if (last)
		send_entries(r, peer, body, index, last, term);
	else
		send_module(r, peer, body, index, term, slices, 0);
}

int replica_send_frame(struct replica *r, uint64_t peer, struct cairn_slice body, uint64_t index,
		       uint64_t term, struct cairn_slice entries, uint32_t count)
{
	unsigned char head[HEAD] = { VERSION };
	struct cairn_slice slices[3] = { cairn_slice(head, sizeof(head)), body, entries };

	le16_put(head + 2, (uint16_t)body.len);
	le32_put(head + 4, count);
	le64_put(head + 8, index);
	le64_put(head + 16, term);
	return cluster_send(r->cluster, peer, PEER_LOG, WIRE_MODULE, r->id, slices, 3);
}

static struct outgoing *keep_message(const struct cairn_effect *e)
{
	struct outgoing *o = malloc(sizeof(*o) + e->body.len);

	if (!o) /* as if it had been lost */
		return NULL;
	*o = (struct outgoing){ .peer = e->peer,
				.index = e->index,
				.last = e->last,
				.term = e->term,
				.token = e->token,
				.len = e->body.len };
	memcpy(o->body, e->body.data, e->body.len);
	return o;
}

void replica_send(struct replica *r, const struct cairn_effect *e)
{
	bool held = e->token > r->stored_token;
	bool old = e->last && (e->index < r->first || replica_chases(r, e->peer));
	struct outgoing *o;

	if (!held && !old) {
		send_now(r, e->peer, e->body, e->index, e->last, e->term);
		return;
	}
	o = keep_message(e);
	if (o && old) {
		replica_chase(r, o);
	} else if (o) {
		*r->held_last = o;
		r->held_last = &o->next;
	}
}

void replica_release(struct replica *r, uint64_t token)
{
	r->stored_token = token > r->stored_token ? token : r->stored_token;
	while (r->held && r->held->token <= r->stored_token) {
		struct outgoing *o = r->held;

		r->held = o->next;
		if (!r->held)
			r->held_last = &r->held;
		send_now(r, o->peer, cairn_slice(o->body, o->len), o->index, o->last, o->term);
		free(o);
	}
}

bool replica_forward(struct replica *r, uint64_t peer, uint64_t reference, const struct shard_write *w,
		     uint64_t now)
{
	unsigned char head[HEAD] = { VERSION };
	struct cairn_slice slices[2] = { cairn_slice(head, sizeof(head)), cairn_msg_slice(&w->command) };

	le64_put(head + 8, reference);
	if (w->deadline_ns)
		le64_put(head + 16, w->deadline_ns > now ? (w->deadline_ns - now) / 1000000 + 1 : 1);
	return cluster_send(r->cluster, peer, PEER_LOG, WIRE_FORWARD, r->id, slices, 2) == 0;
}

/* --- writes of other nodes --- */

struct guest {
	struct shard_write w;
	struct replica *replica;
	uint64_t peer, reference;
};

static void guest_done(struct shard_write *w)
{
	struct guest *g = (struct guest *)w;
	struct shard *s = g->replica->shard;
	unsigned char head[HEAD] = { VERSION };
	const struct cairn_error *e = &w->error;
	size_t message = e->code ? strlen(e->message) : 0, hint = e->code ? strlen(e->hint) : 0;
	struct cairn_slice slices[4] = { cairn_slice(head, sizeof(head)), cairn_slice(e->message, message),
					 cairn_slice(e->hint, hint), cairn_msg_slice(&w->answer) };

	head[1] = w->refused;
	le16_put(head + 2, (uint16_t)e->code);
	le16_put(head + 4, (uint16_t)message);
	le16_put(head + 6, (uint16_t)hint);
	le64_put(head + 8, g->reference);
	le64_put(head + 16, e->revision);
	cluster_send(g->replica->cluster, g->peer, PEER_LOG, WIRE_ANSWER, g->replica->id, slices,
		     e->code ? 3 : 4);
	cairn_msg_free(&w->command);
	cairn_msg_free(&w->answer);
	free(g);
	shard_let_go(s);
}

static void take_forward(struct replica *r, const struct peer_frame *f)
{
	const unsigned char *p = f->body.data;
	struct cairn_slice command = cairn_slice(p + HEAD, f->body.len - HEAD);
	struct loop *l = r->shard->node->loop;
	uint64_t ms = le64_get(p + 16);
	struct guest *g;

	if (cairn_fields_check(cairn_message_fields(command), NULL) || !cairn_message_number(command))
		return;
	g = calloc(1, sizeof(*g));
	if (!g)
		return;
	g->replica = r;
	g->peer = f->from;
	g->reference = le64_get(p + 8);
	g->w.done = guest_done;
	g->w.guest = true;
	g->w.loop = l;
	g->w.deadline_ns = ms && ms < 86400000 ? loop_now_ns(l) + ms * 1000000 : 0;
	cairn_msg_start(&g->w.command, cairn_message_number(command));
	cairn_msg_fields(&g->w.command, cairn_message_fields(command));
	cairn_msg_start(&g->w.answer, 0);
	shard_use(r->shard);
	shard_write(r->shard, &g->w);
}

/* --- in --- */

/* Entries of a message: each is made one of ours. False where they are malformed. */
static bool take_entries(struct replica *r, struct mail *m, struct cairn_slice rest, uint32_t count)
{
	const unsigned char *p = rest.data;
	size_t left = rest.len;

	for (uint32_t i = 0; i < count; i++) {
		struct cairn_entry *to = &m->entries[i];
		struct cairn_slice command;
		struct entry *e;
		uint32_t len;

		if (left < ENTRY_HEAD)
			return false;
		len = le32_get(p);
		if (len > left - ENTRY_HEAD)
			return false;
		command = cairn_slice(p + ENTRY_HEAD, len);
		e = entry_new(r, command, le64_get(p + 8));
		if (!e)
			return false;
		e->mailed = &to->reference;
		*to = (struct cairn_entry){ .index = m->event.index + i,
					    .term = le64_get(p + 8),
					    .reference = (uintptr_t)e,
					    .size = len,
					    .kind = e->kind };
		if (e->kind == CAIRN_ENTRY_MEMBERS)
			cairn_field_find(cairn_message_fields(cairn_msg_slice(&e->w.command)), CAIRN_F_VALUE,
					 &to->body);
		m->event.count++;
		p += ENTRY_HEAD + len;
		left -= ENTRY_HEAD + len;
	}
	return left == 0;
}

static void take_module(struct replica *r, const struct peer_frame *f)
{
	const unsigned char *p = f->body.data;
	size_t len = le16_get(p + 2), rest = f->body.len - HEAD;
	uint32_t count = le32_get(p + 4);
	struct mail *m;

	if (len > rest || count > (rest - len) / ENTRY_HEAD)
		return;
	m = mail_new(MAIL_EVENT, count, len ? len : 1);
	if (!m)
		return;
	memcpy(m->data, p + HEAD, len);
	m->event = (struct cairn_event){ .kind = CAIRN_EVENT_MESSAGE,
					 .peer = f->from,
					 .index = le64_get(p + 8),
					 .term = le64_get(p + 16),
					 .body = cairn_slice(m->data, len) };
	if (!take_entries(r, m, cairn_slice(p + HEAD + len, rest - len), count)) {
		mail_free(m);
		return;
	}
	if (f->from == r->leader)
		r->heard_ns = clock_boot_ns();
	replica_post(r, m);
	replica_kick(r);
}

static void take_answer(struct replica *r, const struct peer_frame *f)
{
	const unsigned char *p = f->body.data;
	struct mail *m = mail_new(MAIL_ANSWER, 0, f->body.len);

	if (!m)
		return;
	memcpy(m->data, p, f->body.len);
	m->event = (struct cairn_event){ .peer = f->from,
					 .reference = le64_get(p + 8),
					 .body = cairn_slice(m->data, f->body.len) };
	replica_post(r, m);
	replica_kick(r);
}

void replica_frame(struct replica *r, const struct peer_frame *f)
{
	if (f->kind == WIRE_SNAPSHOT && f->body.len && *(const unsigned char *)f->body.data == VERSION)
		snapshot_frame(r, f);
	if (f->body.len < HEAD || *(const unsigned char *)f->body.data != VERSION)
		return;
	if (f->kind == WIRE_MODULE)
		take_module(r, f);
	else if (f->kind == WIRE_FORWARD)
		take_forward(r, f);
	else if (f->kind == WIRE_ANSWER)
		take_answer(r, f);
}
