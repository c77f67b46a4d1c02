/*
 * The cluster key of a node. It is in the data folder once it was given: by the setting cluster.key, at the
 * first start, or by whoever let the node join. A node without one talks to its peers in the open, and says
 * so.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cluster.h"
#include "banned.h"

enum cairn_code cluster_keys(struct node *n, struct peer_keys *keys, struct cairn_error *error)
{
	const char *given = setting_text(n->settings, SETTING_CLUSTER_KEY);
	struct cairn_error none;
	enum cairn_code code = peer_keys_read(n->data_fd, KEY_FILE, keys, &none);

	if (code && code != CAIRN_E_NOT_FOUND)
		return cairn_fail(error, code, "%s: %s", n->data_dir, none.message);
	if (!code)
		return CAIRN_OK;
	keys->count = 0;
	if (*given) {
		code = peer_keys_read(AT_FDCWD, given, keys, error);
		return code ? code : peer_keys_write(n->data_fd, KEY_FILE, keys, error);
	}
	log_warn(n->log, LOG_REPLICATION, "there is no cluster key: peers talk in the open",
		 LOG_TEXT("setting", "cluster.key"));
	return CAIRN_OK;
}

enum cairn_code cluster_make_key(const char *path, struct cairn_error *error)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char folder[4096];
	struct peer_keys keys = { .count = 1 };
	struct stat st;
	enum cairn_code code;
	int fd;

	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
	fd = open(folder, O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return cairn_fail(error, cairn_error_from_errno(errno), "%s: %s", folder, strerror(errno));
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		code = cairn_fail(error, CAIRN_E_EXISTS, "%s is there already", path);
	else
		code = peer_key_make(&keys.keys[0], error);
	if (!code)
		code = peer_keys_write(fd, name, &keys, error);
	close(fd);
	if (!code)
		printf("%s is the cluster key %s: give it to every node (cluster.key), and to nobody else\n",
		       path, keys.keys[0].id);
	explicit_bzero(&keys, sizeof(keys));
	return code;
}
