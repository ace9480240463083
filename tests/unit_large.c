/* SPDX-License-Identifier: MIT */
/* Large blocks: the reuse of mappings, and what is kept of them. */
#include "support.h"

#include <stdint.h>
#include <string.h>

#include "large.h"
#include "os.h"
#include "page_map.h"

enum { LARGEST = 9 };

static void *allocate(size_t size)
{
    void *block = large_allocate(size, 1, false);

    require(block != NULL);
    return block;
}

static void a_freed_mapping_serves_the_next_block_of_its_size(void **state)
{
    (void)state;
    void *first = allocate(MIB);
    large_free(first);
    uint64_t calls = os_kernel_calls();
    void *second = allocate(MIB);
    assert_ptr_equal(first, second);
    assert_int_equal(os_kernel_calls(), calls);
    large_free(second);
    large_drop_all();
}

/* Live blocks of this size between others keep them from being joined. */
enum { BETWEEN = 300 * KIB };

static void the_shortest_range_that_fits_is_taken(void **state)
{
    const size_t sizes[] = {1300 * KIB, 1100 * KIB, 1900 * KIB, 1200 * KIB};
    void *blocks[ARRAY_LENGTH(sizes)], *between[ARRAY_LENGTH(sizes)];

    (void)state;
    large_free(allocate(16 * MIB)); /* all are cut from it, side by side */
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        blocks[i] = allocate(sizes[i]);
        between[i] = allocate(BETWEEN);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++)
        large_free(blocks[i]);
    char *block = allocate(MIB);
    assert_in_range((uintptr_t)block, (uintptr_t)blocks[1],
                    (uintptr_t)blocks[1] + 128 * KIB);
    large_free(block);
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++)
        large_free(between[i]);
    large_drop_all();
}

static void a_long_mapping_is_cut_and_joined_again(void **state)
{
    enum { PARTS = 16 };
    void *parts[PARTS];
    void *whole = allocate(PARTS * MIB);

    (void)state;
    large_free(whole);
    uint64_t calls = os_kernel_calls();
    for (size_t i = 0; i < PARTS; i++) {
        parts[i] = allocate(MIB);
        fill(parts[i], MIB, i);
    }
    assert_int_equal(large_totals().cached_bytes, 0);
    for (size_t i = 0; i < PARTS; i++)
        assert_true(holds(parts[i], MIB, i));
    for (size_t i = 0; i < PARTS; i++)
        large_free(parts[i * 5 % PARTS]);
    assert_ptr_equal(allocate(PARTS * MIB), whole);
    assert_int_equal(os_kernel_calls(), calls);
    large_free(whole);
    large_drop_all();
}

static void what_a_range_is_too_long_is_kept_by_itself(void **state)
{
    (void)state;
    char *whole = allocate(16 * MIB);
    large_free(whole);
    uint64_t calls = os_kernel_calls();
    char *end = allocate(MIB);
    assert_ptr_equal(end, whole + 15 * MIB);
    assert_int_equal(large_totals().cached_bytes, 15 * MIB);
    char *next = allocate(2 * MIB);
    assert_ptr_equal(next, whole + 13 * MIB);
    fill(end, MIB, 1);
    fill(next, 2 * MIB, 2);
    assert_true(holds(end, MIB, 1));
    assert_int_equal(large_usable_size(end, "test"), MIB);
    large_free(next);
    large_free(end);
    assert_int_equal(os_kernel_calls(), calls);
    large_drop_all();
}

static void free_in_order(char *const *blocks, const size_t *order)
{
    for (size_t i = 0; i < 3; i++)
        large_free(blocks[order[i]]);
}

static void blocks_side_by_side_are_joined_in_any_order(void **state)
{
    const size_t orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

    (void)state;
    char *whole = allocate(6 * MIB);
    large_free(whole);
    uint64_t calls = os_kernel_calls();
    for (size_t i = 0; i < ARRAY_LENGTH(orders); i++) {
        char *blocks[] = {allocate(MIB), allocate(2 * MIB), allocate(3 * MIB)};
        assert_ptr_equal(blocks[1], whole + 3 * MIB);
        assert_ptr_equal(blocks[2], whole);
        free_in_order(blocks, orders[i]);
        assert_int_equal(large_totals().cached_bytes, 6 * MIB);
        char *again = allocate(6 * MIB);
        assert_ptr_equal(again, whole);
        large_free(again);
    }
    assert_int_equal(os_kernel_calls(), calls);
    assert_int_equal(large_drop_all(), 6 * MIB);
}

/* Now part of a longer free range, it still is no live block. */
static void free_again(void *block)
{
    expect_stop("double free", block);
    partyalloc_free(block, ANY_TYPE);
}

static void free_inside(void *block)
{
    expect_stop("invalid free", block);
    partyalloc_free(block, ANY_TYPE);
}

static void a_block_freed_twice_is_seen_when_it_was_joined(void **state)
{
    (void)state;
    large_free(allocate(3 * MIB));
    char *right = allocate(MIB), *middle = allocate(MIB), *left = allocate(MIB);
    large_free(left);
    large_free(middle);
    large_free(right);
    assert_scenario_stops("the left one", free_again, left);
    assert_scenario_stops("the middle one", free_again, middle);
    assert_scenario_stops("the right one", free_again, right);
    /* And inside a live block. */
    char *whole = allocate(3 * MIB);
    assert_ptr_equal(whole, left);
    assert_scenario_stops("inside of a live one", free_inside, middle);
    large_free(whole);
    large_drop_all();
}

static void a_reused_mapping_is_zeroed_where_zeroes_are_promised(void **state)
{
    (void)state;
    for (size_t size = MIB; size <= 2 * MIB; size += 100000) {
        void *dirty = allocate(2 * MIB);
        memset(dirty, 0xff, 2 * MIB);
        large_free(dirty);
        void *block = large_allocate(size, 1, true);
        assert_true(is_zero(block, size));
        large_free(block);
    }
    large_drop_all();
}

/* A short block that was written lies at the end of a long new one. */
static void what_is_new_is_not_zeroed(void **state)
{
    enum { LENGTH = 64 << 20 };
    void *dirty = allocate(MIB);

    (void)state;
    memset(dirty, 0xff, MIB);
    large_free(dirty);
    char *block = large_allocate(LENGTH, 1, true);
    assert_true(is_zero(block + LENGTH - 2 * MIB, 2 * MIB));
    assert_false(os_is_present(block + LENGTH / 2, PAGE_BYTES));
    large_free(block);
    large_drop_all();
}

static void an_aligned_block_reuses_an_aligned_mapping_only(void **state)
{
    void *blocks[LARGEST];

    (void)state;
    for (size_t i = 0; i < LARGEST; i++)
        blocks[i] = allocate(MIB);
    for (size_t i = 0; i < LARGEST; i++)
        large_free(blocks[i]);
    for (size_t i = 0; i < LARGEST; i++) {
        blocks[i] = large_allocate(MIB, MIB, false);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % MIB, 0);
    }
    for (size_t i = 0; i < LARGEST; i++)
        large_free(blocks[i]);
    large_drop_all();
}

static void kept_mappings_are_counted_and_dropped(void **state)
{
    void *blocks[LARGEST];
    size_t mapped = os_mapped_bytes();

    (void)state;
    for (size_t i = 0; i < LARGEST; i++)
        blocks[i] = allocate(MIB);
    assert_int_equal(large_totals().live_blocks, LARGEST);
    assert_int_equal(large_totals().live_bytes, LARGEST * MIB);
    for (size_t i = 0; i < LARGEST; i++)
        large_free(blocks[i]);
    assert_int_equal(large_totals().live_blocks, 0);
    assert_int_equal(large_totals().cached_bytes, LARGEST * MIB);
    assert_int_equal(large_drop_step(true), 0); /* not yet */
    /* Without what was mapped ahead of use, which has no pages. */
    assert_true(os_mapped_bytes() - mapped > LARGEST * MIB);
    assert_int_equal(large_drop_all(), LARGEST * MIB);
    assert_int_equal(large_totals().cached_bytes, 0);
    assert_int_equal(large_drop_all(), 0);
    assert_int_equal(os_mapped_bytes(), mapped);
}

static void a_mapping_is_dropped_when_it_is_old(void **state)
{
    size_t bytes = 0;

    (void)state;
    large_free(allocate(MIB));
    for (int i = 0; i < 100 && bytes < MIB; i++) {
        sleep_ms(20);
        size_t step = large_drop_step(true);
        assert_in_range(step, 0, MIB / 4); /* piece by piece */
        bytes += step;
    }
    assert_int_equal(bytes, MIB);
    assert_int_equal(large_totals().cached_bytes, 0);
}

static void a_block_grows_into_what_is_kept_behind_it(void **state)
{
    (void)state;
    large_free(allocate(4 * MIB));
    void *behind = allocate(MIB);
    void *block = allocate(MIB);
    assert_ptr_equal((char *)block + MIB, behind);
    fill(block, MIB, 6);
    large_free(behind);
    uint64_t calls = os_kernel_calls();
    assert_ptr_equal(large_resize(block, MIB + 700 * KIB), block);
    assert_int_equal(os_kernel_calls(), calls);
    assert_true(holds(block, MIB, 6));
    assert_int_equal(large_usable_size(block, "test"), MIB + 700 * KIB);
    assert_in_range(large_totals().cached_bytes, 2 * MIB, 2 * MIB + 320 * KIB);
    large_free(block);
    assert_int_equal(large_totals().cached_bytes, 4 * MIB);
    large_drop_all();
}

static void what_a_block_gives_up_is_kept(void **state)
{
    void *block = allocate(4 * MIB);

    (void)state;
    fill(block, MIB, 8);
    uint64_t calls = os_kernel_calls();
    assert_ptr_equal(large_resize(block, MIB), block);
    assert_int_equal(large_totals().cached_bytes, 3 * MIB);
    void *rest = allocate(3 * MIB);
    assert_ptr_equal(rest, (char *)block + MIB);
    memset(rest, 0xff, 3 * MIB);
    assert_true(holds(block, MIB, 8));
    large_free(rest);
    large_free(block);
    assert_int_equal(os_kernel_calls(), calls);
    assert_int_equal(large_totals().cached_bytes, 4 * MIB);
    large_drop_all();
}

static void a_block_gives_up_a_long_part_that_it_does_not_need(void **state)
{
    void *block = allocate(40 * MIB);
    void *other = allocate(960 * KIB);

    (void)state;
    uint64_t calls = os_kernel_calls();
    size_t cached = large_totals().cached_bytes;
    assert_ptr_equal(large_resize(block, 30 * MIB), block);
    assert_int_equal(large_totals().cached_bytes, cached);
    assert_ptr_equal(large_resize(block, 30 * MIB - 1), block);
    assert_int_equal(large_totals().cached_bytes, cached);
    assert_ptr_equal(large_resize(block, 24 * MIB), block);
    assert_int_equal(large_totals().cached_bytes, cached + 16 * MIB);
    /* And grows into it again. */
    assert_ptr_equal(large_resize(block, 40 * MIB), block);
    assert_int_equal(large_totals().cached_bytes, cached);
    /* A short part stays. */
    assert_ptr_equal(large_resize(other, 704 * KIB + 1), other);
    assert_int_equal(large_totals().cached_bytes, cached);
    assert_ptr_equal(large_resize(other, 704 * KIB), other);
    assert_int_equal(large_totals().cached_bytes, cached + 256 * KIB);
    assert_int_equal(os_kernel_calls(), calls);
    large_free(block);
    large_free(other);
    large_drop_all();
}

/* However long the part is, none of it goes back at once. */
static void a_long_block_shrinks_and_grows_without_a_call(void **state)
{
    char *block = allocate(200 * MIB);

    (void)state;
    block[200 * MIB - 1] = 1;
    uint64_t calls = os_kernel_calls();
    for (int i = 0; i < 10; i++) {
        assert_ptr_equal(large_resize(block, 100 * MIB), block);
        assert_int_equal(large_totals().cached_bytes, 100 * MIB);
        assert_ptr_equal(large_resize(block, 200 * MIB), block);
    }
    assert_int_equal(os_kernel_calls(), calls);
    assert_int_equal(block[200 * MIB - 1], 1);
    large_free(block);
    large_drop_all();
}

static void the_page_map_knows_live_and_dead_blocks(void **state)
{
    (void)state;
    void *block = allocate(MIB);
    assert_int_equal(page_map_entry(block), ENTRY_LARGE);
    assert_int_equal(page_map_entry((char *)block + UNIT_BYTES), 0);
    large_free(block);
    assert_int_equal(page_map_entry(block), ENTRY_LARGE_GONE);
    large_drop_all();
    assert_int_equal(page_map_entry(block), ENTRY_LARGE_GONE);
}

static void growing_moves_pages_and_keeps_the_contents(void **state)
{
    size_t size = MIB;
    void *block = allocate(size);

    (void)state;
    fill(block, size, 5);
    while (size < 64 * MIB) {
        size = size * 2 + 5000;
        block = large_resize(block, size);
        assert_non_null(block);
        assert_true(holds(block, MIB, 5));
        assert_true(large_usable_size(block, "test") >= size);
        ((char *)block)[size - 1] = 1;
    }
    assert_int_equal(large_totals().live_blocks, 1);
    block = large_resize(block, MIB);
    assert_true(holds(block, MIB, 5));
    assert_in_range(large_totals().live_bytes, MIB, 2 * MIB);
    large_free(block);
    assert_int_equal(large_totals().live_bytes, 0);
    large_drop_all();
}

static void sizes_that_cannot_be_are_refused(void **state)
{
    uint64_t calls = os_kernel_calls();

    (void)state;
    assert_null(large_allocate(SIZE_MAX, 1, false));
    assert_null(large_allocate(PTRDIFF_MAX, 1, false));
    assert_null(large_allocate(1, (size_t)1 << 63, false));
    assert_int_equal(os_kernel_calls(), calls);
    void *block = allocate(MIB);
    assert_null(large_resize(block, SIZE_MAX));
    assert_null(large_resize(block, PTRDIFF_MAX));
    large_free(block);
    large_drop_all();
}

static void *churn(void *argument)
{
    enum { ROUNDS = UNDER_SANITIZER ? 500 : 5000 };
    struct random random = {(uintptr_t)argument};

    for (size_t i = 0; i < ROUNDS; i++) {
        size_t size = random_size(&random, SMALL_SIZE_MAX + 1, 2 * MIB);
        char *block = allocate(size);
        block[0] = 1;
        fill(block, 64, i);
        fill(block + size - 64, 64, i);
        require(holds(block, 64, i) && holds(block + size - 64, 64, i));
        large_free(block);
        if (random_below(&random, 50) == 0)
            large_drop_all();
    }
    return NULL;
}

static void threads_share_the_kept_mappings(void **state)
{
    (void)state;
    run_threads(4, churn, NULL, 0);
    large_drop_all();
    assert_int_equal(large_totals().live_blocks, 0);
    assert_int_equal(large_totals().live_bytes, 0);
    assert_int_equal(large_totals().cached_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_freed_mapping_serves_the_next_block_of_its_size),
        cmocka_unit_test(the_shortest_range_that_fits_is_taken),
        cmocka_unit_test(a_long_mapping_is_cut_and_joined_again),
        cmocka_unit_test(what_a_range_is_too_long_is_kept_by_itself),
        cmocka_unit_test(blocks_side_by_side_are_joined_in_any_order),
        cmocka_unit_test(a_block_freed_twice_is_seen_when_it_was_joined),
        cmocka_unit_test(a_reused_mapping_is_zeroed_where_zeroes_are_promised),
        cmocka_unit_test(what_is_new_is_not_zeroed),
        cmocka_unit_test(an_aligned_block_reuses_an_aligned_mapping_only),
        cmocka_unit_test(kept_mappings_are_counted_and_dropped),
        cmocka_unit_test(a_mapping_is_dropped_when_it_is_old),
        cmocka_unit_test(a_block_grows_into_what_is_kept_behind_it),
        cmocka_unit_test(what_a_block_gives_up_is_kept),
        cmocka_unit_test(a_block_gives_up_a_long_part_that_it_does_not_need),
        cmocka_unit_test(a_long_block_shrinks_and_grows_without_a_call),
        cmocka_unit_test(the_page_map_knows_live_and_dead_blocks),
        cmocka_unit_test(growing_moves_pages_and_keeps_the_contents),
        cmocka_unit_test(sizes_that_cannot_be_are_refused),
        cmocka_unit_test(threads_share_the_kept_mappings),
    };

    return run_all(tests);
}
