/*
 * Values that are longer than one operation. One that is written is sent ahead in pieces, and the operation
 * names them. One that is read is gathered piece by piece, all of one revision: where it was written
 * meanwhile, from the start again.
 */
#include <errno.h>
#include <sys/random.h>
#include "resp.h"
#include "banned.h"

#define PIECE (128u << 10)
#define TRIES 16

static struct cairn_slice large_word(const struct args *a)
{
	size_t i = 1;

	while (a->at[i].len <= LARGE)
		i++;
	return a->at[i];
}

bool large_stage(struct client *c, const struct args *a)
{
	struct cairn_slice word = large_word(a);
	struct cairn_request *r;
	size_t n;

	if (c->step && !c->stepped)
		return false;
	if (c->step) {
		bool failed = step_result(c).code;

		step_end(c);
		if (failed) /* the command itself will say why: it is too large */
			c->staged = word.len;
	} else {
		c->staged = 0;
		if (getrandom(c->upload, sizeof(c->upload), 0) != sizeof(c->upload))
			client_end(c);
	}
	while (c->staged < word.len) {
		n = word.len - c->staged < PIECE ? word.len - c->staged : PIECE;
		r = step_new(c, CAIRN_OP_STAGE);
		if (!r) {
			client_end(c);
			return false;
		}
		cairn_msg_bytes(r->arguments, CAIRN_F_UPLOAD, cairn_slice(c->upload, sizeof(c->upload)));
		cairn_msg_u64(r->arguments, CAIRN_F_INDEX, c->staged / PIECE);
		cairn_msg_bytes(r->arguments, CAIRN_F_VALUE,
				cairn_slice((const char *)word.data + c->staged, n));
		c->staged += n;
		step_start(c);
		if (!c->stepped)
			return false;
		if (step_result(c).code)
			c->staged = word.len;
		step_end(c);
	}
	c->uploaded = true;
	return true;
}

/* Ask for the next piece. */
static void ask_piece(struct client *c)
{
	struct big *b = &c->big;
	struct cairn_request *r = c->host->request(c->connection);

	b->request = r;
	if (!r || b->key.error || b->value.error) {
		client_end(c);
		if (r)
			c->host->finish(r);
		b->request = NULL;
		return;
	}
	r->op = CAIRN_OP_GET;
	add_volume(c, r);
	cairn_msg_bytes(r->arguments, CAIRN_F_KEY, buffer_slice(&b->key));
	cairn_msg_u64(r->arguments, CAIRN_F_OFFSET, b->value.len);
	if (b->value.len)
		cairn_msg_u64(r->arguments, CAIRN_F_REVISION, b->revision);
	c->host->start(r);
}

void large_begin(struct client *c, const struct cairn_request *r)
{
	struct big *b = &c->big;
	struct cairn_slice key = { 0 }, value = { 0 };

	cairn_field_find(cairn_message_fields(cairn_msg_slice(r->arguments)), CAIRN_F_KEY, &key);
	cairn_field_find(r->answer, CAIRN_F_VALUE, &value);
	b->revision = cairn_field_u64(r->answer, CAIRN_F_REVISION, 0);
	b->tries = 0;
	buffer_add(&b->key, key);
	buffer_add(&b->value, value);
	ask_piece(c);
}

static void end(struct client *c)
{
	buffer_free(&c->big.key);
	buffer_free(&c->big.value);
	c->big = (struct big){ 0 };
}

bool large_done(struct client *c, struct cairn_request *r)
{
	struct big *b = &c->big;
	struct cairn_slice value = { 0 };

	if (r->error && r->error->code == CAIRN_E_CONFLICT && b->tries++ < TRIES) {
		b->value.len = 0;
		ask_piece(c);
		return !b->request;
	}
	if (r->error) {
		struct result result = { .code = r->error->code, .message = cairn_str(r->error->message) };

		if (r->error->code == CAIRN_E_NOT_FOUND)
			reply_null(c);
		else
			tell_error(c, &result);
		end(c);
		return true;
	}
	cairn_field_find(r->answer, CAIRN_F_VALUE, &value);
	b->revision = cairn_field_u64(r->answer, CAIRN_F_REVISION, 0);
	b->size = cairn_field_u64(r->answer, CAIRN_F_SIZE, 0);
	buffer_add(&b->value, value);
	if (b->value.len < b->size && value.len) {
		ask_piece(c);
		return !b->request;
	}
	reply_bulk(c, buffer_slice(&b->value));
	end(c);
	return true;
}
