/* Amounts as people write them. */
#ifndef AMOUNT_H
#define AMOUNT_H

#include <stdbool.h>
#include <stdint.h>
#include <cairn/slice.h>

/* Take the decimal number that *TEXT begins with. False where there is none, or it does not fit. */
bool amount_number(struct cairn_slice *text, uint64_t *number);
/* TEXT as a number of bytes: digits, with K, M, G or T behind them, or KiB, MiB, GiB, TiB. */
bool amount_bytes(struct cairn_slice text, uint64_t *bytes);

#endif
