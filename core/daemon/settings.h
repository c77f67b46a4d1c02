/*
 * Settings: one table. From its rows come the configuration file, -o section.key=value, the short options,
 * --help, --print-config and what `cairn config` shows; the manual pages are compared with it.
 */
#ifndef SETTINGS_H
#define SETTINGS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <cairn/errors.h>

enum setting_type {
	SETTING_T_TEXT,   /* any text */
	SETTING_T_PATH,   /* a file's path; "~/" in front is the home folder; made absolute */
	SETTING_T_NUMBER, /* decimal */
	SETTING_T_SIZE,   /* bytes, with an optional K, M, G or T (powers of 1024) */
	SETTING_T_BOOL,   /* yes or no */
	SETTING_T_MODE,   /* permission bits, octal */
	SETTING_T_LEVELS, /* levels of the log */
	SETTING_T_NAME    /* 1 to 63 letters, digits, '.', '_', '-' */
};

#define SETTING_LIVE true
#define SETTING_RESTART false

/*
 * X(ID, section, key, type, default, least, most, live or restart, short option or 0, long option or NULL,
 * help). An empty default is worked out at start, as the help says. Units stand at the end of the key's name
 * where the type has none.
 */
#define SETTINGS(X) \
	X(NODE_NAME, "node", "name", NAME, "", 0, 0, SETTING_RESTART, 'n', "name", \
	  "name of this node for people; the machine's name unless given") \
	X(NODE_DATA, "node", "data", PATH, "", 0, 0, SETTING_RESTART, 'd', "data", \
	  "data folder; $XDG_DATA_HOME/cairn or ~/.local/share/cairn unless given") \
	X(NODE_PID_FILE, "node", "pid-file", PATH, "", 0, 0, SETTING_RESTART, 'p', "pid-file", \
	  "file that holds the process number while the daemon runs; none unless given") \
	X(NODE_WORKERS, "node", "workers", NUMBER, "4", 1, 256, SETTING_RESTART, 0, NULL, \
	  "threads for reads and writes that wait for a disk") \
	X(NODE_MIN_FREE, "node", "min-free", SIZE, "32M", 0, UINT64_MAX, SETTING_RESTART, 0, NULL, \
	  "room that the disks of data and journal are to keep: with less, only what makes room is taken") \
	X(NODE_PLUGINS, "node", "plugins", TEXT, "", 0, 0, SETTING_RESTART, 0, NULL, \
	  "folders with plugins, joined by colons; $CAIRN_PLUGIN_PATH or the installation's unless given") \
	X(LOG_LEVEL, "log", "level", LEVELS, "info", 0, 0, SETTING_LIVE, 'l', "log-level", \
	  "error, warn, info, debug or trace; also for one module: info,control=debug") \
	X(LOG_FILE, "log", "file", PATH, "", 0, 0, SETTING_RESTART, 0, NULL, \
	  "file that the log is appended to, opened again on SIGHUP; standard error unless given") \
	X(CONTROL_SOCKET, "control", "socket", PATH, "", 0, 0, SETTING_RESTART, 's', "socket", \
	  "control socket; $XDG_RUNTIME_DIR/cairn/cairn.sock, or cairn.sock in the data folder, unless " \
	  "given") \
	X(CONTROL_MODE, "control", "mode", MODE, "0600", 0, 0777, SETTING_RESTART, 0, NULL, \
	  "permission bits of the control socket") \
	X(CONTROL_GROUP, "control", "group", TEXT, "", 0, 0, SETTING_RESTART, 0, NULL, \
	  "group that owns the control socket; that of the process unless given") \
	X(CONTROL_CONNECTIONS, "control", "connections", NUMBER, "1024", 1, 100000, SETTING_LIVE, 0, NULL, \
	  "most connections at one time") \
	X(CONTROL_IN_FLIGHT, "control", "in-flight", NUMBER, "1024", 1, 65536, SETTING_LIVE, 0, NULL, \
	  "most requests under way on one connection; more are not read until some are answered") \
	X(CONTROL_WATCHES, "control", "watches", NUMBER, "10000", 1, 1000000, SETTING_LIVE, 0, NULL, \
	  "most watches on one connection; they do not count as requests under way") \
	X(CONTROL_WATCH_BUFFER, "control", "watch-buffer", SIZE, "4M", 0, 1ull << 32, SETTING_RESTART, 0, \
	  NULL, \
	  "newest changes of each volume that are kept in memory for watches; a reader that is further " \
	  "behind is cut off; 0: none while nobody watches") \
	X(JOURNAL_DIR, "journal", "dir", PATH, "", 0, 0, SETTING_RESTART, 0, NULL, \
	  "folder of the journal, for a disk of its own; journal in the data folder unless given") \
	X(JOURNAL_SEGMENT, "journal", "segment", SIZE, "64M", 65536, 1ull << 30, SETTING_RESTART, 0, NULL, \
	  "size of one file of the journal") \
	X(JOURNAL_MAX, "journal", "max", SIZE, "256M", 65536, UINT64_MAX, SETTING_LIVE, 0, NULL, \
	  "a volume that keeps more of the journal from being used again writes what it needs elsewhere") \
	X(CLUSTER_PEERS, "cluster", "peers", TEXT, "", 0, 0, SETTING_RESTART, 0, NULL, \
	  "nodes of the cluster, this one included: NAME=HOST:PORT, separated by blanks; the same list for " \
	  "every node. A node that has been in a cluster once needs it no more") \
	X(CLUSTER_KEY, "cluster", "key", PATH, "", 0, 0, SETTING_RESTART, 0, NULL, \
	  "file with the cluster key, the same for every node (--make-key makes one); a node keeps it. " \
	  "Without " \
	  "one peers talk in the open") \
	X(CLUSTER_NAME, "cluster", "name", NAME, "cairn", 0, 0, SETTING_RESTART, 0, NULL, \
	  "name of the cluster that is made with cluster.peers") \
	X(VOLUME_ENGINE, "volume", "engine", TEXT, "", 0, 0, SETTING_RESTART, 'e', "engine", \
	  "engine of new volumes: a name, or the path of a plugin; bitcask, else leveldb, else memory") \
	X(VOLUME_PARAMETERS, "volume", "parameters", TEXT, "", 0, 0, SETTING_RESTART, 0, NULL, \
	  "parameters of the engine of new volumes: key=value, separated by blanks") \
	X(VOLUME_REPLICATION, "volume", "replication", NAME, "none", 0, 0, SETTING_RESTART, 0, NULL, \
	  "replication module of new volumes") \
	X(VOLUME_SYNC, "volume", "sync", BOOL, "yes", 0, 0, SETTING_RESTART, 0, NULL, \
	  "new volumes answer a write when it is on disk; with no, a crash of the machine loses the newest " \
	  "writes") \
	X(VOLUME_KEY_MAX, "volume", "key-max", SIZE, "4K", 16, 4096, SETTING_RESTART, 0, NULL, \
	  "longest key of new volumes, in bytes; less where the engine has less") \
	X(VOLUME_VALUE_LIMIT, "volume", "value-limit", SIZE, "64M", 1024, 1ull << 40, SETTING_RESTART, 0, \
	  NULL, "longest value of new volumes, in bytes") \
	X(VOLUME_FOLDERS, "volume", "folders", BOOL, "yes", 0, 0, SETTING_RESTART, 0, NULL, \
	  "new volumes keep rows about folders, which a mount shows as their sizes and times") \
	X(VOLUME_THROUGH, "volume", "through", BOOL, "no", 0, 0, SETTING_RESTART, 0, NULL, \
	  "new volumes answer a write when the engine itself has it on disk; with no, when the journal has") \
	X(VOLUME_DURABLE, "volume", "durable", BOOL, "no", 0, 0, SETTING_RESTART, 0, NULL, \
	  "new volumes on an engine that forgets are kept all the same: in the journal and in checkpoints") \
	X(VOLUME_HISTORY, "volume", "history", TEXT, "auto", 0, 0, SETTING_RESTART, 0, NULL, \
	  "newest versions of each key that new volumes keep; 0: none; auto: 8 where a restart keeps them") \
	X(VOLUME_HISTORY_AGE, "volume", "history-age", TEXT, "24h", 0, 0, SETTING_RESTART, 0, NULL, \
	  "new volumes also keep all versions that were replaced within this time") \
	X(VOLUME_HISTORY_BYTES, "volume", "history-bytes", SIZE, "0", 0, UINT64_MAX, SETTING_RESTART, 0, \
	  NULL, \
	  "history of new volumes gives up its oldest beyond so many bytes; 0: a quarter of the quota, " \
	  "else 1G") \
	X(VOLUME_QUOTA, "volume", "quota", SIZE, "0", 0, UINT64_MAX, SETTING_RESTART, 0, NULL, \
	  "bytes of values that new volumes hold at most; 0: no limit")

enum setting {
#define X(id, section, key, type, fallback, least, most, live, letter, option, help) SETTING_##id,
	SETTINGS(X)
#undef X
		SETTING_COUNT
};

struct setting_row {
	const char *section, *key;
	enum setting_type type;
	const char *fallback;
	uint64_t least, most; /* of numbers and sizes */
	bool live;            /* may change while the daemon runs */
	char letter;          /* short option, or 0 */
	const char *option;   /* long option, or NULL */
	const char *help;
};

struct settings;

/* The row of ID; static. */
const struct setting_row *setting_row(enum setting id);
/* "text", "size" … */
const char *setting_type_name(enum setting_type type);

/* All at their defaults. NULL when there is no memory. */
struct settings *settings_new(void);
void settings_free(struct settings *s);

/*
 * Give the setting "section.key" the value TEXT; WHERE ("cairnd.conf:3", "-o") is kept and stands before
 * every refusal. INVALID for an unknown name (the nearest one is the hint) or a bad value; then nothing
 * changed.
 */
enum cairn_code settings_set(struct settings *s, const char *name, const char *text, const char *where,
			     struct cairn_error *error);
/* Read the configuration file PATH. UNSUPPORTED where this build has no support for them. */
enum cairn_code settings_read(struct settings *s, const char *path, struct cairn_error *error);
/* Once at the end: fill in what is worked out, and refuse what does not go together. */
enum cairn_code settings_finish(struct settings *s, struct cairn_error *error);

/*
 * The settings "gateway.NAME.KEY" have no rows here: they are the gateway's parameters, which are parsed when
 * it is opened (gateway.h). Until then they are kept as given; a later value takes the place of an earlier
 * one.
 */
struct setting_gateway {
	struct setting_gateway *next;
	char *name;  /* of the gateway */
	char *pair;  /* KEY=VALUE, as params_parse takes it */
	char *where; /* it was given */
	unsigned line;
};
/* All of them, those of one gateway in the order in which they came first. */
const struct setting_gateway *settings_gateways(const struct settings *s);

/* Its value as text; never NULL. Valid until it is changed, which only live ones are, in the main loop's
 * thread. */
const char *setting_text(const struct settings *s, enum setting id);
/* The number, size in bytes, mode, or truth value. From any thread. */
uint64_t setting_number(const struct settings *s, enum setting id);
/* Where its value came from: "default", "environment", "option", "FILE:LINE", "config set". */
const char *setting_where(const struct settings *s, enum setting id);
/* The setting "section.key"; -1 and *ERROR with the nearest name as a hint where there is none. */
int setting_find(const char *name, struct cairn_error *error);

/* Write all of them as a configuration file that gives the same settings. */
void settings_print(const struct settings *s, FILE *to);
/* Write a table of them for --help. */
void settings_help(FILE *to);

#endif
