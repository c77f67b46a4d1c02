/*
 * Streams from anywhere, read into an engine: once as they are, and once as the content of blocks whose
 * checksums are right. Whatever they hold is refused, or makes a store.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "snapshot.h"
#include "stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
const struct cairn_engine *cairn_engine_plugin(void);

static const struct store_settings settings = { .key_max = 100, .value_limit = 1 << 20, .folders = true };

static void open_engine(struct engine *e)
{
	struct cairn_error error;

	if (engine_open(e, cairn_engine_plugin(), "/", NULL, 0, &error))
		abort();
}

/* Read BYTES into an engine of its own, in pieces. What was taken to the end must be a store. */
static void load(struct cairn_slice bytes, size_t piece)
{
	struct engine e;
	struct store_load *l;
	struct store *s;
	struct cairn_error error = { 0 };
	enum cairn_code code;

	open_engine(&e);
	if (store_load_open(&l, &e, &error))
		abort();
	code = CAIRN_OK;
	for (size_t at = 0; !code && at < bytes.len; at += piece)
		code = store_load_take(l,
				       cairn_slice((const char *)bytes.data + at,
						   bytes.len - at < piece ? bytes.len - at : piece),
				       &error);
	if (!code)
		code = store_load_finish(l, NULL, &error);
	store_load_close(l);
	if (code && (error.code != code || !error.message[0]))
		abort(); /* a refusal says why */
	if (!code) {
		if (store_open(&s, &e, &settings, &error)) {
			fprintf(stderr, "%s\n", error.message);
			abort();
		}
		store_check_rows(s, &error); /* folders may be wrong, but nothing may break */
		store_close(s);
	}
	engine_close(&e);
}

static void begin(struct stream_writer *w, struct buffer *out)
{
	struct engine e;
	struct store *s;
	struct store_save *save;
	struct cairn_error error;
	bool end;

	open_engine(&e);
	if (store_open(&s, &e, &settings, &error) ||
	    store_save_open(&save, s, cairn_slice(NULL, 0), false, NULL, &error) ||
	    store_save_next(save, out, &end, &error))
		abort();
	store_save_close(save);
	store_close(s);
	engine_close(&e);
	/* The facts stay; the end of the empty stream goes. */
	out->len = STREAM_HEAD + STREAM_BLOCK_HEAD +
		(out->data[STREAM_HEAD + 16] | (size_t)out->data[STREAM_HEAD + 17] << 8);
	*w = (struct stream_writer){ .sequence = 1 };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct stream_writer w;
	struct buffer out = { 0 };

	load(cairn_slice(data, len), len / 3 + 1);
	begin(&w, &out);
	for (size_t at = 0; at < len;) {
		size_t n = len - at < 300 ? len - at : 300;

		stream_block(&w, STREAM_ROWS, cairn_slice(data + at, n), &out);
		at += n;
	}
	stream_block(&w, STREAM_END, cairn_slice(data, len < 40 ? len : 40), &out);
	load(buffer_slice(&out), 100);
	stream_writer_free(&w);
	buffer_free(&out);
	return 0;
}
