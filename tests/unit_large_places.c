/* SPDX-License-Identifier: MIT */
/* The places of kept ranges: separated neighbours, as left by threads that put
 * them at once. */
#include "support.h"

#include <stdatomic.h>

#include "large_places.h"

enum { UNITS = 250, FIRST = 1 << 20 };

/* Shuffled units, each in a place of its own, except those left out. */
static void lay_units(size_t left_out_every)
{
    enum { STRIDE = 73 };

    for (unsigned i = 0; i < UNITS; i++) {
        uint64_t unit = i * STRIDE % UNITS;
        bool is_there = left_out_every == 0 || unit % left_out_every != 0;
        atomic_store(&large_places.kept[i],
                     is_there ? range_make(FIRST + unit, 1, 0) : 0);
    }
    atomic_store(&large_places.end, UNITS);
    atomic_store(&large_places.apart, true);
}

/* The number of ranges, and in *units their total length. */
static size_t count_ranges(uint64_t *units)
{
    size_t count = 0;

    *units = 0;
    for (unsigned i = 0; i < places_end(); i++) {
        count += place_look(i) != 0;
        *units += units_of(place_look(i));
    }
    return count;
}

static void neighbours_that_lie_apart_become_one(void **state)
{
    uint64_t units;
    range lost;

    (void)state;
    lay_units(0);
    assert_true(places_rejoin(&lost));
    assert_int_equal(lost, 0);
    assert_int_equal(count_ranges(&units), 1);
    assert_int_equal(units, UNITS);
    /* Until there may be more, nobody looks. */
    assert_false(places_rejoin(&lost));
}

static void what_are_no_neighbours_stay_apart(void **state)
{
    enum { LEFT_OUT_EVERY = 5 };
    uint64_t units;
    range lost;

    (void)state;
    lay_units(LEFT_OUT_EVERY);
    assert_true(places_rejoin(&lost));
    assert_int_equal(lost, 0);
    assert_int_equal(count_ranges(&units), UNITS / LEFT_OUT_EVERY);
    assert_int_equal(units, UNITS - UNITS / LEFT_OUT_EVERY);
    for (unsigned i = 0; i < places_end(); i++)
        if (place_look(i) != 0)
            assert_int_equal(units_of(place_look(i)), LEFT_OUT_EVERY - 1);
    lay_units(1);
    assert_false(places_rejoin(&lost));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_that_lie_apart_become_one),
        cmocka_unit_test(what_are_no_neighbours_stay_apart),
    };

    return run_all(tests);
}
