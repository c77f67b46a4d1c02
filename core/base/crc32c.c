/* CRC-32C by the CPU's instruction, or by a table of 256 made at the first use. */
#include <pthread.h>
#include <string.h>
#include "crc32c.h"
#include "banned.h"

static uint32_t table[256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? 0x82f63b78u ^ (c >> 1) : c >> 1;
		table[i] = c;
	}
}

static uint32_t by_table(uint32_t crc, const unsigned char *p, size_t n)
{
	pthread_once(&once, make_table);
	while (n--)
		crc = table[(crc ^ *p++) & 255] ^ (crc >> 8);
	return crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t by_cpu(uint32_t crc, const unsigned char *p, size_t n)
{
	uint64_t c = crc, v;

	for (; n >= 8; n -= 8, p += 8) {
		memcpy(&v, p, 8);
		c = __builtin_ia32_crc32di(c, v);
	}
	crc = (uint32_t)c;
	while (n--)
		crc = __builtin_ia32_crc32qi(crc, *p++);
	return crc;
}
#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2"))
		return ~by_cpu(~crc, data, len);
#endif
	return ~by_table(~crc, data, len);
}
