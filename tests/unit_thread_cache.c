/* SPDX-License-Identifier: MIT */
/* A thread's cache: what it holds, how much of it, and what it hands on. */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <string.h>
#include <sys/mman.h>

#include "depot.h"
#include "metadata.h"
#include "os.h"
#include "page_map.h"
#include "partyalloc.h"
#include "size_class.h"
#include "thread.h"
#include "thread_cache_internal.h"

enum { MANY = 3000 };
#define CACHE_BYTES  (512 * KIB)
#define MEDIUM_ABOVE (4 * KIB)

static void *blocks[MANY];

static struct cache_totals totals(void)
{
    return cache_totals();
}

static void *allocate(unsigned class)
{
    void *block = partyalloc_allocate(size_classes[class].size, ANY_TYPE);

    require(block != NULL);
    return block;
}

static void release(void *block)
{
    partyalloc_free(block, ANY_TYPE);
}

static void an_own_block_comes_back_first(void **state)
{
    (void)state;
    for (unsigned class = 0; class < CLASS_COUNT; class++) {
        void *first = allocate(class);
        void *second = allocate(class);
        release(first);
        release(second);
        /* Of what is too large for a cache the order is the depot's. */
        void *again = allocate(class);
        assert_true(again == second || again == first);
        release(again);
    }
    partyalloc_thread_flush();
}

/* Frees 4 MiB of a class, and looks now and then at what the cache holds. */
static void free_much_of(unsigned class, uint64_t bound)
{
    size_t count = 4 * MIB / size_classes[class].size;

    count = count < MANY ? count : MANY;
    for (size_t i = 0; i < count; i++)
        blocks[i] = allocate(class);
    for (size_t i = 0; i < count; i++) {
        release(blocks[i]);
        if (i % 16 == 0)
            require(totals().bytes <= bound);
    }
    assert_in_range(totals().bytes, 0, bound);
}

static void a_cache_stays_within_its_bytes(void **state)
{
    (void)state;
    for (unsigned class = 0; size_classes[class].size <= MEDIUM_ABOVE; class++)
        free_much_of(class, CACHE_BYTES);
    partyalloc_thread_flush();
    assert_int_equal(totals().bytes, 0);
    assert_int_equal(totals().blocks, 0);
}

static void of_each_medium_class_a_cache_keeps_a_few_blocks(void **state)
{
    enum { BLOCKS = 16 };

    (void)state;
    for (unsigned class = CLASS_COUNT - 1;
         size_classes[class].size > MEDIUM_ABOVE; class--) {
        size_t blocks_bytes = (size_t)BLOCKS * size_classes[class].size;
        free_much_of(class, blocks_bytes < MIB ? blocks_bytes : MIB);
        assert_true(totals().blocks > 0);
        partyalloc_thread_flush();
        assert_int_equal(totals().bytes, 0);
    }
}

static size_t blocks_of_class(unsigned class)
{
    return magazine_count_at(thread_bins->of_class[class].own.top);
}

static void a_medium_magazine_is_deep_when_blocks_go_to_and_fro(void **state)
{
    enum { CLASS = 30, BLOCKS = 40, FEW = 2, MANY_BLOCKS = 16, ROUNDS = 5 };

    (void)state;
    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < BLOCKS; i++)
            blocks[i] = allocate(CLASS);
        for (size_t i = 0; i < BLOCKS; i++)
            release(blocks[i]);
        if (round == 0)
            assert_in_range(blocks_of_class(CLASS), 1, FEW);
    }
    assert_in_range(blocks_of_class(CLASS), MANY_BLOCKS / 2, MANY_BLOCKS);
    partyalloc_thread_flush();
}

enum { LEFT_CLASS = 20, LEFT_BLOCKS = 200 };

static void *leave_blocks(void *unused)
{
    void *mine[LEFT_BLOCKS];

    for (size_t i = 0; i < LEFT_BLOCKS; i++)
        mine[i] = allocate(LEFT_CLASS);
    for (size_t i = 0; i < LEFT_BLOCKS; i++)
        release(mine[i]);
    return unused;
}

/* A block without the measures against a shortage. */
static void *allocate_plainly(size_t size)
{
    struct cache *cache = thread_enter();

    require(cache != NULL);
    void *block = cache_allocate_slow(cache, size_class_of(size));
    thread_leave(cache);
    return block;
}

static void *allocate_in_need(size_t size)
{
    return partyalloc_allocate(size, ANY_TYPE);
}

/* Allocates until there is none; a list of the blocks. */
static void **take_all(size_t size, void *from(size_t size), void **list)
{
    void **block;

    while ((block = from(size)) != NULL) {
        *block = list;
        list = block;
    }
    return list;
}

/* When memory has run out, nothing of the class is left, and then caches are
 * emptied of all others. */
static void run_out_of_memory_now(void)
{
    size_t size = size_classes[LEFT_CLASS].size;
    void **block;

    os_set_limit(os_mapped_bytes());
    void **list = take_all(size, allocate_plainly, NULL);
    assert_null(depot_take_any(LEFT_CLASS));
    assert_null(depot_take_one(LEFT_CLASS));
    list = take_all(size, allocate_in_need, list);
    os_set_limit(0);
    assert_int_equal(totals().blocks, 0);
    while ((block = list) != NULL) {
        list = *block;
        release(block);
    }
    partyalloc_thread_flush();
}

/* What a thread left, `flushed` to the depot or in its cache. */
static void run_out_of_memory(bool flushed)
{
    depot_drain_all();
    run_thread(leave_blocks, NULL);
    if (flushed) {
        cache_flush_all_left();
        assert_true(depot_totals().blocks > 0);
    }
    run_out_of_memory_now();
}

static void memory_runs_out_when_all_of_it_is_taken(void **state)
{
    (void)state;
    run_out_of_memory(true);
}

static void memory_runs_out_when_all_that_threads_left_is_taken(void **state)
{
    (void)state;
    run_out_of_memory(false);
}

static void memory_runs_out_when_single_blocks_are_taken_too(void **state)
{
    enum { SINGLES = 5 };

    (void)state;
    for (size_t i = 0; i < SINGLES; i++)
        blocks[i] = allocate(LEFT_CLASS);
    for (size_t i = 0; i < SINGLES; i++)
        depot_give_one(LEFT_CLASS, blocks[i]);
    partyalloc_thread_flush();
    assert_true(depot_totals().blocks >= SINGLES);
    run_out_of_memory_now();
}

/* Of the magazines of others, a cache takes some only when all else is gone. */
static void memory_runs_out_when_a_full_cache_has_taken_all_of_it(void **state)
{
    struct cache *cache = cache_of(thread_bins);
    size_t budget = cache->budget;

    (void)state;
    cache->budget = 0;
    run_out_of_memory(true);
    cache->budget = budget;
}

static void *allocate_a_few(void *unused)
{
    for (size_t i = 0; i < LEFT_BLOCKS; i++)
        blocks[i] = allocate(LEFT_CLASS);
    return unused;
}

static bool is_own(const void *block)
{
    return (page_map_entry(block) ^ thread_bins->tag) < ENTRY_BIN_LIMIT;
}

static void memory_runs_out_when_anothers_blocks_are_taken_too(void **state)
{
    enum { FEW = 5 };
    size_t kept = 0;

    (void)state;
    release(allocate(LEFT_CLASS)); /* now there are bins */
    const struct cursor *foreign = &thread_bins->of_class[LEFT_CLASS].foreign;
    run_thread(allocate_a_few, NULL);
    cache_flush_all_left();
    for (size_t i = 0; i < LEFT_BLOCKS; i++) {
        if (magazine_count_at(foreign->top) < FEW && !is_own(blocks[i]))
            release(blocks[i]);
        else
            blocks[kept++] = blocks[i];
    }
    assert_int_equal(magazine_count_at(foreign->top), FEW);
    run_out_of_memory_now();
    for (size_t i = 0; i < kept; i++)
        release(blocks[i]);
    partyalloc_thread_flush();
    depot_drain_all();
}

static void *leave_many_small_blocks(void *unused)
{
    for (size_t i = 0; i < MANY; i++)
        blocks[i] = allocate(0);
    for (size_t i = 0; i < MANY; i++)
        release(blocks[i]);
    return unused;
}

enum { LATER_CLASS = 12, LATER_BLOCKS = 1100, WANTED_CLASS = 10 };

static sem_t has_allocated, may_free;

static void await(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0)
        require(errno == EINTR);
}

/* Several steps of the class that comes first; then one of the wanted class, and
 * more than the last of these steps takes. */
static void *leave_what_takes_steps(void *unused)
{
    static void *later[LATER_BLOCKS];

    for (size_t i = 0; i < MANY; i++)
        blocks[i] = allocate(0);
    for (size_t i = 0; i < LATER_BLOCKS; i++)
        later[i] = allocate(LATER_CLASS);
    /* It lies in a loaded magazine from now on, where nobody else comes to. */
    void *wanted = allocate(WANTED_CLASS);
    require(is_own(wanted));
    release(wanted);
    require(sem_post(&has_allocated) == 0);
    await(&may_free);
    for (size_t i = 0; i < MANY; i++)
        release(blocks[i]);
    for (size_t i = 0; i < LATER_BLOCKS; i++)
        release(later[i]);
    return unused;
}

/* Who runs out of memory takes from what was left no more than it needs. */
static void what_was_left_is_taken_in_steps_when_memory_runs_out(void **state)
{
    size_t size = size_classes[WANTED_CLASS].size;
    void *list = NULL;
    void **block;
    pthread_t thread;

    (void)state;
    release(allocate(0)); /* so that no other cache becomes ours */
    partyalloc_thread_flush();
    cache_flush_all_left();
    depot_drain_all(); /* so that the thread's blocks are its own */
    require(sem_init(&has_allocated, 0, 0) == 0);
    require(sem_init(&may_free, 0, 0) == 0);
    require(pthread_create(&thread, NULL, leave_what_takes_steps, NULL) == 0);
    await(&has_allocated);
    os_set_limit(os_mapped_bytes());
    while ((block = partyalloc_allocate(size, ANY_TYPE)) != NULL) {
        *block = list;
        list = block;
    }
    require(sem_post(&may_free) == 0);
    require(pthread_join(thread, NULL) == 0);
    release(allocate(WANTED_CLASS));
    os_set_limit(0);
    assert_in_range(totals().blocks, LATER_BLOCKS / 4, LATER_BLOCKS);
    while ((block = list) != NULL) {
        list = *block;
        release(block);
    }
    partyalloc_trim();
}

/* More than the steps in which it is handed on bit by bit. */
enum { VERY_MANY = 70000 };

static void *leave_very_much(void *place)
{
    static void *mine[VERY_MANY];

    release(allocate(0));
    *(struct cache **)place = cache_of(thread_bins);
    cache_of(thread_bins)->budget = 16 * CACHE_BYTES;
    for (size_t i = 0; i < VERY_MANY; i++)
        mine[i] = allocate(0);
    leave_blocks(NULL);
    for (size_t i = 0; i < VERY_MANY; i++)
        release(mine[i]);
    return NULL;
}

static void memory_runs_out_when_very_much_was_left(void **state)
{
    struct cache *cache = NULL;

    (void)state;
    cache_flush_all_left();
    depot_drain_all();
    release(allocate(0)); /* so that it does not become ours */
    partyalloc_thread_flush();
    run_thread(leave_very_much, &cache);
    assert_true(totals().blocks > VERY_MANY * 9 / 10);
    run_out_of_memory_now();
    cache->budget = CACHE_BYTES;
    partyalloc_trim();
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

static void what_a_thread_left_is_not_for_all_at_once(void **state)
{
    (void)state;
    cache_flush_all_left();
    run_thread(leave_blocks, NULL);
    assert_false(cache_flush_left(LEFT_AGE));
    assert_true(totals().blocks > 0);
    assert_true(cache_flush_left(0));
    assert_int_equal(totals().blocks, 0);
}

static void what_a_thread_left_goes_in_steps(void **state)
{
    (void)state;
    cache_flush_all_left();
    run_thread(leave_many_small_blocks, NULL);
    uint64_t left = totals().blocks;
    assert_true(cache_flush_left(0));
    assert_in_range(totals().blocks, left - 1000, left - 1);
    while (cache_flush_left(0))
        ;
    assert_int_equal(totals().blocks, 0);
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
    assert_int_equal(totals().blocks, 0);
    assert_int_equal(slab_totals().resting_blocks + depot_totals().blocks,
                     slab_totals().carved_blocks);
    /* All of them can be had again. */
    for (size_t i = 0; i < MANY; i++)
        blocks[i] = allocate(CLASS);
    assert_in_range(slab_totals().carved_blocks - carved, 0, 256);
    for (size_t i = 0; i < MANY; i++)
        release(blocks[i]);
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
        struct cache_totals before = totals();
        for (size_t i = 0; i < ROUNDS; i++) {
            held[0] = allocate(class);
            held[1] = allocate(class);
            release(held[0]);
            release(held[1]);
        }
        assert_int_equal(totals().misses, before.misses);
        assert_int_equal(totals().overflows, before.overflows);
    }
    partyalloc_thread_flush();
}

/* What the cache has no room for is taken and given one by one, at times when
 * magazines of the same class are filled at others. */
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

/* The first free goes past the cache: to the depot, or, since that has enough,
 * to the slab. */
static void a_block_freed_twice_past_a_full_cache_stops_at_once(void **state)
{
    (void)state;
    assert_child_stops(free_twice_with_room_for_the_second, (void *)0);
    assert_child_stops(free_twice_with_room_for_the_second, (void *)20);
}

static void *allocate_many(void *class)
{
    for (size_t i = 0; i < MANY; i++)
        blocks[i] = allocate(*(unsigned *)class);
    return NULL;
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
        /* Once around: the two on top change places. */
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
    uint64_t held = totals().blocks;
    size_t slots = cursor_slots(own);
    assert_in_range(slots, ONCE, 2 * ONCE);
    /* More than is given up at one look. */
    assert_true(gets_room_from_a_busy_bin(room_of((slots - NOW) / 2)));
    assert_int_equal(totals().blocks, held);
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
    /* More than the slots for own blocks would make. */
    assert_true(gets_room_from_a_busy_bin(
        room_of((cursor_slots(&bin->own) + slots) / 2 - 1)));
    assert_in_range(cursor_slots(&bin->foreign), FEW + 1, slots * 3 / 4);
    for (size_t i = 0; i < MANY; i++)
        if (i < FROM || i >= TO)
            release(blocks[i]);
    partyalloc_thread_flush();
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
        struct cache_totals before = totals();
        for (size_t round = 0; round < ROUNDS; round++) {
            for (size_t i = 0; i < swing; i++)
                blocks[i] = allocate(CLASS);
            for (size_t i = 0; i < swing; i++)
                release(blocks[i]);
        }
        struct cache_totals after = totals();
        /* Per operation, at most one in twenty. */
        assert_true(after.misses - before.misses + after.overflows
                        - before.overflows
                    <= 2 * swing * ROUNDS / 20 + ROUNDS / 10);
    }
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
        burst[i] = partyalloc_allocate(random_size(&random, 16, 2047), ANY_TYPE);
        require(burst[i] != NULL);
    }
    struct cache_totals before = totals();
    for (size_t i = 0; i < COUNT; i++)
        release(burst[i * STRIDE % COUNT]);
    assert_in_range(totals().overflows - before.overflows, 0, FEW);
    assert_in_range(totals().bytes, 0, CACHE_BYTES);
    partyalloc_thread_flush();
    depot_drain_all();
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
    /* None of it is old, and so it was seen. */
    cache->patience = UINT32_MAX;
    sleep_ms(100);
    uint64_t start = os_now();
    /* On a slow machine some of it went during the burst; no more goes than
     * what is over the allowance. */
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
    assert_int_equal(totals().blocks, 0);
}

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

/* Frees by turns what lies in two leaves, and tells how many slow ways it was.
 */
static uint64_t free_by_turns(size_t count)
{
    uint64_t before = totals().overflows;

    for (size_t i = 0; i < count / 2; i++) {
        release(blocks[i]);
        release(blocks[count - 1 - i]);
    }
    return totals().overflows - before;
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
    /* One in a magazine at the most, and the raised limits. */
    assert_in_range(free_by_turns(count), 1, count / 4);
    for (size_t i = 0; i < count; i++)
        blocks[i] = allocate(LEAF_CLASS);
    run_thread(free_all_by_turns, &count);
    partyalloc_trim();
    assert_int_equal(slab_totals().resting_blocks,
                     slab_totals().carved_blocks);
}

static void the_tag_of_a_cache_is_in_the_entries_of_its_slabs(void **state)
{
    (void)state;
    for (unsigned class = 0; class < CLASS_COUNT; class++) {
        void *block = allocate(class);
        uint32_t entry = page_map_entry(block);
        /* Taken from a depot that is empty, so from a slab of our own. */
        assert_int_equal(entry ^ thread_bins->tag, class << ENTRY_BIN_SHIFT);
        release(block);
    }
    partyalloc_thread_flush();
}

static void *remember_bins(void *place)
{
    release(allocate(1));
    *(struct bins **)place = thread_bins;
    return NULL;
}

static void an_exited_threads_cache_is_the_next_ones(void **state)
{
    struct bins *first, *second;

    (void)state;
    run_thread(remember_bins, &first);
    run_thread(remember_bins, &second);
    assert_ptr_equal(first, second);
    assert_ptr_not_equal(first, thread_bins);
}

struct visit {
    size_t processor;
    sem_t arrived, leave;
    pthread_t thread;
    struct bins *bins;
};

static void *visit(void *argument)
{
    struct visit *visit = argument;
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(visit->processor, &set);
    require(pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0);
    remember_bins(&visit->bins);
    require(sem_post(&visit->arrived) == 0);
    while (sem_wait(&visit->leave) != 0)
        require(errno == EINTR);
    return NULL;
}

static void begin_visit(struct visit *visits)
{
    require(sem_init(&visits->arrived, 0, 0) == 0);
    require(sem_init(&visits->leave, 0, 0) == 0);
    require(pthread_create(&visits->thread, NULL, visit, visits) == 0);
    while (sem_wait(&visits->arrived) != 0)
        require(errno == EINTR);
}

static void end_visit(struct visit *visit)
{
    require(sem_post(&visit->leave) == 0);
    require(pthread_join(visit->thread, NULL) == 0);
}

/* The first of two neighbours that we may use; CPU_SETSIZE: there are none. */
static size_t two_processors(void)
{
    cpu_set_t set;
    size_t first = 0;

    require(sched_getaffinity(0, sizeof set, &set) == 0);
    while (first < CPU_SETSIZE &&
           !(CPU_ISSET(first, &set) && CPU_ISSET(first + 1, &set)))
        first++;
    return first;
}

static void a_thread_takes_the_cache_that_was_used_on_its_processor(void **state)
{
    size_t processor = two_processors();
    struct visit first = {.processor = processor};
    struct visit second = {.processor = processor + 1};
    struct visit heir = first, second_heir = second;

    (void)state;
    if (processor == CPU_SETSIZE)
        return;
    begin_visit(&first);
    begin_visit(&second);
    end_visit(&first);
    /* Its cache is the one that became idle last. */
    end_visit(&second);
    begin_visit(&second_heir);
    end_visit(&second_heir);
    assert_ptr_equal(second_heir.bins, second.bins);
    begin_visit(&heir);
    end_visit(&heir);
    assert_ptr_equal(heir.bins, first.bins);
}

/* --- Threads for which no cache can be had --- */

enum { CACHELESS_BLOCKS = 400, CACHELESS_BYTES = 2 << 20 };

struct visitor {
    unsigned class;
    size_t wanted;
};

/* Blocks of all kinds of classes: of a granule, small, the last small one,
 * medium in slabs of many blocks and of few. */
static const struct visitor visitors[] = {
    {0, CACHELESS_BLOCKS}, {20, CACHELESS_BLOCKS}, {27, CACHELESS_BLOCKS},
    {30, CACHELESS_BLOCKS}, {40, 60}, {CLASS_COUNT - 1, 12},
};

/* From here on no cache can be made, and none that is there is taken. */
static void use_up_caches(void)
{
    cache_flush_all_left();
    while (cache_take_idle() != NULL)
        ;
    os_set_limit(1);
    for (size_t bytes = 64 * KIB; bytes >= 64; bytes /= 2)
        while (metadata_allocate(bytes, 64) != NULL)
            ;
}

static void *take_all_without_a_cache(void *argument)
{
    const struct visitor *visitor = argument;
    size_t size = size_classes[visitor->class].size;
    size_t count = 0;

    while (count < MANY &&
           (blocks[count] = cache_allocate_without(visitor->class)) != NULL)
        count++;
    /* What lies in the depot is had as well, when the slabs are empty. */
    require(count == MANY || depot_take_any(visitor->class) == NULL);
    require(count == MANY || depot_take_one(visitor->class) == NULL);
    errno = 0;
    while (count < MANY &&
           (blocks[count] = partyalloc_allocate(size, ANY_TYPE)) != NULL)
        count++;
    require(!thread_has_cache());
    require(errno == ENOMEM || count == MANY);
    require(count >= visitor->wanted);
    require_disjoint(blocks, count);
    for (size_t i = 0; i < count; i++)
        release(blocks[i]);
    return NULL;
}

/* So that no slab that is free is given up for another class. */
static int refuse_munmap(void *address, size_t length)
{
    (void)address, (void)length;
    errno = ENOMEM;
    return -1;
}

static void a_thread_without_a_cache_has_what_is_free(void **state)
{
    struct os_calls calls = os_calls;

    (void)state;
    depot_drain_all();
    for (size_t i = 0; i < ARRAY_LENGTH(visitors); i++) {
        for (size_t j = 0; j < visitors[i].wanted; j++)
            blocks[j] = allocate(visitors[i].class);
        for (size_t j = 0; j < visitors[i].wanted; j++)
            release(blocks[j]);
    }
    partyalloc_thread_flush();
    /* A few single ones, too. */
    depot_give_one(visitors[1].class, allocate(visitors[1].class));
    depot_give_one(visitors[4].class, allocate(visitors[4].class));
    partyalloc_thread_flush();
    assert_true(depot_totals().blocks > 2);
    use_up_caches();
    os_calls.munmap = refuse_munmap;
    for (size_t i = 0; i < ARRAY_LENGTH(visitors); i++) {
        struct visitor visitor = visitors[i];
        run_thread(take_all_without_a_cache, &visitor);
    }
    os_calls = calls;
    os_set_limit(0);
    partyalloc_trim();
    assert_int_equal(slab_totals().resting_blocks,
                     slab_totals().carved_blocks);
}

static void *come_by_a_cache(void *unused)
{
    release(allocate(1));
    require(thread_has_cache());
    return unused;
}

static void what_is_kept_of_large_blocks_makes_room_for_a_cache(void **state)
{
    (void)state;
    release(partyalloc_allocate(CACHELESS_BYTES, ANY_TYPE));
    assert_true(stats_now().large_cached_bytes >= CACHELESS_BYTES);
    use_up_caches();
    os_set_limit(os_mapped_bytes());
    run_thread(come_by_a_cache, NULL);
    os_set_limit(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_far_from_home_are_freed_as_fast),
        cmocka_unit_test(the_tag_of_a_cache_is_in_the_entries_of_its_slabs),
        cmocka_unit_test(an_own_block_comes_back_first),
        cmocka_unit_test(a_cache_stays_within_its_bytes),
        cmocka_unit_test(of_each_medium_class_a_cache_keeps_a_few_blocks),
        cmocka_unit_test(a_medium_magazine_is_deep_when_blocks_go_to_and_fro),
        cmocka_unit_test(what_a_thread_left_is_not_for_all_at_once),
        cmocka_unit_test(a_class_that_is_idle_is_emptied),
        cmocka_unit_test(memory_runs_out_when_all_of_it_is_taken),
        cmocka_unit_test(memory_runs_out_when_all_that_threads_left_is_taken),
        cmocka_unit_test(memory_runs_out_when_single_blocks_are_taken_too),
        cmocka_unit_test(memory_runs_out_when_a_full_cache_has_taken_all_of_it),
        cmocka_unit_test(memory_runs_out_when_anothers_blocks_are_taken_too),
        cmocka_unit_test(memory_runs_out_when_very_much_was_left),
        cmocka_unit_test(what_was_left_is_taken_in_steps_when_memory_runs_out),
        cmocka_unit_test(a_flush_leaves_nothing_and_keeps_every_block),
        cmocka_unit_test(a_cache_hit_touches_nothing_shared),
        cmocka_unit_test(a_full_cache_hands_out_each_block_once),
        cmocka_unit_test(a_block_freed_twice_past_a_full_cache_stops_at_once),
        cmocka_unit_test(a_bin_gives_up_slots_that_it_does_not_use),
        cmocka_unit_test(slots_for_anothers_blocks_are_given_up_too),
        cmocka_unit_test(going_to_and_fro_costs_no_slow_path_each_time),
        cmocka_unit_test(a_burst_of_all_classes_takes_few_slow_paths),
        cmocka_unit_test(anothers_block_is_not_handed_out_again_at_once),
        cmocka_unit_test(what_has_grown_old_goes_though_little_is_freed),
        cmocka_unit_test(an_exited_threads_cache_is_the_next_ones),
        cmocka_unit_test(
            a_thread_takes_the_cache_that_was_used_on_its_processor),
        cmocka_unit_test(flushes_lose_no_magazine),
        cmocka_unit_test(what_a_thread_left_goes_in_steps),
        /* These use up what others would need. */
        cmocka_unit_test(a_thread_without_a_cache_has_what_is_free),
        cmocka_unit_test(what_is_kept_of_large_blocks_makes_room_for_a_cache),
    };

    return run_all(tests);
}
