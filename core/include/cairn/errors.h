/*
 * The one list of errors. Every face of cairn derives its codes from these rows: the control socket
 * (name), HTTP and gRPC gateways, the mount (errno), Redis (prefix), the command line (exit code).
 */
#ifndef CAIRN_ERRORS_H
#define CAIRN_ERRORS_H

#include <stddef.h>
#include <stdint.h>

/* X(number, ID, name, meaning, HTTP status, gRPC code, errno, RESP prefix, exit code). Numbers are wire
 * format. */
#define CAIRN_ERRORS(X) \
	X(1, INVALID, "invalid", "the request is malformed or an argument is out of range", 400, 3, EINVAL, \
	  "ERR", 2) \
	X(2, NOT_FOUND, "not-found", "the key, volume or thing named is not there", 404, 5, ENOENT, "ERR", \
	  1) \
	X(3, EXISTS, "exists", "the thing named is there already", 409, 6, EEXIST, "ERR", 3) \
	X(4, CONFLICT, "conflict", "a condition failed; carries the current revision", 412, 9, ESTALE, \
	  "CONFLICT", 3) \
	X(5, TOO_LARGE, "too-large", "a key, a value or a command is over its limit", 413, 8, EFBIG, "ERR", \
	  8) \
	X(6, UNSUPPORTED, "unsupported", "the engine, the replication module or this build cannot do it", \
	  501, 12, EOPNOTSUPP, "ERR", 10) \
	X(7, UNAVAILABLE, "unavailable", \
	  "nobody can serve it now; a write was never proposed and did not happen", 503, 14, EIO, \
	  "CLUSTERDOWN", 5) \
	X(8, UNKNOWN, "unknown", "a write was proposed and its fate is not known", 504, 2, EIO, "UNKNOWN", \
	  6) \
	X(9, TIMEOUT, "timeout", "the time ran out before the write was proposed", 504, 4, ETIMEDOUT, \
	  "TIMEOUT", 7) \
	X(10, READ_ONLY, "read-only", "this volume or mount takes no writes", 403, 9, EROFS, "READONLY", 4) \
	X(11, QUOTA, "quota", "the volume's quota is used up", 507, 8, EDQUOT, "OOM", 8) \
	X(12, FULL, "full", "a node's disk is full; names the node", 507, 8, ENOSPC, "OOM", 8) \
	X(13, DENIED, "denied", "the caller may not do this", 403, 7, EACCES, "NOPERM", 4) \
	X(14, UNAUTHENTICATED, "unauthenticated", "the caller has not said who it is", 401, 16, EPERM, \
	  "NOAUTH", 4) \
	X(15, COMPACTED, "compacted", "that revision is no longer kept; names the oldest that is", 410, 11, \
	  ESTALE, "ERR", 10) \
	X(16, CORRUPT, "corrupt", "stored bytes are damaged; names file and offset", 500, 15, EIO, "ERR", 9) \
	X(17, INTERNAL, "internal", "an error in cairn itself", 500, 13, EIO, "ERR", 70)

enum cairn_code {
	CAIRN_OK = 0,
#define X(number, id, name, meaning, http, grpc, err, resp, exit_code) CAIRN_E_##id = number,
	CAIRN_ERRORS(X)
#undef X
		CAIRN_ERROR_COUNT
};

/* One row of the list. Static; never freed. */
struct cairn_error_row {
	const char *name;    /* as on the control socket */
	const char *meaning; /* one clause for the manual */
	int http, grpc;      /* status of those gateways */
	int err;             /* errno of the mount */
	const char *resp;    /* first word of a Redis error */
	int exit_code;       /* of the command line */
};

/* What went wrong. The caller owns it; it is written where the failure is known and passed up. */
struct cairn_error {
	enum cairn_code code;
	uint64_t revision; /* with CONFLICT: the current one, 0 where there is none; with COMPACTED: the
			      oldest that there is; of a watch that ended: the one to watch again from */
	char message[400]; /* a sentence that names the thing */
	char hint[200];    /* what to do, or empty */
};

/* The row of CODE; that of INTERNAL for a number outside the list. */
const struct cairn_error_row *cairn_error_row(enum cairn_code code);
/* The code with the name NAME of LEN bytes; 0 where there is none. */
enum cairn_code cairn_error_by_name(const char *name, size_t len);
/* The code that says best what the errno ERR (positive) means for a user. */
enum cairn_code cairn_error_from_errno(int err);

/* Fill *E (may be NULL) with CODE and the formatted sentence, no hint, and return CODE. */
__attribute__((format(printf, 3, 4))) enum cairn_code cairn_fail(struct cairn_error *e, enum cairn_code code,
								 const char *format, ...);
/* Give *E (may be NULL) a hint. */
__attribute__((format(printf, 2, 3))) void cairn_hint(struct cairn_error *e, const char *format, ...);
/* Put "CONTEXT: " before the sentence of *E, where a caller knows what was being done. */
__attribute__((format(printf, 2, 3))) void cairn_error_prefix(struct cairn_error *e, const char *format, ...);

#endif
