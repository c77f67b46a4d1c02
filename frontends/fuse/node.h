/*
 * Nodes: the files and folders that the kernel knows. A node has a number that is never used again, a parent
 * and a part of a key; its path is derived from those, so that moving a folder moves all that is in it. A
 * node that was unlinked or replaced has no parent any more and lives as long as somebody has it open.
 */
#ifndef NODE_H
#define NODE_H

#include "content.h"
#include "facts.h"

#define NODE_ROOT 1
#define NODE_KEY_MAX 4096 /* bytes */

struct task;
struct key;

/* Held by one task at a time; the others wait in order. */
struct lock {
	bool held;
	struct task *first, *last;
};

struct node {
	uint64_t id;
	struct node *id_next, *name_next;     /* in the tables */
	struct node *parent;                  /* a reference; NULL: the root, or detached */
	struct node *next_dirty, *prev_dirty; /* see nodes.dirty */
	unsigned char *part;                  /* owned: its bytes of the key */
	size_t part_len;
	bool self;        /* "%=": the value of the key that is also its parent folder */
	bool removed;     /* detached because it was unlinked or replaced here, not by somebody else */
	bool listed;      /* in nodes.dirty */
	uint64_t lookups; /* the kernel's */
	unsigned refs;    /* of tasks, handles and children */
	uint64_t ino;     /* as shown; fixed for the life of the node */
	struct facts facts;
	unsigned opens, writers; /* handles of it; of those, with write access */
	unsigned opening;        /* handles to be: its bytes stay */
	struct content content;
	bool loaded;            /* CONTENT has the value of FACTS with what was written since */
	bool unwritten;         /* created exclusively here, and nothing was written to it yet */
	bool busy;              /* its owner commits: what the server says meanwhile may be ours */
	uint64_t cached;        /* revision of the kernel's pages; 0: none */
	uint64_t same_from;     /* its bytes are those of all revisions from this one on */
	uint64_t asked_ns;      /* boot clock, when the server was last asked about it */
	uint64_t generation;    /* of the cache in which its facts hold, see cache.c; 0: in none */
	uint64_t touched;       /* sequence of the newest change of it */
	uint64_t told_revision; /* of which the kernel knows the attributes */
	uint64_t lost_ns;       /* when somebody else took its name away */
	bool told;              /* the kernel believes what it was told of it */
	bool lists;             /* so for the names in a folder, all of them */
	bool absences;          /* so for some names that are not there */
	bool checking;          /* a task looks whether the folder is still there */
	struct key *was;        /* owned: its key before it lost its name, where an open file needs it */
	struct lock lock;       /* for whoever changes the value or its place in the store */
};

/* The key of a node or of a name in a folder. Large: keep few on a stack. */
struct key {
	size_t len;
	unsigned char bytes[NODE_KEY_MAX];
};

struct nodes {
	struct node **by_id, **by_name; /* hash tables of SIZE, a power of 2 */
	size_t size, count;
	uint64_t next_id;
	struct node *root;
	const char *prefix; /* of the mount's keys; NULL: none */
	struct node *dirty; /* nodes that the store has not seen yet: they must appear in listings */
};

/* Make the tables and the root. 0 or -ENOMEM. */
int nodes_open(struct nodes *t);
void nodes_close(struct nodes *t);
/* The node with that number, or NULL. */
struct node *node_get(struct nodes *t, uint64_t id);
/* The node for PART (SELF: for the folder's own value) in PARENT, or NULL. */
struct node *node_find(struct nodes *t, const struct node *parent, struct cairn_slice part, bool self);
/* Make it; there is none yet. NULL where there is no memory. No lookups, one reference (the caller's). */
struct node *node_add(struct nodes *t, struct node *parent, struct cairn_slice part, bool self);
/* Take N out of its folder; REMOVED says whether we did that. */
void node_detach(struct nodes *t, struct node *n, bool removed);
/* A and B take each other's name. */
void node_swap(struct nodes *t, struct node *a, struct node *b);
/* Put N under another name. Nothing has that name. 0 or -ENOMEM. */
int node_move(struct nodes *t, struct node *n, struct node *parent, struct cairn_slice part, bool self);
static inline struct node *node_hold(struct node *n)
{
	n->refs++;
	return n;
}
/* Give a reference back; frees N with the last one when the kernel has forgotten it. */
void node_drop(struct nodes *t, struct node *n);
/* The kernel forgets N COUNT times. */
void node_forget(struct nodes *t, struct node *n, uint64_t count);
/* Whether the store has not seen N yet (LISTED), so that listings must add it. */
void node_mark(struct nodes *t, struct node *n, bool dirty);
/* Whether N is FOLDER or lies in it. */
bool node_within(const struct node *n, const struct node *folder);

/*
 * The key of N; that of a folder ends with a slash, that of the root is PREFIX and a slash, or empty.
 * 0, -ESTALE for a detached node, or -ENAMETOOLONG.
 */
int node_key(const struct node *n, const char *prefix, struct key *key);
/* The key of PART in the folder PARENT; FOLDER adds a slash. SELF: the folder's own value. */
int node_key_in(const struct node *parent, const char *prefix, struct cairn_slice part, bool self,
		bool folder, struct key *key);
static inline struct cairn_slice key_slice(const struct key *k)
{
	return cairn_slice(k->bytes, k->len);
}

static inline struct cairn_slice node_part(const struct node *n)
{
	return cairn_slice(n->part, n->part_len);
}

static inline bool node_is_folder(const struct node *n)
{
	return n->facts.kind == CAIRN_KIND_DIRECTORY;
}

#endif
