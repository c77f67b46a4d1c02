/*
 * Names and parts of keys. Nearly every byte string is its own name. What a file name cannot say is written
 * with a percent sign: a whole part ("%_", "%2e", "%2e%2e", "%=", "%@…" and in the root "%2ecluster",
 * "%2ehistory"), or a NUL byte anywhere ("%00"). A part that happens to look like one of these gets one "25"
 * more behind its percent sign, so "%00" and "%2500" are different keys, while "100%", "a%20b" and "a%25b"
 * stay as they are. Nothing here can fail: a name that is none is answered as KEYMAP_BAD.
 */
#include <stdint.h>
#include <stdio.h>
#include "keymap.h"
#include "banned.h"

/* Names of whole parts. */
static const struct {
	const char *text; /* behind the percent sign */
	const char *part; /* NULL: not a part */
	bool root;        /* only in the root */
} words[] = {
	{ "_", "", false },
	{ "=", NULL, false },
	{ "2e", ".", false },
	{ "2e%2e", "..", false },
	{ "2ecluster", ".cluster", true },
	{ "2ehistory", ".history", true },
};
#define WORDS (sizeof(words) / sizeof(*words))
enum { WORD_SELF = 1, WORD_LONG = WORDS, WORD_NONE = -1 };

/* How many "25" begin S. */
static size_t escapes(struct cairn_slice s)
{
	const char *p = s.data;
	size_t n = 0;

	while (s.len >= 2 * n + 2 && p[2 * n] == '2' && p[2 * n + 1] == '5')
		n++;
	return n;
}

static bool is_hash(struct cairn_slice s)
{
	const char *p = s.data;

	if (s.len != 1 + KEYMAP_HASH || p[0] != '@')
		return false;
	for (size_t i = 1; i < s.len; i++)
		if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f')))
			return false;
	return true;
}

/* Which word the whole of S is, escaped *N times; WORD_NONE for none. */
static int word_of(struct cairn_slice s, bool root, size_t *n)
{
	const char *p = s.data;
	struct cairn_slice rest;

	if (s.len < 2 || p[0] != '%')
		return WORD_NONE;
	*n = escapes(cairn_slice(p + 1, s.len - 1));
	rest = cairn_slice(p + 1 + 2 * *n, s.len - 1 - 2 * *n);
	for (size_t i = 0; i < WORDS; i++)
		if ((root || !words[i].root) && cairn_slice_eq(rest, cairn_str(words[i].text)))
			return (int)i;
	return is_hash(rest) ? WORD_LONG : WORD_NONE;
}

/* Whether S begins with a percent sign, any number of "25", and "00". Sets *N to that number. */
static bool nul_at(struct cairn_slice s, size_t *n)
{
	const char *p = s.data;

	if (s.len < 3 || p[0] != '%')
		return false;
	*n = escapes(cairn_slice(p + 1, s.len - 1));
	return s.len >= 2 * *n + 3 && p[1 + 2 * *n] == '0' && p[2 + 2 * *n] == '0';
}

static void add(struct keymap_part *part, const void *bytes, size_t len)
{
	memcpy(part->bytes + part->len, bytes, len);
	part->len += len;
}

void keymap_from_name(const char *name, size_t len, bool root, struct keymap_part *part)
{
	struct cairn_slice s = cairn_slice(name, len);
	size_t n;
	int word;

	part->len = 0;
	part->kind = KEYMAP_BAD;
	if (len == 0 || len > KEYMAP_NAME_MAX || memchr(name, 0, len) || memchr(name, '/', len) ||
	    cairn_slice_eq(s, cairn_str(".")) || cairn_slice_eq(s, cairn_str("..")))
		return;
	part->kind = KEYMAP_PART;
	if (root && (cairn_slice_eq(s, cairn_str(".cluster")) || cairn_slice_eq(s, cairn_str(".history")))) {
		part->kind = KEYMAP_VIEW;
		return;
	}
	word = word_of(s, root, &n);
	if (word != WORD_NONE && n > 0) { /* one escape less */
		add(part, "%", 1);
		add(part, name + 3, len - 3);
		return;
	}
	if (word == WORD_LONG) {
		part->kind = KEYMAP_LONG;
		add(part, name + 2, KEYMAP_HASH);
		return;
	}
	if (word != WORD_NONE) {
		if (word == WORD_SELF)
			part->kind = KEYMAP_SELF;
		else
			add(part, words[word].part, strlen(words[word].part));
		return;
	}
	for (size_t i = 0; i < len;) {
		if (!nul_at(cairn_slice(name + i, len - i), &n)) {
			add(part, name + i++, 1);
		} else if (n == 0) {
			add(part, "", 1);
			i += 3;
		} else {
			add(part, "%", 1);
			i += 3;
		}
	}
}

void keymap_hash(struct cairn_slice bytes, char digits[KEYMAP_HASH])
{
	static const char hex[] = "0123456789abcdef";
	uint64_t h[2] = { 0xcbf29ce484222325, 0x9ae16a3b2f90404f };
	const unsigned char *p = bytes.data;

	for (size_t i = 0; i < bytes.len; i++) {
		h[0] = (h[0] ^ p[i]) * 0x100000001b3;
		h[1] = (h[1] ^ p[i] ^ (h[0] >> 32)) * 0xff51afd7ed558ccd;
	}
	for (int i = 0; i < KEYMAP_HASH; i++)
		digits[i] = hex[h[i / 16] >> (60 - i % 16 * 4) & 15];
}

/* Bytes of a name under way; beyond the limit only the length goes on. */
struct name {
	char *bytes;
	size_t len;
};

static void put(struct name *n, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++, n->len++)
		if (n->len < KEYMAP_NAME_MAX)
			n->bytes[n->len] = bytes[i];
}

size_t keymap_to_name(struct cairn_slice bytes, bool root, char name[KEYMAP_NAME_MAX])
{
	struct name to = { name, 0 };
	const char *p = bytes.data;
	size_t n;

	for (size_t i = 0; i < WORDS; i++)
		if (words[i].part && (root || !words[i].root) &&
		    cairn_slice_eq(bytes, cairn_str(words[i].part))) {
			put(&to, "%", 1);
			put(&to, words[i].text, strlen(words[i].text));
			return to.len;
		}
	if (word_of(bytes, root, &n) != WORD_NONE) {
		put(&to, "%25", 3);
		put(&to, p + 1, bytes.len - 1);
	} else {
		for (size_t i = 0; i < bytes.len; i++)
			if (!p[i])
				put(&to, "%00", 3);
			else if (nul_at(cairn_slice(p + i, bytes.len - i), &n))
				put(&to, "%25", 3);
			else
				put(&to, p + i, 1);
	}
	if (to.len > KEYMAP_NAME_MAX) {
		memcpy(name, "%@", 2);
		keymap_hash(bytes, name + 2);
		to.len = 2 + KEYMAP_HASH;
	}
	return to.len;
}
