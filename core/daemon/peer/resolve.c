/*
 * Addresses: taken apart, and names looked up where it may take long: in a worker. What a lookup holds is
 * freed by whichever ends last, the worker or the one that asked; an answer that nobody waits for any more is
 * dropped.
 */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "amount.h"
#include "inside.h"
#include "banned.h"

struct resolve {
	struct pool_task work;
	struct loop_task done_task;
	struct loop *loop;
	void (*done)(void *arg, int code, const struct sockaddr *address, socklen_t len);
	void *arg;
	bool dropped; /* nobody waits; the loop's */
	int code;
	struct sockaddr_storage address;
	socklen_t len;
	char host[PEER_ADDRESS_MAX + 1], port[8];
};

bool peer_address_parse(const char *text, char *host, uint16_t *port)
{
	const char *end = text + strlen(text), *colon;
	uint64_t number = PEER_PORT;
	struct cairn_slice rest;
	size_t n;

	if (*text == '[') {
		text++;
		end = strchr(text, ']');
		if (!end || (end[1] && end[1] != ':'))
			return false;
		colon = end[1] ? end + 1 : NULL;
	} else {
		colon = strrchr(text, ':');
		if (colon && strchr(text, ':') == colon)
			end = colon;
		else
			colon = NULL; /* none, or an address of version 6 without a port */
	}
	n = (size_t)(end - text);
	rest = cairn_str(colon ? colon + 1 : "");
	if (colon && (!amount_number(&rest, &number) || rest.len || number > 65535))
		return false;
	if (n == 0 || n > PEER_ADDRESS_MAX - 8)
		return false;
	memcpy(host, text, n);
	host[n] = 0;
	*port = (uint16_t)number;
	return strcspn(host, " \t/\"'[]") == n;
}

static void look_up(struct resolve *r, int flags)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags }, *found = NULL;

	r->code = getaddrinfo(r->host, r->port, &hints, &found);
	if (r->code == 0) {
		memcpy(&r->address, found->ai_addr, found->ai_addrlen);
		r->len = found->ai_addrlen;
	}
	if (found)
		freeaddrinfo(found);
}

static void on_done(struct loop_task *t)
{
	struct resolve *r = (struct resolve *)((char *)t - offsetof(struct resolve, done_task));

	if (!r->dropped)
		r->done(r->arg, r->code, (struct sockaddr *)&r->address, r->len);
	free(r);
}

static void on_work(struct pool_task *t)
{
	struct resolve *r = (struct resolve *)t;

	look_up(r, 0);
	loop_post(r->loop, &r->done_task);
}

struct resolve *
resolve_start(struct loop *loop, struct pool *pool, const char *host, uint16_t port,
	      void (*done)(void *arg, int code, const struct sockaddr *address, socklen_t len), void *arg)
{
	struct resolve *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->work.run = on_work;
	r->done_task.run = on_done;
	r->loop = loop;
	r->done = done;
	r->arg = arg;
	snprintf(r->host, sizeof(r->host), "%s", host);
	snprintf(r->port, sizeof(r->port), "%u", port);
	look_up(r, AI_NUMERICHOST);
	if (r->code && pool) {
		pool_post(pool, &r->work);
		return r;
	}
	if (r->code)
		look_up(r, 0);
	loop_post(loop, &r->done_task);
	return r;
}

void resolve_drop(struct resolve *r)
{
	if (r)
		r->dropped = true;
}
