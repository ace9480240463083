/* SPDX-License-Identifier: MIT */
/* A child after fork() has a working allocator, whatever others were doing. */
#include "support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { WORKERS = 4, FORKS = UNDER_SANITIZER ? 20 : 100, BLOCKS = 500 };

static atomic_bool stop_workers;
static atomic_int ready; /* workers that are set up for the fork */
static struct filled parents_blocks[BLOCKS];

static void *work(void *argument)
{
    struct random random = {(uintptr_t)argument};

    for (size_t turn = 0; !atomic_load(&stop_workers); turn++) {
        struct filled many[64];
        if (turn == 1)
            atomic_fetch_add(&ready, 1);
        for (size_t i = 0; i < ARRAY_LENGTH(many); i++)
            many[i] = filled_allocate(random_size(&random, 1, 5000), i);
        struct filled large = filled_allocate(300000 + 5 * KIB, 1);
        for (size_t i = 0; i < ARRAY_LENGTH(many); i++)
            filled_free(&many[i]);
        filled_free(&large);
    }
    return NULL;
}

static void live_a_little(size_t size_max)
{
    struct random random = {5};
    struct filled own[BLOCKS];

    for (size_t i = 0; i < BLOCKS; i++)
        own[i] = filled_allocate(random_size(&random, 1, size_max), i);
    for (size_t i = 0; i < BLOCKS; i++)
        filled_free(&own[i]);
}

static void *live_on_a_thread(void *unused)
{
    (void)unused;
    live_a_little(5000);
    return NULL;
}

static void use_parents_blocks(void *unused)
{
    (void)unused;
    for (size_t i = 0; i < BLOCKS; i++)
        filled_free(&parents_blocks[i]);
    live_a_little(400000);
    partyalloc_thread_flush();
    partyalloc_trim();
    partyalloc_maintain(1000000);
    stats_now();
    live_a_little(5000);
    /* The thread sanitizer does not follow threads past a fork. */
    if (!UNDER_THREAD_SANITIZER)
        run_threads(2, live_on_a_thread, NULL, 0);
}

/* Starts them and waits until all are ready.  A fork while a thread starts can
 * leave a lock of the address sanitizer held for ever. */
static void start_workers(pthread_t *workers, thread_body *body)
{
    atomic_store(&stop_workers, false);
    atomic_store(&ready, 0);
    for (size_t i = 0; i < WORKERS; i++)
        require(pthread_create(&workers[i], NULL, body, (void *)i) == 0);
    while (atomic_load(&ready) < WORKERS)
        sleep_ms(1);
}

static void end_workers(const pthread_t *workers)
{
    atomic_store(&stop_workers, true);
    for (size_t i = 0; i < WORKERS; i++)
        require(pthread_join(workers[i], NULL) == 0);
}

static void a_child_uses_its_parents_blocks_while_others_allocate(void **state)
{
    pthread_t workers[WORKERS];
    struct random random = {1};

    (void)state;
    for (size_t i = 0; i < BLOCKS; i++)
        parents_blocks[i] = filled_allocate(random_size(&random, 1, 9000), i);
    start_workers(workers, work);
    for (int i = 0; i < FORKS; i++)
        assert_child_succeeds(use_parents_blocks, NULL);
    end_workers(workers);
    for (size_t i = 0; i < BLOCKS; i++)
        filled_free(&parents_blocks[i]);
    assert_int_equal(stats_now().small_live_blocks, 0);
}

static void be_grandparent(void *unused)
{
    (void)unused;
    use_parents_blocks(NULL);
    struct ending ending = run_in_child(use_parents_blocks, NULL);
    require(ending.status == 0);
    live_a_little(5000);
}

static void a_childs_child_works_too(void **state)
{
    pthread_t workers[WORKERS];

    (void)state;
    start_workers(workers, work);
    for (int i = 0; i < 10; i++)
        assert_child_succeeds(be_grandparent, NULL);
    end_workers(workers);
}

/* --- what was cached by threads that the child does not have --- */

enum { HELD = 1000, HELD_SIZE = 64 };

static void *held[WORKERS][HELD];
static atomic_int holding;

static void *hold_free_blocks(void *argument)
{
    size_t worker = (uintptr_t)argument;

    for (size_t i = 0; i < HELD; i++)
        held[worker][i] = partyalloc_allocate(HELD_SIZE, ANY_TYPE);
    /* No worker gets a block that another has had. */
    atomic_fetch_add(&holding, 1);
    while (atomic_load(&holding) < WORKERS)
        sleep_ms(1);
    for (size_t i = 0; i < HELD; i++)
        partyalloc_free(held[worker][i], ANY_TYPE);
    atomic_fetch_add(&ready, 1);
    while (!atomic_load(&stop_workers))
        sleep_ms(1);
    return NULL;
}

static int compare_pointers(const void *left, const void *right)
{
    uintptr_t a = *(const uintptr_t *)left;
    uintptr_t b = *(const uintptr_t *)right;

    return (a > b) - (a < b);
}

static void take_what_threads_held(void *unused)
{
    enum { ATTEMPTS = 4 * WORKERS * HELD };
    void **all = &held[0][0];
    size_t found = 0;

    (void)unused;
    qsort(all, WORKERS * HELD, sizeof *all, compare_pointers);
    for (size_t i = 0; i < ATTEMPTS; i++) {
        void *block = partyalloc_allocate(HELD_SIZE, ANY_TYPE);
        require(block != NULL);
        found += bsearch(&block, all, WORKERS * HELD, sizeof *all,
                         compare_pointers) != NULL;
    }
    require(found >= WORKERS * HELD * 99 / 100);
}

static void a_child_takes_over_what_other_threads_caches_held(void **state)
{
    pthread_t workers[WORKERS];

    (void)state;
    atomic_store(&holding, 0);
    start_workers(workers, hold_free_blocks);
    assert_child_succeeds(take_what_threads_held, NULL);
    end_workers(workers);
}

static void want_no_service_thread(void *unused)
{
    (void)unused;
    require(partyalloc_stop_service_thread() != 0);
    live_a_little(5000);
    if (UNDER_THREAD_SANITIZER)
        return;
    require(partyalloc_start_service_thread() == 0);
    live_a_little(5000);
    require(partyalloc_stop_service_thread() == 0);
}

static void a_child_takes_over_what_exited_threads_left(void **state)
{
    pthread_t workers[WORKERS];

    (void)state;
    partyalloc_trim();
    atomic_store(&holding, 0);
    start_workers(workers, hold_free_blocks);
    end_workers(workers);
    assert_child_succeeds(take_what_threads_held, NULL);
}

static void a_child_has_no_service_thread(void **state)
{
    (void)state;
    assert_int_equal(partyalloc_start_service_thread(), 0);
    assert_child_succeeds(want_no_service_thread, NULL);
    assert_int_equal(partyalloc_stop_service_thread(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_uses_its_parents_blocks_while_others_allocate),
        cmocka_unit_test(a_childs_child_works_too),
        cmocka_unit_test(a_child_takes_over_what_other_threads_caches_held),
        cmocka_unit_test(a_child_takes_over_what_exited_threads_left),
        cmocka_unit_test(a_child_has_no_service_thread),
    };

    return run_all(tests);
}
