/* SPDX-License-Identifier: MIT */
/*
 * partyalloc_set_limit(): beyond the cap allocations fail with NULL, but only
 * after giving back what they can; what is freed can be allocated again.
 */
#include "support.h"

#include <errno.h>

enum { BLOCKS_MAX = 400000 };

struct hoard {
    struct filled blocks[BLOCKS_MAX];
    size_t count;
};

static struct hoard hoard;

/* Sets the cap to so many bytes above what is mapped now. */
static size_t limit_growth_to(size_t bytes)
{
    size_t limit = stats_now().mapped_bytes + bytes;

    require(partyalloc_set_limit(limit) == 0);
    return limit;
}

static void allocate_until_null(size_t size)
{
    while (hoard.count < BLOCKS_MAX) {
        errno = 0;
        void *block = partyalloc_allocate(size, ANY_TYPE);
        if (block == NULL) {
            require(errno == ENOMEM);
            return;
        }
        fill(block, size < KIB ? size : KIB, hoard.count);
        hoard.blocks[hoard.count] = (struct filled){
            block, size < KIB ? size : KIB, hoard.count};
        hoard.count++;
    }
    require(false); /* the cap was never reached */
}

static void free_hoard(size_t step)
{
    for (size_t i = 0; i < hoard.count; i += step)
        filled_free(&hoard.blocks[i]);
    if (step == 1)
        hoard.count = 0;
}

static void check_limit_with(size_t size)
{
    size_t limit = limit_growth_to(24 * MIB);

    allocate_until_null(size);
    size_t first = hoard.count;
    /* Most of the room was really used. */
    assert_true(first * partyalloc_good_size(size) > 16 * MIB);
    assert_true(stats_now().mapped_bytes <= limit);
    free_hoard(2);
    allocate_until_null(size);
    /* Nearly as many blocks as were freed fit again. */
    assert_true(hoard.count - first >= first / 2 - 1 - first / 50);
    assert_true(stats_now().mapped_bytes <= limit);
    assert_int_equal(partyalloc_set_limit(0), 0);
    struct filled more = filled_allocate(32 * MIB, 1);
    filled_free(&more);
    free_hoard(1);
    partyalloc_trim();
}

static void small_blocks_end_at_the_cap_and_can_be_had_again(void **state)
{
    (void)state;
    check_limit_with(500);
    check_limit_with(5000);
    check_limit_with(100000);
}

static void what_one_class_does_not_use_another_one_can_have(void **state)
{
    (void)state;
    size_t limit = limit_growth_to(24 * MIB);
    allocate_until_null(500);
    size_t bytes = hoard.count * partyalloc_good_size(500);
    free_hoard(1);
    allocate_until_null(700);
    assert_true(hoard.count * partyalloc_good_size(700) > bytes / 10 * 9);
    assert_true(stats_now().mapped_bytes <= limit);
    free_hoard(1);
    struct filled large = filled_allocate(bytes / 10 * 9, 1);
    assert_true(stats_now().mapped_bytes <= limit);
    filled_free(&large);
    allocate_until_null(500);
    assert_true(hoard.count * partyalloc_good_size(500) > bytes / 10 * 9);
    free_hoard(1);
    assert_int_equal(partyalloc_set_limit(0), 0);
    partyalloc_trim();
}

/* Of each slab one block stays in the thread's cache. */
static void *fill_and_free(void *bytes)
{
    allocate_until_null(500);
    *(size_t *)bytes = hoard.count * partyalloc_good_size(500);
    for (size_t i = 0; i < hoard.count; i++)
        if (i % 128 != 0)
            filled_free(&hoard.blocks[i]);
    partyalloc_trim();
    for (size_t i = 0; i < hoard.count; i += 128)
        filled_free(&hoard.blocks[i]);
    hoard.count = 0;
    return NULL;
}

static void require_a_large_block(size_t bytes, size_t limit)
{
    struct filled large = filled_allocate(bytes / 10 * 9, 1);

    assert_true(stats_now().mapped_bytes <= limit);
    filled_free(&large);
    assert_int_equal(partyalloc_set_limit(0), 0);
    partyalloc_trim();
}

static void what_the_threads_cache_holds_keeps_no_address_space(void **state)
{
    size_t limit = limit_growth_to(24 * MIB);
    size_t bytes;

    (void)state;
    fill_and_free(&bytes);
    require_a_large_block(bytes, limit);
}

static void what_a_thread_has_left_keeps_no_address_space(void **state)
{
    size_t limit = limit_growth_to(24 * MIB);
    size_t bytes;

    (void)state;
    run_thread(fill_and_free, &bytes);
    require_a_large_block(bytes, limit);
}

static void a_lower_cap_gives_up_what_is_free(void **state)
{
    (void)state;
    limit_growth_to(24 * MIB);
    allocate_until_null(500);
    free_hoard(1);
    partyalloc_trim();
    size_t less = stats_now().mapped_bytes - 8 * MIB;
    assert_int_equal(partyalloc_set_limit(less), 0);
    assert_true(stats_now().mapped_bytes <= less);
    assert_int_equal(partyalloc_set_limit(0), 0);
}

static void large_blocks_end_at_the_cap_and_can_be_had_again(void **state)
{
    (void)state;
    check_limit_with(SMALL_SIZE_MAX + 1);
    check_limit_with(MIB);
    check_limit_with(5 * MIB);
}

static void kept_mappings_make_room_for_other_blocks(void **state)
{
    struct filled large[6], one;

    (void)state;
    partyalloc_trim();
    limit_growth_to(26 * MIB);
    for (size_t i = 0; i < ARRAY_LENGTH(large); i++)
        large[i] = filled_allocate(4 * MIB, i);
    for (size_t i = 0; i < ARRAY_LENGTH(large); i++)
        filled_free(&large[i]);
    /* None of those six is long enough. */
    one = filled_allocate(20 * MIB, 1);
    filled_free(&one);
    for (size_t i = 0; i < ARRAY_LENGTH(large); i++)
        large[i] = filled_allocate(4 * MIB, i);
    for (size_t i = 0; i < ARRAY_LENGTH(large); i++)
        filled_free(&large[i]);
    /* And small blocks find room where they were. */
    allocate_until_null(1000);
    assert_true(hoard.count > 20 * 1000);
    free_hoard(1);
    assert_int_equal(partyalloc_set_limit(0), 0);
}

static void fill_with_small(size_t size, size_t bytes)
{
    while (hoard.count * size < bytes) {
        hoard.blocks[hoard.count] = filled_allocate(size, hoard.count);
        hoard.count++;
    }
}

/* For what can never succeed nothing is given up, not even to find out. */
static void ask_for_too_much(void *unused)
{
    (void)unused;
    partyalloc_free(partyalloc_allocate(MIB, ANY_TYPE), ANY_TYPE);
    struct filled small = filled_allocate(500, 1);
    struct filled large = filled_allocate(MIB, 2);
    fill_with_small(3000, 10 * MIB);
    free_hoard(1);
    partyalloc_free(partyalloc_allocate(20 * MIB, ANY_TYPE), ANY_TYPE);
    require(partyalloc_set_limit(64 * MIB) == 0);
    struct partyalloc_stats before = stats_now();
    for (size_t size = 128 * MIB; size != 0; size *= 2) {
        require(partyalloc_allocate(size, ANY_TYPE) == NULL);
        require(partyalloc_reallocate(large.block, size, ANY_TYPE) == NULL);
        require(partyalloc_reallocate(small.block, size, ANY_TYPE) == NULL);
        require(partyalloc_allocate_aligned(size, MIB, ANY_TYPE) == NULL);
    }
    struct partyalloc_stats after = stats_now();
    require(after.mapped_bytes == before.mapped_bytes);
    require(after.large_cached_bytes == before.large_cached_bytes);
    require(after.cache_bytes == before.cache_bytes);
    require(after.slab_bytes == before.slab_bytes);
    filled_free(&small);
    filled_free(&large);
}

static void too_large_a_request_uses_nothing_up(void **state)
{
    (void)state;
    assert_child_succeeds(ask_for_too_much, NULL);
}

static void a_block_shrinks_at_the_cap(void **state)
{
    const size_t sizes[] = {32, 4096, 100000, MIB, 5 * MIB};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        struct filled filled = filled_allocate(sizes[i], i);
        limit_growth_to(0);
        for (size_t size = MIB; size >= 16; size /= 2)
            allocate_until_null(size);
        for (size_t size = sizes[i] / 7; size != 0; size /= 3) {
            filled.block = partyalloc_reallocate(filled.block, size, ANY_TYPE);
            filled.size = size;
            require(filled.block != NULL);
            require(holds(filled.block, size, i));
            filled.block = partyalloc_reallocate_aligned(filled.block, size, 16,
                                                         ANY_TYPE);
            require(filled.block != NULL);
        }
        /* What it no longer needs is free for others. */
        require(partyalloc_usable_size(filled.block) <= 2 * SMALL_SIZE_MAX);
        partyalloc_set_limit(0);
        filled_free(&filled);
        free_hoard(1);
    }
}

/* --- a large block that needs more than one kind of room --- */

enum { CAP = 64 << 20 };

static void require_large(size_t bytes)
{
    struct filled large = filled_allocate(bytes, 1);

    require(stats_now().mapped_bytes <= CAP);
    filled_free(&large);
}

static void take_slabs_and_what_the_cap_leaves(void *unused)
{
    (void)unused;
    require(partyalloc_set_limit(CAP) == 0);
    fill_with_small(500, 20 * MIB);
    free_hoard(1);
    require_large(47 * MIB);
    partyalloc_trim();
    fill_with_small(500, 20 * MIB);
    free_hoard(1);
    require(partyalloc_reserve(46 * MIB) == 0);
}

/* The thread holds the slabs of these blocks. */
static void take_slabs_that_are_held(void *size)
{
    require(partyalloc_set_limit(CAP) == 0);
    fill_with_small(*(size_t *)size, 50 * MIB);
    free_hoard(1);
    require_large(47 * MIB);
}

static void take_as_many_steps_as_it_needs(void *unused)
{
    (void)unused;
    fill_with_small(500, 100 * MIB);
    require(partyalloc_set_limit(CAP) == 0);
    free_hoard(1);
    require_large(MIB);
    fill_with_small(500, 40 * MIB);
    free_hoard(1);
}

static void grow_by_what_slabs_have(void *unused)
{
    (void)unused;
    struct filled large = filled_allocate(30 * MIB, 1);

    require(partyalloc_set_limit(CAP) == 0);
    fill_with_small(500, 26 * MIB);
    free_hoard(1);
    for (size_t size = 40 * MIB; size <= 46 * MIB; size += 6 * MIB) {
        large.block = partyalloc_reallocate(large.block, size, ANY_TYPE);
        require(large.block != NULL);
        require(stats_now().mapped_bytes <= CAP);
    }
    filled_free(&large);
}

/* Hardly any of the first chunk is used. */
static void take_what_no_slab_has(void *unused)
{
    (void)unused;
    require(partyalloc_set_limit(8 * MIB) == 0);
    struct filled small = filled_allocate(500, 1);
    struct filled large = filled_allocate(5 * MIB, 2);

    filled_free(&large);
    filled_free(&small);
}

static void all_that_is_free_makes_room_for_a_large_block(void **state)
{
    size_t sizes[] = {5000, 20000, 100000, SMALL_SIZE_MAX};

    (void)state;
    assert_child_succeeds(take_slabs_and_what_the_cap_leaves, NULL);
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++)
        assert_child_succeeds(take_slabs_that_are_held, &sizes[i]);
    assert_child_succeeds(take_as_many_steps_as_it_needs, NULL);
    assert_child_succeeds(grow_by_what_slabs_have, NULL);
    assert_child_succeeds(take_what_no_slab_has, NULL);
}

static void a_reallocation_beyond_the_cap_leaves_the_block(void **state)
{
    const size_t sizes[] = {100, 10000, SMALL_SIZE_MAX, 3 * MIB};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        struct filled filled = filled_allocate(sizes[i], i);
        limit_growth_to(4 * MIB);
        errno = 0;
        assert_null(partyalloc_reallocate(filled.block, 64 * MIB, ANY_TYPE));
        assert_int_equal(errno, ENOMEM);
        assert_null(partyalloc_reallocate_aligned(filled.block, 64 * MIB,
                                                  4096, ANY_TYPE));
        assert_null(partyalloc_allocate_zeroed(64, MIB, ANY_TYPE));
        partyalloc_set_limit(0);
        filled_free(&filled);
    }
}

/* The old block and the new one together exceed the cap. */
static void a_large_block_grows_up_to_the_cap(void **state)
{
    (void)state;
    partyalloc_trim();
    struct filled filled = filled_allocate(20 * MIB, 1);
    /* Keeps it from growing in place, if it could. */
    struct filled beside = filled_allocate(MIB, 2);
    partyalloc_trim(); /* what was mapped ahead of use */
    limit_growth_to(12 * MIB);
    for (size_t size = 22 * MIB; size <= 30 * MIB; size += 2 * MIB) {
        filled.block = partyalloc_reallocate(filled.block, size, ANY_TYPE);
        assert_non_null(filled.block);
        ((char *)filled.block)[size - 1] = 1;
    }
    errno = 0;
    assert_null(partyalloc_reallocate(filled.block, 40 * MIB, ANY_TYPE));
    assert_int_equal(errno, ENOMEM);
    filled_free(&filled);
    filled_free(&beside);
    partyalloc_set_limit(0);
    partyalloc_trim();
}

static void kept_mappings_make_room_for_a_block_that_grows(void **state)
{
    struct filled filled[8];

    (void)state;
    partyalloc_trim();
    limit_growth_to(24 * MIB);
    filled[0] = filled_allocate(4 * MIB, 0);
    for (size_t i = 1; i < ARRAY_LENGTH(filled); i++)
        filled[i] = filled_allocate(2 * MIB, i);
    /* No two are adjacent: none is long enough. */
    for (size_t i = 2; i < ARRAY_LENGTH(filled); i += 2)
        filled_free(&filled[i]);
    assert_true(stats_now().large_cached_bytes >= 5 * MIB);
    filled[0].block =
        partyalloc_reallocate(filled[0].block, 13 * MIB, ANY_TYPE);
    assert_non_null(filled[0].block);
    filled_free(&filled[0]);
    for (size_t i = 1; i < ARRAY_LENGTH(filled); i += 2)
        filled_free(&filled[i]);
    partyalloc_set_limit(0);
    partyalloc_trim();
}

static void a_cap_below_what_is_mapped_stops_growth_only(void **state)
{
    struct filled small = filled_allocate(100, 1);
    struct filled large = filled_allocate(8 * MIB, 2);

    (void)state;
    assert_int_equal(partyalloc_set_limit(1), 0);
    assert_null(partyalloc_allocate(16 * MIB, ANY_TYPE));
    assert_true(holds(small.block, small.size, small.seed));
    assert_true(holds(large.block, large.size, large.seed));
    filled_free(&small);
    filled_free(&large);
    assert_int_equal(partyalloc_set_limit(0), 0);
    large = filled_allocate(16 * MIB, 3);
    filled_free(&large);
}

static void a_reservation_beyond_the_cap_says_enomem(void **state)
{
    (void)state;
    limit_growth_to(8 * MIB);
    assert_int_equal(partyalloc_reserve(64 * MIB), ENOMEM);
    assert_int_equal(partyalloc_reserve(SIZE_MAX), ENOMEM);
    assert_int_equal(partyalloc_reserve(PTRDIFF_MAX), ENOMEM);
    assert_int_equal(partyalloc_set_limit(0), 0);
    struct filled filled = filled_allocate(1000, 1);
    filled_free(&filled);
}

/* In a child, where nothing small has been allocated yet. */
static void allocate_first_small_block_at_the_cap(void *unused)
{
    (void)unused;
    partyalloc_free(partyalloc_allocate(8 * MIB, ANY_TYPE), ANY_TYPE);
    require(stats_now().large_cached_bytes >= 8 * MIB);
    require(partyalloc_set_limit(stats_now().mapped_bytes) == 0);
    void *block = partyalloc_allocate(100, ANY_TYPE);
    require(block != NULL);
    /* Not all that was kept had to go. */
    require(stats_now().large_cached_bytes >= 2 * MIB);
    partyalloc_free(block, ANY_TYPE);
    partyalloc_trim();
}

static void kept_memory_makes_room_for_the_first_small_block(void **state)
{
    (void)state;
    assert_child_succeeds(allocate_first_small_block_at_the_cap, NULL);
}

static void reserve_at_the_cap(void *unused)
{
    (void)unused;
    partyalloc_trim();
    partyalloc_free(partyalloc_allocate(40 * MIB, ANY_TYPE), ANY_TYPE);
    require(partyalloc_set_limit(stats_now().mapped_bytes) == 0);
    require(partyalloc_reserve(24 * MIB) == 0);
    require(stats_now().large_cached_bytes < 16 * MIB);
}

static void reserve_where_small_blocks_were(void *unused)
{
    (void)unused;
    limit_growth_to(32 * MIB);
    allocate_until_null(500);
    free_hoard(1);
    partyalloc_trim();
    require(partyalloc_reserve(24 * MIB) == 0);
}

static void slabs_that_are_free_make_room_for_a_reservation(void **state)
{
    (void)state;
    assert_child_succeeds(reserve_where_small_blocks_were, NULL);
}

static void kept_memory_makes_room_for_a_reservation(void **state)
{
    (void)state;
    assert_child_succeeds(reserve_at_the_cap, NULL);
}

/* In a child, which has nothing but what this needs. */
static void fail_many_times(void *argument)
{
    enum { FAILURES = 20000 };
    size_t size = *(const size_t *)argument;

    partyalloc_free(partyalloc_allocate(1, ANY_TYPE), ANY_TYPE);
    /* Too little for a slab of the largest classes, or a large block. */
    limit_growth_to(448 * KIB);
    allocate_until_null(size);
    struct partyalloc_stats before = stats_now();
    for (size_t i = 0; i < FAILURES; i++)
        require(partyalloc_allocate(size, ANY_TYPE) == NULL);
    struct partyalloc_stats after = stats_now();
    require(after.mapped_bytes == before.mapped_bytes);
    require(after.metadata_bytes == before.metadata_bytes);
}

static void a_failing_allocation_costs_nothing(void **state)
{
    size_t sizes[] = {100, 3000, 20000, 250000, MIB};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++)
        assert_child_succeeds(fail_many_times, &sizes[i]);
}

static void *press_against_the_cap(void *argument)
{
    enum { HELD = 40, ROUNDS = UNDER_SANITIZER ? 2000 : 20000 };
    struct filled held[HELD] = {{NULL, 0, 0}};
    struct random random = {(uintptr_t)argument};

    for (size_t i = 0; i < ROUNDS; i++) {
        struct filled *filled = &held[random_below(&random, HELD)];
        filled_free(filled);
        size_t size = random_size(&random, 16, 2 * MIB);
        void *block = partyalloc_allocate(size, ANY_TYPE);
        if (block == NULL)
            continue;
        filled->size = size < KIB ? size : KIB;
        filled->seed = i;
        fill(block, filled->size, i);
        filled->block = block;
    }
    for (size_t i = 0; i < HELD; i++)
        filled_free(&held[i]);
    return NULL;
}

static void threads_at_the_cap_never_pass_it_together(void **state)
{
    (void)state;
    partyalloc_trim();
    size_t limit = limit_growth_to(16 * MIB);
    uint64_t peak = stats_now().mapped_peak_bytes;
    run_threads(4, press_against_the_cap, NULL, 0);
    if (peak <= limit)
        assert_true(stats_now().mapped_peak_bytes <= limit);
    assert_true(stats_now().mapped_bytes <= limit);
    assert_int_equal(stats_now().small_live_blocks, 0);
    assert_int_equal(stats_now().large_live_blocks, 0);
    partyalloc_set_limit(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First, while this process has nothing and the peak is low. */
        cmocka_unit_test(a_failing_allocation_costs_nothing),
        cmocka_unit_test(all_that_is_free_makes_room_for_a_large_block),
        cmocka_unit_test(threads_at_the_cap_never_pass_it_together),
        cmocka_unit_test(small_blocks_end_at_the_cap_and_can_be_had_again),
        cmocka_unit_test(what_one_class_does_not_use_another_one_can_have),
        cmocka_unit_test(what_the_threads_cache_holds_keeps_no_address_space),
        cmocka_unit_test(what_a_thread_has_left_keeps_no_address_space),
        cmocka_unit_test(a_lower_cap_gives_up_what_is_free),
        cmocka_unit_test(large_blocks_end_at_the_cap_and_can_be_had_again),
        cmocka_unit_test(kept_mappings_make_room_for_other_blocks),
        cmocka_unit_test(too_large_a_request_uses_nothing_up),
        cmocka_unit_test(a_block_shrinks_at_the_cap),
        cmocka_unit_test(a_reallocation_beyond_the_cap_leaves_the_block),
        cmocka_unit_test(a_large_block_grows_up_to_the_cap),
        cmocka_unit_test(kept_mappings_make_room_for_a_block_that_grows),
        cmocka_unit_test(a_cap_below_what_is_mapped_stops_growth_only),
        cmocka_unit_test(a_reservation_beyond_the_cap_says_enomem),
        cmocka_unit_test(kept_memory_makes_room_for_the_first_small_block),
        cmocka_unit_test(slabs_that_are_free_make_room_for_a_reservation),
        cmocka_unit_test(kept_memory_makes_room_for_a_reservation),
    };

    return run_all(tests);
}
