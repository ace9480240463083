/* SPDX-License-Identifier: MIT */
/*
 * The slabs of each class, numbered in the order of their making, and some sets
 * of them: a lock-free radix tree of 64-bit words.
 *
 * The lowest numbers are refilled first and the highest are purged first, so
 * that live blocks gather at one end and whole slabs become free at the other.
 */
#ifndef PARTYALLOC_SLAB_INDEX_H
#define PARTYALLOC_SLAB_INDEX_H

#include <stdbool.h>
#include <stdint.h>

struct slab;

enum slab_set {
    SLABS_AVAILABLE, /* held by no cache, and has blocks to give */
    SLABS_RESERVED,  /* the same, of reserved memory */
    SLABS_DIRTY,     /* worth a look for pages to give back; two sets, which
                        take turns, see slab_purge.c */
    SLABS_FREE = SLABS_DIRTY + 2, /* all blocks rest */
    SLABS_UNPLACED,               /* without address space */
    SLAB_SETS,
};

/* Makes the index's own memory present ahead of use. */
void slab_index_reserve(void);

/* Gives the slab its number, in no set yet.  False: out of metadata. */
bool slab_index_insert(unsigned class, struct slab *slab, uint32_t *number);

/* Puts a slab into a set; nothing happens when it is there already. */
void slab_index_add(unsigned class, enum slab_set set, uint32_t number);

/* Takes the slab of the lowest or the highest number out of a set.  NULL when
 * the set is empty, or when other threads were faster a few times. */
struct slab *slab_index_take_lowest(unsigned class, enum slab_set set);
struct slab *slab_index_take_highest(unsigned class, enum slab_set set);

/* The count of slabs made of a class, and the slab of a number below that; NULL
 * while it is being made.  A slab that has no address space yet is held. */
uint32_t slab_index_count(unsigned class);
struct slab *slab_index_get(unsigned class, uint32_t number);

#endif
