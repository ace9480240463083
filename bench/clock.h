/* SPDX-License-Identifier: MIT */
/*
 * Time: nanoseconds for a whole run, ticks for a single call.  A tick is one
 * step of the processor's time-stamp counter where that runs at one rate on
 * all cores, elsewhere a nanosecond of the monotonic clock.
 */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

static inline uint64_t clock_ns_of(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t clock_ns(void)
{
    return clock_ns_of(CLOCK_MONOTONIC);
}

/* The fence before the counter keeps it behind the loads of the call that is
 * measured; without it a call could end before its result is there. */
static inline uint64_t clock_ticks(void)
{
#if defined(__x86_64__)
    uint64_t ticks;

    _mm_lfence();
    ticks = __rdtsc();
    _mm_lfence();
    return ticks;
#else
    return clock_ns();
#endif
}

/* Measures the length of a tick and the cost of an empty measurement. */
void clock_calibrate(void);

/* Nanoseconds in a tick; after clock_calibrate(). */
double clock_ns_per_tick(void);

/* Ticks that two readings with nothing between them are apart. */
uint64_t clock_overhead(void);

#endif
