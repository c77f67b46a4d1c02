/*
 * Pins: revisions that somebody reads at. While one is held, reclaim leaves alone what was visible at it, and
 * where no history is kept apply keeps what it replaces. They are entries in memory with a time to live, so
 * that a reader that dies costs little.
 *
 * A view first adds a pin that holds everything, then waits for the batch that may have begun without knowing
 * of it, and only then looks which revision it is and whether all of that is there.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include "past.h"
#include "read.h"
#include "banned.h"

#define EVERYTHING 0 /* revision of a pin that is not settled yet */

static void drop_old(struct store *s, uint64_t now_ns)
{
	size_t n = 0;

	for (size_t i = 0; i < s->pin_count; i++)
		if (s->pins[i].holders || s->pins[i].until_ns > now_ns)
			s->pins[n++] = s->pins[i];
	s->pin_count = n;
	atomic_store(&s->pinned, n != 0);
}

static size_t find(const struct store *s, uint64_t revision, bool settled)
{
	size_t i = 0;

	while (i < s->pin_count && (s->pins[i].revision != revision || s->pins[i].settled != settled))
		i++;
	return i;
}

bool pins_hold(struct store *s, uint64_t revision)
{
	bool held;

	pthread_mutex_lock(&s->lock);
	held = find(s, revision, true) < s->pin_count;
	pthread_mutex_unlock(&s->lock);
	return held;
}

uint64_t pins_oldest(struct store *s, uint64_t now_ns)
{
	uint64_t oldest = UINT64_MAX;

	pthread_mutex_lock(&s->lock);
	drop_old(s, now_ns);
	for (size_t i = 0; i < s->pin_count; i++)
		oldest = s->pins[i].revision < oldest ? s->pins[i].revision : oldest;
	pthread_mutex_unlock(&s->lock);
	return oldest;
}

static enum cairn_code pin_everything(struct store *s, uint64_t now_ns, struct cairn_error *error)
{
	enum cairn_code code = CAIRN_OK;
	struct pin *pins;

	pthread_mutex_lock(&s->lock);
	drop_old(s, now_ns);
	pins = s->pin_count < STORE_PINS_MAX ? realloc(s->pins, (s->pin_count + 1) * sizeof(*pins)) : NULL;
	if (pins) {
		s->pins = pins;
		s->pins[s->pin_count++] = (struct pin){ EVERYTHING, now_ns + STORE_PIN_NS, false, 0 };
		atomic_store(&s->pinned, true);
	} else if (s->pin_count >= STORE_PINS_MAX) {
		code = cairn_fail(error, CAIRN_E_UNAVAILABLE, "%d views are open; try again in a while",
				  STORE_PINS_MAX);
	} else {
		code = cairn_fail(error, CAIRN_E_INTERNAL, "no memory left to open a view");
	}
	pthread_mutex_unlock(&s->lock);
	return code;
}

/* A batch that is under way now may not know of what was just asked for. */
void batch_pass(struct store *s)
{
	unsigned long now = atomic_load(&s->batch);

	while (now % 2 && atomic_load(&s->batch) == now)
		nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
}

/* The pin of everything becomes one of REVISION, for its time or with HOLD until it is let go; or it goes
 * (without GOOD). */
static void settle(struct store *s, uint64_t revision, bool good, bool hold, uint64_t now_ns)
{
	uint64_t until_ns = hold ? 0 : now_ns + STORE_PIN_NS;
	size_t mine, same;

	pthread_mutex_lock(&s->lock);
	mine = find(s, EVERYTHING, false);
	same = find(s, revision, true);
	if (good && same < s->pin_count) {
		if (!hold)
			s->pins[same].until_ns = until_ns;
		s->pins[same].holders += hold;
		good = false;
	}
	if (mine < s->pin_count) { /* else time has ended it */
		if (good)
			s->pins[mine] = (struct pin){ revision, until_ns, true, hold };
		else
			s->pins[mine] = s->pins[--s->pin_count];
	}
	drop_old(s, now_ns);
	pthread_mutex_unlock(&s->lock);
}

static enum cairn_code look(struct reader *r, const struct args *a, uint64_t *revision, uint64_t *oldest)
{
	enum cairn_code code;
	struct meta m;
	struct past p;
	bool all;
	int e = read_open(r, &m);

	p = read_past(r, &m, cairn_slice(NULL, 0));
	*revision = args_u64(a, CAIRN_F_REVISION, m.revision);
	if (e == 0 && args_has(a, CAIRN_F_AS_OF))
		e = past_by_time(&p, args_u64(a, CAIRN_F_AS_OF, 0), revision);
	if (e == 0)
		e = past_oldest(&p, oldest);
	code = e < 0 ? read_failed(r, e, cairn_str("history")) : read_may_view(r, &m, *revision, &all);
	read_close(r);
	return code;
}

/* Hold the revision that A asks for. */
static enum cairn_code pin(struct store *s, const struct args *a, bool hold, uint64_t now_ns,
			   uint64_t *revision, uint64_t *oldest, struct cairn_error *error)
{
	struct reader r = { .s = s, .error = error };
	enum cairn_code code = pin_everything(s, now_ns, error);

	if (code)
		return code;
	batch_pass(s);
	code = look(&r, a, revision, oldest);
	settle(s, *revision, !code, hold, now_ns);
	return code;
}

enum cairn_code store_pin(struct store *s, uint64_t *revision, uint64_t now_ns, struct cairn_error *error)
{
	struct cairn_msg m = { 0 };
	enum cairn_code code;
	uint64_t oldest;
	struct args a;

	cairn_msg_start(&m, 0);
	if (*revision)
		cairn_msg_u64(&m, CAIRN_F_REVISION, *revision);
	if (args_parse(cairn_message_fields(cairn_msg_slice(&m)), &a) < 0)
		code = cairn_fail(error, CAIRN_E_INTERNAL, "no memory left to hold a revision");
	else
		code = pin(s, &a, true, now_ns, revision, &oldest, error);
	cairn_msg_free(&m);
	return code;
}

void store_unpin(struct store *s, uint64_t revision, uint64_t now_ns)
{
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->pin_count; i++)
		if (s->pins[i].settled && s->pins[i].revision == revision && s->pins[i].holders) {
			s->pins[i].holders--;
			break;
		}
	drop_old(s, now_ns);
	pthread_mutex_unlock(&s->lock);
}

enum cairn_code store_view(struct store *s, struct cairn_slice fields, uint64_t now_ns,
			   struct cairn_msg *answer, struct cairn_error *error)
{
	uint64_t revision = 0, oldest = 0;
	enum cairn_code code;
	struct args a;

	if (args_parse(fields, &a) < 0)
		return cairn_fail(error, CAIRN_E_INVALID, "view: the arguments are malformed");
	code = pin(s, &a, false, now_ns, &revision, &oldest, error);
	if (code)
		return code;
	cairn_msg_u64(answer, CAIRN_F_REVISION, revision);
	cairn_msg_u64(answer, CAIRN_F_OLDEST, oldest);
	return CAIRN_OK;
}
