/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), the checksum of every disk format here. */
#ifndef CRC32C_H
#define CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Checksum of LEN bytes at DATA going on from CRC (0 at the start). Uses the CPU's instruction where it has
 * one. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

#endif
