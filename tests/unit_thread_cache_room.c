/* SPDX-License-Identifier: MIT */
/* A thread's cache: how much it holds of what, and how it makes room. */
#include "support.h"

#include "caches.h"
#include "depot.h"
#include "metadata.h"
#include "size_class.h"
#include "thread.h"
#include "thread_cache_internal.h"

static void a_cache_stays_within_its_bytes(void **state)
{
    (void)state;
    for (unsigned class = 0; size_classes[class].size <= MEDIUM_ABOVE; class++)
        free_much_of(class, CACHE_BYTES);
    partyalloc_thread_flush();
    assert_int_equal(cache_totals().bytes, 0);
    assert_int_equal(cache_totals().blocks, 0);
}

static void a_class_that_is_idle_is_emptied(void **state)
{
    enum { IDLE = 30, BUSY = 4, ROUNDS = 30 };

    (void)state;
    free_much_of(IDLE, MIB);
    const struct cursor *own = &thread_bins->of_class[IDLE].own;
    assert_true(magazine_count_at(own->top) > 0);
    for (size_t round = 0; round < ROUNDS; round++)
        free_much_of(BUSY, CACHE_BYTES + MIB);
    assert_int_equal(magazine_count_at(own->top), 0);
    partyalloc_thread_flush();
}

/* It may have hundreds of magazines, and the thread that looks only wants a
 * block of another class. */
static void an_idle_class_is_emptied_step_by_step(void **state)
{
    enum { IDLE = 0, MAGAZINES = 40, COUNT = MAGAZINES * MAGAZINE_SLOTS,
           STEP = 10 * MAGAZINE_SLOTS, LOOKS = 3 * CLASS_COUNT };
    struct cache *cache = cache_of(thread_bins);
    uint64_t before, after;

    (void)state;
    partyalloc_thread_flush();
    for (size_t i = 0; i < COUNT; i++)
        blocks[i] = allocate(IDLE);
    for (size_t i = 0; i < COUNT; i++)
        release(blocks[i]);
    before = cache_totals().blocks;
    assert_true(before >= COUNT);
    /* Three rounds would be three steps, did it not stay with the class. */
    for (unsigned i = 0; i < LOOKS; i++) {
        cache_flush_idle(cache, CLASS_COUNT - 1);
        after = cache_totals().blocks;
        assert_in_range(before - after, 0, STEP);
        before = after;
    }
    assert_int_equal(before, 0);
    partyalloc_thread_flush();
}

static void a_flush_leaves_nothing_and_keeps_every_block(void **state)
{
    enum { CLASS = 10 };

    (void)state;
    for (size_t i = 0; i < MANY; i++)
        blocks[i] = allocate(CLASS);
    for (size_t i = 0; i < MANY; i++)
        release(blocks[i]);
    uint64_t carved = slab_totals().carved_blocks;
    partyalloc_thread_flush();
    assert_int_equal(cache_totals().blocks, 0);
    assert_int_equal(slab_totals().resting_blocks + depot_totals().blocks,
                     slab_totals().carved_blocks);
    /* All can be allocated again. */
    for (size_t i = 0; i < MANY; i++)
        blocks[i] = allocate(CLASS);
    assert_in_range(slab_totals().carved_blocks - carved, 0, 256);
    for (size_t i = 0; i < MANY; i++)
        release(blocks[i]);
    partyalloc_thread_flush();
}

enum { BUSY = 16, NEEDY = 8 }; /* classes */

/* Spends the budget, and asks for room in one class again and again while the
 * bin of another is in use. */
static bool gets_room_from_a_busy_bin(size_t wanted)
{
    struct cache *cache = cache_of(thread_bins);
    size_t budget = cache->budget;
    bool got = false;

    cache->budget = cache->charged;
    for (size_t i = 0; i < 8 * CLASS_COUNT && !got; i++) {
        got = cache_has_room(cache, NEEDY, wanted);
        /* Once a round: the top two change places. */
        if (i % CLASS_COUNT == 0) {
            void *first = allocate(BUSY), *second = allocate(BUSY);
            release(first);
            release(second);
        }
    }
    cache->budget = budget;
    return got;
}

/* So many slots of the busy class, in blocks of the needy one. */
static size_t room_of(size_t slots)
{
    return slots * size_classes[BUSY].size / size_classes[NEEDY].size;
}

/* A bin that has once held much and now goes up and down by a little makes room
 * for another one, but keeps what it holds: it is not idle. */
static void a_bin_gives_up_slots_that_it_does_not_use(void **state)
{
    enum { ONCE = 25, NOW = 5 };
    const struct cursor *own = &thread_bins->of_class[BUSY].own;

    (void)state;
    for (size_t i = 0; i < ONCE; i++)
        blocks[i] = allocate(BUSY);
    for (size_t i = 0; i < ONCE; i++)
        release(blocks[i]);
    for (size_t i = NOW; i < ONCE; i++)
        blocks[i] = allocate(BUSY);
    uint64_t held = cache_totals().blocks;
    size_t slots = cursor_slots(own);
    assert_in_range(slots, ONCE, 2 * ONCE);
    /* More than is given up in one look. */
    assert_true(gets_room_from_a_busy_bin(room_of((slots - NOW) / 2)));
    assert_int_equal(cache_totals().blocks, held);
    assert_in_range(cursor_slots(own), NOW + 1, slots / 2 + NOW);
    for (size_t i = NOW; i < ONCE; i++)
        release(blocks[i]);
    partyalloc_thread_flush();
}

/* A few blocks of another thread do not keep room for a magazine of them. */
static void slots_for_anothers_blocks_are_given_up_too(void **state)
{
    enum { FEW = 2, FROM = MANY / 2, TO = FROM + FEW };
    const struct bin *bin = &thread_bins->of_class[BUSY];
    unsigned class = BUSY;

    (void)state;
    run_thread(allocate_many, &class);
    /* So that no full magazine comes from there. */
    depot_drain_all();
    void *first = allocate(BUSY), *second = allocate(BUSY);
    /* Of slabs in the middle: the lowest one may have become ours just now. */
    for (size_t i = FROM; i < TO; i++)
        release(blocks[i]);
    release(first);
    release(second);
    size_t slots = cursor_slots(&bin->foreign);
    assert_in_range(slots, 8 * FEW, MANY);
    /* More room than slots for own blocks make. */
    assert_true(gets_room_from_a_busy_bin(
        room_of((cursor_slots(&bin->own) + slots) / 2 - 1)));
    assert_in_range(cursor_slots(&bin->foreign), FEW + 1, slots * 3 / 4);
    for (size_t i = 0; i < MANY; i++)
        if (i < FROM || i >= TO)
            release(blocks[i]);
    partyalloc_thread_flush();
}

/* Many blocks of all small classes, freed in no order: no class is left
 * without room by those that came first. */
static void a_burst_of_all_classes_takes_few_slow_paths(void **state)
{
    enum { COUNT = 100000, STRIDE = 7919, FEW = COUNT / 10 };
    static void *burst[COUNT];
    struct random random = {1};

    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = random_size(&random, 16, 2047);
        burst[i] = partyalloc_allocate(size, ANY_TYPE);
        require(burst[i] != NULL);
    }
    struct cache_totals before = cache_totals();
    for (size_t i = 0; i < COUNT; i++)
        release(burst[i * STRIDE % COUNT]);
    assert_in_range(cache_totals().overflows - before.overflows, 0, FEW);
    assert_in_range(cache_totals().bytes, 0, CACHE_BYTES);
    partyalloc_thread_flush();
    depot_drain_all();
}

static void flushes_lose_no_magazine(void **state)
{
    enum { CLASS = 3, TURNS = 200 };
    size_t before = 0;

    (void)state;
    for (size_t i = 0; i < TURNS; i++) {
        for (size_t j = 0; j < MANY; j++)
            blocks[j] = allocate(CLASS);
        for (size_t j = 0; j < MANY; j++)
            release(blocks[j]);
        for (size_t j = 0; j < MANY; j++)
            blocks[j] = allocate(CLASS);
        partyalloc_thread_flush();
        for (size_t j = 0; j < MANY; j++)
            release(blocks[j]);
        partyalloc_thread_flush();
        depot_drain_all();
        if (i == TURNS / 10)
            before = metadata_bytes();
    }
    assert_int_equal(metadata_bytes(), before);
}

/* So that the depot is rarely asked for them. */
static void a_spare_bundle_of_empties_serves_first(void **state)
{
    enum { TWO_BUNDLES = 16 };
    struct cache *cache = cache_of(thread_bins);
    struct magazine *taken[TWO_BUNDLES];

    (void)state;
    partyalloc_thread_flush();
    for (size_t i = 0; i < TWO_BUNDLES; i++)
        taken[i] = cache_take_empty(cache);
    cache_flush_empties(cache);
    for (size_t i = 0; i < TWO_BUNDLES; i++)
        cache_put_empty(cache, taken[i]);
    assert_non_null(cache->spare_empties);
    for (size_t i = 0; i < TWO_BUNDLES; i++)
        taken[i] = cache_take_empty(cache);
    assert_null(cache->empties);
    assert_null(cache->spare_empties);
    for (size_t i = 0; i < TWO_BUNDLES; i++)
        cache_put_empty(cache, taken[i]);
    partyalloc_thread_flush();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cache_stays_within_its_bytes),
        cmocka_unit_test(a_class_that_is_idle_is_emptied),
        cmocka_unit_test(an_idle_class_is_emptied_step_by_step),
        cmocka_unit_test(a_flush_leaves_nothing_and_keeps_every_block),
        cmocka_unit_test(a_bin_gives_up_slots_that_it_does_not_use),
        cmocka_unit_test(slots_for_anothers_blocks_are_given_up_too),
        cmocka_unit_test(a_burst_of_all_classes_takes_few_slow_paths),
        cmocka_unit_test(flushes_lose_no_magazine),
        cmocka_unit_test(a_spare_bundle_of_empties_serves_first),
    };

    have_a_cache();
    return run_all(tests);
}
