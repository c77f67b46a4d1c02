/*
 * JSON from fields and fields from JSON, both by the rows of cairn/message.h. Printing goes straight from the
 * fields into a buffer. Reading lets jansson parse the line and walks its tree once; what does not fit is
 * refused with a sentence that names the member. Nothing here knows which arguments an operation takes.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <cairn/operations.h>
#include "clock.h"
#include "json.h"
#include "banned.h"

/* Bytes of the UTF-8 character at P (N bytes are there); 0 where it is none. */
static size_t character(const unsigned char *p, size_t n)
{
	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || n < 2 || (p[1] & 0xc0) != 0x80)
		return 0;
	if (p[0] < 0xe0)
		return 2;
	if (n < 3 || (p[2] & 0xc0) != 0x80)
		return 0;
	if (p[0] < 0xf0)
		return (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) ? 0 : 3;
	if (n < 4 || (p[3] & 0xc0) != 0x80 || p[0] > 0xf4)
		return 0;
	return (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90) ? 0 : 4;
}

/* How many bytes at P, at most N, are plain ASCII that stands in a JSON string as it is. Eight at a time, as
 * most text is that. */
static size_t plain_run(const unsigned char *p, size_t n)
{
	const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
	size_t i = 0;

	for (; i + 8 <= n; i += 8) {
		uint64_t v, quote, backslash;

		memcpy(&v, p + i, 8);
		quote = v ^ '"' * ones;
		backslash = v ^ '\\' * ones;
		if ((v | (v - 0x20 * ones) | (quote - ones) | (backslash - ones)) & tops)
			break;
	}
	return i;
}

bool json_is_text(struct cairn_slice bytes)
{
	const unsigned char *p = bytes.data;

	for (size_t i = 0, n; i < bytes.len; i += n) {
		n = p[i] < 0x80 ? plain_run(p + i, bytes.len - i) : 0;
		if (n == 0)
			n = p[i] == 0 ? 0 : character(p + i, bytes.len - i);
		if (n == 0)
			return false;
	}
	return true;
}

static void escape(struct buffer *out, unsigned char c)
{
	static const char letters[0x20] = {
		['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'
	};

	if (c >= 0x20)
		buffer_printf(out, "\\%c", c);
	else if (letters[c])
		buffer_printf(out, "\\%c", letters[c]);
	else
		buffer_printf(out, "\\u%04x", c);
}

void json_print_string(struct buffer *out, struct cairn_slice text)
{
	const unsigned char *p = text.data;
	size_t plain = 0, i = 0;

	buffer_byte(out, '"');
	while (i < text.len) {
		size_t n = p[i] < 0x80 ? plain_run(p + i, text.len - i) : 0;

		if (n) {
			i += n;
			continue;
		}
		n = character(p + i, text.len - i);

		if (n > 1 || (n == 1 && p[i] >= 0x20 && p[i] != '"' && p[i] != '\\')) {
			i += n;
			continue;
		}
		buffer_add(out, cairn_slice(p + plain, i - plain));
		if (n == 0)
			buffer_text(out, "\xef\xbf\xbd");
		else
			escape(out, p[i]);
		plain = ++i;
	}
	if (i > plain)
		buffer_add(out, cairn_slice(p + plain, i - plain));
	buffer_byte(out, '"');
}

static const char digits64[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void json_print_base64(struct buffer *out, struct cairn_slice bytes)
{
	const unsigned char *p = bytes.data;
	char *to = buffer_room(out, (bytes.len + 2) / 3 * 4);

	if (!to)
		return;
	for (size_t i = 0; i < bytes.len; i += 3) {
		size_t n = bytes.len - i;
		unsigned long v = (unsigned long)p[i] << 16;

		v |= n > 1 ? (unsigned long)p[i + 1] << 8 : 0;
		v |= n > 2 ? p[i + 2] : 0;
		*to++ = digits64[v >> 18];
		*to++ = digits64[v >> 12 & 63];
		*to++ = n > 1 ? digits64[v >> 6 & 63] : '=';
		*to++ = n > 2 ? digits64[v & 63] : '=';
	}
}

/* Decode TEXT (padded base64) to TO, which has room for 3 bytes for every 4; the number of bytes, -1 where it
 * is none. */
static long base64_decode(const char *text, size_t len, unsigned char *to)
{
	unsigned char *start = to;

	if (len % 4)
		return -1;
	for (size_t i = 0; i < len; i += 4) {
		size_t pad = i + 4 < len || text[i + 3] != '=' ? 0 : text[i + 2] == '=' ? 2 : 1;
		unsigned long v = 0;

		for (size_t j = 0; j < 4; j++) {
			const char *digit = j < 4 - pad ? memchr(digits64, text[i + j], 64) : digits64;

			if (!digit)
				return -1;
			v = v << 6 | (unsigned long)(digit - digits64);
		}
		for (size_t j = 0; j < 3 - pad; j++)
			*to++ = (unsigned char)(v >> (16 - 8 * j));
		if (v & (pad ? (1ul << 8 * pad) - 1 : 0))
			return -1;
	}
	return to - start;
}

void json_print_number(struct buffer *out, uint64_t v)
{
	char digits[20];
	size_t n = sizeof(digits);

	do
		digits[--n] = (char)('0' + v % 10);
	while (v /= 10);
	buffer_add(out, cairn_slice(digits + n, sizeof(digits) - n));
}

/* "NAME": with its suffix. */
static void member(struct buffer *out, const char *name, const char *suffix)
{
	buffer_byte(out, '"');
	buffer_text(out, name);
	buffer_text(out, suffix);
	buffer_add(out, cairn_slice("\":", 2));
}

static void bytes(struct buffer *out, unsigned field, const char *name, struct cairn_slice body,
		  struct buffer *payload)
{
	bool text = json_is_text(body);

	if (payload && field == CAIRN_F_VALUE && (!text || body.len > JSON_INLINE_MAX)) {
		member(out, name, "");
		buffer_printf(out, "{\"at\":%zu,\"len\":%zu}", payload->len, body.len);
		buffer_add(payload, body);
	} else if (text) {
		member(out, name, "");
		json_print_string(out, body);
	} else {
		member(out, name, "_base64");
		buffer_byte(out, '"');
		json_print_base64(out, body);
		buffer_byte(out, '"');
	}
}

static void time_or_id(struct buffer *out, enum cairn_type type, struct cairn_slice body)
{
	char text[CLOCK_TEXT];

	buffer_byte(out, '"');
	if (type == CAIRN_T_TIME) {
		clock_format(cairn_body_u64(body), text);
		buffer_text(out, text);
	} else {
		for (size_t i = 0; i < body.len; i++) {
			buffer_byte(out, "0123456789abcdef"[((const unsigned char *)body.data)[i] >> 4]);
			buffer_byte(out, "0123456789abcdef"[((const unsigned char *)body.data)[i] & 15]);
		}
	}
	buffer_byte(out, '"');
}

/* One value without its name; bytes are dealt with before. */
static void value(struct buffer *out, enum cairn_type type, struct cairn_slice body, struct buffer *payload)
{
	const struct cairn_operation_row *op;
	int64_t n;

	switch (type) {
	case CAIRN_T_U64:
		json_print_number(out, cairn_body_u64(body));
		break;
	case CAIRN_T_I64:
		n = (int64_t)cairn_body_u64(body);
		if (n < 0)
			buffer_byte(out, '-');
		json_print_number(out, n < 0 ? 0 - (uint64_t)n : (uint64_t)n);
		break;
	case CAIRN_T_BOOL:
		buffer_text(out, body.len == 1 && *(const char *)body.data ? "true" : "false");
		break;
	case CAIRN_T_TIME:
	case CAIRN_T_ID:
		time_or_id(out, type, body);
		break;
	case CAIRN_T_KIND:
		json_print_string(
			out,
			cairn_str(cairn_kind_name(body.len == 1 ? *(const unsigned char *)body.data : 255)));
		break;
	case CAIRN_T_OBJECT:
	case CAIRN_T_LIST:
		json_print_fields(out, body, payload);
		break;
	case CAIRN_T_OPERATIONS:
		op = cairn_operation_row(cairn_message_number(body));
		buffer_text(out, "{\"op\":");
		json_print_string(out, cairn_str(op ? op->name : "?"));
		buffer_text(out, ",\"args\":");
		json_print_fields(out, cairn_message_fields(body), payload);
		buffer_byte(out, '}');
		break;
	case CAIRN_T_BYTES:
	case CAIRN_T_TEXT:
	case CAIRN_T_TEXTS:
		json_print_string(out, body);
		break;
	}
}

static bool is_list(enum cairn_type type)
{
	return type == CAIRN_T_LIST || type == CAIRN_T_TEXTS || type == CAIRN_T_OPERATIONS;
}

/* An array of BODY and of every further item of FIELD in REST. */
static void list(struct buffer *out, unsigned field, const struct cairn_field_row *row,
		 struct cairn_slice body, struct cairn_slice rest, struct buffer *payload)
{
	unsigned next = field;

	member(out, row->json, "");
	buffer_byte(out, '[');
	value(out, row->type, body, payload);
	while (cairn_field_next(&rest, &next, &body) == 0 && next != CAIRN_F_END)
		if (next == field) {
			buffer_byte(out, ',');
			value(out, row->type, body, payload);
		}
	buffer_byte(out, ']');
}

void json_print_fields(struct buffer *out, struct cairn_slice fields, struct buffer *payload)
{
	uint64_t seen[4] = { 0 };
	struct cairn_slice body;
	unsigned field;
	char separator = '{';

	while (cairn_field_next(&fields, &field, &body) == 0 && field != CAIRN_F_END) {
		const struct cairn_field_row *row = cairn_field_row(field);

		if (!row || seen[field / 64] & 1ull << field % 64)
			continue;
		seen[field / 64] |= 1ull << field % 64;
		buffer_byte(out, separator);
		separator = ',';
		if (is_list(row->type)) {
			list(out, field, row, body, fields, payload);
		} else if (row->type == CAIRN_T_BYTES) {
			bytes(out, field, row->json, body, payload);
		} else {
			member(out, row->json, "");
			value(out, row->type, body, payload);
		}
	}
	if (separator == '{')
		buffer_byte(out, '{');
	buffer_byte(out, '}');
}

void json_print_error(struct buffer *out, const struct cairn_error *error)
{
	buffer_text(out, "{\"code\":");
	json_print_string(out, cairn_str(cairn_error_row(error->code)->name));
	buffer_text(out, ",\"message\":");
	json_print_string(out, cairn_str(error->message));
	if (error->code == CAIRN_E_CONFLICT || error->revision) {
		buffer_text(out, ",\"revision\":");
		json_print_number(out, error->revision);
	}
	if (error->hint[0]) {
		buffer_text(out, ",\"hint\":");
		json_print_string(out, cairn_str(error->hint));
	}
	buffer_byte(out, '}');
}

/* What a line is turned into fields with. */
struct reader {
	struct json_line *line;
	struct cairn_slice payload;
	struct cairn_msg *request;
	struct cairn_error *error;
};

/* The object that members are read from. */
struct level {
	int depth;
	uint64_t seen[4]; /* fields so far, one bit each */
};

static enum cairn_code members(struct reader *r, json_t *object, struct level *level);

/* The number of the field whose JSON name is the LEN bytes at NAME; 0 where there is none. */
static unsigned field_by_name(const char *name, size_t len)
{
	static const unsigned char lengths[CAIRN_FIELD_COUNT] = {
#define X(number, id, json, type, meaning) [number] = sizeof(json) - 1,
		CAIRN_FIELDS(X)
#undef X
	};

	for (unsigned f = 1; f < CAIRN_FIELD_COUNT; f++)
		if (len && lengths[f] == len && memcmp(cairn_field_row(f)->json, name, len) == 0)
			return f;
	return 0;
}

static enum cairn_code wanted(struct reader *r, const char *name, const char *what)
{
	return cairn_fail(r->error, CAIRN_E_INVALID, "argument '%.64s' must be %s", name, what);
}

/* {"at":A,"len":L}: that part of the payload. */
static enum cairn_code read_place(struct reader *r, unsigned field, const char *name, json_t *v)
{
	json_t *at = json_object_get(v, "at"), *len = json_object_get(v, "len");
	size_t all = r->payload.len, a, n;

	if (!json_is_integer(at) || !json_is_integer(len) || json_object_size(v) != 2)
		return wanted(r, name, "a string, or a place in the payload: {\"at\":N,\"len\":N}");
	a = (size_t)json_integer_value(at);
	n = (size_t)json_integer_value(len);
	if (json_integer_value(at) < 0 || json_integer_value(len) < 0 || a > all || n > all - a)
		return cairn_fail(r->error, CAIRN_E_INVALID,
				  "argument '%.64s' lies outside the payload of %zu bytes", name, all);
	cairn_msg_bytes(r->request, field, cairn_slice((const char *)r->payload.data + a, n));
	return CAIRN_OK;
}

static enum cairn_code read_base64(struct reader *r, unsigned field, const char *name, json_t *v)
{
	size_t len = json_string_length(v), mark = r->request->len;
	long n = -1;

	if (json_is_string(v)) {
		unsigned char *to = cairn_msg_room(r->request, field, len / 4 * 3);

		n = to ? base64_decode(json_string_value(v), len, to) : 0;
	}
	if (n < 0) {
		cairn_msg_truncate(r->request, mark);
		return wanted(r, name, "base64 with padding");
	}
	if (cairn_msg_error(r->request) == 0) {
		r->request->len = mark + CAIRN_FIELD_HEAD + (size_t)n;
		cairn_msg_close(r->request, mark);
	}
	return CAIRN_OK;
}

static int hex(char c)
{
	return c >= '0' && c <= '9'    ? c - '0'
		: c >= 'a' && c <= 'f' ? c - 'a' + 10
		: c >= 'A' && c <= 'F' ? c - 'A' + 10
				       : -1;
}

static enum cairn_code read_id(struct reader *r, unsigned field, const char *name, json_t *v)
{
	const char *text = json_string_value(v);
	unsigned char id[16];

	if (!text || json_string_length(v) != 32)
		return wanted(r, name, "32 hexadecimal digits");
	for (int i = 0; i < 16; i++) {
		if (hex(text[2 * i]) < 0 || hex(text[2 * i + 1]) < 0)
			return wanted(r, name, "32 hexadecimal digits");
		id[i] = (unsigned char)(hex(text[2 * i]) << 4 | hex(text[2 * i + 1]));
	}
	cairn_msg_bytes(r->request, field, cairn_slice(id, sizeof(id)));
	return CAIRN_OK;
}

static enum cairn_code read_kind(struct reader *r, unsigned field, const char *name, json_t *v)
{
	for (unsigned k = 0; json_is_string(v) && k < CAIRN_KIND_COUNT; k++)
		if (strcmp(json_string_value(v), cairn_kind_name(k)) == 0) {
			cairn_msg_kind(r->request, field, k);
			return CAIRN_OK;
		}
	return wanted(r, name, "value, directory, symlink, fifo, socket, character or block");
}

static enum cairn_code read_scalar(struct reader *r, unsigned field, enum cairn_type type, const char *name,
				   json_t *v)
{
	json_int_t n = json_integer_value(v);
	uint64_t ns;

	switch (type) {
	case CAIRN_T_U64:
		if (!json_is_integer(v) || n < 0 || (uint64_t)n >= JSON_NUMBER_MAX)
			return wanted(r, name, "an integer from 0 to 2^53 - 1");
		cairn_msg_u64(r->request, field, (uint64_t)n);
		return CAIRN_OK;
	case CAIRN_T_I64:
		if (!json_is_integer(v) || n <= -(json_int_t)JSON_NUMBER_MAX ||
		    n >= (json_int_t)JSON_NUMBER_MAX)
			return wanted(r, name, "an integer between -2^53 and 2^53");
		cairn_msg_u64(r->request, field, (uint64_t)n);
		return CAIRN_OK;
	case CAIRN_T_BOOL:
		if (!json_is_boolean(v))
			return wanted(r, name, "true or false");
		cairn_msg_bool(r->request, field, json_is_true(v));
		return CAIRN_OK;
	case CAIRN_T_TIME:
		if (!json_is_string(v) || !clock_parse(json_string_value(v), json_string_length(v), &ns))
			return wanted(r, name, "a time such as 2026-11-20T10:05:01.000000000Z");
		cairn_msg_u64(r->request, field, ns);
		return CAIRN_OK;
	case CAIRN_T_ID:
		return read_id(r, field, name, v);
	case CAIRN_T_KIND:
		return read_kind(r, field, name, v);
	default:
		if (!json_is_string(v))
			return wanted(r, name, "a string");
		cairn_msg_bytes(r->request, field, cairn_slice(json_string_value(v), json_string_length(v)));
		return CAIRN_OK;
	}
}

/* {"op":NAME,"args":{…}} inside a transaction. */
static enum cairn_code read_operation(struct reader *r, unsigned field, const char *name, json_t *v,
				      int depth)
{
	json_t *op = json_object_get(v, "op"), *args = json_object_get(v, "args");
	enum cairn_code code = CAIRN_OK;
	unsigned number;
	size_t mark;

	if (!json_is_string(op) || (args && !json_is_object(args)) || json_object_size(v) != (args ? 2 : 1))
		return wanted(r, name, "an array of operations: {\"op\":NAME,\"args\":{...}}");
	number = cairn_operation_by_name(cairn_str(json_string_value(op)));
	if (number == 0)
		return cairn_fail(r->error, CAIRN_E_INVALID, "no operation '%.64s'", json_string_value(op));
	mark = cairn_msg_open_op(r->request, field, number);
	if (args)
		code = members(r, args, &(struct level){ .depth = depth + 1 });
	cairn_msg_close(r->request, mark);
	return code;
}

static enum cairn_code read_object(struct reader *r, unsigned field, const char *name, json_t *v, int depth)
{
	enum cairn_code code;
	size_t mark;

	if (!json_is_object(v))
		return wanted(r, name, "an object");
	mark = cairn_msg_open(r->request, field);
	code = members(r, v, &(struct level){ .depth = depth + 1 });
	cairn_msg_close(r->request, mark);
	return code;
}

static enum cairn_code read_list(struct reader *r, unsigned field, enum cairn_type type, const char *name,
				 json_t *v, int depth)
{
	enum cairn_code code = CAIRN_OK;
	size_t i;
	json_t *item;

	if (!json_is_array(v))
		return wanted(r, name, "an array");
	json_array_foreach(v, i, item)
	{
		if (type == CAIRN_T_TEXTS)
			code = read_scalar(r, field, type, name, item);
		else if (type == CAIRN_T_OPERATIONS)
			code = read_operation(r, field, name, item, depth);
		else
			code = read_object(r, field, name, item, depth);
		if (code)
			return code;
	}
	return CAIRN_OK;
}

/* The field that the member NAME stands for, *BASE64 whether it is X_base64; 0 where there is none. */
static unsigned field_of_member(const char *name, bool *base64)
{
	static const char suffix[] = "_base64";
	size_t len = strlen(name), tail = sizeof(suffix) - 1;
	unsigned field = field_by_name(name, len);

	*base64 = !field && len > tail && strcmp(name + len - tail, suffix) == 0;
	if (!*base64)
		return field;
	field = field_by_name(name, len - tail);
	return field && cairn_field_row(field)->type == CAIRN_T_BYTES ? field : 0;
}

static enum cairn_code read_member(struct reader *r, const char *name, json_t *v, struct level *level)
{
	bool base64;
	unsigned field = field_of_member(name, &base64);
	enum cairn_type type;

	if (!field) {
		snprintf(r->line->unknown, sizeof(r->line->unknown), "%s", name);
		return cairn_fail(r->error, CAIRN_E_INVALID, "no argument '%.64s'", name);
	}
	if (level->seen[field / 64] & 1ull << field % 64)
		return cairn_fail(r->error, CAIRN_E_INVALID, "argument '%s' stands twice",
				  cairn_field_row(field)->json);
	level->seen[field / 64] |= 1ull << field % 64;
	type = cairn_field_row(field)->type;
	if ((is_list(type) || type == CAIRN_T_OBJECT) && level->depth >= CAIRN_DEPTH_MAX)
		return cairn_fail(r->error, CAIRN_E_INVALID, "argument '%.64s' is nested deeper than %d",
				  name, CAIRN_DEPTH_MAX);
	if (base64)
		return read_base64(r, field, name, v);
	if (is_list(type))
		return read_list(r, field, type, name, v, level->depth);
	if (type == CAIRN_T_OBJECT)
		return read_object(r, field, name, v, level->depth);
	if (type == CAIRN_T_BYTES && json_is_object(v))
		return read_place(r, field, name, v);
	return read_scalar(r, field, type, name, v);
}

static enum cairn_code members(struct reader *r, json_t *object, struct level *level)
{
	const char *name;
	json_t *v;

	json_object_foreach(object, name, v)
	{
		enum cairn_code code = read_member(r, name, v, level);

		if (code)
			return code;
	}
	return CAIRN_OK;
}

static bool is_frame_member(const char *name)
{
	return strcmp(name, "id") == 0 || strcmp(name, "op") == 0 || strcmp(name, "args") == 0 ||
		strcmp(name, "payload") == 0;
}

enum cairn_code json_line_request(struct json_line *l, struct cairn_slice payload, struct cairn_msg *request,
				  struct cairn_error *error)
{
	struct reader r = { l, payload, request, error };
	struct level top = { .depth = 1 };
	json_t *args = json_object_get(l->root, "args");
	enum cairn_code code = CAIRN_OK;
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)l->root, name, v)
	{
		if (!is_frame_member(name))
			code = read_member(&r, name, v, &top);
		if (code)
			return code;
	}
	if (args)
		code = members(&r, args, &top);
	if (code == CAIRN_OK && cairn_msg_error(request))
		code = cairn_fail(error, cairn_error_from_errno(-cairn_msg_error(request)),
				  "the request is too large");
	return code;
}

/* The length of the payload; false where it is no such number, and nobody knows where the next line begins.
 */
static bool read_payload(struct json_line *l, struct cairn_error *error)
{
	json_t *v = json_object_get(l->root, "payload");

	if (!v)
		return true;
	if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > CAIRN_PAYLOAD_MAX) {
		cairn_fail(error, CAIRN_E_INVALID, "'payload' must be an integer from 0 to %u",
			   CAIRN_PAYLOAD_MAX);
		return false;
	}
	l->payload = (size_t)json_integer_value(v);
	return true;
}

enum cairn_code json_line_read(struct json_line *l, struct cairn_slice line, struct cairn_error *error)
{
	json_error_t at;
	json_t *root, *id, *op, *args;

	l->root = json_loadb(line.data ? line.data : "", line.len, JSON_REJECT_DUPLICATES, &at);
	if (!l->root) {
		l->lost = memmem(line.data, line.len, "\"payload\"", 9) != NULL;
		return cairn_fail(error, CAIRN_E_INVALID, "the line is not JSON: %s", at.text);
	}
	id = json_object_get(l->root, "id");
	if (json_is_integer(id) && json_integer_value(id) > 0 &&
	    (uint64_t)json_integer_value(id) < JSON_NUMBER_MAX) {
		l->has_id = true;
		l->id = (uint64_t)json_integer_value(id);
	}
	if (!read_payload(l, error)) {
		l->lost = true;
		return CAIRN_E_INVALID;
	}
	root = l->root;
	if (!json_is_object(root))
		return cairn_fail(error, CAIRN_E_INVALID, "the line is not an object");
	if (!l->has_id)
		return cairn_fail(error, CAIRN_E_INVALID, "'id' must be an integer from 1 to 2^53 - 1");
	op = json_object_get(l->root, "op");
	args = json_object_get(l->root, "args");
	if (!json_is_string(op))
		return cairn_fail(error, CAIRN_E_INVALID, "'op' must name an operation");
	if (args && !json_is_object(args))
		return cairn_fail(error, CAIRN_E_INVALID, "'args' must be an object");
	l->name = json_string_value(op);
	return CAIRN_OK;
}

void json_line_free(struct json_line *l)
{
	json_decref(l->root);
	*l = (struct json_line){ 0 };
}

enum cairn_code json_read_fields(struct cairn_slice text, struct cairn_msg *m, struct cairn_error *error)
{
	struct json_line line = { 0 };
	struct reader r = { &line, cairn_slice(NULL, 0), m, error };
	enum cairn_code code;
	json_error_t at;
	json_t *root = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &at);

	if (!root)
		return cairn_fail(error, CAIRN_E_INVALID, "it is not JSON: %s", at.text);
	code = json_is_object(root) ? members(&r, root, &(struct level){ .depth = 1 })
				    : cairn_fail(error, CAIRN_E_INVALID, "it is not an object");
	if (code == CAIRN_OK && cairn_msg_error(m))
		code = cairn_fail(error, cairn_error_from_errno(-cairn_msg_error(m)), "it is too long");
	json_decref(root);
	return code;
}
