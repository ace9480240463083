/* SPDX-License-Identifier: MIT */
/*
 * The thread cache: serves nearly every allocate and free, with no lock, no
 * atomic read-modify-write and no call.
 *
 * For each size class a cache has a bin of two loaded magazines.  Blocks are
 * allocated from `own`.  A freed block goes back there when it lies in a slab
 * that this cache owns; otherwise to `foreign`, which is only ever handed on
 * whole, so that freeing each other's blocks does not bring two threads to
 * write to one cache line.
 *
 * Owner:     one thread at a time, or nobody (thread_cache_idle.c).  What the
 *            fast paths do not touch: whoever has entered it.
 * Readers:   partyalloc_get_stats() reads the tops.
 * Memory:    type-stable (metadata).
 */
#ifndef PARTYALLOC_THREAD_CACHE_H
#define PARTYALLOC_THREAD_CACHE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compiler.h"
#include "magazine.h"
#include "page_map.h"
#include "size_class.h"
#include "slab.h"
#include "slab_state.h"

/* The open end of a loaded magazine.  Never NULL: a cursor without a magazine
 * has the shared empty one, whose top points to NULL and is at its limit. */
struct cursor {
    _Atomic(void **) top; /* the topmost full slot; below slot 0: bottom */
    void **limit;         /* the topmost slot that may be filled */
};

/* The hot part of a class: what the fast paths touch. */
struct bin {
    struct cursor own;
    struct cursor foreign;
};

_Static_assert(sizeof(struct bin) == 1 << ENTRY_BIN_SHIFT,
               "page map entries carry the offsets of bins");
_Static_assert(CLASS_COUNT << ENTRY_BIN_SHIFT <= ENTRY_BIN_LIMIT,
               "bin offsets fit below the owner");

struct bins {
    struct bin of_class[CLASS_COUNT]; /* at offset 0, see struct bin */
    struct page_map_home home;        /* the leaf of most blocks in use */
    uint32_t tag;                     /* owner << ENTRY_OWNER_SHIFT */
    _Atomic(bool) entered;            /* see cache_enter() */
    _Atomic(uint8_t) claim;           /* an enum cache_claim */
    struct slab_source sources[CLASS_COUNT];
};

struct cache;

/* A cache begins with its bins. */
static inline struct bins *cache_bins(struct cache *cache)
{
    return (struct bins *)(void *)cache;
}

static inline struct cache *cache_of(struct bins *bins)
{
    return (struct cache *)(void *)bins;
}

/* The bins of a thread that has no cache: all allocations and frees miss. */
#define BINS_EMPTY                                                             \
    {                                                                          \
        .of_class = {[0 ... CLASS_COUNT - 1] = {.own = CURSOR_EMPTY,           \
                                                .foreign = CURSOR_EMPTY}},     \
        .home = PAGE_MAP_NOWHERE, .tag = BINS_EMPTY_TAG,                       \
    }
#define BINS_EMPTY_TAG ((uint32_t)OWNER_MAX << ENTRY_OWNER_SHIFT)
#define CURSOR_EMPTY                                                           \
    {                                                                          \
        .top = &magazine_empty.bottom, .limit = &magazine_empty.bottom         \
    }

extern INTERNAL struct magazine magazine_empty;

/* --- Fast paths ----------------------------------------------------------- */

FAST_PATH struct bin *bins_at(struct bins *bins, size_t offset)
{
    return (struct bin *)(void *)((char *)bins + offset);
}

/* Takes the top block; NULL when there is none. */
FAST_PATH void *cursor_pop(struct cursor *cursor)
{
    /* Relaxed: only this thread writes; pairs with cache_totals(). */
    void **top = atomic_load_explicit(&cursor->top, memory_order_relaxed);
    void *block = *top;
    if (likely(block != NULL))
        atomic_store_explicit(&cursor->top, top - 1, memory_order_relaxed);
    return block;
}

/* Puts a block on top.  False when there is no room, or when the block is on
 * top already: a double free. */
FAST_PATH bool cursor_push(struct cursor *cursor, void *block)
{
    /* Relaxed: as in cursor_pop(). */
    void **top = atomic_load_explicit(&cursor->top, memory_order_relaxed);
    if (unlikely(top == cursor->limit) || unlikely(*top == block))
        return false;
    top[1] = block;
    atomic_store_explicit(&cursor->top, top + 1, memory_order_relaxed);
    return true;
}

/* Puts another cache's block of a class on top, marked AWAY, so that nothing is
 * left to do for it when its magazine goes to the depot.  False when there is
 * no room, or no such block is OUT. */
FAST_PATH bool cursor_push_away(struct cursor *cursor, struct slab *slab,
                                unsigned class, void *block)
{
    /* Relaxed: as in cursor_pop(). */
    void **top = atomic_load_explicit(&cursor->top, memory_order_relaxed);
    _Atomic(uint8_t) *state = slab_state_in(slab, class, block);
    if (unlikely(top == cursor->limit) || unlikely(state == NULL) ||
        unlikely(atomic_load_explicit(state, memory_order_relaxed) !=
                 BLOCK_OUT))
        return false;
    atomic_store_explicit(state, BLOCK_AWAY, memory_order_relaxed);
    top[1] = block;
    *magazine_state(top + 1) = state;
    atomic_store_explicit(&cursor->top, top + 1, memory_order_relaxed);
    return true;
}

/* Puts a freed block, in the page map leaf `leaf`, where it belongs.  `view` is
 * its entry as the cache sees it, `entry ^ tag`; the entry is to be read once
 * per free, since its owner may change meanwhile.  False when the slow path is
 * needed, or the block is in no slab. */
FAST_PATH bool bins_push(struct bins *bins, struct page_map_leaf *leaf,
                         uint32_t view, void *block)
{
    if (likely(view < ENTRY_BIN_LIMIT))
        return cursor_push(&bins_at(bins, view)->own, block);
    uint32_t entry = view ^ bins->tag;
    if (unlikely(!page_map_is_slab(entry)))
        return false;
    size_t offset = entry & (ENTRY_BIN_LIMIT - 1);
    return cursor_push_away(&bins_at(bins, offset)->foreign,
                            leaf_descriptor(leaf, block),
                            (unsigned)(offset >> ENTRY_BIN_SHIFT), block);
}

/* --- Entering (thread_cache_claim.c) -------------------------------------- */

/*
 * The part of a cache that the fast paths do not touch, its held slabs and
 * further magazines, is for one thread at a time.  Mostly that is its own,
 * during a slow path; when that has been idle, upkeep claims the cache, to hand
 * on what would otherwise stay there until the thread comes back.
 *
 * A cache that no thread has is always entered.
 */
enum cache_claim {
    CLAIM_NONE,
    CLAIM_MADE,
    CLAIM_LEFT_BEHIND, /* and its thread has ended: it is the claimer's */
};

/* Begins a slow path of the cache's thread.  False: it is claimed; nobody waits
 * for that to end. */
static inline bool cache_enter(struct cache *cache);

static inline void cache_leave(struct cache *cache)
{
    /* Releases the cache to claim(). */
    atomic_store_explicit(&cache_bins(cache)->entered, false,
                          memory_order_release);
}

static inline bool cache_enter(struct cache *cache)
{
    struct bins *bins = cache_bins(cache);
    atomic_store_explicit(&bins->entered, true, memory_order_relaxed);
    /* A compiler barrier only: claim() has the processor execute one. */
    atomic_signal_fence(memory_order_seq_cst);
    /* Acquires the cache; pairs with unclaim(). */
    if (likely(atomic_load_explicit(&bins->claim, memory_order_acquire) ==
               CLAIM_NONE))
        return true;
    cache_leave(cache);
    return false;
}

static inline bool cache_is_claimed(struct cache *cache)
{
    return atomic_load_explicit(&cache_bins(cache)->claim,
                                memory_order_relaxed) != CLAIM_NONE;
}

/* Enters for good a cache whose thread is ending.  False: its claimer will give
 * it up instead. */
bool cache_enter_last(struct cache *cache);

/* Notes the CPU time of each cache's thread so far. */
void cache_look_at_threads(void);

/* Lets go of the slabs, and hands on all magazines but the loaded ones, of the
 * caches whose threads have not run since. */
void cache_flush_unused(void);

/* A step of that, some ten microseconds: for the first cache after *before
 * (NULL: of all) that has anything to give.  False: there is none. */
bool cache_flush_unused_behind(struct cache **before);

/* The same for one of the next few caches, if its thread has been idle.  False:
 * none of these has anything to give. */
bool cache_flush_unused_step(void);

/* Notes that a cache is the calling thread's. */
void cache_note_thread(struct cache *cache);

/* --- Slow paths ----------------------------------------------------------- */

/* Allocates a block of a class whose bin is empty.  NULL: out of memory. */
void *cache_allocate_slow(struct cache *cache, unsigned class);

/* Frees a block of a slab, with the page map entry `entry`, whatever state the
 * bin is in.  Stops the process when the block is seen to be free already. */
void cache_free_slow(struct cache *cache, uint32_t entry, void *block);

/* Allocates and frees a block of a slab bypassing all caches, when there is no
 * memory even for a cache.  NULL: out of memory. */
void *cache_allocate_without(unsigned class);
void cache_free_without(uint32_t entry, void *block);

/* Hands all blocks on, and lets go of all slabs. */
void cache_flush(struct cache *cache);

/* In the child of a fork, for a cache whose thread or claimer may have been
 * stopped anywhere: corrects the counts of its slabs, before it is flushed. */
void cache_count_anew(struct cache *cache);

/* The same for all its other counts, when it has been flushed.  It is then
 * entered. */
void cache_settle(struct cache *cache);

/* A new cache, entered; NULL: out of metadata. */
struct cache *cache_make(void);

/* All caches ever made, one after the other; NULL: the first one. */
struct cache *cache_next(struct cache *cache);

/* --- Without a thread (thread_cache_idle.c) ------------------------------- */

/* Gives up a cache: with the small blocks of its own, or flushed before. */
void cache_put_left(struct cache *cache);
void cache_put_flushed(struct cache *cache);

/* Takes one that was given up, entered; NULL: there is none. */
struct cache *cache_take_idle(void);

/* Hands on some of what lies in a cache that was left at least `age`
 * nanoseconds ago, for a few microseconds.  False: there is no such cache.
 */
bool cache_flush_left(uint64_t age);

/* Hands on all that lies in such caches now. */
void cache_flush_all_left(void);

/* When a successor is not expected any more. */
#define LEFT_AGE ((uint64_t)100 * 1000 * 1000)

/* Forgets them all: the child of a fork puts them back itself. */
void cache_forget_idle(void);

/* --- Statistics ----------------------------------------------------------- */

struct cache_totals {
    uint64_t caches;
    uint64_t blocks, bytes; /* in the caches */
    uint64_t misses, overflows;
    uint64_t pushes, pops; /* of magazines, to and from the depot */
};
struct cache_totals cache_totals(void);

#endif
