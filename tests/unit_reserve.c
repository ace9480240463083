/* SPDX-License-Identifier: MIT */
/*
 * What a reservation is made of, and what is left when it fails.
 *
 * White box: kernel calls are replaced in os_calls.  Every test runs in a
 * child, so that it starts from nothing.
 */
#include "support.h"

#include <errno.h>
#include <sys/mman.h>

#include "options.h"
#include "os.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { BLOCKS = 20000 };

static void *blocks[BLOCKS];

/* Writes and frees `count` blocks, without a fault or kernel call. */
static void use_without_a_call(size_t count, size_t size)
{
    uint64_t calls = os_kernel_calls();
    uint64_t faults = minor_faults();
    for (size_t i = 0; i < count; i++) {
        blocks[i] = partyalloc_allocate(size, ANY_TYPE);
        require(blocks[i] != NULL);
        *(volatile char *)blocks[i] = 1;
    }
    for (size_t i = 0; i < count; i++)
        partyalloc_free(blocks[i], ANY_TYPE);
    faults = minor_faults() - faults;
    require(os_kernel_calls() == calls);
    if (!UNDER_SANITIZER)
        require(faults == 0);
}

/* Gives the thread a cache, and this file's memory its pages. */
static void begin(void)
{
    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i] = &blocks[i];
    partyalloc_free(partyalloc_allocate(1, ANY_TYPE), ANY_TYPE);
}

/* Faults in the pages of the code and, in a child, those copied on write. */
static void warm_up(void)
{
    for (size_t i = 0; i < 2000; i++)
        blocks[i] = partyalloc_allocate(i % 20 == 0 ? 7000 : 700, ANY_TYPE);
    for (size_t i = 0; i < 2000; i++)
        partyalloc_free(blocks[i], ANY_TYPE);
    (void)os_kernel_calls();
    (void)minor_faults();
}

/* --- a system that cannot make pages present --- */

static int madvise_of_old(void *address, size_t length, int advice)
{
    if (advice == MADV_POPULATE_WRITE) {
        errno = EINVAL;
        return -1;
    }
    return madvise(address, length, advice);
}

static void reserve_on_an_old_system(void *unused)
{
    (void)unused;
    os_calls.madvise = madvise_of_old;
    begin();
    require(partyalloc_reserve(32 * MIB) == 0);
    warm_up();
    use_without_a_call(BLOCKS, 500);
    use_without_a_call(5000, 3000);
    use_without_a_call(BLOCKS, 16); /* the cache holds a slab of these */
}

static void pages_are_touched_where_they_cannot_be_made_present(void **state)
{
    (void)state;
    assert_child_succeeds(reserve_on_an_old_system, NULL);
}

/* --- a reservation that fails --- */

static void give_back_after_a_failure(void *unused)
{
    (void)unused;
    begin();
    os_set_limit(os_mapped_bytes() + 8 * MIB);
    require(partyalloc_reserve(64 * MIB) == ENOMEM);
    require(!option_quiet());
    os_set_limit(0);
    require(partyalloc_reserve(MIB) == 0);
    require(option_quiet());
}

static void frees_give_back_as_before_when_it_fails(void **state)
{
    (void)state;
    assert_child_succeeds(give_back_after_a_failure, NULL);
}

static size_t reserve_what_can_be_had(size_t most)
{
    while (partyalloc_reserve(most) != 0)
        most /= 2;
    return most;
}

static void try_less_and_less(void *unused)
{
    (void)unused;
    begin();
    os_set_limit(100 * MIB);
    /* 96 MiB would leave no room for the page map and metadata. */
    require(reserve_what_can_be_had(768 * MIB) == 48 * MIB);
    size_t mapped = os_mapped_bytes();
    for (int i = 0; i < 100; i++)
        require(partyalloc_reserve(90 * MIB) == ENOMEM);
    require(os_mapped_bytes() == mapped);
    require(partyalloc_reserve(32 * MIB) == 0);
}

static void a_reservation_that_fails_costs_nothing(void **state)
{
    (void)state;
    assert_child_succeeds(try_less_and_less, NULL);
}

static void reserve_by_the_slab(void *unused)
{
    enum { CALLS = 100, SLAB = 64 << 10 };

    (void)unused;
    begin();
    size_t mapped = os_mapped_bytes();
    for (int i = 0; i < CALLS; i++)
        require(partyalloc_reserve(SLAB) == 0);
    require(os_mapped_bytes() - mapped <= CALLS * SLAB + 3 * MIB);
    warm_up();
    use_without_a_call(5000, 500);
}

static void small_reservations_add_up(void **state)
{
    (void)state;
    assert_child_succeeds(reserve_by_the_slab, NULL);
}

/* --- what is free --- */

enum { PAGES = 400, PAGE = 4096 };

/* Each block is one page. */
static size_t pages_that_are_there(void)
{
    size_t count = 0;

    for (size_t i = 0; i < PAGES; i++)
        count += os_is_present(blocks[i], PAGE);
    return count;
}

static void reserve_beside_what_was_given_back(void *unused)
{
    enum { KEPT_EVERY = 16 };

    (void)unused;
    begin();
    for (size_t i = 0; i < PAGES; i++) {
        blocks[i] = partyalloc_allocate(PAGE, ANY_TYPE);
        require(blocks[i] != NULL);
        *(volatile char *)blocks[i] = 1;
    }
    for (size_t i = 0; i < PAGES; i++)
        if (i % KEPT_EVERY != 0)
            partyalloc_free(blocks[i], ANY_TYPE);
    partyalloc_trim();
    require(pages_that_are_there() == PAGES / KEPT_EVERY);
    require(partyalloc_reserve(MIB) == 0);
    require(pages_that_are_there() == PAGES / KEPT_EVERY);
}

/* The reserve serves instead of them. */
static void pages_given_back_do_not_come_with_a_reservation(void **state)
{
    (void)state;
    assert_child_succeeds(reserve_beside_what_was_given_back, NULL);
}

/* --- beside other threads --- */

enum { THREADS = 4, CALLS = 20, HELD = 100, ROUNDS = 5000 };

static void *reserve_or_allocate(void *argument)
{
    struct filled held[HELD] = {{NULL, 0, 0}};
    struct random random = {(uintptr_t)argument};

    for (size_t i = 0; i < CALLS; i++) {
        require(partyalloc_reserve(random_size(&random, 1, MIB)) == 0);
        for (size_t step = 0; step < ROUNDS / CALLS; step++) {
            struct filled *filled = &held[random_below(&random, HELD)];
            filled_free(filled);
            *filled = filled_allocate(random_size(&random, 1, 64 * KIB), step);
        }
        if (i % 4 == 0)
            partyalloc_trim();
    }
    for (size_t i = 0; i < HELD; i++)
        filled_free(&held[i]);
    return NULL;
}

static void reserve_beside_each_other(void *unused)
{
    static char arguments[THREADS];

    (void)unused;
    run_threads(THREADS, reserve_or_allocate, arguments, 1);
    require(stats_now().small_live_blocks == 0);
}

static void threads_reserve_beside_each_other(void **state)
{
    (void)state;
    assert_child_succeeds(reserve_beside_each_other, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_touched_where_they_cannot_be_made_present),
        cmocka_unit_test(frees_give_back_as_before_when_it_fails),
        cmocka_unit_test(a_reservation_that_fails_costs_nothing),
        cmocka_unit_test(small_reservations_add_up),
        cmocka_unit_test(pages_given_back_do_not_come_with_a_reservation),
        cmocka_unit_test(threads_reserve_beside_each_other),
    };

    return run_all(tests);
}
