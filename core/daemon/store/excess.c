/*
 * When history takes more room than it may: which floor would give up enough of its oldest part. One pass
 * over the change rows adds up what each floor would free, in steps of the revisions that there are; the
 * smallest that is enough is taken, with some room to spare, so that this is not needed again soon.
 */
#include <errno.h>
#include "rows.h"
#include "read.h"
#include "banned.h"

#define BUCKETS 256
#define DEFAULT_LIMIT (1ull << 30)
#define SMALL (1u << 20) /* history that is not worth giving up for its room */

uint64_t history_limit(const struct meta *m)
{
	return m->history_bytes ? m->history_bytes : m->quota ? m->quota / 4 : DEFAULT_LIMIT;
}

/* Which step of the revisions above the floor REVISION lies in. */
static size_t bucket_of(const struct meta *m, uint64_t revision)
{
	unsigned __int128 above = revision - m->floor - 1;

	return (size_t)(above * BUCKETS / (m->revision - m->floor));
}

static int add_up(struct store *s, const struct meta *m, uint64_t freed[BUCKETS])
{
	const struct engine *engine = s->engine;
	unsigned char from[1] = { ROW_CHANGE }, to[1] = { ROW_CHANGE + 1 };
	struct cairn_slice key = { 0 }, body;
	struct change c;
	void *it;
	int e = engine->ops.iter_open(engine->handle, NULL, cairn_slice(from, 1), cairn_slice(to, 1), 0, &it);

	if (e < 0)
		return e;
	for (;;) {
		key.data = NULL;
		e = engine->ops.iter_next(it, &key, &body);
		if (e == 0 && key.data && s->checksums)
			e = row_verify(key, body, &body);
		if (e == 0 && key.data)
			e = change_decode(body, &c);
		if (e < 0 || !key.data)
			break;
		if (c.next_revision > m->floor && c.next_revision <= m->revision)
			freed[bucket_of(m, c.next_revision)] += key.len + body.len + c.held;
	}
	engine->ops.iter_close(it);
	return e;
}

int store_history_excess(struct store *s, bool short_of_room, uint64_t *floor)
{
	uint64_t freed[BUCKETS] = { 0 }, sum = 0, wanted, limit;
	struct meta m;
	size_t i = 0;
	int e;

	pthread_mutex_lock(&s->lock);
	m = s->published;
	pthread_mutex_unlock(&s->lock);
	*floor = 0;
	limit = history_limit(&m);
	if (short_of_room && m.history_used > SMALL)
		limit = limit < m.history_used / 2 ? limit : m.history_used / 2;
	if (!m.history || m.history_used <= limit || m.floor >= m.revision)
		return 0;
	e = add_up(s, &m, freed);
	if (e < 0)
		return e;
	wanted = m.history_used - limit + limit / 8;
	while (i < BUCKETS && sum < wanted)
		sum += freed[i++];
	/* Rounded up: the last step counts whole. */
	*floor =
		m.floor + (uint64_t)(((unsigned __int128)(m.revision - m.floor) * i + BUCKETS - 1) / BUCKETS);
	return 0;
}
