/* SPDX-License-Identifier: MIT */
/* The depot: magazines and single blocks go in and come out whole, and any
 * excess comes to rest in the slabs. */
#include "support.h"

#include <string.h>

#include "depot.h"
#include "os.h"
#include "size_class.h"
#include "slab.h"

enum { OWNER = 3, CLASS = 3, LARGE_CLASS = CLASS_COUNT - 2, FEW = 20 };

static struct slab_source source = {.owner = OWNER};
static struct slab_source later_source = {.owner = OWNER};

/* The first of a bundle; the others go back. */
static struct magazine *take_empty(void)
{
    struct magazine *magazine = depot_take_empties();

    require(magazine != NULL);
    if (magazine->next != NULL) {
        magazine->next->count = magazine->count - 1;
        depot_give_empties(magazine->next);
    }
    magazine->count = 0;
    return magazine;
}

static void give_empty(struct magazine *magazine)
{
    magazine->next = NULL;
    magazine->count = 1;
    depot_give_empties(magazine);
}

static struct magazine *full_magazine(struct slab_source *from, unsigned class,
                                      size_t count)
{
    struct magazine *magazine = take_empty();

    while (magazine->count < count)
        magazine->count +=
            slab_fill(from, class, magazine->slots + magazine->count,
                      count - magazine->count);
    return magazine;
}

static void rest_magazine(unsigned class, struct magazine *magazine)
{
    slab_return(class, magazine->slots, magazine->count);
    magazine->count = 0;
    give_empty(magazine);
}

static void new_empties_come_by_the_page(void **state)
{
    struct magazine *bundle = depot_take_empties();
    size_t count = 0;

    (void)state;
    require(bundle != NULL);
    assert_int_equal((uintptr_t)bundle % PAGE_BYTES, 0);
    for (const struct magazine *at = bundle; at != NULL; at = at->next) {
        assert_int_equal((uintptr_t)at / PAGE_BYTES,
                         (uintptr_t)bundle / PAGE_BYTES);
        count++;
    }
    assert_int_equal(count, PAGE_BYTES / MAGAZINE_BYTES);
    assert_int_equal(bundle->count, count);
    depot_give_empties(bundle);
}

static void a_magazine_comes_out_as_it_went_in(void **state)
{
    struct magazine *magazine = full_magazine(&source, CLASS, FEW);
    void *blocks[FEW];

    (void)state;
    memcpy(blocks, magazine->slots, sizeof blocks);
    assert_null(depot_take(CLASS, OWNER));
    assert_true(depot_give(CLASS, magazine));
    assert_int_equal(depot_totals().blocks, FEW);
    assert_int_equal(depot_totals().bytes, FEW * size_classes[CLASS].size);
    /* Meanwhile its blocks are not live. */
    assert_false(slab_is_live(CLASS, blocks[0]));
    assert_null(depot_take(CLASS + 1, OWNER));
    struct magazine *again = depot_take(CLASS, OWNER);
    assert_ptr_equal(again, magazine);
    assert_int_equal(again->count, FEW);
    assert_memory_equal(again->slots, blocks, sizeof blocks);
    assert_true(slab_is_live(CLASS, blocks[0]));
    assert_int_equal(depot_totals().blocks, 0);
    assert_null(depot_take(CLASS, OWNER));
    rest_magazine(CLASS, again);
}

static void the_last_magazine_given_is_the_first_taken(void **state)
{
    struct magazine *one = full_magazine(&source, CLASS, 1);
    struct magazine *two = full_magazine(&source, CLASS, 2);

    (void)state;
    assert_true(depot_give(CLASS, one));
    assert_true(depot_give(CLASS, two));
    assert_ptr_equal(depot_take(CLASS, OWNER), two);
    assert_ptr_equal(depot_take(CLASS, OWNER), one);
    rest_magazine(CLASS, one);
    rest_magazine(CLASS, two);
}

static void a_few_magazines_are_left_to_their_owner(void **state)
{
    enum { MAGAZINES = 5, LEFT = 2, OTHER = OWNER + 1 };
    struct magazine *magazine;
    size_t taken = 0;

    (void)state;
    for (size_t i = 0; i < MAGAZINES; i++)
        require(depot_give(CLASS, full_magazine(&source, CLASS, FEW)));
    while ((magazine = depot_take(CLASS, OTHER)) != NULL) {
        rest_magazine(CLASS, magazine);
        taken++;
    }
    assert_int_equal(taken, MAGAZINES - LEFT);
    assert_null(depot_take_own(CLASS, OTHER));
    /* But not when there is nothing else. */
    magazine = depot_take_any(CLASS);
    assert_non_null(magazine);
    rest_magazine(CLASS, magazine);
    magazine = depot_take(CLASS, OWNER);
    assert_non_null(magazine);
    rest_magazine(CLASS, magazine);
    assert_null(depot_take_any(CLASS));
}

static void what_is_too_much_comes_to_rest(void **state)
{
    enum { MANY = 1000 };
    uint64_t before = slab_totals().resting_blocks;
    size_t kept = 0;

    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        struct magazine *magazine = full_magazine(&source, CLASS, FEW);
        if (depot_give(CLASS, magazine)) {
            kept++;
        } else {
            assert_int_equal(magazine->count, 0);
            give_empty(magazine);
        }
    }
    assert_in_range(kept, 1, 100);
    assert_int_equal(depot_totals().blocks, kept * FEW);
    depot_drain_all();
    assert_int_equal(depot_totals().blocks, 0);
    assert_null(depot_take(CLASS, OWNER));
    assert_true(slab_totals().resting_blocks >= before);
    assert_int_equal(slab_totals().carved_blocks,
                     slab_totals().resting_blocks);
}

static void drain_idle(void)
{
    depot_begin_idle();
    while (depot_drain_idle_step())
        ;
}

static void what_lies_idle_is_drained_bit_by_bit(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        require(depot_give(CLASS, full_magazine(&source, CLASS, FEW)));
    uint64_t last = depot_totals().blocks;
    for (int i = 0; i < 20 && last != 0; i++) {
        drain_idle();
        assert_true(depot_totals().blocks <= last);
        assert_true(last - depot_totals().blocks <= FEW);
        last = depot_totals().blocks;
    }
    assert_int_equal(last, 0);
}

static void a_round_goes_on_where_it_stopped(void **state)
{
    enum { LATER = CLASS + 2 };

    (void)state;
    drain_idle();
    require(depot_give(CLASS, full_magazine(&source, CLASS, FEW)));
    require(depot_give(LATER, full_magazine(&later_source, LATER, FEW)));
    depot_begin_idle();
    for (unsigned class = 0; class <= CLASS; class++)
        assert_true(depot_drain_idle_step());
    assert_int_equal(depot_totals().blocks, FEW);
    /* A period that begins meanwhile does not begin a round. */
    depot_begin_idle();
    for (unsigned class = CLASS + 1; class <= LATER; class++)
        assert_true(depot_drain_idle_step());
    assert_int_equal(depot_totals().blocks, 0);
    while (depot_drain_idle_step())
        ;
    assert_false(depot_drain_idle_step());
    slab_let_go(&later_source);
}

static void single_blocks_that_lie_idle_are_drained(void **state)
{
    void *block;

    (void)state;
    require(slab_fill(&source, CLASS, &block, 1) == 1);
    depot_give_one(CLASS, block);
    drain_idle();
    assert_int_equal(depot_totals().blocks, 1);
    drain_idle();
    assert_int_equal(depot_totals().blocks, 0);
}

/* One of the two has changed since the last look. */
static void single_blocks_that_change_are_not_drained(void **state)
{
    void *singles[3], *taken;

    (void)state;
    require(slab_fill(&source, CLASS, singles, 3) == 3);
    depot_give_one(CLASS, singles[0]);
    depot_give_one(CLASS, singles[1]);
    drain_idle();
    for (int i = 0; i < 2; i++) {
        taken = depot_take_one(CLASS);
        assert_ptr_equal(taken, singles[i]);
    }
    depot_give_one(CLASS, singles[0]);
    depot_give_one(CLASS, singles[2]);
    drain_idle();
    assert_int_equal(depot_totals().blocks, 2);
    drain_idle();
    assert_int_equal(depot_totals().blocks, 0);
    slab_return(CLASS, &taken, 1);
}

enum { PERIOD_MS = 60, BUDGET_NS = 1000 * 1000 * 1000 };

/* A magazine of each of the first classes, and a single block. */
static void give_some_of_each(unsigned classes)
{
    void *block;

    drain_idle();
    for (unsigned class = 0; class < classes; class++) {
        struct slab_source own = {.owner = OWNER};
        require(depot_give(class, full_magazine(&own, class, FEW)));
        require(slab_fill(&own, class, &block, 1) == 1);
        depot_give_one(class, block);
        slab_let_go(&own);
    }
}

static void upkeep_drains_what_lies_idle(void **state)
{
    (void)state;
    give_some_of_each(3);
    for (int i = 0; i < 20 && depot_totals().blocks != 0; i++) {
        sleep_ms(PERIOD_MS);
        partyalloc_maintain(BUDGET_NS);
    }
    assert_int_equal(depot_totals().blocks, 0);
}

static void upkeep_drains_no_more_than_it_has_time_for(void **state)
{
    enum { CLASSES = 10, NO_TIME_NS = 2 };

    (void)state;
    give_some_of_each(CLASSES);
    uint64_t before = depot_totals().blocks;
    sleep_ms(PERIOD_MS);
    partyalloc_maintain(0);
    assert_int_equal(depot_totals().blocks, before);
    partyalloc_maintain(NO_TIME_NS);
    assert_in_range(depot_totals().blocks, before - FEW - 1, before);
    /* Later in the same period, the rest. */
    partyalloc_maintain(BUDGET_NS);
    assert_in_range(depot_totals().blocks, 0, CLASSES);
    depot_drain_all();
}

static void what_is_in_use_is_not_drained(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        require(depot_give(CLASS, full_magazine(&source, CLASS, FEW)));
    for (int i = 0; i < 20; i++) {
        struct magazine *magazine = depot_take(CLASS, OWNER);
        assert_non_null(magazine);
        require(depot_give(CLASS, magazine));
        drain_idle();
        assert_int_equal(depot_totals().blocks, 2 * FEW);
    }
    depot_drain_all();
}

static void single_blocks_go_in_and_out(void **state)
{
    enum { COUNT = 100 };
    static void *blocks[COUNT], *taken[COUNT];
    struct slab_source own = {.owner = OWNER};
    size_t count = 0;

    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        require(slab_fill(&own, LARGE_CLASS, &blocks[i], 1) == 1);
    assert_null(depot_take_one(LARGE_CLASS));
    for (size_t i = 0; i < COUNT; i++)
        depot_give_one(LARGE_CLASS, blocks[i]);
    while ((taken[count] = depot_take_one(LARGE_CLASS)) != NULL)
        count++;
    /* Some, of few bytes in all; the others rest. */
    assert_in_range(count, 1, MIB / size_classes[LARGE_CLASS].size);
    require_disjoint(taken, count);
    slab_return(LARGE_CLASS, taken, count);
    slab_let_go(&own);
    assert_int_equal(slab_totals().carved_blocks,
                     slab_totals().resting_blocks);
}

static void require_an_empty_depot(void *unused)
{
    (void)unused;
    require(depot_totals().blocks == 0);
}

/* As if a fork had stopped a thread between a pop and its count. */
static void the_child_of_a_fork_counts_what_is_there(void **state)
{
    struct magazine *magazine = full_magazine(&source, CLASS, FEW);

    (void)state;
    require(depot_give(CLASS, magazine));
    magazine->count--;
    assert_ptr_equal(depot_take(CLASS, OWNER), magazine);
    assert_int_equal(depot_totals().blocks, 1);
    assert_child_succeeds(require_an_empty_depot, NULL);
    depot_settle();
    assert_int_equal(depot_totals().blocks, 0);
    slab_mark_out_one(CLASS, magazine->slots[magazine->count++]);
    rest_magazine(CLASS, magazine);
}

static void empty_magazines_are_made_ahead(void **state)
{
    struct magazine *magazines[64];

    (void)state;
    depot_reserve(64 * sizeof(struct magazine));
    for (size_t i = 0; i < ARRAY_LENGTH(magazines); i++) {
        magazines[i] = take_empty();
        assert_int_equal((uintptr_t)magazines[i] % MAGAZINE_BYTES, 0);
        assert_null(magazines[i]->bottom);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(magazines); i++)
        give_empty(magazines[i]);
}

/* --- many threads --- */

enum { THREADS = 4, ROUNDS = UNDER_SANITIZER ? 2000 : 20000 };

/* A block in two magazines would be found corrupted. */
static void check_magazine(unsigned class, struct magazine *magazine,
                           uint64_t seed)
{
    size_t size = size_classes[class].size;

    for (size_t i = 0; i < magazine->count; i++)
        fill(magazine->slots[i], size, seed + i);
    for (size_t i = 0; i < magazine->count; i++)
        require(holds(magazine->slots[i], size, seed + i));
}

static void *exchange_magazines(void *argument)
{
    struct slab_source own = {.owner = (uint32_t)(uintptr_t)argument};
    struct random random = {(uintptr_t)argument};

    for (size_t i = 0; i < ROUNDS; i++) {
        struct magazine *magazine = depot_take(CLASS, OWNER);
        if (magazine == NULL)
            magazine = full_magazine(&own, CLASS,
                                     1 + random_below(&random, FEW));
        check_magazine(CLASS, magazine, i);
        if (random_below(&random, 4) == 0)
            rest_magazine(CLASS, magazine);
        else if (!depot_give(CLASS, magazine))
            give_empty(magazine);
        if (random_below(&random, 100) == 0)
            drain_idle();
        if (random_below(&random, 1000) == 0)
            depot_drain_all();
    }
    slab_let_go(&own);
    return NULL;
}

static void *exchange_single_blocks(void *argument)
{
    struct slab_source own = {.owner = (uint32_t)(uintptr_t)argument};

    for (size_t i = 0; i < ROUNDS; i++) {
        void *block = depot_take_one(LARGE_CLASS);
        if (block == NULL)
            require(slab_fill(&own, LARGE_CLASS, &block, 1) == 1);
        fill(block, 256, (uintptr_t)argument + i);
        require(holds(block, 256, (uintptr_t)argument + i));
        depot_give_one(LARGE_CLASS, block);
    }
    slab_let_go(&own);
    return NULL;
}

static void check_nothing_is_lost(void)
{
    depot_drain_all();
    assert_int_equal(depot_totals().blocks, 0);
    assert_int_equal(slab_totals().carved_blocks,
                     slab_totals().resting_blocks);
}

static void threads_exchange_magazines_and_none_is_lost(void **state)
{
    (void)state;
    run_threads(THREADS, exchange_magazines, (void *)16, 1);
    check_nothing_is_lost();
}

static void threads_exchange_single_blocks_and_none_is_lost(void **state)
{
    (void)state;
    run_threads(THREADS, exchange_single_blocks, (void *)16, 1);
    check_nothing_is_lost();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_empties_come_by_the_page),
        cmocka_unit_test(a_magazine_comes_out_as_it_went_in),
        cmocka_unit_test(the_last_magazine_given_is_the_first_taken),
        cmocka_unit_test(a_few_magazines_are_left_to_their_owner),
        cmocka_unit_test(what_is_too_much_comes_to_rest),
        cmocka_unit_test(what_lies_idle_is_drained_bit_by_bit),
        cmocka_unit_test(a_round_goes_on_where_it_stopped),
        cmocka_unit_test(single_blocks_that_lie_idle_are_drained),
        cmocka_unit_test(single_blocks_that_change_are_not_drained),
        cmocka_unit_test(upkeep_drains_what_lies_idle),
        cmocka_unit_test(upkeep_drains_no_more_than_it_has_time_for),
        cmocka_unit_test(what_is_in_use_is_not_drained),
        cmocka_unit_test(single_blocks_go_in_and_out),
        cmocka_unit_test(the_child_of_a_fork_counts_what_is_there),
        cmocka_unit_test(empty_magazines_are_made_ahead),
        cmocka_unit_test(threads_exchange_magazines_and_none_is_lost),
        cmocka_unit_test(threads_exchange_single_blocks_and_none_is_lost),
    };

    return run_all(tests);
}
