/* SPDX-License-Identifier: MIT */
/*
 * When memory has run out, at a cap or a system limit: the measures that may
 * make room, tried one after the other.
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
    size_t bytes;               /* lacking */
    const struct measure *next; /* NULL: none can help */
    unsigned turns;             /* of that measure, the current one included */
    struct cache *flushed;      /* caches after this one may have something */
};

/* Of a small block; of `bytes`, for a large block, for one that grows by them,
 * or for a reservation. */
struct shortage shortage_of_small(void);
struct shortage shortage_of(size_t bytes);

/* Takes a measure.  False: all have been, or all could not be enough. */
bool shortage_relieve(struct shortage *shortage);

#endif
