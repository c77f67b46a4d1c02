/*
 * snapshot save, restore and show: a volume as a stream of bytes in a file or a pipe. save writes a file
 * under another name and gives it its own when all of it is on disk; restore sends the stream piece by piece,
 * and the daemon makes the volume with the last one; show reads the frame of the stream alone, and so needs
 * no daemon.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli.h"
#include "stream.h"
#include "banned.h"

#define PIECE (512u << 10)

/* The file that a stream goes to. */
struct target {
	struct progress progress;
	const char *name; /* as given; "-" for standard output */
	char *temporary;  /* owned */
	int fd;
	int error; /* errno of what failed */
};

static int write_all(int fd, const void *data, size_t len)
{
	for (const char *p = data; len;) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static enum cairn_code target_failed(struct cli *c, const struct target *t, int error)
{
	return cairn_fail(&c->error, cairn_error_from_errno(error), "%s: %s", t->name, strerror(error));
}

static enum cairn_code target_open(struct cli *c, struct target *t, const char *name)
{
	*t = (struct target){ .name = name, .fd = STDOUT_FILENO };
	if (strcmp(name, "-") == 0) {
		if (!c->out_terminal)
			return CAIRN_OK;
		cairn_fail(&c->error, CAIRN_E_INVALID, "a snapshot is not for a terminal");
		cairn_hint(&c->error, "give a FILE, or send it through a pipe");
		return CAIRN_E_INVALID;
	}
	if (asprintf(&t->temporary, "%s.XXXXXX", name) < 0)
		no_memory();
	t->fd = mkostemp(t->temporary, O_CLOEXEC);
	return t->fd < 0 ? target_failed(c, t, errno) : CAIRN_OK;
}

/* Give the file its name, where CODE is 0; else remove it. */
static enum cairn_code target_close(struct cli *c, struct target *t, enum cairn_code code)
{
	bool made = t->temporary && t->fd >= 0;

	if (made && !code && (fsync(t->fd) < 0 || rename(t->temporary, t->name) < 0))
		code = target_failed(c, t, errno);
	if (made)
		close(t->fd);
	if (made && code)
		unlink(t->temporary);
	free(t->temporary);
	return code;
}

static bool save_event(void *arg, const struct cairn_reply *event)
{
	struct target *t = arg;
	struct cairn_slice bytes = { 0 };
	int r;

	cairn_field_find(event->fields, CAIRN_F_VALUE, &bytes);
	r = write_all(t->fd, bytes.data, bytes.len);
	t->error = -r;
	progress_add(&t->progress, bytes.len);
	return r == 0;
}

static void show_saved(const struct cli *c, const struct target *t, struct cairn_slice fields)
{
	char size[TEXT_SIZE], digest[64];

	if (c->format == FORMAT_JSON) {
		out_json(c, fields);
		return;
	}
	text_size(cairn_field_u64(fields, CAIRN_F_LENGTH, 0), size);
	out_line("%s: %llu keys at revision %llu, %s, digest %s", t->name,
		 (unsigned long long)cairn_field_u64(fields, CAIRN_F_KEYS, 0),
		 (unsigned long long)cairn_field_u64(fields, CAIRN_F_REVISION, 0), size,
		 field_text(fields, CAIRN_F_DIGEST, digest, sizeof(digest)));
}

/* Time is not limited, unless somebody asked for that. */
static void no_limit(const struct cli *c, struct cairn_msg *m)
{
	if (!c->timeout_ms)
		cairn_msg_u64(m, CAIRN_F_TIMEOUT_MS, 0);
}

VERB(snapshot_save)
{
	struct cairn_msg m = { 0 };
	struct cairn_reply r = { 0 };
	struct target t;
	enum cairn_code code = target_open(c, &t, a->operand[0].text);

	if (code == CAIRN_OK) {
		request(c, &m, CAIRN_OP_SNAPSHOT_SAVE);
		if (argument(a, "plain"))
			cairn_msg_bool(&m, CAIRN_F_PLAIN, true);
		no_limit(c, &m);
		progress_begin(&t.progress, c, "saved", 0);
		code = call_stream(c, &m, save_event, &t, &r);
		progress_end(&t.progress);
		if (t.error)
			code = target_failed(c, &t, t.error);
	}
	code = target_close(c, &t, code);
	if (code == CAIRN_OK && t.fd != STDOUT_FILENO)
		show_saved(c, &t, r.fields);
	cairn_reply_free(&r);
	return code;
}

/* --- what reads one --- */

static int source_open(struct cli *c, const char *name)
{
	int fd = strcmp(name, "-") ? open(name, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;

	if (fd < 0)
		cairn_fail(&c->error, cairn_error_from_errno(errno), "%s: %s", name, strerror(errno));
	return fd;
}

/* As many bytes as fit, or fewer at the end. -1 with C->error. */
static ssize_t source_read(struct cli *c, int fd, const char *name, char *buffer, size_t len)
{
	size_t at = 0;

	while (at < len) {
		ssize_t n = read(fd, buffer + at, len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			cairn_fail(&c->error, cairn_error_from_errno(errno), "%s: %s", name, strerror(errno));
			return -1;
		}
		if (n == 0)
			break;
		at += (size_t)n;
	}
	return (ssize_t)at;
}

static uint64_t size_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
}

/* The request that carries BYTES from OFFSET on. */
static void piece(const struct cli *c, const struct arguments *a, struct cairn_msg *m,
		  const unsigned char id[16], uint64_t offset, struct cairn_slice bytes, bool last)
{
	cairn_msg_start(m, CAIRN_OP_SNAPSHOT_RESTORE);
	cairn_msg_bytes(m, CAIRN_F_UPLOAD, cairn_slice(id, 16));
	cairn_msg_u64(m, CAIRN_F_OFFSET, offset);
	cairn_msg_bytes(m, CAIRN_F_VALUE, bytes);
	cairn_msg_text(m, CAIRN_F_NAME, c->volume);
	if (last)
		cairn_msg_bool(m, CAIRN_F_LAST, true);
	if (argument(a, "engine"))
		cairn_msg_text(m, CAIRN_F_ENGINE, argument(a, "engine"));
	if (argument(a, "replication"))
		cairn_msg_text(m, CAIRN_F_REPLICATION, argument(a, "replication"));
	for (size_t i = 1; i < a->count; i++) {
		size_t mark = cairn_msg_open(m, CAIRN_F_PARAMETER);

		cairn_msg_text(m, CAIRN_F_SETTING, a->operand[i].text);
		cairn_msg_close(m, mark);
	}
	no_limit(c, m);
}

/* Send all of FD; the last answer in R. */
static enum cairn_code send_all(struct cli *c, const struct arguments *a, int fd, struct cairn_reply *r)
{
	struct progress progress;
	unsigned char id[16];
	char *buffer = malloc(PIECE);
	uint64_t offset = 0;
	enum cairn_code code = CAIRN_OK;
	ssize_t n = PIECE;

	if (!buffer || getrandom(id, sizeof(id), 0) != sizeof(id))
		no_memory();
	progress_begin(&progress, c, "restored", size_of(fd));
	while (code == CAIRN_OK && n == PIECE) {
		struct cairn_msg m = { 0 };

		n = source_read(c, fd, a->operand[0].text, buffer, PIECE);
		if (n < 0) {
			code = c->error.code;
			break;
		}
		cairn_reply_free(r);
		*r = (struct cairn_reply){ 0 };
		piece(c, a, &m, id, offset, cairn_slice(buffer, (size_t)n), n < PIECE);
		code = call(c, &m, r);
		offset += (size_t)n;
		progress_add(&progress, (size_t)n);
	}
	progress_end(&progress);
	free(buffer);
	return code;
}

VERB(snapshot_restore)
{
	struct cairn_reply r = { 0 };
	enum cairn_code code;
	int fd;

	if (!c->volume) {
		cairn_fail(&c->error, CAIRN_E_INVALID, "restore fills a volume, and needs its name");
		cairn_hint(&c->error, "cairn snapshot restore --volume NAME %s", a->operand[0].text);
		return CAIRN_E_INVALID;
	}
	fd = source_open(c, a->operand[0].text);
	if (fd < 0)
		return c->error.code;
	code = send_all(c, a, fd, &r);
	if (fd != STDIN_FILENO)
		close(fd);
	if (code == CAIRN_OK && c->format == FORMAT_JSON)
		out_json(c, r.fields);
	else if (code == CAIRN_OK)
		out_line("volume %s is there: %llu rows", c->volume,
			 (unsigned long long)cairn_field_u64(r.fields, CAIRN_F_COUNT, 0));
	cairn_reply_free(&r);
	return code;
}

/* The facts of a stream, but for the row that is for programs; and how long it is. */
static void show_facts(const struct cli *c, struct cairn_slice facts, uint64_t rows, uint64_t length)
{
	struct cairn_msg m = { 0 };
	struct cairn_slice body;
	unsigned field;

	cairn_msg_start(&m, 0);
	while (cairn_field_next(&facts, &field, &body) == 0 && field != CAIRN_F_END)
		if (field != CAIRN_F_VALUE && field != CAIRN_F_TEXT)
			cairn_msg_bytes(&m, field, body);
	cairn_msg_u64(&m, CAIRN_F_COUNT, rows);
	cairn_msg_u64(&m, CAIRN_F_LENGTH, length);
	if (cairn_msg_error(&m))
		no_memory();
	if (c->format == FORMAT_JSON)
		out_json(c, cairn_message_fields(cairn_msg_slice(&m)));
	else
		out_facts(c, cairn_message_fields(cairn_msg_slice(&m)));
	cairn_msg_free(&m);
}

/* Read the stream to its end; its first block into FACTS. */
static enum cairn_code read_stream(struct cli *c, int fd, const char *name, struct stream_reader *reader,
				   struct cairn_msg *facts, uint64_t *rows)
{
	char *buffer = malloc(PIECE);
	struct stream_content block;
	struct cairn_slice in;
	ssize_t n;
	int there = 0;

	if (!buffer)
		no_memory();
	do {
		n = source_read(c, fd, name, buffer, PIECE);
		in = cairn_slice(buffer, n > 0 ? (size_t)n : 0);
		while (n > 0 && (there = stream_take(reader, &in, &block, &c->error)) > 0)
			if (block.kind != STREAM_ROWS && cairn_fields_check(block.content, NULL) < 0)
				there = cairn_fail(&c->error, CAIRN_E_CORRUPT, "a block of %s says nothing",
						   name)
					? -1
					: 0;
			else if (block.kind == STREAM_FACTS)
				cairn_msg_fields(facts, block.content);
			else if (block.kind == STREAM_END)
				*rows = cairn_field_u64(block.content, CAIRN_F_COUNT, 0);
	} while (n == PIECE && there >= 0);
	free(buffer);
	return n < 0 || there < 0 ? c->error.code : stream_ends(reader, &c->error);
}

VERB(snapshot_show)
{
	struct stream_reader reader = { 0 };
	struct cairn_msg facts = { 0 };
	uint64_t rows = 0;
	enum cairn_code code;
	int fd = source_open(c, a->operand[0].text);

	if (fd < 0)
		return c->error.code;
	cairn_msg_start(&facts, 0);
	code = read_stream(c, fd, a->operand[0].text, &reader, &facts, &rows);
	if (code == CAIRN_OK)
		show_facts(c, cairn_message_fields(cairn_msg_slice(&facts)), rows, reader.offset);
	else
		cairn_error_prefix(&c->error, "%s", a->operand[0].text);
	if (fd != STDIN_FILENO)
		close(fd);
	stream_reader_free(&reader);
	cairn_msg_free(&facts);
	return code;
}
