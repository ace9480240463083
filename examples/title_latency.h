/* SPDX-License-Identifier: MIT */
/*
 * A log-linear histogram of durations in ticks: every power of two is cut into
 * 32 equal parts, so that a percentile is at most 3% above the true value.
 */
#ifndef TITLE_LATENCY_H
#define TITLE_LATENCY_H

#include <stdint.h>

#define LATENCY_PARTS_SHIFT 5
#define LATENCY_PARTS       (1 << LATENCY_PARTS_SHIFT)
/* Durations are told apart up to 2^40 ticks, some minutes. */
#define LATENCY_TOP_BIT 39
#define LATENCY_BUCKETS                                                        \
    ((LATENCY_TOP_BIT - LATENCY_PARTS_SHIFT + 2) * LATENCY_PARTS)

/* All zero is empty.  One thread records; others read when it has ended. */
struct latency {
    uint64_t calls;
    uint64_t slowest;
    uint32_t buckets[LATENCY_BUCKETS];
};

void latency_record(struct latency *latency, uint64_t ticks);

/* Adds what `from` holds to `into`. */
void latency_merge(struct latency *into, const struct latency *from);

/* The duration in ticks that `fraction` of the calls did not exceed. */
uint64_t latency_percentile(const struct latency *latency, double fraction);

#endif
