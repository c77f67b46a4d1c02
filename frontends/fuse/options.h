/* The command line of cairnfs: one table of -o options, from which parser, defaults and --help derive. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stdio.h>
#include <cairn/errors.h>

/* How sure a call must be that nobody has written elsewhere. */
enum consistency {
	CONSISTENCY_OPEN,  /* open(2) asks the server */
	CONSISTENCY_LOCAL, /* what the watch has told is enough */
	CONSISTENCY_STRICT /* every call asks */
};

struct options {
	char *servers, *mountpoint; /* all texts are owned */
	char *volume, *prefix;      /* prefix: without slashes at its ends; empty: the whole volume */
	unsigned long uid, gid, fmode, dmode; /* of what has no attributes of its own */
	unsigned long timeout_s, limit_mib, dirty_mib;
	unsigned long consistency; /* enum consistency */
	bool ro, allow_other, noexec, guard;
	bool foreground, help, version;
};

/*
 * Parse ARGV. 0 and *O, or INVALID with a sentence in *E. "-o" may stand several times; options that mount(8)
 * passes to every file system are taken and mean nothing here.
 */
enum cairn_code options_parse(struct options *o, int argc, char **argv, struct cairn_error *e);
void options_free(struct options *o);
/* Print what --help shows. */
void options_help(FILE *to);

#endif
