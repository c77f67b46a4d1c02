/*
 * The locks that a program runs under: $CAIRN_FENCE becomes guards that every write of a handle carries, so
 * that the store refuses the write where the lock was lost. A write to another volume, whose store cannot
 * know, is refused here. A text that makes no sense is an error when the handle is made: no write may slip by
 * for it.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "fence.h"
#include "handle.h"
#include "banned.h"

static bool plain(unsigned char c)
{
	return isalnum(c) || (c && strchr("-._~/", c));
}

char *fence_text(const char *outer, const char *volume, struct cairn_slice key, uint64_t fence)
{
	bool first = !outer || !*outer;
	const unsigned char *p = key.data;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	fprintf(f, "%s %llu:", first ? volume : outer, (unsigned long long)fence);
	for (size_t i = 0; i < key.len; i++)
		fprintf(f, plain(p[i]) ? "%c" : "%%%02X", p[i]);
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

static int hex(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Undo fence_text's escapes within TEXT. Its length, 0 where they make no sense. */
static size_t unescape(char *text)
{
	size_t n = 0;

	for (const char *p = text; *p; p++) {
		if (*p == '%' && hex(p[1]) >= 0 && hex(p[2]) >= 0) {
			text[n++] = (char)(hex(p[1]) << 4 | hex(p[2]));
			p += 2;
		} else if (plain((unsigned char)*p)) {
			text[n++] = *p;
		} else {
			return 0;
		}
	}
	return n;
}

/* One lock, as FENCE:KEY, becomes a guard. */
static bool parse_lock(struct cairn *c, char *text)
{
	char *end;
	uint64_t fence = strtoull(text, &end, 10);
	size_t len, mark;

	if (!isdigit((unsigned char)*text) || *end != ':' || !fence)
		return false;
	len = unescape(end + 1);
	mark = cairn_msg_open(&c->fences, CAIRN_F_GUARD);
	cairn_msg_bytes(&c->fences, CAIRN_F_KEY, cairn_slice(end + 1, len));
	cairn_msg_u64(&c->fences, CAIRN_F_FENCE, fence);
	cairn_msg_close(&c->fences, mark);
	return len != 0;
}

enum cairn_code fences_parse(struct cairn *c, const char *text, struct cairn_error *e)
{
	char *rest, *one;
	bool good = true;

	if (!text || !*text)
		return CAIRN_OK;
	c->fence_text = rest = strdup(text);
	if (!rest)
		return cairn_fail(e, CAIRN_E_INTERNAL, "no memory for a fence");
	strsep(&rest, " ");
	good = rest && *c->fence_text;
	while (good && (one = strsep(&rest, " ")))
		good = parse_lock(c, one);
	if (cairn_msg_error(&c->fences))
		return cairn_fail(e, CAIRN_E_INTERNAL, "no memory for a fence");
	if (good)
		return CAIRN_OK;
	cairn_fail(e, CAIRN_E_INVALID, "the fence '%s' ($CAIRN_FENCE) is not understood", text);
	cairn_hint(e, "'cairn lock' sets it; unset it where no lock is meant");
	return CAIRN_E_INVALID;
}

bool fences_foreign(const struct cairn *c, struct cairn_slice volume)
{
	return c->fences.len && !cairn_slice_eq(volume, cairn_str(c->fence_text));
}

void fences_fail(const struct cairn *c, struct cairn_slice volume, struct cairn_error *e)
{
	cairn_fail(e, CAIRN_E_UNSUPPORTED,
		   "nothing was written: volume %.*s cannot tell whether a lock of volume %s is still held",
		   (int)volume.len, (const char *)volume.data, c->fence_text);
	cairn_hint(e, "this runs below 'cairn lock'; with 'env -u CAIRN_FENCE' in front it writes unguarded");
}
