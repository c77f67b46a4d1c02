/*
 * Regions of 2 MiB are cut into pages of 64 KiB, a page into objects of one size. A page whose objects have
 * all come back may take another size; a region whose pages are all empty goes back to the system, but for
 * one in reserve. What is larger than 1 KiB is malloc's.
 *
 * The descriptions of a region's pages stand together in its first page. Their place in it differs between
 * regions: at the same place they would all compete for the same lines of the processor's caches.
 *
 * Under AddressSanitizer everything is malloc's, so that it can watch.
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "slab.h"
#include "banned.h"

#define REGION ((size_t)2 << 20)
#define PAGE ((size_t)64 << 10)
#define PAGES (REGION / PAGE) /* the first one is not for objects */
#define STEP 32               /* sizes are multiples of it */
#define CLASSES 33            /* sizes 0 to 1024 */
#define COLOURS 16            /* places of the descriptions */

struct page {
	_Alignas(64) struct page *next; /* in the list of its class while it has room, or of the empty ones */
	struct page *prev;
	void *free;    /* objects that came back, linked through their first word */
	char *fresh;   /* from here on never used */
	unsigned used; /* objects taken */
	unsigned class;
};

struct region {
	struct page pages[PAGES];
	struct region *next, *prev;
	unsigned used; /* pages that are not empty */
};

struct slab {
	struct page *room[CLASSES]; /* pages with room for an object */
	struct page *empty;
	struct region *regions;
	size_t empty_count, region_count;
	size_t large; /* bytes of objects that are malloc's */
};

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PLAIN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define PLAIN 1
#endif
#ifndef PLAIN
#define PLAIN 0
#endif

_Static_assert(COLOURS *((sizeof(struct region) + 63) / 64 * 64) <= PAGE,
	       "the descriptions fit into the first page");

static struct region *region_at(uintptr_t base)
{
	return (struct region *)(base + (base / REGION) % COLOURS * ((sizeof(struct region) + 63) / 64 * 64));
}

static struct region *region_of(const void *p)
{
	return region_at((uintptr_t)p & ~(REGION - 1));
}

static char *memory_of(const struct page *page)
{
	return (char *)((uintptr_t)page & ~(REGION - 1)) + (size_t)(page - region_of(page)->pages) * PAGE;
}

static void link_page(struct page **list, struct page *page)
{
	page->prev = NULL;
	page->next = *list;
	if (page->next)
		page->next->prev = page;
	*list = page;
}

static void unlink_page(struct page **list, struct page *page)
{
	if (page->prev)
		page->prev->next = page->next;
	else
		*list = page->next;
	if (page->next)
		page->next->prev = page->prev;
}

struct slab *slab_new(void)
{
	return calloc(1, sizeof(struct slab));
}

static void region_free(struct slab *s, struct region *r)
{
	if (r->prev)
		r->prev->next = r->next;
	else
		s->regions = r->next;
	if (r->next)
		r->next->prev = r->prev;
	s->region_count--;
	free((void *)((uintptr_t)r & ~(REGION - 1)));
}

void slab_free(struct slab *s)
{
	while (s && s->regions)
		region_free(s, s->regions);
	free(s);
}

static int region_new(struct slab *s)
{
	void *base = aligned_alloc(REGION, REGION);
	struct region *r;

	if (!base)
		return -1;
	if (s->region_count) /* a small slab shall stay small */
		madvise(base, REGION, MADV_HUGEPAGE);
	r = region_at((uintptr_t)base);
	r->used = 0;
	r->prev = NULL;
	r->next = s->regions;
	if (r->next)
		r->next->prev = r;
	s->regions = r;
	s->region_count++;
	for (size_t i = PAGES - 1; i > 0; i--)
		link_page(&s->empty, &r->pages[i]);
	s->empty_count += PAGES - 1;
	return 0;
}

static struct page *page_new(struct slab *s, unsigned class)
{
	struct page *page;

	if (!s->empty && region_new(s))
		return NULL;
	page = s->empty;
	unlink_page(&s->empty, page);
	s->empty_count--;
	region_of(page)->used++;
	page->free = NULL;
	page->fresh = memory_of(page);
	page->used = 0;
	page->class = class;
	link_page(&s->room[class], page);
	return page;
}

/* A page has no object left: it may serve another class. */
static void page_empty(struct slab *s, struct page *page)
{
	struct region *r = region_of(page);

	unlink_page(&s->room[page->class], page);
	link_page(&s->empty, page);
	s->empty_count++;
	if (--r->used || s->empty_count < 2 * (PAGES - 1))
		return;
	for (size_t i = 1; i < PAGES; i++)
		unlink_page(&s->empty, &r->pages[i]);
	s->empty_count -= PAGES - 1;
	region_free(s, r);
}

static int has_room(const struct page *page, size_t size)
{
	return page->free || (size_t)(page->fresh - memory_of(page)) + size <= PAGE;
}

void *slab_take(struct slab *s, size_t size)
{
	unsigned class = (unsigned)((size + STEP - 1) / STEP);
	struct page *page;
	void *p;

	if (PLAIN || class >= CLASSES) {
		p = malloc(size);
		s->large += p ? size : 0;
		return p;
	}
	page = s->room[class];
	if (!page && !(page = page_new(s, class)))
		return NULL;
	p = page->free;
	if (p) {
		page->free = *(void **)p;
		__builtin_prefetch(page->free, 1); /* it is looked into when the next one is taken */
	} else {
		p = page->fresh;
		page->fresh += (size_t) class * STEP;
	}
	page->used++;
	if (!has_room(page, (size_t) class * STEP))
		unlink_page(&s->room[class], page);
	return p;
}

void slab_give(struct slab *s, void *p, size_t size)
{
	unsigned class = (unsigned)((size + STEP - 1) / STEP);
	struct page *page;

	if (PLAIN || class >= CLASSES) {
		free(p);
		s->large -= size;
		return;
	}
	page = &region_of(p)->pages[((uintptr_t)p & (REGION - 1)) / PAGE];
	if (!has_room(page, (size_t) class * STEP))
		link_page(&s->room[class], page);
	*(void **)p = page->free;
	page->free = p;
	if (--page->used == 0)
		page_empty(s, page);
}

size_t slab_bytes(const struct slab *s)
{
	return s->region_count * REGION + s->large;
}
