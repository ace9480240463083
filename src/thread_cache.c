/* SPDX-License-Identifier: MIT */
/* The slow paths of a thread's cache: a bin that is empty, or full. */
#include "thread_cache_internal.h"

#include <string.h>

#include "depot.h"
#include "large.h"
#include "options.h"

enum {
    /* The first fill of a class takes so many bytes; later ones more. */
    FILL_FIRST_BYTES = 1 << 10,
    /* Blocks that a bin over budget gives up first; then twice as many each
     * time, until it misses one. */
    SPILL_FIRST = 12,
    /* After so many spills in a row frees seem to go on and on. */
    SPILLS_MAX = 4,
    /* After so many foreign magazines in a row their slabs change owner. */
    OTHERS_MAX = 6,
    /* Slow paths to wait before looking for pages to give back again, unless
     * these have aged meanwhile. */
    PURGE_PATIENCE = 256,
    /* Misses after which a bin is checked for being idle. */
    IDLE_INTERVAL = 16,
    /* Magazines or bins that a step of a flush hands on. */
    FLUSH_STEP = 4,
    /* One step in so many also drops kept large memory that has aged. */
    DROP_INTERVAL = 32,
};

/* --- Allocate ------------------------------------------------------------- */

/* Loads a magazine with blocks in place of the emptied one. */
static void *reload(struct cache *cache, unsigned class,
                    struct magazine *magazine)
{
    struct cursor *own = &cache->bins.of_class[class].own;
    struct magazine *old = cache_detach(cache, class, own);
    if (old != NULL)
        cache_put_empty(cache, old);
    if (unlikely(!cache_has_room(cache, class, magazine->count))) {
        /* It was filled by a cache that could hold more than this one. */
        slab_return(class, magazine->slots + 1, magazine->count - 1);
        magazine->count = 1;
    }
    cache_attach(cache, class, own, magazine, magazine->count);
    return cursor_pop(own);
}

/* How many blocks to fill the own magazine with: more each time, as far as
 * the cache may hold them; 0: not even one. */
static size_t fill_size(struct cache *cache, unsigned class)
{
    struct bin_rest *rest = &cache->rest[class];
    size_t blocks =
        rest->fill != 0 ? rest->fill * 2u : blocks_in(FILL_FIRST_BYTES, class);
    if (blocks > rest->batch)
        blocks = rest->batch;
    while (blocks != 0 && !cache_has_room(cache, class, blocks))
        blocks /= 2;
    rest->fill = (uint32_t)blocks;
    return blocks;
}

/* The last resort when the slabs have nothing: any magazine of the depot, or a
 * single block; the cache's own foreign blocks are handed on first. */
static void *take_last(struct cache *cache, unsigned class)
{
    cache_flush_foreign(cache, class);
    struct magazine *magazine = depot_take_any(class);
    if (magazine == NULL)
        return cache_allocate_one(cache, class);
    count_up(&cache->pops);
    return reload(cache, class, magazine);
}

/* Bypasses the own magazine, for which there is no room. */
static void *allocate_past(struct cache *cache, unsigned class)
{
    void *block = cache_allocate_one(cache, class);
    return block != NULL ? block : take_last(cache, class);
}

/* Fills the own magazine from the slabs. */
static void *refill(struct cache *cache, unsigned class)
{
    struct cursor *own = &cache->bins.of_class[class].own;
    struct magazine *magazine = cache_detach(cache, class, own);
    if (magazine == NULL)
        magazine = cache_take_empty(cache);
    size_t blocks = magazine != NULL ? fill_size(cache, class) : 0;
    if (blocks == 0) {
        if (magazine != NULL)
            cache_put_empty(cache, magazine);
        return allocate_past(cache, class);
    }
    magazine->count =
        slab_fill(&cache->bins.sources[class], class, magazine->slots, blocks);
    cache_attach(cache, class, own, magazine, blocks);
    void *block = cursor_pop(own);
    if (unlikely(block == NULL))
        return take_last(cache, class);
    page_map_settle(&cache->bins.home, block);
    return block;
}

/* Makes a slab the cache's own when it keeps living on blocks of others, who do
 * not want them back: else each of these would be foreign at each free. */
static void note_owner(struct cache *cache, unsigned class,
                       const struct magazine *magazine)
{
    struct bin_rest *rest = &cache->rest[class];
    const void *block = magazine->slots[magazine->count - 1];
    uint32_t owner = cache->bins.sources[class].owner;
    if (page_map_entry(block) >> ENTRY_OWNER_SHIFT == owner)
        rest->others = 0;
    else if (rest->others < OTHERS_MAX)
        rest->others++;
    else
        slab_adopt(block, owner);
}

/* A magazine of the depot: one with blocks of this cache, or, before a slab has
 * to be found, one that others can spare or that threads have left. */
static struct magazine *take_from_depot(struct cache *cache, unsigned class)
{
    const struct slab_source *source = &cache->bins.sources[class];
    struct magazine *magazine;
    if (slab_is_ready(source)) {
        magazine = depot_take_own(class, source->owner);
    } else {
        magazine = depot_take(class, source->owner);
        if (magazine == NULL && cache_flush_left(LEFT_AGE))
            magazine = depot_take(class, source->owner);
    }
    if (magazine == NULL)
        return NULL;
    count_up(&cache->pops);
    note_owner(cache, class, magazine);
    return magazine;
}

void *cache_allocate_slow(struct cache *cache, unsigned class)
{
    /* A thread that has just got its cache, or borrows one, comes here without
     * having tried this. */
    void *block = cursor_pop(&cache->bins.of_class[class].own);
    if (block != NULL)
        return block;
    if (count_up(&cache->misses) % IDLE_INTERVAL == 0)
        cache_flush_idle(cache, class);
    if (cache_is_medium(cache, class))
        return cache_allocate_medium(cache, class);
    cache->rest[class].spills = 0;
    struct magazine *magazine = cache_take_full(cache, class);
    if (magazine == NULL)
        magazine = take_from_depot(cache, class);
    return magazine != NULL ? reload(cache, class, magazine)
                            : refill(cache, class);
}

void *cache_allocate_without(unsigned class)
{
    /* An owner that no cache has, so its blocks are foreign to all. */
    struct slab_source source = {.owner = OWNER_MAX};
    void *block = depot_take_one(class);
    if (block != NULL)
        return block;
    slab_fill(&source, class, &block, 1);
    slab_let_go(&source);
    return block != NULL ? block : depot_take_any_one(class);
}

/* --- Free ----------------------------------------------------------------- */

/* Gives pages of slabs back, while more of them are dirty than is justified by
 * what is in use.  After finding nothing old enough it waits before the next
 * look.  False: it did not look. */
static bool purge_step(struct cache *cache)
{
    if (likely(slab_dirty_bytes() <= slab_dirty_allowance()))
        return false;
    if (cache->patience != 0 && cache->looked_in == slab_age()) {
        cache->patience--;
        return false;
    }
    cache->looked_in = slab_age();
    cache->patience = 0;
    bool more;
    slab_purge_step(&more);
    if (!more)
        cache->patience = PURGE_PATIENCE;
    return true;
}

/* Gives memory back, one bounded step at a time: of slabs, or else memory kept
 * of large blocks, if that is too much or has aged. */
static void give_back_step(struct cache *cache)
{
    if (option_quiet() || purge_step(cache))
        return;
    bool aged_too = ++cache->looks % DROP_INTERVAL == 0;
    if (aged_too || large_keeps_too_much())
        large_drop_step(aged_too);
}

/* Takes the oldest blocks out of a magazine and gives them to the depot: a few
 * while they may be wanted back soon, up to three quarters when frees go on and
 * on. */
static void give_older(struct cache *cache, unsigned class,
                       struct magazine *full, struct magazine *empty)
{
    struct bin_rest *rest = &cache->rest[class];
    size_t most = full->count - full->count / 4;
    size_t older = (size_t)SPILL_FIRST << rest->spills;
    if (older > most)
        older = most;
    if (rest->spills < SPILLS_MAX)
        rest->spills++;
    full->count -= older;
    empty->count = older;
    memcpy(empty->slots, full->slots, older * sizeof(void *));
    memmove(full->slots, full->slots + older, full->count * sizeof(void *));
    empty = cache_give(cache, class, empty, false);
    if (empty != NULL)
        cache_put_empty(cache, empty);
}

/* How far to fill the next magazine of a bin that overflows: as far as the last
 * one, and while frees go on and on, further by what other bins gave up. */
static size_t slots_after(const struct cache *cache, unsigned class,
                          size_t before)
{
    if (cache->rest[class].spills < SPILLS_MAX)
        return before;
    size_t wanted = before + before / 2 + 1;
    size_t room = cache_room(cache, class);
    if (wanted > MAGAZINE_SLOTS)
        wanted = MAGAZINE_SLOTS;
    if (wanted > room)
        wanted = room;
    return wanted > before ? wanted : before;
}

/*
 * A magazine with room for a cursor that has met its limit, and in *slots how
 * far to fill it.  NULL: the cache can take no more.
 *
 * A full own magazine stays in the cache if that may hold more, and otherwise
 * is thinned out; a full foreign one goes to the depot.
 */
static struct magazine *exchange(struct cache *cache, unsigned class,
                                 struct cursor *cursor, size_t *slots)
{
    size_t before = cursor_slots(cursor);
    struct magazine *full = cache_detach(cache, class, cursor);
    *slots = before;
    if (full != NULL && cursor != &cache->bins.of_class[class].own)
        return cache_give(cache, class, full, true);
    struct magazine *empty = cache_take_empty(cache);
    if (empty == NULL)
        return full != NULL ? cache_give(cache, class, full, false) : NULL;
    size_t first = cache->rest[class].batch;
    if (cache_has_room(cache, class, before + first)) {
        if (full != NULL)
            cache_put_full(cache, class, full);
        *slots = first;
        return empty;
    }
    if (full != NULL) {
        *slots = slots_after(cache, class, before);
        give_older(cache, class, full, empty);
    } else {
        cache_put_empty(cache, empty);
    }
    return full;
}

/* Makes room on a cursor that has met its limit.  False: the cache can take
 * no more. */
static bool make_room(struct cache *cache, unsigned class,
                      struct cursor *cursor)
{
    if (cache_raise_limit(cache, class, cursor))
        return true;
    size_t slots;
    struct magazine *magazine = exchange(cache, class, cursor, &slots);
    if (magazine == NULL)
        return false;
    cache_attach(cache, class, cursor, magazine, slots);
    give_back_step(cache);
    return true;
}

/* Stops the process when a block is seen to be free: on top of the own
 * magazine, where it is OUT, or anywhere that makes it not OUT. */
static void refuse_double_free(const struct cursor *cursor, bool mine,
                               unsigned class, void *block)
{
    void **top = atomic_load_explicit(&cursor->top, memory_order_relaxed);
    if ((mine && *top == block) || !slab_is_live(class, block))
        slab_misuse_slow(class, block);
}

void cache_free_slow(struct cache *cache, uint32_t entry, void *block)
{
    unsigned class = page_map_class(entry);
    struct bin *bin = &cache->bins.of_class[class];
    uint32_t view = entry ^ cache->bins.tag;
    bool mine = view < ENTRY_BIN_LIMIT;
    struct cursor *cursor = mine ? &bin->own : &bin->foreign;
    count_up(&cache->overflows);
    page_map_settle(&cache->bins.home, block);
    struct page_map_leaf *leaf = cache->bins.home.leaf;
    if (!bins_push(&cache->bins, leaf, view, block)) {
        /* It failed for a reason other than a cache new in this call. */
        refuse_double_free(cursor, mine, class, block);
        bool any = false;
        if (cache_is_medium(cache, class))
            any = cache_free_medium(cache, class, mine, block);
        else if (!make_room(cache, class, cursor) ||
                 /* If it fails now, another thread frees the same block. */
                 !bins_push(&cache->bins, leaf, view, block))
            any = cache_free_one(cache, class, block);
        /* Once, however many blocks were freed. */
        if (any)
            give_back_step(cache);
    }
}

void cache_free_without(uint32_t entry, void *block)
{
    slab_return_checked(page_map_class(entry), block);
}

void cache_count_anew(struct cache *cache)
{
    for (unsigned class = 0; class < CLASS_COUNT; class++)
        slab_count_anew(&cache->bins.sources[class]);
}

/* Whether a class has neither a magazine nor a slab. */
static bool is_unused(const struct cache *cache, unsigned class)
{
    return !cache_has_magazine(cache, class) &&
           cache->bins.sources[class].held == NULL;
}

static void flush_class(struct cache *cache, unsigned class)
{
    cache_flush_bin(cache, class);
    while (cache->bins.sources[class].held != NULL)
        slab_let_go(&cache->bins.sources[class]);
}

static void flush_from(struct cache *cache, unsigned first)
{
    for (unsigned class = first; class < CLASS_COUNT; class++)
        if (!is_unused(cache, class))
            flush_class(cache, class);
}

void cache_flush(struct cache *cache)
{
    /* First, since their count may be off in the child of a fork, and again for
     * those emptied here. */
    cache_flush_empties(cache);
    flush_from(cache, 0);
    cache_flush_empties(cache);
    cache_note_handed_on(cache);
}

void cache_flush_for_successor(struct cache *cache)
{
    for (unsigned class = 0; class < cache->medium_from; class++)
        if (cursor_is_loaded(&cache->bins.of_class[class].foreign))
            cache_flush_foreign(cache, class);
    flush_from(cache, cache->medium_from);
}

bool cache_flush_step(struct cache *cache)
{
    unsigned class = 0;
    for (unsigned i = 0; i < FLUSH_STEP; i++) {
        while (class < CLASS_COUNT && is_unused(cache, class))
            class++;
        if (class == CLASS_COUNT) {
            cache_flush_empties(cache);
            return true;
        }
        if (!cache_flush_further(cache, class))
            flush_class(cache, class);
    }
    return false;
}
