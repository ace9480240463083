/* SPDX-License-Identifier: MIT */
/* What the tests of threads' caches share, on top of support.h. */
#ifndef CACHES_H
#define CACHES_H

#include <stdint.h>

enum { MANY = 3000 };
/* What a cache may hold; the size above which a block is medium. */
#define CACHE_BYTES  (512 * KIB)
#define MEDIUM_ABOVE (4 * KIB)

/* For any test to keep its blocks in. */
extern void *blocks[MANY];

/* A block of a class; requires that there is memory. */
void *allocate(unsigned class);
void release(void *block);

/* Gives this thread an empty cache, so that it takes none that another one
 * leaves. */
void have_a_cache(void);

/* A thread's body: fills `blocks` with blocks of *class. */
void *allocate_many(void *class);

/* Frees 4 MiB of a class, checking what the cache holds against `bound`. */
void free_much_of(unsigned class, uint64_t bound);

/* A thread's body: frees blocks that its cache has room for. */
enum { LEFT_CLASS = 20, LEFT_BLOCKS = 200 };
void *leave_blocks(void *unused);

#endif
