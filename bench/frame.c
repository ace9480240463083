/* SPDX-License-Identifier: MIT */
/*
 * Workloads that time every single call: a title's frame, and an audio thread
 * beside busy others.
 */
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "latency.h"
#include "workloads.h"

static const struct size_range message = {40, 1400};
static const struct size_range voice = {40, 200};
static const struct size_range mixed = {16, 2047};

/* --- Title frame --------------------------------------------------------- */

enum {
    FRAME_BLOCKS = 400,     /* of each of the two threads, a frame */
    STAY_ONE_IN = 100,      /* one in so many outlives the frame */
    STAY_FRAMES = 500       /* by so many frames */
};

/* What the two network threads make in a frame; the title thread frees it in
 * the next one while they make the other half. */
static void *frame_blocks[2][2][FRAME_BLOCKS];
static pthread_barrier_t frame_end;

static void setup_timed(struct worker *worker, struct size_range range)
{
    struct random random = random_stream(worker->index);

    worker->sizes = random_sizes(&random, range);
    worker->own = harness_memory(sizeof(struct latency));
}

enum {
    STAY_SLOTS = 2 * (FRAME_BLOCKS / STAY_ONE_IN) * STAY_FRAMES,
    TITLE_THREAD = 2
};

static void setup_frame(struct worker *worker)
{
    setup_timed(worker, message);
    worker->operations /= FRAME_BLOCKS;
    worker->slot_count = STAY_SLOTS;
    worker->slots = harness_memory(STAY_SLOTS * sizeof *worker->slots);
}

static void network_frame(struct worker *worker, uint64_t frame)
{
    void **blocks = frame_blocks[frame % 2][worker->index];
    const struct callbacks callbacks = worker->run->callbacks;

    for (size_t i = 0; i < FRAME_BLOCKS; i++)
        blocks[i] = timed_take(worker->own, &callbacks,
                               size_at(worker, frame * FRAME_BLOCKS + i));
}

/* Frees one network thread's half, except a few blocks, which stay; those that
 * have stayed longest are freed instead. */
static void title_half(struct worker *worker, void **blocks, size_t *oldest)
{
    const struct callbacks callbacks = worker->run->callbacks;

    for (size_t i = 0; i < FRAME_BLOCKS; i++) {
        void *block = blocks[i];

        if (i % STAY_ONE_IN == 0) {
            void **slot = &worker->slots[*oldest];

            block = *slot;
            *slot = blocks[i];
            *oldest = (*oldest + 1) % STAY_SLOTS;
        }
        if (block != NULL)
            timed_give(worker->own, &callbacks, block);
    }
}

static void work_frame(struct worker *worker)
{
    size_t oldest = 0;

    latency_begin(worker->own);
    for (uint64_t frame = 0; frame <= worker->operations; frame++) {
        void *(*before)[FRAME_BLOCKS] = frame_blocks[(frame + 1) % 2];

        if (worker->index != TITLE_THREAD) {
            if (frame < worker->operations)
                network_frame(worker, frame);
        } else if (frame > 0) {
            title_half(worker, before[0], &oldest);
            title_half(worker, before[1], &oldest);
        }
        pthread_barrier_wait(&frame_end);
    }
}

static void drain_frame(struct worker *worker)
{
    for (size_t i = 0; i < worker->slot_count; i++)
        if (worker->slots[i] != NULL)
            block_give(&worker->run->callbacks, worker->slots[i]);
}

/* The result of a run is the mean call, not the wall time, which would mostly
 * be that of the barrier. */
static void report_latency(struct run *run, const struct latency *latency)
{
    double pairs =
        (double)(latency->allocate.calls + latency->release.calls) / 2;
    uint64_t ns = (uint64_t)(latency_mean_ns(latency) * pairs);

    run_result(run, ns, ns, pairs);
    run->all_operations = pairs;
    run_report(run);
    latency_report(latency);
}

void run_frame(struct run *run)
{
    const struct phases phases = {setup_frame, NULL, work_frame, drain_frame};
    struct latency *all = harness_memory(sizeof *all);
    struct worker *workers;

    run->threads = TITLE_THREAD + 1;
    pthread_barrier_init(&frame_end, NULL, run->threads);
    workers = run_phases_quietly(run, &phases, 3e6);
    for (unsigned i = 0; i < run->threads; i++)
        latency_merge(all, workers[i].own);
    report_latency(run, all);
}

/* --- Audio thread -------------------------------------------------------- */

enum {
    PERIOD_NS = 20000000,
    AUDIO_BLOCKS = 32,      /* voice frames a period */
    AUDIO_THREAD = 0,
    CHURN_SET = 10000,
    LONGER = 8              /* than other workloads, for enough periods */
};

static atomic_bool audio_done;  /* set by the audio thread, ends the others */

static void setup_realtime(struct worker *worker)
{
    struct random random = random_stream(1000 + worker->index);
    bool audio = worker->index == AUDIO_THREAD;

    setup_timed(worker, audio ? voice : mixed);
    worker->indices = random_indices(&random, CHURN_SET);
    worker->slot_count = audio ? AUDIO_BLOCKS : CHURN_SET;
    worker->slots = harness_memory(worker->slot_count * sizeof(void *));
}

static void fill_realtime(struct worker *worker)
{
    for (size_t i = 0; i < worker->slot_count; i++)
        worker->slots[i] = block_take(&worker->run->callbacks,
                                      size_at(worker, i));
}

static void next_period(struct timespec *when)
{
    when->tv_nsec += PERIOD_NS;
    if (when->tv_nsec >= 1000000000) {
        when->tv_nsec -= 1000000000;
        when->tv_sec++;
    }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, when, NULL);
}

static void work_audio(struct worker *worker)
{
    const struct sched_param priority = {.sched_priority = 1};
    const struct callbacks callbacks = worker->run->callbacks;
    uint64_t periods = run_operations(worker->run, LONGER * 1e9 / PERIOD_NS);
    struct timespec when;

    /* As audio threads do, if this is permitted. */
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority);
    clock_gettime(CLOCK_MONOTONIC, &when);
    latency_begin(worker->own);
    for (uint64_t period = 0; period < periods; period++) {
        next_period(&when);
        for (size_t i = 0; i < AUDIO_BLOCKS; i++) {
            uint64_t at = period * AUDIO_BLOCKS + i;

            timed_give(worker->own, &callbacks, worker->slots[i]);
            worker->slots[i] = timed_take(worker->own, &callbacks,
                                          size_at(worker, at));
        }
    }
    atomic_store(&audio_done, true);
}

static void work_beside(struct worker *worker)
{
    const struct callbacks callbacks = worker->run->callbacks;

    for (uint64_t i = 0;
         !atomic_load_explicit(&audio_done, memory_order_relaxed); i++) {
        void **slot = &worker->slots[worker->indices[i % INDEX_COUNT]];

        block_give(&callbacks, *slot);
        *slot = block_take(&callbacks, size_at(worker, i));
    }
}

static void work_realtime(struct worker *worker)
{
    if (worker->index == AUDIO_THREAD)
        work_audio(worker);
    else
        work_beside(worker);
}

void run_realtime(struct run *run)
{
    const struct phases phases = {setup_realtime, fill_realtime, work_realtime,
                                  drain_frame};
    struct worker *workers = run_phases_quietly(run, &phases, 1);

    report_latency(run, workers[AUDIO_THREAD].own);
}
