/* SPDX-License-Identifier: MIT */
/*
 * Kept ranges: mapped memory of freed large blocks, for reuse.  Neighbours are
 * joined, what is longer than what is asked for is cut.
 *
 * A range is UNIT_BYTES or a multiple of it at a multiple of it.  Whoever takes
 * one owns it alone; its contents are whatever the last block left there.
 */
#ifndef PARTYALLOC_LARGE_KEPT_H
#define PARTYALLOC_LARGE_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Takes `bytes` at a multiple of `alignment` out of the shortest range that was
 * used and has them.  0: there is none. */
uintptr_t kept_take(size_t bytes, size_t alignment);

/* Takes `bytes` at an address, used or not.  False: they are not all kept. */
bool kept_take_at(uintptr_t base, size_t bytes);

/* As kept_take(), out of memory that was never used. */
uintptr_t kept_take_unused(size_t bytes, size_t alignment);

/* Takes the lowest range that was used with the end of the unused one in front
 * of it: `bytes`, of which the first *fresh are unused.  0: they have not so
 * much, or the range needs none in front. */
uintptr_t kept_extend(size_t bytes, size_t *fresh);

/* Where more memory would have to end, and how much is *lacking, for
 * kept_extend() to have `bytes`.  0: nothing lacks, or there is no range. */
uintptr_t kept_front(size_t bytes, size_t *lacking);

/* Keeps a range.  When all places are taken, the shortest of all waits for one
 * and is not found meanwhile; unmapped is a range that is longer than a word
 * can say (64 GiB, 32 with addresses of 48 bits), or kept in parts. */
void kept_give(uintptr_t base, size_t bytes);

/* Keeps memory that was just mapped: it has no pages, and so does not count in
 * kept_bytes(). */
void kept_give_unused(uintptr_t base, size_t bytes);

/*
 * What the system does not unmap gives its pages back and stays kept; it does
 * not count in what these return.
 */

/* Unmaps a piece of a range that has no place or of the oldest used one, which
 * takes about 10 us, if more than `bound` bytes are kept; with `aged_too` also
 * if it has no place or has been kept for long, or an unused range that has
 * been, as a whole.  Returns the bytes. */
size_t kept_drop_step(size_t bound, bool aged_too);

/* Whether the last such step found more than its bound. */
bool kept_too_much(void);

/* Unmaps unused ranges, then the oldest ones, `bytes` of them if there are as
 * many.  0: nothing can be unmapped. */
size_t kept_drop(size_t bytes);

/* Unmaps all ranges.  Returns the bytes. */
size_t kept_drop_all(void);

/* The bytes of all ranges that have been used, and of those that have not. */
size_t kept_bytes(void);
size_t kept_unused_bytes(void);

#endif
