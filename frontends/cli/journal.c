/* The node's journal: of a running one what it keeps, which the daemon says; of one that does not run, cairnd
 * reads the files. */
#include "cli.h"
#include "banned.h"

VERB(journal_list)
{
	static const struct field_column columns[] = {
		{ { "VOLUME", false }, CAIRN_F_NAME, SHOW_TEXT },
		{ { "FIRST", true }, CAIRN_F_FIRST, SHOW_NUMBER },
		{ { "NEWEST", true }, CAIRN_F_NEWEST, SHOW_NUMBER },
		{ { "FLUSHED", true }, CAIRN_F_FLUSHED, SHOW_NUMBER },
		{ { "HELD", true }, CAIRN_F_HELD, SHOW_SIZE },
		{ { "OVERLAY", true }, CAIRN_F_OVERLAY, SHOW_SIZE },
	};
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	char path[4096], size[TEXT_SIZE];
	uint64_t segments;
	enum cairn_code code;

	(void)a;
	cairn_msg_start(&m, CAIRN_OP_JOURNAL);
	code = call(c, &m, &r);
	if (code == CAIRN_OK && c->format == FORMAT_JSON) {
		out_json(c, r.fields);
	} else if (code == CAIRN_OK) {
		segments = cairn_field_u64(r.fields, CAIRN_F_SEGMENTS, 0);
		text_size(cairn_field_u64(r.fields, CAIRN_F_DISK_BYTES, 0), size);
		if (c->format != FORMAT_PLAIN)
			out_line("%s: %llu segment%s, %s, newest batch %llu",
				 field_text(r.fields, CAIRN_F_PATH, path, sizeof(path)),
				 (unsigned long long)segments, segments == 1 ? "" : "s", size,
				 (unsigned long long)cairn_field_u64(r.fields, CAIRN_F_DURABLE, 0));
		out_rows(c, r.fields, CAIRN_F_VOLUMES, columns, sizeof(columns) / sizeof(*columns));
	}
	cairn_reply_free(&r);
	return code;
}

static enum cairn_code needs_folder(struct cli *c, const char *what)
{
	cairn_fail(&c->error, CAIRN_E_INVALID,
		   "the files of a journal are read while no daemon uses them: %s needs --dir DATA", what);
	cairn_hint(&c->error, "'cairn journal' says what a running node's journal keeps");
	return CAIRN_E_INVALID;
}

VERB(journal_check)
{
	const char *dir = argument(a, "dir");

	return dir ? run_cairnd(c, dir, argument(a, "config"), "--journal-check", NULL)
		   : needs_folder(c, "journal check");
}

VERB(journal_dump)
{
	const char *dir = argument(a, "dir");
	char how[256];

	if (!dir)
		return needs_folder(c, "journal dump");
	snprintf(how, sizeof(how), "%s%s%s%s", c->format == FORMAT_JSON ? "json" : "text",
		 argument(a, "values") ? ",values" : "", c->volume ? ",volume=" : "",
		 c->volume ? c->volume : "");
	return run_cairnd(c, dir, argument(a, "config"), "--journal-dump", how);
}
