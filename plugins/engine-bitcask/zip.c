/*
 * Compression: one compressor for the writer; readers take an expander from a pile and put it back, since
 * making one costs more than using it. Without zstd in the build nothing can be packed, and nothing packed
 * can be read.
 */
#include "config.h"
#include <pthread.h>
#include <stdlib.h>
#include "records.h"
#include "zip.h"
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif
#include "banned.h"

#ifdef HAVE_ZSTD

#define LEVEL 1
#define PILE 16 /* expanders kept */

struct zip {
	ZSTD_CCtx *packer; /* the writer's */
	pthread_mutex_t lock;
	ZSTD_DCtx *pile[PILE]; /* LOCK */
	unsigned count;
};

bool zip_there(void)
{
	return true;
}

struct zip *zip_new(void)
{
	struct zip *z = calloc(1, sizeof(*z));

	if (z)
		pthread_mutex_init(&z->lock, NULL);
	return z;
}

void zip_free(struct zip *z)
{
	if (!z)
		return;
	ZSTD_freeCCtx(z->packer);
	while (z->count)
		ZSTD_freeDCtx(z->pile[--z->count]);
	pthread_mutex_destroy(&z->lock);
	free(z);
}

size_t zip_pack(struct zip *z, struct cairn_slice value, void *to, size_t room)
{
	size_t n;

	if (!z->packer)
		z->packer = ZSTD_createCCtx();
	if (!z->packer)
		return 0;
	n = ZSTD_compressCCtx(z->packer, to, room, value.data, value.len, LEVEL);
	return ZSTD_isError(n) ? 0 : n;
}

long long zip_size(struct cairn_slice value)
{
	unsigned long long n = ZSTD_getFrameContentSize(value.data, value.len);

	return n > RECORD_BATCH_MAX ? -1 : (long long)n;
}

bool zip_unpack(struct zip *z, struct cairn_slice value, void *to, size_t size)
{
	ZSTD_DCtx *d = NULL;
	size_t n;

	pthread_mutex_lock(&z->lock);
	if (z->count)
		d = z->pile[--z->count];
	pthread_mutex_unlock(&z->lock);
	if (!d)
		d = ZSTD_createDCtx();
	if (!d)
		return false;
	n = ZSTD_decompressDCtx(d, to, size, value.data, value.len);
	pthread_mutex_lock(&z->lock);
	if (z->count < PILE) {
		z->pile[z->count++] = d;
		d = NULL;
	}
	pthread_mutex_unlock(&z->lock);
	ZSTD_freeDCtx(d);
	return n == size;
}

#else

struct zip {
	char nothing;
};

bool zip_there(void)
{
	return false;
}

struct zip *zip_new(void)
{
	return calloc(1, sizeof(struct zip));
}

void zip_free(struct zip *z)
{
	free(z);
}

size_t zip_pack(struct zip *z, struct cairn_slice value, void *to, size_t room)
{
	(void)z;
	(void)value;
	(void)to;
	(void)room;
	return 0;
}

long long zip_size(struct cairn_slice value)
{
	(void)value;
	return -1;
}

bool zip_unpack(struct zip *z, struct cairn_slice value, void *to, size_t size)
{
	(void)z;
	(void)value;
	(void)to;
	(void)size;
	return false;
}

#endif
