/* SPDX-License-Identifier: MIT */
/*
 * The two clocks of the title: nanoseconds for everything that waits, ticks
 * for everything that is measured.
 */
#ifndef TITLE_CLOCK_H
#define TITLE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#define NANOSECONDS_PER_SECOND      UINT64_C(1000000000)
#define NANOSECONDS_PER_MILLISECOND UINT64_C(1000000)

/* Whether ticks are the processor's time stamp counter; else nanoseconds. */
extern bool ticks_are_tsc;

/* Chooses and calibrates the ticks; takes about 20 milliseconds.  To be called
 * once, before any other thread runs. */
void ticks_calibrate(void);

/* The length of `ticks` in nanoseconds. */
uint64_t ticks_to_ns(uint64_t ticks);

/* What the ticks are, for the report: "time stamp counter at 2.10 GHz". */
const char *ticks_describe(void);

/* Sleeps until the monotonic clock shows `ns`. */
void sleep_until(uint64_t ns);

/* The monotonic clock. */
static inline uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NANOSECONDS_PER_SECOND +
           (uint64_t)now.tv_nsec;
}

/*
 * The clock of the measurements.  The fences keep what is measured between two
 * readings from drifting out of it.
 */
static inline uint64_t ticks_now(void)
{
#if defined(__x86_64__)
    if (ticks_are_tsc) {
        uint64_t ticks;

        _mm_lfence();
        ticks = __rdtsc();
        _mm_lfence();
        return ticks;
    }
#endif
    return now_ns();
}

#endif
