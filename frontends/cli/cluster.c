/*
 * status and health: how the cluster is. The daemon says the state and the sentence; where none answers, the
 * state is disconnected. health says it with its exit status, too, and can wait for a state.
 */
#include <poll.h>
#include "cli.h"
#include "clock.h"
#include "nearest.h"
#include "banned.h"

static const char *const states[] = { "ok", "degraded", "no-quorum", "disconnected" };
#define STATES 4
#define DISCONNECTED 3
#define POLL_MS 100

static int state_number(const char *name)
{
	for (int i = 0; i < STATES; i++)
		if (strcmp(name, states[i]) == 0)
			return i;
	return -1;
}

/* "ok: 1 of 1 nodes", coloured on a terminal. */
static void show_state(const struct cli *c, const char *state, const char *sentence)
{
	static const char *const colours[STATES] = { "32", "33", "31", "31" };
	int n = state_number(state);

	if (c->colour && n >= 0)
		out_line("\033[%sm%s\033[m: %s", colours[n], state, sentence);
	else
		out_line("%s: %s", state, sentence);
}

/* The cluster's state by the answer FIELDS of status: its number; the sentence into TEXT. */
static int read_state(struct cairn_slice fields, char *text, size_t len)
{
	char state[32];
	int n = state_number(field_text(fields, CAIRN_F_STATE, state, sizeof(state)));

	field_text(fields, CAIRN_F_MESSAGE, text, len);
	return n < 0 ? 1 : n;
}

static enum cairn_code ask(struct cli *c, struct cairn_reply *r, uint64_t timeout_ms)
{
	struct cairn_msg m = { 0 };

	cairn_msg_start(&m, CAIRN_OP_STATUS);
	if (timeout_ms)
		cairn_msg_u64(&m, CAIRN_F_TIMEOUT_MS, timeout_ms);
	return call(c, &m, r);
}

static void show_nodes(struct cli *c, struct cairn_slice fields)
{
	static const struct field_column columns[] = {
		{ { "NODE", false }, CAIRN_F_NAME, SHOW_TEXT },
		{ { "ROLE", false }, CAIRN_F_ROLE, SHOW_TEXT },
		{ { "RTT", true }, CAIRN_F_RTT_US, SHOW_MICROS },
		{ { "DISK FREE", true }, CAIRN_F_DISK_FREE, SHOW_SIZE },
		{ { "CLOCK", true }, CAIRN_F_CLOCK_US, SHOW_OFFSET },
		{ { "ADDRESS", false }, CAIRN_F_ADDRESS, SHOW_TEXT },
	};
	/* Of several. */
	static const struct field_column many[] = {
		{ { "NODE", false }, CAIRN_F_NAME, SHOW_TEXT },
		{ { "ROLE", false }, CAIRN_F_ROLE, SHOW_TEXT },
		{ { "TERM", true }, CAIRN_F_TERM, SHOW_NUMBER },
		{ { "LAG", true }, CAIRN_F_LAG, SHOW_NUMBER },
		{ { "RTT", true }, CAIRN_F_RTT_US, SHOW_MICROS },
		{ { "DISK FREE", true }, CAIRN_F_DISK_FREE, SHOW_SIZE },
		{ { "CLOCK", true }, CAIRN_F_CLOCK_US, SHOW_OFFSET },
		{ { "ADDRESS", false }, CAIRN_F_ADDRESS, SHOW_TEXT },
	};
	struct cairn_slice node, lag;
	bool alone =
		!cairn_field_find(fields, CAIRN_F_NODE, &node) || !cairn_field_find(node, CAIRN_F_LAG, &lag);

	if (alone)
		out_rows(c, fields, CAIRN_F_NODE, columns, sizeof(columns) / sizeof(*columns));
	else
		out_rows(c, fields, CAIRN_F_NODE, many, sizeof(many) / sizeof(*many));
}

VERB(status)
{
	struct cairn_reply r = { 0 };
	char text[512], state[32];
	enum cairn_code code = ask(c, &r, 0);

	(void)a;
	if (code == CAIRN_OK && c->format == FORMAT_JSON) {
		out_json(c, r.fields);
	} else if (code == CAIRN_OK) {
		read_state(r.fields, text, sizeof(text));
		show_state(c, field_text(r.fields, CAIRN_F_STATE, state, sizeof(state)), text);
		show_nodes(c, r.fields);
		show_volumes(c, r.fields);
	}
	cairn_reply_free(&r);
	return code;
}

static void show_health(struct cli *c, int state, const char *text, const char *hint)
{
	struct cairn_msg m = { 0 };

	if (c->format != FORMAT_JSON) {
		show_state(c, states[state], text);
		if (*hint)
			out_line("hint: %s", hint);
		return;
	}
	cairn_msg_start(&m, 0);
	cairn_msg_text(&m, CAIRN_F_STATE, states[state]);
	cairn_msg_text(&m, CAIRN_F_MESSAGE, text);
	if (*hint)
		cairn_msg_text(&m, CAIRN_F_HINT, hint);
	out_json(c, cairn_message_fields(cairn_msg_slice(&m)));
	cairn_msg_free(&m);
}

VERB(health)
{
	const char *name = argument(a, "wait"), *close;
	uint64_t limit_ns = c->timeout_ms ? clock_boot_ns() + c->timeout_ms * 1000000 : UINT64_MAX;
	int wanted = name ? state_number(name) : -1, state;
	char text[512], hint[256];

	if (name && wanted < 0) {
		cairn_fail(&c->error, CAIRN_E_INVALID, "there is no state '%.50s'", name);
		close = nearest(name, states, STATES);
		cairn_hint(&c->error,
			   close ? "did you mean '%s'?"
				 : "the states are ok, degraded, no-quorum and disconnected",
			   close);
		return CAIRN_E_INVALID;
	}
	for (;;) {
		struct cairn_reply r = { 0 };
		enum cairn_code code = ask(c, &r, name ? 1000 : 0);

		state = code ? DISCONNECTED : read_state(r.fields, text, sizeof(text));
		if (code)
			snprintf(text, sizeof(text), "%s", c->error.message);
		snprintf(hint, sizeof(hint), "%s",
			 code ? c->error.hint : field_text(r.fields, CAIRN_F_HINT, hint, sizeof(hint)));
		cairn_reply_free(&r);
		if (code == CAIRN_E_INVALID)
			return code;
		if (!name || state == wanted)
			break;
		if (clock_boot_ns() >= limit_ns)
			return cairn_fail(&c->error, CAIRN_E_TIMEOUT, "not %s in time: %s: %s", name,
					  states[state], text);
		poll(NULL, 0, POLL_MS);
	}
	show_health(c, state, text, hint);
	c->status = name ? 0 : state;
	return CAIRN_OK;
}
