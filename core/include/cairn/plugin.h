/*
 * What all kinds of plugins share: the head of their struct, and their parameters. The program that loads a
 * plugin offers it the functions of cairn/errors.h.
 */
#ifndef CAIRN_PLUGIN_H
#define CAIRN_PLUGIN_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <cairn/slice.h>
#include <cairn/errors.h>

#define CAIRN_EXPORT __attribute__((visibility("default")))

enum cairn_param_type {
	CAIRN_PARAM_BOOL,   /* yes or no */
	CAIRN_PARAM_NUMBER, /* a decimal number, not negative */
	CAIRN_PARAM_SIZE,   /* bytes, with an optional K, M, G or T (powers of 1024) */
	CAIRN_PARAM_TEXT    /* any text */
};

/* One parameter of a plugin; the list ends with a row whose name is NULL. */
struct cairn_param {
	const char *name;
	enum cairn_param_type type;
	const char *fallback; /* value as text where none is given */
	bool live;            /* may change while open */
	const char *help;     /* one line */
};

/* A parsed parameter as open() gets it: one for each row, in the order of the rows. */
struct cairn_value {
	uint64_t number;  /* BOOL (0, 1), NUMBER, SIZE in bytes */
	const char *text; /* TEXT, and the source text of the others; valid during the call */
};

/* First in every plugin struct, filled by its REGISTER macro. */
struct cairn_plugin_head {
	uint32_t size; /* of the whole struct as the plugin was compiled */
	uint32_t abi;  /* CAIRN_…_ABI as the plugin was compiled */
};

#endif
