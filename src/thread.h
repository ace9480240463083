/* SPDX-License-Identifier: MIT */
/*
 * Threads and their caches: the first call of a thread, its end, calls after
 * its end, and the child of a fork.
 */
#ifndef PARTYALLOC_THREAD_H
#define PARTYALLOC_THREAD_H

#include "thread_cache.h"

/*
 * The calling thread's bins; the library's only thread-local variable, since
 * room in the static TLS block is scarce for libraries loaded by dlopen.
 * Never NULL: a thread without a cache has bins in which everything misses, so
 * that the fast paths need no test for it.
 */
extern _Thread_local struct bins *thread_bins
    __attribute__((tls_model("initial-exec")));

/*
 * The calling thread's cache, entered; if it has none, one is made or taken
 * over from a thread that ended.  NULL: out of metadata; the next call tries
 * again.  To be followed by thread_leave().
 *
 * A thread whose end we have seen already (a later destructor frees something),
 * or of whose end we shall not hear (no pthread key was left), or whose cache
 * is claimed, borrows a cache for this one call.
 */
static inline struct cache *thread_enter(void);
static inline void thread_leave(struct cache *cache);

/* Hands on all that the calling thread's cache holds. */
void thread_flush(void);

/* --- Inlined -------------------------------------------------------------- */

/* The same for a thread that has no cache of its own, or cannot use it now. */
struct cache *thread_enter_slow(void);
void thread_leave_slow(struct cache *cache);

static inline bool thread_has_cache(void)
{
    return likely(thread_bins->tag != BINS_EMPTY_TAG);
}

static inline struct cache *thread_enter(void)
{
    if (thread_has_cache() && likely(cache_enter(cache_of(thread_bins))))
        return cache_of(thread_bins);
    return thread_enter_slow();
}

static inline void thread_leave(struct cache *cache)
{
    if (likely(thread_bins == cache_bins(cache)))
        cache_leave(cache);
    else
        thread_leave_slow(cache);
}

#endif
