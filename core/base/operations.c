/* Names of the operations, from the rows of cairn/operations.h. */
#include <cairn/operations.h>
#include "banned.h"

static const struct cairn_operation_row rows[CAIRN_OPERATION_COUNT] = {
#define X(number, id, name, aliases, permission, help) \
	[number] = { name, aliases, CAIRN_MAY_##permission, help },
	CAIRN_OPERATIONS(X)
#undef X
};

const struct cairn_operation_row *cairn_operation_row(unsigned op)
{
	return op < CAIRN_OPERATION_COUNT && rows[op].name ? &rows[op] : NULL;
}

static bool is_alias(const char *aliases, struct cairn_slice name)
{
	while (*aliases) {
		size_t n = strcspn(aliases, " ");

		if (cairn_slice_eq(cairn_slice(aliases, n), name))
			return true;
		aliases += n + strspn(aliases + n, " ");
	}
	return false;
}

unsigned cairn_operation_by_name(struct cairn_slice name)
{
	for (unsigned i = 1; i < CAIRN_OPERATION_COUNT; i++)
		if (rows[i].name &&
		    (cairn_slice_eq(cairn_str(rows[i].name), name) || is_alias(rows[i].aliases, name)))
			return i;
	return 0;
}
