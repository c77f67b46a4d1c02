/*
 * The log: one line for each event, "level=info msg="…" key=value …", to standard error or a file. Values are
 * quoted where they need it, so a line can always be taken apart again. Values of keys and secrets are
 * never logged. Every function may be called from any thread.
 */
#ifndef LOG_H
#define LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <cairn/errors.h>
#include <cairn/slice.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE, LOG_LEVEL_COUNT };

/* X(ID, name, what it speaks of): the parts of the daemon whose level can be set on its own. */
#define LOG_MODULES(X) \
	X(DAEMON, "daemon", "start, end, signals, settings") \
	X(LOADER, "loader", "plugins") \
	X(CONTROL, "control", "the control socket and its connections") \
	X(GATEWAY, "gateway", "gateways and their connections") \
	X(VOLUME, "volume", "volumes and shards") \
	X(STORE, "store", "records and commands") \
	X(ENGINE, "engine", "storage engines") \
	X(REPLICATION, "replication", "replication modules and peers")

enum log_module {
#define X(id, name, help) LOG_##id,
	LOG_MODULES(X)
#undef X
		LOG_MODULE_COUNT
};

enum log_field_kind { LOG_FIELD_END, LOG_FIELD_TEXT, LOG_FIELD_BYTES, LOG_FIELD_NUMBER };

/* One key=value of a line. All memory stays the caller's. */
struct log_field {
	enum log_field_kind kind;
	const char *key;
	const char *text;         /* TEXT; NULL is written as an empty text */
	struct cairn_slice bytes; /* BYTES */
	int64_t number;           /* NUMBER */
};

#define LOG_TEXT(key, value) ((struct log_field){ LOG_FIELD_TEXT, (key), (value), { NULL, 0 }, 0 })
#define LOG_BYTES(key, value) ((struct log_field){ LOG_FIELD_BYTES, (key), NULL, (value), 0 })
#define LOG_NUMBER(key, value) \
	((struct log_field){ LOG_FIELD_NUMBER, (key), NULL, { NULL, 0 }, (int64_t)(value) })

struct log;

/* A log to standard error, everything at level info. NULL when there is no memory. */
struct log *log_new(void);
/* NULL is allowed. */
void log_free(struct log *l);

/* From now on append to the file PATH (made with mode 0640), or to standard error where PATH is NULL or
 * empty. 0 or -errno. */
int log_to(struct log *l, const char *path);
/* Open the file again under its name, after it was moved away. 0 or -errno; on failure the old one stays in
 * use. */
int log_reopen(struct log *l);

/*
 * Take levels in the form of a setting: "info", "replication=trace", or both joined by commas; a bare level
 * is that of every module. INVALID names what is not known, with the nearest name as a hint, and changes
 * nothing.
 */
enum cairn_code log_levels_set(struct log *l, const char *spec, struct cairn_error *error);
/* Whether SPEC would be taken by log_levels_set. */
enum cairn_code log_levels_check(const char *spec, struct cairn_error *error);
enum log_level log_level(const struct log *l, enum log_module module);
/* Names; static. */
const char *log_level_name(enum log_level level);
const char *log_module_name(enum log_module module);

/* Write one line. Through the macros below, which ask the level first. */
void log_write(struct log *l, enum log_module module, enum log_level level, const char *message,
	       const struct log_field *fields);
/* Whether a line of that level would be written. */
bool log_wants(const struct log *l, enum log_module module, enum log_level level);

#define LOG_AT(l, module, level, message, ...) \
	do { \
		if (log_wants((l), (module), (level))) \
			log_write((l), (module), (level), (message), \
				  (const struct log_field[]){ \
					  __VA_ARGS__ __VA_OPT__(, ){ .kind = LOG_FIELD_END } }); \
	} while (0)

/* log_info(log, LOG_VOLUME, "volume is open", LOG_TEXT("volume", name), LOG_NUMBER("keys", 3)) */
#define log_error(l, module, ...) LOG_AT(l, module, LOG_ERROR, __VA_ARGS__)
#define log_warn(l, module, ...) LOG_AT(l, module, LOG_WARN, __VA_ARGS__)
#define log_info(l, module, ...) LOG_AT(l, module, LOG_INFO, __VA_ARGS__)
#define log_debug(l, module, ...) LOG_AT(l, module, LOG_DEBUG, __VA_ARGS__)
#define log_trace(l, module, ...) LOG_AT(l, module, LOG_TRACE, __VA_ARGS__)

#endif
