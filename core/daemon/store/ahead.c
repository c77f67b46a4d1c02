/*
 * Commands are looked at a few at a time before they are applied: their arguments are taken apart, and the
 * engine is asked for the records of all their keys at once, so that it waits for memory once and not for
 * each. The engine's rows stay as they are until the batch is written, so what was read ahead holds. A
 * command whose key could not be read ahead reads it itself.
 */
#include "state.h"
#include "banned.h"

void ahead_look(struct store *s, const struct store_command *commands, size_t count)
{
	struct cairn_slice keys[AHEAD], values[AHEAD];
	struct ahead *of[AHEAD];
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		struct ahead *a = &s->ahead[i];

		a->parsed = args_parse(cairn_message_fields(commands[i].message), &a->args) == 0;
		a->key = a->parsed ? args_bytes(&a->args, CAIRN_F_KEY) : cairn_slice(NULL, 0);
		if (count == 1 || !a->key.len || a->key.len > s->key_max ||
		    view_row(s, ROW_LATEST, a->key, &a->row) < 0) {
			a->key.data = NULL;
			continue;
		}
		keys[n] = a->row.key;
		of[n++] = a;
	}
	if (n && s->engine->ops.get_many(s->engine->handle, &s->guard, keys, n, CAIRN_READ_TO_WRITE, values))
		for (size_t i = 0; i < n; i++)
			of[i]->value = values[i];
	else
		for (size_t i = 0; i < n; i++)
			of[i]->key.data = NULL;
}
