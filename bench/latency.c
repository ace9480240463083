/* SPDX-License-Identifier: MIT */
/*
 * Slow calls of a timed thread, and the report of its latencies.
 */
#include "latency.h"

#include <stdio.h>
#include <sys/resource.h>

static long involuntary_switches(void)
{
    struct rusage usage;

    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nivcsw;
}

void latency_begin(struct latency *latency)
{
    double per_tick = clock_ns_per_tick();

    latency->overhead = clock_overhead();
    latency->pause = (uint64_t)(PAUSE_NS / per_tick);
    latency->slow = (uint64_t)(SLOW_NS / per_tick);
    latency->very_slow = (uint64_t)(VERY_SLOW_NS / per_tick);
    latency_look(latency);
}

void latency_look(struct latency *latency)
{
    latency->switches = involuntary_switches();
    latency->end = clock_ticks();
}

void latency_slow_call(struct latency *latency, uint64_t ticks)
{
    long before = latency->switches;
    bool very_slow = ticks >= latency->very_slow;

    latency_look(latency);

    bool switched = latency->switches != before;

    latency->slow_calls++;
    latency->slow_switched += switched;
    latency->very_slow_calls += very_slow;
    latency->very_slow_switched += very_slow && switched;
    if (switched)
        latency->switched_ticks += ticks;
    else if (ticks > latency->most_own)
        latency->most_own = ticks;
}

void latency_merge(struct latency *into, const struct latency *from)
{
    histogram_merge(&into->allocate, &from->allocate);
    histogram_merge(&into->release, &from->release);
    into->slow_calls += from->slow_calls;
    into->slow_switched += from->slow_switched;
    into->very_slow_calls += from->very_slow_calls;
    into->very_slow_switched += from->very_slow_switched;
    into->switched_ticks += from->switched_ticks;
    if (from->most_own > into->most_own)
        into->most_own = from->most_own;
}

double latency_mean_ns(const struct latency *latency)
{
    uint64_t calls = latency->allocate.calls + latency->release.calls;
    uint64_t ticks = latency->allocate.ticks + latency->release.ticks -
                     latency->switched_ticks;

    return 2.0 * (double)ticks * clock_ns_per_tick() / (double)calls;
}

static void report_percentiles(const char *kind, const struct histogram *calls)
{
    static const struct {
        const char *name;
        double part;
    } parts[] = {
        {"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999},
    };
    double per_tick = clock_ns_per_tick();

    printf("%scalls %llu\n", kind, (unsigned long long)calls->calls);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        printf("%s%s_ns %.0f\n", kind, parts[i].name,
               (double)histogram_percentile(calls, parts[i].part) * per_tick);
    printf("%smax_ns %.0f\n", kind, (double)calls->most * per_tick);
}

void latency_report(const struct latency *latency)
{
    static struct histogram all;
    double per_tick = clock_ns_per_tick();

    histogram_merge(&all, &latency->allocate);
    histogram_merge(&all, &latency->release);
    report_percentiles("", &all);
    report_percentiles("allocate_", &latency->allocate);
    report_percentiles("free_", &latency->release);
    printf("max_own_ns %.0f\n", (double)latency->most_own * per_tick);
    printf("over_10us %llu\n", (unsigned long long)latency->slow_calls);
    printf("over_10us_switched %llu\n",
           (unsigned long long)latency->slow_switched);
    printf("over_100us %llu\n", (unsigned long long)latency->very_slow_calls);
    printf("over_100us_switched %llu\n",
           (unsigned long long)latency->very_slow_switched);
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        if (all.buckets[i] != 0)
            printf("bucket %.1f %llu\n",
                   (double)histogram_bucket_end(i) * per_tick,
                   (unsigned long long)all.buckets[i]);
}
