/* SPDX-License-Identifier: MIT */
/* The histogram of durations. */
#include "title_latency.h"

#include <stddef.h>

/* Small durations have a bucket each; the others are told apart by their
 * highest bit and the LATENCY_PARTS_SHIFT bits below it. */
static size_t bucket_of(uint64_t ticks)
{
    unsigned top_bit;
    unsigned octave;

    if (ticks < LATENCY_PARTS)
        return (size_t)ticks;
    if (ticks >> (LATENCY_TOP_BIT + 1) != 0)
        return LATENCY_BUCKETS - 1;
    top_bit = 63U - (unsigned)__builtin_clzll(ticks);
    octave = top_bit - LATENCY_PARTS_SHIFT;
    return (octave + 1) * LATENCY_PARTS +
           (size_t)((ticks >> octave) & (LATENCY_PARTS - 1));
}

/* The longest duration that falls into a bucket. */
static uint64_t end_of_bucket(size_t bucket)
{
    size_t octave = bucket / LATENCY_PARTS;
    uint64_t part = bucket % LATENCY_PARTS;

    if (octave == 0)
        return bucket;
    return ((LATENCY_PARTS + part + 1) << (octave - 1)) - 1;
}

void latency_record(struct latency *latency, uint64_t ticks)
{
    latency->calls++;
    latency->buckets[bucket_of(ticks)]++;
    if (ticks > latency->slowest)
        latency->slowest = ticks;
}

void latency_merge(struct latency *into, const struct latency *from)
{
    into->calls += from->calls;
    for (size_t i = 0; i < LATENCY_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
    if (from->slowest > into->slowest)
        into->slowest = from->slowest;
}

uint64_t latency_percentile(const struct latency *latency, double fraction)
{
    uint64_t wanted = (uint64_t)((double)latency->calls * fraction);
    uint64_t seen = 0;

    for (size_t i = 0; i < LATENCY_BUCKETS; i++) {
        seen += latency->buckets[i];
        if (seen > wanted) {
            uint64_t end = end_of_bucket(i);

            return end < latency->slowest ? end : latency->slowest;
        }
    }
    return latency->slowest;
}
