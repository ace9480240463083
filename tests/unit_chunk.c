/* SPDX-License-Identifier: MIT */
/* Address space for slabs: granted once, apart, and known to the page map. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "chunk.h"
#include "os.h"
#include "page_map.h"

enum { GRANTS = 300, THREADS = 4 };

struct granted {
    uintptr_t base;
    uintptr_t end;
};

static struct granted grants[THREADS][GRANTS];

static void *take_grants(void *argument)
{
    struct granted *own = argument;
    struct random random = {(uintptr_t)argument};

    for (size_t i = 0; i < GRANTS; i++) {
        unsigned units = 1 + (unsigned)random_below(&random, 8);
        struct grant grant = chunk_grant(units);
        require(grant.base != 0);
        require(grant.base % UNIT_BYTES == 0);
        own[i].base = grant.base;
        own[i].end = grant.base + (uintptr_t)units * UNIT_BYTES;
        memset((void *)grant.base, 1, (size_t)units * UNIT_BYTES);
        /* Its leaves exist: an entry can be made. */
        page_map_set(grant.base, units, page_map_slab_entry(1, 1), NULL);
    }
    return NULL;
}

static int compare_grants(const void *left, const void *right)
{
    const struct granted *a = left, *b = right;

    return (a->base > b->base) - (a->base < b->base);
}

static void grants_to_many_threads_lie_apart(void **state)
{
    struct granted *all = &grants[0][0];
    size_t granted = 0;
    size_t before = os_mapped_bytes();

    (void)state;
    run_threads(THREADS, take_grants, grants, sizeof grants[0]);
    qsort(all, THREADS * GRANTS, sizeof *all, compare_grants);
    for (size_t i = 1; i < THREADS * GRANTS; i++)
        assert_true(all[i - 1].end <= all[i].base);
    for (size_t i = 0; i < THREADS * GRANTS; i++)
        granted += all[i].end - all[i].base;
    /* Little is mapped that is not granted. */
    assert_in_range(os_mapped_bytes() - before, granted, granted * 5 / 4);
}

static void address_space_grows_in_modest_steps(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        size_t before = os_mapped_bytes();
        require(chunk_grant(1).base != 0);
        assert_in_range(os_mapped_bytes() - before, 0, 8 * MIB);
    }
}

static void reserved_space_is_granted_first_and_is_present(void **state)
{
    enum { UNITS = 64 };
    size_t bytes = UNITS * (size_t)UNIT_BYTES;

    (void)state;
    assert_true(chunk_reserve(bytes));
    uint64_t calls = os_kernel_calls();
    uint64_t faults = minor_faults();
    for (size_t i = 0; i < UNITS; i++) {
        struct grant grant = chunk_grant(1);
        require(grant.base != 0 && grant.reserved);
        memset((void *)grant.base, 1, UNIT_BYTES);
    }
    faults = minor_faults() - faults;
    assert_int_equal(os_kernel_calls(), calls);
    if (!UNDER_SANITIZER)
        assert_int_equal(faults, 0);
    assert_false(chunk_grant(1).reserved);
}

static void near_the_cap_the_last_units_are_granted_too(void **state)
{
    size_t units = 0;

    (void)state;
    os_set_limit(os_mapped_bytes() + MIB);
    while (chunk_grant(1).base != 0)
        units++;
    assert_true(units >= MIB / UNIT_BYTES);
    assert_true(chunk_grant(1).base == 0);
    assert_false(chunk_reserve(MIB));
    os_set_limit(0);
    assert_true(chunk_grant(1).base != 0);
}

static void nothing_can_be_reserved_that_cannot_be_mapped(void **state)
{
    (void)state;
    assert_false(chunk_reserve((size_t)1 << 60));
    assert_false(chunk_reserve(SIZE_MAX / 2));
    assert_true(chunk_reserve(0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grants_to_many_threads_lie_apart),
        cmocka_unit_test(address_space_grows_in_modest_steps),
        cmocka_unit_test(reserved_space_is_granted_first_and_is_present),
        cmocka_unit_test(near_the_cap_the_last_units_are_granted_too),
        cmocka_unit_test(nothing_can_be_reserved_that_cannot_be_mapped),
    };

    return run_all(tests);
}
