/* SPDX-License-Identifier: MIT */
/*
 * The caches that no thread uses.
 *
 * They lie by the processor that their last thread ended on: the next thread to
 * start there is most likely its successor, and the blocks it inherits are then
 * its own cache's.  The last cache at each place is left with its own small
 * blocks in it, and is taken before any flushed one, from whichever place:
 * where threads come and go, none has to refill its cache or flush it.  All
 * others are flushed.
 */
#include "thread_cache_internal.h"

#include <string.h>

#include "os.h"

enum { PLACES = 8 };

static struct {
    _Alignas(CACHE_LINE_PAIR) _Atomic(struct cache *) left;
    _Atomic(uint64_t) since; /* about when it was left; relaxed: a hint */
    struct stack flushed;
} idle[PLACES];

static unsigned place_here(void)
{
    return os_processor() % PLACES;
}

static void put_flushed(struct cache *cache, unsigned place)
{
    /* Publishes the cache to take_flushed(). */
    stack_push(&idle[place].flushed, &cache->node);
}

void cache_put_flushed(struct cache *cache)
{
    put_flushed(cache, place_here());
}

static void flush(struct cache *cache, unsigned place)
{
    cache_flush(cache);
    put_flushed(cache, place);
}

void cache_put_left(struct cache *cache)
{
    cache_flush_for_successor(cache);
    unsigned place = place_here();
    atomic_store_explicit(&idle[place].since, os_now_coarse(),
                          memory_order_relaxed);
    /* Publishes the cache to take_left(), and observes the one before. */
    struct cache *before = atomic_exchange_explicit(&idle[place].left, cache,
                                                    memory_order_acq_rel);
    if (before != NULL)
        flush(before, place);
}

/* NULL: there is none. */
static struct cache *take_left(unsigned place)
{
    if (atomic_load_explicit(&idle[place].left, memory_order_relaxed) == NULL)
        return NULL;
    /* Pairs with cache_put_left(). */
    return atomic_exchange_explicit(&idle[place].left, NULL,
                                    memory_order_acquire);
}

/* NULL: there is none. */
static struct cache *take_flushed(unsigned place)
{
    unsigned retries = 0;
    struct stack_node *node = stack_pop(&idle[place].flushed, &retries);
    if (node == NULL)
        return NULL;
    return (struct cache *)(void *)((char *)node -
                                    offsetof(struct cache, node));
}

struct cache *cache_take_idle(void)
{
    unsigned here = place_here();
    struct cache *cache = NULL;
    for (unsigned i = 0; i < PLACES && cache == NULL; i++)
        cache = take_left((here + i) % PLACES);
    for (unsigned i = 0; i < PLACES && cache == NULL; i++)
        cache = take_flushed((here + i) % PLACES);
    return cache;
}

/* Hands on a part of what a cache left at a place has. */
static void flush_part(struct cache *cache, unsigned place)
{
    struct cache *nobody = NULL;
    if (cache_flush_step(cache))
        put_flushed(cache, place);
    /* Back to its place, with its age, if that is still free.  Publishes as
     * cache_put_left() does. */
    else if (!atomic_compare_exchange_strong_explicit(
                 &idle[place].left, &nobody, cache, memory_order_release,
                 memory_order_relaxed))
        flush(cache, place);
}

bool cache_flush_left(uint64_t age)
{
    uint64_t now = os_now_coarse();
    for (unsigned place = 0; place < PLACES; place++) {
        uint64_t since =
            atomic_load_explicit(&idle[place].since, memory_order_relaxed);
        struct cache *cache = since + age <= now ? take_left(place) : NULL;
        if (cache == NULL)
            continue;
        flush_part(cache, place);
        return true;
    }
    return false;
}

void cache_flush_all_left(void)
{
    for (unsigned place = 0; place < PLACES; place++) {
        struct cache *cache = take_left(place);
        if (cache != NULL)
            flush(cache, place);
    }
}

void cache_forget_idle(void)
{
    memset(idle, 0, sizeof(idle));
}
