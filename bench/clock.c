/* SPDX-License-Identifier: MIT */
/*
 * Finds out whether the time-stamp counter is usable, and calibrates it against
 * the monotonic clock.
 */
#include "clock.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

enum { CALIBRATION_NS = 20000000, OVERHEAD_SAMPLES = 10000 };

bool clock_has_counter;

static double ns_per_tick = 1.0;
static uint64_t overhead;

/* Whether it runs at a constant rate, whatever the core's clock, and so alike
 * on all cores. */
static bool counter_is_invariant(void)
{
#if defined(__x86_64__)
    const unsigned power_leaf = 0x80000007u;
    const unsigned invariant = 1u << 8;
    unsigned a, b, c, d;

    return __get_cpuid(power_leaf, &a, &b, &c, &d) != 0
           && (d & invariant) != 0;
#else
    return false;
#endif
}

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
    uint64_t start_ns, start, end_ns;

    clock_has_counter = counter_is_invariant();
    start_ns = clock_ns();
    start = clock_ticks();
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
