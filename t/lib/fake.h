/*
 * A server made by a test: a thread that listens on a Unix socket in a folder of its own and gives every
 * connection to the test's function. Connections are served one after the other; the function closes nothing.
 */
#ifndef FAKE_H
#define FAKE_H

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <cairn/errors.h>
#include <cairn/message.h>
#include <cairn/operations.h>
#include "le.h"
#include "tap.h"

struct fake;
typedef void fake_serve_fn(struct fake *f, int fd, int nth);

struct fake {
	char folder[64], path[96], server[128]; /* server: "unix:PATH" */
	int listener;
	pthread_t thread;
	fake_serve_fn *serve;
	void *arg; /* the test's */
	int connections;
};

/* A request as it arrived. Zero it first; the next read into it frees what it held. */
struct fake_request {
	uint64_t id;
	unsigned number;
	unsigned char *bytes;
	struct cairn_slice fields;
};

static bool fake_read(int fd, void *p, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = recv(fd, (char *)p + at, len - at, 0);

		if (n <= 0)
			return false;
		at += (size_t)n;
	}
	return true;
}

static bool fake_write(int fd, const void *p, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = send(fd, (const char *)p + at, len - at, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		at += (size_t)n;
	}
	return true;
}

/* The first line and the four bytes that answer it. */
__attribute__((unused)) static bool fake_greet(int fd)
{
	static const char line[] = "{\"cairn\":\"0.1.0\",\"protocol\":1,\"node\":\"fake\"}\n";
	char magic[4];

	return fake_write(fd, line, sizeof(line) - 1) && fake_read(fd, magic, 4) &&
		memcmp(magic, "\xcaRN1", 4) == 0;
}

/* The next request; false when the client has gone. */
static bool fake_request(int fd, struct fake_request *r)
{
	unsigned char head[12];
	uint32_t len;

	free(r->bytes);
	r->bytes = NULL;
	if (!fake_read(fd, head, sizeof(head)))
		return false;
	len = le32_get(head) - 8;
	r->id = le64_get(head + 4);
	r->bytes = malloc(len + 1);
	if (!r->bytes || !fake_read(fd, r->bytes, len)) {
		free(r->bytes);
		r->bytes = NULL;
		return false;
	}
	r->number = cairn_message_number(cairn_slice(r->bytes, len));
	r->fields = cairn_message_fields(cairn_slice(r->bytes, len));
	return true;
}

/* One frame: KIND 0 final, 1 error, 2 event; M holds the message (its number is the error's). */
static bool fake_answer(int fd, uint64_t id, unsigned char kind, const struct cairn_msg *m)
{
	unsigned char head[16] = { 0 };

	le32_put(head, (uint32_t)(12 + m->len));
	le64_put(head + 4, id);
	head[12] = kind;
	return fake_write(fd, head, sizeof(head)) && fake_write(fd, m->data, m->len);
}

/* Final answer with one number, or with none where FIELD is 0. */
static bool fake_number(int fd, uint64_t id, unsigned field, uint64_t v)
{
	struct cairn_msg m = { 0 };
	bool sent;

	cairn_msg_start(&m, 0);
	if (field)
		cairn_msg_u64(&m, field, v);
	sent = fake_answer(fd, id, 0, &m);
	cairn_msg_free(&m);
	return sent;
}

__attribute__((unused)) static bool fake_error(int fd, uint64_t id, unsigned code, const char *sentence)
{
	struct cairn_msg m = { 0 };
	bool sent;

	cairn_msg_start(&m, code);
	cairn_msg_text(&m, CAIRN_F_MESSAGE, sentence);
	sent = fake_answer(fd, id, 1, &m);
	cairn_msg_free(&m);
	return sent;
}

/* The next request that is no ping; pings are answered with the applied index APPLIED. */
__attribute__((unused)) static bool fake_next(int fd, struct fake_request *r, uint64_t applied)
{
	while (fake_request(fd, r)) {
		if (r->number != CAIRN_OP_PING)
			return true;
		if (!fake_number(fd, r->id, CAIRN_F_APPLIED, applied))
			break;
	}
	return false;
}

static void *fake_thread(void *arg)
{
	struct fake *f = arg;
	int fd;

	while ((fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		f->serve(f, fd, f->connections++);
		close(fd);
	}
	return NULL;
}

static void fake_start(struct fake *f, fake_serve_fn *serve, void *arg)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	*f = (struct fake){ .serve = serve, .arg = arg };
	snprintf(f->folder, sizeof(f->folder), "/tmp/cairn-fake.XXXXXX");
	if (!mkdtemp(f->folder))
		bail("no folder: %s", strerror(errno));
	snprintf(f->path, sizeof(f->path), "%s/socket", f->folder);
	snprintf(f->server, sizeof(f->server), "unix:%s", f->path);
	memcpy(at.sun_path, f->path, strlen(f->path));
	f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (f->listener < 0 || bind(f->listener, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    listen(f->listener, 16) < 0 || pthread_create(&f->thread, NULL, fake_thread, f) != 0)
		bail("no listener: %s", strerror(errno));
}

/* Ends the thread once its present connection has ended: close the client first. */
static void fake_stop(struct fake *f)
{
	shutdown(f->listener, SHUT_RDWR);
	pthread_join(f->thread, NULL);
	close(f->listener);
	unlink(f->path);
	rmdir(f->folder);
}

#endif
