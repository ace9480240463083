/* SPDX-License-Identifier: MIT */
/* Kept ranges without a place: stacks through the page map. */
#include "support.h"

#include <stdatomic.h>

#include "large_overflow.h"
#include "os.h"
#include "page_map.h"

enum { UNIT = UNIT_BYTES };

/* A range that is mapped. */
static range map(uint64_t units)
{
    char *base = os_map(units * UNIT);

    require(base != NULL && page_map_reserve((uintptr_t)base, units * UNIT));
    return range_make((uintptr_t)base >> UNIT_SHIFT, units, 0);
}

static void unmap(range from)
{
    assert_true(os_unmap(start_of(from), bytes_of(from)));
}

static void the_last_one_comes_first(void **state)
{
    range all = map(10);
    uint64_t base = base_of(all);
    range parts[] = {part(all, base, base + 1), part(all, base + 1, base + 7),
                     part(all, base + 7, base + 10)};

    (void)state;
    assert_int_equal(overflow_pop(OVERFLOW_WAITING), 0);
    for (size_t i = 0; i < 3; i++)
        overflow_push(OVERFLOW_WAITING, parts[i]);
    assert_int_equal(overflow_bytes(), 10 * UNIT);
    assert_int_equal(overflow_pop(OVERFLOW_WAITING), parts[2]);
    assert_int_equal(overflow_pop(OVERFLOW_WAITING), parts[1]);
    assert_int_equal(overflow_bytes(), UNIT);
    overflow_push(OVERFLOW_WAITING, parts[2]);
    assert_int_equal(overflow_pop(OVERFLOW_WAITING), parts[2]);
    assert_int_equal(overflow_pop(OVERFLOW_WAITING), parts[0]);
    assert_int_equal(overflow_pop(OVERFLOW_WAITING), 0);
    assert_int_equal(overflow_bytes(), 0);
    unmap(all);
}

static void two_stacks_are_apart(void **state)
{
    range all = map(5);
    uint64_t base = base_of(all);

    (void)state;
    overflow_push(OVERFLOW_WAITING, part(all, base, base + 2));
    overflow_push(OVERFLOW_REFUSED, part(all, base + 2, base + 5));
    assert_int_equal(overflow_bytes(), 5 * UNIT);
    assert_int_equal(base_of(overflow_pop(OVERFLOW_WAITING)), base);
    assert_int_equal(overflow_pop(OVERFLOW_WAITING), 0);
    assert_int_equal(base_of(overflow_pop(OVERFLOW_REFUSED)), base + 2);
    assert_int_equal(overflow_pop(OVERFLOW_REFUSED), 0);
    unmap(all);
}

static void the_longest_range_keeps_its_length(void **state)
{
    range any = map(1);
    range longest = range_make(base_of(any), RANGE_LENGTH_MAX, RANGE_UNUSED);

    (void)state;
    overflow_push(OVERFLOW_WAITING, longest);
    assert_int_equal(overflow_bytes(), RANGE_LENGTH_MAX << UNIT_SHIFT);
    assert_int_equal(overflow_pop(OVERFLOW_WAITING), longest & ~RANGE_UNUSED);
    unmap(any);
}

/* Its word has the lowest bit clear, like a descriptor and unlike a block's. */
static void a_stray_pointer_finds_no_block(void **state)
{
    range all = map(2);
    void *start = start_of(all);

    (void)state;
    page_map_set((uintptr_t)start, 1, ENTRY_LARGE_GONE, NULL);
    for (uint64_t age = 0; age <= RANGE_SINCE_MASK; age++) {
        overflow_push(OVERFLOW_WAITING, range_make(base_of(all), 2, age));
        require(((uintptr_t)page_map_descriptor(start) & 1) == 0);
        require(page_map_entry(start) == ENTRY_LARGE_GONE);
        require(overflow_pop(OVERFLOW_WAITING) == range_make(base_of(all), 2, 0));
    }
    unmap(all);
}

/* --- threads --- */

enum { THREADS = 4, COUNT = 8 };

static _Atomic(unsigned) owners[COUNT];
static range shared;

/* A plain word, too: written before the next owner reads it. */
static void own(range one, unsigned from, unsigned to)
{
    unsigned *owner_seen = start_of(one);
    size_t index = base_of(one) - base_of(shared);

    require(index < COUNT && units_of(one) == 1);
    require(atomic_exchange_explicit(&owners[index], to, memory_order_relaxed)
            == from);
    ++*owner_seen;
}

static void *pop_and_push(void *unused)
{
    enum { ROUNDS = UNDER_SANITIZER ? 30000 : 1000000 };
    static _Atomic(unsigned) ids;
    unsigned id = atomic_fetch_add(&ids, 1) + 1;

    (void)unused;
    for (size_t i = 0; i < ROUNDS; i++) {
        range first = overflow_pop(OVERFLOW_WAITING), second = overflow_pop(OVERFLOW_WAITING);
        if (first != 0)
            own(first, 0, id);
        if (second != 0)
            own(second, 0, id);
        if (first != 0) {
            own(first, id, 0);
            overflow_push(OVERFLOW_WAITING, first);
        }
        if (second != 0) {
            own(second, id, 0);
            overflow_push(OVERFLOW_WAITING, second);
        }
    }
    return NULL;
}

static void threads_that_pop_and_push_lose_nothing(void **state)
{
    (void)state;
    shared = map(COUNT);
    uint64_t base = base_of(shared);
    for (uint64_t i = 0; i < COUNT; i++)
        overflow_push(OVERFLOW_WAITING, part(shared, base + i, base + i + 1));
    run_threads(THREADS, pop_and_push, NULL, 0);
    assert_int_equal(overflow_bytes(), COUNT * UNIT);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_not_equal(overflow_pop(OVERFLOW_WAITING), 0);
    assert_int_equal(overflow_pop(OVERFLOW_WAITING), 0);
    unmap(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_one_comes_first),
        cmocka_unit_test(two_stacks_are_apart),
        cmocka_unit_test(the_longest_range_keeps_its_length),
        cmocka_unit_test(a_stray_pointer_finds_no_block),
        cmocka_unit_test(threads_that_pop_and_push_lose_nothing),
    };

    return run_all(tests);
}
