/* SPDX-License-Identifier: MIT */
/* The statistics say what is the case. */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

static void a_structure_too_small_to_be_one_says_einval(void **state)
{
    struct partyalloc_stats stats;

    (void)state;
    assert_int_equal(partyalloc_get_stats(NULL), EINVAL);
    memset(&stats, 0, sizeof stats);
    for (size_t size = 0; size < sizeof stats.size; size++) {
        stats.size = size;
        assert_int_equal(partyalloc_get_stats(&stats), EINVAL);
    }
}

static void an_older_callers_structure_is_not_written_beyond(void **state)
{
    struct {
        struct partyalloc_stats stats;
        unsigned char after[64];
    } room;

    (void)state;
    for (size_t size = 16; size <= sizeof room.stats; size += 8) {
        memset(&room, 0x5a, sizeof room);
        room.stats.size = size;
        assert_int_equal(partyalloc_get_stats(&room.stats), 0);
        for (size_t i = size; i < sizeof room; i++)
            assert_int_equal(((unsigned char *)&room)[i], 0x5a);
    }
}

static void a_newer_callers_structure_says_how_much_is_known(void **state)
{
    struct {
        struct partyalloc_stats stats;
        unsigned char after[64];
    } room;

    (void)state;
    memset(&room, 0x5a, sizeof room);
    room.stats.size = sizeof room;
    assert_int_equal(partyalloc_get_stats(&room.stats), 0);
    assert_int_equal(room.stats.size, sizeof room.stats);
    for (size_t i = 0; i < sizeof room.after; i++)
        assert_int_equal(room.after[i], 0x5a);
}

enum { BLOCKS = 2000 };
static void *blocks[BLOCKS];

static void allocate_all(struct random *random, size_t low, size_t high)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] =
            partyalloc_allocate(random_size(random, low, high), ANY_TYPE);
        require(blocks[i] != NULL);
    }
}

static uint64_t usable_bytes(void)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < BLOCKS; i++)
        bytes += partyalloc_usable_size(blocks[i]);
    return bytes;
}

static void *free_all(void *unused)
{
    (void)unused;
    for (size_t i = 0; i < BLOCKS; i++)
        partyalloc_free(blocks[i], ANY_TYPE);
    return NULL;
}

static void live_small_blocks_and_bytes_are_exact(void **state)
{
    struct random random = {1};
    struct partyalloc_stats before = stats_now();

    (void)state;
    for (int round = 0; round < 4; round++) {
        allocate_all(&random, 1, 20000);
        struct partyalloc_stats full = stats_now();
        assert_int_equal(full.small_live_blocks - before.small_live_blocks,
                         BLOCKS);
        assert_int_equal(full.small_live_bytes - before.small_live_bytes,
                         usable_bytes());
        assert_true(full.small_peak_bytes >= full.small_live_bytes);
        if (round % 2 == 0)
            free_all(NULL);
        else
            run_thread(free_all, NULL);
        struct partyalloc_stats after = stats_now();
        assert_int_equal(after.small_live_blocks, before.small_live_blocks);
        assert_int_equal(after.small_live_bytes, before.small_live_bytes);
        assert_true(after.small_peak_bytes >= full.small_live_bytes);
    }
}

static void live_large_blocks_and_bytes_are_exact(void **state)
{
    enum { LARGE = 10 };
    void *large[LARGE];
    uint64_t bytes = 0;

    (void)state;
    for (size_t i = 0; i < LARGE; i++) {
        large[i] = partyalloc_allocate(MIB + i * 300000, ANY_TYPE);
        assert_non_null(large[i]);
        bytes += partyalloc_usable_size(large[i]);
    }
    assert_int_equal(stats_now().large_live_blocks, LARGE);
    assert_int_equal(stats_now().large_live_bytes, bytes);
    assert_true(stats_now().large_peak_bytes >= bytes);
    assert_true(stats_now().large_maps + stats_now().large_reuses >= LARGE);
    for (size_t i = 0; i < LARGE; i++)
        partyalloc_free(large[i], ANY_TYPE);
    assert_int_equal(stats_now().large_live_blocks, 0);
    assert_int_equal(stats_now().large_live_bytes, 0);
    assert_true(stats_now().large_peak_bytes >= bytes);
}

static void free_bytes_rest_somewhere(void **state)
{
    struct random random = {2};
    struct partyalloc_stats stats;

    (void)state;
    partyalloc_trim();
    allocate_all(&random, 1, 2000);
    uint64_t bytes = usable_bytes();
    free_all(NULL);
    stats = stats_now();
    assert_true(stats.cache_bytes + stats.depot_bytes + stats.slab_bytes
                >= bytes);
    assert_true(stats.cache_bytes > 0);
    partyalloc_thread_flush();
    stats = stats_now();
    assert_int_equal(stats.cache_bytes, 0);
    assert_true(stats.depot_bytes + stats.slab_bytes >= bytes);
    partyalloc_trim();
    stats = stats_now();
    assert_int_equal(stats.depot_bytes, 0);
    assert_int_equal(stats.large_cached_bytes, 0);
    assert_true(stats.slab_bytes >= bytes);
    assert_true(stats.purged_bytes > 0);
    assert_true(stats.purged_bytes <= stats.slab_bytes);
    /* Pages that are used again no longer count as purged. */
    for (int round = 0; round < 3; round++) {
        uint64_t purged = stats_now().purged_bytes;
        allocate_all(&random, 1, 2000);
        bytes = usable_bytes();
        stats = stats_now();
        assert_true(stats.purged_bytes <= stats.slab_bytes);
        free_all(NULL);
        partyalloc_thread_flush();
        assert_true(stats_now().purged_bytes + bytes / 2 <= purged);
        partyalloc_trim();
    }
}

static void mapped_bytes_hold_all_the_others(void **state)
{
    struct random random = {3};
    void *large = partyalloc_allocate(3 * MIB, ANY_TYPE);

    (void)state;
    allocate_all(&random, 1, 5000);
    struct partyalloc_stats stats = stats_now();
    assert_true(stats.mapped_bytes
                >= stats.small_live_bytes + stats.large_live_bytes
                    + stats.cache_bytes + stats.depot_bytes + stats.slab_bytes
                    + stats.large_cached_bytes + stats.metadata_bytes);
    assert_true(stats.mapped_peak_bytes >= stats.mapped_bytes);
    assert_true(stats.metadata_bytes > 0);
    assert_true(stats.kernel_calls > 0);
    assert_true(stats.threads >= 1);
    free_all(NULL);
    partyalloc_free(large, ANY_TYPE);
}

static void events_are_counted(void **state)
{
    struct random random = {4};
    struct partyalloc_stats before, after;

    (void)state;
    before = stats_now();
    allocate_all(&random, 900, 1000);
    free_all(NULL);
    after = stats_now();
    assert_true(after.cache_misses > before.cache_misses);
    assert_true(after.cache_overflows > before.cache_overflows);
    assert_true(after.slabs_carved > 0);
    partyalloc_trim();
    partyalloc_set_limit(1);
    partyalloc_set_limit(0);
    assert_true(stats_now().slabs_carved >= after.slabs_carved);
    before = after;
    /* Half of what another thread frees goes round through the depot. */
    for (int i = 0; i < 5; i++) {
        allocate_all(&random, 900, 1000);
        run_thread(free_all, NULL);
    }
    after = stats_now();
    assert_true(after.depot_pushes > before.depot_pushes);
    assert_true(after.depot_pops > before.depot_pops);
}

static atomic_bool stop_workers;

static void *work(void *argument)
{
    struct random random = {(uintptr_t)argument};

    while (!atomic_load(&stop_workers)) {
        struct filled filled =
            filled_allocate(random_size(&random, 1, 600000), 1);
        filled_free(&filled);
    }
    return NULL;
}

static void statistics_may_be_read_while_others_run(void **state)
{
    enum { WORKERS = 3, READS = UNDER_SANITIZER ? 500 : 5000 };
    pthread_t workers[WORKERS];

    (void)state;
    atomic_store(&stop_workers, false);
    for (size_t i = 0; i < WORKERS; i++)
        require(pthread_create(&workers[i], NULL, work, (void *)i) == 0);
    for (int i = 0; i < READS; i++) {
        struct partyalloc_stats stats = stats_now();
        /* Estimates, but none that has gone below zero. */
        assert_in_range(stats.small_live_blocks, 0, 1000000);
        assert_in_range(stats.small_live_bytes, 0, 1024 * MIB);
        assert_in_range(stats.large_live_blocks, 0, 1000);
        assert_in_range(stats.cache_bytes, 0, 64 * MIB);
        assert_in_range(stats.depot_bytes, 0, 1024 * MIB);
        assert_in_range(stats.slab_bytes, 0, 1024 * MIB);
    }
    atomic_store(&stop_workers, true);
    for (size_t i = 0; i < WORKERS; i++)
        require(pthread_join(workers[i], NULL) == 0);
    assert_int_equal(stats_now().small_live_blocks, 0);
    assert_int_equal(stats_now().large_live_blocks, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_structure_too_small_to_be_one_says_einval),
        cmocka_unit_test(an_older_callers_structure_is_not_written_beyond),
        cmocka_unit_test(a_newer_callers_structure_says_how_much_is_known),
        cmocka_unit_test(live_small_blocks_and_bytes_are_exact),
        cmocka_unit_test(live_large_blocks_and_bytes_are_exact),
        cmocka_unit_test(free_bytes_rest_somewhere),
        cmocka_unit_test(mapped_bytes_hold_all_the_others),
        cmocka_unit_test(events_are_counted),
        cmocka_unit_test(statistics_may_be_read_while_others_run),
    };

    return run_all(tests);
}
