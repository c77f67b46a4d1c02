/* Rows of metrics as Prometheus text: HELP and TYPE once for each metric, then its values. */
#include <cairn/message.h>
#include "prometheus.h"
#include "banned.h"

static struct cairn_slice text(struct cairn_slice fields, unsigned field)
{
	struct cairn_slice body = { 0 };

	cairn_field_find(fields, field, &body);
	return body;
}

/* NAME of the metric that a row belongs to: the values of a histogram have suffixes. */
static struct cairn_slice family(struct cairn_slice name, struct cairn_slice type)
{
	static const char *const suffixes[] = { "_bucket", "_sum", "_count" };

	if (!cairn_slice_eq(type, cairn_str("histogram")))
		return name;
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
		size_t n = strlen(suffixes[i]);

		if (name.len > n && memcmp((const char *)name.data + name.len - n, suffixes[i], n) == 0)
			return cairn_slice(name.data, name.len - n);
	}
	return name;
}

static void line(struct buffer *out, const char *what, struct cairn_slice name, struct cairn_slice rest)
{
	buffer_text(out, what);
	buffer_add(out, name);
	buffer_byte(out, ' ');
	buffer_add(out, rest);
	buffer_byte(out, '\n');
}

void prometheus_text(struct buffer *out, struct cairn_slice fields)
{
	struct cairn_slice row, last = { 0 };
	unsigned field;

	while (cairn_field_next(&fields, &field, &row) == 0 && field != CAIRN_F_END) {
		struct cairn_slice name = text(row, CAIRN_F_NAME), type = text(row, CAIRN_F_TYPE),
				   labels = text(row, CAIRN_F_LABELS);

		if (field != CAIRN_F_STATISTIC)
			continue;
		if (!cairn_slice_eq(family(name, type), last)) {
			last = family(name, type);
			line(out, "# HELP ", last, text(row, CAIRN_F_HELP));
			line(out, "# TYPE ", last, type);
		}
		buffer_add(out, name);
		if (labels.len) {
			buffer_byte(out, '{');
			buffer_add(out, labels);
			buffer_byte(out, '}');
		}
		line(out, "", cairn_slice(NULL, 0), text(row, CAIRN_F_AMOUNT));
	}
}
