/*
 * Completion, for the shells and for our own: what could stand in the place of the last word, by the rows,
 * and by the daemon where keys, volumes, plugins or settings are wanted. It has half a second for that, and
 * says nothing when the daemon does not answer.
 */
#include "cli.h"
#include "banned.h"

#define KEYS_SHOWN 500
#define PATIENCE_MS 500

struct completion {
	struct cli *c;
	const char *word; /* what is there so far */
	size_t len;
	complete_fn *fn;
	void *arg;
	bool folders; /* only folders are wanted */
};

static void offer(struct completion *k, const char *candidate, const char *help)
{
	if (strncmp(candidate, k->word, k->len) == 0)
		k->fn(k->arg, candidate, help);
}

static void offer_options(struct completion *k, const struct option *list)
{
	char name[80];

	for (; list && list->name; list++) {
		snprintf(name, sizeof(name), "--%s", list->name);
		offer(k, name, list->help);
	}
}

static void offer_verbs(struct completion *k, const struct verb *list)
{
	for (; list->name; list++)
		if (list->group)
			offer(k, list->name, list->help);
}

static bool offer_key(void *arg, struct cairn_slice row)
{
	struct completion *k = arg;
	struct cairn_slice key;
	char text[4200];

	if (!cairn_field_find(row, CAIRN_F_KEY, &key) || key.len >= sizeof(text))
		return true;
	for (size_t i = 0; i < key.len; i++)
		if ((unsigned char)((const char *)key.data)[i] < 32)
			return true; /* cannot be typed on a line */
	memcpy(text, key.data, key.len);
	text[key.len] = 0;
	if (!k->folders || cairn_field_bool(row, CAIRN_F_FOLDER, false))
		offer(k, text, "");
	return true;
}

static void offer_keys(struct completion *k)
{
	struct range range = {
		.prefix = cairn_slice(k->word, k->len), .fold = true, .keys_only = true, .limit = KEYS_SHOWN
	};

	/* Paths are the business of the shell around us. */
	if (!strchr("./@", k->word[0]) || !k->len)
		walk(k->c, &range, offer_key, k);
}

/* The texts FIELD of the rows LIST in the answer to OP. */
static void offer_rows(struct completion *k, unsigned op, unsigned list, unsigned name, unsigned help)
{
	struct cairn_reply r = { 0 };
	struct cairn_msg m = { 0 };
	struct cairn_slice fields, row;
	char text[256], about[256];
	unsigned field;

	cairn_msg_start(&m, op);
	if (call(k->c, &m, &r) == CAIRN_OK) {
		fields = r.fields;
		while (cairn_field_next(&fields, &field, &row) == 0 && field != CAIRN_F_END)
			if (field == list)
				offer(k, field_text(row, name, text, sizeof(text)),
				      field_text(row, help, about, sizeof(about)));
	}
	cairn_reply_free(&r);
}

static void offer_list(struct completion *k, const char *const *list)
{
	for (; *list; list++)
		offer(k, *list, "");
}

static void offer_topics(struct completion *k)
{
	offer_verbs(k, verbs);
	for (size_t i = 0; topics[i].name; i++)
		offer(k, topics[i].name, topics[i].help);
}

static void offer_operand(struct completion *k, enum operand operand)
{
	static const char *const levels[] = { "error", "warn", "info", "debug", "trace", NULL };

	switch (operand) {
	case OPERAND_FOLDER:
		k->folders = true;
		offer_keys(k);
		break;
	case OPERAND_KEY:
		offer_keys(k);
		break;
	case OPERAND_VOLUME:
		offer_rows(k, CAIRN_OP_VOLUME_LIST, CAIRN_F_VOLUMES, CAIRN_F_NAME, CAIRN_F_ENGINE);
		break;
	case OPERAND_PLUGIN:
		offer_rows(k, CAIRN_OP_PLUGIN_LIST, CAIRN_F_ROW, CAIRN_F_NAME, CAIRN_F_TYPE);
		break;
	case OPERAND_SETTING:
		offer_rows(k, CAIRN_OP_CONFIG_GET, CAIRN_F_ROW, CAIRN_F_SETTING, CAIRN_F_HELP);
		break;
	case OPERAND_MODULE:
		offer_rows(k, CAIRN_OP_LOG_LEVEL, CAIRN_F_ROW, CAIRN_F_MODULE, CAIRN_F_LEVEL);
		offer_list(k, levels);
		break;
	case OPERAND_LEVEL:
		offer_list(k, levels);
		break;
	case OPERAND_TOPIC:
		offer_topics(k);
		break;
	case OPERAND_NONE:
	case OPERAND_FILE:
		break;
	}
}

/* The argument of the option O. */
static void offer_argument(struct completion *k, const struct option *o)
{
	static const char *const formats[] = { "plain", "table", "json", NULL };
	static const char *const states[] = { "ok", "degraded", "no-quorum", "disconnected", NULL };

	if (strcmp(o->name, "format") == 0)
		offer_list(k, formats);
	else if (strcmp(o->argument, "STATE") == 0)
		offer_list(k, states);
	else if (strcmp(o->name, "volume") == 0)
		offer_operand(k, OPERAND_VOLUME);
	else if (strcmp(o->name, "engine") == 0)
		offer_operand(k, OPERAND_PLUGIN);
}

void complete(struct cli *c, const struct word *words, size_t n, complete_fn *fn, void *arg)
{
	const struct word *last = &words[n - 1];
	struct completion k = { c, last->text, last->len, fn, arg, false };
	struct cli before = *c;
	struct arguments a;
	const struct option *waiting;
	bool ended = false;

	arguments_parse(&a, words, n - 1, &c->error);
	for (size_t i = 0; i + 1 < n; i++)
		ended = ended || strcmp(words[i].text, "--") == 0;
	ended = ended || (a.verb && a.verb->command && (int)a.count >= a.verb->command);
	general_set(c, &a);
	c->patience_ms = PATIENCE_MS;
	waiting = n > 1 && !ended ? option_waiting(&a, words[n - 2].text) : NULL;
	if (waiting) {
		offer_argument(&k, waiting);
	} else if (!ended && last->text[0] == '-') {
		offer_options(&k, a.verb ? a.verb->options : NULL);
		offer_options(&k, general_options);
	} else if (!a.verb) {
		offer_verbs(&k, verbs);
	} else if (a.implied || a.verb->verbs) {
		offer_verbs(&k, (a.parent ? a.parent : a.verb)->verbs);
	} else if (a.verb->most < 0 || a.count < (size_t)a.verb->most) {
		offer_operand(&k, a.verb->operands[a.count < 2 ? a.count : 2]);
	}
	arguments_free(&a);
	if (c->in_shell) {
		c->volume = before.volume;
		c->timeout_ms = before.timeout_ms;
		c->format = before.format;
		c->literal = before.literal;
		c->patience_ms = 0;
	}
}

/* A candidate a line, with its help behind a tab. */
static void print_candidate(void *arg, const char *candidate, const char *help)
{
	(void)arg;
	if (*help)
		out_line("%s\t%s", candidate, help);
	else
		out_line("%s", candidate);
}

VERB(complete)
{
	const char *line = argument(a, "line");
	struct words w = { 0 };
	size_t n;

	if (!line && a->count) {
		complete(c, a->operand, a->count, print_candidate, NULL);
	} else if (line) {
		n = strlen(line);
		words_split(&w, cairn_slice(line, n));
		/* Behind a blank a new word begins. */
		if (!w.open && (n == 0 || line[n - 1] == ' ' || w.count == 0) && !words_add(&w, "", 0))
			no_memory();
		if (w.count > 1)
			complete(c, w.list + 1, w.count - 1, print_candidate, NULL);
		words_free(&w);
	}
	c->error = (struct cairn_error){ 0 };
	return CAIRN_OK;
}
