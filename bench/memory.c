/* SPDX-License-Identifier: MIT */
/*
 * Memory that comes back after a burst, and memory that must not grow.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "burst.h"
#include "clock.h"
#include "workloads.h"

enum {
    BURST_BLOCKS = 400000,
    BURSTS = 3,
    STEP_NS = 1000000,
    SECOND_NS = 1000000000,
    BUDGET_NS = 200000,     /* of one call of partyalloc_maintain() */
    LIGHT_BLOCKS = 100      /* a step, allocated and freed */
};

static const struct size_range mixed = {16, 2047};

/* --- After bursts -------------------------------------------------------- */

static void sleep_step(void)
{
    nanosleep(&(struct timespec){0, STEP_NS}, NULL);
}

static void do_nothing(const struct run *run, struct burst *burst)
{
    (void)run;
    (void)burst;
}

static void do_maintain(const struct run *run, struct burst *burst)
{
    (void)burst;
    run->verbs.maintain(BUDGET_NS);
}

/* What a title still does when little goes on. */
static void do_light_traffic(const struct run *run, struct burst *burst)
{
    static uint32_t at;

    for (size_t i = 0; i < LIGHT_BLOCKS; i++)
        burst->blocks[i] = block_take(&run->callbacks,
                                      burst->sizes[at++ % SIZE_COUNT]);
    for (size_t i = 0; i < LIGHT_BLOCKS; i++)
        block_give(&run->callbacks, burst->blocks[i]);
}

typedef void after_step(const struct run *run, struct burst *burst);

static after_step *after;

static void setup_bursts(struct worker *worker)
{
    worker->own = harness_memory(sizeof(struct burst));
    burst_setup(worker->own, BURST_BLOCKS);
    worker->operations = BURSTS * (uint64_t)BURST_BLOCKS;
}

static void work_bursts(struct worker *worker)
{
    for (uint32_t round = 0; round < BURSTS; round++)
        burst_once(worker->run, worker->own, round);
}

/* The thread lives on for a second, as a title's threads do. */
static void rest(struct worker *worker)
{
    uint64_t start = clock_ns();

    run_print_resident(worker->run, "freed_kib");
    while (clock_ns() - start < SECOND_NS) {
        after(worker->run, worker->own);
        sleep_step();
    }
    run_print_resident(worker->run, "rest_kib");
}

static void bursts(struct run *run, after_step *step)
{
    const struct phases phases = {setup_bursts, NULL, work_bursts, rest};

    after = step;
    run->threads = 1;
    run_phases(run, &phases, 1);
}

void run_burst_alone(struct run *run)
{
    bursts(run, do_nothing);
}

void run_burst_light(struct run *run)
{
    bursts(run, do_light_traffic);
}

void run_burst_maintain(struct run *run)
{
    bursts(run, do_maintain);
}

void run_burst_service(struct run *run)
{
    run->verbs.start_service_thread();
    bursts(run, do_nothing);
    run->verbs.stop_service_thread();
}

/* --- Threads in turn ----------------------------------------------------- */

enum { THREADS_IN_TURN = 10000, THREAD_BLOCKS = 200, LOOKS = 10 };

/* What the last thread left. */
static void *inherited[THREAD_BLOCKS / 2];

static void *live_and_leave(void *argument)
{
    const struct worker *worker = argument;
    const struct callbacks callbacks = worker->run->callbacks;
    void *blocks[THREAD_BLOCKS];

    for (size_t i = 0; i < THREAD_BLOCKS; i++)
        blocks[i] = block_take(&callbacks,
                               size_at(worker, worker->operations + i));
    for (size_t i = 0; i < THREAD_BLOCKS / 2; i++) {
        if (inherited[i] != NULL)
            block_give(&callbacks, inherited[i]);
        block_give(&callbacks, blocks[2 * i]);
        inherited[i] = blocks[2 * i + 1];
    }
    return NULL;
}

static unsigned mapping_count(void)
{
    FILE *file = fopen("/proc/self/maps", "r");
    unsigned lines = 0;
    int character;

    if (file == NULL)
        return 0;
    while ((character = getc(file)) != EOF)
        lines += character == '\n';
    fclose(file);
    return lines;
}

static void setup_inherit(struct worker *worker)
{
    struct random random = random_stream(0);

    worker->sizes = random_sizes(&random, mixed);
}

static void work_inherit(struct worker *worker)
{
    enum { STEP = THREADS_IN_TURN / LOOKS };

    worker->operations = 0;
    for (int i = 1; i <= THREADS_IN_TURN; i++) {
        thread_join(thread_start(live_and_leave, worker));
        worker->operations += THREAD_BLOCKS;
        if (i % STEP != 0)
            continue;
        printf("after_%d_kib %zu\n", i, run_resident(worker->run) / 1024);
        printf("after_%d_mappings %u\n", i, mapping_count());
    }
    for (size_t i = 0; i < THREAD_BLOCKS / 2; i++)
        block_give(&worker->run->callbacks, inherited[i]);
}

void run_inherit(struct run *run)
{
    const struct phases phases = {.setup = setup_inherit,
                                  .work = work_inherit};

    run->threads = 1;
    run_phases(run, &phases, 1);
}
