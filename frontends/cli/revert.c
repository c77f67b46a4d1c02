/*
 * revert: a key, or with -r a folder, as it was at a revision or a time. The daemon does it in one step; what
 * it would do to a folder is found here by comparing two listings, and on a terminal it is shown and asked
 * for first.
 */
#include <stdlib.h>
#include <time.h>
#include "cli.h"
#include "banned.h"

/* The keys of a listing with their revisions. */
struct listed {
	struct words keys;
	uint64_t *revisions;
	size_t room;
};

static bool listed_row(void *arg, struct cairn_slice row)
{
	struct listed *l = arg;
	struct cairn_slice key;

	if (!cairn_field_find(row, CAIRN_F_KEY, &key))
		return true;
	if (l->keys.count == l->room) {
		l->room = l->room ? l->room * 2 : 64;
		l->revisions = reallocarray(l->revisions, l->room, sizeof(*l->revisions));
	}
	if (!l->revisions || !words_add(&l->keys, key.data, key.len))
		no_memory();
	l->revisions[l->keys.count - 1] = cairn_field_u64(row, CAIRN_F_REVISION, 0);
	return true;
}

static void listed_free(struct listed *l)
{
	words_free(&l->keys);
	free(l->revisions);
}

/* What a revert does to the keys of a folder. */
enum effect { RESTORED, REPLACED, REMOVED };

struct plan {
	struct cli *c;
	bool show;
	uint64_t count[3];
};

static void plan_key(struct plan *p, enum effect effect, struct cairn_slice key)
{
	static const char *const words[] = { "put back  ", "change    ", "remove    " };
	static const unsigned fields[] = { CAIRN_F_RESTORED, CAIRN_F_REPLACED, CAIRN_F_REMOVED };

	p->count[effect]++;
	if (p->show && p->c->format == FORMAT_JSON) {
		struct cairn_msg m = { 0 };

		cairn_msg_start(&m, 0);
		cairn_msg_bytes(&m, CAIRN_F_KEY, key);
		cairn_msg_u64(&m, fields[effect], 1);
		out_json(p->c, cairn_message_fields(cairn_msg_slice(&m)));
		cairn_msg_free(&m);
	} else if (p->show) {
		fputs(words[effect], stdout);
		out_key(p->c, key, '\n');
	}
}

/* Compare FOLDER as it is NOW with what it was THEN; both are in order. */
static void plan_compare(struct plan *p, const struct listed *now, const struct listed *then)
{
	size_t i = 0, j = 0;

	while (i < now->keys.count || j < then->keys.count) {
		struct cairn_slice a = { 0 }, b = { 0 };
		int order;

		if (i < now->keys.count)
			a = word_slice(&now->keys.list[i]);
		if (j < then->keys.count)
			b = word_slice(&then->keys.list[j]);
		order = !a.data ? 1 : !b.data ? -1 : cairn_slice_cmp(a, b);
		if (order < 0)
			plan_key(p, REMOVED, a);
		else if (order > 0)
			plan_key(p, RESTORED, b);
		else if (now->revisions[i] != then->revisions[j])
			plan_key(p, REPLACED, a);
		i += order <= 0;
		j += order >= 0;
	}
}

static enum cairn_code plan_folder(struct plan *p, struct cairn_slice folder, const struct past *past)
{
	struct range range = { .prefix = folder, .meta_only = true };
	struct listed now = { 0 }, then = { 0 };
	enum cairn_code code = walk(p->c, &range, listed_row, &now);

	range.past = *past;
	if (code == CAIRN_OK)
		code = walk(p->c, &range, listed_row, &then);
	if (code == CAIRN_OK)
		plan_compare(p, &now, &then);
	listed_free(&now);
	listed_free(&then);
	return code;
}

static void show_counts(const char *begin, const uint64_t count[3], const char *be)
{
	out_line("%s%llu key%s %sput back, %llu changed, %llu removed", begin,
		 (unsigned long long)count[RESTORED], count[RESTORED] == 1 ? "" : "s", be,
		 (unsigned long long)count[REPLACED], (unsigned long long)count[REMOVED]);
}

/* Ask on the terminal; no answer is no. */
static bool agreed(void)
{
	char line[16];

	fputs("Go on? [y/N] ", stdout);
	fflush(stdout);
	return fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y');
}

static enum cairn_code revert_folder(struct cli *c, const struct arguments *a, const struct key *folder,
				     const struct past *past)
{
	bool dry = argument(a, "dry-run") != NULL;
	bool ask = !dry && c->out_terminal && !c->input_used && !argument(a, "yes");
	struct plan plan = { .c = c, .show = dry || ask };
	struct cairn_reply r = { 0 };
	struct cairn_msg m = { 0 };
	enum cairn_code code = CAIRN_OK;
	char begin[48];

	if (dry || ask)
		code = plan_folder(&plan, folder->name, past);
	if (code == CAIRN_OK && (dry || ask) && c->format != FORMAT_JSON)
		show_counts("", plan.count, "would be ");
	if (code || dry || (ask && !agreed()))
		return code;
	request(c, &m, CAIRN_OP_REVERT_PREFIX);
	cairn_msg_bytes(&m, CAIRN_F_PREFIX, folder->name);
	cairn_msg_u64(&m, CAIRN_F_REVISION, past->revision);
	code = call(c, &m, &r);
	if (code == CAIRN_OK && c->format == FORMAT_JSON) {
		out_json(c, r.fields);
	} else if (code == CAIRN_OK) {
		snprintf(begin, sizeof(begin), "revision %llu: ",
			 (unsigned long long)cairn_field_u64(r.fields, CAIRN_F_REVISION, 0));
		show_counts(begin,
			    (const uint64_t[]){ cairn_field_u64(r.fields, CAIRN_F_RESTORED, 0),
						cairn_field_u64(r.fields, CAIRN_F_REPLACED, 0),
						cairn_field_u64(r.fields, CAIRN_F_REMOVED, 0) },
			    "");
	}
	cairn_reply_free(&r);
	return code;
}

static enum cairn_code revert_key(struct cli *c, const struct arguments *a, const struct key *key,
				  const struct past *past)
{
	bool dry = argument(a, "dry-run") != NULL;
	struct cairn_reply r = { 0 };
	struct cairn_msg m = { 0 };
	enum cairn_code code;
	uint64_t size;

	request(c, &m, dry ? CAIRN_OP_GET : CAIRN_OP_REVERT);
	cairn_msg_bytes(&m, CAIRN_F_KEY, key->name);
	if (dry) {
		cairn_msg_bool(&m, CAIRN_F_META_ONLY, true);
		past_add(&m, past);
	} else {
		cairn_msg_u64(&m, CAIRN_F_REVISION, past->revision);
	}
	code = call(c, &m, &r);
	if (code == CAIRN_OK && c->format == FORMAT_JSON) {
		out_json(c, r.fields);
	} else if (code == CAIRN_OK) {
		if (!dry)
			printf("revision %llu: ",
			       (unsigned long long)cairn_field_u64(r.fields, CAIRN_F_REVISION, 0));
		text_escape(stdout, key->name, c->utf8, TEXT_BACKSLASH);
		size = cairn_field_u64(r.fields, CAIRN_F_SIZE, 0);
		out_line(" %s as at revision %llu (%llu byte%s)", dry ? "would be" : "is again",
			 (unsigned long long)past->revision, (unsigned long long)size, size == 1 ? "" : "s");
	}
	cairn_reply_free(&r);
	return code;
}

VERB(revert)
{
	bool folder = argument(a, "recursive") != NULL;
	struct past past = { 0 };
	struct key k = { 0 };
	enum cairn_code code = past_operand(c, a->operand[1].text, folder, &past);

	if (code == CAIRN_OK)
		code = folder ? folder_take(c, &a->operand[0], &k) : key_take(c, &a->operand[0], &k);
	if (code == CAIRN_OK)
		code = folder ? revert_folder(c, a, &k, &past) : revert_key(c, a, &k, &past);
	key_free(&k);
	return code;
}
