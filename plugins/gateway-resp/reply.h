/* Replies, in both versions of the protocol. */
#ifndef RESP_REPLY_H
#define RESP_REPLY_H

#include <stdint.h>
#include <cairn/slice.h>

struct client;

void reply_raw(struct client *c, const char *text); /* already encoded */
void reply_ok(struct client *c);
void reply_status(struct client *c, const char *text); /* "+TEXT" */
void reply_bulk(struct client *c, struct cairn_slice bytes);
void reply_text(struct client *c, const char *text); /* a bulk string */
__attribute__((format(printf, 2, 3))) void reply_format(struct client *c, const char *format, ...);
/* The same as a verbatim text, where the protocol has that. */
void reply_verbatim(struct client *c, struct cairn_slice text);
void reply_integer(struct client *c, long long n);
void reply_double(struct client *c, double v);
void reply_null(struct client *c);
void reply_null_array(struct client *c);
void reply_array(struct client *c, size_t count);
void reply_map(struct client *c, size_t pairs);
void reply_set(struct client *c, size_t count);
void reply_push(struct client *c, size_t count);
/* "-FORMAT"; control bytes become blanks. */
__attribute__((format(printf, 2, 3))) void reply_error(struct client *c, const char *format, ...);

#endif
