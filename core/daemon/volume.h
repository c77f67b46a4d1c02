/*
 * Volumes: keyspaces with a name. The system volume holds the list of them, as rows "volumes/NAME" in its own
 * store, so that the list is kept and changed like everything else. A volume that cannot be opened stays in
 * the table with the reason, and does not stop the others.
 */
#ifndef VOLUME_H
#define VOLUME_H

#include "convert.h"
#include "pool.h"
#include "shard.h"

#define VOLUME_NAME_MAX 64
#define VOLUME_SYSTEM "_system" /* its name; not given to people's volumes */
#define VOLUME_MAIN "main"

struct volume {
	char name[VOLUME_NAME_MAX + 1];
	char engine[256]; /* name, or path of a plugin */
	char replication[64];
	char folder[VOLUME_NAME_MAX + 24]; /* in DATA/volumes; never used again */
	unsigned char members[160];        /* of its shard when it was made, as a MEMBERS entry has them; */
	size_t members_len;                /* 0: it has no peers */
	char **parameters; /* "key=value": sync, folders, key-max, value-limit, then the engine's; owned */
	size_t parameter_count;
	_Atomic(struct shard *)
		shard; /* the only one today: go through volume_shard. NULL where it could not be opened */
	struct cairn_error refused; /* code not 0: it is not served, and why; under the table's lock */
	struct node *node;
	struct volume *next;           /* the table's */
	struct volume_change *change;  /* that is told when it has been closed, or NULL */
	struct volume *successor;      /* that opens the folder when this one has been closed, or NULL */
	struct installing *installing; /* a store that takes its place when the old one is closed */
	bool retry;                    /* to be opened again when the disk has room; in the node's loop */
	struct pool_task work;         /* opens it again */
	struct cairn_error reopened;   /* how that went */
	struct loop_task back;         /* has opened it again, or: its shard has stopped */
	_Atomic unsigned uses;         /* holders; the table is one */
};

/*
 * The volume NAME (NULL or empty: "main"), held for the caller until volume_put. NOT_FOUND lists what there
 * is; a volume that is not served answers with its reason.
 */
enum cairn_code volume_get(struct node *n, struct cairn_slice name, struct volume **v,
			   struct cairn_error *error);
void volume_put(struct volume *v);
/* The shard that has KEY. V is held. */
struct shard *volume_shard(struct volume *v, struct cairn_slice key);
/* How V is: 0, or why it is not served or takes no writes. V is held, or in the callback of volumes_each. */
enum cairn_code volume_health(struct volume *v, struct cairn_error *error);

/* Open the system volume and every volume that it lists; makes "main" on the first start. The loop does not
 * run yet. */
enum cairn_code volumes_open(struct node *n, struct cairn_error *error);
/* Whether N, whose volumes are open, has an empty journal though the system volume has taken entries from
 * one. */
bool volumes_miss_journal(struct node *n);
/* Flush and close all of them; writes under way have been answered before, and the workers have ended. */
void volumes_close(struct node *n);
/* The system volume, also where it could not be opened; NULL before volumes_open. */
struct volume *volumes_system(struct node *n);
/* The folder of all volumes, and its descriptor. */
const char *volumes_path(const struct node *n, int *fd);
/* Open V's engine on the folder PATH, as *E which is the caller's. */
enum cairn_code volume_engine(const struct volume *v, const char *path, struct engine *e,
			      struct cairn_error *error);
/* Settings of a new store, as V's parameters say. */
enum cairn_code volume_settings(const struct volume *v, struct store_settings *settings,
				struct cairn_error *error);
/* In a cluster: whether a volume was ever made, and all that this node has heard of are in the table. */
bool volumes_settled(struct node *n);
/* In the loop: run TASK, in a turn to come, when this node has opened the volumes that it has heard of. */
void volumes_when_settled(struct node *n, struct loop_task *task);
/* Whether the volume that a request's FIELDS name is in the table, served or not. */
bool volume_is_listed(struct node *n, struct cairn_slice fields);
/* Call FN for each volume but the system one, by name; also for those that cannot be served, not for one
 * being made or dropped. */
void volumes_each(struct node *n, void (*fn)(void *arg, struct volume *v), void *arg);

/*
 * Make, and drop with all its data. DONE is called in the thread of the node's loop once the system volume
 * has it and it is open (or gone). PARAMETERS are texts "key=value": of the volume (sync, folders, key-max,
 * value-limit), else of the engine.
 */
struct volume_change {
	struct node *node;
	char name[VOLUME_NAME_MAX + 1], engine[256], replication[64]; /* empty: as the settings say */
	char **parameters;                                            /* owned by the caller */
	size_t parameter_count;
	struct cairn_error error; /* out: code 0 when it worked */
	void *arg;
	void (*done)(struct volume_change *c);
	struct shard_write write; /* the rest is volume_change.c's and volume_flush.c's */
	struct pool_task work;
	struct loop_task back;
	struct volume *volume;
	struct engine *engine_ready; /* see volume_fill */
	struct volume *instead;      /* of a flush: what takes the place of VOLUME */
	struct engine engine_new;    /* and its engine, until it is open */
	struct shard_job job;
	uint64_t revision; /* out, of a flush: that of the empty volume */
	struct store_convert *convert;
	struct store_convert_progress progress; /* of a conversion; the caller may look and set stop */
	struct store_settings settings;
	bool fresh; /* there is no row of that name yet */
};
/* In the thread of the node's loop. */
void volume_create(struct volume_change *c);
/* Remove all keys at once: an empty engine takes the place of the old one between two commands. */
void volume_flush(struct volume_change *c);
void volume_drop(struct volume_change *c);
/* Move the volume to C->engine with C->parameters, while it serves. In the thread of the node's loop. */
void volume_convert(struct volume_change *c);

/*
 * The same as volume_create, with an engine that is filled before anybody sees it. volume_begin takes the
 * name; where it fails, C is as before. volume_fill, in a worker, makes the folder and opens the engine in
 * it, as *E which is the caller's. Then one of the two, in the loop's thread: volume_complete, with the
 * engine in C->engine_ready; or volume_abandon, when the engine has been closed, with the reason in C->error.
 * Both call DONE.
 */
enum cairn_code volume_begin(struct volume_change *c);
/* The same for a volume that is there, but empty: EXISTS where it is not. It is not served until the end. */
enum cairn_code volume_begin_empty(struct volume_change *c);
enum cairn_code volume_fill(struct volume_change *c, struct engine *e, struct cairn_error *error);
void volume_complete(struct volume_change *c);
void volume_abandon(struct volume_change *c);
/* From any thread: have every shard look soon at what is to be done. Nothing where N has no volumes. */
void volumes_tick_soon(struct node *n);
/* The node ends: give back what C holds between the two. */
void volume_forget(struct volume_change *c);

#endif
