/* SPDX-License-Identifier: MIT */
/*
 * Times single calls, and tells the scheduler's part from the allocator's.
 *
 * A thread reads its count of involuntary context switches when it begins,
 * after every pause between two timed calls that is long enough for a switch,
 * and after every slow call.  So a slow call after which the count has grown
 * was interrupted by the scheduler, and every other slow call was not.  A
 * voluntary switch, such as waiting for a lock, is the allocator's.
 */
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include <stdint.h>

#include "allocator.h"
#include "clock.h"
#include "histogram.h"
#include "run.h"

enum { SLOW_NS = 10000, VERY_SLOW_NS = 100000, PAUSE_NS = 3000 };

/* Of one thread, and merged afterwards. */
struct latency {
    struct histogram allocate;
    struct histogram release;
    uint64_t end;               /* ticks at the end of the last call */
    uint64_t overhead;          /* the ticks of an empty measurement */
    uint64_t pause;             /* PAUSE_NS in ticks */
    uint64_t slow;              /* SLOW_NS in ticks */
    uint64_t very_slow;         /* VERY_SLOW_NS in ticks */
    long switches;              /* involuntary ones, at the last look */
    uint64_t slow_calls;
    uint64_t slow_switched;     /* of these, interrupted */
    uint64_t very_slow_calls;
    uint64_t very_slow_switched;
    uint64_t switched_ticks;    /* spent in interrupted calls */
    uint64_t most_own;          /* the slowest call not interrupted */
};

/* Begins to time the calling thread. */
void latency_begin(struct latency *latency);

void latency_merge(struct latency *into, const struct latency *from);

/* Prints percentiles, slow calls and buckets. */
void latency_report(const struct latency *latency);

/* The time of one allocate and one free, without the interrupted calls. */
double latency_mean_ns(const struct latency *latency);

/* Out-of-line parts of what follows. */
void latency_look(struct latency *latency);
void latency_slow_call(struct latency *latency, uint64_t ticks);

static inline uint64_t latency_start(struct latency *latency)
{
    uint64_t now = clock_ticks();

    if (now - latency->end < latency->pause)
        return now;
    latency_look(latency);
    return clock_ticks();
}

static inline void latency_stop(struct latency *latency,
                                struct histogram *histogram, uint64_t start)
{
    uint64_t ticks;

    latency->end = clock_ticks();
    ticks = latency->end - start;
    ticks = ticks > latency->overhead ? ticks - latency->overhead : 0;
    histogram_add(histogram, ticks);
    if (ticks >= latency->slow)
        latency_slow_call(latency, ticks);
    else if (ticks > latency->most_own)
        latency->most_own = ticks;
}

static inline void *timed_take(struct latency *latency,
                               const struct callbacks *callbacks, size_t size)
{
    uint64_t start = latency_start(latency);
    void *block = callbacks->allocate(size, 0);

    latency_stop(latency, &latency->allocate, start);
    return block_write(block, size);
}

static inline void timed_give(struct latency *latency,
                              const struct callbacks *callbacks, void *block)
{
    uint64_t start = latency_start(latency);

    callbacks->release(block, 0);
    latency_stop(latency, &latency->release, start);
}

#endif
