/* Keys inside sentences for people. */
#include <stdio.h>
#include "state.h"
#include "banned.h"

const char *key_text(struct cairn_slice key, char text[KEY_TEXT])
{
	const unsigned char *p = key.data;
	size_t n = 0;

	for (size_t i = 0; i < key.len; i++) {
		if (n > KEY_TEXT - 8) {
			memcpy(text + n, "...", 3);
			n += 3;
			break;
		}
		if (p[i] < 0x20 || p[i] == 0x7f)
			n += (size_t)snprintf(text + n, KEY_TEXT - n, "\\x%02x", p[i]);
		else
			text[n++] = (char)p[i];
	}
	text[n] = 0;
	return text;
}
