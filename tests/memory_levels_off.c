/* SPDX-License-Identifier: MIT */
/* However long it goes on, memory stays near what is live. */
#include "support.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

/* --- many threads that only allocate, one that only frees --- */

enum { PRODUCERS = 16, WINDOW = 4000, MESSAGES = 40000 };

/* A table that the producers fill and the freeing thread empties; a full
 * slot makes its producer wait. */
static void *_Atomic table[PRODUCERS][WINDOW];
static _Atomic(uint64_t) live_bytes, live_peak;
static atomic_int producers_left;

static void count_live(uint64_t bytes)
{
    uint64_t live = atomic_fetch_add(&live_bytes, bytes) + bytes;
    uint64_t highest = atomic_load(&live_peak);

    while (live > highest
           && !atomic_compare_exchange_weak(&live_peak, &highest, live))
        ;
}

static void *only_allocate(void *argument)
{
    void *_Atomic *row = table[(uintptr_t)argument];
    struct random random = {(uintptr_t)argument};

    for (size_t i = 0; i < MESSAGES; i++) {
        size_t size = random_size(&random, 40, 1400);
        void *block = partyalloc_allocate(size, ANY_TYPE);
        require(block != NULL);
        fill(block, size, i);
        count_live(partyalloc_usable_size(block));
        while (atomic_load(&row[i % WINDOW]) != NULL)
            sched_yield();
        atomic_store(&row[i % WINDOW], block);
    }
    atomic_fetch_sub(&producers_left, 1);
    return NULL;
}

static bool free_row(void *_Atomic *row)
{
    bool any = false;

    for (size_t i = 0; i < WINDOW; i++) {
        void *block = atomic_exchange(&row[i], NULL);
        if (block == NULL)
            continue;
        atomic_fetch_sub(&live_bytes, partyalloc_usable_size(block));
        partyalloc_free(block, ANY_TYPE);
        any = true;
    }
    return any;
}

static void *only_free(void *resident_peak)
{
    bool any = true, last = false;

    /* Once more after the last producer has put down its last block. */
    while (any || !last) {
        any = false;
        last = atomic_load(&producers_left) == 0;
        for (size_t i = 0; i < PRODUCERS; i++)
            any = free_row(table[i]) || any;
        size_t now = resident_bytes();
        if (now > *(size_t *)resident_peak)
            *(size_t *)resident_peak = now;
    }
    return NULL;
}

static void a_thread_that_only_frees_feeds_those_that_allocate(void **state)
{
    pthread_t producers[PRODUCERS], consumer;
    size_t start = resident_bytes();
    size_t resident_peak = 0;

    (void)state;
    atomic_store(&producers_left, PRODUCERS);
    require(pthread_create(&consumer, NULL, only_free, &resident_peak) == 0);
    for (size_t i = 0; i < PRODUCERS; i++)
        require(pthread_create(&producers[i], NULL, only_allocate, (void *)i)
                == 0);
    for (size_t i = 0; i < PRODUCERS; i++)
        require(pthread_join(producers[i], NULL) == 0);
    require(pthread_join(consumer, NULL) == 0);
    assert_int_equal(stats_now().small_live_blocks, 0);
    uint64_t live = atomic_load(&live_peak);
    assert_true(resident_peak - start <= live + live / 4 + 8 * MIB);
}

/* --- a client that is started and stopped --- */

enum { CYCLES = 300, CLIENT_THREADS = 4, CLIENT_BLOCKS = 400 };

static struct filled client_blocks[CLIENT_THREADS][CLIENT_BLOCKS];

static void *run_client(void *argument)
{
    size_t number = (uintptr_t)argument - 1;
    struct random random = {number};

    for (size_t i = 0; i < CLIENT_BLOCKS; i++)
        client_blocks[number][i] =
            filled_allocate(random_size(&random, 16, 64 * KIB), i);
    /* Half of what it has is freed by whoever stops it. */
    for (size_t i = 0; i < CLIENT_BLOCKS; i += 2)
        filled_free(&client_blocks[number][i]);
    return NULL;
}

static void start_and_stop(void)
{
    struct filled level = filled_allocate(3 * MIB, 1);

    run_threads(CLIENT_THREADS, run_client, (void *)1, 1);
    for (size_t i = 0; i < CLIENT_THREADS; i++)
        for (size_t j = 0; j < CLIENT_BLOCKS; j++)
            filled_free(&client_blocks[i][j]);
    filled_free(&level);
    require(stats_now().small_live_blocks == 0);
    require(stats_now().large_live_blocks == 0);
}

static void a_client_may_start_and_stop_for_ever(void **state)
{
    size_t first, mappings;

    (void)state;
    for (int i = 0; i < CYCLES / 10; i++)
        start_and_stop();
    partyalloc_trim();
    first = resident_bytes();
    mappings = mapping_count();
    for (int i = 0; i < CYCLES; i++)
        start_and_stop();
    partyalloc_trim();
    assert_in_range(resident_bytes(), 0, first + MIB);
    assert_in_range(mapping_count(), 0, mappings + 16);
}

/* --- sizes that change with the scenes of a game --- */

enum { SCENES = 60 };

static void play_scene(struct random *random)
{
    enum { BYTES = 8 << 20, BLOCKS_MAX = 20000 };
    static struct filled scene[BLOCKS_MAX];
    size_t size = random_size(random, 32, 16 * KIB);
    size_t count = BYTES / size < BLOCKS_MAX ? BYTES / size : BLOCKS_MAX;

    for (size_t i = 0; i < count; i++)
        scene[i] = filled_allocate(size, i);
    for (size_t i = 0; i < count; i++)
        filled_free(&scene[i]);
}

static void scenes_of_different_sizes_do_not_add_up(void **state)
{
    struct random random = {7};
    size_t start = resident_bytes();

    (void)state;
    for (int i = 0; i < SCENES; i++) {
        play_scene(&random);
        partyalloc_trim();
    }
    /* Each scene had 8 MiB; what is left is less than that. */
    assert_in_range(resident_bytes(), 0, start + 4 * MIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_that_only_frees_feeds_those_that_allocate),
        cmocka_unit_test(a_client_may_start_and_stop_for_ever),
        cmocka_unit_test(scenes_of_different_sizes_do_not_add_up),
    };

    if (UNDER_SANITIZER)
        return skip_all("the sanitizer keeps memory of its own");
    return run_all(tests);
}
