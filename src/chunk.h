/* SPDX-License-Identifier: MIT */
/*
 * Address space for slabs, taken from the system in modest steps and granted
 * from low to high addresses.  Nothing granted comes back here: whoever gives
 * it up unmaps it.
 */
#ifndef PARTYALLOC_CHUNK_H
#define PARTYALLOC_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CHUNK_BYTES = 4 << 20 }; /* per kernel call */

/* Address space that has been granted. */
struct grant {
    uintptr_t base; /* 0: there is none */
    bool reserved;  /* its pages are present, and are to stay so */
};

/* Grants `units` page map units, whose page map leaves exist. */
struct grant chunk_grant(unsigned units);

/* Whether there are so many units in one piece of reserved memory. */
bool chunk_has_reserved(unsigned units);

/* Maps the first chunk, unless there is one. */
void chunk_map_ahead(void);

/* What is mapped, but neither granted nor reserved: its bytes; and unmaps it,
 * unless the system refuses.  Returns the bytes. */
size_t chunk_left_bytes(void);
size_t chunk_drop(void);

/* Maps `bytes` with all pages present, for chunk_grant() to prefer, and
 * reserves `metadata` bytes; false: neither.  Adjacent ranges are merged. */
bool chunk_reserve(size_t bytes, size_t metadata);

#endif
