/*
 * Bytes and people. Everything that is shown on a terminal passes through here, so that a key or a value
 * cannot move its cursor; everything that is typed as a line is split here. Nothing here fails but for want
 * of memory.
 */
#include <stdlib.h>
#include <strings.h>
#include <time.h>
#include "text.h"
#include "banned.h"

static size_t sequence(const unsigned char *p, size_t n, uint32_t *character)
{
	size_t len = p[0] < 0x80 ? 1
		: p[0] < 0xc2    ? 0
		: p[0] < 0xe0    ? 2
		: p[0] < 0xf0    ? 3
		: p[0] < 0xf5    ? 4
				 : 0;
	uint32_t c = len < 2 ? p[0] : p[0] & (0x7f >> len);

	if (len == 0 || len > n)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if ((len == 3 && c < 0x800) || (len == 4 && (c < 0x10000 || c > 0x10ffff)) ||
	    (c >= 0xd800 && c < 0xe000))
		return 0;
	*character = c;
	return len;
}

size_t text_character(struct cairn_slice s, bool utf8)
{
	uint32_t c;
	size_t len = s.len ? sequence(s.data, s.len, &c) : 0;

	if (len == 0 || c < 0x20 || (c >= 0x7f && c < 0xa0) || (len > 1 && !utf8))
		return 0;
	/* Marks that turn the direction of writing or show nothing could make one key look like another. */
	if ((c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) ||
	    c == 0xfeff)
		return 0;
	return len;
}

bool text_is_utf8(void)
{
	const char *names[] = { "LC_ALL", "LC_CTYPE", "LANG" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const char *v = getenv(names[i]);

		if (v && *v)
			return strcasestr(v, "utf-8") || strcasestr(v, "utf8");
	}
	return false;
}

size_t text_width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

static void escape_byte(FILE *out, unsigned char c)
{
	switch (c) {
	case '\n':
		fputs("\\n", out);
		break;
	case '\t':
		fputs("\\t", out);
		break;
	case '\r':
		fputs("\\r", out);
		break;
	default:
		fprintf(out, "\\x%02x", c);
	}
}

void text_escape(FILE *out, struct cairn_slice s, bool utf8, unsigned flags)
{
	const char *p = s.data;

	for (size_t i = 0, n; i < s.len; i += n) {
		n = text_character(cairn_slice(p + i, s.len - i), utf8);
		if (n == 0 && (flags & TEXT_LINES) && (p[i] == '\n' || p[i] == '\t'))
			n = 1;
		if (n && p[i] == '\\' && (flags & TEXT_BACKSLASH))
			fputc('\\', out);
		if (n)
			fwrite(p + i, 1, n, out);
		else
			escape_byte(out, (unsigned char)p[i]);
		n += !n;
	}
}

static bool plain_byte(char c, bool first)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c & 0x80))
		return true;
	return c && (strchr("_@%+:,./", c) || (!first && strchr("-=#~", c)));
}

void text_quote(FILE *out, struct cairn_slice s, bool utf8)
{
	const char *p = s.data;
	bool plain = s.len > 0, shown = true;

	for (size_t i = 0, n; i < s.len; i += n) {
		n = text_character(cairn_slice(p + i, s.len - i), utf8);
		shown = shown && n > 0;
		plain = plain && n > 0 && plain_byte(p[i], i == 0);
		n += !n;
	}
	if (plain) {
		fwrite(p, 1, s.len, out);
		return;
	}
	fputs(shown ? "'" : "$'", out);
	for (size_t i = 0; i < s.len; i++) {
		struct cairn_slice rest = cairn_slice(p + i, s.len - i);
		size_t n = text_character(rest, utf8);

		if (p[i] == '\'')
			fputs(shown ? "'\\''" : "\\'", out);
		else
			text_escape(out, cairn_slice(p + i, n ? n : 1), utf8, shown ? 0 : TEXT_BACKSLASH);
		i += n ? n - 1 : 0;
	}
	fputc('\'', out);
}

void text_size(uint64_t size, char text[TEXT_SIZE])
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double d = (double)size;
	int unit = -1;

	while (d >= 1000 && unit < 5) {
		d /= 1024;
		unit++;
	}
	if (unit < 0)
		snprintf(text, TEXT_SIZE, "%llu", (unsigned long long)size);
	else
		snprintf(text, TEXT_SIZE, d < 9.95 ? "%.1f %s" : "%.0f %s", d, units[unit]);
}

void text_time(uint64_t ns, bool long_form, char text[TEXT_TIME])
{
	time_t t = (time_t)(ns / 1000000000u);
	struct tm tm;

	if (!localtime_r(&t, &tm) || strftime(text, TEXT_TIME, long_form ? "%F %T %z" : "%F %R", &tm) == 0)
		snprintf(text, TEXT_TIME, "?");
}

bool text_number(const char *text, uint64_t *number)
{
	uint64_t n = 0;

	if (!*text)
		return false;
	for (; *text; text++)
		if (*text < '0' || *text > '9' || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*text - '0'), &n))
			return false;
	*number = n;
	return true;
}

bool text_integer(const char *text, int64_t *number)
{
	bool negative = *text == '-';
	uint64_t n;

	if (!text_number(text + negative, &n) || n > (uint64_t)INT64_MAX + negative)
		return false;
	*number = (int64_t)(negative ? 0 - n : n);
	return true;
}

bool text_duration(const char *text, uint64_t *ms)
{
	static const struct {
		const char *name;
		double ms;
	} units[] = { { "", 1e3 }, { "ms", 1 }, { "s", 1e3 }, { "m", 6e4 }, { "h", 36e5 }, { "d", 864e5 } };
	size_t digits = strspn(text, "0123456789.");
	char number[32], *end;
	double d;

	if (digits == 0 || digits >= sizeof(number))
		return false;
	memcpy(number, text, digits);
	number[digits] = 0;
	d = strtod(number, &end);
	if (*end)
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (strcmp(text + digits, units[i].name) == 0 && d * units[i].ms < 9e15) {
			*ms = (uint64_t)(d * units[i].ms + 0.5);
			return true;
		}
	return false;
}

bool words_add(struct words *w, const char *text, size_t len)
{
	char *copy = malloc(len + 1);

	if (copy && w->count == w->room) {
		size_t room = w->room ? w->room * 2 : 16;
		struct word *list = reallocarray(w->list, room, sizeof(*list));

		if (!list) {
			free(copy);
			return false;
		}
		w->list = list;
		w->room = room;
	}
	if (!copy)
		return false;
	if (len)
		memcpy(copy, text, len);
	copy[len] = 0;
	w->list[w->count++] = (struct word){ copy, len };
	return true;
}

void words_free(struct words *w)
{
	for (size_t i = 0; i < w->count; i++)
		free(w->list[i].text);
	free(w->list);
	*w = (struct words){ 0 };
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* The escape at P, behind its backslash, within $'…': one byte to *C. Returns the bytes taken, 0 where it is
 * none. */
static size_t c_escape(const char *p, size_t n, char *c)
{
	static const char from[] = "ntrabfve0\\'\"", to[] = "\n\t\r\a\b\f\v\033\0\\'\"";
	const char *at = n ? memchr(from, *p, sizeof(from) - 1) : NULL;

	if (at) {
		*c = to[at - from];
		return 1;
	}
	if (n < 2 || *p != 'x' || hex(p[1]) < 0)
		return 0;
	*c = (char)hex(p[1]);
	if (n < 3 || hex(p[2]) < 0)
		return 2;
	*c = (char)(hex(p[1]) << 4 | hex(p[2]));
	return 3;
}

/* Take the word at P of N bytes into BUFFER, *LEN bytes. Returns the bytes taken; sets *OPEN or *BAD. */
static size_t take_word(const char *p, size_t n, char *buffer, size_t *len, bool *open, bool *bad)
{
	char quote = 0; /* ' or ", or $ for $'…' */
	size_t i = 0, taken;

	for (; i < n && (quote || !strchr(" \t\r\n", p[i]) || !p[i]); i++) {
		if (!quote && p[i] == '$' && i + 1 < n && p[i + 1] == '\'') {
			quote = '$';
			i++;
		} else if (!quote && (p[i] == '\'' || p[i] == '"')) {
			quote = p[i];
		} else if (quote && p[i] == (quote == '$' ? '\'' : quote)) {
			quote = 0;
		} else if (p[i] == '\\' && quote == '$') {
			taken = c_escape(p + i + 1, n - i - 1, &buffer[*len]);
			*bad = *bad || (taken == 0 && i + 1 < n);
			*open = *open || i + 1 == n;
			i += taken;
			*len += taken > 0;
		} else if (p[i] == '\\' && quote != '\'' && i + 1 == n) {
			*open = true;
		} else {
			if (p[i] == '\\' &&
			    (!quote || (quote == '"' && p[i + 1] && strchr("\\\"$`", p[i + 1]))))
				i++;
			buffer[(*len)++] = p[i];
		}
	}
	*open = *open || quote;
	return i;
}

bool words_split(struct words *w, struct cairn_slice line)
{
	const char *p = line.data;
	char *buffer = malloc(line.len + 1);
	bool bad = !buffer;

	w->open = false;
	for (size_t i = 0; i < line.len && !bad && !w->open;) {
		size_t len = 0;

		if (p[i] && strchr(" \t\r\n", p[i])) {
			i++;
			continue;
		}
		if (p[i] == '#')
			break;
		i += take_word(p + i, line.len - i, buffer, &len, &w->open, &bad);
		bad = bad || !words_add(w, buffer, len);
	}
	free(buffer);
	return !bad && !w->open;
}
