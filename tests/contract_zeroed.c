/* SPDX-License-Identifier: MIT */
/* Zeroed blocks are zero, whatever their memory held before. */
#include "support.h"

#include <errno.h>

static const size_t some_sizes[] = {0, 1, 7, 16, 64, 200, 1000, 5000, 32768,
                                    100000, SMALL_SIZE_MAX,
                                    SMALL_SIZE_MAX + 1, MIB, 5 * MIB};

/* Leaves memory behind that was written and freed. */
static void leave_dirt(size_t size)
{
    enum { DIRTY_BYTES_MAX = 8 << 20, DIRTY_COUNT_MAX = 500 };
    void *blocks[DIRTY_COUNT_MAX];
    size_t count = DIRTY_BYTES_MAX / (size + 1) + 1;

    if (count > DIRTY_COUNT_MAX)
        count = DIRTY_COUNT_MAX;
    for (size_t i = 0; i < count; i++) {
        blocks[i] = partyalloc_allocate(size, ANY_TYPE);
        assert_non_null(blocks[i]);
        fill(blocks[i], partyalloc_usable_size(blocks[i]), ~i);
    }
    for (size_t i = 0; i < count; i++)
        partyalloc_free(blocks[i], ANY_TYPE);
}

static void check_zeroed(size_t count, size_t size)
{
    void *blocks[8];

    for (size_t i = 0; i < ARRAY_LENGTH(blocks); i++) {
        blocks[i] = partyalloc_allocate_zeroed(count, size, ANY_TYPE);
        assert_non_null(blocks[i]);
        assert_true(partyalloc_usable_size(blocks[i]) >= count * size);
        assert_true(is_zero(blocks[i], count * size));
        fill(blocks[i], partyalloc_usable_size(blocks[i]), i);
    }
    require_disjoint(blocks, ARRAY_LENGTH(blocks));
    for (size_t i = 0; i < ARRAY_LENGTH(blocks); i++)
        partyalloc_free(blocks[i], ANY_TYPE);
}

static void zeroed_blocks_are_zero_where_dirty_ones_were(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < ARRAY_LENGTH(some_sizes); i++) {
            leave_dirt(some_sizes[i]);
            check_zeroed(1, some_sizes[i]);
            check_zeroed(some_sizes[i], 1);
        }
}

static void zeroed_blocks_are_zero_after_a_purge(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(some_sizes); i++) {
        leave_dirt(some_sizes[i]);
        partyalloc_thread_flush();
        partyalloc_trim();
        check_zeroed(1, some_sizes[i]);
    }
}

static void a_shorter_zeroed_block_of_a_longer_dirty_one_is_zero(void **state)
{
    (void)state;
    for (size_t size = SMALL_SIZE_MAX + 1; size < 6 * MIB; size += 333333) {
        leave_dirt(7 * MIB);
        check_zeroed(size, 1);
    }
}

static void a_product_of_zero_gives_a_block(void **state)
{
    void *first = partyalloc_allocate_zeroed(0, 0, ANY_TYPE);
    void *second = partyalloc_allocate_zeroed(0, SIZE_MAX, ANY_TYPE);
    void *third = partyalloc_allocate_zeroed(SIZE_MAX, 0, ANY_TYPE);

    (void)state;
    assert_non_null(first);
    assert_non_null(second);
    assert_non_null(third);
    partyalloc_free(first, ANY_TYPE);
    partyalloc_free(second, ANY_TYPE);
    partyalloc_free(third, ANY_TYPE);
}

static void a_product_that_overflows_says_enomem(void **state)
{
    const size_t half = (size_t)1 << 32;
    const size_t factors[][2] = {
        {SIZE_MAX, 2},        {2, SIZE_MAX},       {half, half},
        {half + 1, half - 1}, {SIZE_MAX, SIZE_MAX}, {SIZE_MAX / 2 + 1, 2},
        {SIZE_MAX / 3 + 1, 3}, {half, half / 2},
    };
    uint64_t before = stats_now().kernel_calls;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(factors); i++) {
        errno = 0;
        assert_null(partyalloc_allocate_zeroed(factors[i][0], factors[i][1],
                                               ANY_TYPE));
        assert_int_equal(errno, ENOMEM);
    }
    assert_int_equal(stats_now().kernel_calls, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeroed_blocks_are_zero_where_dirty_ones_were),
        cmocka_unit_test(zeroed_blocks_are_zero_after_a_purge),
        cmocka_unit_test(a_shorter_zeroed_block_of_a_longer_dirty_one_is_zero),
        cmocka_unit_test(a_product_of_zero_gives_a_block),
        cmocka_unit_test(a_product_that_overflows_says_enomem),
    };

    return run_all(tests);
}
