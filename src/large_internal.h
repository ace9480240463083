/* SPDX-License-Identifier: MIT */
/* Mappings of large blocks, for the files that implement large.h. */
#ifndef PARTYALLOC_LARGE_INTERNAL_H
#define PARTYALLOC_LARGE_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "large.h"
#include "stack.h"

/* How long kept mappings and blocks may fall short of each other (a shift). */
enum { FIT_SHIFT = 1 };

enum large_state { LARGE_UNUSED, LARGE_LIVE, LARGE_FREED };

/*
 * Owner:   who has the block; while LARGE_FREED the one place that it is kept
 *          in, or whoever took it out of there.
 * Readers: everybody who frees this block or its neighbour, hence the atomics:
 *          a stray reader sees some values; whose it is is decided by a
 *          compare-and-swap, of `state` for a block, of a place for what is
 *          kept.
 * Memory:  type-stable (metadata), apart from the mapping.
 */
struct large {
    struct stack_node node; /* while LARGE_UNUSED */
    _Atomic(uint32_t) state;
    _Atomic(uint32_t) place; /* where it was kept last */
    _Atomic(uintptr_t) base;
    _Atomic(size_t) mapped; /* bytes of the mapping */
    _Atomic(size_t) usable; /* bytes of the block */
    _Atomic(uint64_t) freed_at;
};

/* Sums and fields, each for itself: relaxed. */
#define GET(field) atomic_load_explicit(&(field), memory_order_relaxed)
#define SET(field, value)                                                      \
    atomic_store_explicit(&(field), (value), memory_order_relaxed)
#define ADD(field, value)                                                      \
    atomic_fetch_add_explicit(&(field), (value), memory_order_relaxed)
#define SUB(field, value)                                                      \
    atomic_fetch_sub_explicit(&(field), (value), memory_order_relaxed)

static inline uintptr_t large_end(const struct large *large)
{
    return GET(large->base) + GET(large->mapped);
}

/* --- Mappings (large_mapping.c) ------------------------------------------- */

/* A descriptor without a mapping; NULL: out of metadata. */
struct large *large_take_descriptor(void);
void large_give_descriptor(struct large *large);

/* Enters a mapping in the page map, by its first and its last unit, so that
 * the mappings next to it find it. */
void large_enter(const struct large *large);

/* The same for a mapping with a live block, and that nothing else lies inside
 * of it, whatever was there before. */
void large_enter_live(const struct large *large);

/* Enters that no mapping starts any more where this one does. */
void large_enter_gone(const struct large *large);

/* A new mapping; NULL: none can be had. */
struct large *large_map(size_t bytes, size_t alignment);

/* Takes bytes off the end of a mapping, all but `bytes`.  False: the system
 * does not unmap them. */
bool large_shorten(struct large *large, size_t bytes);

/* Unmaps, and gives up the descriptor.  False: the system does not, and the
 * mapping stays, without pages where that was possible. */
bool large_unmap(struct large *large);

/* Changes the length of a mapping, where it is or else by moving its pages.
 * False: it cannot be done, and nothing has changed. */
bool large_stretch(struct large *large, size_t bytes);

/* --- Mappings kept for reuse (large_kept.c) ------------------------------- */

/* Keeps a mapping, with those next to it that are kept already; unmaps what is
 * too much. */
void large_keep(struct large *large, uint64_t live_bytes);

/* Takes a kept mapping of at least `bytes`; or makes one longer that is too
 * short.  NULL: there is none. */
struct large *large_take_kept(size_t bytes, size_t alignment);
struct large *large_grow_kept(size_t bytes);

size_t large_kept_bytes(void);

#endif
