/* SPDX-License-Identifier: MIT */
/* When memory is short: all that is free is found, with a cache and without. */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>

#include "caches.h"
#include "chunk.h"
#include "depot.h"
#include "large.h"
#include "metadata.h"
#include "os.h"
#include "page_map.h"
#include "shortage.h"
#include "size_class.h"
#include "thread.h"
#include "thread_cache_internal.h"

/* Allocates without the measures against a shortage. */
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

/* Allocates until there is none; returns a list of the blocks. */
static void **take_all(size_t size, void *from(size_t size), void **list)
{
    void **block;

    while ((block = from(size)) != NULL) {
        *block = list;
        list = block;
    }
    return list;
}

/* When memory has run out, nothing of the class is left; then the caches are
 * emptied of all other classes. */
static void run_out_of_memory_now(void)
{
    size_t size = size_classes[LEFT_CLASS].size;
    void **block;

    os_set_limit(os_mapped_bytes());
    void **list = take_all(size, allocate_plainly, NULL);
    assert_null(depot_take_any(LEFT_CLASS));
    assert_null(depot_take_one(LEFT_CLASS));
    assert_false(cursor_is_loaded(&thread_bins->of_class[LEFT_CLASS].foreign));
    list = take_all(size, allocate_in_need, list);
    os_set_limit(0);
    assert_int_equal(cache_totals().blocks, 0);
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

/* A cache takes some magazines of others only when all else is gone. */
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

/* Nothing is given up if all of it could not be enough. */
static void what_can_be_enough_is_reckoned(void **state)
{
    (void)state;
    allocate_many(&(unsigned){LEFT_CLASS});
    for (size_t i = 0; i < MANY; i++)
        release(blocks[i]);
    os_set_limit(os_mapped_bytes() + MIB);
    size_t most = os_room_bytes() + large_kept_bytes() + chunk_left_bytes() +
                  slab_free_bytes();
    size_t cached = cache_totals().bytes;
    assert_in_range(cached, CACHE_BYTES / 4, CACHE_BYTES);
    assert_non_null(shortage_of(most).next);
    assert_non_null(shortage_of(most + cached).next);
    most += cached + depot_totals().bytes + slab_local_bytes();
    assert_null(shortage_of(most + 1).next);
    assert_null(shortage_of(SIZE_MAX).next);
    os_set_limit(0);
    partyalloc_thread_flush();
}

/* More than is handed on bit by bit. */
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
    release(allocate(0)); /* so that we do not take that cache */
    partyalloc_thread_flush();
    run_thread(leave_very_much, &cache);
    assert_true(cache_totals().blocks > VERY_MANY * 9 / 10);
    /* Bit by bit for a while, then all at once. */
    struct shortage shortage = shortage_of_small();
    for (int i = 0; i < 100 && shortage_relieve(&shortage); i++)
        ;
    assert_int_equal(cache_totals().blocks, 0);
    run_out_of_memory_now();
    cache->budget = CACHE_BYTES;
    partyalloc_trim();
}

enum { LATER_CLASS = 12, LATER_BLOCKS = 1100, WANTED_CLASS = 10 };

static sem_t has_allocated, may_free;

static void await(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0)
        require(errno == EINTR);
}

/* Several steps' worth of the class that comes first; then a block of the
 * wanted class, and of a later one more than the last step takes. */
static void *leave_what_takes_steps(void *unused)
{
    static void *later[LATER_BLOCKS];

    for (size_t i = 0; i < MANY; i++)
        blocks[i] = allocate(0);
    for (size_t i = 0; i < LATER_BLOCKS; i++)
        later[i] = allocate(LATER_CLASS);
    /* It lies in a loaded magazine from now on, out of others' reach. */
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

/* Of what was left, who runs out of memory takes no more than it needs. */
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
    /* The class that comes first is gone, and what the last step took besides;
     * this thread has a few blocks of its own. */
    assert_in_range(cache_totals().blocks, LATER_BLOCKS / 4,
                    LATER_BLOCKS + MAGAZINE_SLOTS);
    while ((block = list) != NULL) {
        list = *block;
        release(block);
    }
    partyalloc_trim();
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

/* From here on no cache can be made, and none is left to take. */
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

    for (; count < visitor->wanted / 2; count++) {
        blocks[count] = partyalloc_allocate(size, ANY_TYPE);
        require(blocks[count] != NULL);
    }
    while (count < MANY &&
           (blocks[count] = cache_allocate_without(visitor->class)) != NULL)
        count++;
    /* What lies in the depot comes next, when the slabs are empty. */
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

/* So that no free slab is given up for another class. */
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
    have_a_cache(); /* and a free block that can be had without one */
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
        cmocka_unit_test(memory_runs_out_when_all_of_it_is_taken),
        cmocka_unit_test(memory_runs_out_when_all_that_threads_left_is_taken),
        cmocka_unit_test(memory_runs_out_when_single_blocks_are_taken_too),
        cmocka_unit_test(memory_runs_out_when_a_full_cache_has_taken_all_of_it),
        cmocka_unit_test(memory_runs_out_when_anothers_blocks_are_taken_too),
        cmocka_unit_test(what_can_be_enough_is_reckoned),
        cmocka_unit_test(memory_runs_out_when_very_much_was_left),
        cmocka_unit_test(what_was_left_is_taken_in_steps_when_memory_runs_out),
        /* These use up what others would need. */
        cmocka_unit_test(a_thread_without_a_cache_has_what_is_free),
        cmocka_unit_test(what_is_kept_of_large_blocks_makes_room_for_a_cache),
    };

    have_a_cache();
    return run_all(tests);
}
