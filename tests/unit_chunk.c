/* SPDX-License-Identifier: MIT */
/* Address space for slabs: granted once, apart, and known to the page map. */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "chunk.h"
#include "mapped.h"
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
    /* Little more is mapped than granted. */
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

static void what_is_left_of_a_chunk_goes_back(void **state)
{
    enum { UNITS = 7, COUNT = 200 };
    size_t before = os_mapped_bytes();

    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        require(chunk_grant(UNITS).base != 0);
    size_t granted = (size_t)COUNT * UNITS * UNIT_BYTES;
    assert_in_range(os_mapped_bytes() - before, granted - CHUNK_BYTES,
                    granted + CHUNK_BYTES);
    size_t mapped = os_mapped_bytes();
    size_t rest = chunk_drop();
    assert_int_equal(os_mapped_bytes(), mapped - rest);
    assert_int_equal(chunk_drop(), 0);
    assert_true(chunk_grant(1).base != 0);
    assert_int_equal(chunk_drop(), CHUNK_BYTES - UNIT_BYTES);
}

/* For a whole chunk that would take a millisecond. */
static void where_pages_come_at_once_just_what_is_granted_is_mapped(void **state)
{
    (void)state;
    chunk_drop();
    os_calls.mmap = mmap_filled;
    assert_true(os_unmap(os_map(UNIT_BYTES), UNIT_BYTES));
    size_t mapped = mapped_bytes();
    assert_true(chunk_grant(1).base != 0);
    assert_true(chunk_grant(2).base != 0);
    assert_int_equal(mapped_bytes() - mapped, 3 * UNIT_BYTES);
    os_calls.mmap = mmap;
    /* The next mapping tells that they no longer do. */
    assert_true(chunk_grant(1).base != 0);
    mapped = mapped_bytes();
    assert_true(chunk_grant(1).base != 0);
    assert_int_equal(mapped_bytes() - mapped, CHUNK_BYTES);
}

static int refuse_munmap(void *address, size_t length)
{
    (void)address, (void)length;
    errno = ENOMEM;
    return -1;
}

static void a_chunk_that_the_system_does_not_unmap_stays(void **state)
{
    (void)state;
    chunk_drop();
    require(chunk_grant(1).base != 0);
    os_calls.munmap = refuse_munmap;
    assert_int_equal(chunk_drop(), 0);
    os_calls.munmap = munmap;
    size_t mapped = os_mapped_bytes();
    assert_int_equal(chunk_left_bytes(), CHUNK_BYTES - UNIT_BYTES);
    for (size_t i = 1; i < CHUNK_BYTES / UNIT_BYTES; i++)
        require(chunk_grant(1).base != 0);
    assert_int_equal(os_mapped_bytes(), mapped);
    assert_int_equal(chunk_left_bytes(), 0);
}

static void reserved_space_is_granted_first_and_is_present(void **state)
{
    enum { UNITS = 64 };
    size_t bytes = UNITS * (size_t)UNIT_BYTES;

    (void)state;
    assert_true(chunk_reserve(bytes, 0));
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

/* --- reservations in pieces, mapped where the test wants them --- */

enum { PIECES = 64 };

static char *place;        /* of the next mapping */
static ptrdiff_t distance; /* to the one after it */

static void *mmap_in_place(void *hint, size_t length, int protection,
                           int flags, int fd, off_t offset)
{
    if (length != UNIT_BYTES)
        return mmap(hint, length, protection, flags, fd, offset);
    char *address = place;
    place += distance;
    return mmap(address, length, protection, flags | MAP_FIXED, fd, offset);
}

static void reserve_pieces(unsigned pieces, ptrdiff_t units_apart)
{
    size_t room = 4 * PIECES * (size_t)UNIT_BYTES;
    place = os_map(room);
    require(place != NULL);
    require(page_map_reserve((uintptr_t)place, room));
    place += room / 2;
    distance = units_apart * UNIT_BYTES;
    os_calls.mmap = mmap_in_place;
    for (unsigned i = 0; i < pieces; i++)
        require(chunk_reserve(UNIT_BYTES, 0));
    os_calls.mmap = mmap;
}

static void reserved_pieces_side_by_side_become_one(void **state)
{
    (void)state;
    reserve_pieces(8, 1);
    assert_true(chunk_grant(8).reserved);
    reserve_pieces(8, -1);
    assert_true(chunk_grant(8).reserved);
    assert_false(chunk_grant(1).reserved);
}

static void as_many_reserved_pieces_as_there_are_add_up(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        reserve_pieces(PIECES, 2);
        assert_false(chunk_grant(2).reserved);
        for (unsigned i = 0; i < PIECES; i++)
            assert_true(chunk_grant(1).reserved);
        assert_false(chunk_grant(1).reserved);
    }
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
    assert_false(chunk_reserve(MIB, 0));
    os_set_limit(0);
    assert_true(chunk_grant(1).base != 0);
}

static void without_its_metadata_nothing_is_reserved(void **state)
{
    size_t before = os_mapped_bytes();

    (void)state;
    os_set_limit(before + 4 * MIB);
    assert_false(chunk_reserve(3 * MIB, 3 * MIB));
    assert_int_equal(os_mapped_bytes(), before);
    assert_true(chunk_reserve(3 * MIB, 512 * KIB));
    assert_true(chunk_grant(3 * MIB / UNIT_BYTES).reserved);
    os_set_limit(0);
}

static void nothing_can_be_reserved_that_cannot_be_mapped(void **state)
{
    (void)state;
    assert_false(chunk_reserve((size_t)1 << 60, 0));
    assert_false(chunk_reserve(SIZE_MAX / 2, 0));
    assert_true(chunk_reserve(0, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grants_to_many_threads_lie_apart),
        cmocka_unit_test(address_space_grows_in_modest_steps),
        cmocka_unit_test(what_is_left_of_a_chunk_goes_back),
        cmocka_unit_test(where_pages_come_at_once_just_what_is_granted_is_mapped),
        cmocka_unit_test(a_chunk_that_the_system_does_not_unmap_stays),
        cmocka_unit_test(reserved_space_is_granted_first_and_is_present),
        cmocka_unit_test(reserved_pieces_side_by_side_become_one),
        cmocka_unit_test(as_many_reserved_pieces_as_there_are_add_up),
        cmocka_unit_test(near_the_cap_the_last_units_are_granted_too),
        cmocka_unit_test(without_its_metadata_nothing_is_reserved),
        cmocka_unit_test(nothing_can_be_reserved_that_cannot_be_mapped),
    };

    return run_all(tests);
}
