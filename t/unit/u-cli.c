/* Words, quotes, escapes, numbers and command lines of the shell command, and what must hold of its rows. */
#include <tap.h>
#include "cli.h"

/* What the function FN of text.c writes, as a string that lives until the next call. */
static const char *written(void (*fn)(FILE *, struct cairn_slice), const char *text, size_t len)
{
	static char *out;
	size_t n;
	FILE *f;

	free(out);
	f = open_memstream(&out, &n);
	fn(f, cairn_slice(text, len));
	fclose(f);
	return out;
}

static void quote(FILE *f, struct cairn_slice s)
{
	text_quote(f, s, true);
}

static void quote_ascii(FILE *f, struct cairn_slice s)
{
	text_quote(f, s, false);
}

static void escape(FILE *f, struct cairn_slice s)
{
	text_escape(f, s, true, TEXT_BACKSLASH);
}

static void show(FILE *f, struct cairn_slice s)
{
	text_escape(f, s, true, TEXT_LINES);
}

static void test_quote(void)
{
	is_str(written(quote, "app/web.conf", 12), "app/web.conf", "a plain key stands bare");
	is_str(written(quote, "", 0), "''", "an empty one is quoted");
	is_str(written(quote, "a b", 3), "'a b'", "a blank is quoted");
	is_str(written(quote, "it's", 4), "'it'\\''s'", "a quote within quotes");
	is_str(written(quote, "a\nb", 3), "$'a\\nb'", "a newline is escaped");
	is_str(written(quote, "a\0b", 3), "$'a\\x00b'", "a zero byte is escaped");
	is_str(written(quote, "\\\n'", 3), "$'\\\\\\n\\''", "backslash and quote beside a newline");
	is_str(written(quote, "-x", 2), "'-x'", "what looks like an option is quoted");
	is_str(written(quote, "ä", 2), "ä", "a letter is a letter");
	is_str(written(quote_ascii, "ä", 2), "$'\\xc3\\xa4'", "but not where the terminal has no UTF-8");
	is_str(written(quote, "\xff", 1), "$'\\xff'", "a byte that is no UTF-8 is escaped");
	is_str(written(quote, "\xe2\x80\xae", 3), "$'\\xe2\\x80\\xae'",
	       "a mark that turns writing around is escaped");
}

static void test_escape(void)
{
	is_str(written(escape, "a\tb\\\n", 5), "a\\tb\\\\\\n",
	       "one line, from which the bytes can be had back");
	is_str(written(show, "a\tb\\\n\033[m", 8), "a\tb\\\n\\x1b[m", "lines stay, the escape does not act");
	is_str(written(escape, "\xc0\x80", 2), "\\xc0\\x80", "an overlong form is no character");
}

/* Whether LINE splits into the words of COUNT strings. */
static bool splits(const char *line, size_t count, const char *const *want)
{
	struct words w = { 0 };
	bool good = words_split(&w, cairn_str(line)) && w.count == count;

	for (size_t i = 0; good && i < count; i++)
		good = strcmp(w.list[i].text, want[i]) == 0;
	words_free(&w);
	return good;
}

#define SPLITS(line, ...) \
	splits(line, sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *), \
	       (const char *[]){ __VA_ARGS__ })

static void test_split(void)
{
	struct words w = { 0 };

	ok(SPLITS("put a  b\n", "put", "a", "b"), "blanks separate");
	ok(SPLITS("put 'a b' \"c \\\" d\" e\\ f", "put", "a b", "c \" d", "e f"), "quotes and backslashes");
	ok(SPLITS("a'b'\"c\"", "abc"), "parts of one word");
	ok(SPLITS("a # b", "a"), "a comment ends the line");
	ok(SPLITS("a#b", "a#b"), "within a word it is none");
	ok(SPLITS("''", ""), "an empty word");
	ok(SPLITS("$'a\\tb\\'c\\x41'", "a\tb'cA"), "C escapes");
	ok(splits("  # nothing", 0, NULL), "a line of nothing");
	ok(words_split(&w, cairn_str("k $'a\\x00b'")) && w.list[1].len == 3 && !w.list[1].text[1],
	   "a zero byte");
	words_free(&w);
	ok(!words_split(&w, cairn_str("a 'b c")) && w.open && w.count == 2, "a quote that is not closed");
	words_free(&w);
	ok(!words_split(&w, cairn_str("$'\\q'")) && !w.open, "an escape that is none");
	words_free(&w);
}

/* Every string of up to three odd bytes comes back when it is quoted and split. */
static void test_round_trip(void)
{
	static const char bytes[] = "a '\"\\\n\t\0$#\xff\xc3\xa4=-";
	size_t n = sizeof(bytes) - 1, wrong = 0;

	for (size_t i = 0; i < n * n * n; i++) {
		char text[3] = { bytes[i % n], bytes[i / n % n], bytes[i / n / n] };
		struct words w = { 0 };
		const char *quoted = written(quote, text, 3);

		wrong += !words_split(&w, cairn_str(quoted)) || w.count != 1 || w.list[0].len != 3 ||
			memcmp(w.list[0].text, text, 3) != 0;
		words_free(&w);
	}
	is_int(wrong, 0, "what is quoted is one word again, the same one");
}

static void test_numbers(void)
{
	char text[TEXT_SIZE];
	uint64_t n;

	text_size(999, text);
	is_str(text, "999", "bytes");
	text_size(1536, text);
	is_str(text, "1.5 KiB", "a small size has a decimal");
	text_size(64 << 20, text);
	is_str(text, "64 MiB", "a large one has none");
	text_size(UINT64_MAX, text);
	is_str(text, "16 EiB", "the largest");
	ok(text_duration("5", &n) && n == 5000, "seconds");
	ok(text_duration("0.5s", &n) && n == 500, "half a second");
	ok(text_duration("250ms", &n) && n == 250, "milliseconds");
	ok(text_duration("2h", &n) && n == 7200000, "hours");
	ok(!text_duration("5 s", &n) && !text_duration("", &n) && !text_duration("-1", &n) &&
		   !text_duration("1.2.3", &n),
	   "what is no duration");
	ok(text_number("18446744073709551615", &n) && n == UINT64_MAX, "the largest number");
	ok(!text_number("18446744073709551616", &n) && !text_number("-1", &n) && !text_number("1x", &n),
	   "what is none");
}

/* Parse the command line LINE. */
static enum cairn_code parse(const char *line, struct arguments *a, struct words *w, struct cairn_error *e)
{
	words_split(w, cairn_str(line));
	return arguments_parse(a, w->list, w->count, e);
}

/* The sentence and the hint that LINE is refused with. */
static void refused(const char *line, const char *message, const char *hint)
{
	struct cairn_error e = { 0 };
	struct arguments a;
	struct words w = { 0 };

	is_int(parse(line, &a, &w, &e), CAIRN_E_INVALID, "'%s' is refused", line);
	is_str(e.message, message, "its sentence");
	is_str(e.hint, hint, "its hint");
	arguments_free(&a);
	words_free(&w);
}

static void test_arguments(void)
{
	struct cairn_error e = { 0 };
	struct arguments a;
	struct words w = { 0 };
	uint64_t n;

	ok(!parse("--json put -s unix:/x k --if-revision=3 -V v value", &a, &w, &e) && a.count == 2,
	   "options anywhere");
	ok(argument(&a, "json") && argument_number(&a, "if-revision", &n) && n == 3, "their values");
	is_str(argument(&a, "server"), "unix:/x", "of a short one");
	arguments_free(&a);
	words_free(&w);
	ok(!parse("ls -rl0 -- -x", &a, &w, &e) && a.options == 3 && a.count == 1,
	   "short ones together, -- ends them");
	arguments_free(&a);
	words_free(&w);
	ok(!parse("put k -", &a, &w, &e) && a.count == 2, "a lone - is an operand");
	arguments_free(&a);
	words_free(&w);
	ok(!parse("put k --value --json", &a, &w, &e) && !argument(&a, "json"),
	   "an argument may look like an option");
	arguments_free(&a);
	words_free(&w);
	ok(!parse("volume rm x", &a, &w, &e) && a.parent && strcmp(a.verb->name, "drop") == 0,
	   "aliases of subcommands");
	arguments_free(&a);
	words_free(&w);
	refused("gte k", "there is no command 'gte'", "did you mean 'get'?");
	refused("put k v --if-revison 3", "put has no option '--if-revison'",
		"did you mean '--if-revision'?");
	refused("volume crate x", "volume has no command 'crate'", "did you mean 'volume create'?");
	refused("put k v --if-revision x", "--if-revision takes a number, not 'x'", "");
	refused("get", "get: too few operands", "usage: cairn get KEY");
	refused("get a b", "get: too many operands, from 'b' on", "usage: cairn get KEY");
	refused("get --timeout", "--timeout needs its SECONDS", "");
	refused("get -q k", "get has no option '-q'",
		"'cairn help get' lists its options; '--' before an operand that begins with '-'");
}

static void check_options(const struct verb *v)
{
	for (const struct option *o = v->options; o && o->name; o++)
		for (const struct option *g = general_options; g->name; g++)
			if (strcmp(o->name, g->name) == 0 || (o->letter && o->letter == g->letter))
				ok(false, "--%s of %s is a general option, too", o->name, v->name);
}

static void check_verb(const struct verb *v, const struct verb *list)
{
	size_t n = strlen(v->help);

	if (!v->help || !*v->help || v->help[n - 1] == '.' || n > 78)
		ok(false, "%s has one line of help", v->name);
	if (!v->page || !v->synopsis || !v->aliases || (!v->run && !v->verbs))
		ok(false, "the row of %s is whole", v->name);
	if (verb_find(list, v->name) != v)
		ok(false, "%s is found by its name", v->name);
	check_options(v);
	for (const struct verb *sub = v->verbs; sub && sub->name; sub++)
		check_verb(sub, v->verbs);
}

static void test_rows(void)
{
	int before = tap_failed;

	for (const struct verb *v = verbs; v->name; v++)
		check_verb(v, verbs);
	is_int(tap_failed, before, "every row is whole, and no option has two meanings");
	ok(verb_find(verbs, "set") == verb_find(verbs, "put") &&
		   verb_find(verbs, "rm") == verb_find(verbs, "del") &&
		   verb_find(verbs, "list") == verb_find(verbs, "ls"),
	   "the aliases that people try");
}

int main(void)
{
	test_quote();
	test_escape();
	test_split();
	test_round_trip();
	test_numbers();
	test_arguments();
	test_rows();
	return tap_done();
}
