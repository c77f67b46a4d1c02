/* What the parts of cairnfs share: the mount, and the tasks that serve the kernel's requests. */
#ifndef MOUNT_H
#define MOUNT_H

#define FUSE_USE_VERSION 312
#include <fuse3/fuse_lowlevel.h>
#include <cairn/client.h>
#include "coroutine.h"
#include "keymap.h"
#include "node.h"
#include "notify.h"

/*
 * How long the kernel may believe attributes, s: the shortest there is, one tick of its clock. Every walk
 * along a path looks its names up, which brings fresh attributes; this spares the same question a moment
 * later.
 */
#define ATTRIBUTES_S 0.001
#define BELIEVED_S 3600 /* and while the watch is in force */
#define TASK_HELD 6
#define TRIES 8 /* how often a change is made again on a newer value before the caller hears of it */

#define CACHE_RECENT 4096

/* What may be believed; see cache.c. */
struct cache {
	bool live;                     /* the watch is in force: every change is told */
	uint64_t generation;           /* counts how often it was lost, from 1 */
	uint64_t sequence;             /* of the newest change that was told */
	uint64_t all;                  /* nothing that was asked before this one holds */
	uint64_t recent[CACHE_RECENT]; /* sequence of the newest change of a name, by its hash */
	unsigned checks;               /* questions under way whether folders are still there */
	uint64_t revision;             /* that the watch has come to */
	uint64_t heard_ns;             /* when the watch last said something */
	uint64_t watch, again_ns;      /* its request, 0: none; when to ask for the next one */
};

struct mount {
	struct options options;
	struct fuse_session *session;
	struct cairn *cairn;
	struct nodes nodes;
	struct cache cache;
	struct notifier *notifier; /* NULL until it is mounted */
	struct coroutine_pool pool;
	struct task *tasks;                    /* all that run */
	struct task *runnable, *last_runnable; /* woken, not resumed yet */
	struct task *paused;                   /* to be woken in a millisecond */
	size_t buffered;                       /* bytes of contents */
	uint64_t start_ns;                     /* when it was mounted */
	uint64_t lost;                         /* commits that failed with nobody left to tell */
	uint64_t looked_ns;                    /* when tasks_expire last looked at the tasks */
	bool asked;                            /* something is to be sent to the server */
	int report; /* pipe to the process that was started, until the mount works; -1 */
};

/* A request of the kernel under way. Freed when its function returns. */
struct task {
	struct mount *m;
	fuse_req_t req; /* NULL once answered */
	struct coroutine *co;
	void (*run)(struct task *t);
	struct task *next, *prev; /* in mount.tasks */
	struct task *queued;      /* behind this one, in a lock or in mount.runnable */
	uint64_t start_ns;
	bool interrupted; /* its process got a signal */
	bool waits;       /* for its asks */
	bool silent;      /* never had a caller: it may ask without one */
	unsigned asks;    /* without an answer yet */
	struct node *held[TASK_HELD];
	unsigned held_count;
	uid_t uid;
	gid_t gid;
	pid_t pid;
	/* Arguments, as far as the request has them. */
	struct node *node, *to_node; /* held */
	char name[KEYMAP_NAME_MAX + 1], to_name[KEYMAP_NAME_MAX + 1];
	struct keymap_part part, to_part;
	struct fuse_file_info fi;
	bool has_fi;
	struct stat attr;
	int to_set;
	size_t size;
	off_t off;
	mode_t mode;
	unsigned flags;
	void *data; /* owned */
	size_t data_len;
};

/* A file's handle. */
struct handle {
	struct node *node; /* a reference */
	bool writes, appends;
	bool wrote;        /* something was written or truncated through it since the last commit */
	bool made;         /* its open made or emptied the file, and that is not committed yet */
	bool created;      /* its open created the file exclusively */
	bool flushed;      /* its opener has closed it once with nothing written */
	pid_t pid;         /* thread that opened it; of those that write */
	uint64_t revision; /* that it reads, where the value is not in the node's content */
};

/* task.c */
/*
 * Make a task for REQ on the node INO. NULL when REQ was answered already: no memory, or no such node.
 * Then task_start runs it; TASK_NAME fails likewise for a name that is too long.
 */
struct task *task_new(fuse_req_t req, fuse_ino_t ino);
bool task_name(struct task *t, const char *name);
bool task_to(struct task *t, fuse_ino_t ino, const char *name);
/* RUN NULL: the caller has no memory. */
void task_start(struct task *t, void (*run)(struct task *t));
/* Both, for a task that needs to know no more than the open file FI. */
void task_run(fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi, void (*run)(struct task *t));
/* Run RUN on N for no caller of the kernel. False where there is no memory. */
bool task_start_silent(struct mount *m, struct node *n, void (*run)(struct task *t));
/* Keep N until the task ends. */
struct node *task_hold(struct task *t, struct node *n);
/* Answer; at most once, later answers are dropped (the caller was told EIO or EINTR meanwhile). */
void task_error(struct task *t, int err);
void task_entry(struct task *t, struct node *n);
void task_attr(struct task *t, struct node *n);
/* N as the answer to who looked its name up. */
void entry_fill(struct mount *m, struct node *n, struct fuse_entry_param *e);
/* How N looks to the kernel. */
void node_stat(struct mount *m, struct node *n, struct stat *st);
/* Wake those that paused. */
void tasks_wake(struct mount *m);
/* Let woken tasks go on. */
void tasks_run(struct mount *m);
/* Answer those that have waited too long. Returns the ms until that is to be looked at again, -1: never. */
int tasks_expire(struct mount *m);
void lock_take(struct task *t, struct lock *l);
void lock_give(struct mount *m, struct lock *l);

/* Reads an answer's fields into OUT; called for each page of a stream. False where they make no sense. */
typedef bool ask_take(void *out, struct cairn_slice fields);
/* A question to the server. On the stack of its task. */
struct ask {
	struct task *t;
	ask_take *take;
	void *out;
	enum cairn_code code; /* of the answer */
};
/* Send MESSAGE; the answer is there after ask_wait. Several may be under way. */
void ask_send(struct task *t, struct ask *a, const struct cairn_msg *message, ask_take *take, void *out);
/* Wait until all of T's questions are answered. */
void ask_wait(struct task *t);
/* Let T go on in a millisecond. */
void task_pause(struct task *t);
/* Both in one. */
enum cairn_code ask(struct task *t, const struct cairn_msg *message, ask_take *take, void *out);
/* The errno (positive) that says CODE to the caller of a system call. */
int ask_errno(enum cairn_code code);

/* cache.c */
/* Whether what was read of N is right, as far as the watch has told. */
static inline bool node_known(const struct mount *m, const struct node *n)
{
	return m->cache.live && n->generation == m->cache.generation;
}
/* N's facts were read by a question that was sent when cache.sequence was AS_OF. */
void cache_know(struct mount *m, struct node *n, uint64_t as_of);
/* Whether what was then found, or not, at PART in PARENT is still so. */
bool cache_name_holds(struct mount *m, const struct node *parent, struct cairn_slice part, uint64_t as_of);
/* We changed the names in the folder N, in a call of the kernel that says so (BY_KERNEL), or at another time.
 */
void cache_folder_changed(struct mount *m, struct node *n, bool by_kernel);
/* We changed the name PART in PARENT for T's caller. */
void cache_name_changed(struct task *t, struct node *parent, struct cairn_slice part, bool self);
/* Whether the kernel may still go by a name that N had: ESTALE has it look that up again. */
bool cache_just_lost(const struct node *n);
/* Believe nothing any more, and have the kernel do so. */
void cache_lose(struct mount *m);
/* Look after the watch. Returns the ms until that is to be done again, -1: never. */
int cache_tick(struct mount *m);
/* Whether everything up to REVISION has been told to us and the kernel. *NOTES is 0 at the first call. */
bool cache_has_told(struct mount *m, uint64_t revision, uint64_t *notes);
void cache_end(struct mount *m);

/* txn.c: messages */
#define MSG __attribute__((cleanup(cairn_msg_free))) struct cairn_msg
/* Begin the message of OP for this mount's volume. */
void msg_begin(struct mount *m, struct cairn_msg *msg, unsigned op);
void guard_exists(struct cairn_msg *msg, struct cairn_slice key, bool exists);
void guard_revision(struct cairn_msg *msg, struct cairn_slice key, uint64_t revision);
void guard_file(struct cairn_msg *msg, struct cairn_slice key, uint64_t file_id);
void guard_empty(struct cairn_msg *msg, struct cairn_slice prefix, bool empty);
/* The folder PARENT is still there, the same as when it was looked at. 0 or -errno. */
int guard_parent(struct mount *m, struct cairn_msg *msg, const struct node *parent);
/* Put the marker of PARENT if it is absent, so that it does not vanish with its last key. 0 or -errno. */
int then_marker(struct mount *m, struct cairn_msg *msg, const struct node *parent);
/* Put a marker for the folder KEY with the attributes of F. */
void then_put_marker(struct cairn_msg *msg, struct cairn_slice key, const struct facts *f);

/* What a transaction answered. */
struct outcome {
	bool succeeded;         /* its guards held */
	uint64_t revision;      /* that it made */
	uint64_t file_id, size; /* of the first result, where it says */
};
/* Run the transaction MSG. OK with SUCCEEDED, CONFLICT where its guards do not hold, or another error. */
enum cairn_code txn(struct task *t, struct cairn_msg *msg, struct outcome *o);

/* lookup.c */
/* What stands at a name. */
struct found {
	struct facts value; /* the key itself; THERE says whether */
	struct facts
		folder; /* the folder of that name: its marker, or where it has none what is first in it */
	bool marker;
	uint64_t as_of; /* cache.sequence when this was asked */
};
void found_free(struct found *f);
#define FOUND __attribute__((cleanup(found_free))) struct found
/* Ask for PART in PARENT. 0 or an errno. */
int look(struct task *t, struct node *parent, struct cairn_slice part, bool self, struct found *f);
/*
 * The node for what was found there, its facts brought up to date; another one than before where a file was
 * replaced by somebody else while it is open here. Held by T. 0 and *OUT, or an errno: ENOENT where nothing
 * was found.
 */
int settle(struct task *t, struct node *parent, struct cairn_slice part, bool self, struct found *f,
	   struct node **out);
/* Bring the facts of T's node N up to date; 0 or an errno. ESTALE: it was replaced by another file. The
 * server is asked only where the watch does not tell; NOW: in any case. */
int refresh(struct task *t, struct node *n);
int refresh_now(struct task *t, struct node *n);
/*
 * The bytes that PART, a name in PARENT, stands for; CREATE: for something new, which not every name can be.
 * They lie in *PART or in T's data. SELF: the folder's own value. 0 or an errno.
 */
int part_of(struct task *t, struct node *parent, const struct keymap_part *part, bool create,
	    struct cairn_slice *bytes, bool *self);
/* N, with whose attributes T's caller is answered, may be believed for so long, s. */
double believed(struct mount *m, struct node *n);
/* Begin the scan of the folder KEY's own row: what its marker says, and what is in it. */
void msg_folder(struct mount *m, struct cairn_msg *msg, struct cairn_slice key);
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count);
void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_statfs(fuse_req_t req, fuse_ino_t ino);

/* commit.c */
/* Read the value of N as it is now, of one revision, into *C. 0 or an errno. */
int fetch(struct task *t, const struct node *n, struct content *c, uint64_t *revision);
/* Read the value of N into its content, unless it is there. 0 or an errno. */
int load(struct task *t, struct node *n);
/* N's content becomes *C, which is empty afterwards. 0 or an errno: too much memory in use. */
int adopt(struct mount *m, struct node *n, struct content *c);
/* Write what is dirty in N. The caller holds its lock. 0 or an errno. */
int commit(struct task *t, struct node *n);
/* Add DATA to the end of N, now. The caller holds its lock, and nothing in N is dirty. 0 or an errno. */
int append(struct task *t, struct node *n, struct cairn_slice data);
/* Give N, which nobody has open, another length, now. The caller holds its lock. 0 or an errno. */
int resize(struct task *t, struct node *n, size_t size);
/* Send DATA ahead of the operation that names it by ID. 0 or an errno. */
int stage(struct task *t, struct cairn_slice data, unsigned char id[16]);
/* Longest value that goes with its operation; longer ones are staged. */
#define INLINE_MAX (192u << 10)
/* Forget the bytes of N, which has no handles any more. */
void unload(struct mount *m, struct node *n);
/* Change N's bytes (WRITE: data at offset, else truncate to SIZE) within the bounds of memory. 0 or an errno.
 */
int change_write(struct mount *m, struct node *n, size_t offset, struct cairn_slice data);
int change_size(struct mount *m, struct node *n, size_t size);
/* N's times are now. */
void touch(struct node *n);
/* Wall clock, ns since 1970; more than AFTER. */
uint64_t now_ns(uint64_t after);

/* file.c */
/* Commit T's node, for nobody who waits. */
void do_save(struct task *t);
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
	      struct fuse_file_info *fi);
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
		  struct fuse_file_info *fi);

/* change.c */
/* The facts of a new file or folder of T's caller in T's node. */
void facts_new(struct task *t, unsigned kind, struct facts *f);
/* Put something new with the facts F at T's name, only if nothing is there; OPEN: its data will come. 0 and
 * *OUT (held), or an errno. */
int make(struct task *t, struct facts *f, struct cairn_slice value, bool open, struct node **out);
/* The file N was created exclusively and is closed: nothing more will come. Failures do not matter. */
void close_open(struct task *t, struct node *n);
/* Send ATTRIBUTES (encoded) for N; REVISION not 0: only if it still has that one, else EAGAIN. 0 or an errno.
 */
int set_attributes(struct task *t, struct node *n, const struct cairn_msg *attributes, uint64_t revision);
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);

/* rename.c */
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to, const char *to_name,
	       unsigned flags);

/* folder.c */
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

/* xattr.c */
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

#endif
