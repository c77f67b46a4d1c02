/*
 * TLS 1.3 with a pre-shared key, on a socket that does not wait. The key is the cluster's, or a token's, and
 * stands for both sides: no certificates. Keys of each connection are made anew (ECDHE), so that a stolen
 * cluster key opens nothing that was recorded before. The process must ignore SIGPIPE. A connection is for
 * one thread at a time.
 */
#ifndef TLS_H
#define TLS_H

#include <sys/types.h>
#include <sys/uio.h>
#include "key.h"

struct tls_maker; /* what the connections of an endpoint share */
struct tls;       /* one connection */

/* Where secrets come from; all of it stays the caller's, and valid as long as the connections. */
struct tls_secrets {
	const struct peer_keys *keys;   /* NULL: none */
	const struct peer_token *token; /* call with it, not with a key */
	/* A caller has the token ID: its secret. False: it is not known. NULL: there are none. */
	bool (*find)(void *arg, const char *id, unsigned char secret[KEY_SECRET]);
	void *arg;
};

/* UNSUPPORTED where this build has no TLS. */
enum cairn_code tls_maker_new(struct tls_maker **maker, struct cairn_error *error);
void tls_maker_free(struct tls_maker *maker);

/* A connection on FD, which stays the caller's. NULL when there is no memory. */
struct tls *tls_new(struct tls_maker *maker, int fd, bool called, const struct tls_secrets *secrets);
void tls_free(struct tls *t);
/* Go on with the handshake: 1 when it is done, 0 to be called again when the socket can be read (or written,
 * see tls_wants_write), -EACCES or -EPROTO with a sentence in tls_why. */
int tls_handshake(struct tls *t);
bool tls_wants_write(const struct tls *t);
/* What went wrong, in words without the other's address. */
const char *tls_why(const struct tls *t);
/* The id of the key that both have; of a token where tls_is_guest. Valid once the handshake is done. */
const char *tls_key(const struct tls *t);
bool tls_is_guest(const struct tls *t);

/* Bytes read; 0: the other hung up; -EAGAIN; -EPROTO. */
ssize_t tls_read(struct tls *t, void *to, size_t len);
/* Whether bytes wait in it that the socket will not tell of. */
bool tls_has_more(const struct tls *t);
/* Take what fits; the bytes taken. *ERROR is 0, -EAGAIN where the socket took not all of them yet (call
 * tls_flush when it takes more), or another -errno. */
size_t tls_write(struct tls *t, const struct iovec *iov, size_t count, int *error);
/* 0, -EAGAIN, or another -errno. */
int tls_flush(struct tls *t);

#endif
