/*
 * The control socket: binding it, accepting, and letting go. A socket file that a dead daemon left is
 * replaced; who connects is known by the credentials that the kernel has. At the end the clients are told,
 * what they wait for is answered, and after a second those that do not take their answers are cut.
 */
#include <config.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "conn.h"
#include "control.h"
#include "listen.h"
#include "banned.h"

#define GRACE_MS 1000 /* for clients to take their answers at the end */
#define PAUSE_MS 100  /* without accepting, when there are no descriptors */

/* The group of the settings; -1 for none. */
static enum cairn_code find_group(struct node *n, gid_t *gid, struct cairn_error *error)
{
	const char *name = setting_text(n->settings, SETTING_CONTROL_GROUP);
	struct group group, *found;
	char buffer[16384];

	*gid = (gid_t)-1;
	if (!name[0])
		return CAIRN_OK;
	if (getgrnam_r(name, &group, buffer, sizeof(buffer), &found) || !found)
		return cairn_fail(error, CAIRN_E_INVALID, "control.group: there is no group '%s'", name);
	*gid = found->gr_gid;
	return CAIRN_OK;
}

static enum cairn_code bind_socket(struct control *control, struct cairn_error *error)
{
	struct settings *settings = control->hub.node->settings;
	mode_t mode = (mode_t)setting_number(settings, SETTING_CONTROL_MODE);
	const char *path = setting_text(settings, SETTING_CONTROL_SOCKET);
	enum cairn_code code;
	gid_t gid;

	code = find_group(control->hub.node, &gid, error);
	if (!code)
		code = listen_unix("control socket", path, mode, gid, &control->fd, error);
	if (code == CAIRN_E_EXISTS)
		cairn_hint(error, "stop that one, or choose another with --socket");
	if (!code)
		snprintf(control->path, sizeof(control->path), "%s", path);
	return code;
}

/* user@node of UID. */
static const char *author_of(struct control *control, uid_t uid)
{
	struct passwd user, *found = NULL;
	char buffer[16384];

	if (control->last_author[0] && control->last_uid == uid)
		return control->last_author;
	if (getpwuid_r(uid, &user, buffer, sizeof(buffer), &found) == 0 && found)
		snprintf(control->last_author, sizeof(control->last_author), "%.64s@%s", found->pw_name,
			 control->hub.node->name);
	else
		snprintf(control->last_author, sizeof(control->last_author), "%lu@%s", (unsigned long)uid,
			 control->hub.node->name);
	control->last_uid = uid;
	return control->last_author;
}

/* Say why on the descriptor FD, and close it. */
static void turn_away(struct control *control, int fd, const struct cairn_error *why)
{
	struct buffer line = { 0 };

	buffer_text(&line, "{\"id\":null,\"error\":");
	json_print_error(&line, why);
	buffer_text(&line, "}\n");
	if (!line.error)
		(void)!send(fd, line.data, line.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	buffer_free(&line);
	close(fd);
	metrics_add(control->hub.node->metrics, METRIC_CONNECTIONS_REFUSED, 1);
	log_warn(control->hub.node->log, LOG_CONTROL, "connection refused", LOG_TEXT("reason", why->message));
}

static void serve(struct control *control, int fd)
{
	struct node *n = control->hub.node;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	struct cairn_error error;
	struct conn *c;
	bool owner;

	if (control->hub.conn_count >= setting_number(n->settings, SETTING_CONTROL_CONNECTIONS)) {
		cairn_fail(&error, CAIRN_E_UNAVAILABLE,
			   "node %s has %u connections already, as many as control.connections allows",
			   n->name, control->hub.conn_count);
		turn_away(control, fd, &error);
		return;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		peer.uid = (uid_t)-1;
	owner = peer.uid == geteuid() || peer.uid == 0;
	if (peer.uid == (uid_t)-1 ||
	    (!owner && (setting_number(n->settings, SETTING_CONTROL_MODE) & 077) == 0)) {
		cairn_fail(&error, CAIRN_E_DENIED, "user %ld may not use the control socket of node %s",
			   (long)peer.uid, n->name);
		turn_away(control, fd, &error);
		return;
	}
	c = conn_new(&control->hub, fd, owner ? CAIRN_MAY_ADMIN : CAIRN_MAY_WRITE,
		     author_of(control, peer.uid));
	if (!c) {
		close(fd);
		return;
	}
	buffer_printf(&c->out, "{\"cairn\":\"%s\",\"protocol\":1,\"node\":\"%s\"}\n", PACKAGE_VERSION,
		      n->name);
	conn_flush(c);
	log_debug(n->log, LOG_CONTROL, "connection", LOG_TEXT("author", control->last_author),
		  LOG_NUMBER("pid", peer.pid));
}

static void on_connection(void *arg, unsigned events)
{
	struct control *control = arg;

	(void)events;
	for (int i = 0; i < 64; i++) {
		int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			serve(control, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			log_error(control->hub.node->log, LOG_CONTROL, "cannot accept",
				  LOG_TEXT("error", strerror(errno)));
			loop_rewatch(control->watch, 0);
			loop_timer_set(control->pause, PAUSE_MS);
		}
		return;
	}
}

static void on_pause_over(void *arg)
{
	struct control *control = arg;

	if (control->hub.closing)
		hub_cut(&control->hub);
	else
		loop_rewatch(control->watch, LOOP_READ);
}

enum cairn_code control_open(struct node *n, struct cairn_error *error)
{
	struct control *control = calloc(1, sizeof(*control));
	enum cairn_code code;

	if (!control)
		return cairn_fail(error, CAIRN_E_INTERNAL, "out of memory");
	control->hub = (struct hub){ .node = n, .name = "socket" };
	control->fd = -1;
	n->control = control;
	code = bind_socket(control, error);
	if (code == CAIRN_OK &&
	    (loop_timer_new(n->loop, on_pause_over, control, &control->pause) < 0 ||
	     loop_watch(n->loop, control->fd, LOOP_READ, on_connection, control, &control->watch) < 0))
		code = cairn_fail(error, CAIRN_E_INTERNAL,
				  "control socket: the loop takes no more descriptors");
	if (code)
		control_free(n);
	else
		log_info(n->log, LOG_CONTROL, "listening", LOG_TEXT("socket", control->path));
	return code;
}

static void stop_listening(struct control *control)
{
	loop_unwatch(control->watch);
	control->watch = NULL;
	if (control->fd < 0)
		return;
	close(control->fd);
	control->fd = -1;
	if (control->path[0])
		unlink(control->path);
}

void control_close(struct node *n, void (*closed)(void *arg), void *arg)
{
	struct control *control = n->control;
	char message[128];

	n->ending = true;
	stop_listening(control);
	snprintf(message, sizeof(message), "node %s is going down", n->name);
	loop_timer_set(control->pause, GRACE_MS);
	hub_close(&control->hub, message, closed, arg);
}

void control_free(struct node *n)
{
	struct control *control = n->control;

	if (!control)
		return;
	stop_listening(control);
	loop_timer_free(control->pause);
	hub_free(&control->hub);
	free(control);
	n->control = NULL;
}
