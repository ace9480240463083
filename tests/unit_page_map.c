/* SPDX-License-Identifier: MIT */
/* The page map knows every address: ours and all others. */
#include "support.h"

#include "page_map.h"
#include "size_class.h"

#define LEAF_BYTES ((uintptr_t)LEAF_UNITS * UNIT_BYTES)
/* Some range that nothing lies in; the map does not touch what it maps. */
#define SOMEWHERE ((uintptr_t)0x123 * LEAF_BYTES)

static uint32_t entry_of(uintptr_t address)
{
    return page_map_entry((const void *)address);
}

static void what_was_never_entered_is_not_ours(void **state)
{
    const uintptr_t addresses[] = {
        0, 16, 4096, SOMEWHERE, SOMEWHERE + 16, UINT64_C(0x7fffffffffff),
        UINT64_C(0x7ffffffffff0), UINT64_C(0x800000000000),
        UINT64_C(0xffff800000000000), UINT64_C(0xfffffffffffffff0),
        UINT64_C(0xffffffffffffffff), UINT64_C(0x0123456789abcde0)};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(addresses); i++)
        assert_int_equal(entry_of(addresses[i]), 0);
}

static void a_misaligned_address_is_not_ours(void **state)
{
    uint32_t entry = page_map_slab_entry(1, 3);
    int descriptor;

    (void)state;
    assert_true(page_map_reserve(SOMEWHERE, UNIT_BYTES));
    page_map_set(SOMEWHERE, 1, entry, &descriptor);
    for (uintptr_t offset = 0; offset < UNIT_BYTES; offset++)
        require(entry_of(SOMEWHERE + offset)
                == (offset % 16 == 0 ? entry : 0));
    assert_int_equal(entry_of(SOMEWHERE - 16), 0);
    assert_int_equal(entry_of(SOMEWHERE + UNIT_BYTES), 0);
    /* With bits set that no user address has. */
    for (unsigned bit = ADDRESS_BITS; bit < 64; bit++)
        assert_int_equal(entry_of(SOMEWHERE | (uintptr_t)1 << bit), 0);
    page_map_set(SOMEWHERE, 1, 0, NULL);
    assert_int_equal(entry_of(SOMEWHERE), 0);
}

static void a_range_may_cross_from_leaf_to_leaf(void **state)
{
    enum { UNITS = 6 };
    uintptr_t base = SOMEWHERE + 2 * LEAF_BYTES - UNITS / 2 * UNIT_BYTES;
    uint32_t entry = page_map_slab_entry(77, 5);
    int descriptor;

    (void)state;
    assert_true(page_map_reserve(base, UNITS * (size_t)UNIT_BYTES));
    page_map_set(base, UNITS, entry, &descriptor);
    for (uintptr_t i = 0; i < UNITS; i++) {
        uintptr_t address = base + i * UNIT_BYTES + 32;
        assert_int_equal(entry_of(address), entry);
        assert_ptr_equal(page_map_descriptor((void *)address), &descriptor);
    }
    assert_int_equal(entry_of(base - 16), 0);
    assert_int_equal(entry_of(base + UNITS * (uintptr_t)UNIT_BYTES), 0);
}

static void a_leaf_is_made_once(void **state)
{
    uintptr_t base = SOMEWHERE + 10 * LEAF_BYTES;

    (void)state;
    size_t before = page_map_bytes();
    assert_true(page_map_reserve(base, UNIT_BYTES));
    size_t after = page_map_bytes();
    assert_true(after > before);
    assert_true(page_map_reserve(base, LEAF_BYTES));
    assert_int_equal(page_map_bytes(), after);
    assert_true(page_map_reserve(base, LEAF_BYTES + UNIT_BYTES));
    assert_true(page_map_bytes() > after);
}

static void what_lies_beyond_user_space_cannot_be_reserved(void **state)
{
    (void)state;
    assert_false(page_map_reserve((uintptr_t)1 << ADDRESS_BITS, UNIT_BYTES));
    assert_false(page_map_reserve(((uintptr_t)1 << ADDRESS_BITS) - UNIT_BYTES,
                                  2 * (size_t)UNIT_BYTES));
}

static void an_entry_tells_class_and_owner(void **state)
{
    const uint32_t owners[] = {1, 2, 1000, OWNER_MAX};

    (void)state;
    assert_false(page_map_is_slab(0));
    assert_false(page_map_is_slab(ENTRY_LARGE));
    for (size_t i = 0; i < ARRAY_LENGTH(owners); i++)
        for (unsigned class = 0; class < CLASS_COUNT; class++) {
            uint32_t entry = page_map_slab_entry(owners[i], class);
            assert_true(page_map_is_slab(entry));
            assert_int_equal(page_map_class(entry), class);
            assert_int_equal(entry >> ENTRY_OWNER_SHIFT, owners[i]);
            /* What the fast path of a free relies upon. */
            assert_int_equal(entry ^ owners[i] << ENTRY_OWNER_SHIFT,
                             class << ENTRY_BIN_SHIFT);
            assert_true((entry ^ (owners[i] ^ 1) << ENTRY_OWNER_SHIFT)
                        >= ENTRY_BIN_LIMIT);
        }
}

static void home_is_where_the_blocks_of_one_leaf_are(void **state)
{
    const struct page_map_home nowhere = PAGE_MAP_NOWHERE;
    struct page_map_home home = PAGE_MAP_NOWHERE;
    char *here = (char *)SOMEWHERE + 12 * LEAF_BYTES;
    char *there = here + LEAF_BYTES;

    (void)state;
    assert_true(page_map_reserve((uintptr_t)here, 2 * LEAF_BYTES));
    assert_false(page_map_is_home(&nowhere, NULL));
    assert_false(page_map_is_home(&nowhere, here));
    page_map_settle(&home, here + 16);
    assert_ptr_equal(home.leaf, page_map_leaf(here));
    assert_true(page_map_is_home(&home, here));
    assert_true(page_map_is_home(&home, there - 16));
    assert_false(page_map_is_home(&home, here - 16));
    assert_false(page_map_is_home(&home, there));
    assert_false(page_map_is_home(&home, here + 8));
    assert_false(page_map_is_home(
        &home, (void *)((uintptr_t)here + ((uintptr_t)1 << 63))));
    page_map_settle(&home, there);
    assert_ptr_equal(home.leaf, page_map_leaf(there));
    assert_true(page_map_is_home(&home, there));
    assert_false(page_map_is_home(&home, here));
}

static void *reserve_the_same(void *unused)
{
    for (uintptr_t i = 0; i < 40; i++)
        require(page_map_reserve(SOMEWHERE + (20 + i) * LEAF_BYTES,
                                 UNIT_BYTES));
    return unused;
}

static void threads_that_make_a_leaf_at_once_share_it(void **state)
{
    (void)state;
    size_t before = page_map_bytes();
    run_threads(8, reserve_the_same, NULL, 0);
    assert_int_equal(page_map_bytes() - before,
                     40 * sizeof(struct page_map_leaf));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_never_entered_is_not_ours),
        cmocka_unit_test(a_misaligned_address_is_not_ours),
        cmocka_unit_test(a_range_may_cross_from_leaf_to_leaf),
        cmocka_unit_test(a_leaf_is_made_once),
        cmocka_unit_test(what_lies_beyond_user_space_cannot_be_reserved),
        cmocka_unit_test(an_entry_tells_class_and_owner),
        cmocka_unit_test(home_is_where_the_blocks_of_one_leaf_are),
        cmocka_unit_test(threads_that_make_a_leaf_at_once_share_it),
    };

    return run_all(tests);
}
