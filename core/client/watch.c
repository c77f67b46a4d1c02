/*
 * A watch goes on by itself: what was handed over of it is noted here, event by event, and when its
 * connection dies or the server ends it with "unavailable", the same request is sent again, with arguments
 * that begin behind that. What comes twice then (changes of a revision that was sent in part) is left out. So
 * its caller sees each change once, in order, whatever happens to the servers; where changes were lost for
 * good the server says so, and that ends it.
 */
#include <errno.h>
#include <stdlib.h>
#include "handle.h"
#include "banned.h"

#define AGAIN_FIRST_NS (20 * MS)
#define AGAIN_MAX_NS (1000 * MS)

struct watching {
	bool initial;          /* the content is not there to its end */
	bool progress;         /* the caller wants progress messages */
	bool known;            /* an event has come: where to go on from is known */
	bool told;             /* the caller knows that the watch is in force */
	uint64_t at;           /* revision of the content */
	uint64_t revision;     /* of the next change, */
	uint64_t ordinal;      /* from this one of it on */
	uint64_t incarnation;  /* of the volume; 0: not known */
	uint64_t pause_ns;     /* before it is sent again */
	struct cairn_msg from; /* the field FROM: behind the newest key of the content */
};

void watching_free(struct watching *w)
{
	if (w)
		cairn_msg_free(&w->from);
	free(w);
}

struct watching *watching_new(struct cairn_slice fields)
{
	struct watching *w = calloc(1, sizeof(*w));
	struct cairn_slice from;

	if (!w)
		return NULL;
	w->initial = cairn_field_bool(fields, CAIRN_F_INITIAL, false);
	w->progress = cairn_field_bool(fields, CAIRN_F_PROGRESS, false);
	w->at = cairn_field_u64(fields, CAIRN_F_AT, 0);
	if (cairn_field_find(fields, CAIRN_F_REVISION, &from)) /* 0 here is "not given" */
		w->revision = cairn_body_u64(from) ? cairn_body_u64(from) : 1;
	w->incarnation = cairn_field_u64(fields, CAIRN_F_INCARNATION, 0);
	if (cairn_field_find(fields, CAIRN_F_FROM, &from))
		cairn_msg_bytes(&w->from, CAIRN_F_FROM, from);
	if (!cairn_msg_error(&w->from))
		return w;
	watching_free(w);
	return NULL;
}

bool watching_takes(unsigned field)
{
	return field == CAIRN_F_INITIAL || field == CAIRN_F_PROGRESS || field == CAIRN_F_AT ||
		field == CAIRN_F_REVISION || field == CAIRN_F_INCARNATION || field == CAIRN_F_FROM;
}

void watching_encode(const struct watching *w, struct cairn_msg *m)
{
	cairn_msg_bool(m, CAIRN_F_PROGRESS, true);
	if (w->incarnation)
		cairn_msg_u64(m, CAIRN_F_INCARNATION, w->incarnation);
	if (!w->initial) {
		if (w->revision)
			cairn_msg_u64(m, CAIRN_F_REVISION, w->revision);
		return;
	}
	cairn_msg_bool(m, CAIRN_F_INITIAL, true);
	if (w->at || w->known)
		cairn_msg_u64(m, CAIRN_F_AT, w->at);
	cairn_msg_fields(m, cairn_msg_slice(&w->from));
}

/* A key of the content. */
static bool take_content(struct watching *w, struct cairn_slice fields)
{
	struct cairn_slice key = { 0 };
	char *behind;

	cairn_field_find(fields, CAIRN_F_KEY, &key);
	w->from.len = 0;
	behind = cairn_msg_room(&w->from, CAIRN_F_FROM, key.len + 1);
	if (behind) {
		memcpy(behind, key.data, key.len);
		behind[key.len] = 0;
	}
	return true;
}

static bool take_progress(struct watching *w, uint64_t revision)
{
	bool tell = w->progress || !w->told;

	if (w->initial || revision >= w->revision) {
		w->revision = revision + 1;
		w->ordinal = 0;
	}
	w->initial = false;
	w->told = true;
	return tell;
}

static bool take_change(struct watching *w, struct cairn_slice fields, bool flush)
{
	uint64_t revision = cairn_field_u64(fields, CAIRN_F_REVISION, 0),
		 ordinal = cairn_field_u64(fields, CAIRN_F_ORDINAL, 0);

	if (revision < w->revision || (revision == w->revision && ordinal < w->ordinal))
		return false;
	w->revision = revision + flush; /* nothing of the same revision follows that */
	w->ordinal = flush ? 0 : ordinal + 1;
	return true;
}

bool watching_take(struct watching *w, struct cairn_slice fields)
{
	uint64_t incarnation = cairn_field_u64(fields, CAIRN_F_INCARNATION, 0);
	struct cairn_slice change;
	bool known = w->known;

	w->known = true;
	w->pause_ns = 0;
	if (incarnation)
		w->incarnation = incarnation;
	if (cairn_field_find(fields, CAIRN_F_CHANGE, &change))
		return take_change(w, fields, incarnation != 0);
	if (cairn_field_bool(fields, CAIRN_F_INITIAL, false))
		return take_content(w, fields);
	if (cairn_field_bool(fields, CAIRN_F_PROGRESS, false))
		return take_progress(w, cairn_field_u64(fields, CAIRN_F_REVISION, 0));
	w->at = cairn_field_u64(fields, CAIRN_F_AT, 0);
	return !known;
}

bool watching_again(struct watching *w, uint64_t *pause_ns)
{
	if (!w->known || cairn_msg_error(&w->from))
		return false;
	*pause_ns = w->pause_ns;
	w->pause_ns = w->pause_ns ? w->pause_ns * 2 : AGAIN_FIRST_NS;
	if (w->pause_ns > AGAIN_MAX_NS)
		w->pause_ns = AGAIN_MAX_NS;
	return true;
}
