/* SPDX-License-Identifier: MIT */
/*
 * A histogram of ticks whose buckets are at most 1/32 of their value wide.
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_SHIFT = 5,
    HISTOGRAM_STEPS = 1 << HISTOGRAM_SHIFT,
    HISTOGRAM_BUCKETS = (64 - HISTOGRAM_SHIFT + 1) * HISTOGRAM_STEPS
};

struct histogram {
    uint64_t calls;
    uint64_t ticks;
    uint64_t most;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

static inline uint32_t histogram_bucket(uint64_t ticks)
{
    if (ticks < HISTOGRAM_STEPS)
        return (uint32_t)ticks;

    uint32_t shift = 63 - HISTOGRAM_SHIFT - (uint32_t)__builtin_clzll(ticks);

    return (shift << HISTOGRAM_SHIFT) + (uint32_t)(ticks >> shift);
}

static inline void histogram_add(struct histogram *histogram, uint64_t ticks)
{
    histogram->calls++;
    histogram->ticks += ticks;
    if (ticks > histogram->most)
        histogram->most = ticks;
    histogram->buckets[histogram_bucket(ticks)]++;
}

/* The upper end of a bucket: no call in it took more ticks. */
uint64_t histogram_bucket_end(uint32_t bucket);

void histogram_merge(struct histogram *into, const struct histogram *from);

/* The ticks that a part of the calls (0.99 for p99) did not exceed. */
uint64_t histogram_percentile(const struct histogram *histogram, double part);

#endif
