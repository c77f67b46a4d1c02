/* What the parts of the command share: the context of a run, the rows of the verbs, and the helpers of
 * several. */
#ifndef CLI_H
#define CLI_H

#include <cairn/client.h>
#include "text.h"

#define OPTIONS_MAX 24 /* options of a verb, and the general ones */

enum format { FORMAT_USUAL, FORMAT_PLAIN, FORMAT_TABLE, FORMAT_JSON };

/* One run of the command, or one session of its shell. */
struct cli {
	struct cairn *client; /* connected at the first use; owned */
	struct cairn *second; /* for requests within a listing; owned */
	const char *servers;  /* -s; NULL: as libcairn finds them */
	const char *volume;   /* --volume; NULL: main */
	char *mount_volume;   /* that of a key given as a file of a mount; owned */
	char *mount_servers;  /* and its servers; owned */
	uint64_t timeout_ms;  /* --timeout; 0: the usual one */
	uint64_t patience_ms; /* of completion, which must not keep anybody waiting; 0: none */
	enum format format;
	bool literal; /* --key: keys are never looked for on a mount */
	bool out_terminal, err_terminal, utf8, colour;
	bool in_shell;            /* a line of a shell: what was opened stays open */
	bool input_used;          /* standard input holds the commands */
	struct cairn_error error; /* of the verb that just ran */
	int status;               /* exit status where a verb ends without an error */
	bool own_status;          /* and also where it ends with one */
};

/* An option of a verb, or a general one. A list ends with name NULL. */
struct option {
	const char *name;     /* long, without its dashes */
	char letter;          /* short, or 0 */
	const char *argument; /* what to call its argument: N is a number, SECONDS a duration, else text;
				 NULL: it has none */
	const char *help;     /* one line */
};

/* What stands in the place of an operand, for completion. */
enum operand {
	OPERAND_NONE,
	OPERAND_KEY,
	OPERAND_FOLDER,
	OPERAND_VOLUME,
	OPERAND_PLUGIN,
	OPERAND_SETTING,
	OPERAND_MODULE,
	OPERAND_LEVEL,
	OPERAND_FILE,
	OPERAND_TOPIC
};

struct arguments;

/* A verb. Everything that people read about it derives from its row. */
struct verb {
	const char *name;
	const char *aliases;  /* separated by blanks */
	const char *group;    /* of 'cairn help'; NULL: not shown there */
	const char *synopsis; /* operands; several forms are separated by newlines */
	const char *help;     /* one line */
	const char *page;     /* paragraphs; lines that begin with two blanks stand as they are */
	const struct option *options;
	const struct verb *verbs; /* subcommands, ended by name NULL; then run is not used */
	int least, most;          /* operands; most -1: any number */
	int command; /* which operand begins a command, whose words are no options, from 1; 0: none */
	enum operand operands[3]; /* the last one is that of all that follow */
	enum cairn_code (*run)(struct cli *c, const struct arguments *a);
};

/* A command line, parsed. */
struct arguments {
	const struct verb *verb;   /* a subcommand's own row */
	const struct verb *parent; /* of a subcommand */
	struct word *operand;
	size_t count;
	const struct option *option[OPTIONS_MAX]; /* that were given */
	const char *value[OPTIONS_MAX];           /* "" where they have no argument */
	size_t options;
	bool implied;        /* the subcommand was not given: it is "list" */
	struct word *memory; /* owned */
};

extern const struct verb verbs[];             /* ended by name NULL */
extern const struct option general_options[]; /* ended by name NULL */

/* arguments.c */
/* The verb (or subcommand, in LIST) with that name or alias, or NULL. */
const struct verb *verb_find(const struct verb *list, const char *name);
/*
 * Parse the words of a command line behind "cairn". A->verb stays NULL when there is none. INVALID with the
 * nearest name as a hint; A is freed with arguments_free whatever is returned.
 */
enum cairn_code arguments_parse(struct arguments *a, const struct word *words, size_t n,
				struct cairn_error *e);
void arguments_free(struct arguments *a);
/* The option that WORD, the last one before the one being typed, waits for an argument with; else NULL. */
const struct option *option_waiting(const struct arguments *a, const char *word);
/* The argument of the option NAME ("" where it has none), or NULL where it was not given. The last one
 * counts. */
const char *argument(const struct arguments *a, const char *name);
bool argument_number(const struct arguments *a, const char *name, uint64_t *number);
/* Run the verb of A with its general options; those of a shell's line hold for that line. Sets C->error,
 * returns its code. */
enum cairn_code verb_run(struct cli *c, const struct arguments *a);

/* run.c */
/* Take the general options of A over into C. */
enum cairn_code general_set(struct cli *c, const struct arguments *a);
/* Say on standard error what went wrong. */
void error_show(const struct cli *c, const struct cairn_error *e);
/* The exit status of CODE. */
int exit_status(enum cairn_code code);

/* Say that memory ran out, and end. */
_Noreturn void no_memory(void);

/* request.c */
/* Begin the request OP on the volume of C. */
void request(const struct cli *c, struct cairn_msg *m, unsigned op);
/* C's handle, opened when need be; NULL with C->error. */
struct cairn *cli_client(struct cli *c);
/* Another handle, for requests within a listing; NULL with C->error. */
struct cairn *cli_second(struct cli *c);
/* Send M and free it; the answer in R (caller's to free), the error also in C->error. */
enum cairn_code call(struct cli *c, struct cairn_msg *m, struct cairn_reply *r);
enum cairn_code call_stream(struct cli *c, struct cairn_msg *m, cairn_event_fn *event, void *arg,
			    struct cairn_reply *r);
/* Whether E says that a lock was lost that we run under; else a CONFLICT is one of the key that was meant. */
bool is_lost_lock(const struct cairn_error *e);
/* Text of a field as a C string in a buffer of the caller; "" where it is absent. */
const char *field_text(struct cairn_slice fields, unsigned field, char *buffer, size_t len);

/* keys.c */
/* A key as given: itself, or the key of the file that it names on a mount. Memory is the caller's: key_free.
 */
struct key {
	struct cairn_slice name;
	char *memory;
};
enum cairn_code key_take(struct cli *c, const struct word *w, struct key *k);
/* The same for a folder: the name ends in one '/', or is empty for all keys. */
enum cairn_code folder_take(struct cli *c, const struct word *w, struct key *k);
void key_free(struct key *k);

/* A value as given: text, a file, or standard input. */
struct value {
	struct cairn_slice text; /* what is left of it, where FD is -1 */
	int fd;
	bool close;
	const char *name; /* of the file, for messages */
	int error;        /* errno of a read that failed */
	struct progress *progress;
};
/* VALUE, @FILE, @@TEXT or -. LITERAL: as it is. */
enum cairn_code value_take(struct cli *c, const struct word *w, bool literal, struct value *v);
long value_read(void *value, void *buffer, size_t len);
/* All of it in memory, at most MAX bytes; *DATA is the caller's to free. */
enum cairn_code value_all(struct cli *c, struct value *v, size_t max, char **data, size_t *len);
void value_close(struct value *v);

/* A whole value in memory. Zero at first; DATA is the holder's to free. */
struct whole {
	char *data;
	size_t len;
};
/* Add to the struct whole ARG: for cairn_get_stream. */
int whole_write(void *arg, const void *data, size_t len);

/* get.c */
/* VALUE on standard output, as get shows it. */
void value_show(const struct cli *c, struct cairn_slice value);

/* output.c */
struct column {
	const char *head;
	bool right; /* numbers stand at the right */
};
#define COLUMNS_MAX 12
/* A listing that comes row by row. Columns are as wide as the rows of a thousand need, so memory stays
 * bounded. */
struct table {
	const struct cli *cli;
	const struct column *columns;
	size_t count; /* of columns */
	bool plain, headed;
	char **cells; /* COUNT for each row; owned */
	size_t filled, room;
};
/* Begin a listing that is a table where USUAL says so or the user does; else its cells are separated by tabs,
 * without heads. */
void table_begin(struct table *t, const struct cli *c, const struct column *columns, size_t count,
		 enum format usual);
/* The next cell; after the last of a row the next row begins. */
__attribute__((format(printf, 2, 3))) void table_cell(struct table *t, const char *format, ...);
/* A cell of bytes from the cluster: escaped, and quoted as a key where KEY. */
void table_text(struct table *t, struct cairn_slice text, bool key);
void table_end(struct table *t);
/* A column that shows one field of a row. */
enum show {
	SHOW_TEXT,
	SHOW_NUMBER,
	SHOW_MICROS,
	SHOW_OFFSET,
	SHOW_SIZE,
	SHOW_SPAN,
	SHOW_BOOL,
	SHOW_TEXTS,
	SHOW_ERROR
};
struct field_column {
	struct column column;
	unsigned field;
	enum show show;
};
/* Every item of the list LIST among FIELDS as a row; as JSON each on a line. */
void out_rows(const struct cli *c, struct cairn_slice fields, unsigned list,
	      const struct field_column *columns, size_t count);
/* Fields as one line of JSON. */
void out_json(const struct cli *c, struct cairn_slice fields);
/* Fields one to a line, with their names. */
void out_facts(const struct cli *c, struct cairn_slice fields);
/* A key on a line of its own, ended by END: quoted on a terminal where it is odd. */
void out_key(const struct cli *c, struct cairn_slice key, char end);
/* A sentence, a line. */
__attribute__((format(printf, 1, 2))) void out_line(const char *format, ...);
/* Flush standard output. Where its reader is gone the process ends as with SIGPIPE; another failure is an
 * error. */
enum cairn_code out_finish(struct cairn_error *e);

struct progress {
	const char *what;   /* "sent", "received" */
	uint64_t done, all; /* bytes; ALL 0 where it is not known */
	uint64_t start_ns, shown_ns;
	bool on, shown;
};
/* Progress on standard error, when that is a terminal and the work takes more than a second. */
void progress_begin(struct progress *p, const struct cli *c, const char *what, uint64_t all);
void progress_add(struct progress *p, size_t bytes);
void progress_end(struct progress *p);

/* programs.c */
/* Where the program NAME of this installation or build folder is, else NAME alone, into PATH. */
void program_path(const char *name, char *path, size_t size);

/* past.c */
/* The revision that a verb reads at, where one was GIVEN. */
struct past {
	bool given;
	uint64_t revision;
};
/* That of the options --revision and --at. WHOLE: more than one key is read, so the revision is held. */
enum cairn_code past_take(struct cli *c, const struct arguments *a, bool whole, struct past *p);
/* That of an operand: a revision, else a time. */
enum cairn_code past_operand(struct cli *c, const char *text, bool whole, struct past *p);
/* Add it to the request M. */
void past_add(struct cairn_msg *m, const struct past *p);
/* A moment: a duration before NOW_NS, or a date and time, local unless a zone stands behind it. Whether TEXT
 * is one. */
bool text_moment(const char *text, uint64_t now_ns, uint64_t *ns);

/* watch.c */
/* Call CHANGED now and after each change of KEY, until it returns an error, or the watch ends with one. */
typedef enum cairn_code changed_fn(void *arg);
enum cairn_code watch_key(struct cli *c, struct cairn_slice key, changed_fn *changed, void *arg);

/* expiry.c */
/* Add TEXT, a duration, to the request M as the time that the key stays. */
enum cairn_code ttl_add(struct cli *c, struct cairn_msg *m, const char *text);

/* listing.c */
/* Which keys to walk over. Zero is all of them. */
struct range {
	struct cairn_slice prefix, from, to; /* FROM and TO count where their data is not NULL */
	uint64_t limit;                      /* rows; 0: all */
	bool fold, reverse, keys_only, meta_only;
	struct past past;
};
/* One row of a listing; false ends it. */
typedef bool row_fn(void *arg, struct cairn_slice row);
enum cairn_code walk(struct cli *c, const struct range *range, row_fn *fn, void *arg);

/* folders.c */
/* Delete all keys of a folder, with PURGE their history as well, in one step where they are few enough, else
 * page by page. */
enum cairn_code del_folder(struct cli *c, const struct word *w, bool purge);
/* Where KEY, which is not there, has keys below it: hint that it is a folder, and HINT. */
void hint_folder(struct cli *c, struct cairn_slice key, const char *hint);
/* Remove all keys of FOLDER, which ends in '/', and their history, and say nothing. */
enum cairn_code folder_purge(struct cli *c, struct cairn_slice folder);

/* upkeep.c */
/* Run cairnd on the data folder DIR with OPTION and its argument VALUE (NULL: it has none); the file CONFIG,
 * where it is not NULL, has the settings. Its exit status is ours. */
enum cairn_code run_cairnd(struct cli *c, const char *dir, const char *config, const char *option,
			   const char *value);

/* admin.c */
void show_volumes(const struct cli *c, struct cairn_slice fields);

/* txn.c */
/* Most bytes of values in one command, and what one key and its fields may add. */
#define COMMAND_ROOM (240u << 10)
/* Add the operation that WORDS say (put KEY VALUE, del KEY …) to M, as an item of FIELD. */
enum cairn_code txn_operation(struct cli *c, struct cairn_msg *m, unsigned field, const struct word *words,
			      size_t n);
/*
 * How many operations failed, by the ANSWER of a transaction whose operations fail each for itself; *E says
 * which was the first whose code is not IGNORE.
 */
size_t txn_failures(struct cairn_slice answer, enum cairn_code ignore, struct cairn_error *e);
/* Send the transaction M and show what became of it. NOTHING_ELSE: there is no list for guards that fail. */
enum cairn_code txn_send(struct cli *c, struct cairn_msg *m, bool nothing_else);

/* complete.c */
/* Call FN for each way to go on with the last of WORDS. Asks the daemon for keys, quickly, and keeps quiet
 * when it does not answer. */
typedef void complete_fn(void *arg, const char *candidate, const char *help);
void complete(struct cli *c, const struct word *words, size_t n, complete_fn *fn, void *arg);

/* manual.c */
/* Print the manual page. */
void manual(void);

/* pages.c */
extern const struct topic {
	const char *name, *help, *page;
} topics[];

/* help_json.c */
/* The verb or topic NAME, or with NULL all of them, as lines of JSON. Whether there is any. */
bool help_json(const char *name);

/* One function for each verb. */
#define VERB(name) enum cairn_code verb_##name(struct cli *c, const struct arguments *a)
VERB(get);
VERB(put);
VERB(del);
VERB(append);
VERB(patch);
VERB(stat);
VERB(ls);
VERB(tree);
VERB(scan);
VERB(history);
VERB(revert);
VERB(watch);
VERB(volume_set);
VERB(incr);
VERB(expire);
VERB(ttl);
VERB(persist);
VERB(cp);
VERB(mv);
VERB(txn);
VERB(edit);
VERB(status);
VERB(health);
VERB(plugin_list);
VERB(plugin_show);
VERB(volume_list);
VERB(volume_create);
VERB(volume_drop);
VERB(volume_stats);
VERB(snapshot_save);
VERB(snapshot_restore);
VERB(snapshot_show);
VERB(check);
VERB(compact);
VERB(journal_list);
VERB(journal_check);
VERB(journal_dump);
VERB(volume_flush);
VERB(volume_convert);
VERB(repair);
VERB(export);
VERB(import);
VERB(config_get);
VERB(config_set);
VERB(config_list);
VERB(log_level);
VERB(metrics);
VERB(lock);
VERB(shell);
VERB(bench);
VERB(sandbox);
VERB(proxy);
VERB(help);
VERB(complete);

#endif
