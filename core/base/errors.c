/* The error table and how sentences get into a struct cairn_error. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <cairn/errors.h>
#include <cairn/slice.h>
#include "banned.h"

static const struct cairn_error_row rows[CAIRN_ERROR_COUNT] = {
	[CAIRN_OK] = { "ok", "no error", 200, 0, 0, "", 0 },
#define X(number, id, name, meaning, http, grpc, err, resp, exit_code) \
	[number] = { name, meaning, http, grpc, err, resp, exit_code },
	CAIRN_ERRORS(X)
#undef X
};

const struct cairn_error_row *cairn_error_row(enum cairn_code code)
{
	return &rows[(unsigned)code < CAIRN_ERROR_COUNT ? code : CAIRN_E_INTERNAL];
}

enum cairn_code cairn_error_by_name(const char *name, size_t len)
{
	for (unsigned i = 1; i < CAIRN_ERROR_COUNT; i++)
		if (cairn_slice_eq(cairn_str(rows[i].name), cairn_slice(name, len)))
			return (enum cairn_code)i;
	return CAIRN_OK;
}

enum cairn_code cairn_error_from_errno(int err)
{
	switch (err) {
	case 0:
		return CAIRN_OK;
	case EUCLEAN:
	case EBADMSG:
		return CAIRN_E_CORRUPT;
	case ENOSPC:
		return CAIRN_E_FULL;
	case EDQUOT:
		return CAIRN_E_QUOTA;
	case ENOENT:
		return CAIRN_E_NOT_FOUND;
	case EEXIST:
		return CAIRN_E_EXISTS;
	case EACCES:
	case EPERM:
		return CAIRN_E_DENIED;
	case EROFS:
		return CAIRN_E_READ_ONLY;
	case EINVAL:
		return CAIRN_E_INVALID;
	case EMSGSIZE:
	case EFBIG:
	case ENAMETOOLONG:
		return CAIRN_E_TOO_LARGE;
	case ETIMEDOUT:
		return CAIRN_E_TIMEOUT;
	case EOPNOTSUPP:
	case ENOSYS:
		return CAIRN_E_UNSUPPORTED;
	default:
		return CAIRN_E_INTERNAL;
	}
}

enum cairn_code cairn_fail(struct cairn_error *e, enum cairn_code code, const char *format, ...)
{
	va_list args;

	if (e) {
		*e = (struct cairn_error){ .code = code };
		va_start(args, format);
		vsnprintf(e->message, sizeof(e->message), format, args);
		va_end(args);
	}
	return code;
}

void cairn_hint(struct cairn_error *e, const char *format, ...)
{
	va_list args;

	if (!e)
		return;
	va_start(args, format);
	vsnprintf(e->hint, sizeof(e->hint), format, args);
	va_end(args);
}

void cairn_error_prefix(struct cairn_error *e, const char *format, ...)
{
	const size_t size = sizeof(e->message);
	char context[sizeof(e->message)];
	size_t n, keep;
	va_list args;

	if (!e)
		return;
	va_start(args, format);
	vsnprintf(context, size, format, args);
	va_end(args);
	n = strlen(context);
	if (n + 2 >= size)
		return;
	/* What does not fit any more is lost at the end of the sentence. */
	keep = strnlen(e->message, size - n - 3);
	memmove(e->message + n + 2, e->message, keep);
	memcpy(e->message, context, n);
	memcpy(e->message + n, ": ", 2);
	e->message[n + 2 + keep] = 0;
}
