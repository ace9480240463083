/* SPDX-License-Identifier: MIT */
/*
 * Every size gives a block that is aligned, has the bytes that it promises,
 * and shares none of them with another live block.
 */
#include "support.h"

#include <errno.h>

/* As all small sizes are gone through, so many blocks live at once. */
#define LIVE_AT_ONCE 512
#define EVERY_SIZE_MAX (64 * KIB)
/* Class boundaries are sought up to here: some pages beyond the largest class,
 * where blocks come in whole pages. */
#define BOUNDARY_MAX (SMALL_SIZE_MAX + 64 * KIB)

static void check_usable_size(size_t size)
{
    void *block = partyalloc_allocate(size, ANY_TYPE);
    size_t usable;

    assert_non_null(block);
    assert_int_equal((uintptr_t)block % PARTYALLOC_ALIGNMENT, 0);
    usable = partyalloc_usable_size(block);
    assert_true(usable >= size);
    assert_int_equal(usable, partyalloc_good_size(size));
    /* All of it is the caller's. */
    fill(block, usable, size);
    assert_true(holds(block, usable, size));
    partyalloc_free(block, ANY_TYPE);
}

static void every_size_to_64_kib_gives_a_block_of_its_own(void **state)
{
    static struct filled live[LIVE_AT_ONCE];
    void *blocks[LIVE_AT_ONCE];

    (void)state;
    for (size_t first = 0; first <= EVERY_SIZE_MAX; first += LIVE_AT_ONCE) {
        for (size_t i = 0; i < LIVE_AT_ONCE; i++) {
            live[i] = filled_allocate(first + i, first ^ i);
            blocks[i] = live[i].block;
        }
        require_disjoint(blocks, LIVE_AT_ONCE);
        for (size_t i = 0; i < LIVE_AT_ONCE; i++)
            filled_free(&live[i]);
    }
}

static void every_class_boundary_has_the_usable_size_it_promises(void **state)
{
    size_t boundary = 0;

    (void)state;
    while (boundary < BOUNDARY_MAX) {
        boundary = partyalloc_good_size(boundary + 1);
        check_usable_size(boundary - 1);
        check_usable_size(boundary);
        check_usable_size(boundary + 1);
    }
}

static void good_size_never_falls_and_is_its_own_good_size(void **state)
{
    size_t last = 0;

    (void)state;
    for (size_t size = 0; size <= BOUNDARY_MAX; size++) {
        size_t good = partyalloc_good_size(size);
        require(good >= size);
        require(good >= last);
        require(partyalloc_good_size(good) == good);
        last = good;
    }
}

static void large_sizes_give_blocks_of_their_own(void **state)
{
    const size_t sizes[] = {SMALL_SIZE_MAX - 1, SMALL_SIZE_MAX,
                            SMALL_SIZE_MAX + 1, 300000, 512 * KIB, MIB - 1,
                            MIB, MIB + 1, 3 * MIB + 5, 8 * MIB - 1, 8 * MIB,
                            8 * MIB + 1, 33 * MIB};
    struct filled live[ARRAY_LENGTH(sizes)];
    void *blocks[ARRAY_LENGTH(sizes)];

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        check_usable_size(sizes[i]);
        live[i] = filled_allocate(sizes[i], i);
        blocks[i] = live[i].block;
    }
    require_disjoint(blocks, ARRAY_LENGTH(blocks));
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++)
        filled_free(&live[i]);
}

static void blocks_of_size_zero_differ(void **state)
{
    void *blocks[1000];

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(blocks); i++) {
        blocks[i] = partyalloc_allocate(0, ANY_TYPE);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % PARTYALLOC_ALIGNMENT, 0);
    }
    require_disjoint(blocks, ARRAY_LENGTH(blocks));
    for (size_t i = 0; i < ARRAY_LENGTH(blocks); i++)
        partyalloc_free(blocks[i], ANY_TYPE);
}

static void a_free_of_null_does_nothing(void **state)
{
    struct partyalloc_stats before = stats_now();

    (void)state;
    for (int i = 0; i < 1000; i++)
        partyalloc_free(NULL, ANY_TYPE);
    struct partyalloc_stats after = stats_now();
    assert_int_equal(before.small_live_blocks, after.small_live_blocks);
    assert_int_equal(before.kernel_calls, after.kernel_calls);
    assert_int_equal(partyalloc_usable_size(NULL), 0);
}

static void the_type_id_of_a_free_may_differ_from_its_allocations(void **state)
{
    const size_t sizes[] = {0, 1, 64, 5000, SMALL_SIZE_MAX, MIB};
    const uint32_t types[] = {0, 1, 0x80000000u, UINT32_MAX};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++)
        for (size_t j = 0; j < ARRAY_LENGTH(types); j++) {
            void *block = partyalloc_allocate(sizes[i], types[j]);
            assert_non_null(block);
            partyalloc_free(block, ~types[j]);
        }
}

static void a_freed_block_is_handed_out_again_before_new_memory(void **state)
{
    void *first = partyalloc_allocate(64, ANY_TYPE);

    (void)state;
    partyalloc_free(first, ANY_TYPE);
    void *second = partyalloc_allocate(64, ANY_TYPE);
    assert_ptr_equal(first, second);
    partyalloc_free(second, ANY_TYPE);
}

static void a_success_leaves_errno_alone_in_every_free(void **state)
{
    const int sentinel = 4711;
    const size_t sizes[] = {0, 64, 40000, SMALL_SIZE_MAX, MIB, 20 * MIB};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        void *blocks[100];
        size_t count = sizes[i] < MIB ? ARRAY_LENGTH(blocks) : 4;
        for (size_t j = 0; j < count; j++) {
            blocks[j] = partyalloc_allocate(sizes[i], ANY_TYPE);
            assert_non_null(blocks[j]);
        }
        for (size_t j = 0; j < count; j++) {
            errno = sentinel;
            partyalloc_free(blocks[j], ANY_TYPE);
            assert_int_equal(errno, sentinel);
        }
    }
    errno = sentinel;
    partyalloc_free(NULL, ANY_TYPE);
    assert_int_equal(errno, sentinel);
}

static void the_version_has_three_numbers(void **state)
{
    int numbers = 1;

    (void)state;
    for (const char *at = partyalloc_version(); *at != '\0'; at++) {
        assert_true(*at == '.' || (*at >= '0' && *at <= '9'));
        numbers += *at == '.';
    }
    assert_int_equal(numbers, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_to_64_kib_gives_a_block_of_its_own),
        cmocka_unit_test(every_class_boundary_has_the_usable_size_it_promises),
        cmocka_unit_test(good_size_never_falls_and_is_its_own_good_size),
        cmocka_unit_test(large_sizes_give_blocks_of_their_own),
        cmocka_unit_test(blocks_of_size_zero_differ),
        cmocka_unit_test(a_free_of_null_does_nothing),
        cmocka_unit_test(the_type_id_of_a_free_may_differ_from_its_allocations),
        cmocka_unit_test(a_freed_block_is_handed_out_again_before_new_memory),
        cmocka_unit_test(a_success_leaves_errno_alone_in_every_free),
        cmocka_unit_test(the_version_has_three_numbers),
    };

    return run_all(tests);
}
