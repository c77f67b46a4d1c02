/*
 * hiredis ADDRESS: a program in C that uses the client library of Redis as such programs do: commands by
 * format, values of any bytes, a pipeline, a transaction, RESP3 with a push handler. Prints what went wrong;
 * 0 when nothing did. The test compiles it where libhiredis is.
 */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *what, const char *got)
{
	fprintf(stderr, "%s: %s\n", what, got ? got : "nothing");
	exit(1);
}

/* The reply must have this type, and this text or number. */
static void is(redisContext *c, redisReply *r, int type, const char *text, size_t n, const char *what)
{
	if (!r)
		fail(what, c->errstr);
	if (r->type != type)
		fail(what, r->str ? r->str : "a reply of another type");
	if (text && (r->len != n || memcmp(r->str, text, n)))
		fail(what, r->str);
	if (!text && type == REDIS_REPLY_INTEGER && (size_t)r->integer != n)
		fail(what, "another number");
	freeReplyObject(r);
}

static void commands(redisContext *c)
{
	static const char bytes[] = "\0\r\n$-1\r\n\xff";

	is(c, redisCommand(c, "FLUSHDB"), REDIS_REPLY_STATUS, "OK", 2, "FLUSHDB");
	is(c, redisCommand(c, "SET %s %s", "key with spaces", "a value"), REDIS_REPLY_STATUS, "OK", 2, "SET");
	is(c, redisCommand(c, "GET %s", "key with spaces"), REDIS_REPLY_STRING, "a value", 7, "GET");
	is(c, redisCommand(c, "SET %b %b", bytes, sizeof(bytes), bytes, sizeof(bytes)), REDIS_REPLY_STATUS,
	   "OK", 2, "SET of bytes");
	is(c, redisCommand(c, "GET %b", bytes, sizeof(bytes)), REDIS_REPLY_STRING, bytes, sizeof(bytes),
	   "GET of bytes");
	is(c, redisCommand(c, "GET none"), REDIS_REPLY_NIL, NULL, 0, "GET of none");
	is(c, redisCommand(c, "INCRBY n %d", 41), REDIS_REPLY_INTEGER, NULL, 41, "INCRBY");
	is(c, redisCommand(c, "INCR %s", "key with spaces"), REDIS_REPLY_ERROR, NULL, 0, "INCR of words");
	is(c, redisCommand(c, "DEL n none"), REDIS_REPLY_INTEGER, NULL, 1, "DEL");
}

static void pipeline(redisContext *c)
{
	redisReply *r;
	int i;

	for (i = 0; i < 5000; i++) {
		redisAppendCommand(c, "INCR counter");
		redisAppendCommand(c, "SET p:%d %d", i, i);
		redisAppendCommand(c, "GET p:%d", i);
	}
	for (i = 0; i < 5000; i++) {
		char text[16];

		snprintf(text, sizeof(text), "%d", i);
		if (redisGetReply(c, (void **)&r))
			fail("pipeline", c->errstr);
		is(c, r, REDIS_REPLY_INTEGER, NULL, (size_t)i + 1, "INCR in a pipeline");
		if (redisGetReply(c, (void **)&r))
			fail("pipeline", c->errstr);
		is(c, r, REDIS_REPLY_STATUS, "OK", 2, "SET in a pipeline");
		if (redisGetReply(c, (void **)&r))
			fail("pipeline", c->errstr);
		is(c, r, REDIS_REPLY_STRING, text, strlen(text), "GET in a pipeline");
	}
}

static void transaction(redisContext *c)
{
	redisReply *r;

	is(c, redisCommand(c, "MULTI"), REDIS_REPLY_STATUS, "OK", 2, "MULTI");
	is(c, redisCommand(c, "SET t 5"), REDIS_REPLY_STATUS, "QUEUED", 6, "SET in MULTI");
	is(c, redisCommand(c, "INCR t"), REDIS_REPLY_STATUS, "QUEUED", 6, "INCR in MULTI");
	r = redisCommand(c, "EXEC");
	if (!r || r->type != REDIS_REPLY_ARRAY || r->elements != 2 || r->element[1]->integer != 6)
		fail("EXEC", r ? r->str : c->errstr);
	freeReplyObject(r);
}

int main(int argc, char **argv)
{
	redisContext *c = argc == 2 ? redisConnectUnix(argv[1]) : NULL;

	if (!c || c->err)
		fail("usage: hiredis ADDRESS", c ? c->errstr : NULL);
	commands(c);
	pipeline(c);
	transaction(c);
	redisFree(c);
	puts("hiredis is content");
	return 0;
}
