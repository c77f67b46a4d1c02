/*
 * TLS by OpenSSL. The name of the pre-shared key says which one is meant: "cairn1:key:ID" or
 * "cairn1:token:ID". The caller offers one; the one that was called looks it up. A conversation is only good
 * where the key was taken: there are no certificates to fall back to. What is written gathers in one record,
 * which is sent whole before more is taken, as OpenSSL wants a write that could not be finished to be
 * repeated as it was.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include "tls.h"
#include "banned.h"

#define NAME_KEY "cairn1:key:"
#define NAME_TOKEN "cairn1:token:"
#define KEY_NAME_MAX 64
#define RECORD 16384

struct tls_maker {
	SSL_CTX *ctx;
};

struct tls {
	SSL *ssl;
	struct tls_secrets secrets;
	bool called, guest, wants_write;
	char name[KEY_NAME_MAX]; /* of the key, as it is said */
	char key[KEY_NAME_MAX];  /* its id */
	char why[256];
	size_t out_len;
	unsigned char out[RECORD];
};

/* A session that stands for the pre-shared key SECRET; OpenSSL's from then on. */
static SSL_SESSION *make_session(SSL *ssl, const unsigned char secret[KEY_SECRET])
{
	static const unsigned char suite[] = { 0x13, 0x01 }; /* TLS_AES_128_GCM_SHA256 */
	const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, suite);
	SSL_SESSION *session = SSL_SESSION_new();

	if (session && cipher && SSL_SESSION_set1_master_key(session, secret, KEY_SECRET) &&
	    SSL_SESSION_set_cipher(session, cipher) &&
	    SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION))
		return session;
	SSL_SESSION_free(session);
	return NULL;
}

/* We call: with which key? */
static int on_use(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *len, SSL_SESSION **session)
{
	struct tls *t = SSL_get_app_data(ssl);
	const struct peer_token *token = t->secrets.token;

	(void)md;
	*session = make_session(ssl, token ? token->secret : t->secrets.keys->keys[0].secret);
	*id = (const unsigned char *)t->name;
	*len = strlen(t->name);
	return *session != NULL;
}

/* Somebody calls with the key named ID. No session: it is not known. */
static int on_find(SSL *ssl, const unsigned char *id, size_t len, SSL_SESSION **session)
{
	struct tls *t = SSL_get_app_data(ssl);
	unsigned char secret[KEY_SECRET];
	char name[KEY_NAME_MAX];
	int n = -1;

	*session = NULL;
	snprintf(name, sizeof(name), "%.*s", (int)(len < KEY_NAME_MAX ? len : KEY_NAME_MAX - 1),
		 (const char *)id);
	if (!strncmp(name, NAME_KEY, strlen(NAME_KEY))) {
		snprintf(t->key, sizeof(t->key), "%s", name + strlen(NAME_KEY));
		n = t->secrets.keys ? peer_keys_find(t->secrets.keys, t->key) : -1;
		if (n >= 0)
			*session = make_session(ssl, t->secrets.keys->keys[n].secret);
	} else if (!strncmp(name, NAME_TOKEN, strlen(NAME_TOKEN))) {
		snprintf(t->key, sizeof(t->key), "%s", name + strlen(NAME_TOKEN));
		t->guest = true;
		if (t->secrets.find && t->secrets.find(t->secrets.arg, t->key, secret))
			*session = make_session(ssl, secret);
		explicit_bzero(secret, sizeof(secret));
	}
	return 1;
}

enum cairn_code tls_maker_new(struct tls_maker **out, struct cairn_error *error)
{
	struct tls_maker *maker = calloc(1, sizeof(*maker));

	*out = NULL;
	if (maker)
		maker->ctx = SSL_CTX_new(TLS_method());
	if (!maker || !maker->ctx || !SSL_CTX_set_min_proto_version(maker->ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set_ciphersuites(maker->ctx, "TLS_AES_128_GCM_SHA256") ||
	    !SSL_CTX_set_num_tickets(maker->ctx, 0)) {
		tls_maker_free(maker);
		return cairn_fail(error, CAIRN_E_INTERNAL, "TLS cannot be set up");
	}
	SSL_CTX_set_options(maker->ctx, SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_session_cache_mode(maker->ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(maker->ctx, SSL_VERIFY_PEER, NULL); /* no certificate passes */
	SSL_CTX_set_mode(maker->ctx, SSL_MODE_AUTO_RETRY | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_quiet_shutdown(maker->ctx, 1);
	SSL_CTX_set_read_ahead(maker->ctx, 1);
	SSL_CTX_set_default_read_buffer_len(maker->ctx, 4 * RECORD);
	SSL_CTX_set_psk_use_session_callback(maker->ctx, on_use);
	SSL_CTX_set_psk_find_session_callback(maker->ctx, on_find);
	*out = maker;
	return CAIRN_OK;
}

void tls_maker_free(struct tls_maker *maker)
{
	if (maker)
		SSL_CTX_free(maker->ctx);
	free(maker);
}

struct tls *tls_new(struct tls_maker *maker, int fd, bool called, const struct tls_secrets *secrets)
{
	struct tls *t = malloc(sizeof(*t));
	const struct peer_token *token = secrets->token;

	if (!t)
		return NULL;
	memset(t, 0, offsetof(struct tls, out));
	t->secrets = *secrets;
	t->called = called;
	if (!called) {
		snprintf(t->key, sizeof(t->key), "%s", token ? token->id : secrets->keys->keys[0].id);
		snprintf(t->name, sizeof(t->name), "%s%.40s", token ? NAME_TOKEN : NAME_KEY, t->key);
	}
	t->ssl = SSL_new(maker->ctx);
	if (!t->ssl || !SSL_set_fd(t->ssl, fd) ||
	    (called && !SSL_set_session_id_context(t->ssl, (const unsigned char *)"cairn", 5))) {
		tls_free(t);
		return NULL;
	}
	SSL_set_app_data(t->ssl, t);
	if (called)
		SSL_set_accept_state(t->ssl);
	else
		SSL_set_connect_state(t->ssl);
	return t;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	SSL_free(t->ssl);
	free(t);
}

/* Why the handshake has failed: what the two sides can do about it is a matter of keys, mostly. */
static int refused(struct tls *t, bool hung_up)
{
	const char *kind = t->guest || t->secrets.token ? "token" : "cluster key";

	if (t->called && *t->key)
		snprintf(t->why, sizeof(t->why), "calls with %s %s, which is not known here", kind, t->key);
	else if (t->called)
		snprintf(t->why, sizeof(t->why), "%s",
			 hung_up ? "has hung up" : "does not speak TLS, or has no cluster key");
	else if (hung_up)
		snprintf(t->why, sizeof(t->why), "has hung up: does it speak TLS?");
	else if (t->secrets.token)
		snprintf(t->why, sizeof(t->why),
			 "does not take the token: it was used, is too old, or of another cluster");
	else
		snprintf(t->why, sizeof(t->why),
			 "does not take cluster key %s: it belongs to another cluster, or one of the two "
			 "missed a change of the key",
			 t->key);
	return -EACCES;
}

int tls_handshake(struct tls *t)
{
	int r, error;

	ERR_clear_error();
	r = SSL_do_handshake(t->ssl);
	t->wants_write = false;
	if (r == 1 && SSL_session_reused(t->ssl))
		return 1;
	if (r == 1) /* without our key: nobody whom we know */
		return refused(t, false);
	error = SSL_get_error(t->ssl, r);
	t->wants_write = error == SSL_ERROR_WANT_WRITE;
	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		return 0;
	return refused(t, error == SSL_ERROR_ZERO_RETURN || error == SSL_ERROR_SYSCALL);
}

bool tls_wants_write(const struct tls *t)
{
	return t->wants_write;
}

const char *tls_why(const struct tls *t)
{
	return t->why;
}

const char *tls_key(const struct tls *t)
{
	return t->key;
}

bool tls_is_guest(const struct tls *t)
{
	return t->guest;
}

/* What OpenSSL says of a call that returned R. */
static int outcome(struct tls *t, int r)
{
	switch (SSL_get_error(t->ssl, r)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		return errno ? -errno : 0;
	default:
		return -EPROTO;
	}
}

ssize_t tls_read(struct tls *t, void *to, size_t len)
{
	size_t n;
	int r;

	ERR_clear_error();
	errno = 0;
	r = SSL_read_ex(t->ssl, to, len, &n);
	return r == 1 ? (ssize_t)n : outcome(t, r);
}

bool tls_has_more(const struct tls *t)
{
	return SSL_has_pending(t->ssl);
}

int tls_flush(struct tls *t)
{
	size_t n;
	int r;

	if (!t->out_len)
		return 0;
	ERR_clear_error();
	errno = 0;
	r = SSL_write_ex(t->ssl, t->out, t->out_len, &n);
	if (r == 1) {
		t->out_len = 0;
		return 0;
	}
	r = outcome(t, r);
	return r ? r : -EPIPE;
}

size_t tls_write(struct tls *t, const struct iovec *iov, size_t count, int *error)
{
	size_t taken = 0;

	*error = tls_flush(t);
	for (size_t i = 0; i < count && !*error; i++)
		for (size_t at = 0; at < iov[i].iov_len && !*error;) {
			size_t n = iov[i].iov_len - at, room = RECORD - t->out_len;

			n = n < room ? n : room;
			memcpy(t->out + t->out_len, (const char *)iov[i].iov_base + at, n);
			t->out_len += n;
			at += n;
			taken += n;
			if (t->out_len == RECORD)
				*error = tls_flush(t);
		}
	if (!*error)
		*error = tls_flush(t);
	return taken;
}
