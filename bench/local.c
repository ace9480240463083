/* SPDX-License-Identifier: MIT */
/*
 * Workloads in which each thread frees what it allocated itself.
 */
#include "workloads.h"

static const struct size_range mixed = {16, 2047};
static const struct size_range packet = {40, 1400};
static const struct size_range medium = {4096, 131072};

enum {
    PAIR_BYTES = 64,
    BATCH = 1000,
    SMALL_SET = 1000,
    SET = 10000,
    BIG_SET = 500000,
    MEDIUM_SET = 200
};

/* --- Pair ---------------------------------------------------------------- */

static void work_pair(struct worker *worker)
{
    const struct callbacks callbacks = worker->run->callbacks;

    for (uint64_t i = worker->operations; i > 0; i--) {
        void *block = callbacks.allocate(PAIR_BYTES, 0);

        if (__builtin_expect(block == NULL, 0))
            out_of_memory(PAIR_BYTES);
        callbacks.release(block, 0);
    }
}

void run_pair(struct run *run)
{
    run_phases(run, &(struct phases){.work = work_pair}, 300e6);
}

/* --- Batches ------------------------------------------------------------- */

static void setup_sizes(struct worker *worker, struct size_range range,
                        size_t slot_count)
{
    struct random random = random_stream(worker->index);

    worker->sizes = random_sizes(&random, range);
    worker->slot_count = slot_count;
    worker->slots = harness_memory(slot_count * sizeof *worker->slots);
}

static void setup_batch(struct worker *worker)
{
    setup_sizes(worker, mixed, BATCH);
    worker->operations -= worker->operations % BATCH;
    if (worker->operations == 0)
        worker->operations = BATCH;
}

static void take_batch(struct worker *worker, uint64_t first)
{
    const struct callbacks callbacks = worker->run->callbacks;

    for (size_t i = 0; i < BATCH; i++)
        worker->slots[i] = block_take(&callbacks, size_at(worker, first + i));
}

static void work_lifo(struct worker *worker)
{
    const struct callbacks callbacks = worker->run->callbacks;

    for (uint64_t done = 0; done < worker->operations; done += BATCH) {
        take_batch(worker, done);
        for (size_t i = BATCH; i > 0; i--)
            block_give(&callbacks, worker->slots[i - 1]);
    }
}

static void work_fifo(struct worker *worker)
{
    const struct callbacks callbacks = worker->run->callbacks;

    for (uint64_t done = 0; done < worker->operations; done += BATCH) {
        take_batch(worker, done);
        for (size_t i = 0; i < BATCH; i++)
            block_give(&callbacks, worker->slots[i]);
    }
}

void run_lifo(struct run *run)
{
    run_phases(run, &(struct phases){.setup = setup_batch, .work = work_lifo},
               60e6);
}

void run_fifo(struct run *run)
{
    run_phases(run, &(struct phases){.setup = setup_batch, .work = work_fifo},
               60e6);
}

/* --- Churn --------------------------------------------------------------- */

static void setup_churn(struct worker *worker, struct size_range range,
                        uint32_t slot_count)
{
    /* Shared by the threads: each has slots and sizes of its own. */
    static uint32_t *indices;
    struct random random = random_stream(1000);

    setup_sizes(worker, range, slot_count);
    if (indices == NULL)
        indices = random_indices(&random, slot_count);
    worker->indices = indices;
}

static void setup_mixed_churn(struct worker *worker)
{
    setup_churn(worker, mixed, SET);
}

static void setup_big_churn(struct worker *worker)
{
    setup_churn(worker, mixed, BIG_SET);
}

static void setup_small_churn(struct worker *worker)
{
    setup_churn(worker, mixed, SMALL_SET);
}

static void setup_packets(struct worker *worker)
{
    setup_churn(worker, packet, SET);
}

static void setup_medium(struct worker *worker)
{
    setup_churn(worker, medium, MEDIUM_SET);
}

static void fill_churn(struct worker *worker)
{
    for (size_t i = 0; i < worker->slot_count; i++)
        worker->slots[i] = block_take(&worker->run->callbacks,
                                      size_at(worker, i));
}

static void work_churn(struct worker *worker)
{
    const struct callbacks callbacks = worker->run->callbacks;

    for (uint64_t i = 0; i < worker->operations; i++) {
        void **slot = &worker->slots[worker->indices[i % INDEX_COUNT]];

        block_give(&callbacks, *slot);
        *slot = block_take(&callbacks, size_at(worker, i));
    }
}

static void drain_churn(struct worker *worker)
{
    for (size_t i = 0; i < worker->slot_count; i++)
        block_give(&worker->run->callbacks, worker->slots[i]);
}

static void churn(struct run *run, void (*setup)(struct worker *),
                  double per_second)
{
    const struct phases phases = {setup, fill_churn, work_churn, drain_churn};

    run_phases(run, &phases, per_second);
}

void run_churn(struct run *run)
{
    churn(run, setup_mixed_churn, 60e6);
}

void run_big_churn(struct run *run)
{
    churn(run, setup_big_churn, 8e6);
}

void run_small_churn(struct run *run)
{
    churn(run, setup_small_churn, 60e6);
}

void run_packets(struct run *run)
{
    churn(run, setup_packets, 60e6);
}

void run_medium(struct run *run)
{
    churn(run, setup_medium, 30e6);
}
