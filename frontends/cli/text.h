/* Bytes and people: what may be shown as it is, how the rest is written, and how a typed line becomes words.
 */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <cairn/errors.h>
#include <cairn/slice.h>

/* The bytes of the UTF-8 character at the start of S that a terminal shows as one; 0 where there is none
 * such. */
size_t text_character(struct cairn_slice s, bool utf8);
/* Whether the environment ($LC_ALL, $LC_CTYPE, $LANG) asks for UTF-8. */
bool text_is_utf8(void);
/* Columns that S takes, one for each character. */
size_t text_width(const char *s);

enum text_escape {
	TEXT_LINES = 1 << 0,    /* newline and tab stay as they are */
	TEXT_BACKSLASH = 1 << 1 /* a backslash is doubled, so that the bytes can be had back */
};
/* Write S with control bytes, and bytes that are no UTF-8, as \n, \t or \xHH. */
void text_escape(FILE *out, struct cairn_slice s, bool utf8, unsigned flags);
/* Write S so that a shell, and cairn's own, reads it as one word: bare where it can be, else quoted. */
void text_quote(FILE *out, struct cairn_slice s, bool utf8);

/* SIZE as people say it: 312, 4.5 KiB, 64 MiB. */
#define TEXT_SIZE 24
void text_size(uint64_t size, char text[TEXT_SIZE]);
/* NS since 1970 as local time: 2026-11-20 10:05, or with seconds and zone where LONG_FORM. */
#define TEXT_TIME 48
void text_time(uint64_t ns, bool long_form, char text[TEXT_TIME]);
/* A duration "30s", "500ms", "2m", "1h", or a number of seconds ("1.5"). Whether TEXT is one. */
bool text_duration(const char *text, uint64_t *ms);
/* A decimal number. Whether TEXT is one and fits. */
bool text_number(const char *text, uint64_t *number);

/* The same with a sign. */
bool text_integer(const char *text, int64_t *number);

/* One word of a line. TEXT has a NUL behind its LEN bytes, and may hold others. */
struct word {
	char *text;
	size_t len;
};

/* The words of a line. Zero at first; freed with words_free. */
struct words {
	struct word *list;
	size_t count, room;
	bool open; /* the line ended within quotes or behind a backslash */
};

static inline struct cairn_slice word_slice(const struct word *w)
{
	return (struct cairn_slice){ w->text, w->len };
}

/* Add a copy of the LEN bytes at TEXT. False without memory. */
bool words_add(struct words *w, const char *text, size_t len);
/*
 * Split LINE by the rules of a shell: blanks, 'as it is', "with \" and \\", \x, $'\n \t \xHH', and # for a
 * comment. False where a quote is not closed (W->open; W then ends with the word as far as it went) or an
 * escape is not understood.
 */
bool words_split(struct words *w, struct cairn_slice line);
void words_free(struct words *w);

#endif
