/* SPDX-License-Identifier: MIT */
/*
 * Threads that come and go: in rows, each pinned to a core.
 */
#include "workloads.h"

static const struct size_range mixed = {16, 2047};

/* --- Server -------------------------------------------------------------- */

/*
 * Each lane is a row of threads, one after the other: each replaces some of the
 * blocks that it inherited, at random, and leaves all to the next.
 */
enum { LANE_BLOCKS = 1000, LIFE = 20000 };

static void setup_lane(struct worker *worker)
{
    struct random random = random_stream(worker->index);

    worker->sizes = random_sizes(&random, mixed);
    worker->indices = random_indices(&random, LANE_BLOCKS);
    worker->slot_count = LANE_BLOCKS;
    worker->slots = harness_memory(LANE_BLOCKS * sizeof *worker->slots);
}

static void fill_lane(struct worker *worker)
{
    for (size_t i = 0; i < worker->slot_count; i++)
        worker->slots[i] = block_take(&worker->run->callbacks,
                                      size_at(worker, i));
}

struct life {
    struct worker *worker;
    uint64_t first;
    uint64_t end;
};

static void *live(void *argument)
{
    const struct life *life = argument;
    struct worker *worker = life->worker;
    const struct callbacks callbacks = worker->run->callbacks;

    for (uint64_t i = life->first; i < life->end; i++) {
        void **slot = &worker->slots[worker->indices[i % INDEX_COUNT]];

        block_give(&callbacks, *slot);
        *slot = block_take(&callbacks, size_at(worker, i));
    }
    return NULL;
}

static void work_lane(struct worker *worker)
{
    thread_keep_to_core(worker->index);
    for (uint64_t i = 0; i < worker->operations; i += LIFE) {
        uint64_t left = worker->operations - i;
        struct life life = {worker, i, i + (left < LIFE ? left : LIFE)};

        thread_join(thread_start(live, &life));
    }
}

static void drain_lane(struct worker *worker)
{
    for (size_t i = 0; i < worker->slot_count; i++)
        block_give(&worker->run->callbacks, worker->slots[i]);
}

void run_server(struct run *run)
{
    const struct phases phases = {setup_lane, fill_lane, work_lane,
                                  drain_lane};

    run_phases(run, &phases, 40e6);
}

/* --- Short threads ------------------------------------------------------- */

enum { SHORT_BLOCKS = 100, SHORT_ROUNDS = 3 };

static void *live_shortly(void *argument)
{
    const struct worker *worker = argument;
    const struct callbacks callbacks = worker->run->callbacks;
    void *blocks[SHORT_BLOCKS];

    for (size_t round = 0; round < SHORT_ROUNDS; round++) {
        for (size_t i = 0; i < SHORT_BLOCKS; i++)
            blocks[i] = block_take(&callbacks, size_at(worker, i));
        for (size_t i = 0; i < SHORT_BLOCKS; i++)
            block_give(&callbacks, blocks[i]);
    }
    return NULL;
}

static void work_short_threads(struct worker *worker)
{
    thread_keep_to_core(worker->index);
    for (uint64_t i = 0; i < worker->operations; i++)
        thread_join(thread_start(live_shortly, worker));
}

static void setup_short_threads(struct worker *worker)
{
    struct random random = random_stream(worker->index);

    worker->sizes = random_sizes(&random, mixed);
}

void run_short_threads(struct run *run)
{
    const struct phases phases = {.setup = setup_short_threads,
                                  .work = work_short_threads};

    run_phases(run, &phases, 20e3);
}
