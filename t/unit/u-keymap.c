/* Names of files and parts of keys: a bijection, for random bytes and for those that look like escapes. */
#include <stdint.h>
#include "keymap.h"
#include "tap.h"
#include "banned.h"

static uint64_t seed = 42;

static unsigned rnd(unsigned n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % n;
}

static bool same(struct cairn_slice a, const char *text)
{
	return cairn_slice_eq(a, cairn_str(text));
}

static void is_name(const char *part, size_t len, bool root, const char *want)
{
	char name[KEYMAP_NAME_MAX];
	size_t n = keymap_to_name(cairn_slice(part, len), root, name);

	ok(same(cairn_slice(name, n), want), "the part of %zu bytes is named %s", len, want);
}

/* Random text made of what escapes consist of, so that every rule meets every other. */
static size_t random_text(char *to, size_t max, bool key)
{
	static const char *pieces[] = { "%",         "25",      "00",   "2e",         "_",        "=",
					"2ecluster", "cluster", ".",    "..",         ".cluster", "@",
					".history",  "a",       "\xff", "%2ehistory", "\n" };
	size_t n = 0, count = rnd(6) + !key;

	for (size_t i = 0; i < count; i++) {
		const char *p = pieces[rnd(sizeof(pieces) / sizeof(*pieces))];
		size_t len = strlen(p);

		if (n + len + 1 > max)
			break;
		memcpy(to + n, p, len);
		n += len;
		if (key && rnd(8) == 0)
			to[n++] = 0;
	}
	return n;
}

static void there_and_back(void)
{
	int wrong = 0;

	for (int i = 0; i < 300000; i++) {
		char text[64], name[KEYMAP_NAME_MAX];
		struct keymap_part part;
		size_t len = random_text(text, sizeof(text), true), n;
		bool root = rnd(2);

		n = keymap_to_name(cairn_slice(text, len), root, name);
		keymap_from_name(name, n, root, &part);
		if (part.kind != KEYMAP_PART ||
		    !cairn_slice_eq(cairn_slice(part.bytes, part.len), cairn_slice(text, len)))
			wrong++;
	}
	is_int(wrong, 0, "every part of a key is found again by its name");
	wrong = 0;
	for (int i = 0; i < 300000; i++) {
		char text[64], name[KEYMAP_NAME_MAX];
		struct keymap_part part;
		size_t len = random_text(text, sizeof(text), false), n;
		bool root = rnd(2);

		keymap_from_name(text, len, root, &part);
		if (part.kind != KEYMAP_PART)
			continue;
		n = keymap_to_name(cairn_slice(part.bytes, part.len), root, name);
		if (!cairn_slice_eq(cairn_slice(name, n), cairn_slice(text, len)))
			wrong++;
	}
	is_int(wrong, 0, "every name that stands for a part is the name of that part");
}

static void random_bytes(void)
{
	int wrong = 0;

	for (int i = 0; i < 20000; i++) {
		unsigned char key[300];
		char name[KEYMAP_NAME_MAX];
		struct keymap_part part;
		size_t len = rnd(sizeof(key)), n;

		for (size_t k = 0; k < len; k++)
			do
				key[k] = (unsigned char)rnd(256);
			while (key[k] == '/');
		n = keymap_to_name(cairn_slice(key, len), false, name);
		keymap_from_name(name, n, false, &part);
		if (n > KEYMAP_NAME_MAX || n == 0 || memchr(name, 0, n) || memchr(name, '/', n))
			wrong++;
		else if (part.kind == KEYMAP_LONG)
			wrong += n != 2 + KEYMAP_HASH || len < 100;
		else if (part.kind != KEYMAP_PART ||
			 !cairn_slice_eq(cairn_slice(part.bytes, part.len), cairn_slice(key, len)))
			wrong++;
	}
	is_int(wrong, 0, "random bytes have names that lead back, or a hash where they are too long");
}

int main(void)
{
	struct keymap_part part;
	char longest[256];

	is_name("100%", 4, false, "100%");
	is_name("a%20b", 5, false, "a%20b");
	is_name("a%25b", 5, false, "a%25b");
	is_name("", 0, false, "%_");
	is_name(".", 1, false, "%2e");
	is_name("..", 2, false, "%2e%2e");
	is_name("a\0b", 3, false, "a%00b");
	is_name("a%00b", 5, false, "a%2500b");
	is_name("%2500", 5, false, "%252500");
	is_name("%_", 2, false, "%25_");
	is_name("%=", 2, false, "%25=");
	is_name(".cluster", 8, true, "%2ecluster");
	is_name(".cluster", 8, false, ".cluster");
	is_name("%2ecluster", 10, true, "%252ecluster");
	keymap_from_name("%=", 2, false, &part);
	is_int(part.kind, KEYMAP_SELF, "%%= is the folder's own value");
	keymap_from_name(".history", 8, true, &part);
	is_int(part.kind, KEYMAP_VIEW, ".history in the root is no key");
	keymap_from_name(".history", 8, false, &part);
	is_int(part.kind, KEYMAP_PART, "but is one below");
	memset(longest, 'x', sizeof(longest));
	keymap_from_name(longest, 256, false, &part);
	is_int(part.kind, KEYMAP_BAD, "a name of 256 bytes is none");
	keymap_from_name(longest, 255, false, &part);
	is_int(part.len, 255, "one of 255 bytes is a part of 255 bytes");
	there_and_back();
	random_bytes();
	return tap_done();
}
