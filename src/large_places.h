/* SPDX-License-Identifier: MIT */
/*
 * The places of kept ranges, a word each.  Neighbours are joined when they are
 * put.  All changes of a word are compare-and-swaps that both acquire and
 * release: what the last user of a range wrote there happens before the next
 * user has it, through any joins and cuts.
 */
#ifndef PARTYALLOC_LARGE_PLACES_H
#define PARTYALLOC_LARGE_PLACES_H

#include <stdatomic.h>
#include <stdbool.h>

#include "compiler.h"
#include "large_range.h"

enum { PLACE_COUNT = 256 };

struct places {
    /* How many ranges have been put.  Beside the lowest places: whoever puts
     * one writes to their line anyway. */
    _Alignas(CACHE_LINE_PAIR) _Atomic(unsigned) puts;
    _Atomic(range) kept[PLACE_COUNT];

    /* Places from this one on have never been used.  Relaxed: whoever misses a
     * new one does without it. */
    _Alignas(CACHE_LINE_PAIR) _Atomic(unsigned) end;
    /* Neighbours may lie apart. */
    _Atomic(bool) apart;
};

extern INTERNAL struct places large_places;

/* A range seen at a place; an empty one: none was. */
struct seen {
    range what;
    unsigned place;
};

static inline unsigned places_end(void)
{
    return atomic_load_explicit(&large_places.end, memory_order_relaxed);
}

/* What lies at a place; to be confirmed by place_replace(). */
static inline range place_look(unsigned place)
{
    return atomic_load_explicit(&large_places.kept[place],
                                memory_order_relaxed);
}

/* Pairs with itself, see above. */
static inline bool place_replace(unsigned place, range before, range after)
{
    return atomic_compare_exchange_strong_explicit(
        &large_places.kept[place], &before, after, memory_order_acq_rel,
        memory_order_relaxed);
}

/* Puts a range, joined with its neighbours.  When all places are taken, the
 * shortest range of all has to give way.  Returns the range left without a
 * place; 0: none. */
range places_put(range new);

/* Joins neighbours that lie apart, if there may be any.  *lost: a range left
 * without a place.  Returns whether there were any. */
bool places_rejoin(range *lost);

#endif
