/* SPDX-License-Identifier: MIT */
/*
 * Memory for partyalloc's own structures: slab descriptors, magazines, thread
 * caches.  Zeroed, never unmapped and never handed out twice, so that a stale
 * pointer to a structure still points to one (type-stable; I7 of
 * doc/concurrency.md, to which all such numbers in comments refer).
 */
#ifndef PARTYALLOC_METADATA_H
#define PARTYALLOC_METADATA_H

#include <stdbool.h>
#include <stddef.h>

/* `alignment` is a power of two up to a page.  NULL when there is none. */
void *metadata_allocate(size_t bytes, size_t alignment);

/* Maps the first region, unless there is one. */
void metadata_map_ahead(void);

/* Makes `bytes` of metadata present ahead of use.  Calls add up; one that fails
 * maps nothing. */
bool metadata_reserve(size_t bytes);

/* Bytes mapped for metadata. */
size_t metadata_bytes(void);

#endif
