/* Where each term begins in the log: all that the protocol needs to know of entries. */
#include "raft.h"
#include "banned.h"

/* The number of runs that begin at INDEX or before. */
static size_t runs_until(const struct log *l, uint64_t index)
{
	size_t from = 0, to = l->count;

	while (from < to) {
		size_t mid = (from + to) / 2;

		if (l->runs[mid].index <= index)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

uint64_t log_term(const struct log *l, uint64_t index)
{
	size_t n;

	if (index < l->base || index > l->last)
		return 0;
	n = index == l->base ? 0 : runs_until(l, index);
	return n ? l->runs[n - 1].term : l->base_term;
}

uint64_t log_run_start(const struct log *l, uint64_t index)
{
	size_t n = runs_until(l, index);

	return n ? l->runs[n - 1].index : l->base;
}

uint64_t log_last_of(const struct log *l, uint64_t term)
{
	size_t n = l->count;

	while (n && l->runs[n - 1].term > term)
		n--;
	return n == l->count ? l->last : l->runs[n].index - 1;
}

int log_append(struct raft *r, uint64_t term)
{
	struct log *l = &r->log;

	if (term != log_term(l, l->last)) {
		if (l->count == l->cap) {
			size_t cap = l->cap ? l->cap * 2 : 4;
			struct run *runs = r->host->alloc(r->host->arg, cap * sizeof(*runs));

			if (!runs)
				return -ENOMEM;
			if (l->count)
				memcpy(runs, l->runs, l->count * sizeof(*runs));
			r->host->free(r->host->arg, l->runs);
			l->runs = runs;
			l->cap = cap;
		}
		l->runs[l->count++] = (struct run){ l->last + 1, term };
	}
	l->last++;
	return 0;
}

void log_truncate(struct log *l, uint64_t from)
{
	while (l->count && l->runs[l->count - 1].index >= from)
		l->count--;
	l->last = from - 1;
}

void log_compact(struct log *l, uint64_t index, uint64_t term)
{
	size_t n;

	if (index < l->base || (index == l->base && l->last > index))
		return;
	n = runs_until(l, index);
	/* The run that goes on behind INDEX is the base's now. */
	if (n) {
		memmove(l->runs, l->runs + n, (l->count - n) * sizeof(*l->runs));
		l->count -= n;
	}
	l->base = index;
	l->base_term = term;
	if (l->last < index) {
		l->last = index;
		l->count = 0;
	}
}
