/* SPDX-License-Identifier: MIT */
/*
 * Time: nanoseconds for a whole run, ticks for a single call.  A tick is one
 * step of the processor's time-stamp counter where that runs at one rate on
 * all cores, elsewhere a nanosecond of the monotonic clock.
 */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <stdbool.h>
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

/* Whether ticks are those of the counter: clock_calibrate() finds out. */
extern bool clock_has_counter;

/* The fence keeps the counter behind the loads of the measured call, which
 * could otherwise seem to end before its result is there. */
static inline uint64_t clock_ticks(void)
{
#if defined(__x86_64__)
    if (clock_has_counter) {
        uint64_t ticks;

        _mm_lfence();
        ticks = __rdtsc();
        _mm_lfence();
        return ticks;
    }
#endif
    return clock_ns();
}

/* Chooses what a tick is; measures its length and the cost of an empty
 * measurement.  Before any other thread runs. */
void clock_calibrate(void);

/* Nanoseconds in a tick; after clock_calibrate(). */
double clock_ns_per_tick(void);

/* Ticks from one reading to the next, with nothing in between. */
uint64_t clock_overhead(void);

#endif
