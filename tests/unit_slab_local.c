/* SPDX-License-Identifier: MIT */
/* Slabs that are held: blocks go to and fro between them and their holder, one
 * by one. */
#include "support.h"

#include <stdatomic.h>
#include <string.h>

#include "page_map.h"
#include "size_class.h"
#include "slabs.h"

enum { SINGLE_CLASS = 36, SINGLES = 600 };
static void *singles[SINGLES];

static void *take_local(struct slab_source *source)
{
    void *block = NULL;

    return slab_take_local(source, &block, 1) == 1 ? block : NULL;
}

static void take_singles(struct slab_source *source, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        singles[i] = slab_take_one(source, SINGLE_CLASS);
        require(singles[i] != NULL);
    }
}

static void let_go_of_all(struct slab_source *source)
{
    while (source->held != NULL)
        slab_let_go(source);
}

/* Takes what earlier tests have left at rest. */
static void take_all_that_rests(void)
{
    struct slab_source source = {.owner = OWNER};
    uint64_t carved = slab_totals().carved_blocks;

    while (slab_totals().carved_blocks == carved)
        require(slab_take_one(&source, SINGLE_CLASS) != NULL);
    let_go_of_all(&source);
}

static void a_single_block_that_rests_elsewhere_comes_before_a_new_one(
    void **state)
{
    struct slab_source source = {.owner = OWNER}, other = {.owner = OWNER + 1};

    (void)state;
    take_all_that_rests();
    take_singles(&source, 1);
    void *theirs = slab_take_one(&other, SINGLE_CLASS);
    slab_return(SINGLE_CLASS, &theirs, 1);
    let_go_of_all(&other);
    assert_ptr_equal(slab_take_one(&source, SINGLE_CLASS), theirs);
    slab_return(SINGLE_CLASS, &theirs, 1);
    slab_return(SINGLE_CLASS, singles, 1);
    let_go_of_all(&source);
}

static void a_single_block_goes_to_and_fro(void **state)
{
    struct slab_source source = {.owner = OWNER};

    (void)state;
    take_all_that_rests();
    take_singles(&source, 5);
    require_disjoint(singles, 5);
    struct slab_totals before = slab_totals();
    assert_true(slab_give_local(&source, SINGLE_CLASS, singles[3]));
    assert_false(slab_is_live(SINGLE_CLASS, singles[3]));
    assert_int_equal(slab_totals().resting_blocks, before.resting_blocks + 1);
    assert_ptr_equal(take_local(&source), singles[3]);
    assert_true(slab_is_live(SINGLE_CLASS, singles[3]));
    assert_int_equal(slab_totals().resting_blocks, before.resting_blocks);
    assert_null(take_local(&source));
    slab_return(SINGLE_CLASS, singles, 5);
    let_go_of_all(&source);
}

static void what_others_bring_to_rest_is_the_holders_to_take(void **state)
{
    struct slab_source source = {.owner = OWNER};

    (void)state;
    take_all_that_rests();
    take_singles(&source, 5);
    assert_true(slab_give_local(&source, SINGLE_CLASS, singles[0]));
    slab_return(SINGLE_CLASS, singles + 1, 3);
    uint64_t carved = slab_totals().carved_blocks;
    for (size_t i = 0; i < 4; i++)
        singles[i] = take_local(&source);
    assert_null(take_local(&source));
    require_disjoint(singles, 5);
    assert_int_equal(slab_totals().carved_blocks, carved);
    slab_return(SINGLE_CLASS, singles, 5);
    let_go_of_all(&source);
}

static void what_is_about_to_be_counted_is_not_the_holders_yet(void **state)
{
    struct slab_source source = {.owner = OWNER};

    (void)state;
    take_all_that_rests();
    take_singles(&source, 3);
    assert_ptr_equal(page_map_descriptor(singles[0]),
                     page_map_descriptor(singles[1]));
    struct slab *slab = bring_to_rest(SINGLE_CLASS, singles[0]);
    assert_null(take_local(&source));
    slab_return(SINGLE_CLASS, singles + 1, 1);
    singles[0] = take_local(&source);
    assert_non_null(singles[0]);
    assert_null(take_local(&source));
    assert_int_equal(atomic_load(&slab->resting), 0);
    count_at_rest(slab);
    singles[1] = take_local(&source);
    assert_non_null(singles[1]);
    require_disjoint(singles, 3);
    slab_return(SINGLE_CLASS, singles, 3);
    let_go_of_all(&source);
}

/* Counts blocks that do not rest. */
static void count_at_rest_without(struct slab *slab, uint32_t count)
{
    slab_add_dirty((int64_t)count * size_classes[slab->class].size);
    atomic_fetch_add(&slab->resting, count);
}

/* As if a fork had stopped the holder when it had set the bit of a block that
 * still counts with those of others. */
static void the_child_of_a_fork_counts_no_block_twice(void **state)
{
    struct slab_source source = {.owner = OWNER};

    (void)state;
    take_all_that_rests();
    take_singles(&source, 2);
    struct slab *slab = page_map_descriptor(singles[0]);
    assert_true(slab_give_local(&source, SINGLE_CLASS, singles[0]));
    count_at_rest_without(slab, 1);
    slab_count_anew(&source);
    assert_int_equal(atomic_load(&slab->resting), 1);
    assert_int_equal(atomic_load(&slab->local_free), 0);
    assert_ptr_equal(take_local(&source), singles[0]);
    assert_null(take_local(&source));
    slab_return(SINGLE_CLASS, singles, 2);
    let_go_of_all(&source);
}

/* As if a fork had stopped the holder between the states and the count. */
static void the_child_of_a_fork_counts_by_the_states(void **state)
{
    enum { CLASS = 13, COUNT = 30, GONE = 7 };
    struct slab_source source = {.owner = OWNER};
    void *blocks[COUNT];

    (void)state;
    retire_all();
    fill_all(&source, CLASS, blocks, COUNT);
    struct slab *slab = page_map_descriptor(blocks[0]);
    slab_return(CLASS, blocks, COUNT - GONE);
    size_t dirty = slab_dirty_bytes();
    count_at_rest_without(slab, GONE);
    slab_count_anew(&source);
    assert_int_equal(atomic_load(&slab->resting), COUNT - GONE);
    assert_int_equal(slab_dirty_bytes(), dirty);
    slab_let_go(&source);
    assert_int_equal(slab_retire(SIZE_MAX), 0);
    slab_return(CLASS, blocks + COUNT - GONE, GONE);
    assert_int_equal(slab_retire(SIZE_MAX), slab_bytes(slab));
}

/* What one source has left, another one takes, and carves nothing. */
static void assert_taken_by_another(size_t count)
{
    struct slab_source other = {.owner = OWNER + 1};
    uint64_t carved = slab_totals().carved_blocks;

    take_singles(&other, count);
    require_disjoint(singles, count);
    assert_int_equal(slab_totals().carved_blocks, carved);
    slab_return(SINGLE_CLASS, singles, count);
    let_go_of_all(&other);
}

static void what_rests_with_its_holder_is_left_to_others(void **state)
{
    struct slab_source source = {.owner = OWNER};
    uint32_t half = size_classes[SINGLE_CLASS].capacity / 2;

    (void)state;
    take_all_that_rests();
    take_singles(&source, half * 2);
    for (size_t i = 0; i < half; i++)
        require(slab_give_local(&source, SINGLE_CLASS, singles[i]));
    void *rest[SINGLES];
    memcpy(rest, singles + half, half * sizeof(void *));
    let_go_of_all(&source);
    assert_taken_by_another(half);
    slab_return(SINGLE_CLASS, rest, half);
}

static void of_free_slabs_the_holder_keeps_one(void **state)
{
    struct slab_source source = {.owner = OWNER};
    uint32_t capacity = size_classes[SINGLE_CLASS].capacity;

    (void)state;
    take_all_that_rests();
    take_singles(&source, 4 * capacity);
    for (size_t i = 0; i < 4 * capacity; i++)
        require(slab_give_local(&source, SINGLE_CLASS, singles[i]));
    size_t kept = 0;
    for (struct slab *slab = source.held; slab != NULL; slab = slab->next_held)
        kept += slab->local_free == slab->local_all;
    assert_int_equal(kept, 1);
    /* The first and the last one may be free in part. */
    assert_taken_by_another(2 * capacity);
    let_go_of_all(&source);
}

static void a_source_does_not_hold_ever_more_slabs(void **state)
{
    enum { HELD_AT_MOST = 8 };
    struct slab_source source = {.owner = OWNER};
    size_t held = 0;

    (void)state;
    take_singles(&source, SINGLES);
    require(SINGLES > size_classes[SINGLE_CLASS].capacity * HELD_AT_MOST);
    for (struct slab *slab = source.held; slab != NULL; slab = slab->next_held)
        held++;
    assert_int_equal(held, HELD_AT_MOST);
    assert_false(slab_give_local(&source, SINGLE_CLASS, singles[0]));
    slab_return(SINGLE_CLASS, singles, SINGLES);
    let_go_of_all(&source);
}

/* Takes blocks of a class, writes the first `bytes` of each; returns for how
 * many the last page was present before. */
static size_t take_and_write(struct slab_source *source, unsigned class,
                             size_t count, size_t bytes)
{
    size_t size = size_classes[class].size;
    size_t there = 0;

    for (size_t i = 0; i < count; i++) {
        char *block = slab_take_one(source, class);
        require(block != NULL);
        there += os_is_present(block + size - PAGE_BYTES, PAGE_BYTES);
        memset(block, 1, bytes);
    }
    return there;
}

/* A title need not write all of a block that has more than a page. */
static void pages_come_at_once_only_where_blocks_are_written_all_over(
    void **state)
{
    enum { COUNT = 1024, WIDE = 31 };
    struct slab_source some = {.owner = OWNER}, all = {.owner = OWNER + 1};
    void *probe = os_map(UNIT_BYTES);

    (void)state;
    bool they_come = os_populate(probe, PAGE_BYTES);
    require(os_unmap(probe, UNIT_BYTES));
    if (!they_come)
        return; /* before Linux 5.14 */
    require(size_classes[WIDE].size == 2 * PAGE_BYTES);
    assert_int_equal(take_and_write(&some, WIDE, COUNT, 1), 0);
    let_go_of_all(&some);
    size_t there = take_and_write(&all, WIDE, COUNT, 2 * PAGE_BYTES);
    /* It ends when blocks are not written any more. */
    size_t later = take_and_write(&all, WIDE, COUNT, 1);
    let_go_of_all(&all);
    assert_in_range(there, COUNT * 3 / 4, COUNT - COUNT / 16);
    assert_in_range(later, 0, COUNT / 8);
}

/* Nothing lies behind the last block of a slab. */
static void what_lies_behind_the_last_block_has_no_page(void **state)
{
    enum { COUNT = 1024, TAILED = 28 };
    struct slab_source source = {.owner = OWNER};
    size_t bytes =
        (size_t)size_classes[TAILED].capacity * size_classes[TAILED].size;

    (void)state;
    require(UNIT_BYTES - bytes >= PAGE_BYTES);
    take_and_write(&source, TAILED, COUNT, size_classes[TAILED].size);
    for (struct slab *slab = source.held; slab != NULL; slab = slab->next_held)
        assert_false(os_is_present((void *)(slab->base + bytes), PAGE_BYTES));
    let_go_of_all(&source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_single_block_that_rests_elsewhere_comes_before_a_new_one),
        cmocka_unit_test(a_single_block_goes_to_and_fro),
        cmocka_unit_test(what_others_bring_to_rest_is_the_holders_to_take),
        cmocka_unit_test(what_is_about_to_be_counted_is_not_the_holders_yet),
        cmocka_unit_test(the_child_of_a_fork_counts_no_block_twice),
        cmocka_unit_test(the_child_of_a_fork_counts_by_the_states),
        cmocka_unit_test(what_rests_with_its_holder_is_left_to_others),
        cmocka_unit_test(of_free_slabs_the_holder_keeps_one),
        cmocka_unit_test(a_source_does_not_hold_ever_more_slabs),
        cmocka_unit_test(
            pages_come_at_once_only_where_blocks_are_written_all_over),
        cmocka_unit_test(what_lies_behind_the_last_block_has_no_page),
    };

    return run_all(tests);
}
