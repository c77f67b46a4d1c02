/*
 * Listening sockets. A socket file that a dead daemon left is replaced. A name that stands for several
 * addresses is listened at on all of them that this machine has.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <arpa/inet.h>
#include "listen.h"
#include "banned.h"

static enum cairn_code failed(struct cairn_error *error, const char *what, const char *path,
			      const char *doing)
{
	return cairn_fail(error, cairn_error_from_errno(errno), "%s %s: %s: %s", what, path, doing,
			  strerror(errno));
}

/* Make way for a new socket at PATH: remove that of a dead daemon. */
static enum cairn_code make_way(const char *what, const char *path, const struct sockaddr_un *address,
				struct cairn_error *error)
{
	struct stat st;
	int fd, r;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? CAIRN_OK : failed(error, what, path, "looking at it");
	if (!S_ISSOCK(st.st_mode))
		return cairn_fail(error, CAIRN_E_EXISTS, "%s %s: there is a file that is no socket", what,
				  path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return failed(error, what, path, "making a socket");
	r = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? errno : 0;
	close(fd);
	if (r != ECONNREFUSED && r != ENOENT) /* it is alive, busy, or somebody else's */
		return cairn_fail(error, CAIRN_E_EXISTS, "%s %s: another daemon serves it", what, path);
	if (unlink(path) < 0 && errno != ENOENT)
		return failed(error, what, path, "removing the one that a dead daemon left");
	return CAIRN_OK;
}

enum cairn_code listen_unix(const char *what, const char *path, mode_t mode, gid_t gid, int *fd,
			    struct cairn_error *error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	enum cairn_code code;

	*fd = -1;
	if (strlen(path) >= sizeof(address.sun_path))
		return cairn_fail(error, CAIRN_E_INVALID, "%s %s: the path is longer than %zu bytes", what,
				  path, sizeof(address.sun_path) - 1);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	code = make_way(what, path, &address, error);
	if (code)
		return code;
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd < 0)
		return failed(error, what, path, "making a socket");
	/* The mode of the descriptor is that of the file from its first moment on. */
	if (fchmod(*fd, gid == (gid_t)-1 ? mode : mode & 0700) < 0 ||
	    bind(*fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		code = failed(error, what, path, "binding it");
	else if (gid != (gid_t)-1 && lchown(path, (uid_t)-1, gid) < 0)
		code = failed(error, what, path, "giving it to its group");
	else if (chmod(path, mode) < 0)
		code = failed(error, what, path, "setting its mode");
	else if (listen(*fd, SOMAXCONN) < 0)
		code = failed(error, what, path, "listening on it");
	if (code) {
		close(*fd);
		*fd = -1;
	}
	return code;
}

static bool is_loopback(const struct sockaddr *a)
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)a;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)a;

	return a->sa_family == AF_INET ? ntohl(four->sin_addr.s_addr) >> 24 == 127
				       : a->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
}

/* A socket that listens at A; -1 with errno. */
static int listen_at(const struct addrinfo *a)
{
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, e;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
		return fd;
	e = errno;
	close(fd);
	errno = e;
	return -1;
}

enum cairn_code listen_tcp(const char *what, const char *address, bool loopback_only, int fds[LISTEN_MAX],
			   size_t *count, struct cairn_error *error)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *all = NULL;
	const char *colon = strrchr(address, ':'), *host = address;
	size_t length = colon ? (size_t)(colon - address) : 0;
	enum cairn_code code = CAIRN_OK;
	char name[256];
	int r;

	*count = 0;
	if (length >= 2 && host[0] == '[' && host[length - 1] == ']') {
		host++;
		length -= 2;
	}
	if (!colon || !length || !colon[1] || length >= sizeof(name))
		return cairn_fail(error, CAIRN_E_INVALID,
				  "%s: an address is HOST:PORT or unix:PATH, not '%s'", what, address);
	snprintf(name, sizeof(name), "%.*s", (int)length, host);
	r = getaddrinfo(strcmp(name, "*") ? name : NULL, colon + 1, &hints, &all);
	if (r)
		return cairn_fail(error, CAIRN_E_INVALID, "%s: no address '%s': %s", what, address,
				  gai_strerror(r));
	errno = EADDRNOTAVAIL;
	for (const struct addrinfo *a = all; a && !code && *count < LISTEN_MAX; a = a->ai_next) {
		if (loopback_only && !is_loopback(a->ai_addr)) {
			code = cairn_fail(error, CAIRN_E_DENIED,
					  "%s: %s can be reached from other machines, and nobody is asked "
					  "for a password",
					  what, address);
			cairn_hint(error, "give password-file, or allow-anonymous=yes");
			break;
		}
		r = listen_at(a);
		if (r >= 0)
			fds[(*count)++] = r;
		else if (errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL)
			code = failed(error, what, address, "listening there");
	}
	freeaddrinfo(all);
	return code || *count ? code : failed(error, what, address, "listening there");
}

void listen_address(int fd, bool peer, char *text, size_t size)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	char host[64] = "?", port[16] = "0";
	int r = peer ? getpeername(fd, (struct sockaddr *)&address, &length)
		     : getsockname(fd, (struct sockaddr *)&address, &length);

	if (r == 0 && address.ss_family != AF_UNIX)
		getnameinfo((struct sockaddr *)&address, length, host, sizeof(host), port, sizeof(port),
			    NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(text, size, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}
