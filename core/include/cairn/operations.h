/*
 * The operations that a daemon offers, one row each. Numbers are wire and disk format: never reused. What
 * arguments each takes and which function serves it stands in core/daemon/operation.c.
 */
#ifndef CAIRN_OPERATIONS_H
#define CAIRN_OPERATIONS_H

#include <cairn/slice.h>

enum cairn_permission {
	CAIRN_MAY_READ,
	CAIRN_MAY_WRITE,
	CAIRN_MAY_ADMIN,
	CAIRN_MAY_NOBODY, /* only cairnd itself writes it, into its log: no face offers it */
};

/* X(number, ID, name, aliases separated by spaces, permission, help) */
#define CAIRN_OPERATIONS(X) \
	X(1, GET, "get", "", READ, "read a key's value, a range of it, or only what is known about it") \
	X(2, PUT, "put", "set", WRITE, "write a key's value") \
	X(3, DELETE, "del", "delete rm", WRITE, "delete a key") \
	X(4, SCAN, "scan", "list ls", READ, "list keys in order, page by page") \
	X(5, TXN, "txn", "", WRITE, "check guards, then do one of two lists of operations, all or nothing") \
	X(6, SET_ATTRIBUTES, "set-attributes", "", WRITE, "change a record's attributes, keep its value") \
	X(7, MOVE, "move", "mv rename", WRITE, "move a key onto another") \
	X(8, MOVE_PREFIX, "move-prefix", "", WRITE, "move all keys of a folder at once") \
	X(9, STAGE, "stage", "", WRITE, "send one piece of a large value ahead") \
	X(10, COPY, "copy", "cp", WRITE, "copy a key onto another") \
	X(11, COPY_PREFIX, "copy-prefix", "", WRITE, "copy all keys of a folder at once") \
	X(12, DELETE_PREFIX, "delete-prefix", "", WRITE, "delete all keys of a folder at once") \
	X(13, APPEND, "append", "", WRITE, "add bytes to the end of a value") \
	X(14, PATCH, "patch", "", WRITE, "overwrite bytes of a value, or set its size") \
	X(15, SWAP, "swap", "", WRITE, "exchange two keys") \
	X(16, CONFIGURE, "volume-set", "", ADMIN, \
	  "change a setting of a volume that all its replicas share") \
	X(17, HISTORY, "history", "", READ, "the versions of a key that are kept, newest first") \
	X(18, REVERT, "revert", "", WRITE, "put back the version of a key that was there at a revision") \
	X(19, REVERT_PREFIX, "revert-prefix", "", WRITE, \
	  "put all keys of a folder back as they were at a revision") \
	X(20, PURGE, "purge", "", WRITE, "remove a key, or all keys of a folder, and their history") \
	X(21, VIEW, "view", "", READ, "hold a revision, or that of a time, for ten minutes, to read at it") \
	X(22, EXPIRE, "expire", "", WRITE, "say when a key goes") \
	X(23, PERSIST, "persist", "", WRITE, "let a key stay that would have gone") \
	X(24, INCREMENT, "increment", "incr", WRITE, "add to the number that is a key's value") \
	X(25, EXPIRE_DUE, "expire-due", "", NOBODY, "what is due goes") \
	X(26, WATCH, "watch", "", READ, "the changes of a key or a folder, as they happen") \
	X(27, UNSTAGE, "unstage", "", WRITE, "forget the pieces of an upload that were sent ahead") \
	X(40, PING, "ping", "", READ, "answer at once: name, version, applied index, revision") \
	X(41, STATUS, "status", "", READ, "nodes and volumes and how they are") \
	X(42, METRICS, "metrics", "", READ, "every counter and histogram") \
	X(43, OPERATIONS, "operations", "help", READ, "this table: names, arguments, permissions") \
	X(44, PLUGIN_LIST, "plugin-list", "", READ, \
	  "the plugins that were found, and why others were refused") \
	X(45, PLUGIN_SHOW, "plugin-show", "", READ, "one plugin: capabilities and parameters") \
	X(46, VOLUME_LIST, "volume-list", "", READ, "the volumes of this node") \
	X(47, VOLUME_CREATE, "volume-create", "", ADMIN, "make a volume") \
	X(48, VOLUME_DROP, "volume-drop", "", ADMIN, "remove a volume and all its data") \
	X(49, VOLUME_STATS, "volume-stats", "", READ, "what a volume holds and what its engine says") \
	X(50, CONFIG_GET, "config-get", "", READ, "settings and their values") \
	X(51, CONFIG_SET, "config-set", "", ADMIN, "change a live setting until the next restart") \
	X(52, LOG_LEVEL, "log-level", "", ADMIN, "show or change how much a module logs") \
	X(53, DIGEST, "digest", "", READ, "digest of a volume's visible state") \
	X(54, JOURNAL, "journal", "", READ, "what the node's journal keeps, and for which volumes") \
	X(56, CONVERT, "convert", "", ADMIN, "move a volume to another engine while it serves") \
	X(58, SNAPSHOT_SAVE, "snapshot-save", "", READ, "all of a volume as a stream of bytes") \
	X(59, SNAPSHOT_RESTORE, "snapshot-restore", "", ADMIN, \
	  "make a volume from such a stream, piece by piece") \
	X(60, FLUSH, "flush", "", ADMIN, "remove all keys of a volume at once") \
	X(61, CHECK, "check", "", READ, "read all of a volume, and compute its digest anew") \
	X(62, COMPACT, "compact", "", ADMIN, "have a volume's engine give back what space it can") \
	X(72, NOTHING, "nothing", "", NOBODY, "an entry of the replication module: nothing changes") \
	X(73, MEMBERS, "members", "", NOBODY, "an entry of the replication module: who belongs to the shard")

enum cairn_operation {
#define X(number, id, name, aliases, permission, help) CAIRN_OP_##id = number,
	CAIRN_OPERATIONS(X)
#undef X
		CAIRN_OPERATION_COUNT
};

struct cairn_operation_row {
	const char *name;    /* NULL for a number that is not used */
	const char *aliases; /* separated by spaces */
	enum cairn_permission permission;
	const char *help;
};

/* The row of OP, or NULL. Static. */
const struct cairn_operation_row *cairn_operation_row(unsigned op);
/* The operation with that name or alias; 0 where there is none. */
unsigned cairn_operation_by_name(struct cairn_slice name);

#endif
