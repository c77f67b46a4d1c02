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

struct volume;

struct node {
	struct settings *settings;
	struct log *log;
	struct loader *loader;
	struct metrics *metrics;
	struct loop *loop;	 /* of the main thread: control socket, timers */
	struct pool *pool;	 /* workers for reads and upkeep that wait for disks */
	struct volumes *volumes; /* by name, the system volume included */
	struct control *control; /* the control socket */
	char id[33];		 /* hex, never reused */
	char name[64];		 /* for people */
	char *data_dir;		 /* absolute */
	int data_fd;		 /* its descriptor, locked */
	uint64_t start_ns;	 /* clock_boot_ns at start */
};

#endif
