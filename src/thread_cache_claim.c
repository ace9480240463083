/* SPDX-License-Identifier: MIT */
/*
 * Claiming the caches of threads that are idle.
 *
 * A thread enters its cache with two plain accesses to memory, a store and a
 * load, and only a compiler barrier between them.  The claimer pays for both:
 * after a barrier on the processors of all threads either the thread is seen to
 * have entered, or it will see the claim (tests/model/claim.pml).  Where the
 * system has no such barrier, nothing is claimed.
 *
 * A thread that finds its cache claimed borrows another one, and at its end
 * leaves its own to the claimer.
 */
#include "thread_cache_internal.h"

enum {
    /* Caches that a step looks at. */
    LOOKS = 16,
    /* Slabs or magazines that it hands on. */
    STEP = 6,
};

/* After so long a thread is taken to be idle. */
static const uint64_t idle_ns = 500 * 1000 * 1000;

/* --- Claims --------------------------------------------------------------- */

static void unclaim(struct cache *cache)
{
    struct bins *bins = cache_bins(cache);
    uint8_t claim = CLAIM_MADE;
    /* Releases the cache to cache_enter(), and acquires it from a thread that
     * has left it behind. */
    if (atomic_compare_exchange_strong_explicit(
            &bins->claim, &claim, CLAIM_NONE, memory_order_release,
            memory_order_acquire))
        return;
    atomic_store_explicit(&bins->entered, true, memory_order_relaxed);
    /* Releases that to the next claimer. */
    atomic_store_explicit(&bins->claim, CLAIM_NONE, memory_order_release);
    cache_put_left(cache);
}

/* To be followed by unclaim().  False: the cache is in use. */
static bool claim(struct cache *cache)
{
    struct bins *bins = cache_bins(cache);
    uint8_t none = CLAIM_NONE;
    if (!atomic_compare_exchange_strong_explicit(
            &bins->claim, &none, CLAIM_MADE, memory_order_acquire,
            memory_order_relaxed))
        return false;
    /* Acquires the cache; pairs with cache_leave(). */
    if (os_barrier_everywhere() &&
        !atomic_load_explicit(&bins->entered, memory_order_acquire))
        return true;
    unclaim(cache);
    return false;
}

bool cache_enter_last(struct cache *cache)
{
    while (!cache_enter(cache)) {
        uint8_t made = CLAIM_MADE;
        /* Releases the cache to unclaim(). */
        if (atomic_compare_exchange_strong_explicit(
                &cache_bins(cache)->claim, &made, CLAIM_LEFT_BEHIND,
                memory_order_release, memory_order_relaxed))
            return false;
    }
    return true;
}

/* --- Who is idle ---------------------------------------------------------- */

void cache_note_thread(struct cache *cache)
{
    atomic_store_explicit(&cache->clock, os_thread_clock(),
                          memory_order_relaxed);
}

static uint64_t time_run(const struct cache *cache)
{
    return os_thread_time(
        atomic_load_explicit(&cache->clock, memory_order_relaxed));
}

/* Whether its thread has not run since cache_look_at_threads(). */
static bool has_not_run(const struct cache *cache)
{
    return time_run(cache) ==
           atomic_load_explicit(&cache->seen_running, memory_order_relaxed);
}

/* Whether its thread has had no slow path for some time, as far as calls of
 * this have seen. */
static bool is_idle(struct cache *cache)
{
    uint64_t now = os_now_coarse();
    uint64_t ways = cache_ways(cache);
    if (ways == atomic_load_explicit(&cache->seen_ways, memory_order_relaxed))
        return now - atomic_load_explicit(&cache->seen_since,
                                          memory_order_relaxed) >=
               idle_ns;
    atomic_store_explicit(&cache->seen_ways, ways, memory_order_relaxed);
    atomic_store_explicit(&cache->seen_since, now, memory_order_relaxed);
    return false;
}

/* Whether a thread's cache may have got anything since all was handed on. */
static bool may_have_unused(const struct cache *cache)
{
    return !atomic_load_explicit(&cache->bins.entered, memory_order_relaxed) &&
           cache_ways(cache) != atomic_load_explicit(&cache->handed_on_ways,
                                                     memory_order_relaxed);
}

/* --- Handing on ----------------------------------------------------------- */

/* Hands on one slab or magazine of a class; false: there is none. */
static bool hand_on_one(struct cache *cache, unsigned class)
{
    struct slab_source *source = &cache->bins.sources[class];
    if (source->held == NULL)
        return cache_flush_further(cache, class);
    slab_let_go(source);
    return true;
}

/* True: that was all. */
static bool hand_on_step(struct cache *cache)
{
    unsigned class = 0;
    for (unsigned i = 0; i < STEP; i++) {
        while (class < CLASS_COUNT && !hand_on_one(cache, class))
            class++;
        if (class == CLASS_COUNT) {
            cache_flush_empties(cache);
            return true;
        }
    }
    return false;
}

/* False: the cache is in use. */
static bool flush_step(struct cache *cache)
{
    if (!claim(cache))
        return false;
    if (hand_on_step(cache))
        cache_note_handed_on(cache);
    unclaim(cache);
    return true;
}

void cache_look_at_threads(void)
{
    for (struct cache *cache = cache_next(NULL); cache != NULL;
         cache = cache_next(cache))
        if (may_have_unused(cache))
            atomic_store_explicit(&cache->seen_running, time_run(cache),
                                  memory_order_relaxed);
}

bool cache_flush_unused_behind(struct cache **before)
{
    for (struct cache *cache = cache_next(*before); cache != NULL;
         cache = cache_next(cache)) {
        if (may_have_unused(cache) && has_not_run(cache) && flush_step(cache))
            return true;
        *before = cache;
    }
    return false;
}

void cache_flush_unused(void)
{
    struct cache *before = NULL;
    while (cache_flush_unused_behind(&before))
        ;
}

bool cache_flush_unused_step(void)
{
    /* The last cache that had nothing.  A hint; acquires what cache_next()
     * reads of it. */
    static _Atomic(struct cache *) last;
    struct cache *before = atomic_load_explicit(&last, memory_order_acquire);
    bool any = false;
    for (unsigned i = 0; i < LOOKS; i++) {
        struct cache *cache = cache_next(before);
        any = cache != NULL && is_idle(cache) && may_have_unused(cache) &&
              flush_step(cache);
        if (any)
            break;
        before = cache;
        if (cache == NULL)
            break;
    }
    atomic_store_explicit(&last, before, memory_order_release);
    return any;
}
