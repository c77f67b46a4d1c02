/*
 * FLUSH: what is left of a store when all its keys go at once, written into an empty engine that takes the
 * place of the old one: meta, with a revision of its own and the floor raised to it, and the results of
 * requests.
 */
#include <errno.h>
#include "load.h"
#include "read.h"
#include "banned.h"

static enum cairn_code keep_requests(struct store *s, struct store_load *l)
{
	static const unsigned char from = ROW_REQUEST, to = ROW_REQUEST + 1;
	const struct cairn_engine *ops = &s->engine->ops;
	enum cairn_code code = CAIRN_OK;
	void *it;
	int e = ops->iter_open(s->engine->handle, NULL, cairn_slice(&from, 1), cairn_slice(&to, 1), 0, &it);

	if (e == 0) {
		while (!code) {
			struct cairn_slice key = { 0 }, body;

			e = ops->iter_next(it, &key, &body);
			if (e < 0 || !key.data)
				break;
			if (s->checksums && (e = row_verify(key, body, &body)) < 0)
				break;
			code = load_row(l, key, body);
		}
		ops->iter_close(it);
	}
	return e < 0 ? cairn_fail(l->error, cairn_error_from_errno(-e), "reading engine %s: %s", ops->name,
				  strerror(-e))
		     : code;
}

enum cairn_code store_flush_into(struct store *s, struct engine *to, struct cairn_error *error)
{
	struct meta m = s->meta;
	struct store_load *l;
	enum cairn_code code = store_load_open(&l, to, error);

	if (code)
		return code;
	l->error = error;
	l->meta = m;
	code = keep_requests(s, l);
	m.position.index++;
	m.revision++;
	m.floor = m.revision;
	m.keys = m.bytes = m.staged = 0;
	m.clients = l->clients;
	m.request_bytes = l->request_bytes;
	m.rows = l->sum;
	if (!code)
		code = load_end(l, &m);
	store_load_close(l);
	return code;
}
