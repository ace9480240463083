/* SPDX-License-Identifier: MIT */
/* Statistics: sums of what the layers count anyway. */
#include <errno.h>
#include <string.h>

#include "compiler.h"
#include "depot.h"
#include "large.h"
#include "metadata.h"
#include "os.h"
#include "page_map.h"
#include "partyalloc.h"
#include "slab.h"
#include "thread_cache.h"

/* a - b, at least 0, of figures that were not read at one moment. */
static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static void fill_small(struct partyalloc_stats *stats)
{
    /* In the order in which freed blocks move: those that move on meanwhile are
     * not missed. */
    struct cache_totals caches = cache_totals();
    struct depot_totals depot = depot_totals();
    struct slab_totals slabs = slab_totals();
    uint64_t free_blocks = slabs.resting_blocks + depot.blocks + caches.blocks;
    uint64_t free_bytes = slabs.resting_bytes + depot.bytes + caches.bytes;

    stats->small_live_blocks = minus(slabs.carved_blocks, free_blocks);
    stats->small_live_bytes = minus(slabs.carved_bytes, free_bytes);
    stats->small_peak_bytes = slabs.peak_bytes > stats->small_live_bytes
                                  ? slabs.peak_bytes
                                  : stats->small_live_bytes;
    stats->cache_bytes = caches.bytes;
    stats->depot_bytes = depot.bytes;
    stats->slab_bytes = slabs.resting_bytes;
    stats->purged_bytes = slabs.purged_bytes;
    stats->cache_misses = caches.misses;
    stats->cache_overflows = caches.overflows;
    stats->depot_pushes = caches.pushes;
    stats->depot_pops = caches.pops;
    stats->depot_retries = depot.retries;
    stats->slabs_carved = slabs.slabs_made;
    stats->threads = caches.caches;
}

static void fill_large(struct partyalloc_stats *stats)
{
    struct large_totals large = large_totals();
    stats->large_live_blocks = large.live_blocks;
    stats->large_live_bytes = large.live_bytes;
    stats->large_peak_bytes = large.peak_bytes;
    stats->large_cached_bytes = large.cached_bytes;
    stats->large_maps = large.maps;
    stats->large_reuses = large.reuses;
}

EXPORTED int partyalloc_get_stats(struct partyalloc_stats *stats)
{
    struct partyalloc_stats now = {0};
    if (stats == NULL || stats->size < sizeof(stats->size))
        return EINVAL;
    size_t known = stats->size < sizeof(now) ? stats->size : sizeof(now);
    now.size = known;
    fill_small(&now);
    fill_large(&now);
    now.mapped_bytes = os_mapped_bytes();
    now.mapped_peak_bytes = os_mapped_peak_bytes();
    now.metadata_bytes = metadata_bytes() + page_map_bytes();
    now.kernel_calls = os_kernel_calls();
    memcpy(stats, &now, known);
    return 0;
}

EXPORTED const char *partyalloc_version(void)
{
    return PACKAGE_VERSION;
}
