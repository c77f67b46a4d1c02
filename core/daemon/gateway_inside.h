/* What the host keeps of a gateway; see gateway.c. */
#ifndef GATEWAY_INSIDE_H
#define GATEWAY_INSIDE_H

#include "conn.h"
#include "gateway.h"

struct listener {
	struct gateway *gateway;
	struct listener *next;
	int fd; /* -1 once it is closed */
	struct loop_watch *watch;
	struct loop_timer *pause; /* accepting goes on after a while without descriptors */
	char path[108];           /* of a socket in the file system; else empty */
	char name[120];           /* its address for people */
};

struct gateway {
	struct hub hub;
	struct gateway *next; /* of the node */
	const struct cairn_gateway *ops;
	void *handle; /* the plugin's */
	bool opened;  /* it has a handle */
	struct cairn_gateway_host host;
	struct listener *listeners;
	struct loop_timer *look; /* at clients that do not read; ends the grace of clients at the end */
	char password[256];      /* empty: none is asked for */
	char author[160];
	enum cairn_permission may;
	unsigned connections; /* most at one time */
};

/* A gateway's part of a connection. */
struct side {
	struct listener *listener;
	void *state;    /* the plugin's */
	bool admitted;  /* may do anything */
	bool waited;    /* something was unsent at the last look, */
	uint64_t taken; /* and so many bytes had been sent */
	char peer[120];
};

#endif
