/* SPDX-License-Identifier: MIT */
/*
 * Time and memory of a run, and its report.
 */
#include "run.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trace.h"

uint64_t run_operations(const struct run *run, double per_second)
{
    double operations = per_second * run->seconds;

    return operations < 1 ? 1 : (uint64_t)operations;
}

/* --- Memory -------------------------------------------------------------- */

/* A figure of /proc/self/status, from KiB to bytes. */
static size_t status_bytes(const char *name)
{
    char text[4096];
    int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);

    if (file >= 0)
        close(file);
    if (length < 0)
        return 0;
    text[length] = '\0';

    const char *line = strstr(text, name);

    return line == NULL ? 0 : strtoul(line + strlen(name), NULL, 10) * 1024;
}

/* Makes VmHWM the peak from now on. */
static void reset_peak(void)
{
    int file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

    if (file < 0)
        return;
    if (write(file, "5", 1) != 1)
        fputs("bench: the peak of resident memory cannot be reset\n", stderr);
    close(file);
}

static size_t above(size_t bytes, size_t start)
{
    return bytes > start ? bytes - start : 0;
}

size_t run_resident(const struct run *run)
{
    return above(status_bytes("VmRSS:"), run->start_resident);
}

size_t run_peak(const struct run *run)
{
    return above(status_bytes("VmHWM:"), run->start_resident);
}

void run_print_resident(const struct run *run, const char *name)
{
    printf("%s %zu\n", name, run_resident(run) / 1024);
}

/* --- A run --------------------------------------------------------------- */

static void take_stats(const struct run *run, struct partyalloc_stats *stats)
{
    memset(stats, 0, sizeof *stats);
    stats->size = sizeof *stats;
    if (run->verbs.get_stats != NULL)
        run->verbs.get_stats(stats);
}

void run_baseline(struct run *run)
{
    reset_peak();
    run->start_resident = status_bytes("VmRSS:");
    take_stats(run, &run->start_stats);
    if (run->trace != NULL)
        trace_start(run);
}

void run_result(struct run *run, uint64_t ns, uint64_t cpu_ns,
                double operations)
{
    run->operations = operations;
    run->ns_per_operation = (double)ns / operations;
    run->cpu_ns_per_operation = (double)cpu_ns / operations;
}

static void print_stats(const struct run *run)
{
    const struct partyalloc_stats *start = &run->start_stats;
    struct partyalloc_stats now;

    take_stats(run, &now);

    const struct {
        const char *name;
        uint64_t count;
    } counts[] = {
        {"cache_misses", now.cache_misses - start->cache_misses},
        {"cache_overflows", now.cache_overflows - start->cache_overflows},
        {"depot_pushes", now.depot_pushes - start->depot_pushes},
        {"depot_pops", now.depot_pops - start->depot_pops},
        {"depot_retries", now.depot_retries - start->depot_retries},
        {"slabs_carved", now.slabs_carved - start->slabs_carved},
        {"kernel_calls", now.kernel_calls - start->kernel_calls},
    };

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        printf("%s %llu\n", counts[i].name,
               (unsigned long long)counts[i].count);
}

void run_report(struct run *run)
{
    size_t peak = run_peak(run);

    if (run->trace != NULL)
        trace_stop();
    printf("ns %.3f\n", run->ns_per_operation);
    printf("cpu_ns %.3f\n", run->cpu_ns_per_operation);
    printf("operations %.0f\n", run->operations);
    printf("all_operations %.0f\n", run->all_operations);
    printf("peak_kib %zu\n", peak / 1024);
    run_print_resident(run, "final_kib");
    if (run->verbs.get_stats != NULL)
        print_stats(run);
}

void out_of_memory(size_t size)
{
    fprintf(stderr, "bench: no block of %zu bytes\n", size);
    exit(EXIT_FAILURE);
}
