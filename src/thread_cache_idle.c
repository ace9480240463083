/* SPDX-License-Identifier: MIT */
/*
 * The caches that no thread uses.
 *
 * They lie by the processor that their last thread ended on: the next one to
 * begin there is most likely its successor, and what that inherits are then
 * blocks of its own cache.  One for each processor is left with its own small
 * blocks in it: where threads come and go, none has to fill its cache
 * anew, nor to flush it.  All others are flushed.
 */
#include "thread_cache_internal.h"

#include <string.h>

#include "os.h"

enum { PLACES = 8 };

static struct {
    _Alignas(CACHE_LINE_PAIR) _Atomic(struct cache *) left;
    _Atomic(uint64_t) since; /* about when it was; relaxed: a hint */
    struct stack flushed;
} idle[PLACES];

static unsigned place_here(void)
{
    return os_processor() % PLACES;
}

void cache_put_flushed(struct cache *cache)
{
    /* Publishes the cache to take_flushed(). */
    stack_push(&idle[place_here()].flushed, &cache->node);
}

static void flush(struct cache *cache)
{
    cache_flush(cache);
    cache_put_flushed(cache);
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
        flush(before);
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

bool cache_flush_left(uint64_t age)
{
    bool any = false;
    uint64_t now = os_now_coarse();
    for (unsigned place = 0; place < PLACES; place++) {
        uint64_t since =
            atomic_load_explicit(&idle[place].since, memory_order_relaxed);
        struct cache *cache = since + age <= now ? take_left(place) : NULL;
        if (cache == NULL)
            continue;
        flush(cache);
        any = true;
    }
    return any;
}

void cache_forget_idle(void)
{
    memset(idle, 0, sizeof(idle));
}
