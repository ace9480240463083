/* SPDX-License-Identifier: MIT */
/*
 * Large blocks, and much memory at once.
 */
#include <string.h>

#include "burst.h"
#include "clock.h"
#include "workloads.h"

static const struct size_range large = {256 << 10, 4 << 20};

enum { LARGE_SET = 16, PAGE_BYTES = 4096 };

/* --- Large blocks -------------------------------------------------------- */

static void setup_large(struct worker *worker)
{
    struct random random = random_stream(worker->index);

    worker->sizes = random_sizes(&random, large);
    worker->indices = random_indices(&random, LARGE_SET);
    worker->slot_count = LARGE_SET;
    worker->slots = harness_memory(LARGE_SET * sizeof *worker->slots);
}

static void touch(void *block, size_t size)
{
    volatile unsigned char *bytes = block;

    for (size_t at = 0; at < size; at += PAGE_BYTES)
        bytes[at] = 1;
}

static void work_large(struct worker *worker)
{
    const struct callbacks callbacks = worker->run->callbacks;

    for (uint64_t i = 0; i < worker->operations; i++) {
        void **slot = &worker->slots[worker->indices[i % INDEX_COUNT]];
        size_t size = size_at(worker, i);

        if (*slot != NULL)
            block_give(&callbacks, *slot);
        *slot = block_take(&callbacks, size);
        touch(*slot, size);
    }
}

static void drain_large(struct worker *worker)
{
    for (size_t i = 0; i < worker->slot_count; i++)
        if (worker->slots[i] != NULL)
            block_give(&worker->run->callbacks, worker->slots[i]);
}

void run_large(struct run *run)
{
    const struct phases phases = {setup_large, NULL, work_large, drain_large};

    run_phases(run, &phases, 30e3);
}

/* --- Burst --------------------------------------------------------------- */

void burst_setup(struct burst *burst, uint32_t count)
{
    struct random random = random_stream(0);
    const struct size_range range = {16, 2047};

    burst->count = count;
    burst->sizes = random_sizes(&random, range);
    burst->order = random_order(&random, count);
    burst->blocks = harness_memory(count * sizeof *burst->blocks);
}

void burst_once(const struct run *run, struct burst *burst, uint32_t round)
{
    const struct callbacks callbacks = run->callbacks;

    for (uint32_t i = 0; i < burst->count; i++) {
        size_t size = burst->sizes[(i + round) % SIZE_COUNT];

        burst->blocks[i] = memset(block_take(&callbacks, size), 1, size);
    }
    for (uint32_t i = 0; i < burst->count; i++)
        block_give(&callbacks, burst->blocks[burst->order[i]]);
}

enum { BURST_BLOCKS = 500000, BURST_PER_SECOND = 4000000 };

static void setup_burst(struct worker *worker)
{
    worker->own = harness_memory(sizeof(struct burst));
    burst_setup(worker->own, BURST_BLOCKS);
    worker->operations -= worker->operations % BURST_BLOCKS;
    if (worker->operations == 0)
        worker->operations = BURST_BLOCKS;
}

static void work_burst(struct worker *worker)
{
    uint32_t rounds = (uint32_t)(worker->operations / BURST_BLOCKS);

    for (uint32_t round = 0; round < rounds; round++)
        burst_once(worker->run, worker->own, round);
}

void run_burst(struct run *run)
{
    run_phases(run, &(struct phases){.setup = setup_burst, .work = work_burst},
               BURST_PER_SECOND);
}
