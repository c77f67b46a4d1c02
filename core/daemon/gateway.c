/*
 * The host's side of gateways: opens those that the settings name, listens for them, and passes bytes,
 * requests and answers between conn.c and the plugin. A client that does not take what it is sent for a
 * minute is cut.
 */
#include <config.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "conn.h"
#include "files.h"
#include "gateway_inside.h"
#include "listen.h"
#include "banned.h"

#define GRACE_MS 1000 /* for clients to take their answers at the end */
#define PAUSE_MS 100  /* without accepting, when there are no descriptors */
#define SLOW_MS 30000 /* a client that took nothing between two looks, so far apart, is cut */

const struct cairn_param gateway_params[] = {
	{ "listen", CAIRN_PARAM_TEXT, "", false,
	  "addresses, separated by blanks: HOST:PORT, *:PORT or unix:PATH; without one the gateway does not "
	  "run" },
	{ "password-file", CAIRN_PARAM_TEXT, "", false,
	  "file whose first line is the password that clients have to give" },
	{ "allow-anonymous", CAIRN_PARAM_BOOL, "no", false,
	  "listen beyond this machine also without a password" },
	{ "permission", CAIRN_PARAM_TEXT, "admin", false, "what clients may do: read, write or admin" },
	{ "mode", CAIRN_PARAM_TEXT, "0600", false, "permission bits of sockets in the file system" },
	{ "connections", CAIRN_PARAM_NUMBER, "10000", false, "most connections at one time" },
	{ NULL, 0, NULL, false, NULL },
};
enum { P_LISTEN, P_PASSWORD_FILE, P_ALLOW_ANONYMOUS, P_PERMISSION, P_MODE, P_CONNECTIONS, P_COUNT };

static struct conn *conn_of(struct cairn_connection *c)
{
	return (struct conn *)c;
}

static struct side *side_of(struct cairn_connection *c)
{
	return conn_of(c)->state;
}

static struct request *request_of(struct cairn_request *r)
{
	return (struct request *)((char *)r - offsetof(struct request, shown));
}

static struct cairn_request *host_request(struct cairn_connection *c)
{
	struct request *r = conn_request(conn_of(c), 0);

	if (!r)
		return NULL;
	r->shown = (struct cairn_request){ .arguments = &r->message };
	cairn_msg_start(&r->message, 0);
	return &r->shown;
}

static void host_start(struct cairn_request *shown)
{
	struct request *r = request_of(shown);
	struct side *s = r->conn->state;
	struct cairn_error error;

	r->call.op = shown->op;
	r->call.fields = cairn_message_fields(cairn_msg_slice(&r->message));
	if (!s->admitted) {
		cairn_fail(&error, CAIRN_E_UNAUTHENTICATED, "this client has not given its password");
		conn_refuse(r, &error);
	} else if (cairn_msg_error(&r->message)) {
		cairn_fail(&error, CAIRN_E_TOO_LARGE, "the arguments are too large");
		conn_refuse(r, &error);
	} else {
		conn_start(r);
	}
}

static void host_finish(struct cairn_request *r)
{
	request_end(request_of(r));
}

static void host_cancel(struct cairn_request *r)
{
	request_cancel(request_of(r));
}

static void *host_out(struct cairn_connection *c, size_t n)
{
	conn_flush(conn_of(c));
	return buffer_room(&conn_of(c)->out, n);
}

static size_t host_unsent(struct cairn_connection *c)
{
	return conn_of(c)->out.len - conn_of(c)->sent;
}

static bool host_full(struct cairn_connection *c)
{
	return conn_full(conn_of(c));
}

static void host_wait(struct cairn_connection *connection)
{
	struct conn *c = conn_of(connection);

	c->stalled = true;
	c->pausing = !conn_full(c) && c->in_flight > 0;
}

static void host_end(struct cairn_connection *c, bool now)
{
	if (now)
		conn_cut(conn_of(c));
	else
		conn_close_soon(conn_of(c));
}

static const char *host_peer(struct cairn_connection *c)
{
	return side_of(c)->peer;
}

static const char *host_local(struct cairn_connection *c)
{
	return side_of(c)->listener->name;
}

static int host_descriptor(struct cairn_connection *c)
{
	return conn_of(c)->fd;
}

static bool host_admitted(struct cairn_connection *c)
{
	return side_of(c)->admitted;
}

static bool host_login(struct cairn_connection *c, struct cairn_slice user, struct cairn_slice password)
{
	struct gateway *g = side_of(c)->listener->gateway;
	const unsigned char *given = password.data;
	size_t n = strlen(g->password);
	unsigned char differs = password.len != n;

	/* As long for a wrong password as for the right one. */
	for (size_t i = 0; i < password.len; i++)
		differs |= given[i] ^ (unsigned char)g->password[n ? i % n : 0];
	if (!n || differs || !cairn_slice_eq(user, cairn_str("default")))
		return false;
	side_of(c)->admitted = true;
	return true;
}

static bool host_needs_password(void *host)
{
	const struct gateway *g = host;

	return *g->password;
}

static unsigned host_connections(void *host)
{
	const struct gateway *g = host;

	return g->hub.conn_count;
}

static bool take(struct conn *c)
{
	struct side *s = c->state;
	size_t need = 0;

	c->start += s->listener->gateway->ops->data(s->state, conn_input(c), &need);
	c->need = need;
	return false;
}

static bool answer(struct request *r, enum answer kind)
{
	struct side *s = r->conn->state;
	const struct cairn_gateway *ops = s->listener->gateway->ops;

	r->shown.answer = cairn_message_fields(cairn_msg_slice(&r->call.answer));
	r->shown.error = kind == ANSWER_ERROR ? &r->call.error : NULL;
	if (kind != ANSWER_EVENT)
		return ops->done(s->state, &r->shown);
	ops->event(s->state, &r->shown);
	return true;
}

static void refuse(struct conn *c, uint64_t id, const struct cairn_error *error)
{
	(void)id;
	(void)error;
	conn_close_soon(c);
}

static void gone(struct conn *c)
{
	struct side *s = c->state;

	s->listener->gateway->ops->closed(s->state);
	free(s);
}

static const struct face face_gateway = {
	.take = take, .answer = answer, .refuse = refuse, .gone = gone, .always = true
};

static void serve(struct listener *l, int fd)
{
	struct gateway *g = l->gateway;
	struct side *s = calloc(1, sizeof(*s));
	struct conn *c = NULL;
	int on = 1, idle = 300;

	if (s && g->hub.conn_count < g->connections)
		c = conn_new(&g->hub, fd, g->may, g->author);
	if (!c) {
		metrics_add(g->hub.node->metrics, METRIC_CONNECTIONS_REFUSED, 1);
		close(fd);
		free(s);
		return;
	}
	s->listener = l;
	s->admitted = !*g->password;
	if (l->path[0]) {
		snprintf(s->peer, sizeof(s->peer), "%.100s:0", l->path);
	} else {
		listen_address(fd, true, s->peer, sizeof(s->peer));
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	}
	c->state = s;
	s->state = g->ops->accept(g->handle, (struct cairn_connection *)c);
	if (!s->state) {
		c->face = NULL;
		free(s);
		conn_cut(c);
	}
}

static void on_connection(void *arg, unsigned events)
{
	struct listener *l = arg;
	struct gateway *g = l->gateway;

	(void)events;
	for (int i = 0; i < 64; i++) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			serve(l, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			log_error(g->hub.node->log, LOG_GATEWAY, "cannot accept",
				  LOG_TEXT("gateway", g->ops->name), LOG_TEXT("error", strerror(errno)));
			loop_rewatch(l->watch, 0);
			loop_timer_set(l->pause, PAUSE_MS);
		}
		return;
	}
}

static void on_pause_over(void *arg)
{
	struct listener *l = arg;

	if (l->watch)
		loop_rewatch(l->watch, LOOP_READ);
}

/* Cut who took nothing since the last look; at the end, everybody. */
static void on_look(void *arg)
{
	struct gateway *g = arg;

	if (g->hub.closing) {
		hub_cut(&g->hub);
		return;
	}
	for (struct conn *c = g->hub.conns, *next; c; c = next) {
		struct side *s = c->state;
		bool waits = c->fd >= 0 && c->out.len > c->sent;

		next = c->next;
		if (waits && s->waited && s->taken == c->taken) {
			log_info(g->hub.node->log, LOG_GATEWAY, "a client that does not read was cut off",
				 LOG_TEXT("gateway", g->ops->name), LOG_TEXT("client", s->peer));
			conn_cut(c);
			continue;
		}
		s->waited = waits;
		s->taken = c->taken;
	}
	loop_timer_set(g->look, SLOW_MS);
}

static struct listener *add_listener(struct gateway *g, int fd, const char *path)
{
	struct listener *l = calloc(1, sizeof(*l));
	struct loop *loop = g->hub.node->loop;

	if (!l) {
		close(fd);
		return NULL;
	}
	l->gateway = g;
	l->fd = fd;
	snprintf(l->path, sizeof(l->path), "%s", path);
	if (*path)
		snprintf(l->name, sizeof(l->name), "unix:%s", path);
	else
		listen_address(fd, false, l->name, sizeof(l->name));
	l->next = g->listeners;
	g->listeners = l;
	if (loop_timer_new(loop, on_pause_over, l, &l->pause) < 0 ||
	    loop_watch(loop, fd, LOOP_READ, on_connection, l, &l->watch) < 0)
		return NULL;
	log_info(g->hub.node->log, LOG_GATEWAY, "listening", LOG_TEXT("gateway", g->ops->name),
		 LOG_TEXT("address", l->name));
	return l;
}

static enum cairn_code listen_address_of(struct gateway *g, const char *address, bool loopback_only,
					 mode_t mode, struct cairn_error *error)
{
	int fds[LISTEN_MAX];
	enum cairn_code code;
	size_t count = 0;
	bool added = true;

	if (strncmp(address, "unix:", 5) == 0) {
		code = listen_unix("socket", address + 5, mode, (gid_t)-1, &fds[0], error);
		if (!code)
			added = add_listener(g, fds[0], address + 5);
	} else {
		code = listen_tcp("listen", address, loopback_only, fds, &count, error);
		for (size_t i = 0; i < count; i++)
			added = add_listener(g, fds[i], "") && added;
	}
	return code || added ? code
			     : cairn_fail(error, CAIRN_E_INTERNAL, "the loop takes no more descriptors");
}

static enum cairn_code listen_all(struct gateway *g, const struct cairn_value *values,
				  struct cairn_error *error)
{
	bool loopback_only = !*g->password && !values[P_ALLOW_ANONYMOUS].number;
	const char *p = values[P_LISTEN].text;
	enum cairn_code code = CAIRN_OK;
	char address[300], *end;
	mode_t mode = (mode_t)strtoul(values[P_MODE].text, &end, 8);

	if (*end || mode > 0777)
		return cairn_fail(error, CAIRN_E_INVALID,
				  "parameter mode: '%s' is not permission bits such as 0660",
				  values[P_MODE].text);
	while (!code && *(p += strspn(p, " ,\t"))) {
		size_t n = strcspn(p, " ,\t");

		snprintf(address, sizeof(address), "%.*s", (int)n, p);
		code = listen_address_of(g, address, loopback_only, mode, error);
		p += n;
	}
	return code;
}

/* The first line of the file PATH. */
static enum cairn_code read_password(struct gateway *g, const char *path, struct cairn_error *error)
{
	FILE *f = *path ? fopen(path, "re") : NULL;

	if (!*path)
		return CAIRN_OK;
	if (!f)
		return cairn_fail(error, CAIRN_E_INVALID, "password-file %s: %s", path, strerror(errno));
	if (!fgets(g->password, sizeof(g->password), f))
		g->password[0] = 0;
	fclose(f);
	g->password[strcspn(g->password, "\r\n")] = 0;
	return *g->password
		? CAIRN_OK
		: cairn_fail(error, CAIRN_E_INVALID, "password-file %s: its first line is empty", path);
}

static enum cairn_code take_permission(struct gateway *g, const char *text, struct cairn_error *error)
{
	static const char *const names[] = { "read", "write", "admin" };

	for (g->may = CAIRN_MAY_READ; g->may <= CAIRN_MAY_ADMIN; g->may++)
		if (strcmp(text, names[g->may]) == 0)
			return CAIRN_OK;
	return cairn_fail(error, CAIRN_E_INVALID, "parameter permission: '%s' is not read, write or admin",
			  text);
}

/* Parse the settings of G, by the rows that all have and those of its plugin, which come behind them. */
static enum cairn_code parse(struct gateway *g, struct cairn_value **values, struct cairn_error *error)
{
	size_t own = params_count(g->ops->params), count = 0;
	struct cairn_param *rows = calloc(P_COUNT + own + 1, sizeof(*rows));
	const struct setting_gateway *all = settings_gateways(g->hub.node->settings);
	const char *texts[64];
	enum cairn_code code;

	*values = calloc(P_COUNT + own + 1, sizeof(**values));
	if (!rows || !*values) {
		free(rows);
		return cairn_fail(error, CAIRN_E_INTERNAL, "no memory");
	}
	memcpy(rows, gateway_params, P_COUNT * sizeof(*rows));
	if (own)
		memcpy(rows + P_COUNT, g->ops->params, own * sizeof(*rows));
	for (; all && count < 64; all = all->next)
		if (strcmp(all->name, g->ops->name) == 0)
			texts[count++] = all->pair;
	code = params_parse(rows, texts, count, *values, error);
	free(rows);
	return code;
}

static void fill_host(struct gateway *g)
{
	g->host = (struct cairn_gateway_host){
		.size = sizeof(g->host),
		.release = PACKAGE_VERSION,
		.node = g->hub.node->name,
		.request = host_request,
		.start = host_start,
		.finish = host_finish,
		.cancel = host_cancel,
		.out = host_out,
		.unsent = host_unsent,
		.full = host_full,
		.wait = host_wait,
		.end = host_end,
		.peer = host_peer,
		.local = host_local,
		.descriptor = host_descriptor,
		.admitted = host_admitted,
		.login = host_login,
		.needs_password = host_needs_password,
		.host = g,
		.connections = host_connections,
	};
}

static enum cairn_code open_one(struct gateway *g, struct cairn_error *error)
{
	struct node *n = g->hub.node;
	struct cairn_value *values = NULL;
	enum cairn_code code = parse(g, &values, error);

	if (!code)
		code = read_password(g, values[P_PASSWORD_FILE].text, error);
	if (!code)
		code = take_permission(g, values[P_PERMISSION].text, error);
	if (!code) {
		g->connections = (unsigned)values[P_CONNECTIONS].number;
		snprintf(g->author, sizeof(g->author), "%.32s@%.64s", g->ops->face, n->name);
		fill_host(g);
		code = g->ops->open(&g->host, values + P_COUNT, &g->handle, error);
		g->opened = !code;
	}
	if (!code)
		code = listen_all(g, values, error);
	if (!code && loop_timer_new(n->loop, on_look, g, &g->look) < 0)
		code = cairn_fail(error, CAIRN_E_INTERNAL, "no memory");
	if (!code)
		loop_timer_set(g->look, SLOW_MS);
	free(values);
	return code;
}

static struct gateway *find(struct node *n, const char *name)
{
	struct gateway *g = n->gateways;

	while (g && strcmp(g->ops->name, name))
		g = g->next;
	return g;
}

enum cairn_code gateways_open(struct node *n, struct cairn_error *error)
{
	enum cairn_code code = CAIRN_OK;

	for (const struct setting_gateway *s = settings_gateways(n->settings); s && !code; s = s->next) {
		const struct plugin *p;
		struct gateway *g;

		if (find(n, s->name))
			continue;
		code = loader_get(n->loader, PLUGIN_GATEWAY, s->name, &p, error);
		g = code ? NULL : calloc(1, sizeof(*g));
		if (!code && !g)
			code = cairn_fail(error, CAIRN_E_INTERNAL, "no memory");
		if (!code) {
			g->hub = (struct hub){ .node = n, .face = &face_gateway, .name = p->gateway->face };
			g->ops = p->gateway;
			g->next = n->gateways;
			n->gateways = g;
			code = open_one(g, error);
			if (code)
				cairn_error_prefix(error, "gateway %s", s->name);
		}
		if (code)
			cairn_error_prefix(error, "%s", s->where);
	}
	return code;
}

static void stop_listening(struct gateway *g)
{
	for (struct listener *l = g->listeners; l; l = l->next) {
		loop_unwatch(l->watch);
		l->watch = NULL;
		if (l->fd >= 0)
			close(l->fd);
		if (l->fd >= 0 && l->path[0])
			unlink(l->path);
		l->fd = -1;
	}
}

/* One gateway has let go of its clients: the next one, or the end. */
static void close_next(void *arg)
{
	struct node *n = arg;
	struct gateway *g = n->gateways;

	while (g && g->hub.closing)
		g = g->next;
	if (!g) {
		n->gateways_closed(n->gateways_closed_arg);
		return;
	}
	stop_listening(g);
	loop_timer_set(g->look, GRACE_MS);
	hub_close(&g->hub, "", close_next, n);
}

void gateways_close(struct node *n, void (*closed)(void *arg), void *arg)
{
	n->gateways_closed = closed;
	n->gateways_closed_arg = arg;
	close_next(n);
}

void gateways_free(struct node *n)
{
	while (n->gateways) {
		struct gateway *g = n->gateways;

		n->gateways = g->next;
		stop_listening(g);
		if (g->opened)
			g->ops->close(g->handle);
		while (g->listeners) {
			struct listener *l = g->listeners;

			g->listeners = l->next;
			loop_timer_free(l->pause);
			free(l);
		}
		loop_timer_free(g->look);
		hub_free(&g->hub);
		free(g);
	}
}
