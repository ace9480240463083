/* SPDX-License-Identifier: MIT */
/* The calibration of the ticks, and sleeping. */
#include "title_clock.h"

#include <errno.h>
#include <stdio.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define CALIBRATION_NS (20 * NANOSECONDS_PER_MILLISECOND)

bool ticks_are_tsc;

static double ns_per_tick = 1.0;
static char description[64] = "the monotonic clock";

#if defined(__x86_64__)
/* Whether the counter runs at one rate, whatever the processor's clock does. */
static bool tsc_is_invariant(void)
{
    const unsigned power_leaf = 0x80000007U;
    const unsigned invariant_tsc = 1U << 8;
    unsigned a;
    unsigned b;
    unsigned c;
    unsigned d;

    return __get_cpuid(power_leaf, &a, &b, &c, &d) != 0 &&
           (d & invariant_tsc) != 0;
}
#endif

void ticks_calibrate(void)
{
#if defined(__x86_64__)
    uint64_t begin_ns;
    uint64_t begin_ticks;
    uint64_t passed_ns;

    ticks_are_tsc = tsc_is_invariant();
    if (!ticks_are_tsc)
        return;
    begin_ns = now_ns();
    begin_ticks = ticks_now();
    sleep_until(begin_ns + CALIBRATION_NS);
    passed_ns = now_ns() - begin_ns;
    ns_per_tick = (double)passed_ns / (double)(ticks_now() - begin_ticks);
    snprintf(description, sizeof description,
             "the time stamp counter at %.2f GHz", 1.0 / ns_per_tick);
#endif
}

uint64_t ticks_to_ns(uint64_t ticks)
{
    return (uint64_t)((double)ticks * ns_per_tick);
}

const char *ticks_describe(void)
{
    return description;
}

void sleep_until(uint64_t ns)
{
    struct timespec until;
    int error;

    until.tv_sec = (time_t)(ns / NANOSECONDS_PER_SECOND);
    until.tv_nsec = (long)(ns % NANOSECONDS_PER_SECOND);
    do
        error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    while (error == EINTR);
}
