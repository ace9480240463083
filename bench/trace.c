/* SPDX-License-Identifier: MIT */
/*
 * The thread that samples resident memory.
 */
#include "trace.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "clock.h"

enum { PERIOD_NS = 5000000, MAX_SAMPLES = 1 << 16 };

static struct {
    const struct run *run;
    struct sample {
        uint64_t ns;
        size_t resident;
    } *samples;
    size_t count;
    uint64_t start_ns;
    pthread_t thread;
    atomic_bool stop;   /* set by trace_stop(), read by the sampling thread */
} trace;

static void take_sample(void)
{
    struct sample *sample = &trace.samples[trace.count++];

    sample->ns = clock_ns() - trace.start_ns;
    sample->resident = run_resident(trace.run);
}

static void *sample_loop(void *unused)
{
    const struct timespec period = {0, PERIOD_NS};

    (void)unused;
    while (trace.count < MAX_SAMPLES - 1 && !atomic_load(&trace.stop)) {
        take_sample();
        nanosleep(&period, NULL);
    }
    take_sample();
    return NULL;
}

void trace_start(const struct run *run)
{
    trace.run = run;
    /* Not populated: only 16 bytes a sample are written. */
    trace.samples = calloc(MAX_SAMPLES, sizeof *trace.samples);
    if (trace.samples == NULL)
        out_of_memory(sizeof *trace.samples * MAX_SAMPLES);
    trace.start_ns = clock_ns();
    trace.thread = thread_start(sample_loop, NULL);
}

void trace_stop(void)
{
    FILE *file;

    atomic_store(&trace.stop, true);
    thread_join(trace.thread);
    file = fopen(trace.run->trace, "w");
    if (file == NULL) {
        perror(trace.run->trace);
        exit(EXIT_FAILURE);
    }
    for (size_t i = 0; i < trace.count; i++)
        fprintf(file, "%.1f %zu\n", (double)trace.samples[i].ns * 1e-6,
                trace.samples[i].resident / 1024);
    fclose(file);
}
