/* SPDX-License-Identifier: MIT */
/* All thread caches: making them, and sums over them. */
#include "thread_cache_internal.h"

#include "metadata.h"
#include "options.h"

static _Atomic(struct cache *) newest;
static _Atomic(uint32_t) made;

/* Blocks above this part of what a cache may hold are medium: above 4 KiB. */
enum { SMALL_FRACTION = 128 };

static unsigned first_medium(const struct cache *cache)
{
    unsigned class = 0;
    while (!cache->checked && class < CLASS_COUNT &&
           size_classes[class].size <= cache->budget / SMALL_FRACTION)
        class++;
    return class;
}

/* Puts what the fast paths touch of a cache, its bins and what follows them up
 * to the tag, on one page. */
enum { CACHE_ALIGNMENT = 2048 };
_Static_assert(offsetof(struct bins, sources) <= CACHE_ALIGNMENT,
               "within one page");

struct cache *cache_make(void)
{
    options_fix();
    if (atomic_load_explicit(&made, memory_order_relaxed) >= OWNER_MAX - 1)
        return NULL;
    struct cache *cache = metadata_allocate(sizeof(*cache), CACHE_ALIGNMENT);
    if (cache == NULL)
        return NULL;
    uint32_t owner =
        atomic_fetch_add_explicit(&made, 1, memory_order_relaxed) + 1;
    if (owner >= OWNER_MAX) /* another thread has had the last number */
        return NULL;
    cache->checked = option_checked();
    cache->budget = option_cache_bytes();
    cache->medium_from = first_medium(cache);
    cache->bins = (struct bins)BINS_EMPTY;
    cache->bins.tag = owner << ENTRY_OWNER_SHIFT;
    atomic_init(&cache->bins.entered, true);
    for (unsigned class = 0; class < CLASS_COUNT; class++) {
        cache->bins.sources[class].owner = owner;
        cache->rest[class].batch = (uint32_t)blocks_in(FILL_BYTES, class);
    }
    cache->next = atomic_load_explicit(&newest, memory_order_relaxed);
    /* Publishes the cache to cache_next(). */
    while (!atomic_compare_exchange_weak_explicit(&newest, &cache->next, cache,
                                                  memory_order_release,
                                                  memory_order_relaxed))
        ;
    return cache;
}

struct cache *cache_next(struct cache *cache)
{
    /* Pairs with cache_make(). */
    return cache ? cache->next
                 : atomic_load_explicit(&newest, memory_order_acquire);
}

/* Blocks in a bin, as far as another thread can see. */
static uint64_t count_bin(const struct bin *bin, const struct bin_rest *rest)
{
    return magazine_count_at(
               atomic_load_explicit(&bin->own.top, memory_order_relaxed)) +
           magazine_count_at(
               atomic_load_explicit(&bin->foreign.top, memory_order_relaxed)) +
           atomic_load_explicit(&rest->full_blocks, memory_order_relaxed);
}

struct cache_totals cache_totals(void)
{
    struct cache_totals totals = {0};
    for (struct cache *cache = cache_next(NULL); cache != NULL;
         cache = cache_next(cache)) {
        totals.caches++;
        totals.misses +=
            atomic_load_explicit(&cache->misses, memory_order_relaxed);
        totals.overflows +=
            atomic_load_explicit(&cache->overflows, memory_order_relaxed);
        totals.pushes +=
            atomic_load_explicit(&cache->pushes, memory_order_relaxed);
        totals.pops += atomic_load_explicit(&cache->pops, memory_order_relaxed);
        for (unsigned class = 0; class < CLASS_COUNT; class++) {
            uint64_t blocks =
                count_bin(&cache->bins.of_class[class], &cache->rest[class]);
            totals.blocks += blocks;
            totals.bytes += blocks * size_classes[class].size;
        }
    }
    return totals;
}
