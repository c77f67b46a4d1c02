/* Messages between instances: one form for all, 48 bytes. */
#include "raft.h"
#include "le.h"
#include "banned.h"

#define VERSION 1
/* No cluster gets there by elections, and from here on none could be held any more. */
#define TERM_MAX (UINT64_MAX >> 1)

void message_encode(const struct message *m, unsigned char b[MESSAGE_BYTES])
{
	memset(b, 0, 8);
	b[0] = VERSION;
	b[1] = m->kind;
	b[2] = m->flags;
	le64_put(b + 8, m->term);
	le64_put(b + 16, m->a);
	le64_put(b + 24, m->b);
	le64_put(b + 32, m->c);
	le64_put(b + 40, m->d);
}

int message_decode(struct cairn_slice s, struct message *m)
{
	const unsigned char *b = s.data;

	if (s.len != MESSAGE_BYTES || b[0] != VERSION || !b[1] || b[1] > MESSAGE_READ_NO ||
	    b[2] > (PRE_VOTE | TRANSFER) || le64_get(b + 8) > TERM_MAX)
		return -EBADMSG;
	*m = (struct message){ .kind = b[1],
			       .flags = b[2],
			       .term = le64_get(b + 8),
			       .a = le64_get(b + 16),
			       .b = le64_get(b + 24),
			       .c = le64_get(b + 32),
			       .d = le64_get(b + 40) };
	return 0;
}
