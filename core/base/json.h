/*
 * Messages as JSON and back, from the rows of cairn/message.h alone: used by the daemon's control socket and
 * by the command line. Needs jansson, which stays behind this header.
 */
#ifndef JSON_H
#define JSON_H

#include <cairn/errors.h>
#include <cairn/message.h>
#include "buffer.h"

#define JSON_LINE_MAX (256u << 10)   /* longest line of a request, without its newline */
#define JSON_INLINE_MAX 4096u        /* longest value that stands in the line of an answer */
#define JSON_NUMBER_MAX (1ull << 53) /* integers stay below it */

/*
 * FIELDS as an object {"key":"a","revision":3}. Bytes that are UTF-8 without NUL are strings. Others stand as
 * X_base64; but where PAYLOAD is given, a value that is no such text or longer than JSON_INLINE_MAX goes
 * there and leaves {"at":…,"len":…} in its place. Fields must be well formed. Failures stick in the buffers.
 */
void json_print_fields(struct buffer *out, struct cairn_slice fields, struct buffer *payload);
/* TEXT as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void json_print_string(struct buffer *out, struct cairn_slice text);
void json_print_number(struct buffer *out, uint64_t v);
/* {"code":"not-found","message":"…","hint":"…"}, with "revision" for a conflict. */
void json_print_error(struct buffer *out, const struct cairn_error *error);

/* Whether BYTES are UTF-8 without NUL, overlong forms and surrogates refused. */
bool json_is_text(struct cairn_slice bytes);
/* BYTES in base64, with padding. */
void json_print_base64(struct buffer *out, struct cairn_slice bytes);

/* One line of a request, parsed. Zeroed before json_line_read, freed with json_line_free whatever that
 * returned. */
struct json_line {
	void *root; /* the tree */
	bool has_id;
	uint64_t id;      /* 1 to JSON_NUMBER_MAX - 1 */
	const char *name; /* of the operation; NULL where it is missing; valid until json_line_free */
	size_t payload;   /* bytes that follow the line */
	bool lost;        /* nobody knows how many bytes follow: the connection cannot go on */
	char unknown[64]; /* the member that json_line_request did not know, for a hint; else empty */
};

/*
 * Parse LINE: {"id":N,"op":NAME,"args":{…},"payload":N,…}. On INVALID the id and the payload's length are set
 * if they could be found all the same (so that the answer carries the id, and the reader finds the next
 * line), or else LOST is.
 */
enum cairn_code json_line_read(struct json_line *l, struct cairn_slice line, struct cairn_error *error);
/*
 * Add the fields of L, all of them checked, to REQUEST (which the caller began with the operation's number):
 * the members of "args", and "volume", "timeout_ms" and so on from beside it. PAYLOAD has the L->payload
 * bytes behind the line.
 */
enum cairn_code json_line_request(struct json_line *l, struct cairn_slice payload, struct cairn_msg *request,
				  struct cairn_error *error);
void json_line_free(struct json_line *l);

/* Add the members of the one object that TEXT is, as fields, to M. INVALID. */
enum cairn_code json_read_fields(struct cairn_slice text, struct cairn_msg *m, struct cairn_error *error);

#endif
