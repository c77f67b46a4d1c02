/* A typed line: splitting it, and quoting its words so that they are split into the same ones. */
#include <stdint.h>
#include <stdlib.h>
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void round_trip(const struct word *w, bool utf8)
{
	struct words again = { 0 };
	char *quoted = NULL;
	size_t n;
	FILE *f = open_memstream(&quoted, &n);

	if (!f)
		return;
	text_quote(f, word_slice(w), utf8);
	fclose(f);
	if (!words_split(&again, cairn_slice(quoted, n)) || again.count != 1 || again.list[0].len != w->len ||
	    memcmp(again.list[0].text, w->text, w->len) != 0)
		abort();
	words_free(&again);
	free(quoted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct words w = { 0 };
	uint64_t number;

	words_split(&w, cairn_slice(data, len));
	for (size_t i = 0; i < w.count; i++) {
		round_trip(&w.list[i], i % 2);
		text_number(w.list[i].text, &number);
		text_duration(w.list[i].text, &number);
	}
	words_free(&w);
	return 0;
}
