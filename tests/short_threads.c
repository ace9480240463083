/* SPDX-License-Identifier: MIT */
/* Threads that come and go by the thousand leave nothing behind. */
#include "support.h"

#include <pthread.h>

/* What each thread allocates; half of it is left behind. */
enum { BLOCKS = 64 };

enum { THREADS = UNDER_SANITIZER ? 2000 : 10000, WARM_UP = THREADS / 4 };

struct heirloom {
    struct filled blocks[BLOCKS];
    struct random random;
};

static struct heirloom heirlooms[4];

/* Frees what an earlier thread left, and leaves as much to a later one. */
static void *inherit(void *argument)
{
    struct heirloom *heirloom = argument;

    for (size_t i = 0; i < BLOCKS; i++)
        filled_free(&heirloom->blocks[i]);
    for (size_t i = 0; i < BLOCKS; i++)
        heirloom->blocks[i] =
            filled_allocate(random_size(&heirloom->random, 16, 8000), i);
    for (size_t i = 0; i < BLOCKS; i += 2)
        filled_free(&heirloom->blocks[i]);
    return NULL;
}

struct footprint {
    size_t resident;
    size_t mappings;
    struct partyalloc_stats stats;
};

static struct footprint footprint_now(void)
{
    struct footprint footprint;

    footprint.resident = resident_bytes();
    footprint.mappings = mapping_count();
    footprint.stats = stats_now();
    return footprint;
}

static void run_generations(size_t at_once)
{
    struct footprint early, late;

    for (size_t i = 0; i < WARM_UP; i += at_once)
        run_threads(at_once, inherit, heirlooms, sizeof heirlooms[0]);
    early = footprint_now();
    for (size_t i = WARM_UP; i < THREADS; i += at_once)
        run_threads(at_once, inherit, heirlooms, sizeof heirlooms[0]);
    late = footprint_now();
    /* A sanitizer keeps its own records of every thread. */
    if (!UNDER_SANITIZER) {
        assert_in_range(late.resident, 0, early.resident + 2 * MIB);
        assert_in_range(late.mappings, 0, early.mappings + 8);
    }
    assert_in_range(late.stats.mapped_bytes, 0, early.stats.mapped_bytes + 8 * MIB);
    assert_in_range(late.stats.threads, 1, 8);
    for (size_t i = 0; i < ARRAY_LENGTH(heirlooms); i++)
        for (size_t j = 0; j < BLOCKS; j++)
            filled_free(&heirlooms[i].blocks[j]);
    assert_int_equal(stats_now().small_live_blocks, 0);
}

static void ten_thousand_threads_in_turn_level_off(void **state)
{
    (void)state;
    run_generations(1);
}

static void ten_thousand_threads_four_at_a_time_level_off(void **state)
{
    (void)state;
    run_generations(4);
}

/* --- and as many at once --- */

enum {
    AT_ONCE = UNDER_SANITIZER ? 128 : 1024,
    STACK_BYTES = UNDER_SANITIZER ? 1 << 20 : 64 << 10,
};

static pthread_barrier_t all_there;

static void *live_among_many(void *argument)
{
    struct random random = {(uintptr_t)argument};
    struct filled own[BLOCKS];

    for (size_t i = 0; i < BLOCKS; i++)
        own[i] = filled_allocate(random_size(&random, 16, 2000), i);
    pthread_barrier_wait(&all_there);
    for (size_t i = 0; i < BLOCKS; i++)
        filled_free(&own[i]);
    return NULL;
}

static void a_thousand_threads_live_at_once(void **state)
{
    static pthread_t threads[AT_ONCE];
    pthread_attr_t attributes;

    (void)state;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_barrier_init(&all_there, NULL, AT_ONCE);
    for (size_t i = 0; i < AT_ONCE; i++)
        require(pthread_create(&threads[i], &attributes, live_among_many,
                               (void *)i) == 0);
    for (size_t i = 0; i < AT_ONCE; i++)
        require(pthread_join(threads[i], NULL) == 0);
    assert_int_equal(stats_now().small_live_blocks, 0);
    assert_in_range(stats_now().threads, AT_ONCE, AT_ONCE + 8);
    pthread_barrier_destroy(&all_there);
    pthread_attr_destroy(&attributes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_thousand_threads_in_turn_level_off),
        cmocka_unit_test(ten_thousand_threads_four_at_a_time_level_off),
        cmocka_unit_test(a_thousand_threads_live_at_once),
    };

    return run_all(tests);
}
