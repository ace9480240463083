/* SPDX-License-Identifier: MIT */
/* What a thread's cache holds, and how much that may be. */
#include "thread_cache_internal.h"

#include "depot.h"

enum {
    /* One class may get at most this part of a cache at once: a half. */
    RAISE_FRACTION = 2,
    /* Empty magazines in a bundle. */
    EMPTIES_MAX = 8,
    /* Magazines of an idle class that are handed on at once: it may have
     * hundreds. */
    FLUSH_IDLE_MAX = 8,
};

struct magazine magazine_empty __attribute__((aligned(MAGAZINE_BYTES)));

/* --- Magazines in and out of cursors -------------------------------------- */

/*
 * What a bin or a list shows is at every moment the truth or less than that,
 * never a block twice: a magazine leaves one place before it enters another,
 * in this order (release, I2).  So the child of a fork can take over what it
 * finds.
 */

/* What slots of a class are charged: nothing for medium blocks, where each
 * class has a bound of its own. */
static size_t charge(const struct cache *cache, unsigned class, size_t slots)
{
    return cache_is_medium(cache, class) ? 0
                                         : slots * size_classes[class].size;
}

struct magazine *cache_detach(struct cache *cache, unsigned class,
                              struct cursor *cursor)
{
    void **top = atomic_load_explicit(&cursor->top, memory_order_relaxed);
    struct magazine *magazine = magazine_of(top);
    cache->charged -= charge(cache, class, cursor_slots(cursor));
    atomic_store_explicit(&cursor->top, &magazine_empty.bottom,
                          memory_order_release);
    cursor->limit = &magazine_empty.bottom;
    if (magazine == &magazine_empty)
        return NULL;
    magazine->count = magazine_count_at(top);
    return magazine;
}

void cache_attach(struct cache *cache, unsigned class, struct cursor *cursor,
                  struct magazine *magazine, size_t slots)
{
    void **bottom = &magazine->bottom;
    CHECK(slots >= magazine->count && slots <= MAGAZINE_SLOTS);
    cache->charged += charge(cache, class, slots);
    cursor->limit = bottom + slots;
    atomic_store_explicit(&cursor->top, bottom + magazine->count,
                          memory_order_release);
}

struct magazine *cache_take_full(struct cache *cache, unsigned class)
{
    struct bin_rest *rest = &cache->rest[class];
    struct magazine *magazine =
        atomic_load_explicit(&rest->full, memory_order_relaxed);
    if (magazine == NULL)
        return NULL;
    atomic_store_explicit(&rest->full, magazine->next, memory_order_release);
    uint32_t blocks =
        atomic_load_explicit(&rest->full_blocks, memory_order_relaxed);
    atomic_store_explicit(&rest->full_blocks,
                          blocks - (uint32_t)magazine->count,
                          memory_order_relaxed);
    cache->charged -= magazine->count * size_classes[class].size;
    return magazine;
}

void cache_put_full(struct cache *cache, unsigned class,
                    struct magazine *magazine)
{
    struct bin_rest *rest = &cache->rest[class];
    magazine->next = atomic_load_explicit(&rest->full, memory_order_relaxed);
    atomic_store_explicit(&rest->full, magazine, memory_order_release);
    uint32_t blocks =
        atomic_load_explicit(&rest->full_blocks, memory_order_relaxed);
    atomic_store_explicit(&rest->full_blocks,
                          blocks + (uint32_t)magazine->count,
                          memory_order_relaxed);
    cache->charged += magazine->count * size_classes[class].size;
}

/* Takes a list of empty magazines out of its place; NULL: there is none. */
static struct magazine *take_list(_Atomic(struct magazine *) *place)
{
    struct magazine *list = atomic_load_explicit(place, memory_order_relaxed);
    atomic_store_explicit(place, NULL, memory_order_release);
    return list;
}

struct magazine *cache_take_empty(struct cache *cache)
{
    struct magazine *magazine = take_list(&cache->empties);
    if (magazine == NULL) {
        magazine = take_list(&cache->spare_empties);
        if (magazine == NULL)
            magazine = depot_take_empties();
        if (magazine == NULL)
            return NULL;
        cache->empty_count = (unsigned)magazine->count;
        magazine->count = 0;
    }
    atomic_store_explicit(&cache->empties, magazine->next,
                          memory_order_release);
    cache->empty_count--;
    return magazine;
}

/* Makes the empty magazines at hand the spare bundle.  The one before that goes
 * to the depot. */
static void bundle_empties(struct cache *cache)
{
    struct magazine *bundle = take_list(&cache->empties);
    bundle->count = cache->empty_count;
    cache->empty_count = 0;
    struct magazine *spare = take_list(&cache->spare_empties);
    if (spare != NULL)
        depot_give_empties(spare);
    atomic_store_explicit(&cache->spare_empties, bundle, memory_order_release);
}

void cache_put_empty(struct cache *cache, struct magazine *magazine)
{
    if (cache->empty_count >= EMPTIES_MAX)
        bundle_empties(cache);
    magazine->next =
        atomic_load_explicit(&cache->empties, memory_order_relaxed);
    atomic_store_explicit(&cache->empties, magazine, memory_order_release);
    cache->empty_count++;
}

void cache_flush_empties(struct cache *cache)
{
    struct magazine *spare = take_list(&cache->spare_empties);
    if (spare != NULL)
        depot_give_empties(spare);
    struct magazine *magazine = take_list(&cache->empties);
    cache->empty_count = 0;
    if (magazine == NULL)
        return;
    /* Recounted: in the child of a fork the count may be off. */
    magazine->count = 1;
    for (struct magazine *at = magazine->next; at != NULL; at = at->next)
        magazine->count++;
    depot_give_empties(magazine);
}

/* --- What a cache may hold ------------------------------------------------ */

size_t blocks_in(size_t bytes, unsigned class)
{
    size_t blocks = bytes / size_classes[class].size;
    if (blocks > MAGAZINE_SLOTS)
        return MAGAZINE_SLOTS;
    return blocks != 0 ? blocks : 1;
}

struct magazine *cache_give(struct cache *cache, unsigned class,
                            struct magazine *magazine, bool away)
{
    bool given =
        away ? depot_give_away(class, magazine) : depot_give(class, magazine);
    if (!given)
        return magazine;
    count_up(&cache->pushes);
    return cache_take_empty(cache);
}

/* Empties a magazine: to the depot if it has enough blocks, else to the slabs,
 * so that no two threads share cache lines through a handful of blocks. */
static void hand_on(struct cache *cache, unsigned class,
                    struct magazine *magazine, bool away)
{
    if (magazine == NULL)
        return;
    if (magazine->count * 2 > cache->rest[class].batch) {
        magazine = cache_give(cache, class, magazine, away);
    } else {
        if (away)
            slab_mark_out(magazine);
        slab_return(class, magazine->slots, magazine->count);
        magazine->count = 0;
    }
    if (magazine != NULL)
        cache_put_empty(cache, magazine);
}

void cache_flush_foreign(struct cache *cache, unsigned class)
{
    struct cursor *foreign = &cache->bins.of_class[class].foreign;
    hand_on(cache, class, cache_detach(cache, class, foreign), true);
}

bool cache_flush_further(struct cache *cache, unsigned class)
{
    struct magazine *magazine = cache_take_full(cache, class);
    hand_on(cache, class, magazine, false);
    return magazine != NULL;
}

void cache_flush_bin(struct cache *cache, unsigned class)
{
    struct bin *bin = &cache->bins.of_class[class];
    if (cache_is_medium(cache, class))
        cache_spill_medium(cache, class, &bin->own,
                           magazine_count_at(atomic_load_explicit(
                               &bin->own.top, memory_order_relaxed)));
    while (cache_flush_further(cache, class))
        ;
    hand_on(cache, class, cache_detach(cache, class, &bin->own), false);
    cache_flush_foreign(cache, class);
    cache->rest[class].fill = 0;
    cache->rest[class].spills = 0;
    cache->bins.sources[class].growth = 0;
}

/* Whether the own magazine of a bin looks as it did at the last call. */
static bool is_idle(struct cache *cache, unsigned class)
{
    struct bin_rest *rest = &cache->rest[class];
    void **top = atomic_load_explicit(&cache->bins.of_class[class].own.top,
                                      memory_order_relaxed);
    bool idle = top == rest->seen_top && *top == rest->seen_block;
    rest->seen_top = top;
    rest->seen_block = *top;
    return idle;
}

bool cache_has_magazine(const struct cache *cache, unsigned class)
{
    const struct bin *bin = &cache->bins.of_class[class];
    return cursor_is_loaded(&bin->own) || cursor_is_loaded(&bin->foreign) ||
           atomic_load_explicit(&cache->rest[class].full,
                                memory_order_relaxed) != NULL;
}

SLOW_PATH void cache_flush_idle(struct cache *cache, unsigned class)
{
    if (!cache->hand_stays)
        cache->hand = (cache->hand + 1) % CLASS_COUNT;
    cache->hand_stays = false;
    if (cache->hand == class || !cache_has_magazine(cache, cache->hand) ||
        !is_idle(cache, cache->hand))
        return;
    for (unsigned i = 0; i < FLUSH_IDLE_MAX; i++)
        if (!cache_flush_further(cache, cache->hand)) {
            cache_flush_bin(cache, cache->hand);
            return;
        }
    cache->hand_stays = true;
}

static void lower_limit(struct cache *cache, unsigned class,
                        struct cursor *cursor)
{
    void **top = atomic_load_explicit(&cursor->top, memory_order_relaxed);
    size_t less = (size_t)(cursor->limit - top) / 4;
    cache->charged -= less * size_classes[class].size;
    cursor->limit -= less;
}

/* Takes back a quarter of a bin's unused slots: others have more use for those
 * that it does not reach again in the meantime. */
static void narrow(struct cache *cache, unsigned class)
{
    struct bin *bin = &cache->bins.of_class[class];
    if (cache_is_medium(cache, class))
        return;
    lower_limit(cache, class, &bin->own);
    lower_limit(cache, class, &bin->foreign);
}

bool cache_has_room(struct cache *cache, unsigned class, size_t blocks)
{
    size_t bytes = blocks * size_classes[class].size;
    if (bytes > cache->budget / RAISE_FRACTION)
        return false;
    if (likely(cache->charged + bytes <= cache->budget))
        return true;
    cache_flush_idle(cache, class);
    if (cache->hand != class)
        narrow(cache, cache->hand);
    return cache->charged + bytes <= cache->budget;
}

size_t cache_room(const struct cache *cache, unsigned class)
{
    size_t bytes =
        cache->charged < cache->budget ? cache->budget - cache->charged : 0;
    return bytes / size_classes[class].size;
}

bool cache_raise_limit(struct cache *cache, unsigned class,
                       struct cursor *cursor)
{
    size_t slots = cursor_slots(cursor);
    size_t most = cursor == &cache->bins.of_class[class].own
                      ? (size_t)MAGAZINE_SLOTS
                      : cache->rest[class].batch;
    if (slots == 0 || slots >= most)
        return false;
    size_t more = cache->rest[class].batch;
    if (more < slots / 2)
        more = slots / 2;
    if (more > most - slots)
        more = most - slots;
    if (!cache_has_room(cache, class, more))
        return false;
    cache->charged += more * size_classes[class].size;
    cursor->limit += more;
    return true;
}

void cache_settle(struct cache *cache)
{
    cache->charged = 0;
    atomic_store_explicit(&cache->bins.entered, true, memory_order_relaxed);
    atomic_store_explicit(&cache->bins.claim, CLAIM_NONE, memory_order_relaxed);
    for (unsigned class = 0; class < CLASS_COUNT; class++)
        atomic_store_explicit(&cache->rest[class].full_blocks, 0,
                              memory_order_relaxed);
}
