/* What the files about volumes share; see volume.c. */
#ifndef VOLUMES_H
#define VOLUMES_H

#include <pthread.h>
#include <stdatomic.h>
#include "volume.h"

/* The table of a node. */
struct volumes {
	pthread_mutex_t lock; /* of the list and of its members' refusals */
	struct volume *first; /* by name; the table holds one use of each */
	struct volume *system;
	struct loop_timer *tick;  /* of every shard, once a second or earlier */
	struct loop_task soon;    /* makes it come now, */
	_Atomic bool ticking;     /* and is under way */
	struct loop_timer *retry; /* looks whether there is room again; NULL until it is needed */
	bool making_main;         /* a leader makes the first volume; in the loop */
	/* Following the rows that other nodes write; see volume_follow.c. */
	struct loop_task look;
	struct pool_task work;
	_Atomic bool looking, look_again;
	char **rows; /* folders that have a row, owned; of whoever looks */
	size_t row_count;
	bool rows_whole;
	struct loop_task *settling; /* wait for the end of that; in the loop */
	char *path;                 /* DATA/volumes */
	int fd;                     /* its descriptor */
};

/* volume.c */
/* Free V, which nobody holds and whose shard is closed. */
void volume_free(struct volume *v);
/* A volume that is in no table, held once; NULL without memory. */
struct volume *volume_new(struct node *n, const char *name);
/* Another volume of the name, engine and parameters of V; NULL without memory. */
struct volume *volume_like(const struct volume *v);
/* The volume NAME of the table, or NULL. With the lock. */
struct volume *volume_listed(struct volumes *t, struct cairn_slice name);
/* List V, unless its name is taken. */
bool volume_list(struct volumes *t, struct volume *v);
/* Take V off the list. Its use is the caller's to give back. */
void volume_unlist(struct volumes *t, struct volume *v);
/* Put N into the place of V in the table. V's use is the caller's to give back. */
void volume_take_place(struct volume *v, struct volume *n);
/* Serve V from now on (NULL), or answer with *ERROR. */
void volume_set_refused(struct volume *v, const struct cairn_error *error);
/* The same, and log it: V cannot be opened. */
void volume_refuse(struct volume *v, const struct cairn_error *error);
/* NOT_FOUND, with a hint at what there is. With the lock. */
enum cairn_code volume_not_found(struct volumes *t, struct cairn_slice name, struct cairn_error *error);

/* volume_parameters.c */
/* Add "key=value", in place of an earlier one of that key. False without memory. */
bool volume_add_parameter(struct volume *v, const char *text, size_t len);
/* The parameters of a new volume: the settings (WITH_ENGINE: those of the engine, too), then what was asked
 * for. False without memory. */
bool volume_collect_parameters(struct volume *v, const struct volume_change *c, bool with_engine);
/* Give N the parameters of V that are the volume's own, then those of C. False without memory. */
bool volume_inherit_parameters(struct volume *n, const struct volume *v, const struct volume_change *c);
/* Open V's shard. DURABLE: refuse an engine that is not. READY is an engine that is open already, or NULL. */
enum cairn_code volume_open_shard(struct volume *v, bool durable, struct engine *ready,
				  struct cairn_error *error);

/* volume_folder.c */
/* A descriptor of the folder NAME, or -errno. */
int volume_folder_open(struct volumes *t, const char *name);
/* Put the file "pending" into the folder NAME, or take it away. 0 or -errno. */
int volume_folder_pending(struct volumes *t, const char *name, bool pending);
/* Remove the folder NAME and what is in it; what a crash leaves of it goes with the next start. 0 or -errno.
 */
int volume_folder_drop(struct volumes *t, const char *name);
/* Make FOLDER for the volume of C, marked as pending. */
enum cairn_code volume_folder_make(struct volume_change *c, const char *folder, struct cairn_error *error);
/* Remove what a crash has left, warn of what belongs to no volume. Before anybody is served. */
void volumes_settle_folders(struct node *n);

/* volume_row.c */
/* Hand OP on V's row to the system volume; C->write.done is set by the caller. */
void volume_row_write(struct volume_change *c, unsigned op);
/* The durable engine that is taken where nobody names one: the first of a list that is there. NULL where none
 * is; WHY says so. */
const char *volume_durable_engine(struct node *n, struct cairn_error *why);
/* Open what the rows of the system volume name. */
enum cairn_code volumes_open_rows(struct node *n, struct cairn_error *error);

/* volume_follow.c */
/* A tap of the system volume's shard, ARG: the table. */
void volumes_follow(void *arg, const struct store_command *commands, size_t count);
/* A row names FOLDER. */
void volumes_note_row(struct volumes *t, const char *folder);
void volumes_forget_rows(struct volumes *t);
/* Where this node leads a new cluster: make its first volume. In the loop. */
void volumes_first(struct node *n);

/* volume_change.c */
/* C has ended, with C->error; in the node's loop. */
void volume_change_done(struct volume_change *c);
/* Take back what volume_begin did, with the folder; C->error says why. Calls DONE. */
void volume_create_failed(struct volume_change *c);
/* In a worker: the volume is closed, its files go. What cannot be removed now goes with the next start. */
void volume_remove_folder(struct pool_task *work);
/*
 * The volume that C names becomes C->volume, and answers that it is being WHAT from now on. SERVING: only one
 * that is served. Else C->error.
 */
enum cairn_code volume_mark_changing(struct volume_change *c, const char *what, bool serving);

/* volume_retry.c */
/* V waits for room. In the node's loop. */
void volume_retry_later(struct volume *v);
/* The shard of the volume ARG takes no more. In any thread, while the shard is there: the volume is too, but
 * perhaps on its way out. */
void volume_shard_stopped(void *arg);

/* volume_flush.c */
/* Nothing came of C before the old shard was retired: it serves on. Calls DONE. */
void volume_flush_failed(struct volume_change *c);
/* From within an exclusive job: the shard of C->instead is open, and what S has not applied by now did not
 * happen. WHAT becomes of the volume; FLUSH: its keys are gone. */
void volume_retire(struct volume_change *c, struct shard *s, const char *what, bool flush);
/* The volume is restored: in a worker, while nothing is applied, the engine that was filled takes its place.
 */
void volume_refill_now(struct shard_job *job, struct shard *s);

#endif
