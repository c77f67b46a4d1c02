/*
 * The node's own folder: made, locked against a second daemon, and its identity read or written. The identity
 * is one small text file with a version in front and a checksum at its end, replaced durably; a newer version
 * and a damaged file are refused, never overwritten.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>
#include "clock.h"
#include "crc32c.h"
#include "files.h"
#include "node.h"
#include "pool.h"
#include "banned.h"

#define IDENTITY "node"
#define IDENTITY_VERSION 1
#define IDENTITY_MAX 4096
#define LOCK "lock"

void hex_random(char *text, size_t bytes)
{
	unsigned char raw[32];

	while (getrandom(raw, bytes, 0) != (ssize_t)bytes)
		;
	for (size_t i = 0; i < bytes; i++)
		snprintf(text + 2 * i, 3, "%02x", raw[i]);
}

/* Say who holds the data folder; the file says it, the lock itself is on the folder. */
static enum cairn_code locked(struct node *n, struct cairn_error *error)
{
	char *holder = NULL;
	size_t len;

	if (file_read(n->data_fd, LOCK, 256, &holder, &len) == 0 && len > 0)
		cairn_fail(error, CAIRN_E_UNAVAILABLE, "the data folder %s is in use by cairnd %.*s",
			   n->data_dir, (int)strcspn(holder, "\n"), holder);
	else
		cairn_fail(error, CAIRN_E_UNAVAILABLE, "the data folder %s is in use by another cairnd",
			   n->data_dir);
	free(holder);
	cairn_hint(error, "stop that one first; each daemon has a data folder of its own (--data)");
	return CAIRN_E_UNAVAILABLE;
}

static enum cairn_code lock_folder(struct node *n, struct cairn_error *error)
{
	char holder[128];
	int len, r;

	r = folder_make(n->data_dir);
	if (r == 0) {
		n->data_fd = open(n->data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = n->data_fd < 0 ? -errno : 0;
	}
	if (r < 0)
		return cairn_fail(error, cairn_error_from_errno(-r), "the data folder %s cannot be used: %s",
				  n->data_dir, strerror(-r));
	if (flock(n->data_fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK
			? locked(n, error)
			: cairn_fail(error, CAIRN_E_INTERNAL, "the data folder %s cannot be locked: %s",
				     n->data_dir, strerror(errno));
	len = snprintf(holder, sizeof(holder), "%ld (name %s)\n", (long)getpid(), n->name);
	r = file_replace(n->data_fd, LOCK, cairn_slice(holder, (size_t)len));
	return r == 0 ? CAIRN_OK
		      : cairn_fail(error, cairn_error_from_errno(-r),
				   "the data folder %s cannot be written: %s", n->data_dir, strerror(-r));
}

/* The folder that the control socket goes into. */
static enum cairn_code make_socket_folder(struct node *n, struct cairn_error *error)
{
	char path[PATH_MAX];
	char *slash;
	int r;

	snprintf(path, sizeof(path), "%s", setting_text(n->settings, SETTING_CONTROL_SOCKET));
	slash = strrchr(path, '/');
	if (!slash || slash == path)
		return CAIRN_OK;
	*slash = 0;
	r = folder_make(path);
	return r == 0
		? CAIRN_OK
		: cairn_fail(error, cairn_error_from_errno(-r),
			     "the folder of the control socket, %s, cannot be made: %s", path, strerror(-r));
}

static enum cairn_code damaged(struct node *n, const char *what, struct cairn_error *error)
{
	cairn_fail(error, CAIRN_E_CORRUPT, "the identity file %s/%s is damaged: %s", n->data_dir, IDENTITY,
		   what);
	cairn_hint(error, "put the file back from a copy; an empty data folder would be a new node");
	return CAIRN_E_CORRUPT;
}

/* The value of "KEY=" at the start of a line of TEXT, into TO. */
static bool line_value(const char *text, const char *key, char *to, size_t size)
{
	size_t n = strlen(key), len;

	for (const char *p = text; p; p = strchr(p, '\n')) {
		p += *p == '\n';
		len = strcspn(p, "\n");
		if (len > n && !strncmp(p, key, n) && p[n] == '=' && len - n - 1 < size) {
			memcpy(to, p + n + 1, len - n - 1);
			to[len - n - 1] = 0;
			return true;
		}
	}
	return false;
}

static enum cairn_code parse_identity(struct node *n, const char *text, size_t len, struct cairn_error *error)
{
	static const char last[] = "crc32c=";
	const char *crc = memmem(text, len, last, sizeof(last) - 1);
	char sum[16];
	unsigned version;

	if (sscanf(text, "cairn-node %u\n", &version) != 1)
		return damaged(n, "its first line is not 'cairn-node VERSION'", error);
	if (version > IDENTITY_VERSION)
		return cairn_fail(error, CAIRN_E_UNSUPPORTED,
				  "the identity file %s/%s has format %u, and this cairnd knows formats up "
				  "to %d: it was written by a newer one",
				  n->data_dir, IDENTITY, version, IDENTITY_VERSION);
	if (!crc)
		return damaged(n, "its last line, the checksum, is missing", error);
	snprintf(sum, sizeof(sum), "%08" PRIx32 "\n", crc32c(0, text, (size_t)(crc - text)));
	if (strcmp(crc + sizeof(last) - 1, sum))
		return damaged(n, "its checksum does not fit", error);
	if (!line_value(text, "id", n->id, sizeof(n->id)) || strlen(n->id) != 32)
		return damaged(n, "it has no id", error);
	line_value(text, "system-engine", n->system_engine, sizeof(n->system_engine));
	return CAIRN_OK;
}

void node_journal_path(const struct node *n, char *path, size_t size)
{
	const char *dir = setting_text(n->settings, SETTING_JOURNAL_DIR);

	snprintf(path, size, "%s%s", *dir ? dir : n->data_dir, *dir ? "" : "/journal");
}

enum cairn_code node_write_identity(struct node *n, struct cairn_error *error)
{
	char text[512];
	int len, r;

	len = snprintf(text, sizeof(text), "cairn-node %d\nid=%s\nsystem-engine=%s\n", IDENTITY_VERSION,
		       n->id, n->system_engine);
	len += snprintf(text + len, sizeof(text) - (size_t)len, "crc32c=%08" PRIx32 "\n",
			crc32c(0, text, (size_t)len));
	r = file_replace(n->data_fd, IDENTITY, cairn_slice(text, (size_t)len));
	return r == 0 ? CAIRN_OK
		      : cairn_fail(error, cairn_error_from_errno(-r),
				   "the identity file %s/%s cannot be written: %s", n->data_dir, IDENTITY,
				   strerror(-r));
}

static enum cairn_code identify(struct node *n, struct cairn_error *error)
{
	char *text;
	size_t len;
	int r = file_read(n->data_fd, IDENTITY, IDENTITY_MAX, &text, &len);
	enum cairn_code code;

	if (r == -ENOENT && faccessat(n->data_fd, "volumes", F_OK, 0) == 0)
		return damaged(n, "it is gone, and there are volumes beside its place", error);
	if (r == -ENOENT) {
		hex_random(n->id, 16);
		return node_write_identity(n, error);
	}
	if (r == -EFBIG)
		return damaged(n, "it is longer than any identity", error);
	if (r < 0)
		return cairn_fail(error, cairn_error_from_errno(-r),
				  "the identity file %s/%s cannot be read: %s", n->data_dir, IDENTITY,
				  strerror(-r));
	code = parse_identity(n, text, len, error);
	free(text);
	return code;
}

enum cairn_code node_open(struct node *n, struct settings *settings, struct log *log,
			  struct cairn_error *error)
{
	const char *plugins = setting_text(settings, SETTING_NODE_PLUGINS);
	enum cairn_code code;
	int r;

	*n = (struct node){ .settings = settings, .log = log, .data_fd = -1, .start_ns = clock_boot_ns() };
	snprintf(n->name, sizeof(n->name), "%s", setting_text(settings, SETTING_NODE_NAME));
	n->min_free = setting_number(settings, SETTING_NODE_MIN_FREE);
	n->room = UINT64_MAX;
	snprintf(n->min_free_text, sizeof(n->min_free_text), "min-free=%llu",
		 (unsigned long long)n->min_free);
	n->data_dir = strdup(setting_text(settings, SETTING_NODE_DATA));
	n->loader = loader_new(*plugins ? plugins : NULL);
	if (!n->data_dir || !n->loader)
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory");
	code = lock_folder(n, error);
	if (!code)
		code = identify(n, error);
	if (!code)
		code = make_socket_folder(n, error);
	if (code)
		return code;
	r = loop_new(&n->loop);
	if (r == 0)
		r = pool_new(&n->pool, (unsigned)setting_number(settings, SETTING_NODE_WORKERS));
	return r == 0 ? CAIRN_OK
		      : cairn_fail(error, CAIRN_E_INTERNAL, "the daemon cannot start: %s", strerror(-r));
}

void node_close(struct node *n)
{
	pool_free(n->pool);
	loop_free(n->loop);
	loader_free(n->loader);
	if (n->data_fd >= 0)
		close(n->data_fd);
	free(n->data_dir);
}
