/* SPDX-License-Identifier: MIT */
/* Large blocks and what is kept of them, by two threads in every order. */
#include "support.h"

#include <stdatomic.h>
#include <string.h>

#include "interleaving.h"
#include "large.h"
#include "large_kept.h"
#include "large_overflow.h"
#include "large_places.h"
#include "os.h"
#include "page_map.h"

enum { UNIT = UNIT_BYTES, UNITS = 6 };

/* --- kept ranges --- */

static char *base; /* of UNITS */
static uintptr_t taken[2];
static size_t taken_bytes[2];
static _Atomic(size_t) given; /* bytes, each once */

static range unit_range(size_t unit)
{
    return range_make(((uintptr_t)base >> UNIT_SHIFT) + unit, 1, 0);
}

static void use(uintptr_t begin, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += UNIT)
        use_block((void *)(begin + at));
}

static void give(size_t unit, size_t count)
{
    use((uintptr_t)base + unit * UNIT, count * UNIT);
    kept_give((uintptr_t)base + unit * UNIT, count * UNIT);
    /* Relaxed: the count is not to order anything else. */
    atomic_fetch_add_explicit(&given, count * UNIT, memory_order_relaxed);
}

static void take(size_t part, size_t count)
{
    taken[part] = kept_take(count * UNIT, UNIT);
    taken_bytes[part] = taken[part] != 0 ? count * UNIT : 0;
    use(taken[part], taken_bytes[part]);
}

static void map_units(void)
{
    base = page_map_obtain(UNITS * UNIT, UNIT);
    require(base != NULL);
}

static void have_the_second(void)
{
    map_units();
    give(1, 1);
}

static void have_three(void)
{
    map_units();
    give(0, 3);
}

static void have_all_but_the_first(void)
{
    map_units();
    give(1, 3);
}

/* As two threads leave neighbours that put them at once. */
static void have_neighbours_apart(void)
{
    map_units();
    for (unsigned i = 0; i < 3; i++)
        atomic_store(&large_places.kept[i], unit_range(2 - i));
    atomic_store(&large_places.end, 3);
    atomic_store(&large_places.apart, true);
    given = 3 * UNIT;
}

static void have_two_apart(void)
{
    map_units();
    give(0, 2);
    give(3, 2);
}

static void have_unused_in_front(void)
{
    map_units();
    kept_give_unused((uintptr_t)base, 2 * UNIT);
    given = 2 * UNIT;
    give(2, 1);
}

static void give_first(void)
{
    give(0, 1);
}

static void give_second(void)
{
    give(1, 1);
}

static void give_third(void)
{
    give(2, 1);
}

static void give_fourth(void)
{
    give(3, 1);
}

static void take_one_0(void)
{
    take(0, 1);
}

static void take_one_1(void)
{
    take(1, 1);
}

static void take_two_0(void)
{
    take(0, 2);
}

static void take_two_1(void)
{
    take(1, 2);
}

/* If the second is not there yet, or apart, what lies apart is joined. */
static void give_first_and_take_two_0(void)
{
    give_first();
    take_two_0();
}

static void take_and_give_back_1(void)
{
    uintptr_t here = kept_take(2 * UNIT, UNIT);

    if (here == 0)
        return;
    use(here, 2 * UNIT);
    kept_give(here, 2 * UNIT);
}

static void extend_0(void)
{
    size_t fresh;

    taken[0] = kept_extend(2 * UNIT, &fresh);
    taken_bytes[0] = taken[0] != 0 ? 2 * UNIT : 0;
    require(taken[0] == 0 || fresh == UNIT);
    use(taken[0], taken_bytes[0]);
}

static void take_unused_1(void)
{
    taken[1] = kept_take_unused(UNIT, UNIT);
    taken_bytes[1] = taken[1] != 0 ? UNIT : 0;
    use(taken[1], taken_bytes[1]);
}

static size_t dropped;

static void drop_all(void)
{
    dropped = kept_drop_all();
}

static void drop_two(void)
{
    dropped = kept_drop(2 * UNIT);
}

/* Every byte is in one place. */
static void nothing_is_lost(void)
{
    size_t kept = kept_bytes() + kept_unused_bytes();

    require(kept + taken_bytes[0] + taken_bytes[1] + dropped == given);
    for (size_t i = 0; i < 2; i++)
        memset((void *)taken[i], 1, taken_bytes[i]);
    for (size_t i = 0; i < 2; i++)
        if (taken_bytes[i] != 0)
            kept_give(taken[i], taken_bytes[i]);
    require(kept_drop_all() + dropped == given);
    require(kept_bytes() + kept_unused_bytes() == 0);
}

/* What was joined can be had in one. */
static void they_are_one(void)
{
    size_t bytes = given - taken_bytes[1];

    require(kept_bytes() == bytes);
    uintptr_t all = kept_take(bytes, UNIT);
    require(all != 0);
    kept_give(all, bytes);
    nothing_is_lost();
}

static void they_are_one_or_taken(void)
{
    if (taken[0] == 0)
        they_are_one();
    else
        nothing_is_lost();
}

static void neighbours_that_are_given_at_once_are_joined(void **state)
{
    struct interleaving two = {map_units, {give_first, give_second},
                               they_are_one};
    struct interleaving wanted = {map_units,
                                  {give_first_and_take_two_0, give_second},
                                  they_are_one_or_taken};
    struct interleaving around = {have_the_second, {give_first, give_third},
                                  they_are_one};

    (void)state;
    assert_interleavings(&two);
    assert_interleavings(&wanted);
    assert_interleavings(&around);
}

static void ranges_are_given_at_once(void **state)
{
    struct interleaving scenario = {map_units, {give_first, give_third},
                                    nothing_is_lost};

    (void)state;
    assert_interleavings(&scenario);
}

static void neighbours_are_joined_late_while_they_are_taken(void **state)
{
    struct interleaving two = {have_neighbours_apart, {take_two_0, take_two_1},
                               nothing_is_lost};
    struct interleaving one = {have_neighbours_apart, {take_two_0, take_one_1},
                               nothing_is_lost};
    struct interleaving fourth = {have_neighbours_apart,
                                  {take_two_0, give_fourth}, nothing_is_lost};

    (void)state;
    assert_interleavings(&two);
    assert_interleavings(&one);
    assert_interleavings(&fourth);
}

static void two_take_from_one_range(void **state)
{
    struct interleaving scenario = {have_three, {take_two_0, take_two_1},
                                    nothing_is_lost};

    (void)state;
    assert_interleavings(&scenario);
}

static void a_range_is_joined_while_it_is_taken(void **state)
{
    struct interleaving lower = {have_the_second, {give_first, take_two_1},
                                 nothing_is_lost};
    struct interleaving upper = {have_the_second, {give_third, take_two_1},
                                 nothing_is_lost};

    (void)state;
    assert_interleavings(&lower);
    assert_interleavings(&upper);
}

/* Blocks are cut from the upper end, so what is left has still a neighbour. */
static void a_range_is_joined_while_a_part_of_it_is_taken(void **state)
{
    struct interleaving scenario = {have_all_but_the_first,
                                    {give_first, take_one_1}, they_are_one};

    (void)state;
    assert_interleavings(&scenario);
}

static void a_gap_is_closed_while_its_sides_change(void **state)
{
    struct interleaving scenario = {have_two_apart,
                                    {give_third, take_and_give_back_1},
                                    nothing_is_lost};

    (void)state;
    assert_interleavings(&scenario);
}

static void ranges_are_dropped_while_they_are_taken(void **state)
{
    struct interleaving all = {have_two_apart, {take_one_0, drop_all},
                               nothing_is_lost};
    struct interleaving some = {have_two_apart, {take_one_0, drop_two},
                                nothing_is_lost};

    (void)state;
    assert_interleavings(&all);
    assert_interleavings(&some);
}

static void a_range_grows_downwards_while_its_front_is_taken(void **state)
{
    struct interleaving front = {have_unused_in_front,
                                 {extend_0, take_unused_1}, nothing_is_lost};
    struct interleaving itself = {have_unused_in_front,
                                  {extend_0, take_one_1}, nothing_is_lost};

    (void)state;
    assert_interleavings(&front);
    assert_interleavings(&itself);
}

/* --- those without a place --- */

static range waiting[2];

static void push_three(void)
{
    map_units();
    for (size_t i = 0; i < 3; i++)
        overflow_push(OVERFLOW_WAITING, unit_range(i));
}

static range pop_and_use(void)
{
    range popped = overflow_pop(OVERFLOW_WAITING);

    if (popped != 0)
        use(base_of(popped) << UNIT_SHIFT, UNIT);
    return popped;
}

static void pop_0(void)
{
    waiting[0] = pop_and_use();
}

static void pop_two_and_push_the_first(void)
{
    range first = pop_and_use();

    waiting[1] = pop_and_use();
    if (first != 0)
        overflow_push(OVERFLOW_WAITING, first);
}

static void each_waits_once(void)
{
    unsigned seen = 0;
    range next;

    for (size_t i = 0; i < 2; i++)
        if (waiting[i] != 0)
            overflow_push(OVERFLOW_REFUSED, waiting[i]);
    require(overflow_bytes() == 3 * UNIT);
    while ((next = overflow_pop(OVERFLOW_WAITING)) != 0 ||
           (next = overflow_pop(OVERFLOW_REFUSED)) != 0) {
        unsigned bit = 1u << (base_of(next) - ((uintptr_t)base >> UNIT_SHIFT));
        require((seen & bit) == 0 && units_of(next) == 1);
        seen |= bit;
    }
    require(seen == 7 && overflow_bytes() == 0);
}

static void a_range_that_was_away_is_no_longer_the_same(void **state)
{
    struct interleaving scenario = {push_three,
                                    {pop_0, pop_two_and_push_the_first},
                                    each_waits_once};

    (void)state;
    assert_interleavings(&scenario);
}

/* --- blocks --- */

static char *large[2];

static void allocate_two(void)
{
    for (size_t i = 0; i < 2; i++) {
        large[i] = large_allocate(2 * UNIT, 1, false);
        require(large[i] != NULL);
        memset(large[i], 1, 2 * UNIT);
    }
}

static void free_and_allocate(size_t part)
{
    large_free(large[part]);
    large[part] = large_allocate(3 * UNIT, 1, false);
    require(large[part] != NULL);
    memset(large[part], 2, 3 * UNIT);
}

static void free_and_allocate_0(void)
{
    free_and_allocate(0);
}

static void free_and_allocate_1(void)
{
    free_and_allocate(1);
}

static void free_first_block(void)
{
    large_free(large[0]);
}

static void free_0(void)
{
    large_free(large[0]);
    large[0] = NULL;
}

static void resize_1(void)
{
    char *block = large_resize(large[1], 4 * UNIT);

    require(block != NULL);
    large[1] = block;
    memset(block, 3, 4 * UNIT);
    require(large_resize(block, UNIT) == block);
}

static void blocks_can_be_freed(void)
{
    for (size_t i = 0; i < 2; i++)
        if (large[i] != NULL)
            large_free(large[i]);
    struct large_totals totals = large_totals();
    require(totals.live_blocks == 0 && totals.live_bytes == 0);
    require(totals.cached_bytes != 0);
    size_t mapped = os_mapped_bytes();
    size_t kept = large_kept_bytes();
    large_drop_all();
    require(os_mapped_bytes() == mapped - kept && large_kept_bytes() == 0);
}

static void neither_was_stopped(void)
{
}

static void two_free_and_allocate_blocks(void **state)
{
    struct interleaving scenario = {allocate_two,
                                    {free_and_allocate_0, free_and_allocate_1},
                                    blocks_can_be_freed};

    (void)state;
    assert_interleavings(&scenario);
}

static void a_block_grows_while_its_neighbour_is_freed(void **state)
{
    struct interleaving scenario = {allocate_two, {free_0, resize_1},
                                    blocks_can_be_freed};

    (void)state;
    assert_interleavings(&scenario);
}

static void of_two_who_free_one_block_one_is_stopped(void **state)
{
    struct interleaving scenario = {allocate_two,
                                    {free_first_block, free_first_block},
                                    neither_was_stopped};

    (void)state;
    assert_interleavings_stop(&scenario, "double free");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_that_are_given_at_once_are_joined),
        cmocka_unit_test(ranges_are_given_at_once),
        cmocka_unit_test(neighbours_are_joined_late_while_they_are_taken),
        cmocka_unit_test(two_take_from_one_range),
        cmocka_unit_test(a_range_is_joined_while_it_is_taken),
        cmocka_unit_test(a_range_is_joined_while_a_part_of_it_is_taken),
        cmocka_unit_test(a_gap_is_closed_while_its_sides_change),
        cmocka_unit_test(ranges_are_dropped_while_they_are_taken),
        cmocka_unit_test(a_range_grows_downwards_while_its_front_is_taken),
        cmocka_unit_test(a_range_that_was_away_is_no_longer_the_same),
        cmocka_unit_test(two_free_and_allocate_blocks),
        cmocka_unit_test(a_block_grows_while_its_neighbour_is_freed),
        cmocka_unit_test(of_two_who_free_one_block_one_is_stopped),
    };

    return run_all(tests);
}
