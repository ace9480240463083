/* SPDX-License-Identifier: MIT */
/* The part of support.h that uses the library. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

struct filled filled_allocate(size_t size, uint64_t seed)
{
    struct filled filled = {partyalloc_allocate(size, ANY_TYPE), size, seed};

    require(filled.block != NULL);
    require((uintptr_t)filled.block % PARTYALLOC_ALIGNMENT == 0);
    fill(filled.block, size, seed);
    return filled;
}

void filled_free(struct filled *filled)
{
    if (filled->block == NULL)
        return;
    require(holds(filled->block, filled->size, filled->seed));
    partyalloc_free(filled->block, ANY_TYPE);
    filled->block = NULL;
}

static int compare_addresses(const void *left, const void *right)
{
    uintptr_t a = *(const uintptr_t *)left;
    uintptr_t b = *(const uintptr_t *)right;

    return (a > b) - (a < b);
}

void require_disjoint(void *const *blocks, size_t count)
{
    void **sorted = malloc(count * sizeof *sorted);

    require(sorted != NULL);
    memcpy(sorted, blocks, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_addresses);
    for (size_t i = 1; i < count; i++) {
        size_t usable = partyalloc_usable_size(sorted[i - 1]);
        require((uintptr_t)sorted[i - 1] + usable <= (uintptr_t)sorted[i]);
        require(sorted[i - 1] != sorted[i]);
    }
    free(sorted);
}

struct partyalloc_stats stats_now(void)
{
    struct partyalloc_stats stats;

    memset(&stats, 0xa5, sizeof stats);
    stats.size = sizeof stats;
    require(partyalloc_get_stats(&stats) == 0);
    return stats;
}
