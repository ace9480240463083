/* SPDX-License-Identifier: MIT */
/*
 * Calibrates the time-stamp counter against the monotonic clock.
 */
#include "clock.h"

enum { CALIBRATION_NS = 20000000, OVERHEAD_SAMPLES = 10000 };

static double ns_per_tick = 1.0;
static uint64_t overhead;

static uint64_t measure_overhead(void)
{
    uint64_t least = UINT64_MAX;

    for (int i = 0; i < OVERHEAD_SAMPLES; i++) {
        uint64_t start = clock_ticks();
        uint64_t ticks = clock_ticks() - start;

        if (ticks < least)
            least = ticks;
    }
    return least;
}

void clock_calibrate(void)
{
    uint64_t start_ns = clock_ns();
    uint64_t start = clock_ticks();
    uint64_t end_ns;

    do
        end_ns = clock_ns();
    while (end_ns - start_ns < CALIBRATION_NS);
    ns_per_tick = (double)(end_ns - start_ns) /
                  (double)(clock_ticks() - start);
    overhead = measure_overhead();
}

double clock_ns_per_tick(void)
{
    return ns_per_tick;
}

uint64_t clock_overhead(void)
{
    return overhead;
}
