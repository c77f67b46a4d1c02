/*
 * Random commands against the model, on every engine of this build at once: same codes, same answers, same
 * digests, same content; batch boundaries are random and differ between the engines, durable ones are
 * reopened between batches, and commands are repeated under their client's sequence, soon or much later, when
 * the client may be forgotten. `u-store-model 100000 [SEED]` runs that many.
 */
#include "storehouse.h"
#include "model-requests.h"
#include "banned.h"

#define HOUSES 8
#define QUEUE 200
#define CLIENTS 9
#define MEMORY 64

static uint64_t seed;

static uint64_t draw(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % below;
}

static struct cairn_slice any_key(struct model *m, char buffer[MODEL_KEY])
{
	static const char *const names[] = { "a", "b", "c", "dd", "e\xff", "f" };
	size_t n = 0, depth = 1 + draw(4);

	if (m->count && draw(5) > 1) {
		const struct item *i = &m->items[draw(m->count)];

		return cairn_slice(memcpy(buffer, i->key, i->key_len), i->key_len);
	}
	for (size_t i = 0; i < depth; i++) {
		const char *name = names[draw(6)];

		n += (size_t)snprintf(buffer + n, MODEL_KEY - n, "%s%s", i ? "/" : "", name);
	}
	if (draw(5) == 0)
		buffer[n++] = '/';
	if (draw(40) == 0)
		buffer[n++] = 0;
	return cairn_slice(buffer, n);
}

static struct cairn_slice any_prefix(struct model *m, char buffer[MODEL_KEY])
{
	struct cairn_slice key = any_key(m, buffer);

	while (key.len && buffer[key.len - 1] != '/' && draw(8))
		key.len--;
	return key;
}

static void add_key(struct cairn_msg *m, struct model *model, unsigned field)
{
	char buffer[MODEL_KEY];

	cairn_msg_bytes(m, field, any_key(model, buffer));
}

static void add_prefix(struct cairn_msg *m, struct model *model, unsigned field)
{
	char buffer[MODEL_KEY];

	cairn_msg_bytes(m, field, any_prefix(model, buffer));
}

static void add_value(struct cairn_msg *m, size_t most)
{
	size_t n = draw(10) == 0 ? draw(most) : draw(5) == 0 ? 16380 + draw(10) : draw(300);
	unsigned char *p = cairn_msg_room(m, CAIRN_F_VALUE, n);
	uint64_t start = draw(1 << 30);

	for (size_t i = 0; i < n; i++)
		p[i] = (unsigned char)((start += 0x9e3779b97f4a7c15ull) >> 56);
}

static void add_upload(struct cairn_msg *m, uint64_t which)
{
	unsigned char id[16] = "an upload";

	id[15] = (unsigned char)(which + 1);
	cairn_msg_bytes(m, CAIRN_F_UPLOAD, cairn_slice(id, 16));
}

static void add_content(struct cairn_msg *m)
{
	if (draw(4))
		add_value(m, 200000);
	else
		add_upload(m, draw(3));
}

static void add_attributes(struct cairn_msg *m)
{
	size_t mark = cairn_msg_open(m, CAIRN_F_ATTRIBUTES);

	if (draw(2))
		cairn_msg_u64(m, CAIRN_F_MODE, draw(512));
	if (draw(2))
		cairn_msg_u64(m, CAIRN_F_MTIME, draw(1 << 30));
	cairn_msg_close(m, mark);
}

static void add_guard(struct cairn_msg *m, struct model *model)
{
	size_t mark = cairn_msg_open(m, CAIRN_F_GUARD);
	struct item *i = model->count && draw(3) ? &model->items[draw(model->count)] : NULL;

	if (draw(4) == 0) {
		add_prefix(m, model, CAIRN_F_PREFIX);
		cairn_msg_bool(m, CAIRN_F_EMPTY, draw(3) == 0);
	} else {
		if (i)
			cairn_msg_bytes(m, CAIRN_F_KEY, item_key(i));
		else
			add_key(m, model, CAIRN_F_KEY);
		switch (draw(8)) {
		case 7:
			cairn_msg_u64(m, CAIRN_F_FENCE, i ? i->created - (draw(4) == 0) : draw(2));
			break;
		case 6:
			cairn_msg_u64(m, CAIRN_F_EXPIRY, i ? i->expiry_ns - (draw(4) == 0) : 0);
			break;
		case 5:
			cairn_msg_u64(m, CAIRN_F_DATA_VERSION, i ? i->data_version - (draw(4) == 0) : 0);
			break;
		case 0:
			cairn_msg_bool(m, CAIRN_F_EXISTS, i != NULL);
			break;
		case 1:
			cairn_msg_u64(m, CAIRN_F_REVISION, i ? i->revision - (draw(4) == 0) : 0);
			break;
		case 2:
			cairn_msg_u64(m, CAIRN_F_FILE_ID, i ? i->file_id : 0);
			break;
		case 3:
			cairn_msg_bool(m, CAIRN_F_NO_ANCESTOR, true);
			break;
		case 4:
			cairn_msg_bytes(m, CAIRN_F_VALUE,
					i && i->value->len < 100000
						? cairn_slice(i->value->data, i->value->len)
						: cairn_str("x"));
			break;
		}
	}
	cairn_msg_close(m, mark);
}

enum { COMMON = 18, ALL = 24 };

static const unsigned simple[ALL] = {
	CAIRN_OP_PUT,           CAIRN_OP_PUT,       CAIRN_OP_PUT,         CAIRN_OP_PUT,
	CAIRN_OP_DELETE,        CAIRN_OP_APPEND,    CAIRN_OP_APPEND,      CAIRN_OP_PATCH,
	CAIRN_OP_MOVE,          CAIRN_OP_COPY,      CAIRN_OP_SWAP,        CAIRN_OP_SET_ATTRIBUTES,
	CAIRN_OP_PATCH,         CAIRN_OP_REVERT,    CAIRN_OP_EXPIRE,      CAIRN_OP_EXPIRE,
	CAIRN_OP_PERSIST,       CAIRN_OP_INCREMENT, CAIRN_OP_MOVE_PREFIX, CAIRN_OP_COPY_PREFIX,
	CAIRN_OP_DELETE_PREFIX, CAIRN_OP_PURGE,     CAIRN_OP_PURGE,       CAIRN_OP_REVERT_PREFIX,
};

static void add_revision(struct cairn_msg *m, struct model *model)
{
	uint64_t back = draw(draw(3) ? 10 : 100);

	cairn_msg_u64(m, CAIRN_F_REVISION,
		      draw(30) == 0                    ? model->revision + 1 + draw(3)
			      : back < model->revision ? model->revision - back
						       : 0);
}

static void add_expiry(struct cairn_msg *m)
{
	uint64_t kind = draw(6), now;

	now = cairn_field_u64(cairn_message_fields(cairn_msg_slice(m)), CAIRN_F_TIME, 0);
	if (kind < 4)
		cairn_msg_u64(m, CAIRN_F_TTL_MS, draw(draw(3) ? 200 : 3000));
	if (kind == 4)
		cairn_msg_u64(m, CAIRN_F_EXPIRY, now + 1 + draw(100000000));
	if (kind == 5 && cairn_message_number(cairn_msg_slice(m)) == CAIRN_OP_PUT)
		cairn_msg_bool(m, CAIRN_F_KEEP_EXPIRY, true);
}

/* Some extents; offsets are at the edges of chunks more often than by chance. */
static void add_extents(struct cairn_msg *m)
{
	bool upload = draw(2);

	if (upload)
		add_upload(m, draw(3));
	for (uint64_t n = draw(4) + upload; n; n--) {
		size_t mark = cairn_msg_open(m, CAIRN_F_EXTENT);

		cairn_msg_u64(m, CAIRN_F_OFFSET,
			      draw(3) ? draw(draw(3) ? 400000 : 20000)
				      : draw(4) * 131072 + draw(3) - draw(2));
		if (upload && (n == 1 || draw(30) == 0))
			;
		else if (draw(2))
			add_value(m, 100000);
		else
			cairn_msg_u64(m, CAIRN_F_LENGTH, draw(draw(2) ? 300000 : 1000));
		cairn_msg_close(m, mark);
	}
	if (draw(3) == 0)
		cairn_msg_u64(m, CAIRN_F_SIZE, draw(draw(3) ? 700000 : 20000));
}

static void add_arguments(struct cairn_msg *m, unsigned op, struct model *model)
{
	bool tree = op == CAIRN_OP_MOVE_PREFIX || op == CAIRN_OP_COPY_PREFIX ||
		op == CAIRN_OP_DELETE_PREFIX || op == CAIRN_OP_REVERT_PREFIX ||
		(op == CAIRN_OP_PURGE && draw(3) == 0);

	if (tree) {
		add_prefix(m, model, CAIRN_F_PREFIX);
		if (op == CAIRN_OP_MOVE_PREFIX || op == CAIRN_OP_COPY_PREFIX) {
			char buffer[MODEL_KEY];
			struct cairn_slice to = any_prefix(model, buffer);

			if (model->count > 200 || !to.len)
				to = cairn_str("a/");
			cairn_msg_bytes(m, CAIRN_F_TO, to);
		}
	} else {
		add_key(m, model, CAIRN_F_KEY);
	}
	if (op == CAIRN_OP_MOVE || op == CAIRN_OP_COPY || op == CAIRN_OP_SWAP)
		add_key(m, model, CAIRN_F_TO);
	if (op == CAIRN_OP_REVERT || op == CAIRN_OP_REVERT_PREFIX)
		add_revision(m, model);
	if (op == CAIRN_OP_PUT || op == CAIRN_OP_APPEND)
		add_content(m);
	if (op == CAIRN_OP_PATCH && draw(3) == 0) {
		add_extents(m);
	} else if (op == CAIRN_OP_PATCH) {
		if (draw(4))
			cairn_msg_u64(m, CAIRN_F_OFFSET, draw(draw(3) ? 200000 : 20000));
		if (draw(4))
			add_content(m);
		if (draw(3) == 0)
			cairn_msg_u64(m, CAIRN_F_SIZE, draw(draw(3) ? 500000 : 20000));
	}
	if (op == CAIRN_OP_SET_ATTRIBUTES || (op == CAIRN_OP_PUT && draw(4) == 0))
		add_attributes(m);
	if ((op == CAIRN_OP_PUT || op == CAIRN_OP_SET_ATTRIBUTES) && draw(4) == 0)
		cairn_msg_bool(m, CAIRN_F_OPEN, op == CAIRN_OP_PUT);
	if (op == CAIRN_OP_PUT && draw(8) == 0)
		cairn_msg_kind(m, CAIRN_F_KIND, (unsigned)draw(3));
	if ((op == CAIRN_OP_PUT || op == CAIRN_OP_DELETE) && draw(3) == 0)
		cairn_msg_bool(m, CAIRN_F_RETURN_OLD, true);
	if (op == CAIRN_OP_EXPIRE || (op == CAIRN_OP_PUT && draw(4) == 0))
		add_expiry(m);
	if (op == CAIRN_OP_INCREMENT && draw(2))
		cairn_msg_u64(m, CAIRN_F_BY, draw(2000) - 1000);
	if (draw(8) == 0)
		add_guard(m, model);
}

static void add_txn(struct cairn_msg *m, struct model *model)
{
	size_t n = draw(6);

	for (size_t i = draw(3); i; i--)
		add_guard(m, model);
	for (size_t i = 0; i < n; i++) {
		unsigned op = draw(8) ? simple[draw(COMMON)] : CAIRN_OP_GET;
		size_t mark = cairn_msg_open_op(m, draw(4) ? CAIRN_F_THEN : CAIRN_F_ELSE, op);

		if (op == CAIRN_OP_GET) { /* less than the most that a transaction answers */
			add_key(m, model, CAIRN_F_KEY);
			cairn_msg_u64(m, CAIRN_F_OFFSET, draw(200000));
			cairn_msg_u64(m, CAIRN_F_LENGTH, draw(2000));
		} else {
			add_arguments(m, op, model);
		}
		cairn_msg_close(m, mark);
	}
	if (draw(2))
		cairn_msg_bool(m, CAIRN_F_EACH, true);
}

static void add_stage(struct cairn_msg *m)
{
	uint64_t index = draw(4);
	size_t n = index == 3 ? draw(131072) : 131072;

	add_upload(m, draw(3));
	cairn_msg_u64(m, CAIRN_F_INDEX, index);
	if (draw(10)) {
		if (draw(6) == 0)
			n = draw(20000);
		memset(cairn_msg_room(m, CAIRN_F_VALUE, n), (int)draw(256), n);
	}
}

/* One command of a queue, with what the model says to it. */
struct entry {
	struct cairn_msg message;
	enum cairn_code want;
	const struct entry *first; /* of a repeated one: what it repeats; else itself */
	bool given_again;          /* its answer is the first one's, not UNKNOWN */
	struct cairn_msg answer[HOUSES];
	struct cairn_error error[HOUSES];
	enum cairn_code got[HOUSES];
};

/* When reclaim runs. */
enum mode { NEVER, ALWAYS, AT_RANDOM };

struct run {
	struct house houses[HOUSES];
	enum mode modes[HOUSES];
	size_t count;
	struct model model;
	struct model_requests requests;
	uint64_t index, time_ns, sequence[CLIENTS];
	struct entry memory[MEMORY]; /* commands with a client of earlier rounds */
	struct entry queue[QUEUE];
	size_t queued;
	unsigned long differences, whole, shortened; /* long results that were given again */
};

static void add_setting(struct cairn_msg *m, struct model *model)
{
	static const char *const names[] = { "history", "history", "history-age", "history-floor", "quota" };
	unsigned which = (unsigned)draw(5);
	uint64_t value = 0;
	char text[24];

	if (which < 2 && draw(4))
		value = 1 + draw(12);
	else if (which == 2)
		value = draw(3);
	else if (which == 3)
		value = model->revision - draw(model->revision / 2 + 3);
	else if (which == 4 && draw(3))
		value = model_used(model) + draw(500000) - draw(100000);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	cairn_msg_text(m, CAIRN_F_NAME, names[which]);
	cairn_msg_text(m, CAIRN_F_AMOUNT, text);
}

/* A command again, as it was sent: one of this round, or an old one. Whether there is one. */
static bool repeat(struct run *r, struct entry *e)
{
	const struct entry *was = draw(2) ? &r->memory[draw(MEMORY)]
		: r->queued               ? &r->queue[draw(r->queued)]
					  : e;
	struct cairn_slice fields = cairn_message_fields(cairn_msg_slice(&was->message)), body;

	if (was == e || !was->first || !cairn_field_find(fields, CAIRN_F_CLIENT, &body))
		return false;
	cairn_msg_start(&e->message, cairn_message_number(cairn_msg_slice(&was->message)));
	cairn_msg_fields(&e->message, fields);
	e->first = was->first;
	return true;
}

static void generate_new(struct run *r, struct entry *e)
{
	unsigned op = draw(6) == 0 ? CAIRN_OP_TXN
		: draw(6) == 0     ? CAIRN_OP_STAGE
				   : simple[draw(draw(20) ? COMMON : ALL)];
	uint64_t client = draw(2) ? CLIENTS : (r->index / 300 + draw(3)) % CLIENTS; /* some rest for long */
	unsigned char id[16] = "client";

	if (draw(150) == 0)
		op = CAIRN_OP_CONFIGURE;
	else if (draw(80) == 0)
		op = CAIRN_OP_UNSTAGE;
	cairn_msg_start(&e->message, op);
	cairn_msg_u64(&e->message, CAIRN_F_TIME, r->time_ns);
	if (client < CLIENTS) {
		id[15] = (unsigned char)client;
		cairn_msg_bytes(&e->message, CAIRN_F_CLIENT, cairn_slice(id, 16));
		cairn_msg_u64(&e->message, CAIRN_F_SEQUENCE, ++r->sequence[client]);
		if (draw(4) == 0)
			cairn_msg_u64(&e->message, CAIRN_F_LOWEST,
				      r->sequence[client] - draw(r->sequence[client]));
		cairn_msg_u64(&e->message, CAIRN_F_BORN, r->index + draw(r->queued + 1));
	}
	if (draw(2))
		cairn_msg_text(&e->message, CAIRN_F_AUTHOR, "ops@n1");
	if (op == CAIRN_OP_TXN)
		add_txn(&e->message, &r->model);
	else if (op == CAIRN_OP_CONFIGURE)
		add_setting(&e->message, &r->model);
	else if (op == CAIRN_OP_STAGE)
		add_stage(&e->message);
	else if (op == CAIRN_OP_UNSTAGE && draw(2))
		add_upload(&e->message, draw(3));
	else if (op != CAIRN_OP_UNSTAGE)
		add_arguments(&e->message, op, &r->model);
}

static void generate(struct run *r)
{
	struct entry *e = &r->queue[r->queued];
	struct cairn_slice fields, body;
	bool again = draw(10) == 0 && repeat(r, e), known;

	if (!again) {
		r->time_ns += draw(draw(20) ? 10000000 : draw(8) ? 2000000000 : 400000000000);
		e->first = e;
		generate_new(r, e);
	}
	e->given_again = false;
	r->model.time_ns = r->time_ns;
	model_forget(&r->requests, r->time_ns);
	fields = cairn_message_fields(cairn_msg_slice(&e->message));
	known = cairn_field_find(fields, CAIRN_F_CLIENT, &body);
	if (!known || model_is_new(&r->requests, fields, &e->want)) {
		if (again)
			bail("the model does a command twice");
		e->want = model_apply(&r->model, cairn_msg_slice(&e->message));
		if (known)
			model_done(&r->requests, fields, r->index + r->queued + 1, r->time_ns, e->want);
	} else {
		e->given_again = e->want != CAIRN_E_UNKNOWN;
	}
	r->queued++;
}

/* Keep some commands of this round, with the answers that they got, to send them again some day. */
static void remember(struct run *r)
{
	for (int n = 0; n < 3; n++) {
		const struct entry *e = &r->queue[draw(r->queued)];
		struct entry *to = &r->memory[draw(MEMORY)];

		if (e->first != e || e->want == CAIRN_E_UNKNOWN)
			continue;
		cairn_msg_start(&to->message, cairn_message_number(cairn_msg_slice(&e->message)));
		cairn_msg_fields(&to->message, cairn_message_fields(cairn_msg_slice(&e->message)));
		for (size_t h = 0; h < r->count; h++) {
			cairn_msg_start(&to->answer[h], 0);
			cairn_msg_fields(&to->answer[h],
					 cairn_message_fields(cairn_msg_slice(&e->answer[h])));
		}
		to->first = to;
	}
}

/* Let reclaim run as MODE says. */
static void reclaim(struct house *h, enum mode mode)
{
	bool more = mode == ALWAYS || (mode == AT_RANDOM && draw(3) == 0);

	while (more && (mode == ALWAYS || draw(3)))
		if (store_reclaim(h->store, 0, false, &more, &h->error))
			bail("reclaim over %s stopped: %s", h->plugin->name, h->error.message);
}

static void apply_queue(struct run *r, size_t house)
{
	struct house *h = &r->houses[house];
	struct store_command commands[QUEUE];
	size_t done = 0;

	while (done < r->queued) {
		size_t n = 1 + draw(r->queued - done);

		for (size_t i = 0; i < n; i++) {
			struct entry *e = &r->queue[done + i];

			commands[i] = (struct store_command){
				.position = { r->index + done + i + 1, 1 },
				.message = cairn_msg_slice(&e->message),
				.answer = &e->answer[house],
				.error = &e->error[house],
			};
		}
		if (store_apply(h->store, commands, n, false, &h->error))
			bail("the store over %s stopped: %s", h->plugin->name, h->error.message);
		for (size_t i = 0; i < n; i++)
			r->queue[done + i].got[house] = commands[i].code;
		done += n;
		reclaim(h, r->modes[house]);
		if (h->engine.ops.caps & CAIRN_ENGINE_DURABLE && draw(20) == 0)
			house_reopen(h);
	}
}

static void differs(struct run *r, const char *what, const struct entry *e, size_t house)
{
	if (r->differences++ < 5)
		printf("# %s: %s on %s: %s, the model says %s (%s)\n", what,
		       cairn_operation_row(cairn_message_number(cairn_msg_slice(&e->message)))->name,
		       r->houses[house].plugin->name,
		       e->got[house] ? cairn_error_row(e->got[house])->name : "ok",
		       e->want ? cairn_error_row(e->want)->name : "ok", e->error[house].message);
}

/* The fields of an answer without APPLIED, which says when it was given. */
static struct cairn_slice lasting(const struct cairn_msg *answer)
{
	struct cairn_slice fields = cairn_message_fields(cairn_msg_slice(answer)), b;

	if (cairn_field_find(fields, CAIRN_F_APPLIED, &b))
		fields.len -= CAIRN_FIELD_HEAD + 8;
	return fields;
}

/* Whether the answer to E, which was FIRST's, is right: the same; or, where that was long, with 'shortened'
 * or of a transaction that only reads. */
static bool is_again(struct run *r, const struct entry *e, const struct entry *first, size_t house)
{
	struct cairn_slice is = lasting(&e->answer[house]), was = lasting(&first->answer[house]);

	if (cairn_slice_eq(is, was)) {
		r->whole += was.len > 256;
		return true;
	}
	if (was.len <= 256)
		return false;
	r->shortened++;
	return cairn_field_bool(is, CAIRN_F_SHORTENED, false) ||
		cairn_message_number(cairn_msg_slice(&e->message)) == CAIRN_OP_TXN;
}

static void compare_answers(struct run *r)
{
	for (size_t i = 0; i < r->queued; i++)
		for (size_t h = 0; h < r->count; h++) {
			const struct entry *e = &r->queue[i], *first = e->first;

			if (e->got[h] != e->want)
				differs(r, "another code", e, h);
			else if (!e->want && !cairn_slice_eq(lasting(&e->answer[h]), lasting(&e->answer[0])))
				differs(r, "another answer than the first engine's", e, h);
			else if (!e->want && e->given_again && !is_again(r, e, first, h))
				differs(r, "another answer than the first time", e, h);
		}
}

static bool same_number(struct cairn_slice row, unsigned field, bool has, uint64_t want)
{
	struct cairn_slice b;

	return cairn_field_find(row, field, &b) == has && (!has || cairn_body_u64(b) == want);
}

static bool same_record(struct cairn_slice row, const struct item *i)
{
	struct cairn_slice key = field_of(row, CAIRN_F_KEY), a = field_of(row, CAIRN_F_ATTRIBUTES);

	return cairn_slice_eq(key, item_key(i)) && same_number(row, CAIRN_F_REVISION, true, i->revision) &&
		same_number(row, CAIRN_F_VERSION, true, i->version) &&
		same_number(row, CAIRN_F_DATA_VERSION, true, i->data_version) &&
		same_number(row, CAIRN_F_FILE_ID, true, i->file_id) &&
		same_number(row, CAIRN_F_CREATE_REVISION, true, i->created) &&
		same_number(row, CAIRN_F_SIZE, true, i->value->len) &&
		*(const unsigned char *)field_of(row, CAIRN_F_KIND).data == i->kind &&
		same_number(row, CAIRN_F_EXPIRY, i->expiry_ns != 0, i->expiry_ns) &&
		cairn_field_bool(row, CAIRN_F_OPEN, false) == i->open &&
		same_number(a, CAIRN_F_MODE, i->has_mode, i->mode) &&
		same_number(a, CAIRN_F_MTIME, i->has_mtime, i->mtime);
}

static void compare_value(struct run *r, struct house *h, const struct item *i)
{
	uint64_t from = draw(i->value->len + 10), n = draw(i->value->len + 10), left;
	struct cairn_slice value;

	cairn_msg_start(&h->command, CAIRN_OP_GET);
	cairn_msg_bytes(&h->command, CAIRN_F_KEY, item_key(i));
	cairn_msg_u64(&h->command, CAIRN_F_REVISION, i->revision);
	if (draw(2)) {
		cairn_msg_u64(&h->command, CAIRN_F_OFFSET, from);
		cairn_msg_u64(&h->command, CAIRN_F_LENGTH, n);
	} else {
		from = 0;
		n = UINT64_MAX;
	}
	from = from < i->value->len ? from : i->value->len;
	left = i->value->len - from;
	n = n < left ? n : left;
	if (house_read(h, 0) == CAIRN_OK) {
		value = field_of(house_fields(h), CAIRN_F_VALUE);
		if (cairn_slice_eq(value, cairn_slice(i->value->data + from, n)))
			return;
	}
	if (r->differences++ < 5)
		printf("# %s: another value of %.*s: %s\n", h->plugin->name, (int)i->key_len, i->key,
		       h->error.message);
}

/* Walk the whole store in pages of a random size, and compare each row with the model. */
static void compare_content(struct run *r, struct house *h)
{
	struct cairn_slice cursor = { 0 }, rest, row;
	unsigned char kept[STORE_KEY_MAX + 2];
	size_t n = 0;
	unsigned field;

	do {
		cairn_msg_start(&h->command, CAIRN_OP_SCAN);
		cairn_msg_bool(&h->command, CAIRN_F_META_ONLY, true);
		if (cursor.len)
			cairn_msg_bytes(&h->command, CAIRN_F_CURSOR, cursor);
		if (house_read(h, 100 + draw(100000)))
			bail("a scan failed: %s", h->error.message);
		for (rest = house_fields(h); cairn_field_next(&rest, &field, &row) == 0 && field;)
			if (field == CAIRN_F_ROW &&
			    (n >= r->model.count || !same_record(row, &r->model.items[n++])))
				r->differences++;
		cursor = field_of(house_fields(h), CAIRN_F_CURSOR);
		if (cursor.len)
			cursor.data = memcpy(kept, cursor.data, cursor.len);
	} while (cursor.len);
	if (n != r->model.count)
		r->differences++;
	for (size_t i = 0; i < r->model.count; i++)
		compare_value(r, h, &r->model.items[i]);
}

static int by_key(const void *a, const void *b)
{
	const struct item *const *x = a, *const *y = b;

	return cairn_slice_cmp(item_key(*x), item_key(*y));
}

static void note(struct run *r, struct house *h, const char *what, uint64_t revision)
{
	if (r->differences++ < 5)
		printf("# %s: %s at revision %llu: %s\n", h->plugin->name, what, (unsigned long long)revision,
		       h->error.code ? h->error.message : "");
}

static bool was_purged(const struct model *m, size_t past)
{
	for (size_t i = 0; i < m->purged_count; i++)
		if (past < m->purged[i].past_count &&
		    cairn_slice_eq(item_key(&m->past[past].item),
				   cairn_slice(m->purged[i].key, m->purged[i].key_len)))
			return true;
	return false;
}

/* A listing as of REVISION, in pages and folded or reversed as it comes, and every value in it. */
static void compare_view(struct run *r, struct house *h, uint64_t revision)
{
	struct model *m = &r->model;
	const struct item **want = malloc((m->count + m->past_count + 1) * sizeof(*want));
	size_t count = 0, n = 0;
	struct cairn_slice cursor = { 0 }, rest, row;
	unsigned char kept[STORE_KEY_MAX + 2];
	bool reverse = draw(2);
	unsigned field;

	for (size_t i = 0; i < m->count; i++)
		if (m->items[i].revision <= revision)
			want[count++] = &m->items[i];
	for (size_t i = 0; i < m->past_count; i++)
		if (!m->past[i].gone && m->past[i].item.revision <= revision &&
		    revision < m->past[i].next_revision && !was_purged(m, i))
			want[count++] = &m->past[i].item;
	qsort(want, count, sizeof(*want), by_key);
	do {
		cairn_msg_start(&h->command, CAIRN_OP_SCAN);
		cairn_msg_bool(&h->command, CAIRN_F_META_ONLY, true);
		cairn_msg_u64(&h->command, CAIRN_F_AT, revision);
		cairn_msg_bool(&h->command, CAIRN_F_REVERSE, reverse);
		if (cursor.len)
			cairn_msg_bytes(&h->command, CAIRN_F_CURSOR, cursor);
		if (house_read(h, 100 + draw(100000))) {
			note(r, h, "a listing failed", revision);
			break;
		}
		for (rest = house_fields(h); cairn_field_next(&rest, &field, &row) == 0 && field;)
			if (field == CAIRN_F_ROW) {
				if (n >= count || !same_record(row, want[reverse ? count - 1 - n : n]))
					note(r, h, "another row", revision);
				n++;
			}
		cursor = field_of(house_fields(h), CAIRN_F_CURSOR);
		if (cursor.len)
			cursor.data = memcpy(kept, cursor.data, cursor.len);
	} while (cursor.len);
	h->error.code = CAIRN_OK;
	if (n != count)
		note(r, h, "other keys", revision);
	for (size_t i = 0; i < 5 && count; i++) {
		const struct item *item = want[draw(count)];

		cairn_msg_start(&h->command, CAIRN_OP_GET);
		cairn_msg_bytes(&h->command, CAIRN_F_KEY, item_key(item));
		cairn_msg_u64(&h->command, CAIRN_F_AT, revision);
		if (house_read(h, 0) ||
		    !cairn_slice_eq(field_of(house_fields(h), CAIRN_F_VALUE),
				    cairn_slice(item->value->data, item->value->len)))
			note(r, h, "another value", revision);
	}
	free(want);
}

/* One key's history: what is visible of it, newest first, and each value. */
static void compare_history(struct run *r, struct house *h, const struct item *newest, bool gone)
{
	struct model *m = &r->model;
	const struct past **want = malloc((m->past_count + 1) * sizeof(*want));
	size_t count = 0, n = 0;
	struct cairn_slice rest, row;
	struct cairn_msg rows = { 0 };
	unsigned field;
	enum cairn_code code;

	for (size_t i = m->past_count; i-- > 0;)
		if (cairn_slice_eq(item_key(&m->past[i].item), item_key(newest)) &&
		    past_shows(m, &m->past[i], newest, gone))
			want[count++] = &m->past[i];
	cairn_msg_start(&h->command, CAIRN_OP_HISTORY);
	cairn_msg_bytes(&h->command, CAIRN_F_KEY, item_key(newest));
	cairn_msg_start(&rows, 0);
	code = store_history(h->store, cairn_message_fields(cairn_msg_slice(&h->command)), 0, 100000000,
			     &rows, NULL, &h->error);
	if (code != (gone && !grave_shows(m, newest) ? CAIRN_E_NOT_FOUND : CAIRN_OK))
		note(r, h, "another history", newest->revision);
	for (rest = cairn_message_fields(cairn_msg_slice(&rows));
	     cairn_field_next(&rest, &field, &row) == 0 && field;) {
		const struct item *i;

		if (field != CAIRN_F_ROW)
			continue;
		if (n > count) {
			note(r, h, "another version", 0);
			break;
		}
		i = n ? &want[n - 1]->item : newest;
		if (!same_number(row, CAIRN_F_REVISION, true, i->revision) ||
		    !same_number(row, CAIRN_F_VERSION, true, i->version) ||
		    cairn_field_bool(row, CAIRN_F_DELETED, false) != (n ? want[n - 1]->gone : gone))
			note(r, h, "another version", i->revision);
		n++;
	}
	if (!code && n != count + 1)
		note(r, h, "other versions", newest->revision);
	for (size_t i = 0; i < count; i++) {
		const struct item *item = &want[i]->item;

		if (want[i]->gone || item->revision == want[i]->next_revision)
			continue;
		cairn_msg_start(&h->command, CAIRN_OP_GET);
		cairn_msg_bytes(&h->command, CAIRN_F_KEY, item_key(item));
		cairn_msg_u64(&h->command, CAIRN_F_AT, item->revision);
		if (draw(2))
			cairn_msg_u64(&h->command, CAIRN_F_REVISION, item->revision);
		if (house_read(h, 0) ||
		    !cairn_slice_eq(field_of(house_fields(h), CAIRN_F_VALUE),
				    cairn_slice(item->value->data, item->value->len)))
			note(r, h, "another old value", item->revision);
	}
	cairn_msg_free(&rows);
	free(want);
}

/* Views at some revisions, from the oldest that is whole; histories of some keys, also of deleted ones. */
static void compare_past(struct run *r, struct house *h)
{
	struct model *m = &r->model;
	uint64_t oldest = model_oldest(m);

	compare_view(r, h, oldest);
	compare_view(r, h, oldest + draw(m->revision - oldest + 1));
	if (oldest) {
		cairn_msg_start(&h->command, CAIRN_OP_SCAN);
		cairn_msg_u64(&h->command, CAIRN_F_AT, draw(oldest));
		if (house_read(h, 1000) != CAIRN_E_COMPACTED || h->error.revision != oldest)
			note(r, h, "a view that should be compacted", oldest);
	}
	for (size_t i = 0; i < 5; i++) {
		if (m->count)
			compare_history(r, h, &m->items[draw(m->count)], false);
		if (m->grave_count)
			compare_history(r, h, &m->graves[draw(m->grave_count)], true);
	}
}

static void compare_digests(struct run *r)
{
	struct store_facts first, other;

	store_facts(r->houses[0].store, &first);
	for (size_t h = 1; h < r->count; h++) {
		store_facts(r->houses[h].store, &other);
		if (memcmp(&first, &other, offsetof(struct store_facts, history_used)) != 0 &&
		    r->differences++ < 5)
			printf("# %s knows something else than %s\n", r->houses[h].plugin->name,
			       r->houses[0].plugin->name);
	}
}

static void check_rows(struct run *r)
{
	for (size_t h = 0; h < r->count; h++)
		if (store_check_rows(r->houses[h].store, &r->houses[h].error) && r->differences++ < 5)
			printf("# %s: %s\n", r->houses[h].plugin->name, r->houses[h].error.message);
}

static void round_of(struct run *r)
{
	size_t n = 1 + draw(QUEUE);

	r->queued = 0;
	for (size_t i = 0; i < n; i++)
		generate(r);
	for (size_t h = 0; h < r->count; h++)
		apply_queue(r, h);
	r->index += r->queued;
	compare_answers(r);
	compare_digests(r);
	remember(r);
}

/* Long after the last command, what reclaim leaves of history is what is visible, to the last row. */
static void check_rest(struct run *r, struct house *h)
{
	struct model *m = &r->model;
	struct cairn_slice key = { 0 }, value;
	size_t want = 0, left = 0;
	bool more = true;
	void *it;

	while (more)
		if (store_reclaim(h->store, 0, false, &more, &h->error))
			bail("reclaim over %s stopped: %s", h->plugin->name, h->error.message);
	for (size_t i = 0; i < m->past_count; i++) {
		struct item *newest = model_find(m, item_key(&m->past[i].item));

		want += newest && past_shows(m, &m->past[i], newest, false);
	}
	if (h->engine.ops.iter_open(h->engine.handle, NULL, cairn_str("c"), cairn_str("d"), 0, &it) < 0)
		bail("no iterator");
	while (h->engine.ops.iter_next(it, &key, &value) == 0 && key.data)
		left++;
	h->engine.ops.iter_close(it);
	if (left > want + 1) /* the last change has a row without a record */
		note(r, h, "more rows are left than are visible", left - want);
	if (h->engine.ops.iter_open(h->engine.handle, NULL, cairn_str("g"), cairn_str("h"), 0, &it) < 0)
		bail("no iterator");
	key.data = NULL;
	if (h->engine.ops.iter_next(it, &key, &value) < 0 || key.data)
		note(r, h, "a tombstone is left", 0);
	h->engine.ops.iter_close(it);
}

static void start(struct run *r, const char *engine, enum mode mode)
{
	struct house *h = &r->houses[r->count];

	if (house_open_with(h, engine,
			    &(struct store_settings){ .key_max = MODEL_KEY_MAX,
						      .value_limit = MODEL_VALUE_LIMIT,
						      .folders = true,
						      .history = 8,
						      .history_age_ns = 1000000000 }))
		r->modes[r->count++] = mode;
	else
		printf("# engine %s is not in this build\n", engine);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *engine;
		enum mode mode;
	} houses[] = { { "memory", NEVER },      { "memory", ALWAYS },  { "memory", AT_RANDOM },
		       { "leveldb", NEVER },     { "leveldb", ALWAYS }, { "leveldb", AT_RANDOM },
		       { "bitcask", AT_RANDOM }, { "lmdb", AT_RANDOM } };
	unsigned long long want = argc > 1 ? strtoull(argv[1], NULL, 10) : 3000;
	struct run *r = calloc(1, sizeof(*r));
	struct store_facts f;
	unsigned round = 0;

	seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	seed = seed * 0x9e3779b97f4a7c15ull + 1;
	r->model.next_file_id = 1;
	r->model.history = 8;
	r->model.history_age_ns = 1000000000;
	r->time_ns = 1700000000000000000ull;
	for (size_t i = 0; i < sizeof(houses) / sizeof(houses[0]); i++)
		start(r, houses[i].engine, houses[i].mode);
	if (!r->count)
		return tap_skip_all("no engine is in this build");
	while (r->index < want && !r->differences) {
		round_of(r);
		if (round++ % 8 == 0 || r->index >= want) {
			check_rows(r);
			for (size_t h = 0; h < r->count; h++) {
				compare_content(r, &r->houses[h]);
				compare_past(r, &r->houses[h]);
			}
		}
	}
	r->queued = 2; /* what goes at a time goes, then history grows old */
	for (size_t i = 0; i < r->queued; i++) {
		r->time_ns += 100000000000ull;
		r->queue[i].first = &r->queue[i];
		cairn_msg_start(&r->queue[i].message, CAIRN_OP_PUT);
		cairn_msg_u64(&r->queue[i].message, CAIRN_F_TIME, r->time_ns);
		cairn_msg_text(&r->queue[i].message, CAIRN_F_KEY, "a new key");
		r->queue[i].want = model_apply(&r->model, cairn_msg_slice(&r->queue[i].message));
	}
	for (size_t h = 0; h < r->count; h++) {
		apply_queue(r, h);
		check_rest(r, &r->houses[h]);
	}
	r->index += r->queued;
	check_rows(r);
	store_facts(r->houses[0].store, &f);
	printf("# %llu commands, revision %llu, %llu keys, %llu bytes, digest ", (unsigned long long)r->index,
	       (unsigned long long)f.revision, (unsigned long long)f.keys, (unsigned long long)f.bytes);
	for (int i = 0; i < 16; i++)
		printf("%02x", f.digest[i]);
	printf(" on");
	for (size_t h = 0; h < r->count; h++)
		printf(" %s", r->houses[h].plugin->name);
	putchar('\n');
	printf("# %lu commands were repeated, %lu of them too late, since %lu clients were forgotten\n",
	       r->requests.repeated + r->requests.unknown, r->requests.unknown, r->requests.forgotten);
	printf("# long results were given again whole %lu times, shortened %lu times\n", r->whole,
	       r->shortened);
	is_int(r->differences, 0, "%llu random commands do what the model says, on %zu engines alike",
	       (unsigned long long)r->index, r->count);
	for (size_t h = 0; h < r->count; h++)
		house_close(&r->houses[h]);
	for (size_t i = 0; i < QUEUE + MEMORY; i++) {
		struct entry *e = i < QUEUE ? &r->queue[i] : &r->memory[i - QUEUE];

		cairn_msg_free(&e->message);
		for (size_t h = 0; h < HOUSES; h++)
			cairn_msg_free(&e->answer[h]);
	}
	model_end(&r->model);
	free(r);
	return tap_done();
}
