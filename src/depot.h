/* SPDX-License-Identifier: MIT */
/*
 * The depot: magazines not in use, full ones by class and empty ones, on
 * lock-free stacks.  Threads rebalance through it, a whole magazine at a time.
 */
#ifndef PARTYALLOC_DEPOT_H
#define PARTYALLOC_DEPOT_H

#include <stdbool.h>
#include <stdint.h>

#include "magazine.h"

/*
 * Gives up the contents of a detached magazine of `class`, `magazine->count`
 * blocks.  True: the depot has the magazine now.  False: it holds enough of
 * the class; the blocks are at rest in their slabs, and the magazine, empty
 * now, is still the caller's.
 *
 * The first form stops the process when one of the blocks is not a block or was
 * freed before; those of the second have been judged, and are AWAY.
 */
bool depot_give(unsigned class, struct magazine *magazine);
bool depot_give_away(unsigned class, struct magazine *magazine);

/* Takes a magazine of a class with at least one block: from the owner's shelf;
 * from there or what others can spare; or whatever there is, as a last resort.
 * NULL: there is none. */
struct magazine *depot_take_own(unsigned class, uint32_t owner);
struct magazine *depot_take(unsigned class, uint32_t owner);
struct magazine *depot_take_any(unsigned class);

/*
 * The same with single blocks, for classes whose magazines would hold too much
 * memory in one place.
 */
void depot_give_one(unsigned class, void *block);
void *depot_take_one(unsigned class);

/* A single block of whatever magazine there is; its others come to rest. */
void *depot_take_any_one(unsigned class);

/* Empty magazines travel in bundles: a list by their `next`, with the first
 * one's `count` saying how many, so that exchanges are rare.  NULL: out of
 * memory. */
struct magazine *depot_take_empties(void);
void depot_give_empties(struct magazine *bundle);

/* Makes the depot's own memory present ahead of use, and makes as many empty
 * magazines as `bytes` hold. */
void depot_reserve(size_t bytes);

/*
 * Brings blocks to rest in their slabs: a magazine of each shelf from which
 * none was taken since the last round.  A round begins only when the last one
 * is over; a step does one class of it.  False: it is over.
 */
void depot_begin_idle(void);
bool depot_drain_idle_step(void);

/* The same with everything. */
void depot_drain_all(void);

/* Corrects the counts of an empty depot, in the child of a fork: a thread may
 * have been between a count and its push, or a pop and its count. */
void depot_settle(void);

struct depot_totals {
    uint64_t blocks, bytes;
    uint64_t retries; /* compare-and-swaps that lost a race */
};
struct depot_totals depot_totals(void);

#endif
