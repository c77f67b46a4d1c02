/*
 * Keys and values as people give them. A key is taken as it stands, unless it looks like a path (./x, ../x,
 * /x) and lies on a cairn mount: the mount then says the key of the file, or of the nearest folder above a
 * file that is not there yet, in the attribute user.cairn.key. A value is text, a file or standard input.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "cli.h"
#include "banned.h"

#define FUSE_MAGIC 0x65735546
#define KEY_ROOM 8192

static bool path_like(const struct word *w)
{
	const char *p = w->text;

	if (strlen(p) != w->len || w->len >= PATH_MAX)
		return false;
	return *p == '/' || strcmp(p, ".") == 0 || strcmp(p, "..") == 0 || strncmp(p, "./", 2) == 0 ||
		strncmp(p, "../", 3) == 0;
}

/* The key of PATH by its mount, into BUFFER. Its length; -1 where the folder above may know more, -2 where
 * PATH lies elsewhere. */
static ssize_t ask_mount(const char *path, char *buffer)
{
	struct statfs fs;
	struct stat st;
	ssize_t n;

	/* The kernel gives no such attribute of a symbolic link: its folder says where it is. */
	if (lstat(path, &st) < 0 || S_ISLNK(st.st_mode))
		return -1;
	if (statfs(path, &fs) < 0 || (uint32_t)fs.f_type != FUSE_MAGIC)
		return -2;
	n = getxattr(path, "user.cairn.key", buffer, KEY_ROOM);
	return n < 0 ? -2 : n;
}

/* Cut PATH before its last component, which is returned; NULL where there is nothing to cut. */
static char *cut(char *path)
{
	size_t n = strlen(path);
	char *slash;

	while (n > 1 && path[n - 1] == '/')
		path[--n] = 0;
	slash = strrchr(path, '/');
	if (!slash || strcmp(slash, "/..") == 0 || strcmp(slash, "/.") == 0)
		return NULL;
	*slash = 0;
	return slash + 1;
}

/* The attribute NAME of PATH as text in memory of its own; NULL where there is none. */
static char *mount_fact(const char *path, const char *name)
{
	char text[4096];
	ssize_t n = getxattr(path, name, text, sizeof(text) - 1);

	return n > 0 ? strndup(text, (size_t)n) : NULL;
}

/* The mount at PATH shows keys of some servers: those are meant, whatever the environment says; others that
 * were asked for, or that a shell talks to, are refused. */
static enum cairn_code take_server(struct cli *c, const char *path)
{
	char *server = mount_fact(path, "user.cairn.server");
	const char *given = c->servers ? c->servers : c->client ? getenv("CAIRN_SERVER") : NULL;

	if (server && !given && !c->client) {
		c->servers = c->mount_servers = server;
		return CAIRN_OK;
	}
	if (server && given && strcmp(server, given) != 0)
		cairn_fail(&c->error, CAIRN_E_INVALID, "%.150s lies on a mount of %.80s, not of %.80s", path,
			   server, given);
	free(server);
	return c->error.code;
}

/* The same for its volume. */
static enum cairn_code take_mount(struct cli *c, const char *path)
{
	char *volume;

	if (take_server(c, path) != CAIRN_OK)
		return c->error.code;
	volume = mount_fact(path, "user.cairn.volume");
	if (!volume || strcmp(volume, c->volume ? c->volume : "main") == 0) {
		free(volume);
	} else if (c->volume) {
		cairn_fail(&c->error, CAIRN_E_INVALID, "%.200s lies in volume %s, not in %s", path, volume,
			   c->volume);
		free(volume);
		return CAIRN_E_INVALID;
	} else {
		free(c->mount_volume);
		c->volume = c->mount_volume = volume;
	}
	return CAIRN_OK;
}

/*
 * The key of PATH, which may not be there yet, into K, where PATH lies on a mount; K stays as it is
 * elsewhere. KEY has the room, FOLDER is a copy of PATH.
 */
static enum cairn_code find_key(struct cli *c, const char *path, char *folder, char *key, struct key *k)
{
	char rest[PATH_MAX] = "", *last;
	size_t had, len;
	ssize_t n;

	while ((n = ask_mount(*folder ? folder : "/", key)) == -1 && (last = cut(folder))) {
		had = strlen(rest);
		len = strlen(last);
		memmove(rest + len + 1, rest, had + 1);
		memcpy(rest, last, len);
		rest[len] = had ? '/' : 0;
		if (!*folder && path[0] != '/')
			return CAIRN_OK;
	}
	if (n < 0)
		return CAIRN_OK;
	len = (size_t)n;
	if (len && *rest && key[len - 1] != '/')
		key[len++] = '/';
	memcpy(key + len, rest, strlen(rest));
	len += strlen(rest);
	if (len && path[strlen(path) - 1] == '/' && key[len - 1] != '/')
		key[len++] = '/';
	k->name = cairn_slice(key, len);
	k->memory = key;
	return take_mount(c, *folder ? folder : "/");
}

/* The key that W names on a mount, else W itself. */
static enum cairn_code name_take(struct cli *c, const struct word *w, struct key *k)
{
	enum cairn_code code;
	char *folder, *key;

	*k = (struct key){ w ? word_slice(w) : cairn_slice(NULL, 0), NULL };
	if (!w || c->literal || !path_like(w))
		return CAIRN_OK;
	folder = strdup(w->text);
	key = malloc(KEY_ROOM + PATH_MAX);
	if (!folder || !key)
		no_memory();
	code = find_key(c, w->text, folder, key, k);
	if (!k->memory)
		free(key);
	if (code != CAIRN_OK)
		key_free(k);
	free(folder);
	return code;
}

enum cairn_code key_take(struct cli *c, const struct word *w, struct key *k)
{
	enum cairn_code code = name_take(c, w, k);

	if (code != CAIRN_OK || k->name.len)
		return code;
	if (k->memory)
		cairn_fail(&c->error, CAIRN_E_INVALID, "%.200s is the mount itself, not a key", w->text);
	else
		cairn_fail(&c->error, CAIRN_E_INVALID, "a key has at least one byte");
	key_free(k);
	return CAIRN_E_INVALID;
}

enum cairn_code folder_take(struct cli *c, const struct word *w, struct key *k)
{
	enum cairn_code code = name_take(c, w, k);
	char *name;

	if (code != CAIRN_OK)
		return code;
	if (k->name.len == 0 || ((const char *)k->name.data)[k->name.len - 1] == '/')
		return CAIRN_OK;
	name = malloc(k->name.len + 1);
	if (!name)
		no_memory();
	memcpy(name, k->name.data, k->name.len);
	name[k->name.len] = '/';
	free(k->memory);
	*k = (struct key){ cairn_slice(name, k->name.len + 1), name };
	return CAIRN_OK;
}

void key_free(struct key *k)
{
	free(k->memory);
	*k = (struct key){ 0 };
}

static enum cairn_code value_open(struct cli *c, const char *name, struct value *v)
{
	struct stat st;

	*v = (struct value){ .fd = open(name, O_RDONLY | O_CLOEXEC), .close = true, .name = name };
	if (v->fd >= 0 && fstat(v->fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		close(v->fd);
		v->fd = -1;
		errno = EISDIR;
	}
	if (v->fd >= 0)
		return CAIRN_OK;
	cairn_fail(&c->error, CAIRN_E_INVALID, "%.200s: %s", name, strerror(errno));
	if (errno == ENOENT)
		cairn_hint(&c->error, "@FILE reads a file; '@@x' or '--value @x' is the text @x");
	return CAIRN_E_INVALID;
}

enum cairn_code value_take(struct cli *c, const struct word *w, bool literal, struct value *v)
{
	struct cairn_slice text = word_slice(w);

	if (!literal && strcmp(w->text, "-") == 0) {
		*v = (struct value){ .fd = STDIN_FILENO, .name = "standard input" };
		if (!c->input_used)
			return CAIRN_OK;
		return cairn_fail(&c->error, CAIRN_E_INVALID,
				  "standard input holds the commands, it cannot be a value too");
	}
	if (!literal && w->text[0] == '@' && w->text[1] != '@')
		return value_open(c, w->text + 1, v);
	if (!literal && w->text[0] == '@')
		text = cairn_slice(w->text + 1, w->len - 1);
	*v = (struct value){ .text = text, .fd = -1 };
	return CAIRN_OK;
}

long value_read(void *value, void *buffer, size_t len)
{
	struct value *v = value;
	ssize_t n;

	if (v->fd < 0) {
		n = (ssize_t)(len < v->text.len ? len : v->text.len);
		if (n)
			memcpy(buffer, v->text.data, (size_t)n);
		v->text = cairn_slice((const char *)v->text.data + n, v->text.len - (size_t)n);
	} else {
		do
			n = read(v->fd, buffer, len);
		while (n < 0 && errno == EINTR);
	}
	if (n < 0)
		v->error = errno;
	else if (v->progress)
		progress_add(v->progress, (size_t)n);
	return n;
}

enum cairn_code value_all(struct cli *c, struct value *v, size_t max, char **data, size_t *len)
{
	size_t room = 4096, n = 0;
	char *p = malloc(room);
	long got;

	for (;;) {
		if (!p)
			no_memory();
		got = value_read(v, p + n, room - n);
		if (got <= 0)
			break;
		n += (size_t)got;
		if (n > max)
			break;
		if (n == room)
			p = realloc(p, room *= 2);
	}
	if (got < 0 || n > max) {
		free(p);
		return got < 0 ? cairn_fail(&c->error, CAIRN_E_INVALID, "%s: %s", v->name, strerror(v->error))
			       : cairn_fail(&c->error, CAIRN_E_TOO_LARGE,
					    "%s is longer than %zu bytes, too long here",
					    v->name ? v->name : "the value", max);
	}
	*data = p;
	*len = n;
	return CAIRN_OK;
}

int whole_write(void *arg, const void *data, size_t len)
{
	struct whole *w = arg;
	char *p = realloc(w->data, w->len + len + 1);

	if (!p)
		return -1;
	if (len)
		memcpy(p + w->len, data, len);
	w->data = p;
	w->len += len;
	return 0;
}

void value_close(struct value *v)
{
	if (v->close && v->fd >= 0)
		close(v->fd);
	v->fd = -1;
}
