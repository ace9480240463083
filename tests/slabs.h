/* SPDX-License-Identifier: MIT */
/* What the tests of slabs share, on top of support.h. */
#ifndef SLABS_H
#define SLABS_H

#include <stddef.h>

#include "slab_internal.h"

enum { OWNER = 7, WANTED = 50 };

/* Fills all `count` entries, in as many calls as it takes. */
void fill_all(struct slab_source *source, unsigned class, void **blocks,
              size_t count);

/* Asserts that blocks of a class are disjoint and known, and that addresses
 * inside them are not. */
void check_class(unsigned class);

/* The two steps of a thread that brings a block to rest. */
struct slab *bring_to_rest(unsigned class, void *block);
void count_at_rest(struct slab *slab);

/* Those totals that are the same again once all slabs are gone. */
struct slab_totals what_there_is(struct slab_totals totals);

/* Retires all that other tests have left. */
void retire_all(void);

#endif
