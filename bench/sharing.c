/* SPDX-License-Identifier: MIT */
/*
 * False sharing: the cost of two threads that write to blocks on one cache
 * line.
 */
#include "workloads.h"

enum {
    SMALL_BYTES = 16,
    WRITES = 100,      /* to each block */
    GENERATION = 10000 /* blocks of one thread of a generation */
};

/* What a thread of a generation is given: a block to free first, or NULL. */
struct gift {
    struct worker *worker;
    void *block;
    uint64_t count;
};

/* Stores alone: a loop of dependent additions would measure store-to-load
 * forwarding more than the transfers of the line. */
static void write_often(volatile unsigned char *block)
{
    for (int i = 0; i < WRITES; i++)
        block[i % SMALL_BYTES] = (unsigned char)i;
}

static void *use_small_blocks(void *argument)
{
    const struct gift *gift = argument;
    const struct callbacks callbacks = gift->worker->run->callbacks;

    if (gift->block != NULL)
        block_give(&callbacks, gift->block);
    for (uint64_t i = 0; i < gift->count; i++) {
        void *block = block_take(&callbacks, SMALL_BYTES);

        write_often(block);
        block_give(&callbacks, block);
    }
    return NULL;
}

/*
 * One thread makes all generations: where `passive`, it allocates adjacent
 * blocks, one for each thread, and hands them out to be freed.
 */
static void run_generation(struct worker *worker, unsigned threads,
                           uint64_t count, bool passive)
{
    struct gift gifts[MAX_THREADS];
    pthread_t started[MAX_THREADS];

    for (unsigned i = 0; i < threads; i++) {
        void *block = passive ? block_take(&worker->run->callbacks, SMALL_BYTES)
                              : NULL;

        gifts[i] = (struct gift){worker, block, count};
    }
    for (unsigned i = 0; i < threads; i++)
        started[i] = thread_start(use_small_blocks, &gifts[i]);
    for (unsigned i = 0; i < threads; i++)
        thread_join(started[i]);
}

static unsigned lanes;

static void work_sharing(struct worker *worker, bool passive)
{
    worker->operations -= worker->operations % GENERATION;
    if (worker->operations == 0)
        worker->operations = GENERATION;
    for (uint64_t done = 0; done < worker->operations; done += GENERATION)
        run_generation(worker, lanes, GENERATION, passive);
}

static void work_active(struct worker *worker)
{
    work_sharing(worker, false);
}

static void work_passive(struct worker *worker)
{
    work_sharing(worker, true);
}

/* The threads of the workload are those of the generations. */
static void sharing(struct run *run, void (*work)(struct worker *))
{
    lanes = run->threads;
    run->threads = 1;
    run_phases_quietly(run, &(struct phases){.work = work}, 15e6);
    run->all_operations *= lanes;
    run->cpu_ns_per_operation /= lanes < run->cores ? lanes : run->cores;
    run_report(run);
}

void run_active_sharing(struct run *run)
{
    sharing(run, work_active);
}

void run_passive_sharing(struct run *run)
{
    sharing(run, work_passive);
}
