/* SPDX-License-Identifier: MIT */
/* Slabs: no block is handed out twice; resting blocks come before new ones. */
#include "support.h"

#include <stdatomic.h>

#include "os.h"
#include "page_map.h"
#include "size_class.h"
#include "slabs.h"

static void blocks_of_every_class_lie_apart_and_are_known(void **state)
{
    (void)state;
    for (unsigned class = 0; class < CLASS_COUNT; class++)
        check_class(class);
}

static void the_highest_address_comes_first_in_a_fill(void **state)
{
    struct slab_source source = {.owner = OWNER};
    void *blocks[WANTED];

    (void)state;
    slab_trim();
    size_t count = slab_fill(&source, 20, blocks, WANTED);
    for (size_t i = 1; i < count; i++)
        assert_true((uintptr_t)blocks[i - 1] > (uintptr_t)blocks[i]);
    slab_return(20, blocks, count);
    slab_let_go(&source);
}

static void what_came_to_rest_is_taken_before_more_is_carved(void **state)
{
    enum { COUNT = 2000, CLASS = 9 };
    static void *first[COUNT], *second[COUNT];
    struct slab_source source = {.owner = OWNER};

    (void)state;
    fill_all(&source, CLASS, first, COUNT);
    slab_return(CLASS, first, COUNT);
    slab_let_go(&source);
    struct slab_totals before = slab_totals();
    fill_all(&source, CLASS, second, COUNT);
    struct slab_totals after = slab_totals();
    assert_int_equal(after.slabs_made, before.slabs_made);
    assert_in_range(after.carved_blocks - before.carved_blocks, 0, 1024);
    assert_int_equal(before.resting_blocks - after.resting_blocks
                         + after.carved_blocks - before.carved_blocks,
                     COUNT);
    slab_return(CLASS, second, COUNT);
    slab_let_go(&source);
}

/* Too few blocks for a page to come free, but they are found. */
static void a_slab_is_listed_as_soon_as_some_blocks_rest(void **state)
{
    enum { CLASS = 7, COUNT = 4096, HALF = COUNT / 2 };
    static void *blocks[COUNT], *some[HALF];
    struct slab_source source = {.owner = OWNER};

    (void)state;
    fill_all(&source, CLASS, blocks, COUNT);
    slab_let_go(&source);
    for (size_t i = 0; i < HALF; i++)
        some[i] = blocks[2 * i];
    slab_return(CLASS, some, HALF);
    uint64_t carved = slab_totals().carved_blocks;
    fill_all(&source, CLASS, some, HALF);
    assert_in_range(slab_totals().carved_blocks - carved, 0,
                    size_classes[CLASS].capacity);
    slab_let_go(&source);
    for (size_t i = 0; i < HALF; i++)
        slab_return(CLASS, &blocks[2 * i + 1], 1);
    slab_return(CLASS, some, HALF);
}

/* Else the count would go below zero if it were taken in between. */
static void what_is_about_to_be_counted_is_not_taken(void **state)
{
    enum { CLASS = 14, COUNT = 8, MORE = 4096 };
    struct slab_source source = {.owner = OWNER};
    void *blocks[COUNT];
    static void *more[MORE];
    size_t count = 0;

    (void)state;
    fill_all(&source, CLASS, blocks, COUNT);
    struct slab *slab = bring_to_rest(CLASS, blocks[0]);
    slab_return(CLASS, blocks + 1, 3);
    while (atomic_load(&slab->resting) != 0 && count + WANTED < MORE)
        count += slab_fill(&source, CLASS, more + count, WANTED);
    assert_int_equal(atomic_load(&slab->resting), 0);
    count_at_rest(slab);
    slab_let_go(&source);
    source.held = slab;
    require(slab_hold(slab));
    uint64_t carved = slab_totals().carved_blocks;
    assert_int_equal(slab_fill(&source, CLASS, more + count, 1), 1);
    assert_int_equal(slab_totals().carved_blocks, carved);
    assert_ptr_equal(page_map_descriptor(more[count]), slab);
    assert_int_equal(atomic_load(&slab->resting), 0);
    require_disjoint(more, ++count);
    slab_return(CLASS, blocks + 4, COUNT - 4);
    slab_return(CLASS, more, count);
    slab_let_go(&source);
}

/* Pages of resting blocks are present; those beyond the carved may not be. */
static void what_rests_elsewhere_is_taken_before_the_held_slab_is_carved(
    void **state)
{
    enum { CLASS = 17, COUNT = 40, FEW = COUNT / 4, MANY = 8000 };
    struct slab_source one = {.owner = OWNER}, other = {.owner = OWNER + 1};
    static void *ours[MANY];
    void *theirs[COUNT], *few[FEW];
    size_t count = 0;

    (void)state;
    /* Takes all that rests, and one newly carved. */
    for (uint64_t before = slab_totals().carved_blocks;
         slab_totals().carved_blocks == before; count++)
        fill_all(&one, CLASS, &ours[count], 1);
    fill_all(&other, CLASS, theirs, COUNT);
    slab_return(CLASS, theirs, COUNT);
    slab_let_go(&other);
    const struct slab *held = one.held;
    uint64_t carved = slab_totals().carved_blocks;
    assert_int_equal(slab_fill(&one, CLASS, few, FEW), FEW);
    assert_int_equal(slab_totals().carved_blocks, carved);
    assert_ptr_not_equal(one.held, held);
    /* All of the slab rested: its owner changes. */
    assert_int_equal(page_map_entry(few[0]) >> ENTRY_OWNER_SHIFT, OWNER);
    slab_return(CLASS, few, FEW);
    /* A slab with fewer than wanted is left alone. */
    fill_all(&one, CLASS, theirs, COUNT);
    fill_all(&other, CLASS, &ours[count++], 1);
    slab_let_go(&one);
    slab_return(CLASS, theirs, FEW - 1);
    carved = slab_totals().carved_blocks;
    assert_int_equal(slab_fill(&other, CLASS, few, FEW), FEW);
    assert_int_equal(slab_totals().carved_blocks, carved + FEW);
    slab_return(CLASS, few, FEW);
    slab_return(CLASS, theirs + FEW - 1, COUNT - FEW + 1);
    slab_return(CLASS, ours, count);
    slab_let_go(&other);
}

/* One call per slab instead of a fault per page. */
static void a_growing_class_has_pages_made_present_again(void **state)
{
    enum { CLASS = 15, FILL = 32, FILLS = 128 };
    static void *blocks[FILLS * FILL];
    struct slab_source source = {.owner = OWNER};

    (void)state;
    fill_all(&source, CLASS, blocks, FILLS * FILL);
    slab_let_go(&source);
    slab_return(CLASS, blocks, FILLS * FILL);
    slab_trim();
    uint64_t calls = os_kernel_calls();
    for (size_t i = 0; i < FILLS; i++)
        require(slab_fill(&source, CLASS, blocks + i * FILL, FILL) == FILL);
    size_t slabs = FILLS * FILL / size_classes[CLASS].capacity;
    assert_in_range(os_kernel_calls() - calls, slabs / 2, slabs);
    slab_return(CLASS, blocks, FILLS * FILL);
    slab_let_go(&source);
}

static void a_slab_that_is_held_is_filled_from_by_its_holder_only(void **state)
{
    enum { CLASS = 30, COUNT = 4 };
    struct slab_source one = {.owner = OWNER}, other = {.owner = OWNER + 1};
    void *ours[COUNT], *theirs[COUNT];

    (void)state;
    fill_all(&one, CLASS, ours, COUNT);
    fill_all(&other, CLASS, theirs, COUNT);
    assert_ptr_not_equal(one.held, other.held);
    assert_ptr_not_equal(page_map_descriptor(ours[0]),
                         page_map_descriptor(theirs[0]));
    slab_return(CLASS, ours, COUNT);
    slab_return(CLASS, theirs, COUNT);
    slab_let_go(&one);
    slab_let_go(&other);
    assert_null(one.held);
}

static void a_slab_has_one_holder(void **state)
{
    enum { CLASS = 30, COUNT = 4 };
    struct slab_source source = {.owner = OWNER};
    void *blocks[COUNT];

    (void)state;
    fill_all(&source, CLASS, blocks, COUNT);
    struct slab *slab = source.held;
    assert_false(slab_hold(slab));
    slab_let_go(&source);
    assert_true(slab_hold(slab));
    assert_false(slab_hold(slab));
    slab_unhold(slab);
    slab_return(CLASS, blocks, COUNT);
}

static uint32_t owner_of(const void *block)
{
    return page_map_entry(block) >> ENTRY_OWNER_SHIFT;
}

/* In a slab of one source `rest` eighths of the blocks rest; another source
 * takes one of them. */
static void assert_owner_after(size_t rest, uint32_t owner)
{
    enum { CLASS = 29, COUNT = 10 };
    struct slab_source one = {.owner = OWNER}, other = {.owner = OWNER + 1};
    size_t resting = COUNT * rest / 8;
    void *blocks[COUNT], *block;

    assert_int_equal(size_classes[CLASS].capacity, COUNT);

    fill_all(&one, CLASS, blocks, COUNT);
    assert_int_equal(owner_of(blocks[0]), OWNER);
    assert_ptr_equal(page_map_descriptor(blocks[0]),
                     page_map_descriptor(blocks[COUNT - 1]));
    slab_let_go(&one);
    slab_return(CLASS, blocks, resting);
    fill_all(&other, CLASS, &block, 1);
    assert_int_equal(owner_of(block), owner);
    slab_return(CLASS, blocks + resting, COUNT - resting);
    slab_return(CLASS, &block, 1);
    slab_let_go(&other);
}

static void a_slab_becomes_that_of_who_gets_a_quarter_of_it(void **state)
{
    (void)state;
    assert_owner_after(4, OWNER + 1);
    assert_owner_after(3, OWNER + 1);
    assert_owner_after(1, OWNER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_of_every_class_lie_apart_and_are_known),
        cmocka_unit_test(the_highest_address_comes_first_in_a_fill),
        cmocka_unit_test(what_came_to_rest_is_taken_before_more_is_carved),
        cmocka_unit_test(a_slab_is_listed_as_soon_as_some_blocks_rest),
        cmocka_unit_test(what_is_about_to_be_counted_is_not_taken),
        cmocka_unit_test(
            what_rests_elsewhere_is_taken_before_the_held_slab_is_carved),
        cmocka_unit_test(a_growing_class_has_pages_made_present_again),
        cmocka_unit_test(a_slab_that_is_held_is_filled_from_by_its_holder_only),
        cmocka_unit_test(a_slab_has_one_holder),
        cmocka_unit_test(a_slab_becomes_that_of_who_gets_a_quarter_of_it),
    };

    return run_all(tests);
}
