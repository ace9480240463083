/* SPDX-License-Identifier: MIT */
/*
 * When memory has run out, at a cap or a limit of the system: the measures that
 * may make room, one after the other, between tries.
 *
 *     struct shortage shortage = shortage_of_small();
 *     do
 *         block = ...;
 *     while (block == NULL && shortage_relieve(&shortage));
 */
#ifndef PARTYALLOC_SHORTAGE_H
#define PARTYALLOC_SHORTAGE_H

#include <stdbool.h>
#include <stddef.h>

struct shortage {
    size_t bytes; /* that are lacking */
    const struct measure *next;
    unsigned turns; /* that it has had */
};

/* Of a small block; of a large block, or so many bytes that it is to grow by;
 * of memory to reserve. */
struct shortage shortage_of_small(void);
struct shortage shortage_of_large(size_t bytes);
struct shortage shortage_of_reserve(size_t bytes);

/* Takes a measure.  False: all have been, or none can be enough. */
bool shortage_relieve(struct shortage *shortage);

#endif
