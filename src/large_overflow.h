/* SPDX-License-Identifier: MIT */
/*
 * Kept ranges for which there is no place: stacks without bound, which need no
 * memory.  They are not found by what they have, and only wait for a place or
 * for being unmapped in steps.
 */
#ifndef PARTYALLOC_LARGE_OVERFLOW_H
#define PARTYALLOC_LARGE_OVERFLOW_H

#include <stddef.h>

#include "large_range.h"

enum overflow {
    OVERFLOW_WAITING,
    /* The system did not unmap them.  Their pages have been given back. */
    OVERFLOW_REFUSED,
    OVERFLOW_COUNT,
};

/* Puts a range, whose part of the page map exists. */
void overflow_push(enum overflow stack, range new);

/* Takes the one that was put last; 0: there is none.  Its age is not known, and
 * it counts as used. */
range overflow_pop(enum overflow stack);

/* The bytes of all, in both. */
size_t overflow_bytes(void);

#endif
