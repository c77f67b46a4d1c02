/*
 * For tests of the store: a store over an engine that is found through the real loader, and commands for it.
 * Time and identifiers come from the test, so that the same commands give the same state on every engine.
 */
#ifndef STOREHOUSE_H
#define STOREHOUSE_H

#include <dirent.h>
#include <unistd.h>
#include "files.h"
#include "loader.h"
#include "store.h"
#include "tap.h"

struct house {
	struct loader *loader;
	const struct plugin *plugin;
	struct engine engine;
	struct store *store;
	char dir[64];
	struct store_settings settings;
	uint64_t index, time_ns; /* of the last command */
	struct cairn_msg command, answer;
	struct cairn_error error; /* of the last command or read */
};

static const struct store_settings house_settings = { .key_max = STORE_KEY_MAX,
						      .value_limit = 64 << 20,
						      .folders = true,
						      .history = 8,
						      .history_age_ns = 3600000000000ull };

__attribute__((unused)) static void house_open_store(struct house *h)
{
	if (engine_open(&h->engine, h->plugin->engine, h->dir, NULL, 0, &h->error) ||
	    store_open(&h->store, &h->engine, &h->settings, &h->error))
		bail("opening a store over %s: %s", h->plugin->name, h->error.message);
}

/* False where this build has no engine NAME. */
__attribute__((unused)) static bool house_open_with(struct house *h, const char *name,
						    const struct store_settings *settings)
{
	*h = (struct house){ .time_ns = 1700000000000000000ull, .settings = *settings };
	h->loader = loader_new(NULL);
	if (!h->loader)
		bail("no loader");
	if (loader_get(h->loader, PLUGIN_ENGINE, name, &h->plugin, &h->error)) {
		loader_free(h->loader);
		return false;
	}
	if (h->plugin->engine->key_max && h->plugin->engine->key_max <= h->settings.key_max)
		h->settings.key_max = h->plugin->engine->key_max - 1;
	snprintf(h->dir, sizeof(h->dir), "/tmp/cairn-store-XXXXXX");
	if (!mkdtemp(h->dir))
		bail("no folder for a test");
	house_open_store(h);
	return true;
}

__attribute__((unused)) static bool house_open(struct house *h, const char *name)
{
	return house_open_with(h, name, &house_settings);
}

__attribute__((unused)) static void house_reopen(struct house *h)
{
	store_close(h->store);
	engine_close(&h->engine);
	house_open_store(h);
}

__attribute__((unused)) static void house_close(struct house *h)
{
	store_close(h->store);
	engine_close(&h->engine);
	folder_remove(-100, h->dir);
	loader_free(h->loader);
	cairn_msg_free(&h->command);
	cairn_msg_free(&h->answer);
}

/* Begin the command OP; its arguments are added to H->command, and house_apply does it. */
__attribute__((unused)) static void house_start(struct house *h, unsigned op)
{
	h->time_ns += 1000000;
	cairn_msg_start(&h->command, op);
	cairn_msg_u64(&h->command, CAIRN_F_TIME, h->time_ns);
}

__attribute__((unused)) static enum cairn_code house_apply(struct house *h)
{
	struct store_command c = {
		.position = { ++h->index, 1 },
		.message = cairn_msg_slice(&h->command),
		.answer = &h->answer,
		.error = &h->error,
	};

	if (store_apply(h->store, &c, 1, false, &h->error))
		bail("the store stopped: %s", h->error.message);
	return c.code;
}

__attribute__((unused)) static struct cairn_slice house_fields(const struct house *h)
{
	return cairn_message_fields(cairn_msg_slice(&h->answer));
}

__attribute__((unused)) static enum cairn_code house_put(struct house *h, const char *key, const char *value)
{
	house_start(h, CAIRN_OP_PUT);
	cairn_msg_text(&h->command, CAIRN_F_KEY, key);
	cairn_msg_text(&h->command, CAIRN_F_VALUE, value);
	return house_apply(h);
}

__attribute__((unused)) static enum cairn_code house_delete(struct house *h, const char *key)
{
	house_start(h, CAIRN_OP_DELETE);
	cairn_msg_text(&h->command, CAIRN_F_KEY, key);
	return house_apply(h);
}

/* get or scan with the arguments in H->command (house_start). */
__attribute__((unused)) static enum cairn_code house_read(struct house *h, size_t max_bytes)
{
	struct cairn_slice fields = cairn_message_fields(cairn_msg_slice(&h->command));

	cairn_msg_start(&h->answer, 0);
	if (cairn_message_number(cairn_msg_slice(&h->command)) == CAIRN_OP_GET)
		return store_get(h->store, fields, 0, &h->answer, NULL, &h->error);
	return store_scan(h->store, fields, 0, max_bytes, &h->answer, NULL, &h->error);
}

/* The value of KEY as text, or the error's name; valid until the next call. */
__attribute__((unused)) static const char *house_value(struct house *h, const char *key)
{
	struct cairn_slice value;
	enum cairn_code code;
	static char text[256];

	cairn_msg_start(&h->command, CAIRN_OP_GET);
	cairn_msg_text(&h->command, CAIRN_F_KEY, key);
	code = house_read(h, 0);
	if (code)
		return cairn_error_row(code)->name;
	if (!cairn_field_find(house_fields(h), CAIRN_F_VALUE, &value))
		return "(no value)";
	snprintf(text, sizeof(text), "%.*s", (int)value.len, (const char *)value.data);
	return text;
}

/* The keys of a listing in H->answer, separated by spaces; folders as they are, "+" behind the last where
 * more follow. */
__attribute__((unused)) static const char *house_rows(struct house *h)
{
	struct cairn_slice rest = house_fields(h), row, key;
	static char text[1024];
	unsigned field;
	size_t n = 0;

	text[0] = 0;
	while (cairn_field_next(&rest, &field, &row) == 0 && field) {
		if (field == CAIRN_F_ROW && cairn_field_find(row, CAIRN_F_KEY, &key))
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.*s", n ? " " : "",
					      (int)key.len, (const char *)key.data);
		if (field == CAIRN_F_CURSOR)
			n += (size_t)snprintf(text + n, sizeof(text) - n, " +");
	}
	return text;
}

#endif
