/* SPDX-License-Identifier: MIT */
/*
 * Kept ranges: mapped memory of freed large blocks, for reuse.  Neighbours are
 * joined, ranges longer than what is asked for are cut.
 *
 * Base and length of a range are multiples of UNIT_BYTES.  Whoever takes one
 * owns it alone; its contents are whatever the last block left there.
 */
#ifndef PARTYALLOC_LARGE_KEPT_H
#define PARTYALLOC_LARGE_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Takes `bytes` at a multiple of `alignment` out of the shortest used range
 * that has room for them.  0: there is none. */
uintptr_t kept_take(size_t bytes, size_t alignment);

/* Takes `bytes` at an address, used or not.  False: they are not all kept. */
bool kept_take_at(uintptr_t base, size_t bytes);

/* As kept_take(), out of memory that was never used. */
uintptr_t kept_take_unused(size_t bytes, size_t alignment);

/* Takes the lowest used range with the end of the unused one in front of it:
 * `bytes`, of which the first *fresh are unused.  0: together they are too
 * short, or the range needs nothing in front. */
uintptr_t kept_extend(size_t bytes, size_t *fresh);

/* Where more memory would have to end, and how much is *lacking, for
 * kept_extend() to get `bytes`.  0: nothing is lacking, or there is no range.
 */
uintptr_t kept_front(size_t bytes, size_t *lacking);

/* Keeps a range.  When all places are taken, the shortest range of all waits
 * for one and is not found meanwhile.  A range longer than a word can say (64
 * GiB, 32 with addresses of 48 bits) is unmapped, or else kept in parts. */
void kept_give(uintptr_t base, size_t bytes);

/* Keeps memory that was just mapped: it has no pages, and so does not count in
 * kept_bytes(). */
void kept_give_unused(uintptr_t base, size_t bytes);

/*
 * What the system refuses to unmap gives its pages back and stays kept; the
 * values returned do not count it.
 */

/* If more than `bound` bytes are kept, unmaps a piece, which takes about 10 us,
 * of a range without a place or else of the oldest used one.  With `aged_too`
 * also if that has no place or is old, or else an old unused range as a whole.
 * Returns the bytes. */
size_t kept_drop_step(size_t bound, bool aged_too);

/* Whether the last such step found more than its bound. */
bool kept_too_much(void);

/* Unmaps unused ranges, then the oldest used ones, until `bytes` are gone or
 * nothing is left.  0: nothing can be unmapped. */
size_t kept_drop(size_t bytes);

/* Unmaps all ranges.  Returns the bytes. */
size_t kept_drop_all(void);

/* The bytes of all used ranges, and of all unused ones. */
size_t kept_bytes(void);
size_t kept_unused_bytes(void);

#endif
