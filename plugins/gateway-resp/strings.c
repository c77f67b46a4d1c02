/* Commands on values. */
#include <stdio.h>
#include "families.h"
#include "banned.h"

ASK(ask_get)
{
	ask_begin(q, CAIRN_OP_GET, a->at[1]);
	ask_end(q);
	return true;
}

/* Whether FIELDS are of a value, and no directory, link or the like; else the error was told. */
static bool is_value(struct client *c, struct cairn_slice fields)
{
	struct cairn_slice kind;

	if (!cairn_field_find(fields, CAIRN_F_KIND, &kind) || kind.len != 1 ||
	    *(const unsigned char *)kind.data == CAIRN_KIND_VALUE)
		return true;
	reply_error(c, ERROR_TYPE);
	return false;
}

static void tell_value(struct client *c, struct cairn_slice fields)
{
	struct cairn_slice value = { 0 };

	if (!is_value(c, fields))
		return;
	cairn_field_find(fields, CAIRN_F_VALUE, &value);
	reply_bulk(c, value);
}

TELL(tell_get)
{
	(void)tag;
	(void)count;
	if (results->code == CAIRN_E_NOT_FOUND)
		reply_null(c);
	else if (results->code)
		tell_error(c, results);
	else
		tell_value(c, results->fields);
}

ASK(ask_set)
{
	if (a->count > 3)
		return ask_fail(q, ERROR_SYNTAX);
	ask_begin(q, CAIRN_OP_PUT, a->at[1]);
	cairn_msg_bytes(q->m, CAIRN_F_VALUE, a->at[2]);
	ask_end(q);
	return true;
}

TELL(tell_set)
{
	(void)tag;
	(void)count;
	if (results->code)
		tell_error(c, results);
	else
		reply_ok(c);
}
