/* SPDX-License-Identifier: MIT */
/*
 * Pages ahead of use.  New pages cost a fault each, or a good part less in one
 * call.  But a title need not write all that it allocates.  So blocks on new
 * pages are samples: at their free it shows whether all pages had been written;
 * of the first one of all also before.  While that was so for the last one, the
 * pages of further blocks are made present at once; one in 16 of them goes on
 * being a sample.
 */
#ifndef PARTYALLOC_LARGE_PAGES_H
#define PARTYALLOC_LARGE_PAGES_H

#include <stdbool.h>
#include <stddef.h>

/* Makes the pages of a block present if that is worth while, of which the first
 * `fresh` bytes are new.  False: the block is a sample. */
bool pages_come(void *block, size_t fresh, size_t usable);

/* Judges a sample that is freed. */
void pages_judge(const void *sample, size_t usable);

#endif
