/* SPDX-License-Identifier: MIT */
/*
 * Reading histograms; adding to them is in the header.
 */
#include "histogram.h"

uint64_t histogram_bucket_end(uint32_t bucket)
{
    if (bucket < 2 * HISTOGRAM_STEPS)
        return bucket;

    uint32_t shift = (bucket >> HISTOGRAM_SHIFT) - 1;
    uint64_t step = bucket % HISTOGRAM_STEPS + HISTOGRAM_STEPS;

    return ((step + 1) << shift) - 1;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    into->calls += from->calls;
    into->ticks += from->ticks;
    if (from->most > into->most)
        into->most = from->most;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
}

uint64_t histogram_percentile(const struct histogram *histogram, double part)
{
    uint64_t wanted = (uint64_t)((double)histogram->calls * part);
    uint64_t seen = 0;

    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen > wanted) {
            uint64_t end = histogram_bucket_end(i);

            return end < histogram->most ? end : histogram->most;
        }
    }
    return histogram->most;
}
