/* The rows of the operation metrics as Prometheus text. */
#ifndef PROMETHEUS_H
#define PROMETHEUS_H

#include "buffer.h"

/* FIELDS are the answer of the operation metrics: STATISTIC rows, those of one metric behind each other. */
void prometheus_text(struct buffer *out, struct cairn_slice fields);

#endif
