/*
 * A node: one cairnd, its settings, plugins, volumes and loops. There is no global state: whatever needs the
 * node is given it.
 */
#ifndef NODE_H
#define NODE_H

#include <stdatomic.h>
#include "loader.h"
#include "loop.h"
#include "settings.h"
#include "log.h"
#include "metrics.h"

struct journal;
struct volumes;
struct pool;
struct cluster;
struct control;
struct restore;
struct watches;
struct gateway;

struct node {
	struct settings *settings;
	struct log *log;
	struct loader *loader;
	struct metrics *metrics;
	struct loop *loop;                  /* of the main thread: control socket, timers */
	struct pool *pool;                  /* workers for reads and upkeep that wait for disks */
	struct journal *journal;            /* of all shards whose writes are synced */
	struct volumes *volumes;            /* by name, the system volume included */
	struct cluster *cluster;            /* that the node belongs to; NULL: it is on its own */
	struct control *control;            /* the control socket */
	struct gateway *gateways;           /* that run; of the loop's thread */
	void (*gateways_closed)(void *arg); /* see gateways_close */
	void *gateways_closed_arg;
	struct restore *restores; /* volumes that are being made from streams; of the loop's thread */
	struct watches *watches;  /* of each volume that has any; of the loop's thread */
	bool ending;              /* the control socket is closing */
	char id[33];              /* hex, never reused */
	char name[64];            /* for people */
	char system_engine[256]; /* engine of the system volume, as the identity file says; empty on the first
				    start */
	char *data_dir;          /* absolute */
	int data_fd;             /* its descriptor, locked */
	uint64_t start_ns;       /* clock_boot_ns at start */
	_Atomic int waiting;     /* requests that somebody waits for: being served, watches not counted */
	uint64_t min_free;       /* bytes that its disks are to keep free */
	char min_free_text[40];  /* the same as the parameter of an engine; empty: they have their own */
	_Atomic uint64_t room;   /* bytes that the fuller one had free when they were looked at */
	bool offline;            /* nobody is served: the journal is read only, and no folder is changed */
};

/*
 * Fill N: lock the data folder (UNAVAILABLE names who holds it), read or make the identity (CORRUPT,
 * UNSUPPORTED for a newer format), make loader, loop and workers. SETTINGS, LOG and what is not mentioned
 * here are the caller's. node_close is called in any case.
 */
enum cairn_code node_open(struct node *n, struct settings *settings, struct log *log,
			  struct cairn_error *error);
void node_close(struct node *n);
/* The path of the folder of N's journal. */
void node_journal_path(const struct node *n, char *path, size_t size);
/* Replace the identity file by what N says now. */
enum cairn_code node_write_identity(struct node *n, struct cairn_error *error);
/* BYTES (at most 32) random bytes in hex into TEXT, with a NUL. */
void hex_random(char *text, size_t bytes);

#endif
