/* Frames of peers and the bodies of the handshake, as bytes (format.md). Nothing here has a state. */
#ifndef FRAME_H
#define FRAME_H

#include <cairn/slice.h>
#include "peer.h"

#define FRAME_HEAD 24
#define FRAME_VERSION 1 /* newest version of the protocol that we speak */
#define FRAME_OLDEST 1  /* and the oldest */
#define FRAME_HELLO_HEAD 64
#define FRAME_HELLO_MAX (FRAME_HELLO_HEAD + 3 * PEER_NAME_MAX)
#define FRAME_REFUSE_HEAD 16
#define FRAME_GREETING_MAX 16384 /* most bytes of a body before a connection is up */
#define FRAME_PING_SIZE 16
#define FRAME_JOIN_HEAD (TOKEN_ID + KEY_SECRET)

enum frame_kind {
	FRAME_HELLO = 1,
	FRAME_WELCOME,
	FRAME_REFUSE,
	FRAME_PING,
	FRAME_PONG,
	FRAME_JOIN,
	FRAME_JOINED
};

struct frame {
	enum peer_lane lane;
	uint8_t kind;
	uint64_t shard;
	struct cairn_slice body; /* in the input */
};

/* Make the head of a frame whose body are COUNT slices, LEN bytes together. */
void frame_head(unsigned char head[FRAME_HEAD], enum peer_lane lane, uint8_t kind, uint64_t shard,
		const struct cairn_slice *slices, size_t count, size_t len);
/* Bytes of the frame that begins at AT, head included; it was made by frame_head. */
size_t frame_size(const unsigned char *at);

/*
 * Take the frame that INPUT begins with; a body of more than MAX bytes is none. Returns 1; 0 where more bytes
 * are needed, *NEED all together; -EBADMSG with *WHY where the input is no frame.
 */
int frame_take(struct cairn_slice input, size_t max, struct frame *frame, size_t *need, const char **why);

/* Body of HELLO and WELCOME. */
struct frame_hello {
	uint16_t oldest, newest; /* versions that the sender speaks; WELCOME: the one that both do, twice */
	unsigned link;           /* 0: first connection; 1: bulk */
	uint64_t called;         /* id of the node that it wants to talk to */
	uint64_t wall_ns;        /* its clock */
	struct peer_who who;     /* but for protocol and address */
};

/* Bytes written to BODY, which has room for FRAME_HELLO_MAX. */
size_t frame_hello_put(unsigned char *body, const struct frame_hello *hello);
/* 0, or -EBADMSG. Bytes behind what is known are left alone: a newer version may have put them there. */
int frame_hello_get(struct cairn_slice body, struct frame_hello *hello);

/* Body of REFUSE; TEXT is cut at what fits SIZE bytes. */
size_t frame_refuse_put(unsigned char *body, size_t size, enum peer_refusal why, uint64_t id,
			const char *text);
/* 0, or -EBADMSG. TEXT is a line without control bytes. */
int frame_refuse_get(struct cairn_slice body, enum peer_refusal *why, uint64_t *id, char *text, size_t size);

#endif
