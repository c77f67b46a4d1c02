/*
 * A build without OpenSSL: there is no maker of connections, and so nothing that needs the rest.
 */
#include <errno.h>
#include "tls.h"
#include "banned.h"

enum cairn_code tls_maker_new(struct tls_maker **maker, struct cairn_error *error)
{
	*maker = NULL;
	return cairn_fail(error, CAIRN_E_UNSUPPORTED, "this build has no TLS for peers");
}

void tls_maker_free(struct tls_maker *maker)
{
	(void)maker;
}

/* Nothing makes a connection without a maker: what follows is never called. */
struct tls *tls_new(struct tls_maker *maker, int fd, bool called, const struct tls_secrets *secrets)
{
	(void)maker;
	(void)fd;
	(void)called;
	(void)secrets;
	return NULL;
}

void tls_free(struct tls *t)
{
	(void)t;
}

int tls_handshake(struct tls *t)
{
	(void)t;
	return -EPROTO;
}

bool tls_wants_write(const struct tls *t)
{
	(void)t;
	return false;
}

const char *tls_why(const struct tls *t)
{
	(void)t;
	return "";
}

const char *tls_key(const struct tls *t)
{
	(void)t;
	return "";
}

bool tls_is_guest(const struct tls *t)
{
	(void)t;
	return false;
}

ssize_t tls_read(struct tls *t, void *to, size_t len)
{
	(void)t;
	(void)to;
	(void)len;
	return -EPROTO;
}

bool tls_has_more(const struct tls *t)
{
	(void)t;
	return false;
}

size_t tls_write(struct tls *t, const struct iovec *iov, size_t count, int *error)
{
	(void)t;
	(void)iov;
	(void)count;
	*error = -EPROTO;
	return 0;
}

int tls_flush(struct tls *t)
{
	(void)t;
	return -EPROTO;
}
