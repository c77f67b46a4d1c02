/*
 * Which versions are visible. It follows from meta, from the key's newest record and from the version's own
 * change row alone: never from what reclaim has removed.
 */
#ifndef HISTORY_H
#define HISTORY_H

#include "meta.h"
#include "record.h"
#include "rows.h"

#define HISTORY_RECLAIMED UINT64_MAX /* meta.reclaimed: no history is kept, and no row of it is left */
#define HISTORY_WHOLE 64             /* every such version keeps its content, whatever replaces it */

/* What was replaced at this time or before is not kept for its age. */
static inline uint64_t history_bound_ns(const struct meta *m)
{
	uint64_t bound = m->clock_ns > m->history_age_ns ? m->clock_ns - m->history_age_ns : 0;

	return bound > m->history_from_ns ? bound : m->history_from_ns;
}

/* Whether the tombstone with the head T is visible, and with it what the key was before. */
static inline bool history_shows_gone(const struct meta *m, const struct record_head *t)
{
	return m->history && t->revision > m->floor && t->time_ns > history_bound_ns(m);
}

/*
 * Whether the version with the head V is visible, which C replaced, and whose key has the newest record
 * NEWEST: its live one or, with GONE, its tombstone.
 */
static inline bool history_shows(const struct meta *m, const struct record_head *v, const struct change *c,
				 const struct record *newest, bool gone)
{
	uint64_t versions = m->history;

	if (!m->history || c->next_revision <= m->floor || v->revision < newest->since)
		return false;
	if (gone && !history_shows_gone(m, &newest->head))
		return false;
	if (c->next_time_ns > history_bound_ns(m))
		return true;
	if (c->next_revision <= m->history_since && m->history_before < versions)
		versions = m->history_before;
	return newest->head.version - v->version < versions;
}

/* Whether there may be something to reclaim, now or later. Without history that ends with the last row. */
static inline bool history_reclaims(const struct meta *m)
{
	return m->history || m->history_used || m->reclaimed != HISTORY_RECLAIMED;
}

#endif
