/* Taking fields off bytes where each field counts; message.c has the same as a function for everybody. */
#ifndef FIELDS_H
#define FIELDS_H

#include <cairn/message.h>
#include "le.h"

/* As cairn_field_next; false where the bytes are no field. At the end *FIELD is CAIRN_F_END. */
static inline bool field_take(struct cairn_slice *fields, unsigned *field, struct cairn_slice *body)
{
	const unsigned char *p = fields->data;
	uint32_t head;

	*field = CAIRN_F_END;
	if (fields->len == 0)
		return true;
	if (fields->len < CAIRN_FIELD_HEAD)
		return false;
	head = le32_get(p);
	if (head >> 8 > fields->len - CAIRN_FIELD_HEAD || (head & 255) == CAIRN_F_END)
		return false;
	*field = head & 255;
	*body = cairn_slice(p + CAIRN_FIELD_HEAD, head >> 8);
	*fields =
		cairn_slice(p + CAIRN_FIELD_HEAD + (head >> 8), fields->len - CAIRN_FIELD_HEAD - (head >> 8));
	return true;
}

#endif
