/*
 * LevelDB's formats, read from frozen files: a log of four batches of which the third crosses a block, and a
 * table. What is torn off is told from what is damaged, and nothing is read beyond its end.
 */
#include <errno.h>
#include "logfile.h"
#include "table.h"
#include "crc32c.h"
#include "le.h"
#include "tap.h"

static int read_memory(void *arg, void *data, size_t len, uint64_t at)
{
	const struct cairn_slice *s = arg;
	size_t n = at >= s->len ? 0 : s->len - at;

	if (n > len)
		n = len;
	if (n)
		memcpy(data, (const char *)s->data + at, n);
	return (int)n;
}

static unsigned char *load(const char *name, size_t extra, size_t *len)
{
	const char *top = getenv("CAIRN_SOURCE");
	unsigned char *data = calloc(1, 100000 + extra);
	char path[500];
	FILE *f;

	snprintf(path, sizeof(path), "%s/t/fuzz/seeds/%s", top ? top : ".", name);
	f = fopen(path, "rb");
	if (!f || (*len = fread(data, 1, 100000, f)) == 0)
		bail("cannot read %s", path);
	fclose(f);
	return data;
}

static struct logfile_scan scan(const void *data, size_t len)
{
	struct cairn_slice bytes = cairn_slice(data, len);
	struct logfile_scan s = { .source = { read_memory, &bytes, len }, .batches = true };

	if (logfile_scan(&s))
		bail("the scan of memory failed");
	return s;
}

/* Where the four batches begin, and the end. */
static size_t starts[5];

static void whole_and_torn(unsigned char *log, size_t len)
{
	struct logfile_scan s = scan(log, len);
	unsigned wrong = 0;

	ok(s.state == LOGFILE_WHOLE && s.records == 4 && s.good == len && s.sequence == 5,
	   "the sample is whole: 4 batches, next sequence 5");
	for (size_t cut = 0; cut<len; cut += cut> 200 && cut < 32700 ? 37 : 1) {
		size_t k = 0;

		while (k < 4 && starts[k + 1] <= cut)
			k++;
		s = scan(log, cut);
		if (s.records != k || s.good != (k ? starts[k] : 0) ||
		    (s.state != LOGFILE_WHOLE) != (cut != starts[k]) || s.state == LOGFILE_DAMAGED) {
			if (!wrong++)
				printf("# cut at %zu: %d records, state %d, good %d\n", cut, (int)s.records,
				       s.state, (int)s.good);
		}
	}
	is_int(wrong, 0, "cut anywhere: the batches before the cut are good, the rest is torn");
	s = scan(log, len + 70000);
	ok(s.state == LOGFILE_TORN && s.good == len && s.records == 4, "zeros behind the end are torn: %s",
	   s.reason ? s.reason : "");
}

static void flipped(unsigned char *log, size_t len)
{
	unsigned wrong = 0;

	for (size_t at = 0; at<len; at += at> 200 && at < 32700 ? 37 : 1)
		for (int bit = 0; bit < 8; bit++) {
			struct logfile_scan s;
			size_t k = 0;

			while (starts[k + 1] <= at)
				k++;
			log[at] ^= (unsigned char)(1 << bit);
			s = scan(log, len);
			log[at] ^= (unsigned char)(1 << bit);
			if (s.state != (k == 3 ? LOGFILE_TORN : LOGFILE_DAMAGED) || s.bad != starts[k] ||
			    s.good != starts[k] || s.records != k) {
				if (!wrong++)
					printf("# bit %d of %zu: state %d, bad %d, records %d\n", bit, at,
					       s.state, (int)s.bad, (int)s.records);
			}
		}
	is_int(wrong, 0, "one bit flipped: damage at the start of its batch, or a torn end in the last one");
}

static void lookalikes(const unsigned char *log, size_t len)
{
	unsigned char *twice = calloc(1, 2 * len + 100), *at = twice + len;
	struct logfile_scan s;

	memcpy(twice, log, len);
	le16_put(at + 4, 200); /* a torn batch whose value holds the beginning of a log */
	at[6] = 1;
	memcpy(at + 30, log, 150);
	s = scan(twice, len + 190);
	ok(s.state == LOGFILE_TORN && s.good == len,
	   "a log inside the value of a torn batch is no later batch");
	memcpy(twice, log + starts[1], len - starts[1]);
	s = scan(log + starts[1], starts[2] - starts[1]);
	ok(s.state == LOGFILE_WHOLE && s.records == 1, "a log may begin with any sequence");
	memcpy(twice, log, starts[1]);
	memcpy(twice + starts[1], log, starts[1]);
	s = scan(twice, 2 * starts[1]);
	ok(s.state == LOGFILE_DAMAGED && s.bad == starts[1], "batches that do not join are damage: %s",
	   s.reason);
	free(twice);
}

static void snappy(void)
{
	static const unsigned char text[] = { 11, 4 << 2, 'h', 'e', 'l', 'l', 'o', (6 - 1) << 2 | 2, 5, 0 },
				   far[] = { 4, 3 << 2 | 2, 1, 0 },
				   shorter[] = { 9, 4 << 2, 'h', 'e', 'l', 'l', 'o' },
				   beyond[] = { 2, 4 << 2, 'h', 'e', 'l', 'l', 'o' };
	unsigned char *out;
	size_t len;

	ok(snappy_expand(cairn_slice(text, sizeof(text)), 100, &out, &len) == 0 && len == 11 &&
		   !memcmp(out, "hellohelloh", 11),
	   "Snappy expands");
	free(out);
	is_int(snappy_expand(cairn_slice(text, sizeof(text)), 10, &out, &len), -EBADMSG,
	       "but not beyond the limit");
	is_int(snappy_expand(cairn_slice(far, sizeof(far)), 100, &out, &len), -EBADMSG,
	       "nor from before its start");
	is_int(snappy_expand(cairn_slice(shorter, sizeof(shorter)), 100, &out, &len), -EBADMSG,
	       "nor to less than it says");
	is_int(snappy_expand(cairn_slice(beyond, sizeof(beyond)), 100, &out, &len), -EBADMSG, "nor to more");
}

static int check(unsigned char *data, size_t len, struct table_fault *fault)
{
	struct cairn_slice bytes = cairn_slice(data, len);
	struct table_source t = { read_memory, &bytes, len };

	return table_check(&t, fault);
}

static void tables(void)
{
	struct table_fault fault;
	size_t len, missed = 0;
	unsigned char *table = load("table/table", 0, &len);

	is_int(check(table, len, &fault), 0, "a table is good");
	for (size_t cut = 0; cut < len; cut++)
		missed += check(table, cut, &fault) != -EBADMSG;
	is_int(missed, 0, "cut at any byte it is not");
	for (size_t at = 0; at < len; at++)
		for (int bit = 0; bit < 8; bit++) {
			table[at] ^= (unsigned char)(1 << bit);
			if (check(table, len, &fault) != -EBADMSG && at < len - TABLE_FOOTER)
				missed++;
			table[at] ^= (unsigned char)(1 << bit);
		}
	is_int(missed, 0, "any bit before the footer counts");
	free(table);
}

int main(void)
{
	size_t len;
	unsigned char *log = load("logfile/batches", 70000, &len);

	for (size_t at = 0, k = 0; at < len; at += 7u + le16_get(log + at + 4))
		if (log[at + 6] == 1 || log[at + 6] == 2)
			starts[k++] = at;
	starts[4] = len;
	whole_and_torn(log, len);
	flipped(log, len);
	lookalikes(log, len);
	free(log);
	snappy();
	tables();
	return tap_done();
}
