/* What is known of the node's journal while it is in use, and of what each volume keeps in it. */
#include "journal.h"
#include "operation.h"
#include "overlay.h"
#include "banned.h"

static void add_volume(void *arg, struct volume *v)
{
	struct call *c = arg;
	struct overlay_facts overlay;
	struct journal_extent x;
	size_t mark;

	if (!v->shard || !shard_journal(v->shard, &x, &overlay))
		return;
	mark = cairn_msg_open(&c->answer, CAIRN_F_VOLUMES);
	cairn_msg_text(&c->answer, CAIRN_F_NAME, v->name);
	cairn_msg_u64(&c->answer, CAIRN_F_FIRST, x.first);
	cairn_msg_u64(&c->answer, CAIRN_F_NEWEST, x.last);
	cairn_msg_u64(&c->answer, CAIRN_F_HELD, x.bytes);
	cairn_msg_u64(&c->answer, CAIRN_F_FLUSHED, overlay.flushed.index);
	cairn_msg_u64(&c->answer, CAIRN_F_OVERLAY, overlay.bytes);
	cairn_msg_close(&c->answer, mark);
}

void op_journal(struct call *c)
{
	struct journal_facts facts;
	char path[4096];

	if (!c->node->journal) {
		call_fail(c, CAIRN_E_UNSUPPORTED, "this node has no journal");
		return;
	}
	journal_facts(c->node->journal, &facts);
	node_journal_path(c->node, path, sizeof(path));
	cairn_msg_text(&c->answer, CAIRN_F_PATH, path);
	cairn_msg_u64(&c->answer, CAIRN_F_SEGMENTS, facts.segments);
	cairn_msg_u64(&c->answer, CAIRN_F_DISK_BYTES, facts.segment_bytes);
	cairn_msg_u64(&c->answer, CAIRN_F_DURABLE, facts.sequence);
	add_volume(c, volumes_system(c->node));
	volumes_each(c->node, add_volume, c);
	call_done(c);
}
