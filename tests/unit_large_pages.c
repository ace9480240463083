/* SPDX-License-Identifier: MIT */
/* Pages of large blocks that are made present ahead of use. */
#include "support.h"

#include <stdint.h>
#include <string.h>

#include "large.h"
#include "os.h"

static void *allocate(size_t size)
{
    void *block = large_allocate(size, 1, false);

    require(block != NULL);
    return block;
}

/* Uses a block on new pages; whether they were present from the start. */
static bool is_present_at_once(bool write)
{
    void *block = allocate(MIB + 5000);
    bool present = os_is_present(block, MIB);

    if (write)
        memset(block, 1, MIB + 5000);
    large_free(block);
    large_drop_all();
    return present;
}

static size_t present_at_once(size_t count, bool write)
{
    size_t present = 0;

    for (size_t i = 0; i < count; i++)
        present += is_present_at_once(write);
    return present;
}

static void pages_are_made_present_for_who_writes_them(void **state)
{
    (void)state;
    present_at_once(40, false);
    assert_int_equal(present_at_once(40, false), 0);
    assert_int_equal(present_at_once(1, true), 0);
    assert_in_range(present_at_once(80, true), 70, 79);
    /* Once blocks are not written, only a few more. */
    assert_in_range(present_at_once(80, false), 0, 16);
    assert_int_equal(present_at_once(80, false), 0);
}

static void pages_that_are_present_are_zero_and_not_too_many(void **state)
{
    (void)state;
    present_at_once(10, true);
    for (int i = 0; i < 10; i++) {
        char *block = large_allocate(16 * MIB, 1, true);
        assert_non_null(block);
        assert_false(os_is_present(block + 4 * MIB, MIB));
        assert_true(is_zero(block, 16 * MIB));
        large_free(block);
        large_drop_all();
        present_at_once(10, true);
    }
    present_at_once(40, false);
}

/* --- in children, in which no block was freed before --- */

static void write_the_first_block(void *unused)
{
    (void)unused;
    char *first = allocate(MIB);
    /* The first may yet be written. */
    char *second = allocate(MIB);
    require(!os_is_present(second, PAGE_BYTES));
    memset(first, 1, MIB);
    for (int i = 0; i < 10; i++)
        require(os_is_present(allocate(2 * MIB), 2 * MIB));
}

static void the_first_block_tells_while_it_lives(void **state)
{
    (void)state;
    assert_child_succeeds(write_the_first_block, NULL);
}

static void write_part_of_the_first_block(void *unused)
{
    (void)unused;
    memset(allocate(MIB), 1, MIB - PAGE_BYTES);
    for (int i = 0; i < 10; i++)
        require(!os_is_present(allocate(MIB), PAGE_BYTES));
}

static void a_block_that_is_not_all_written_tells_nothing(void **state)
{
    (void)state;
    assert_child_succeeds(write_part_of_the_first_block, NULL);
}

static void write_the_first_and_free_the_second(void *unused)
{
    (void)unused;
    char *first = allocate(MIB), *second = allocate(MIB);
    memset(first, 1, MIB);
    large_free(second);
    large_drop_all();
    require(!os_is_present(allocate(MIB), PAGE_BYTES));
}

static void what_is_freed_counts_more_than_the_first_block(void **state)
{
    (void)state;
    assert_child_succeeds(write_the_first_and_free_the_second, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First, while nothing has been freed. */
        cmocka_unit_test(the_first_block_tells_while_it_lives),
        cmocka_unit_test(a_block_that_is_not_all_written_tells_nothing),
        cmocka_unit_test(what_is_freed_counts_more_than_the_first_block),
        cmocka_unit_test(pages_are_made_present_for_who_writes_them),
        cmocka_unit_test(pages_that_are_present_are_zero_and_not_too_many),
    };

    return run_all(tests);
}
