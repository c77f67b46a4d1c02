/* The table of nodes: keys follow from places, folders take along what is in them, nothing outlives its
 * users. */
#include <errno.h>
#include "node.h"
#include "tap.h"
#include "banned.h"

static struct nodes nodes;

static struct node *add(struct node *parent, const char *part, unsigned kind)
{
	struct node *n = node_add(&nodes, parent, cairn_str(part), false);

	n->facts.kind = kind;
	n->lookups = 1;
	node_drop(&nodes, n);
	return n;
}

static void is_key(const struct node *n, const char *prefix, const char *want)
{
	struct key key;

	ok(node_key(n, prefix, &key) == 0 && cairn_slice_eq(key_slice(&key), cairn_str(want)),
	   "the key is '%s'", want);
}

static void places(void)
{
	struct node *a = add(nodes.root, "a", CAIRN_KIND_DIRECTORY), *b = add(a, "b", CAIRN_KIND_DIRECTORY);
	struct node *f = add(b, "f", CAIRN_KIND_VALUE), *c = add(nodes.root, "c", CAIRN_KIND_DIRECTORY);
	struct key key;

	is_key(f, "", "a/b/f");
	is_key(b, "", "a/b/");
	is_key(nodes.root, "", "");
	is_key(nodes.root, "top/x", "top/x/");
	is_key(f, "top/x", "top/x/a/b/f");
	ok(node_key_in(b, "", cairn_str(""), true, false, &key) == 0 &&
		   cairn_slice_eq(key_slice(&key), cairn_str("a/b")),
	   "the own value of a/b is the key a/b");
	ok(node_find(&nodes, a, cairn_str("b"), false) == b && !node_find(&nodes, a, cairn_str("c"), false),
	   "names are found in their folder alone");
	ok(node_within(f, a) && !node_within(f, c), "what lies in a folder");
	is_int(node_move(&nodes, b, c, cairn_str("moved"), false), 0, "a folder is moved");
	is_key(f, "", "c/moved/f");
	ok(!node_find(&nodes, a, cairn_str("b"), false), "its old name is free");
	node_detach(&nodes, f, true);
	ok(node_key(f, "", &key) == -ESTALE && f->removed, "a file that was unlinked has no key");
	ok(node_get(&nodes, f->id) == f, "but the kernel still knows it");
	node_forget(&nodes, f, 1);
	node_forget(&nodes, a, 1);
	is_int(nodes.count, 3, "what is forgotten is gone");
	node_forget(&nodes, c, 1);
	is_int(nodes.count, 3, "a folder stays while something in it is known");
	node_forget(&nodes, b, 1);
	is_int(nodes.count, 1, "and goes with it");
}

static void many(void)
{
	uint64_t first = nodes.next_id;
	char name[32];
	int wrong = 0;

	for (int i = 0; i < 20000; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		node_mark(&nodes, add(nodes.root, name, CAIRN_KIND_VALUE), i % 3 == 0);
	}
	for (int i = 0; i < 20000; i++) {
		struct node *n;

		snprintf(name, sizeof(name), "n%d", i);
		n = node_find(&nodes, nodes.root, cairn_str(name), false);
		wrong += !n || n->id != first + (uint64_t)i || node_get(&nodes, n->id) != n;
	}
	is_int(wrong, 0, "20,000 nodes are found by name and by number");
	for (uint64_t id = first; id < first + 20000; id++)
		node_forget(&nodes, node_get(&nodes, id), 1);
	ok(nodes.count == 1 && !nodes.dirty, "forgotten ones leave nothing behind, in no list");
}

static void too_long(void)
{
	struct node *n = nodes.root;
	char part[201];
	struct key key;
	int r = 0;

	memset(part, 'x', 200);
	part[200] = 0;
	for (int i = 0; i < 25 && r == 0; i++) {
		n = add(n, part, CAIRN_KIND_DIRECTORY);
		r = node_key(n, "", &key);
	}
	is_int(r, -ENAMETOOLONG, "a key beyond 4,096 bytes is refused");
}

int main(void)
{
	if (nodes_open(&nodes) < 0)
		bail("no memory");
	places();
	many();
	too_long();
	nodes_close(&nodes);
	return tap_done();
}
