/*
 * Frames as bytes, and back without trust: the length is looked at before anything is believed, the checksum
 * before anything is used. Texts that came from outside are cut down to printable bytes, since they end in
 * logs and on terminals.
 */
#include <errno.h>
#include <string.h>
#include "crc32c.h"
#include "frame.h"
#include "le.h"
#include "banned.h"

static const unsigned char magic[4] = { 'C', 'N', 'P', 'F' };

void frame_head(unsigned char head[FRAME_HEAD], enum peer_lane lane, uint8_t kind, uint64_t shard,
		const struct cairn_slice *slices, size_t count, size_t len)
{
	uint32_t crc;

	memcpy(head, magic, 4);
	le32_put(head + 8, (uint32_t)len);
	head[12] = FRAME_VERSION;
	head[13] = (unsigned char)lane;
	head[14] = kind;
	head[15] = 0;
	le64_put(head + 16, shard);
	crc = crc32c(0, head + 8, FRAME_HEAD - 8);
	for (size_t i = 0; i < count; i++)
		crc = crc32c(crc, slices[i].data, slices[i].len);
	le32_put(head + 4, crc);
}

size_t frame_size(const unsigned char *at)
{
	return FRAME_HEAD + (size_t)le32_get(at + 8);
}

int frame_take(struct cairn_slice input, size_t max, struct frame *frame, size_t *need, const char **why)
{
	const unsigned char *p = input.data;
	size_t len;

	*need = FRAME_HEAD;
	if (input.len && memcmp(p, magic, input.len < 4 ? input.len : 4)) {
		*why = "does not speak the protocol of cairn's peers";
		return -EBADMSG;
	}
	if (input.len < FRAME_HEAD)
		return 0;
	len = le32_get(p + 8);
	if (p[12] != FRAME_VERSION || p[13] >= PEER_LANES || p[15] || len > max) {
		*why = len > max ? "sent a frame that is too long"
				 : "sent a frame of a kind that is not known";
		return -EBADMSG;
	}
	*need = FRAME_HEAD + len;
	if (input.len < *need)
		return 0;
	if (crc32c(0, p + 8, FRAME_HEAD - 8 + len) != le32_get(p + 4)) {
		*why = "sent a frame whose checksum is wrong";
		return -EBADMSG;
	}
	frame->lane = p[13];
	frame->kind = p[14];
	frame->shard = le64_get(p + 16);
	frame->body = cairn_slice(p + FRAME_HEAD, len);
	return 1;
}

/* LEN bytes at FROM as a text of at most SIZE - 1 printable bytes. */
static void get_text(char *to, size_t size, const unsigned char *from, size_t len)
{
	size_t n = len < size ? len : size - 1;

	for (size_t i = 0; i < n; i++)
		to[i] = from[i] >= 0x20 && from[i] != 0x7f ? (char)from[i] : '?';
	to[n] = 0;
}

static unsigned char *put_text(unsigned char *at, unsigned char *len, const char *text)
{
	size_t n = strnlen(text, PEER_NAME_MAX);

	*len = (unsigned char)n;
	memcpy(at, text, n);
	return at + n;
}

size_t frame_hello_put(unsigned char *body, const struct frame_hello *hello)
{
	unsigned char *at = body + FRAME_HELLO_HEAD;

	memset(body, 0, FRAME_HELLO_HEAD);
	le16_put(body, hello->oldest);
	le16_put(body + 2, hello->newest);
	memcpy(body + 8, hello->who.cluster, 16);
	le64_put(body + 24, hello->who.id);
	le64_put(body + 32, hello->called);
	le64_put(body + 40, hello->who.instance);
	le64_put(body + 48, hello->wall_ns);
	body[56] = (unsigned char)hello->link;
	at = put_text(at, body + 57, hello->who.cluster_name);
	at = put_text(at, body + 58, hello->who.name);
	at = put_text(at, body + 59, hello->who.software);
	return (size_t)(at - body);
}

int frame_hello_get(struct cairn_slice body, struct frame_hello *hello)
{
	const unsigned char *p = body.data, *at = p + FRAME_HELLO_HEAD;

	memset(hello, 0, sizeof(*hello));
	if (body.len < FRAME_HELLO_HEAD || body.len < FRAME_HELLO_HEAD + (size_t)p[57] + p[58] + p[59] ||
	    p[56] > 1 || !le64_get(p + 24))
		return -EBADMSG;
	hello->oldest = le16_get(p);
	hello->newest = le16_get(p + 2);
	memcpy(hello->who.cluster, p + 8, 16);
	hello->who.id = le64_get(p + 24);
	hello->called = le64_get(p + 32);
	hello->who.instance = le64_get(p + 40);
	hello->wall_ns = le64_get(p + 48);
	hello->link = p[56];
	get_text(hello->who.cluster_name, sizeof(hello->who.cluster_name), at, p[57]);
	get_text(hello->who.name, sizeof(hello->who.name), at + p[57], p[58]);
	get_text(hello->who.software, sizeof(hello->who.software), at + p[57] + p[58], p[59]);
	return 0;
}

size_t frame_refuse_put(unsigned char *body, size_t size, enum peer_refusal why, uint64_t id,
			const char *text)
{
	size_t n = strnlen(text, size - FRAME_REFUSE_HEAD);

	le32_put(body, why);
	le32_put(body + 4, (uint32_t)n);
	le64_put(body + 8, id);
	memcpy(body + FRAME_REFUSE_HEAD, text, n);
	return FRAME_REFUSE_HEAD + n;
}

int frame_refuse_get(struct cairn_slice body, enum peer_refusal *why, uint64_t *id, char *text, size_t size)
{
	const unsigned char *p = body.data;

	if (body.len < FRAME_REFUSE_HEAD || body.len - FRAME_REFUSE_HEAD < le32_get(p + 4))
		return -EBADMSG;
	*why = le32_get(p);
	*id = le64_get(p + 8);
	get_text(text, size, p + FRAME_REFUSE_HEAD, le32_get(p + 4));
	return 0;
}
