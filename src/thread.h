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
 * Never NULL: a thread without a cache has bins in which everything misses,
 * so that the fast paths need no test of their own for it.
 */
extern _Thread_local struct bins *thread_bins
    __attribute__((tls_model("initial-exec")));

/*
 * The calling thread's cache; made, or taken over from a thread that ended, if
 * it has none.  NULL: out of metadata.  To be ended by thread_leave().
 *
 * A thread whose end we have seen already (a destructor that runs later frees
 * something), or of whose end we shall not hear (no pthread key was left),
 * gets a cache for this one call.
 */
struct cache *thread_enter(void);
void thread_leave(struct cache *cache);

/* Hands on all that the calling thread's cache holds. */
void thread_flush(void);

#endif
