/*
 * Moving a store to another engine: save.c writes a snapshot, load.c reads it into the new engine, block by
 * block, and a store over that applies the commands that came in between, in order and in batches. The new
 * store answers each as the old one did, or the move fails.
 *
 * Whatever fails leaves the old store as it is; the new engine's content is worth nothing then.
 */
#include <stdlib.h>
#include "buffer.h"
#include "convert.h"
#include "load.h"
#include "state.h"
#include "banned.h"

#define KEPT_MAX (64u << 20) /* bytes of commands that wait */
#define KEPT_FEW 64          /* commands that are left for the end */
#define BATCH 256

/* A command that waits; its message behind it. */
struct kept {
	struct kept *next;
	struct cairn_position position;
	enum cairn_code code; /* that it got */
	size_t len;
	char message[];
};

struct store_convert {
	struct store *old, *new;
	struct engine *to;
	const struct store_settings *settings;
	struct store_convert_progress *progress;
	struct store_save *save;
	struct store_load *load;
	pthread_mutex_t lock;
	/* Under the lock. */
	struct kept *first, **last;
	size_t count, bytes;
	bool lost; /* not all of them could be kept */
};

enum cairn_code store_convert_open(struct store_convert **result, struct store *old, struct engine *to,
				   const struct store_settings *settings,
				   struct store_convert_progress *progress, struct cairn_error *error)
{
	struct store_convert *x = calloc(1, sizeof(*x));
	enum cairn_code code;

	if (!x)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory left to move a store");
	*x = (struct store_convert){ .old = old, .to = to, .settings = settings, .progress = progress };
	pthread_mutex_init(&x->lock, NULL);
	x->last = &x->first;
	code = store_save_open(&x->save, old, cairn_slice(NULL, 0), false, NULL, error);
	if (!code)
		code = store_load_open(&x->load, to, error);
	if (!code && to->ops.key_max)
		x->load->key_most = to->ops.key_max - 1;
	if (code)
		store_convert_close(x);
	else
		*result = x;
	return code;
}

void store_convert_keep(struct store_convert *x, const struct store_command *commands, size_t count)
{
	pthread_mutex_lock(&x->lock);
	for (size_t i = 0; i < count && !x->lost; i++) {
		const struct store_command *c = &commands[i];
		struct kept *k = x->bytes < KEPT_MAX ? malloc(sizeof(*k) + c->message.len) : NULL;

		x->lost = !k;
		if (!k)
			break;
		*k = (struct kept){ .position = c->position, .code = c->code, .len = c->message.len };
		memcpy(k->message, c->message.data, k->len);
		*x->last = k;
		x->last = &k->next;
		x->count++;
		x->bytes += sizeof(*k) + k->len;
	}
	pthread_mutex_unlock(&x->lock);
}

static void free_kept(struct kept *k)
{
	while (k) {
		struct kept *next = k->next;

		free(k);
		k = next;
	}
}

/* Everything that waits, and how many of them; NULL where there are at most FEW. */
static struct kept *take(struct store_convert *x, size_t few, enum cairn_code *code,
			 struct cairn_error *error)
{
	struct kept *k = NULL;

	pthread_mutex_lock(&x->lock);
	if (x->lost) {
		*code = cairn_fail(error, CAIRN_E_UNAVAILABLE,
				   "more was written meanwhile than could be kept for engine %s",
				   x->to->ops.name);
	} else if (x->count > few) {
		k = x->first;
		x->first = NULL;
		x->last = &x->first;
		x->count = x->bytes = 0;
	}
	pthread_mutex_unlock(&x->lock);
	return k;
}

/* Apply the first commands of *K, and step over them. */
static enum cairn_code apply_some(struct store_convert *x, struct kept **k, struct cairn_error *error)
{
	struct store_command commands[BATCH];
	struct cairn_error why[BATCH];
	const struct kept *at = *k;
	enum cairn_code code;
	size_t n = 0;

	for (; at && n < BATCH; at = at->next, n++) {
		why[n] = (struct cairn_error){ 0 };
		commands[n] = (struct store_command){ .position = at->position,
						      .message = cairn_slice(at->message, at->len),
						      .error = &why[n] };
	}
	code = store_apply(x->new, commands, n, x->to->ops.caps & CAIRN_ENGINE_DURABLE, error);
	for (size_t i = 0; i < n && !code; i++) {
		struct kept *done = *k;

		if (commands[i].code != done->code) {
			code = CAIRN_E_UNSUPPORTED;
			cairn_fail(error, code, "what was written meanwhile does not go into engine %s: %s",
				   x->to->ops.name, why[i].message);
		}
		*k = done->next;
		free(done);
	}
	return code;
}

/* Apply what waits, until at most FEW are left. */
static enum cairn_code catch_up(struct store_convert *x, size_t few, struct cairn_error *error)
{
	enum cairn_code code = CAIRN_OK;
	struct kept *k;

	while (!code && (k = take(x, few, &code, error))) {
		while (!code && k)
			code = apply_some(x, &k, error);
		free_kept(k);
		if (!code && x->progress->stop)
			code = cairn_fail(error, CAIRN_E_TIMEOUT, "it was ended before it was done");
	}
	return code;
}

static enum cairn_code copy_blocks(struct store_convert *x, struct cairn_error *error)
{
	struct buffer out = { 0 };
	struct store_place place;
	enum cairn_code code = CAIRN_OK;
	bool end = false;

	while (!code && !end) {
		out.len = 0;
		code = store_save_next(x->save, &out, &end, error);
		if (!code)
			code = store_load_take(x->load, buffer_slice(&out), error);
		store_save_place(x->save, &place);
		x->progress->rows = place.rows;
		x->progress->bytes = place.bytes;
		if (!code && x->progress->stop)
			code = cairn_fail(error, CAIRN_E_TIMEOUT, "it was ended before it was done");
	}
	buffer_free(&out);
	return code ? code : store_load_finish(x->load, NULL, error);
}

enum cairn_code store_convert_copy(struct store_convert *x, struct cairn_error *error)
{
	enum cairn_code code = copy_blocks(x, error);

	store_save_close(x->save);
	store_load_close(x->load);
	x->save = NULL;
	x->load = NULL;
	if (!code)
		code = store_open(&x->new, x->to, x->settings, error);
	return code ? code : catch_up(x, KEPT_FEW, error);
}

enum cairn_code store_convert_finish(struct store_convert *x, struct cairn_error *error)
{
	enum cairn_code code = catch_up(x, 0, error);
	unsigned char old_digest[16], new_digest[16];
	struct meta new;

	if (code)
		return code;
	new = x->new->meta;
	new.key_max = x->old->meta.key_max; /* may be less now */
	meta_digest(&x->old->meta, old_digest);
	meta_digest(&new, new_digest);
	if (memcmp(old_digest, new_digest, sizeof(old_digest)) || new.revision != x->old->meta.revision ||
	    new.position.index != x->old->meta.position.index)
		return cairn_fail(error, CAIRN_E_CORRUPT, "the digest in engine %s is not that in engine %s",
				  x->to->ops.name, x->old->engine->ops.name);
	store_close(x->new);
	x->new = NULL;
	return CAIRN_OK;
}

void store_convert_close(struct store_convert *x)
{
	if (!x)
		return;
	store_save_close(x->save);
	store_load_close(x->load);
	if (x->new)
		store_close(x->new);
	free_kept(x->first);
	pthread_mutex_destroy(&x->lock);
	free(x);
}
