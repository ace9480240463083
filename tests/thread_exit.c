/* SPDX-License-Identifier: MIT */
/* What a thread leaves behind when it exits. */
#include "support.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { LEFT = 1000, SIZE = 64 };

/* What a thread's cache may hold of small blocks. */
enum { CACHE_BYTES = 512 * KIB };

struct leavings {
    void *blocks[LEFT];
    struct filled filled[LEFT];
};

static void *leave_free_blocks(void *argument)
{
    struct leavings *leavings = argument;

    for (size_t i = 0; i < LEFT; i++) {
        leavings->blocks[i] = partyalloc_allocate(SIZE, ANY_TYPE);
        require(leavings->blocks[i] != NULL);
    }
    for (size_t i = 0; i < LEFT; i++)
        partyalloc_free(leavings->blocks[i], ANY_TYPE);
    return NULL;
}

static bool was_left(const struct leavings *leavings, const void *block)
{
    for (size_t i = 0; i < LEFT; i++)
        if (leavings->blocks[i] == block)
            return true;
    return false;
}

/* How many of the leavings are among the next blocks that are allocated. */
static size_t find_leavings(const struct leavings *leavings, size_t attempts)
{
    void **taken = malloc(attempts * sizeof *taken);
    size_t found = 0;

    for (size_t i = 0; i < attempts; i++) {
        taken[i] = partyalloc_allocate(SIZE, ANY_TYPE);
        require(taken[i] != NULL);
        found += was_left(leavings, taken[i]);
    }
    for (size_t i = 0; i < attempts; i++)
        partyalloc_free(taken[i], ANY_TYPE);
    free(taken);
    return found;
}

/* Longer than what an exited thread leaves is kept for its successor. */
static void wait_until_it_is_for_all(void)
{
    nanosleep(&(struct timespec){0, 150000000}, NULL);
}

static void an_exited_threads_free_blocks_serve_the_others(void **state)
{
    static struct leavings leavings;

    (void)state;
    run_thread(leave_free_blocks, &leavings);
    wait_until_it_is_for_all();
    assert_int_equal(find_leavings(&leavings, 8 * LEFT), LEFT);
}

static void *find_in_thread(void *argument)
{
    require(find_leavings(argument, 8 * LEFT) == LEFT);
    return NULL;
}

static void an_exited_threads_free_blocks_serve_a_later_thread(void **state)
{
    static struct leavings leavings;

    (void)state;
    /* This thread lets go of what it alone could allocate from. */
    partyalloc_thread_flush();
    run_thread(leave_free_blocks, &leavings);
    run_thread(find_in_thread, &leavings);
}

static void *leave_live_blocks(void *argument)
{
    struct leavings *leavings = argument;
    struct random random = {1};

    for (size_t i = 0; i < LEFT; i++)
        leavings->filled[i] =
            filled_allocate(random_size(&random, 1, 3000), i);
    return NULL;
}

static void *free_live_blocks(void *argument)
{
    struct leavings *leavings = argument;

    for (size_t i = 0; i < LEFT; i++)
        filled_free(&leavings->filled[i]);
    return NULL;
}

static void live_blocks_outlive_their_thread(void **state)
{
    static struct leavings leavings;
    uint64_t before = stats_now().small_live_blocks;

    (void)state;
    run_thread(leave_live_blocks, &leavings);
    assert_int_equal(stats_now().small_live_blocks - before, LEFT);
    run_thread(free_live_blocks, &leavings);
    assert_int_equal(stats_now().small_live_blocks, before);
    run_thread(leave_live_blocks, &leavings);
    free_live_blocks(&leavings);
    assert_int_equal(stats_now().small_live_blocks, before);
}

static __attribute__((noinline)) void *churn(void *unused)
{
    struct random random = {2};

    (void)unused;
    for (size_t i = 0; i < LEFT; i++) {
        struct filled filled =
            filled_allocate(random_size(&random, 1, 3000), i);
        filled_free(&filled);
    }
    return NULL;
}

static void a_later_thread_takes_over_the_cache_of_an_exited_one(void **state)
{
    (void)state;
    run_thread(churn, NULL);
    uint64_t threads = stats_now().threads;
    size_t mapped = stats_now().mapped_bytes;
    for (int i = 0; i < 100; i++)
        run_thread(churn, NULL);
    assert_int_equal(stats_now().threads, threads);
    assert_int_equal(stats_now().mapped_bytes, mapped);
}

/* What all caches but that of this thread hold. */
static size_t left_in_caches(void)
{
    partyalloc_thread_flush();
    return stats_now().cache_bytes;
}

static void allocate_and_free(size_t count, size_t bytes)
{
    enum { MOST = 2000 };
    static _Thread_local void *blocks[MOST];

    require(count <= MOST);
    for (size_t i = 0; i < count; i++)
        blocks[i] = partyalloc_allocate(bytes, ANY_TYPE);
    for (size_t i = 0; i < count; i++)
        partyalloc_free(blocks[i], ANY_TYPE);
}

static void *leave_as_much_as_a_cache_takes(void *unused)
{
    allocate_and_free(2000, KIB);
    return unused;
}

static void few_bytes_rest_in_the_caches_of_exited_threads(void **state)
{
    (void)state;
    partyalloc_trim();
    for (int i = 0; i < 4; i++)
        run_threads(32, leave_as_much_as_a_cache_takes, NULL, 0);
    assert_in_range(left_in_caches(), 1, 8 * CACHE_BYTES);
}

static void a_trim_reaches_the_caches_of_exited_threads(void **state)
{
    (void)state;
    run_threads(4, leave_as_much_as_a_cache_takes, NULL, 0);
    assert_true(left_in_caches() > 0);
    partyalloc_trim();
    assert_int_equal(left_in_caches(), 0);
}

static void upkeep_reaches_the_caches_of_exited_threads(void **state)
{
    (void)state;
    partyalloc_maintain(0);
    run_threads(4, leave_as_much_as_a_cache_takes, NULL, 0);
    partyalloc_maintain(0);
    assert_true(left_in_caches() > 0);
    wait_until_it_is_for_all();
    partyalloc_maintain(10 * 1000 * 1000);
    assert_int_equal(left_in_caches(), 0);
}

static void *leave_medium_blocks(void *unused)
{
    allocate_and_free(20, 32 * KIB);
    return unused;
}

static void medium_blocks_are_not_kept_for_a_later_thread(void **state)
{
    (void)state;
    partyalloc_trim();
    run_thread(leave_medium_blocks, NULL);
    assert_int_equal(left_in_caches(), 0);
}

static void *exit_early(void *unused)
{
    churn(unused);
    pthread_exit(NULL);
}

/* pause(): AddressSanitizer does not see that the frames of a cancelled thread
 * end, so none of them may have a variable in memory. */
static void *wait_to_be_cancelled(void *unused)
{
    churn(unused);
    for (;;)
        pause();
    return NULL;
}

static void a_thread_may_end_by_pthread_exit_or_cancellation(void **state)
{
    uint64_t threads = stats_now().threads;

    (void)state;
    for (int i = 0; i < 50; i++) {
        pthread_t thread;

        run_thread(exit_early, NULL);
        assert_int_equal(
            pthread_create(&thread, NULL, wait_to_be_cancelled, NULL), 0);
        assert_int_equal(pthread_cancel(thread), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    assert_int_equal(stats_now().threads, threads);
    assert_int_equal(stats_now().small_live_blocks, 0);
}

/* --- a thread whose end was seen already, at the cap --- */

static void run_out_of_memory(void *unused)
{
    void *list = NULL;
    void **block;

    (void)unused;
    while ((block = partyalloc_allocate(1000, ANY_TYPE)) != NULL) {
        *block = list;
        list = block;
    }
    while ((block = list) != NULL) {
        list = *block;
        partyalloc_free(block, ANY_TYPE);
    }
}

static void *leave_to_a_destructor(void *key)
{
    partyalloc_free(partyalloc_allocate(SIZE, ANY_TYPE), ANY_TYPE);
    require(pthread_setspecific(*(pthread_key_t *)key, key) == 0);
    return NULL;
}

static void run_out_in_a_destructor(void *unused)
{
    pthread_key_t key;

    (void)unused;
    require(pthread_key_create(&key, run_out_of_memory) == 0);
    require(partyalloc_set_limit(stats_now().mapped_bytes + 8 * MIB) == 0);
    run_thread(leave_to_a_destructor, &key);
    require(partyalloc_set_limit(0) == 0);
}

static void memory_runs_out_in_a_destructor_too(void **state)
{
    (void)state;
    assert_child_succeeds(run_out_in_a_destructor, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_exited_threads_free_blocks_serve_the_others),
        cmocka_unit_test(an_exited_threads_free_blocks_serve_a_later_thread),
        cmocka_unit_test(live_blocks_outlive_their_thread),
        cmocka_unit_test(a_later_thread_takes_over_the_cache_of_an_exited_one),
        cmocka_unit_test(few_bytes_rest_in_the_caches_of_exited_threads),
        cmocka_unit_test(a_trim_reaches_the_caches_of_exited_threads),
        cmocka_unit_test(upkeep_reaches_the_caches_of_exited_threads),
        cmocka_unit_test(medium_blocks_are_not_kept_for_a_later_thread),
        cmocka_unit_test(a_thread_may_end_by_pthread_exit_or_cancellation),
        cmocka_unit_test(memory_runs_out_in_a_destructor_too),
    };

    return run_all(tests);
}
