/* Replies: each is written straight into the connection's output. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "reply.h"
#include "resp.h"
#include "banned.h"

static void add(struct client *c, const char *bytes, size_t n)
{
	char *p = client_out(c, n);

	if (p && n)
		memcpy(p, bytes, n);
}

/* TYPE, N in decimal, and the end of the line, into TEXT; returns its length. */
static size_t head(char text[32], char type, long long n)
{
	unsigned long long v = n < 0 ? 0 - (unsigned long long)n : (unsigned long long)n;
	char *end = text + 30, *p = end;
	size_t length;

	do {
		*--p = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	if (n < 0)
		*--p = '-';
	*--p = type;
	length = (size_t)(end - p);
	memmove(text, p, length);
	text[length] = '\r';
	text[length + 1] = '\n';
	return length + 2;
}

static void add_head(struct client *c, char type, long long n)
{
	char text[32];

	add(c, text, head(text, type, n));
}

void reply_raw(struct client *c, const char *text)
{
	add(c, text, strlen(text));
}

void reply_ok(struct client *c)
{
	add(c, "+OK\r\n", 5);
}

void reply_status(struct client *c, const char *text)
{
	size_t n = strlen(text);
	char *p = client_out(c, n + 3);

	if (!p)
		return;
	p[0] = '+';
	memcpy(p + 1, text, n);
	memcpy(p + 1 + n, "\r\n", 2);
}

void reply_bulk(struct client *c, struct cairn_slice bytes)
{
	char text[32];
	size_t n = head(text, '$', (long long)bytes.len);
	char *p = client_out(c, n + bytes.len + 2);

	if (!p)
		return;
	memcpy(p, text, n);
	if (bytes.len)
		memcpy(p + n, bytes.data, bytes.len);
	memcpy(p + n + bytes.len, "\r\n", 2);
}

void reply_text(struct client *c, const char *text)
{
	reply_bulk(c, cairn_str(text));
}

void reply_format(struct client *c, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	reply_text(c, text);
}

void reply_verbatim(struct client *c, struct cairn_slice text)
{
	if (c->proto < 3) {
		reply_bulk(c, text);
		return;
	}
	add_head(c, '=', (long long)text.len + 4);
	add(c, "txt:", 4);
	add(c, text.data, text.len);
	add(c, "\r\n", 2);
}

void reply_integer(struct client *c, long long n)
{
	add_head(c, ':', n);
}

void reply_double(struct client *c, double v)
{
	char text[64];

	snprintf(text, sizeof(text), "%.17g", v);
	if (c->proto < 3) {
		reply_text(c, text);
		return;
	}
	add(c, ",", 1);
	reply_raw(c, text);
	add(c, "\r\n", 2);
}

void reply_null(struct client *c)
{
	reply_raw(c, c->proto < 3 ? "$-1\r\n" : "_\r\n");
}

void reply_null_array(struct client *c)
{
	reply_raw(c, c->proto < 3 ? "*-1\r\n" : "_\r\n");
}

void reply_array(struct client *c, size_t count)
{
	add_head(c, '*', (long long)count);
}

void reply_map(struct client *c, size_t pairs)
{
	add_head(c, c->proto < 3 ? '*' : '%', (long long)(c->proto < 3 ? 2 * pairs : pairs));
}

void reply_set(struct client *c, size_t count)
{
	add_head(c, c->proto < 3 ? '*' : '~', (long long)count);
}

void reply_push(struct client *c, size_t count)
{
	add_head(c, c->proto < 3 ? '*' : '>', (long long)count);
}

void reply_error(struct client *c, const char *format, ...)
{
	char text[700];
	va_list args;
	size_t n;

	text[0] = '-';
	va_start(args, format);
	vsnprintf(text + 1, sizeof(text) - 3, format, args);
	va_end(args);
	n = strlen(text);
	for (size_t i = 0; i < n; i++)
		if (text[i] == '\r' || text[i] == '\n')
			text[i] = ' ';
	memcpy(text + n, "\r\n", 2);
	add(c, text, n + 2);
}
