/*
 * Metrics: one table of rows (metrics.c) with name, kind, unit, help and the function that gives the values.
 * Counting is a relaxed atomic addition from any thread; everything else is read when somebody asks.
 */
#ifndef METRICS_H
#define METRICS_H

#include <cairn/errors.h>
#include <cairn/message.h>

struct node;
struct metrics; /* what one node has counted */

/* What is counted where it happens. */
enum metric {
	METRIC_CONNECTIONS,          /* open now on the control socket: add 1 and -1 */
	METRIC_CONNECTIONS_ACCEPTED, /* ever */
	METRIC_CONNECTIONS_REFUSED,  /* too many, or a stranger */
	METRIC_BYTES_READ,           /* from clients */
	METRIC_BYTES_WRITTEN,        /* to clients */
	METRIC_BAD_REQUESTS,         /* that could not be understood */
	METRIC_IN_FLIGHT,            /* requests that are being served: add 1 and -1 */
	METRIC_WATCHES,              /* that are under way: add 1 and -1 */
	METRIC_COUNT
};

/* NULL when there is no memory. */
struct metrics *metrics_new(void);
void metrics_free(struct metrics *m);
/* Add N (may be negative) to METRIC. Any thread. */
void metrics_add(struct metrics *m, enum metric metric, int64_t n);
/* One request of operation OP ended with CODE after NS nanoseconds. Any thread. */
void metrics_request(struct metrics *m, unsigned op, enum cairn_code code, uint64_t ns);
/*
 * Add one STATISTIC row to ANSWER for every value that node N knows: NAME, TYPE (counter, gauge, histogram),
 * UNIT, HELP, LABELS and AMOUNT; core/base/prometheus.h prints them. In the loop's thread.
 */
void metrics_rows(struct node *n, struct cairn_msg *answer);

#endif
