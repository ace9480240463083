/* SPDX-License-Identifier: MIT */
/*
 * Blocks that one thread allocates and another frees, handed over in rings.
 */
#include <stdatomic.h>
#include <stdio.h>

#include "clock.h"
#include "workloads.h"

static const struct size_range mixed = {16, 2047};
static const struct size_range packet = {40, 1400};

enum {
    LINE_BYTES = 64,
    HANDOVER = 16,
    SLOTS = 1024,           /* of a ring */
    MANY_SLOTS = 8192       /* where much is to be live */
};

/*
 * A ring from one producer to one consumer.  Each side writes its own count
 * once every HANDOVER blocks, on a line of its own, so that the ring costs
 * little compared with the blocks.
 */
struct ring {
    /* Blocks put in; published by the producer's ring_put() with release, and
     * observed by the consumer's ring_wait() with acquire. */
    _Alignas(LINE_BYTES) atomic_uint_fast64_t put;
    /* Blocks taken out; published by ring_took(), observed by ring_put(). */
    _Alignas(LINE_BYTES) atomic_uint_fast64_t taken;
    _Alignas(LINE_BYTES) void **slots;
    uint64_t slot_count;
};

static void ring_put(struct ring *ring, uint64_t i, uint64_t last, void *block)
{
    unsigned turns = 0;

    while (i - atomic_load_explicit(&ring->taken, memory_order_acquire) >=
           ring->slot_count)
        wait_a_little(&turns);
    ring->slots[i % ring->slot_count] = block;
    if ((i + 1) % HANDOVER == 0 || i + 1 == last)
        atomic_store_explicit(&ring->put, i + 1, memory_order_release);
}

/* How many blocks have been put in. */
static uint64_t ring_filled(struct ring *ring)
{
    return atomic_load_explicit(&ring->put, memory_order_acquire);
}

/* Frees what the ring holds, from number `from` on; returns how far it came. */
static uint64_t ring_free(struct ring *ring, uint64_t from,
                          const struct callbacks *callbacks)
{
    uint64_t filled = ring_filled(ring);

    for (uint64_t i = from; i < filled; i++)
        block_give(callbacks, ring->slots[i % ring->slot_count]);
    if (filled != from)
        atomic_store_explicit(&ring->taken, filled, memory_order_release);
    return filled;
}

static void produce(struct worker *worker, struct ring *ring)
{
    const struct callbacks callbacks = worker->run->callbacks;

    for (uint64_t i = 0; i < worker->operations; i++)
        ring_put(ring, i, worker->operations,
                 block_take(&callbacks, size_at(worker, i)));
}

static void consume(struct worker *worker, struct ring *ring)
{
    const struct callbacks callbacks = worker->run->callbacks;
    unsigned turns = 0;
    uint64_t done = 0;

    worker->frees_only = true;
    while (done < worker->operations) {
        uint64_t before = done;

        done = ring_free(ring, done, &callbacks);
        if (done == before)
            wait_a_little(&turns);
    }
}

/* --- Pairs of threads ---------------------------------------------------- */

/* Threads 0 and 1 share a ring, 2 and 3 the next, and so on. */
static struct ring *rings;

static void make_ring(const struct worker *worker, uint64_t slot_count)
{
    struct ring *ring;

    if (worker->index == 0)
        rings = harness_memory(sizeof *rings * worker->run->threads);
    ring = &rings[worker->index];
    ring->slots = harness_memory(slot_count * sizeof *ring->slots);
    ring->slot_count = slot_count;
}

static void setup_queue(struct worker *worker)
{
    struct random random = random_stream(worker->index);

    worker->sizes = random_sizes(&random, packet);
    make_ring(worker, SLOTS);
}

static void work_queue(struct worker *worker)
{
    struct ring *ring = &rings[worker->index / 2];

    if (worker->index % 2 == 0)
        produce(worker, ring);
    else
        consume(worker, ring);
}

void run_queue(struct run *run)
{
    run->threads += run->threads % 2;
    run_phases(run, &(struct phases){.setup = setup_queue, .work = work_queue},
               20e6);
}

/* --- Several producers, one thread that only frees ----------------------- */

/* The peak of live bytes, where it is wanted: the freeing thread looks before
 * it empties a ring.  Blocks that a producer has not yet handed over are left
 * out. */
static bool live_wanted;
static uint64_t live_most;
static uint64_t freed[MAX_THREADS];     /* blocks of each ring */

/* The bytes of the first `count` blocks of a producer; `sums[i]` are those of
 * the first i of its table. */
static uint64_t bytes_of(const uint64_t *sums, uint64_t count)
{
    return count / SIZE_COUNT * sums[SIZE_COUNT] + sums[count % SIZE_COUNT];
}

static void look_at_live(const struct worker *last)
{
    const struct worker *producer = last - last->index;
    uint64_t live = 0;

    if (!live_wanted)
        return;
    for (unsigned i = 0; i < last->index; i++, producer++)
        live += bytes_of(producer->own, ring_filled(&rings[i])) -
                bytes_of(producer->own, freed[i]);
    if (live > live_most)
        live_most = live;
}

/* The last of the threads frees what the others put in their rings. */
static void consume_all(struct worker *worker)
{
    const struct callbacks callbacks = worker->run->callbacks;
    uint64_t left = worker->operations * worker->index;
    unsigned turns = 0;

    worker->frees_only = true;
    while (left > 0) {
        uint64_t before = left;

        for (unsigned i = 0; i < worker->index; i++) {
            uint64_t now;

            look_at_live(worker);
            now = ring_free(&rings[i], freed[i], &callbacks);

            left -= now - freed[i];
            freed[i] = now;
        }
        if (left == before)
            wait_a_little(&turns);
    }
}

static void work_free_only(struct worker *worker)
{
    if (worker->index + 1 < worker->run->threads)
        produce(worker, &rings[worker->index]);
    else
        consume_all(worker);
}

/* run->threads is the number of producers. */
static void free_only(struct run *run, void (*setup)(struct worker *),
                      double per_second)
{
    const struct phases phases = {.setup = setup, .work = work_free_only};

    run->threads++;
    run_phases(run, &phases, per_second);
}

void run_free_only(struct run *run)
{
    free_only(run, setup_queue, 10e6);
}

static void setup_many_producers(struct worker *worker)
{
    struct random random = random_stream(worker->index);
    uint64_t *sums = harness_memory((SIZE_COUNT + 1) * sizeof *sums);

    worker->sizes = random_sizes(&random, mixed);
    worker->own = sums;
    make_ring(worker, MANY_SLOTS);
    for (size_t i = 0; i < SIZE_COUNT; i++)
        sums[i + 1] = sums[i] + worker->sizes[i];
}

void run_many_producers(struct run *run)
{
    live_wanted = true;
    free_only(run, setup_many_producers, 8e6);
    printf("live_kib %llu\n", (unsigned long long)live_most / 1024);
}
