/* SPDX-License-Identifier: MIT */
/*
 * Medium blocks, and single ones, in a thread's cache.
 *
 * A few medium blocks would use up what a cache may hold of small ones, so they
 * do not pass from thread to thread in magazines.  Those a thread frees stay
 * with the slabs that its cache holds; a magazine in front of these saves most
 * accesses to them.  Blocks of other slabs pass one by one.
 */
#include "thread_cache_internal.h"

#include "depot.h"

enum {
    /* A magazine in front of held slabs takes so many blocks at first; and at
     * the most, or what is so many times the budget of small ones: 1 MiB. */
    MEDIUM_SLOTS_MIN = 2,
    MEDIUM_SLOTS_MAX = 16,
    MEDIUM_FACTOR = 2,
};

/* Whether the blocks of a class stay with the slabs that the cache holds.  For
 * each class the cache takes slabs either for that or for slab_fill(); never
 * both. */
static bool is_local(const struct cache *cache, unsigned class)
{
    return cache_is_medium(cache, class) && !cache->checked &&
           size_classes[class].capacity <= SLAB_LOCAL_MAX;
}

/* `slots`, but no more than a magazine of the class may take. */
static size_t slots_up_to(const struct cache *cache, unsigned class,
                          size_t slots)
{
    size_t most = blocks_in(cache->budget * MEDIUM_FACTOR, class);
    if (most > MEDIUM_SLOTS_MAX)
        most = MEDIUM_SLOTS_MAX;
    return slots < most ? slots : most;
}

/* The cursor of a local class, with a magazine.  NULL: the class is not local,
 * or out of memory. */
static struct cursor *own_cursor(struct cache *cache, unsigned class)
{
    struct cursor *own = &cache->bins.of_class[class].own;
    if (unlikely(!is_local(cache, class)))
        return NULL;
    if (likely(cursor_slots(own) != 0))
        return own;
    struct magazine *magazine = cache_take_empty(cache);
    if (magazine == NULL)
        return NULL;
    cache_attach(cache, class, own, magazine,
                 slots_up_to(cache, class, MEDIUM_SLOTS_MIN));
    return own;
}

/* Doubles the slots of a magazine that was spilled since it was last empty: its
 * blocks are freed and reused.  Blocks that are only allocated, and later only
 * freed, need none. */
static void deepen(struct cache *cache, unsigned class, struct cursor *own)
{
    struct bin_rest *rest = &cache->rest[class];
    size_t slots = cursor_slots(own);
    if (rest->spills != 0)
        own->limit += slots_up_to(cache, class, 2 * slots) - slots;
    rest->spills = 0;
}

void *cache_allocate_one(struct cache *cache, unsigned class)
{
    struct slab_source *source = &cache->bins.sources[class];
    void *block = cache->checked ? NULL : depot_take_one(class);
    if (block == NULL && is_local(cache, class))
        block = slab_take_one(source, class);
    else if (block == NULL)
        slab_fill(source, class, &block, 1);
    return block;
}

void *cache_allocate_medium(struct cache *cache, unsigned class)
{
    struct cursor *own = own_cursor(cache, class);
    if (own == NULL)
        return cache_allocate_one(cache, class);
    deepen(cache, class, own);
    void **bottom = atomic_load_explicit(&own->top, memory_order_relaxed);
    size_t half = (cursor_slots(own) + 1) / 2;
    size_t count =
        slab_take_local(&cache->bins.sources[class], bottom + 1, half);
    if (count == 0)
        return cache_allocate_one(cache, class);
    atomic_store_explicit(&own->top, bottom + count - 1, memory_order_release);
    return bottom[count];
}

bool cache_free_one(struct cache *cache, unsigned class, void *block)
{
    if (cache->checked)
        slab_return_checked(class, block);
    else if (is_local(cache, class) &&
             slab_give_local(&cache->bins.sources[class], class, block))
        return false;
    else
        depot_give_one(class, block);
    return true;
}

bool cache_spill_medium(struct cache *cache, unsigned class,
                        struct cursor *cursor, size_t count)
{
    bool any = false;
    void **top = atomic_load_explicit(&cursor->top, memory_order_relaxed);
    /* First, see I2. */
    atomic_store_explicit(&cursor->top, top - count, memory_order_release);
    for (size_t i = 0; i < count; i++)
        any |= cache_free_one(cache, class, top[-(ptrdiff_t)i]);
    return any;
}

bool cache_free_medium(struct cache *cache, unsigned class, bool mine,
                       void *block)
{
    struct cursor *own = mine ? own_cursor(cache, class) : NULL;
    if (own == NULL)
        return cache_free_one(cache, class, block);
    bool any = false;
    if (atomic_load_explicit(&own->top, memory_order_relaxed) == own->limit) {
        any = cache_spill_medium(cache, class, own,
                                 (cursor_slots(own) + 1) / 2);
        cache->rest[class].spills = 1;
    }
    if (!cursor_push(own, block))
        slab_misuse_slow(class, block);
    return any;
}
