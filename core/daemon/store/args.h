/* The arguments of one operation, taken apart once. */
#ifndef ARGS_H
#define ARGS_H

#include <cairn/errors.h>
#include <cairn/message.h>

/* A set of fields whose numbers lie below 128, or one of those from 128 on. */
typedef unsigned __int128 field_set;

#define FIELD(id) ((field_set)1 << CAIRN_F_##id)

_Static_assert(CAIRN_FIELD_COUNT <= 256, "two sets hold all fields");

struct args {
	struct cairn_slice fields; /* all of them, for lists */
	field_set has[2];
	struct cairn_slice body[CAIRN_FIELD_COUNT]; /* the first of each that HAS names; the others are not
						       initialised */
};

static inline bool args_has(const struct args *a, unsigned field)
{
	return a->has[field >> 7] >> (field & 127) & 1;
}

/* The body of FIELD; empty where it is absent. */
static inline struct cairn_slice args_bytes(const struct args *a, unsigned field)
{
	return args_has(a, field) ? a->body[field] : cairn_slice(NULL, 0);
}

static inline uint64_t args_u64(const struct args *a, unsigned field, uint64_t otherwise)
{
	return args_has(a, field) ? cairn_body_u64(a->body[field]) : otherwise;
}

static inline bool args_bool(const struct args *a, unsigned field)
{
	return args_has(a, field) && a->body[field].len == 1 && *(const char *)a->body[field].data;
}

/* Take FIELDS apart. 0, or -EBADMSG: bytes that are no fields, a field that this build does not know, or one
 * of a wrong length. */
int args_parse(struct cairn_slice fields, struct args *a);

/* Whether operation OP writes, that is, may stand in a log. */
bool args_is_write(unsigned op);
/* Whether OP may stand in a transaction. */
bool args_is_nested(unsigned op);
/* Whether A has what OP needs and nothing that it does not take. INVALID names the field. */
enum cairn_code args_check(unsigned op, const struct args *a, struct cairn_error *error);

#endif
