/* Volumes: keyspaces with a name. The system volume holds the list of them. */
#ifndef VOLUME_H
#define VOLUME_H

#include "shard.h"

#define VOLUME_NAME_MAX 64
#define VOLUME_SYSTEM "_system" /* its name; not given to people's volumes */
#define VOLUME_MAIN "main"

struct volume {
	char name[VOLUME_NAME_MAX + 1];
	char engine[256];      /* name, or path of a plugin */
	char replication[64];
	struct shard *shard;   /* the only one today: go through volume_shard */
	struct volume *next;   /* the table's */
	_Atomic unsigned uses; /* holders; the table is one */
};

/* The volume NAME (NULL or empty: "main"), held for the caller until volume_put; NOT_FOUND lists what there is. */
enum cairn_code volume_get(struct node *n, struct cairn_slice name, struct volume **v, struct cairn_error *error);
void volume_put(struct volume *v);
/* The shard that has KEY. */
struct shard *volume_shard(struct volume *v, struct cairn_slice key);

/* Open the system volume and every volume that it lists; makes "main" on the first start. */
enum cairn_code volumes_open(struct node *n, struct cairn_error *error);
/* Flush and close all of them; writes under way have been answered before. */
void volumes_close(struct node *n);
/* Call FN for each volume but the system one, by name. */
void volumes_each(struct node *n, void (*fn)(void *arg, struct volume *v), void *arg);

/*
 * Make, and drop with all its data. DONE is called in the loop's thread once the system volume has it and it is open
 * (or gone). PARAMETERS are texts "key=value" for the engine.
 */
struct volume_change {
	struct node *node;
	char name[VOLUME_NAME_MAX + 1], engine[256], replication[64];
	char **parameters; /* owned */
	size_t parameter_count;
	struct cairn_error error;
	void *arg;
	void (*done)(struct volume_change *c);
	struct shard_write write; /* volume.c's */
};
void volume_create(struct volume_change *c);
void volume_drop(struct volume_change *c);

#endif
