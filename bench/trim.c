/* SPDX-License-Identifier: MIT */
/*
 * The latency of allocate and free while another thread trims all the time.
 */
#include <stdatomic.h>
#include <stdio.h>

#include "latency.h"
#include "workloads.h"

static const struct size_range packet = {40, 1400};

enum { SET = 10000 };

static atomic_bool packets_done;    /* ends the trimming thread */

static void setup_packets(struct worker *worker)
{
    struct random random = random_stream(0);

    worker->sizes = random_sizes(&random, packet);
    worker->indices = random_indices(&random, SET);
    worker->slot_count = SET;
    worker->slots = harness_memory(SET * sizeof *worker->slots);
    worker->own = harness_memory(sizeof(struct latency));
}

static void fill_packets(struct worker *worker)
{
    for (size_t i = 0; i < SET; i++)
        worker->slots[i] = block_take(&worker->run->callbacks,
                                      size_at(worker, i));
}

static void work_packets(struct worker *worker)
{
    const struct callbacks callbacks = worker->run->callbacks;

    latency_begin(worker->own);
    for (uint64_t i = 0; i < worker->operations; i++) {
        void **slot = &worker->slots[worker->indices[i % INDEX_COUNT]];

        timed_give(worker->own, &callbacks, *slot);
        *slot = timed_take(worker->own, &callbacks, size_at(worker, i));
    }
}

static void drain_packets(struct worker *worker)
{
    for (size_t i = 0; i < SET; i++)
        block_give(&worker->run->callbacks, worker->slots[i]);
}

static void *trim_always(void *argument)
{
    const struct run *run = argument;
    uint64_t trims = 0;

    while (!atomic_load(&packets_done)) {
        run->verbs.trim();
        trims++;
    }
    printf("trims %llu\n", (unsigned long long)trims);
    return NULL;
}

static void timed_packets(struct run *run)
{
    const struct phases phases = {setup_packets, fill_packets, work_packets,
                                  drain_packets};
    struct worker *worker;

    run->threads = 1;
    worker = run_phases_quietly(run, &phases, 5e6);
    run_report(run);
    latency_report(worker->own);
}

void run_no_trim(struct run *run)
{
    timed_packets(run);
}

void run_trim(struct run *run)
{
    pthread_t trimmer = thread_start(trim_always, run);

    timed_packets(run);
    atomic_store(&packets_done, true);
    thread_join(trimmer);
}
