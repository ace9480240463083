/* SPDX-License-Identifier: MIT */
/*
 * Threads that take blocks of random sizes out of a shared table, verify and
 * free them, and put new ones in their place, with all calls that give memory
 * back in between.
 *
 * With LOAD_SECONDS in the environment it runs for that long in all, and with
 * other random numbers each time: "make stress".
 */
#include "support.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { SLOTS = 128 };
#define SIZE_MIN ((size_t)16)
#define SIZE_MAX_OF_LOAD (8 * MIB)

/* At the start of every block. */
struct label {
    size_t size;
    uint64_t seed;
};

struct worker {
    struct random random;
    uint64_t until_ns;
    uint64_t exchanges;
};

static struct label *_Atomic slots[SLOTS];

/* Larger blocks are checked at both ends only, to load the allocator and not
 * the memory. */
#define CHECKED_MAX (16 * KIB)

static void *body_of(struct label *label)
{
    return label + 1;
}

static size_t body_size(const struct label *label)
{
    size_t size = label->size - sizeof *label;

    return size < CHECKED_MAX ? size : CHECKED_MAX;
}

static bool has_tail(const struct label *label)
{
    return label->size >= 2 * CHECKED_MAX;
}

static void *tail_of(struct label *label)
{
    return (char *)label + label->size - sizeof label->seed;
}

static struct label *allocate_somehow(struct random *random, size_t size)
{
    struct label *label;

    switch (random_below(random, 4)) {
    case 0:
        label = partyalloc_allocate_zeroed(1, size, ANY_TYPE);
        require(label != NULL);
        require(is_zero(label, size < CHECKED_MAX ? size : CHECKED_MAX));
        return label;
    case 1:
        return partyalloc_allocate_aligned(
            size, (size_t)1 << random_below(random, 17), ANY_TYPE);
    default:
        return partyalloc_allocate(size, ANY_TYPE);
    }
}

static struct label *make_block(struct random *random)
{
    size_t size = random_size(random, SIZE_MIN, SIZE_MAX_OF_LOAD);
    struct label *label = allocate_somehow(random, size);

    require(label != NULL);
    label->size = size;
    label->seed = random_next(random);
    fill(body_of(label), body_size(label), label->seed);
    if (has_tail(label))
        fill(tail_of(label), sizeof label->seed, label->seed + 1);
    return label;
}

static void check_block(struct label *label)
{
    require(holds(body_of(label), body_size(label), label->seed));
    if (has_tail(label))
        require(holds(tail_of(label), sizeof label->seed, label->seed + 1));
}

/* Moves the block elsewhere, or leaves it where it is. */
static struct label *resize_block(struct random *random, struct label *label)
{
    size_t size = random_size(random, SIZE_MIN, SIZE_MAX_OF_LOAD);
    struct label old = *label;

    label = partyalloc_reallocate(label, size, ANY_TYPE);
    require(label != NULL);
    require(label->size == old.size && label->seed == old.seed);
    size_t kept = size - sizeof *label;
    if (kept > body_size(&old))
        kept = body_size(&old);
    /* The pattern is made of words: the last one may have been cut off. */
    require(holds(body_of(label), kept / 8 * 8, old.seed));
    return label;
}

static void give_back_now_and_then(struct random *random)
{
    switch (random_below(random, 2000)) {
    case 0:
        partyalloc_trim();
        break;
    case 1:
        partyalloc_thread_flush();
        break;
    case 2: case 3: case 4: case 5:
        partyalloc_maintain(20000);
        break;
    default:
        break;
    }
}

static void *exchange_blocks(void *argument)
{
    struct worker *worker = argument;

    while (clock_ns() < worker->until_ns) {
        size_t slot = random_below(&worker->random, SLOTS);
        struct label *label = atomic_exchange(&slots[slot], NULL);
        if (label != NULL) {
            check_block(label);
            if (random_below(&worker->random, 8) == 0)
                label = resize_block(&worker->random, label);
            partyalloc_free(label, ANY_TYPE);
        }
        label = make_block(&worker->random);
        label = atomic_exchange(&slots[slot], label);
        if (label != NULL) {
            check_block(label);
            partyalloc_free(label, ANY_TYPE);
        }
        give_back_now_and_then(&worker->random);
        worker->exchanges++;
    }
    return NULL;
}

static uint64_t run_workers(size_t threads, uint64_t nanoseconds,
                            uint64_t seed)
{
    struct worker workers[THREADS_MAX];
    uint64_t exchanges = 0;

    for (size_t i = 0; i < threads; i++)
        workers[i] = (struct worker){{seed + i}, clock_ns() + nanoseconds, 0};
    run_threads(threads, exchange_blocks, workers, sizeof workers[0]);
    for (size_t i = 0; i < threads; i++)
        exchanges += workers[i].exchanges;
    return exchanges;
}

static void free_all(void)
{
    for (size_t i = 0; i < SLOTS; i++) {
        struct label *label = atomic_exchange(&slots[i], NULL);
        if (label == NULL)
            continue;
        check_block(label);
        partyalloc_free(label, ANY_TYPE);
    }
    require(stats_now().small_live_blocks == 0);
    require(stats_now().large_live_blocks == 0);
}

/* 0 unless a duration was asked for. */
static uint64_t asked_ns(void)
{
    const char *seconds = getenv("LOAD_SECONDS");

    return seconds == NULL ? 0
                           : strtoull(seconds, NULL, 10) * 1000000000u;
}

static void run_load(size_t threads)
{
    uint64_t asked = asked_ns();
    uint64_t phase_ns = asked != 0 ? asked / 4 : 1200 * UINT64_C(1000000);
    uint64_t seed = asked != 0 ? clock_ns() : threads;

    if (asked != 0)
        printf("# %zu threads, seed %" PRIu64 "\n", threads, seed);
    uint64_t exchanges = run_workers(threads, phase_ns, seed);
    size_t resident = resident_bytes();
    struct partyalloc_stats stats = stats_now();
    uint64_t live = stats.small_live_bytes + stats.large_live_bytes;
    printf("# %zu threads: %" PRIu64 " exchanges, %" PRIu64 " MiB live, "
           "%zu MiB resident\n", threads, exchanges, live / MIB,
           resident / MIB);
    /* What may be kept: of large blocks 72 MiB and three eighths of what is
     * live, of small ones 8 MiB and an eighth, and what the threads hold. */
    if (!UNDER_SANITIZER)
        assert_in_range(resident, 0, 2 * live + 100 * MIB);
    free_all();
}

static void one_thread_keeps_every_block_whole(void **state)
{
    (void)state;
    run_load(1);
}

static void two_threads_keep_every_block_whole(void **state)
{
    (void)state;
    run_load(2);
}

static void four_threads_keep_every_block_whole(void **state)
{
    (void)state;
    run_load(4);
}

static void eight_threads_keep_every_block_whole(void **state)
{
    (void)state;
    run_load(8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_thread_keeps_every_block_whole),
        cmocka_unit_test(two_threads_keep_every_block_whole),
        cmocka_unit_test(four_threads_keep_every_block_whole),
        cmocka_unit_test(eight_threads_keep_every_block_whole),
    };

    return run_all(tests);
}
