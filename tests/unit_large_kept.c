/* SPDX-License-Identifier: MIT */
/* Kept ranges: cut, joined, and dropped. */
#include "support.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "large_kept.h"
#include "large_overflow.h"
#include "large_range.h"
#include "os.h"
#include "page_map.h"

enum { UNIT = UNIT_BYTES, PLACES = 256 };

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

static char *take(size_t bytes)
{
    return (char *)kept_take(bytes, UNIT);
}

static void a_range_is_cut_and_joined_again(void **state)
{
    enum { PARTS = 16 };
    const size_t order[PARTS] = {3, 9, 4, 0, 15, 7, 8, 1, 12, 2, 14, 13, 5, 6,
                                 11, 10};
    void *parts[PARTS];
    char *base = map(PARTS * MIB);
    uint64_t calls = os_kernel_calls();

    (void)state;
    give(base, PARTS * MIB);
    for (size_t i = 0; i < PARTS; i++) {
        parts[i] = take(MIB);
        assert_in_range((uintptr_t)parts[i], (uintptr_t)base,
                        (uintptr_t)base + (PARTS - 1) * MIB);
    }
    assert_int_equal(kept_bytes(), 0);
    assert_null(take(UNIT));
    for (size_t i = 0; i < PARTS; i++)
        give(base + order[i] * MIB, MIB);
    assert_int_equal(kept_bytes(), PARTS * MIB);
    assert_ptr_equal(take(PARTS * MIB), base);
    assert_int_equal(os_kernel_calls(), calls);
    assert_true(os_unmap(base, PARTS * MIB));
}

static void the_shortest_range_that_fits_is_taken(void **state)
{
    const size_t mib[] = {7, 4, 9, 5, 4, 8};
    char *base = map(64 * MIB);

    (void)state;
    char *at = base;
    for (size_t i = 0; i < ARRAY_LENGTH(mib); i++) {
        give(at, mib[i] * MIB);
        at += (mib[i] + 1) * MIB; /* what lies between is in use */
    }
    /* The higher one of 4, whole; the end of the other; the end of 5. */
    assert_ptr_equal(take(4 * MIB), base + 29 * MIB);
    assert_ptr_equal(take(3 * MIB), base + 9 * MIB);
    assert_ptr_equal(take(4 * MIB + UNIT), base + 24 * MIB - UNIT);
    kept_drop_all();
}

static void an_aligned_part_is_cut_out_of_the_middle(void **state)
{
    char *base = os_map_aligned(4 * MIB, 4 * MIB);

    (void)state;
    require(base != NULL && page_map_reserve((uintptr_t)base, 4 * MIB));
    give(base + UNIT, 3 * MIB);
    assert_int_equal(kept_take(2 * MIB, 4 * MIB), 0);
    assert_ptr_equal(kept_take(MIB / 2, 2 * MIB), base + 2 * MIB);
    assert_int_equal(kept_bytes(), 3 * MIB - MIB / 2);
    assert_ptr_equal(take(MIB / 2 + UNIT), base + 2 * MIB + MIB / 2);
    assert_ptr_equal(take(2 * MIB - UNIT), base + UNIT);
    assert_int_equal(kept_bytes(), 0);
    assert_true(os_unmap(base, 4 * MIB));
}

static void what_lies_at_an_address_can_be_taken(void **state)
{
    char *base = map(4 * MIB);

    (void)state;
    give(base + MIB, 2 * MIB);
    assert_false(kept_take_at((uintptr_t)base, MIB));
    assert_false(kept_take_at((uintptr_t)base + 2 * MIB, MIB));
    assert_false(kept_take_at((uintptr_t)base + MIB, 2 * MIB + UNIT));
    assert_true(kept_take_at((uintptr_t)base + MIB, MIB));
    assert_true(kept_take_at((uintptr_t)base + 2 * MIB, MIB));
    assert_int_equal(kept_bytes(), 0);
    assert_true(os_unmap(base, 4 * MIB));
}

/* --- more ranges than there are places --- */

enum { APART_UNITS = 8, APART = APART_UNITS * UNIT, OVER = 40,
       APART_COUNT = PLACES + OVER };

/* Keeps every other of so many ranges, so that nothing can be joined. */
static char *give_apart(size_t count)
{
    char *base = map(2 * count * APART);

    for (size_t i = 0; i < count; i++)
        give(base + 2 * i * APART, APART);
    return base;
}

static void unmap_between(const char *base, size_t count)
{
    for (size_t i = 0; i < count; i++)
        require(os_unmap((char *)base + (2 * i + 1) * APART, APART));
}

static void what_has_no_place_goes_in_small_steps(void **state)
{
    char *base = give_apart(APART_COUNT);
    size_t bytes = 0, kept = (size_t)APART_COUNT * APART;

    (void)state;
    assert_int_equal(kept_bytes(), kept);
    assert_int_equal(kept_drop_step(kept, false), 0);
    assert_int_equal(kept_drop_step(kept - 1, false), 256 * KIB);
    bytes = 256 * KIB;
    for (size_t step = 1; step != 0; bytes += step) {
        step = kept_drop_step(SIZE_MAX, true);
        assert_in_range(step, 0, 256 * KIB);
    }
    assert_int_equal(bytes, (size_t)OVER * APART);
    assert_int_equal(kept_bytes(), (size_t)PLACES * APART);
    /* What can be joined needs no place. */
    give(base + APART, APART);
    assert_int_equal(kept_drop_step(SIZE_MAX, true), 0);
    assert_int_equal(kept_drop_all(), (size_t)(PLACES + 1) * APART);
    unmap_between(base + 2 * APART, APART_COUNT - 1);
}

static void no_free_calls_the_system_when_there_is_no_place(void **state)
{
    uint64_t calls = os_kernel_calls();
    char *base = give_apart(APART_COUNT);

    (void)state;
    assert_in_range(os_kernel_calls() - calls, 0, 4); /* to map it */
    assert_int_equal(kept_drop_all(), (size_t)APART_COUNT * APART);
    unmap_between(base, APART_COUNT);
}

static void what_waits_comes_when_there_is_a_place(void **state)
{
    static bool seen[APART_COUNT];
    char *base = give_apart(APART_COUNT);
    uint64_t calls = os_kernel_calls();

    (void)state;
    for (size_t i = 0; i < APART_COUNT; i++) {
        size_t offset = (size_t)(take(APART) - base);
        assert_int_equal(offset % (2 * APART), 0);
        assert_in_range(offset / (2 * APART), 0, APART_COUNT - 1);
        assert_false(seen[offset / (2 * APART)]);
        seen[offset / (2 * APART)] = true;
    }
    assert_int_equal(kept_bytes(), 0);
    assert_int_equal(os_kernel_calls(), calls);
    assert_true(os_unmap(base, (size_t)2 * APART_COUNT * APART));
}

/* One of two neighbours waits; a place becomes empty, and they are one. */
static void what_waits_is_joined_when_there_is_a_place(void **state)
{
    enum { LENGTH = 5 * APART };
    char *base = give_apart(PLACES - 1);
    char *apart = map(LENGTH + UNIT);

    (void)state;
    give(apart, UNIT);                  /* in the last place */
    give(apart + 4 * APART, APART);     /* makes it wait */
    give(apart + UNIT, 4 * APART - UNIT);
    assert_null(take(LENGTH));
    give(base + APART, APART);          /* makes one of three */
    assert_ptr_equal(take(LENGTH), apart);
    assert_true(os_unmap(apart, LENGTH + UNIT));
    kept_drop_all();
    unmap_between(base + 2 * APART, PLACES - 2);
}

static void what_has_no_place_makes_room_too(void **state)
{
    char *base = give_apart(APART_COUNT);

    (void)state;
    assert_int_equal(kept_drop(OVER * APART), (size_t)OVER * APART);
    assert_int_equal(kept_drop(APART), APART);
    assert_int_equal(kept_drop_all(), (size_t)(PLACES - 1) * APART);
    assert_int_equal(kept_drop_all(), 0);
    unmap_between(base, APART_COUNT);
}

static void what_waits_has_the_next_empty_place(void **state)
{
    char *base = give_apart(PLACES + 1);

    (void)state;
    assert_int_equal(overflow_bytes(), APART);
    assert_true(kept_take_at((uintptr_t)base, APART));
    assert_int_equal(overflow_bytes(), 0);
    assert_true(os_unmap(base, APART));
    assert_int_equal(kept_drop_all(), (size_t)PLACES * APART);
    unmap_between(base, PLACES + 1);
}

static void the_shortest_gives_way_when_there_is_no_place(void **state)
{
    enum { LONGER = 4 };
    /* These have the first places. */
    char *longer = map(2 * LONGER * APART);
    for (size_t i = 0; i < LONGER; i++)
        give(longer + 2 * i * APART + UNIT, APART + UNIT);
    char *base = give_apart(PLACES - LONGER);
    char *long_one = map(2 * APART);

    (void)state;
    give(long_one, 2 * APART);
    size_t kept = (size_t)(PLACES + 2) * APART + (size_t)LONGER * UNIT;
    assert_int_equal(kept_bytes(), kept);
    assert_ptr_equal(take(2 * APART), long_one);
    give(long_one, 2 * APART);
    for (size_t i = 0; i < LONGER; i++) {
        char *at = longer + 2 * i * APART + UNIT;
        assert_true(kept_take_at((uintptr_t)at, APART + UNIT));
        give(at, APART + UNIT);
    }
    assert_int_equal(kept_drop_all(), kept);
    unmap_between(base, PLACES - LONGER);
    for (size_t i = 0; i < LONGER; i++) {
        char *at = longer + 2 * i * APART;
        require(os_unmap(at, UNIT));
        require(os_unmap(at + APART + 2 * UNIT, APART - 2 * UNIT));
    }
}

/* It has no pages. */
static void unused_memory_without_a_place_goes_at_once(void **state)
{
    char *unused = map(APART - UNIT);
    kept_give_unused((uintptr_t)unused, APART - UNIT);
    size_t mapped = os_mapped_bytes();
    char *base = give_apart(PLACES);

    (void)state;
    assert_int_equal(kept_unused_bytes(), 0);
    assert_int_equal(os_mapped_bytes() - mapped,
                     (size_t)2 * PLACES * APART - (APART - UNIT));
    assert_int_equal(kept_drop_all(), (size_t)PLACES * APART);
    unmap_between(base, PLACES);
}

/* --- dropping --- */

static void what_is_asked_for_goes_the_oldest_first(void **state)
{
    char *base = map(8 * MIB);

    (void)state;
    give(base, 2 * MIB);
    sleep_ms(100);
    give(base + 4 * MIB, 2 * MIB);
    assert_int_equal(kept_drop(MIB), MIB);
    assert_ptr_equal(take(MIB), base + MIB);
    give(base + MIB, MIB);
    assert_int_equal(kept_drop(2 * MIB), 2 * MIB);
    assert_int_equal(kept_drop(2 * MIB), MIB);
    assert_int_equal(kept_drop(2 * MIB), 0);
    assert_true(os_unmap(base + 2 * MIB, 2 * MIB));
    assert_true(os_unmap(base + 6 * MIB, 2 * MIB));
}

static int refusals;

/* Refuses the first call, after a while. */
static int refuse_munmap_late(void *address, size_t length)
{
    if (refusals++ > 0)
        return munmap(address, length);
    sleep_ms(100);
    return -1;
}

/* What is kept again by then was freed after the clock was read. */
static void what_was_freed_just_now_is_not_old(void **state)
{
    char *base = map(4 * MIB);

    (void)state;
    give(base, MIB);
    sleep_ms(100);
    give(base + 2 * MIB, MIB);
    sleep_ms(100);
    os_calls.munmap = refuse_munmap_late;
    assert_int_equal(kept_drop(MIB), MIB);
    os_calls.munmap = munmap;
    assert_ptr_equal(take(MIB), base);
    assert_true(os_unmap(base, 2 * MIB));
    assert_true(os_unmap(base + 3 * MIB, MIB));
}

static void what_is_over_the_bound_goes_in_small_steps(void **state)
{
    char *base = map(8 * MIB);
    size_t bytes = 0;

    (void)state;
    give(base, 8 * MIB);
    assert_int_equal(kept_drop_step(8 * MIB, true), 0); /* not yet */
    for (size_t step = 1; step != 0; bytes += step) {
        step = kept_drop_step(3 * MIB, false);
        assert_in_range(step, 0, 256 * KIB);
    }
    assert_int_equal(bytes, 5 * MIB);
    /* From the low end. */
    assert_ptr_equal(take(3 * MIB), base + 5 * MIB);
    assert_true(os_unmap(base + 5 * MIB, 3 * MIB));
}

static void the_oldest_range_goes_first(void **state)
{
    char *base = map(8 * MIB);

    (void)state;
    give(base + 4 * MIB, MIB);
    sleep_ms(100);
    give(base, 3 * MIB);
    while (kept_drop_step(3 * MIB, false) != 0)
        ;
    assert_int_equal(kept_bytes(), 3 * MIB);
    assert_ptr_equal(take(3 * MIB), base);
    assert_true(os_unmap(base, 8 * MIB));
}

/* A block comes and goes beside much that is unused. */
static void use_at_one_end_does_not_keep_the_rest(void **state)
{
    char *base = map(8 * MIB);

    (void)state;
    give(base, 8 * MIB);
    for (int i = 0; i < 150 && kept_bytes() > 2 * MIB; i++) {
        char *block = take(MIB);
        assert_non_null(block);
        sleep_ms(10);
        give(block, MIB);
        while (kept_bytes() > 2 * MIB && kept_drop_step(SIZE_MAX, true) != 0)
            ;
    }
    assert_int_equal(kept_bytes(), 2 * MIB);
    /* What was used is still kept. */
    assert_ptr_equal(take(2 * MIB), base + 6 * MIB);
    assert_true(os_unmap(base + 6 * MIB, 2 * MIB));
}

/* --- what the system does not unmap --- */

static int refuse_munmap(void *address, size_t length)
{
    (void)address, (void)length;
    return -1;
}

static void what_is_refused_and_has_no_place_is_not_lost(void **state)
{
    char *base = give_apart(APART_COUNT);
    size_t kept = (size_t)APART_COUNT * APART;

    (void)state;
    for (size_t i = 0; i < APART_COUNT; i++)
        base[2 * i * APART] = 1;
    os_calls.munmap = refuse_munmap;
    assert_int_equal(kept_drop_all(), 0);
    assert_int_equal(kept_bytes(), kept);
    for (size_t i = 0; i < APART_COUNT; i++)
        require(!os_is_present(base + 2 * i * APART, PAGE_BYTES));
    assert_int_equal(kept_drop(APART), 0);
    assert_int_equal(kept_drop_step(SIZE_MAX, true), 0);
    assert_int_equal(kept_bytes(), kept);
    os_calls.munmap = munmap;
    assert_int_equal(kept_drop_all(), kept);
    unmap_between(base, APART_COUNT);
}

static uintptr_t refused;

static int refuse_munmap_of_one(void *address, size_t length)
{
    if ((uintptr_t)address - refused < APART)
        return -1;
    return munmap(address, length);
}

static void a_refusal_does_not_hold_up_the_steps(void **state)
{
    char *base = give_apart(APART_COUNT);
    char *last = base + 2 * (APART_COUNT - 1) * APART;

    (void)state;
    memset(last, 1, APART);
    refused = (uintptr_t)last;
    os_calls.munmap = refuse_munmap_of_one;
    for (size_t i = 0; i < 2 * OVER; i++)
        kept_drop_step(SIZE_MAX, true);
    assert_int_equal(kept_bytes(), (size_t)(PLACES + 1) * APART);
    assert_int_equal(kept_drop_step(SIZE_MAX, true), 0);
    for (size_t i = 0; i < APART; i += PAGE_BYTES)
        require(!os_is_present(last + i, PAGE_BYTES));
    os_calls.munmap = munmap;
    assert_int_equal(kept_drop_step(SIZE_MAX, true), APART / 2);
    assert_int_equal(kept_drop_step(SIZE_MAX, true), APART / 2);
    assert_int_equal(kept_drop_all(), (size_t)PLACES * APART);
    unmap_between(base, APART_COUNT);
}

static void a_refusal_does_not_hold_up_the_rest(void **state)
{
    char *base = give_apart(APART_COUNT);

    (void)state;
    refused = (uintptr_t)base + 2 * (APART_COUNT - 1) * APART;
    os_calls.munmap = refuse_munmap_of_one;
    assert_int_equal(kept_drop_all(), (size_t)(APART_COUNT - 1) * APART);
    assert_int_equal(kept_drop_all(), 0);
    os_calls.munmap = munmap;
    assert_int_equal(kept_drop_all(), APART);
    unmap_between(base, APART_COUNT);
}

static size_t unmapped_length;

static int note_munmap(void *address, size_t length)
{
    (void)address;
    unmapped_length = length;
    return 0;
}

/* In a child: nothing is mapped there, so the counts are wrong afterwards. */
static void give_more_than_a_range_says(void *unused)
{
    const size_t length = (RANGE_LENGTH_MAX + 1) << UNIT_SHIFT;

    (void)unused;
    os_calls.munmap = note_munmap;
    kept_give((uintptr_t)1 << 44, length);
    require(unmapped_length == length);
    require(kept_bytes() == 0);
}

static void a_range_that_is_too_long_is_unmapped(void **state)
{
    (void)state;
    assert_child_succeeds(give_more_than_a_range_says, NULL);
}

/* Nothing needs to be mapped there. */
static void a_long_range_that_is_refused_is_kept_in_parts(void **state)
{
    const size_t part = RANGE_LENGTH_MAX << UNIT_SHIFT;
    uintptr_t base = (uintptr_t)1 << 44;

    (void)state;
    os_calls.munmap = refuse_munmap;
    kept_give(base, 2 * part + MIB);
    os_calls.munmap = munmap;
    assert_int_equal(kept_bytes(), 2 * part + MIB);
    assert_true(kept_take_at(base, part));
    assert_true(kept_take_at(base + part, part));
    assert_true(kept_take_at(base + 2 * part, MIB));
    assert_int_equal(kept_bytes(), 0);
}

/* --- how long it takes --- */

static uint64_t cpu_time(void)
{
    struct timespec now;

    require(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void look(void)
{
    require(kept_bytes() != 0);
}

static void take_in_vain(void)
{
    require(take(MIB) == NULL);
}

/* For ten calls, the best of many tries. */
static uint64_t shortest_time(void (*call)(void))
{
    uint64_t shortest = UINT64_MAX;

    for (int i = 0; i < 200; i++) {
        uint64_t start = cpu_time();
        for (int j = 0; j < 10; j++)
            call();
        uint64_t time = cpu_time() - start;
        if (time < shortest)
            shortest = time;
    }
    return shortest;
}

/* No two can be joined, so there is no need to compare all with all. */
static void a_take_in_vain_looks_once_at_each_range(void **state)
{
    char *base = map((size_t)2 * PLACES * UNIT);

    (void)state;
    for (size_t i = 0; i < PLACES; i++)
        give(base + 2 * i * UNIT, UNIT);
    assert_in_range(shortest_time(take_in_vain), 0, 5 * shortest_time(look));
    kept_drop_all();
    for (size_t i = 1; i < 2 * PLACES; i += 2)
        require(os_unmap(base + i * UNIT, UNIT));
}

/* --- threads --- */

enum { THREADS = 4, SHARED_UNITS = 1024 };

static char *shared;
static _Atomic(unsigned) owners[SHARED_UNITS];

static void own(const char *block, size_t bytes, unsigned from, unsigned to)
{
    size_t first = (size_t)(block - shared) / UNIT;

    for (size_t i = first; i < first + bytes / UNIT; i++)
        require(atomic_exchange_explicit(&owners[i], to, memory_order_relaxed)
                == from);
}

static void *cut_and_join(void *argument)
{
    enum { ROUNDS = UNDER_SANITIZER ? 3000 : 100000, HELD = 8 };
    struct random random = {(uintptr_t)argument};
    unsigned id = (unsigned)(uintptr_t)argument;
    struct {
        char *block;
        size_t bytes;
    } held[HELD] = {{NULL, 0}};

    for (size_t i = 0; i < ROUNDS + HELD; i++) {
        size_t slot = i < ROUNDS ? random_below(&random, HELD) : i - ROUNDS;
        if (held[slot].block != NULL) {
            /* Plain bytes: written before the next owner writes them. */
            held[slot].block[0]++;
            own(held[slot].block, held[slot].bytes, id, 0);
            give(held[slot].block, held[slot].bytes);
        }
        size_t bytes = (1 + random_below(&random, 30)) * UNIT;
        size_t alignment = (size_t)UNIT << random_below(&random, 3);
        held[slot].bytes = bytes;
        held[slot].block =
            i < ROUNDS ? (char *)kept_take(bytes, alignment) : NULL;
        if (held[slot].block == NULL)
            continue;
        require((uintptr_t)held[slot].block % alignment == 0);
        own(held[slot].block, bytes, 0, id);
        held[slot].block[0]++;
    }
    return NULL;
}

static void *run_cut_and_join(void *argument)
{
    static _Atomic(uintptr_t) ids;

    (void)argument;
    return cut_and_join((void *)(atomic_fetch_add(&ids, 1) + 1));
}

static void threads_that_cut_and_join_lose_nothing(void **state)
{
    const size_t bytes = (size_t)SHARED_UNITS * UNIT;

    (void)state;
    shared = map(bytes);
    give(shared, bytes);
    size_t mapped = os_mapped_bytes();
    run_threads(THREADS, run_cut_and_join, NULL, 0);
    assert_int_equal(os_mapped_bytes(), mapped);
    assert_int_equal(kept_bytes(), bytes);
    /* Separated neighbours are joined when they are needed. */
    assert_ptr_equal(take(bytes), shared);
    assert_true(os_unmap(shared, bytes));
}

/* Most of the units wait for a place; each one taken lets another in. */
static void *take_and_give_units(void *argument)
{
    enum { ROUNDS = UNDER_SANITIZER ? 5000 : 50000, HELD = 4 };
    char *held[HELD] = {NULL};
    unsigned id = (unsigned)(uintptr_t)argument;

    for (size_t i = 0; i < ROUNDS + HELD; i++) {
        char **block = &held[i % HELD];
        if (*block != NULL) {
            (*block)[0]++;
            own(*block, UNIT, id, 0);
            give(*block, UNIT);
        }
        *block = i < ROUNDS ? take(UNIT) : NULL;
        if (*block == NULL)
            continue;
        own(*block, UNIT, 0, id);
        (*block)[0]++;
    }
    return NULL;
}

static void *run_take_and_give_units(void *argument)
{
    static _Atomic(uintptr_t) ids;

    (void)argument;
    return take_and_give_units((void *)(atomic_fetch_add(&ids, 1) + 1));
}

static void threads_take_and_give_what_has_no_place(void **state)
{
    (void)state;
    shared = map((size_t)SHARED_UNITS * UNIT);
    for (size_t i = 0; i < SHARED_UNITS; i += 2)
        give(shared + i * UNIT, UNIT);
    run_threads(THREADS, run_take_and_give_units, NULL, 0);
    assert_int_equal(kept_bytes(), (size_t)SHARED_UNITS / 2 * UNIT);
    assert_int_equal(kept_drop_all(), (size_t)SHARED_UNITS / 2 * UNIT);
    for (size_t i = 1; i < SHARED_UNITS; i += 2)
        require(os_unmap(shared + i * UNIT, UNIT));
}

/* --- two halves that come back at once --- */

enum { HALVES_ROUNDS = UNDER_SANITIZER ? 3000 : 50000 };

static _Atomic(unsigned) halves_round, halves_back;

static void *give_the_upper_half(void *base)
{
    for (unsigned i = 1; i <= HALVES_ROUNDS; i++) {
        await_value(&halves_round, i);
        give((char *)base + MIB, MIB);
        atomic_store(&halves_back, i);
    }
    return NULL;
}

static void *give_the_lower_half(void *base)
{
    struct random random = {1};

    for (unsigned i = 1; i <= HALVES_ROUNDS; i++) {
        unsigned delay = (unsigned)random_below(&random, 100);
        atomic_store(&halves_round, i);
        while (delay-- > 0)
            (void)atomic_load(&halves_round);
        give(base, MIB);
        await_value(&halves_back, i);
        /* Both halves as one. */
        require(take(2 * MIB) == base);
    }
    return NULL;
}

static void *give_a_half(void *base)
{
    static _Atomic(unsigned) started;

    return atomic_fetch_add(&started, 1) == 0 ? give_the_upper_half(base)
                                              : give_the_lower_half(base);
}

static void halves_that_missed_each_other_are_joined(void **state)
{
    char *base = map(2 * MIB);

    (void)state;
    run_threads(2, give_a_half, base, 0);
    assert_int_equal(kept_bytes(), 0);
    assert_true(os_unmap(base, 2 * MIB));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_is_cut_and_joined_again),
        cmocka_unit_test(the_shortest_range_that_fits_is_taken),
        cmocka_unit_test(an_aligned_part_is_cut_out_of_the_middle),
        cmocka_unit_test(what_lies_at_an_address_can_be_taken),
        cmocka_unit_test(what_has_no_place_goes_in_small_steps),
        cmocka_unit_test(no_free_calls_the_system_when_there_is_no_place),
        cmocka_unit_test(what_waits_comes_when_there_is_a_place),
        cmocka_unit_test(what_waits_is_joined_when_there_is_a_place),
        cmocka_unit_test(what_has_no_place_makes_room_too),
        cmocka_unit_test(what_waits_has_the_next_empty_place),
        cmocka_unit_test(the_shortest_gives_way_when_there_is_no_place),
        cmocka_unit_test(unused_memory_without_a_place_goes_at_once),
        cmocka_unit_test(what_is_asked_for_goes_the_oldest_first),
        cmocka_unit_test(what_was_freed_just_now_is_not_old),
        cmocka_unit_test(what_is_over_the_bound_goes_in_small_steps),
        cmocka_unit_test(the_oldest_range_goes_first),
        cmocka_unit_test(use_at_one_end_does_not_keep_the_rest),
        cmocka_unit_test(what_is_refused_and_has_no_place_is_not_lost),
        cmocka_unit_test(a_refusal_does_not_hold_up_the_steps),
        cmocka_unit_test(a_refusal_does_not_hold_up_the_rest),
        cmocka_unit_test(a_range_that_is_too_long_is_unmapped),
        cmocka_unit_test(a_long_range_that_is_refused_is_kept_in_parts),
        cmocka_unit_test(a_take_in_vain_looks_once_at_each_range),
        cmocka_unit_test(threads_that_cut_and_join_lose_nothing),
        cmocka_unit_test(threads_take_and_give_what_has_no_place),
        cmocka_unit_test(halves_that_missed_each_other_are_joined),
    };

    return run_all(tests);
}
