/* SPDX-License-Identifier: MIT */
/* The caches that threads leave: who has them next, and what lies in them. */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

#include "caches.h"
#include "thread.h"
#include "thread_cache_internal.h"

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

/* The first of two adjacent ones that we may use; CPU_SETSIZE: none. */
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

static void a_thread_takes_the_cache_that_was_used_on_its_processor(
    void **state)
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
    /* The second's cache became idle last. */
    end_visit(&second);
    begin_visit(&second_heir);
    end_visit(&second_heir);
    assert_ptr_equal(second_heir.bins, second.bins);
    begin_visit(&heir);
    end_visit(&heir);
    assert_ptr_equal(heir.bins, first.bins);
}

static void what_a_thread_left_is_not_for_all_at_once(void **state)
{
    (void)state;
    cache_flush_all_left();
    run_thread(leave_blocks, NULL);
    assert_false(cache_flush_left(LEFT_AGE));
    assert_true(cache_totals().blocks > 0);
    assert_true(cache_flush_left(0));
    assert_int_equal(cache_totals().blocks, 0);
}

static void *leave_many_small_blocks(void *unused)
{
    for (size_t i = 0; i < MANY; i++)
        blocks[i] = allocate(0);
    for (size_t i = 0; i < MANY; i++)
        release(blocks[i]);
    return unused;
}

static void what_a_thread_left_goes_in_steps(void **state)
{
    (void)state;
    cache_flush_all_left();
    run_thread(leave_many_small_blocks, NULL);
    uint64_t left = cache_totals().blocks;
    assert_true(cache_flush_left(0));
    assert_in_range(cache_totals().blocks, left - 1000, left - 1);
    while (cache_flush_left(0))
        ;
    assert_int_equal(cache_totals().blocks, 0);
    /* Nor does it keep the blocks' magazines. */
    for (struct cache *cache = cache_next(NULL); cache != NULL;
         cache = cache_next(cache))
        if (cache_bins(cache) != thread_bins)
            assert_true(cache->empties == NULL && cache->spare_empties == NULL);
}

static void take_one(void *unused)
{
    (void)unused;
    require(cache_take_idle() != NULL);
    require(cache_totals().blocks == 0);
}

/* Their threads do not exist there, and the child need make no others. */
static void the_child_of_a_fork_has_its_parents_other_caches(void **state)
{
    (void)state;
    run_thread(leave_blocks, NULL);
    assert_child_succeeds(take_one, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_exited_threads_cache_is_the_next_ones),
        cmocka_unit_test(
            a_thread_takes_the_cache_that_was_used_on_its_processor),
        cmocka_unit_test(what_a_thread_left_is_not_for_all_at_once),
        cmocka_unit_test(what_a_thread_left_goes_in_steps),
        cmocka_unit_test(the_child_of_a_fork_has_its_parents_other_caches),
    };

    have_a_cache();
    return run_all(tests);
}
