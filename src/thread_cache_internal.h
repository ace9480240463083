/* SPDX-License-Identifier: MIT */
/* The cache itself, for the files that implement thread_cache.h. */
#ifndef PARTYALLOC_THREAD_CACHE_INTERNAL_H
#define PARTYALLOC_THREAD_CACHE_INTERNAL_H

#include "os.h"
#include "thread_cache.h"

enum {
    /* Blocks come from the slabs, and go to the depot, in magazines of at most
     * so many bytes; the limit of a cursor rises by at least as much. */
    FILL_BYTES = 16 << 10,
};

/* The cold part of a class. */
struct bin_rest {
    _Atomic(struct magazine *) full; /* further magazines, by their `next` */
    _Atomic(uint32_t) full_blocks;   /* in them */
    uint32_t batch;                  /* blocks in FILL_BYTES; constant */
    uint32_t fill;                   /* blocks in the last fill */
    uint16_t spills;                 /* since the last miss */
    uint16_t others;                 /* foreign magazines taken in a row */
    void **seen_top;                 /* of the own magazine, for is_idle(), */
    void *seen_block;                /* and what was there */
};

/*
 * What a cache may hold is accounted when a slow path changes it: a loaded
 * magazine counts with all slots up to its limit, any other with its blocks.  A
 * limit rises when it is met, and falls a little at a time when another bin
 * needs the room, so a bin that goes up and down within what it once reached
 * hardly takes a slow path.
 */
struct cache {
    struct bins bins;
    bool checked;         /* option_checked(): no magazine is ever loaded */
    unsigned medium_from; /* from this class on blocks are medium */
    unsigned hand;        /* the bin that cache_flush_idle() last looked at, */
    bool hand_stays;      /* and whether it has more to give */
    size_t charged;       /* bytes of small blocks that it may hold */
    size_t budget;        /* the most of these */
    /* Empty magazines, by their `next`: some at hand, and a bundle more, so
     * that the depot is rarely asked for one. */
    _Atomic(struct magazine *) empties;
    _Atomic(struct magazine *) spare_empties;
    unsigned empty_count; /* at hand */
    unsigned patience;    /* see PURGE_PATIENCE */
    uint32_t looked_in;   /* the slab_age() of the last look for pages */
    unsigned looks;       /* see DROP_INTERVAL */
    /* What other threads have seen, see thread_cache_claim.c.  Independent
     * hints: relaxed. */
    _Atomic(clockid_t) clock;         /* of the thread that has it */
    _Atomic(uint64_t) seen_running;   /* its os_thread_time() */
    _Atomic(uint64_t) seen_ways;      /* cache_ways() at the last look, */
    _Atomic(uint64_t) seen_since;     /* and since about when */
    _Atomic(uint64_t) handed_on_ways; /* when all unused was handed on */
    struct cache *next;               /* made before this one */
    struct stack_node node;
    /* For statistics; only the owner writes. */
    _Atomic(uint64_t) misses;
    _Atomic(uint64_t) overflows;
    _Atomic(uint64_t) pushes;
    _Atomic(uint64_t) pops;
    struct bin_rest rest[CLASS_COUNT];
};

_Static_assert(offsetof(struct cache, bins) == 0, "cache_of()");

static inline bool cache_is_medium(const struct cache *cache, unsigned class)
{
    return class >= cache->medium_from;
}

/* --- Medium and single blocks (thread_cache_medium.c) --------------------- */

/* Allocates a block of a medium class whose bin is empty; and frees one for
 * which there is no room.  NULL: out of memory.  Here and below, freeing tells
 * whether any block went where others may take it: then a step of giving back
 * is due. */
void *cache_allocate_medium(struct cache *cache, unsigned class);
bool cache_free_medium(struct cache *cache, unsigned class, bool mine,
                       void *block);

/* Frees `count` blocks from the top of a cursor of such a class. */
bool cache_spill_medium(struct cache *cache, unsigned class,
                        struct cursor *cursor, size_t count);

/* The same for any class, bypassing all magazines. */
void *cache_allocate_one(struct cache *cache, unsigned class);
bool cache_free_one(struct cache *cache, unsigned class, void *block);

/* --- Magazines in and out of cursors and lists (thread_cache_room.c) ------ */

/* The slots of a loaded magazine up to its limit; 0 when there is none. */
static inline size_t cursor_slots(const struct cursor *cursor)
{
    return magazine_count_at(cursor->limit);
}

/* Whether there is one. */
static inline bool cursor_is_loaded(const struct cursor *cursor)
{
    return atomic_load_explicit(&cursor->top, memory_order_relaxed) !=
           &magazine_empty.bottom;
}

/* Unloads the magazine of a cursor; NULL: it has none. */
struct magazine *cache_detach(struct cache *cache, unsigned class,
                              struct cursor *cursor);

/* Gives a magazine, to be filled up to `slots`, to a cursor that has none. */
void cache_attach(struct cache *cache, unsigned class, struct cursor *cursor,
                  struct magazine *magazine, size_t slots);

/* Whether a class has any magazine. */
bool cache_has_magazine(const struct cache *cache, unsigned class);

/* The further magazines of a class; NULL: there is none. */
struct magazine *cache_take_full(struct cache *cache, unsigned class);
void cache_put_full(struct cache *cache, unsigned class,
                    struct magazine *magazine);

/* An empty magazine; NULL: out of memory. */
struct magazine *cache_take_empty(struct cache *cache);
void cache_put_empty(struct cache *cache, struct magazine *magazine);
void cache_flush_empties(struct cache *cache);

/* Gives up the blocks of a magazine (`away`: they are AWAY already).  Returns
 * an empty one instead, or NULL. */
struct magazine *cache_give(struct cache *cache, unsigned class,
                            struct magazine *magazine, bool away);

/* --- What a cache may hold (thread_cache_room.c) -------------------------- */

/* `bytes` in blocks, but at least one and at most a full magazine. */
size_t blocks_in(size_t bytes, unsigned class);

/* Whether the cache may hold `blocks` more. */
bool cache_has_room(struct cache *cache, unsigned class, size_t blocks);

/* How many more it may hold, without other bins giving up anything. */
size_t cache_room(const struct cache *cache, unsigned class);

/* Raises the limit that a cursor has met, by half or by a few blocks.  False:
 * it has no magazine, or the magazine or the cache can take no more. */
bool cache_raise_limit(struct cache *cache, unsigned class,
                       struct cursor *cursor);

/* Hands on what a bin holds; only its foreign blocks; or some of the next bin,
 * if it has been idle since the last look and is not that of `class`. */
void cache_flush_bin(struct cache *cache, unsigned class);
void cache_flush_foreign(struct cache *cache, unsigned class);
void cache_flush_idle(struct cache *cache, unsigned class);

/* Hands on one of the further magazines of a class; false: there is none. */
bool cache_flush_further(struct cache *cache, unsigned class);

/* Hands on what is of no use to the next thread (foreign blocks) or is a lot of
 * memory (medium blocks). */
void cache_flush_for_successor(struct cache *cache);

/* Does a part of cache_flush() that takes a few microseconds.  True: that was
 * the last. */
bool cache_flush_step(struct cache *cache);

/* The slow paths that a cache has had. */
static inline uint64_t cache_ways(const struct cache *cache)
{
    return atomic_load_explicit(&cache->misses, memory_order_relaxed) +
           atomic_load_explicit(&cache->overflows, memory_order_relaxed);
}

/* Notes that nothing is left that others could use. */
static inline void cache_note_handed_on(struct cache *cache)
{
    atomic_store_explicit(&cache->handed_on_ways, cache_ways(cache),
                          memory_order_relaxed);
}

/* Counts an event; called by the cache's owner only, so no atomic addition is
 * needed. */
static inline uint64_t count_up(_Atomic(uint64_t) *counter)
{
    uint64_t count = atomic_load_explicit(counter, memory_order_relaxed) + 1;
    atomic_store_explicit(counter, count, memory_order_relaxed);
    return count;
}

#endif
