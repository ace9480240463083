/* SPDX-License-Identifier: MIT */
/*
 * What the system layer has mapped, the cap on it, and its calls.  A part of
 * that layer: the others see the sums through os.h.
 *
 * Bytes are multiples of OS_MAP_ALIGNMENT.
 */
#ifndef PARTYALLOC_OS_ACCOUNT_H
#define PARTYALLOC_OS_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>

/* Counts a kernel call. */
void account_call(void);

/* Charges bytes to the cap before they are mapped, so that threads mapping at
 * once cannot exceed it together.  False: there is no room. */
bool account_begin(size_t bytes);

/* Ends that; `done`: the bytes are mapped. */
void account_end(size_t bytes, bool done);

/* Counts more bytes as mapped, whatever the cap. */
void account_more(size_t bytes);

/* Counts bytes as unmapped. */
void account_unmapped(size_t bytes);

/* Bytes that are mapped twice until they have been moved: they count once. */
void account_moving(size_t bytes);
void account_moved(size_t bytes);

#endif
