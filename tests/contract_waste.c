/* SPDX-License-Identifier: MIT */
/* How many bytes a block may have beyond the requested size. */
#include "support.h"

#define FINE_MAX ((size_t)128) /* up to here the bound is a number of bytes */
#define FINE_WASTE_MAX 16
#define STEP_LIMIT (4 * MIB)

static void at_most_16_bytes_are_lost_up_to_128(void **state)
{
    (void)state;
    for (size_t size = 0; size <= FINE_MAX; size++)
        assert_in_range(partyalloc_good_size(size), size,
                        size + FINE_WASTE_MAX);
}

static void at_most_a_quarter_is_lost_above_128_bytes(void **state)
{
    (void)state;
    for (size_t size = FINE_MAX + 1; size <= SMALL_SIZE_MAX + 1; size++)
        require(partyalloc_good_size(size) - size <= size / 4);
    for (size_t size = SMALL_SIZE_MAX; size <= STEP_LIMIT; size += 4093)
        require(partyalloc_good_size(size) - size <= size / 4);
    for (size_t size = STEP_LIMIT; size < PTRDIFF_MAX / 4; size = size * 2 + 1)
        require(partyalloc_good_size(size) - size <= size / 4);
}

static void what_is_mapped_is_little_more_than_what_is_live(void **state)
{
    enum { COUNT = 40000, SIZE = 500, OVERHEAD_PERCENT = 15 };
    static void *blocks[COUNT];
    struct partyalloc_stats before = stats_now();
    size_t live = 0;

    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = partyalloc_allocate(SIZE, ANY_TYPE);
        assert_non_null(blocks[i]);
        live += partyalloc_usable_size(blocks[i]);
    }
    struct partyalloc_stats after = stats_now();
    /* Memory is mapped in steps of a few MiB. */
    assert_in_range(after.mapped_bytes - before.mapped_bytes, live / 2,
                    live / 100 * (100 + OVERHEAD_PERCENT) + 8 * MIB);
    for (size_t i = 0; i < COUNT; i++)
        partyalloc_free(blocks[i], ANY_TYPE);
}

static void the_good_size_of_what_cannot_exist_is_the_size(void **state)
{
    const size_t sizes[] = {(size_t)PTRDIFF_MAX + 1, SIZE_MAX / 2 + 100,
                            SIZE_MAX - 4096, SIZE_MAX - 16, SIZE_MAX};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++)
        assert_true(partyalloc_good_size(sizes[i]) == sizes[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_most_16_bytes_are_lost_up_to_128),
        cmocka_unit_test(at_most_a_quarter_is_lost_above_128_bytes),
        cmocka_unit_test(what_is_mapped_is_little_more_than_what_is_live),
        cmocka_unit_test(the_good_size_of_what_cannot_exist_is_the_size),
    };

    return run_all(tests);
}
