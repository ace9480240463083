/* SPDX-License-Identifier: MIT */
/*
 * The magazine: a fixed array of block addresses, the currency between the
 * thread caches, the depot and the slabs.
 *
 * Owner:     one thread cache, or the depot.  Detached from one before it is
 *            given to the other: never in two places (I2).
 * Readers:   the owner; partyalloc_get_stats() reads only addresses of slots,
 *            not magazines.
 * Memory:    type-stable (metadata), aligned to its size, so that a pointer to
 *            one of its slots gives the magazine.
 */
#ifndef PARTYALLOC_MAGAZINE_H
#define PARTYALLOC_MAGAZINE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "stack.h"

enum {
    MAGAZINE_BYTES = 1024,
    MAGAZINE_HEADER_BYTES = 32,
    MAGAZINE_SLOTS = 60,
};

struct magazine {
    struct stack_node node; /* while in the depot */
    struct magazine *next;  /* while on a list of one cache */
    size_t count;           /* while not loaded in a cache: full slots */
    void *bottom;           /* always NULL: where top points when it is empty */
    void *slots[MAGAZINE_SLOTS];
    /* Of blocks that are AWAY: where the slabs keep their states, so that the
     * taker of the magazine need not look each of them up. */
    _Atomic(uint8_t) *states[MAGAZINE_SLOTS];
    char padding[MAGAZINE_BYTES - MAGAZINE_HEADER_BYTES -
                 2 * MAGAZINE_SLOTS * sizeof(void *)];
};

_Static_assert(sizeof(struct magazine) == MAGAZINE_BYTES, "aligned to size");
_Static_assert(offsetof(struct magazine, states) ==
                   offsetof(struct magazine, slots) +
                       MAGAZINE_SLOTS * sizeof(void *),
               "magazine_state()");
_Static_assert(offsetof(struct magazine, slots) == MAGAZINE_HEADER_BYTES,
               "nothing between");
_Static_assert(offsetof(struct magazine, slots) ==
                   offsetof(struct magazine, bottom) + sizeof(void *),
               "the sentinel lies below slot 0");

/* The entry of `states` that belongs to a slot. */
static inline _Atomic(uint8_t) **magazine_state(void **slot)
{
    return (_Atomic(uint8_t) **)(void *)(slot + MAGAZINE_SLOTS);
}

/* The magazine that has `top` as a slot or as its bottom. */
static inline struct magazine *magazine_of(void **top)
{
    char *pointer = (char *)top;
    uintptr_t offset = (uintptr_t)top & (MAGAZINE_BYTES - 1);
    return (struct magazine *)(void *)(pointer - offset);
}

/* The number of full slots of a magazine whose top is `top`. */
static inline size_t magazine_count_at(const void *top)
{
    size_t offset = (uintptr_t)top & (MAGAZINE_BYTES - 1);
    return (offset - offsetof(struct magazine, bottom)) / sizeof(void *);
}

#endif
