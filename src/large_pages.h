/* SPDX-License-Identifier: MIT */
/*
 * Pages ahead of use.  New pages cost a fault each, or a good deal less in one
 * call.  But a title need not write all that it allocates.  So blocks on new
 * pages are samples: whether all pages were written is checked at their free;
 * for the very first one also before.  As long as the last sample was written,
 * the pages of further blocks are made present at once; one in 16 of these
 * blocks remains a sample.
 */
#ifndef PARTYALLOC_LARGE_PAGES_H
#define PARTYALLOC_LARGE_PAGES_H

#include <stdbool.h>
#include <stddef.h>

/* Makes the new pages of a block present, its first `fresh` bytes, if that is
 * worthwhile.  False: the block is a sample. */
bool pages_come(void *block, size_t fresh, size_t usable);

/* Judges a sample that is freed. */
void pages_judge(const void *sample, size_t usable);

#endif
