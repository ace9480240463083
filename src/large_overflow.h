/* SPDX-License-Identifier: MIT */
/*
 * Kept ranges for which there is no place: unbounded stacks, which need no
 * memory.  These ranges are not searched; they wait for a place or to be
 * unmapped in steps.
 */
#ifndef PARTYALLOC_LARGE_OVERFLOW_H
#define PARTYALLOC_LARGE_OVERFLOW_H

#include <stddef.h>

#include "large_range.h"

enum overflow {
    OVERFLOW_WAITING,
    /* The system refused to unmap them.  Their pages have been given back. */
    OVERFLOW_REFUSED,
    OVERFLOW_COUNT,
};

/* Pushes a range, whose page map leaves exist. */
void overflow_push(enum overflow stack, range new);

/* Pops the last one pushed; 0: there is none.  Its age is not known, and it
 * counts as used. */
range overflow_pop(enum overflow stack);

/* The bytes of all ranges in both. */
size_t overflow_bytes(void);

#endif
