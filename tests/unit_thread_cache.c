/* SPDX-License-Identifier: MIT */
/* A thread's cache: its fast paths, and what it does when a bin is empty or
 * full. */
#include "support.h"

#include <string.h>
#include <sys/mman.h>

#include "caches.h"
#include "depot.h"
#include "os.h"
#include "page_map.h"
#include "size_class.h"
#include "thread.h"
#include "thread_cache_internal.h"

/* --- Blocks of two leaves of the page map --- */

enum { LEAF_CLASS = 25 };

static char *far_away;

static void *mmap_far_away(void *hint, size_t length, int protection, int flags,
                           int fd, off_t offset)
{
    return mmap(hint != NULL ? hint : far_away, length, protection, flags, fd,
                offset);
}

static bool are_neighbours(const void *one, const void *other)
{
    return page_map_leaf(one) == page_map_leaf(other);
}

/* Frees blocks of two leaves by turns; returns how many frees were slow. */
static uint64_t free_by_turns(size_t count)
{
    uint64_t before = cache_totals().overflows;

    for (size_t i = 0; i < count / 2; i++) {
        release(blocks[i]);
        release(blocks[count - 1 - i]);
    }
    return cache_totals().overflows - before;
}

static void *free_all_by_turns(void *count)
{
    free_by_turns(*(size_t *)count);
    return NULL;
}

static void blocks_far_from_home_are_freed_as_fast(void **state)
{
    size_t count = 0;

    (void)state;
    partyalloc_trim();
    blocks[count++] = allocate(LEAF_CLASS);
    far_away = (char *)((uintptr_t)blocks[0] & ~(uintptr_t)(4 * MIB - 1));
    far_away -= (size_t)1 << 37;
    os_calls.mmap = mmap_far_away;
    while (are_neighbours(blocks[0], blocks[count - 1]))
        blocks[count++] = allocate(LEAF_CLASS);
    os_calls.mmap = mmap;
    size_t here = count - 1;
    while (count < 2 * here && count < MANY)
        blocks[count++] = allocate(LEAF_CLASS);
    assert_false(are_neighbours(blocks[0], blocks[count - 1]));
    /* At most one per magazine, and those that raise limits. */
    assert_in_range(free_by_turns(count), 1, count / 4);
    for (size_t i = 0; i < count; i++)
        blocks[i] = allocate(LEAF_CLASS);
    run_thread(free_all_by_turns, &count);
    partyalloc_trim();
    assert_int_equal(slab_totals().resting_blocks,
                     slab_totals().carved_blocks);
}

/* --- Blocks wherever they lie --- */

static void the_tag_of_a_cache_is_in_the_entries_of_its_slabs(void **state)
{
    (void)state;
    for (unsigned class = 0; class < CLASS_COUNT; class++) {
        void *block = allocate(class);
        uint32_t entry = page_map_entry(block);
        /* The depot is empty, so the block is from a slab of our own. */
        assert_int_equal(entry ^ thread_bins->tag, class << ENTRY_BIN_SHIFT);
        release(block);
    }
    partyalloc_thread_flush();
}

static void an_own_block_comes_back_first(void **state)
{
    (void)state;
    for (unsigned class = 0; class < CLASS_COUNT; class++) {
        void *first = allocate(class);
        void *second = allocate(class);
        release(first);
        release(second);
        /* What is too large for a cache comes in the depot's order. */
        void *again = allocate(class);
        assert_true(again == second || again == first);
        release(again);
    }
    partyalloc_thread_flush();
}

static void a_cache_hit_touches_nothing_shared(void **state)
{
    enum { ROUNDS = 10000, HELD = 8 };
    void *held[HELD];

    (void)state;
    for (unsigned class = 0; size_classes[class].size <= 1024; class++) {
        for (size_t i = 0; i < HELD; i++)
            held[i] = allocate(class);
        for (size_t i = 0; i < HELD; i++)
            release(held[i]);
        struct cache_totals before = cache_totals();
        for (size_t i = 0; i < ROUNDS; i++) {
            held[0] = allocate(class);
            held[1] = allocate(class);
            release(held[0]);
            release(held[1]);
        }
        assert_int_equal(cache_totals().misses, before.misses);
        assert_int_equal(cache_totals().overflows, before.overflows);
    }
    partyalloc_thread_flush();
}

/* While the cache has no room, blocks are taken and given one by one; at other
 * times magazines of the same class are filled. */
static void a_full_cache_hands_out_each_block_once(void **state)
{
    enum { CLASS = 24, AT_FIRST = 12, THEN = 4, AT_LAST = 60 };
    struct cache *cache = cache_of(thread_bins);
    size_t budget = cache->budget;

    (void)state;
    depot_drain_all();
    cache->budget = 0;
    for (size_t i = 0; i < AT_FIRST; i++)
        blocks[i] = allocate(CLASS);
    for (size_t i = 0; i < AT_FIRST / 2; i++)
        release(blocks[i]);
    slab_return(CLASS, &blocks[AT_FIRST / 2], AT_FIRST / 2);
    cache->budget = budget;
    for (size_t i = 0; i < THEN; i++)
        blocks[i] = allocate(CLASS);
    cache->budget = 0;
    for (size_t i = THEN; i < THEN + AT_LAST; i++)
        blocks[i] = allocate(CLASS);
    cache->budget = budget;
    require_disjoint(blocks, THEN + AT_LAST);
    for (size_t i = 0; i < THEN + AT_LAST; i++)
        release(blocks[i]);
    partyalloc_thread_flush();
}

static void free_twice_with_room_for_the_second(void *depth)
{
    enum { CLASS = 7 };
    struct cache *cache = cache_of(thread_bins);
    size_t budget = cache->budget;

    partyalloc_thread_flush();
    depot_drain_all();
    cache->budget = 0;
    for (size_t i = 0; i <= (uintptr_t)depth; i++)
        blocks[i] = allocate(CLASS);
    for (size_t i = 0; i <= (uintptr_t)depth; i++)
        release(blocks[i]);
    cache->budget = budget;
    expect_stop("double free", blocks[(uintptr_t)depth]);
    release(blocks[(uintptr_t)depth]);
}

/* The first free goes past the cache: to the depot, or, if that has enough, to
 * the slab. */
static void a_block_freed_twice_past_a_full_cache_stops_at_once(void **state)
{
    (void)state;
    assert_child_stops(free_twice_with_room_for_the_second, (void *)0);
    assert_child_stops(free_twice_with_room_for_the_second, (void *)20);
}

/* At the edge of a magazine a thread must not go to the depot each time. */
static void going_to_and_fro_costs_no_slow_path_each_time(void **state)
{
    enum { CLASS = 3, ROUNDS = 200, SWING_MAX = 300 };

    (void)state;
    for (size_t swing = 1; swing <= SWING_MAX; swing += 7) {
        for (size_t round = 0; round < 4; round++) {
            for (size_t i = 0; i < swing; i++)
                blocks[i] = allocate(CLASS);
            for (size_t i = 0; i < swing; i++)
                release(blocks[i]);
        }
        struct cache_totals before = cache_totals();
        for (size_t round = 0; round < ROUNDS; round++) {
            for (size_t i = 0; i < swing; i++)
                blocks[i] = allocate(CLASS);
            for (size_t i = 0; i < swing; i++)
                release(blocks[i]);
        }
        struct cache_totals after = cache_totals();
        /* Per operation, at most one in twenty. */
        assert_true(after.misses - before.misses + after.overflows
                        - before.overflows
                    <= 2 * swing * ROUNDS / 20 + ROUNDS / 10);
    }
    partyalloc_thread_flush();
}

/* Passive false sharing: a thread that frees another's blocks does not get
 * them again one by one. */
static void anothers_block_is_not_handed_out_again_at_once(void **state)
{
    unsigned class = 2;

    (void)state;
    void *own = allocate(class);
    run_thread(allocate_many, &class);
    cache_flush_all_left();
    for (size_t i = 0; i < 10; i++) {
        release(blocks[i]);
        void *next = allocate(class);
        assert_ptr_not_equal(next, blocks[i]);
        release(next);
    }
    for (size_t i = 10; i < MANY; i++)
        release(blocks[i]);
    release(own);
    partyalloc_thread_flush();
    assert_int_equal(cache_totals().blocks, 0);
}

/* Frees so many of another cache's blocks that the depot has more of them than
 * it leaves to their owner, on a shelf other than ours. */
static uint64_t free_what_can_be_spared(unsigned class, size_t count)
{
    run_thread(allocate_many, &class);
    uint32_t owner = page_map_entry(blocks[0]) >> ENTRY_OWNER_SHIFT;
    assert_int_not_equal(owner % 4,
                         (thread_bins->tag >> ENTRY_OWNER_SHIFT) % 4);
    for (size_t i = 0; i < count; i++)
        release(blocks[i]);
    uint64_t there = depot_totals().blocks;
    assert_in_range(there, count / 4, count);
    return there;
}

/* A cache with a slab to serve from takes no magazines of others, however many
 * there are: their owners mostly want them back. */
static void a_held_slab_serves_before_what_others_can_spare(void **state)
{
    enum { CLASS = 13, OURS = 50, THEIRS = 600, MORE = 60 };
    void *ours[OURS + MORE];

    (void)state;
    partyalloc_trim();
    for (size_t i = 0; i < OURS; i++)
        ours[i] = allocate(CLASS);
    uint64_t there = free_what_can_be_spared(CLASS, THEIRS);
    for (size_t i = OURS; i < OURS + MORE; i++) {
        ours[i] = allocate(CLASS);
        assert_int_equal(page_map_entry(ours[i]) ^ thread_bins->tag,
                         CLASS << ENTRY_BIN_SHIFT);
    }
    assert_int_equal(depot_totals().blocks, there);
    for (size_t i = 0; i < OURS + MORE; i++)
        release(ours[i]);
    for (size_t i = THEIRS; i < MANY; i++)
        release(blocks[i]);
    partyalloc_trim();
}

/* The same with a slab in which blocks rest, but none is left to be carved. */
static void what_rests_in_a_held_slab_serves_first_too(void **state)
{
    enum { CLASS = 13, OURS = 60, THEIRS = 600 };
    void *ours[OURS], *rest[UNIT_BYTES / 384];

    (void)state;
    partyalloc_trim();
    ours[0] = allocate(CLASS);
    struct slab *slab = thread_bins->sources[CLASS].held;
    assert_non_null(slab);
    size_t count = slab_carve(slab, rest, size_classes[CLASS].capacity);
    slab_return(CLASS, rest, count);
    uint64_t there = free_what_can_be_spared(CLASS, THEIRS);
    for (size_t i = 1; i < OURS; i++) {
        ours[i] = allocate(CLASS);
        assert_int_equal(page_map_entry(ours[i]) ^ thread_bins->tag,
                         CLASS << ENTRY_BIN_SHIFT);
    }
    assert_int_equal(depot_totals().blocks, there);
    for (size_t i = 0; i < OURS; i++)
        release(ours[i]);
    for (size_t i = THEIRS; i < MANY; i++)
        release(blocks[i]);
    partyalloc_trim();
}

static void what_others_can_spare_serves_before_another_slab(void **state)
{
    enum { CLASS = 14, THEIRS = 600 };

    (void)state;
    partyalloc_trim();
    uint64_t there = free_what_can_be_spared(CLASS, THEIRS);
    void *block = allocate(CLASS);
    assert_true(depot_totals().blocks < there);
    assert_null(thread_bins->sources[CLASS].held);
    release(block);
    for (size_t i = THEIRS; i < MANY; i++)
        release(blocks[i]);
    partyalloc_trim();
}

/* A thread that does little has few slow paths; when what is free has grown
 * old, each of them gives some of it back. */
static void what_has_grown_old_goes_though_little_is_freed(void **state)
{
    enum { CLASS = 23, COUNT = 20000 };
    static void *burst[COUNT];
    struct cache *cache = cache_of(thread_bins);

    (void)state;
    partyalloc_trim();
    for (size_t i = 0; i < COUNT; i++)
        burst[i] = memset(allocate(CLASS), 1, 1);
    for (size_t i = 0; i < COUNT; i++)
        release(burst[i]);
    size_t dirty = slab_dirty_bytes();
    /* As if seen when none of it was old. */
    cache->patience = UINT32_MAX;
    sleep_ms(100);
    uint64_t start = os_now();
    /* On a slow machine some of it went during the burst; only what exceeds
     * the allowance goes. */
    while (slab_dirty_bytes() > dirty - 8 * MIB &&
           slab_dirty_bytes() > slab_dirty_allowance()) {
        require(os_now() - start < UINT64_C(20000000000));
        for (size_t i = 0; i < MANY; i++)
            blocks[i] = allocate(CLASS);
        for (size_t i = 0; i < MANY; i++)
            release(blocks[i]);
    }
    partyalloc_thread_flush();
}

/* --- Blocks that a thread inherits from another one --- */

enum { INHERITED_CLASS = 15, INHERITED = 2000 };

static void *allocate_for_another(void *unused)
{
    for (size_t i = 0; i < INHERITED; i++)
        blocks[i] = allocate(INHERITED_CLASS);
    return unused;
}

/* Replaces `count` blocks at random; returns how many magazines went to the
 * depot. */
static uint64_t replace(struct random *random, size_t count)
{
    uint64_t before = cache_totals().pushes;

    for (size_t i = 0; i < count; i++) {
        size_t at = random_below(random, INHERITED);
        release(blocks[at]);
        blocks[at] = allocate(INHERITED_CLASS);
    }
    return cache_totals().pushes - before;
}

/* Else their blocks go through the depot for ever: 116 magazines. */
static void slabs_that_nobody_else_lives_on_change_hands(void **state)
{
    struct random random = {1};

    (void)state;
    run_thread(allocate_for_another, NULL);
    replace(&random, 50 * INHERITED);
    assert_in_range(replace(&random, 2 * INHERITED), 0, 20);
    for (size_t i = 0; i < INHERITED; i++)
        release(blocks[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_far_from_home_are_freed_as_fast),
        cmocka_unit_test(the_tag_of_a_cache_is_in_the_entries_of_its_slabs),
        cmocka_unit_test(an_own_block_comes_back_first),
        cmocka_unit_test(a_cache_hit_touches_nothing_shared),
        cmocka_unit_test(a_full_cache_hands_out_each_block_once),
        cmocka_unit_test(a_block_freed_twice_past_a_full_cache_stops_at_once),
        cmocka_unit_test(going_to_and_fro_costs_no_slow_path_each_time),
        cmocka_unit_test(anothers_block_is_not_handed_out_again_at_once),
        cmocka_unit_test(a_held_slab_serves_before_what_others_can_spare),
        cmocka_unit_test(what_rests_in_a_held_slab_serves_first_too),
        cmocka_unit_test(what_others_can_spare_serves_before_another_slab),
        cmocka_unit_test(what_has_grown_old_goes_though_little_is_freed),
        cmocka_unit_test(slabs_that_nobody_else_lives_on_change_hands),
    };

    have_a_cache();
    return run_all(tests);
}
