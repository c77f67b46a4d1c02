/*
 * What is left of a damaged checkpoint. Each block of a stream stands for itself: those that are whole are
 * taken wherever they stand, and their rows go into an engine as they are; what lies between is told. Whether
 * the rows make a store is for store_salvage to say.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "checkpoint.h"
#include "le.h"
#include "meta.h"
#include "rows.h"
#include "stream.h"
#include "banned.h"

struct salvaging {
	struct engine *into;
	store_lost_fn *lost;
	void *arg;
	uint64_t count; /* of what was told */
	struct cairn_error *error;
};

static enum cairn_code put(struct salvaging *s, struct cairn_slice key, struct cairn_slice body)
{
	struct iovec iov = { (void *)body.data, body.len };
	struct cairn_write w = { .kind = CAIRN_WRITE_PUT, .key = key, .iov = &iov, .iov_count = 1 };
	struct cairn_batch batch = { .writes = &w, .count = 1 };
	struct cairn_error why = { 0 };
	int e = s->into->ops.write(s->into->handle, &batch, false, &why);

	return e < 0 ? cairn_fail(s->error, cairn_error_from_errno(-e), "filling the engine %s: %s",
				  s->into->ops.name, why.message[0] ? why.message : strerror(-e))
		     : CAIRN_OK;
}

/* The rows of a block that is whole; of the first one the row of the store about itself. */
static enum cairn_code take(struct salvaging *s, const struct stream_content *block)
{
	struct cairn_slice rest = block->content, key, body;
	enum cairn_code code = CAIRN_OK;

	if (block->kind == STREAM_FACTS)
		return cairn_fields_check(rest, NULL) == 0 && cairn_field_find(rest, CAIRN_F_VALUE, &body)
			? put(s, cairn_str(META_KEY), body)
			: CAIRN_OK;
	while (!code && block->kind == STREAM_ROWS && stream_row_next(&rest, &key, &body) > 0)
		code = put(s, key, body);
	return code;
}

static void tell(struct salvaging *s, uint64_t from, uint64_t to)
{
	char what[80];

	snprintf(what, sizeof(what), "bytes %llu to %llu of the checkpoint", (unsigned long long)from,
		 (unsigned long long)to - 1);
	s->lost(s->arg, what, cairn_slice(NULL, 0), "they are damaged");
	s->count++;
}

/* Whether a whole block begins at P, where LEN bytes are left. R is used again and again. */
static bool block_at(struct stream_reader *r, const unsigned char *p, size_t len,
		     struct stream_content *block)
{
	const size_t most = STREAM_BLOCK_HEAD + STREAM_BLOCK_MAX;
	struct cairn_slice in = cairn_slice(p, len < most ? len : most);
	struct cairn_error ignored;

	if (len < STREAM_BLOCK_HEAD)
		return false;
	r->in.len = 0;
	r->begun = true;
	r->ended = false;
	r->sequence = le64_get(p + 8);
	return stream_take(r, &in, block, &ignored) > 0;
}

static enum cairn_code take_all(struct salvaging *s, const unsigned char *p, size_t len)
{
	struct stream_reader r = { 0 };
	struct stream_content block;
	size_t at = STREAM_HEAD < len ? STREAM_HEAD : len, good = at;
	enum cairn_code code = CAIRN_OK;
	bool ended = false;

	while (!code && at < len) {
		if (block_at(&r, p + at, len - at, &block)) {
			if (at > good)
				tell(s, good, at);
			code = take(s, &block);
			ended = block.kind == STREAM_END;
			at = good = at + block.stored;
		} else {
			const unsigned char *next = memmem(p + at + 1, len - at - 1, "cblk", 4);

			at = next ? (size_t)(next - p) : len;
		}
	}
	if (!code && (good < len || !ended)) /* damaged to the end, or cut off there */
		tell(s, good, len > good ? len : good + 1);
	stream_reader_free(&r);
	return code;
}

enum cairn_code checkpoint_salvage(const char *folder, struct engine *into, store_lost_fn *lost, void *arg,
				   uint64_t *count, struct cairn_error *error)
{
	struct salvaging s = { .into = into, .lost = lost, .arg = arg, .error = error };
	enum cairn_code code = CAIRN_OK;
	char path[4200];
	struct stat st;
	void *p = NULL;
	int fd;

	snprintf(path, sizeof(path), "%s/" CHECKPOINT_NAME, folder);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		code = cairn_fail(error, cairn_error_from_errno(errno), "%s: %s", path, strerror(errno));
	else if (st.st_size)
		p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		code = cairn_fail(error, cairn_error_from_errno(errno), "%s: %s", path, strerror(errno));
	else if (!code)
		code = take_all(&s, p, (size_t)st.st_size);
	if (p && p != MAP_FAILED)
		munmap(p, (size_t)st.st_size);
	if (fd >= 0)
		close(fd);
	*count = s.count;
	return code;
}
