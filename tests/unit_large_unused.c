/* SPDX-License-Identifier: MIT */
/* Kept ranges that nobody has used yet: apart from others, and in front of
 * them. */
#include "support.h"

#include <stdatomic.h>
#include <string.h>

#include "large_kept.h"
#include "os.h"
#include "page_map.h"

enum { UNIT = UNIT_BYTES };

/* A range that is mapped and not kept. */
static char *map(size_t bytes)
{
    char *base = os_map(bytes);

    require(base != NULL && page_map_reserve((uintptr_t)base, bytes));
    return base;
}

static void give(const char *base, size_t bytes)
{
    kept_give((uintptr_t)base, bytes);
}

static void give_unused(const char *base, size_t bytes)
{
    kept_give_unused((uintptr_t)base, bytes);
}

static void unused_memory_is_kept_apart(void **state)
{
    char *base = map(8 * MIB);

    (void)state;
    give(base + 4 * MIB, MIB);
    give_unused(base + 2 * MIB, 2 * MIB);
    give_unused(base + 5 * MIB, MIB);
    assert_int_equal(kept_bytes(), MIB);
    assert_int_equal(kept_unused_bytes(), 3 * MIB);
    assert_int_equal(kept_take(2 * MIB, UNIT), 0);
    assert_int_equal(kept_take_unused(3 * MIB, UNIT), 0);
    assert_ptr_equal((void *)kept_take_unused(MIB, UNIT), base + 5 * MIB);
    /* It is joined with its own kind. */
    give_unused(base + MIB, MIB);
    assert_ptr_equal((void *)kept_take_unused(2 * MIB, UNIT), base + 2 * MIB);
    assert_true(kept_take_at((uintptr_t)base + MIB, MIB));
    assert_ptr_equal((void *)kept_take(MIB, UNIT), base + 4 * MIB);
    assert_int_equal(kept_unused_bytes(), 0);
    assert_true(os_unmap(base, 8 * MIB));
}

static void the_lowest_range_is_made_longer_in_front(void **state)
{
    char *base = map(12 * MIB);

    (void)state;
    memset(base + 6 * MIB, 1, 6 * MIB);
    give(base + 6 * MIB, MIB);
    give_unused(base + 8 * MIB, 2 * MIB);
    give(base + 10 * MIB, 2 * MIB);
    size_t fresh;
    assert_int_equal(kept_extend(4 * MIB, &fresh), 0);
    give_unused(base, 6 * MIB);
    assert_int_equal(kept_extend(MIB, &fresh), 0); /* it fits as it is */
    assert_int_equal(kept_extend(7 * MIB + UNIT, &fresh), 0); /* too long */
    assert_int_equal(kept_bytes(), 3 * MIB);
    assert_int_equal(kept_unused_bytes(), 8 * MIB);
    assert_ptr_equal((void *)kept_extend(4 * MIB, &fresh), base + 3 * MIB);
    assert_int_equal(fresh, 3 * MIB);
    assert_true(is_zero(base + 3 * MIB, 3 * MIB));
    assert_int_equal(base[6 * MIB], 1);
    assert_int_equal(kept_bytes(), 2 * MIB);
    assert_int_equal(kept_unused_bytes(), 5 * MIB);
    kept_drop_all();
    assert_true(os_unmap(base + 3 * MIB, 5 * MIB));
}

static void what_lacks_in_front_is_known(void **state)
{
    char *base = map(8 * MIB);
    size_t lacking = 0;

    (void)state;
    assert_int_equal(kept_front(MIB, &lacking), 0); /* no range */
    give_unused(base + 2 * MIB, MIB);
    assert_int_equal(kept_front(4 * MIB, &lacking), 0); /* no used one */
    give(base + 6 * MIB, 2 * MIB);
    assert_ptr_equal((void *)kept_front(3 * MIB, &lacking), base + 6 * MIB);
    assert_int_equal(lacking, MIB);
    give(base + 3 * MIB, MIB);
    assert_ptr_equal((void *)kept_front(4 * MIB, &lacking), base + 2 * MIB);
    assert_int_equal(lacking, 2 * MIB);
    assert_int_equal(kept_front(2 * MIB, &lacking), 0);
    kept_drop_all();
    assert_true(os_unmap(base, 2 * MIB));
    assert_true(os_unmap(base + 4 * MIB, 2 * MIB));
}

static void unused_memory_makes_room_first(void **state)
{
    char *base = map(4 * MIB);

    (void)state;
    give(base, MIB);
    sleep_ms(100);
    give_unused(base + 2 * MIB, MIB);
    assert_int_equal(kept_drop(MIB / 2), MIB / 2);
    assert_int_equal(kept_unused_bytes(), MIB / 2);
    assert_int_equal(kept_drop(MIB), MIB);
    assert_int_equal(kept_unused_bytes(), 0);
    assert_int_equal(kept_bytes(), MIB / 2);
    assert_ptr_equal((void *)kept_take(MIB / 2, UNIT), base + MIB / 2);
    assert_true(os_unmap(base + MIB / 2, MIB + MIB / 2));
    assert_true(os_unmap(base + 3 * MIB, MIB));
}

/* It has no pages that would take time. */
static void unused_memory_goes_at_once_when_it_is_old(void **state)
{
    char *base = map(8 * MIB);
    size_t bytes = 0;

    (void)state;
    give_unused(base, 8 * MIB);
    assert_int_equal(kept_drop_step(0, false), 0);
    assert_int_equal(kept_drop_step(0, true), 0); /* not yet */
    for (int i = 0; i < 100 && bytes == 0; i++) {
        sleep_ms(20);
        assert_int_equal(kept_drop_step(0, false), 0); /* not asked for */
        bytes = kept_drop_step(0, true);
    }
    assert_int_equal(bytes, 8 * MIB);
    assert_int_equal(kept_unused_bytes(), 0);
}

/* As under mlockall(MCL_FUTURE). */
static void unused_memory_with_pages_goes_in_small_steps(void **state)
{
    char *base = map(8 * MIB);
    size_t bytes = 0;

    (void)state;
    memset(base, 1, 8 * MIB);
    give_unused(base, 8 * MIB);
    for (int i = 0; i < 100 && bytes == 0; i++) {
        sleep_ms(20);
        bytes = kept_drop_step(0, true);
    }
    assert_in_range(bytes, UNIT, 512 * KIB);
    assert_int_equal(kept_drop_all(), 8 * MIB - bytes);
}

/* --- threads --- */

enum { THREADS = 4, SHARED_UNITS = 128 };

/* Who has a unit; 0: nobody. */
static _Atomic(uintptr_t) owners[SHARED_UNITS];
static char *shared;

/* Every unit has one owner at a time. */
static void own(const char *block, size_t bytes, uintptr_t from, uintptr_t to)
{
    size_t first = (size_t)(block - shared) / UNIT;

    for (size_t i = first; i < first + bytes / UNIT; i++)
        require(atomic_exchange(&owners[i], to) == from);
}

static char *take_any(struct random *random, size_t bytes, size_t *fresh)
{
    *fresh = 0;
    uintptr_t base = random_below(random, 4) == 0 ? kept_take(bytes, UNIT)
                                                  : kept_extend(bytes, fresh);
    if (base == 0) {
        *fresh = bytes;
        base = kept_take_unused(bytes, UNIT);
    }
    return (char *)base;
}

/* Gives some of it as unused again. */
static void give_any(struct random *random, char *block, size_t bytes)
{
    size_t unused = random_below(random, bytes / UNIT) * UNIT;

    if (unused != 0) {
        require(os_purge(block, unused));
        give_unused(block, unused);
    }
    give(block + unused, bytes - unused);
}

static void *take_and_give(void *argument)
{
    enum { ROUNDS = UNDER_SANITIZER ? 2000 : 20000 };
    static _Atomic(uintptr_t) ids;
    uintptr_t id = atomic_fetch_add(&ids, 1) + 1;
    struct random random = {id};
    size_t taken = 0;

    (void)argument;
    for (size_t i = 0; i < ROUNDS; i++) {
        size_t fresh, bytes = (1 + random_below(&random, 60)) * UNIT;
        char *block = take_any(&random, bytes, &fresh);
        if (block == NULL)
            continue;
        taken++;
        own(block, bytes, 0, id);
        for (size_t at = 0; at < bytes; at += UNIT) {
            require(at >= fresh || block[at] == 0);
            block[at] = 1;
        }
        own(block, bytes, id, 0);
        give_any(&random, block, bytes);
    }
    require(taken > ROUNDS / 10);
    return NULL;
}

static void threads_never_take_used_memory_for_new(void **state)
{
    const size_t bytes = (size_t)SHARED_UNITS * UNIT;

    (void)state;
    shared = map(bytes);
    give_unused(shared, bytes);
    run_threads(THREADS, take_and_give, NULL, 0);
    assert_int_equal(kept_bytes() + kept_unused_bytes(), bytes);
    assert_int_equal(kept_drop_all(), bytes);
}

/* --- a range, or its front, that another thread cuts meanwhile --- */

enum { RACES = UNDER_SANITIZER ? 3000 : 50000, LENGTH = 16 * UNIT };

static _Atomic(unsigned) race, race_over;
static _Atomic(size_t) cut_bytes;

static void *cut_one_of_them(void *unused)
{
    (void)unused;
    for (unsigned i = 1; i <= RACES; i++) {
        await_value(&race, i);
        uintptr_t taken = i % 2 == 0 ? kept_take(UNIT, UNIT)
                                     : kept_take_unused(UNIT, UNIT);
        atomic_store(&cut_bytes, taken != 0 ? UNIT : 0);
        atomic_store(&race_over, i);
    }
    return NULL;
}

static void *extend_the_range(void *base)
{
    struct random random = {1};

    for (unsigned i = 1; i <= RACES; i++) {
        size_t fresh, bytes = LENGTH + 4 * UNIT;
        give_unused(base, LENGTH);
        give((char *)base + LENGTH, LENGTH);
        unsigned delay = (unsigned)random_below(&random, 100);
        atomic_store(&race, i);
        while (delay-- > 0)
            (void)atomic_load(&race);
        if (kept_extend(bytes, &fresh) == 0)
            bytes = 0;
        await_value(&race_over, i);
        require(kept_bytes() + kept_unused_bytes() + bytes + cut_bytes ==
                2 * LENGTH);
        for (size_t at = 0; at < 2 * LENGTH; at += UNIT)
            kept_take_at((uintptr_t)base + at, UNIT);
        require(kept_bytes() + kept_unused_bytes() == 0);
    }
    return NULL;
}

static void *extend_or_cut(void *base)
{
    static _Atomic(unsigned) started;

    return atomic_fetch_add(&started, 1) == 0 ? cut_one_of_them(NULL)
                                              : extend_the_range(base);
}

static void a_race_for_a_range_and_its_front_loses_nothing(void **state)
{
    char *base = map((size_t)2 * LENGTH);

    (void)state;
    run_threads(2, extend_or_cut, base, 0);
    assert_true(os_unmap(base, (size_t)2 * LENGTH));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unused_memory_is_kept_apart),
        cmocka_unit_test(the_lowest_range_is_made_longer_in_front),
        cmocka_unit_test(what_lacks_in_front_is_known),
        cmocka_unit_test(unused_memory_makes_room_first),
        cmocka_unit_test(unused_memory_goes_at_once_when_it_is_old),
        cmocka_unit_test(unused_memory_with_pages_goes_in_small_steps),
        cmocka_unit_test(threads_never_take_used_memory_for_new),
        cmocka_unit_test(a_race_for_a_range_and_its_front_loses_nothing),
    };

    return run_all(tests);
}
