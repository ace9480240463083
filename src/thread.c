/* SPDX-License-Identifier: MIT */
/*
 * The life of a thread, as thread_bins shows it:
 *
 *     bins_absent    has not allocated yet
 *        | thread_enter()
 *        v
 *     a cache's bins
 *        | exit_thread(), from pthread's key destructor
 *        v
 *     bins_departed  borrows a cache for each call
 *
 * A thread that can get no key goes from absent to departed at once; the others
 * are departed while they set their key.
 */
#include "thread.h"

#include <errno.h>
#include <pthread.h>

#include "chunk.h"
#include "depot.h"
#include "metadata.h"
#include "os.h"
#include "partyalloc.h"

static struct bins bins_absent = BINS_EMPTY;
static struct bins bins_departed = BINS_EMPTY;

_Thread_local struct bins *thread_bins = &bins_absent;

/* --- The key whose destructor tells of a thread's end --------------------- */

enum key_state { KEY_NONE, KEY_MAKING, KEY_READY, KEY_FAILED };

static _Atomic(int) key_state = KEY_NONE;
static pthread_key_t key;

static void exit_thread(void *value)
{
    struct cache *cache = value;
    thread_bins = &bins_departed;
    if (cache_enter_last(cache))
        cache_put_left(cache);
}

/* Makes the key; returns the state.  KEY_MAKING: another thread is about to.
 */
static int make_key(void)
{
    int state = KEY_NONE;
    /* Acquires the key; pairs with the store below. */
    if (!atomic_compare_exchange_strong_explicit(&key_state, &state, KEY_MAKING,
                                                 memory_order_acquire,
                                                 memory_order_acquire))
        return state;
    state = pthread_key_create(&key, exit_thread) == 0 ? KEY_READY : KEY_FAILED;
    atomic_store_explicit(&key_state, state, memory_order_release);
    return state;
}

/* In the child of a fork: another thread may have been about to make it. */
static void unmake_key(void)
{
    int state = KEY_MAKING;
    atomic_compare_exchange_strong_explicit(&key_state, &state, KEY_NONE,
                                            memory_order_relaxed,
                                            memory_order_relaxed);
}

/* --- Entering ------------------------------------------------------------- */

/*
 * Binds a cache to the thread for good, if we shall hear of the thread's end.
 * pthread_setspecific() may allocate; in case we serve that, the thread borrows
 * a cache for it.
 */
static void bind(struct cache *cache)
{
    int state = make_key();
    if (state == KEY_MAKING)
        return; /* the next call tries again */
    thread_bins = &bins_departed;
    if (state != KEY_READY || pthread_setspecific(key, cache) != 0)
        return;
    cache_note_thread(cache);
    thread_bins = cache_bins(cache);
}

SLOW_PATH struct cache *thread_enter_slow(void)
{
    int saved = errno;
    struct cache *cache = cache_take_idle();
    if (cache == NULL)
        cache = cache_make();
    if (cache != NULL && thread_bins == &bins_absent)
        bind(cache);
    errno = saved;
    return cache;
}

SLOW_PATH void thread_leave_slow(struct cache *cache)
{
    cache_put_left(cache);
}

void thread_flush(void)
{
    if (!thread_has_cache() || !cache_enter(cache_of(thread_bins)))
        return;
    cache_flush(cache_of(thread_bins));
    cache_leave(cache_of(thread_bins));
}

/* --- Process -------------------------------------------------------------- */

static void set_straight(struct cache *cache)
{
    cache_count_anew(cache);
    cache_flush(cache);
    cache_settle(cache);
}

static void take_over(struct cache *cache)
{
    set_straight(cache);
    cache_put_flushed(cache);
}

/* The cache of the thread that forked, which another one may have claimed. */
static void go_on_with(struct cache *cache)
{
    cache_note_thread(cache);
    if (likely(!cache_is_claimed(cache)))
        return;
    set_straight(cache);
    cache_leave(cache);
}

/*
 * In the child of a fork only the forking thread goes on.  It takes over what
 * the caches of all others show; a magazine that was between two places at the
 * time of the fork is lost to the child, see thread_cache_room.c.
 */
static void after_fork_in_child(void)
{
    os_after_fork_in_child();
    unmake_key();
    cache_forget_idle();
    for (struct cache *cache = cache_next(NULL); cache != NULL;
         cache = cache_next(cache)) {
        if (cache_bins(cache) == thread_bins)
            go_on_with(cache);
        else
            take_over(cache);
    }
    /* The threads that these blocks were left for will not come. */
    depot_drain_all();
    depot_settle();
}

/* Early, so that the key gets a low index and exists for the first thread; and
 * while there is one thread, so that none has to map memory while others take
 * page faults on theirs, which makes each wait for all.  For whoever calls
 * before this runs, all of it is made on demand. */
__attribute__((constructor)) static void load(void)
{
    make_key();
    os_prepare_barrier();
    metadata_map_ahead();
    chunk_map_ahead();
    pthread_atfork(NULL, NULL, after_fork_in_child);
}
