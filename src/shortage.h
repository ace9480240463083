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

struct cache;

struct shortage {
    size_t bytes;               /* that are lacking */
    const struct measure *next; /* NULL: none can help */
    unsigned turns;             /* that it has had, with the one that it has */
    struct cache *flushed;      /* behind this one caches may have something */
};

/* Of a small block; of so many bytes, for a large block, for one that grows by
 * them, or to reserve. */
struct shortage shortage_of_small(void);
struct shortage shortage_of(size_t bytes);

/* Takes a measure.  False: all have been, or none can be enough. */
bool shortage_relieve(struct shortage *shortage);

#endif
