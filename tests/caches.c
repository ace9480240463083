/* SPDX-License-Identifier: MIT */
/* What the tests of caches share: caches.h. */
#include "support.h"

#include "caches.h"
#include "size_class.h"
#include "thread_cache.h"

void *blocks[MANY];

void *allocate(unsigned class)
{
    void *block = partyalloc_allocate(size_classes[class].size, ANY_TYPE);

    require(block != NULL);
    return block;
}

void release(void *block)
{
    partyalloc_free(block, ANY_TYPE);
}

void have_a_cache(void)
{
    /* Of a class in which no test wants own blocks. */
    release(allocate(1));
    partyalloc_thread_flush();
}

void *allocate_many(void *class)
{
    for (size_t i = 0; i < MANY; i++)
        blocks[i] = allocate(*(unsigned *)class);
    return NULL;
}

void free_much_of(unsigned class, uint64_t bound)
{
    size_t count = 4 * MIB / size_classes[class].size;

    count = count < MANY ? count : MANY;
    for (size_t i = 0; i < count; i++)
        blocks[i] = allocate(class);
    for (size_t i = 0; i < count; i++) {
        release(blocks[i]);
        if (i % 16 == 0)
            require(cache_totals().bytes <= bound);
    }
    assert_in_range(cache_totals().bytes, 0, bound);
}

void *leave_blocks(void *unused)
{
    void *mine[LEFT_BLOCKS];

    for (size_t i = 0; i < LEFT_BLOCKS; i++)
        mine[i] = allocate(LEFT_CLASS);
    for (size_t i = 0; i < LEFT_BLOCKS; i++)
        release(mine[i]);
    return unused;
}
