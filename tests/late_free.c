/* SPDX-License-Identifier: MIT */
/*
 * Allocating and freeing while a thread or the process is ending: in the
 * destructors of other keys, in as many rounds as the system runs, in atexit
 * handlers, and in destructor functions.
 */
#include "support.h"

#include <pthread.h>
#include <stdlib.h>

enum { KEYS = 3, BLOCKS = 200, THREADS = UNDER_SANITIZER ? 20 : 100 };

/* The system runs four rounds; the thread sanitizer has left the thread in
 * the last one. */
enum { ROUNDS = UNDER_THREAD_SANITIZER ? 3 : 4 };

struct bequest {
    pthread_key_t key;
    int rounds_left;
    struct filled blocks[BLOCKS];
};

static pthread_key_t keys[KEYS];

static void allocate_bequest(struct bequest *bequest)
{
    struct random random = {(uint64_t)bequest->rounds_left};

    for (size_t i = 0; i < BLOCKS; i++)
        bequest->blocks[i] =
            filled_allocate(random_size(&random, 1, 2000), i);
}

static void free_bequest(struct bequest *bequest)
{
    for (size_t i = 0; i < BLOCKS; i++)
        filled_free(&bequest->blocks[i]);
}

/* Frees what the last round left, and leaves more for the next one. */
static void destroy(void *argument)
{
    struct bequest *bequest = argument;

    free_bequest(bequest);
    struct filled large = filled_allocate(MIB, 3);
    if (--bequest->rounds_left > 0) {
        allocate_bequest(bequest);
        require(pthread_setspecific(bequest->key, bequest) == 0);
    } else {
        partyalloc_free(bequest, ANY_TYPE);
    }
    filled_free(&large);
}

static void make_keys(void)
{
    for (size_t i = 0; i < KEYS; i++)
        require(pthread_key_create(&keys[i], destroy) == 0);
}

static void delete_keys(void)
{
    for (size_t i = 0; i < KEYS; i++)
        require(pthread_key_delete(keys[i]) == 0);
}

static struct bequest *make_bequest(pthread_key_t key)
{
    struct bequest *bequest =
        partyalloc_allocate(sizeof(struct bequest), ANY_TYPE);

    require(bequest != NULL);
    bequest->key = key;
    bequest->rounds_left = ROUNDS;
    return bequest;
}

static void *leave_to_destructors(void *unused)
{
    (void)unused;
    for (size_t i = 0; i < KEYS; i++) {
        struct bequest *bequest = make_bequest(keys[i]);
        allocate_bequest(bequest);
        require(pthread_setspecific(keys[i], bequest) == 0);
    }
    return NULL;
}

static void run_leaving_threads(void)
{
    for (int i = 0; i < THREADS; i += 4)
        run_threads(4, leave_to_destructors, NULL, 0);
}

static void key_destructors_may_use_every_round(void **state)
{
    (void)state;
    make_keys();
    run_leaving_threads();
    size_t mapped = stats_now().mapped_bytes;
    run_leaving_threads();
    run_leaving_threads();
    assert_int_equal(stats_now().small_live_blocks, 0);
    assert_int_equal(stats_now().large_live_blocks, 0);
    /* How many threads end at once differs from run to run, and with it how
     * many slabs are held: a few chunks of 4 MiB more or less. */
    assert_in_range(stats_now().mapped_bytes, 0, mapped + 12 * MIB);
    assert_in_range(stats_now().threads, 1, 16);
    delete_keys();
}

static struct bequest *next_bequest;

static void *use_in_destructor_only(void *unused)
{
    (void)unused;
    require(pthread_setspecific(keys[0], next_bequest) == 0);
    return NULL;
}

static void the_allocator_may_be_met_first_in_a_destructor(void **state)
{
    (void)state;
    make_keys();
    for (int i = 0; i < THREADS; i++) {
        next_bequest = make_bequest(keys[0]);
        allocate_bequest(next_bequest);
        run_thread(use_in_destructor_only, NULL);
    }
    assert_int_equal(stats_now().small_live_blocks, 0);
    assert_in_range(stats_now().threads, 1, 16);
    delete_keys();
}

/* --- the end of the process --- */

static struct bequest *last_will;

static void use_at_exit(void)
{
    free_bequest(last_will);
    partyalloc_free(last_will, ANY_TYPE);
    struct filled small = filled_allocate(100, 1);
    struct filled large = filled_allocate(MIB, 1);
    filled_free(&small);
    filled_free(&large);
    last_will = NULL;
}

/* Runs after all atexit handlers; the parent has no last will. */
__attribute__((destructor)) static void use_in_a_destructor_function(void)
{
    if (last_will != NULL)
        use_at_exit();
}

static void *exit_on_another_thread(void *unused)
{
    (void)unused;
    exit(0);
}

static void leave_a_will(void)
{
    last_will = make_bequest(0);
    allocate_bequest(last_will);
}

static void exit_with_handler(void *unused)
{
    (void)unused;
    leave_a_will();
    require(atexit(use_at_exit) == 0);
    exit(0);
}

static void exit_with_destructor(void *unused)
{
    (void)unused;
    leave_a_will();
    exit(0);
}

static void exit_from_thread(void *unused)
{
    (void)unused;
    leave_a_will();
    require(atexit(use_at_exit) == 0);
    run_thread(exit_on_another_thread, NULL);
}

static void atexit_handlers_may_allocate_and_free(void **state)
{
    (void)state;
    assert_child_succeeds(exit_with_handler, NULL);
    assert_child_succeeds(exit_from_thread, NULL);
}

static void destructor_functions_may_allocate_and_free(void **state)
{
    (void)state;
    assert_child_succeeds(exit_with_destructor, NULL);
}

static void *churn_for_ever(void *argument)
{
    struct random random = {(uintptr_t)argument};

    for (;;) {
        struct filled filled =
            filled_allocate(random_size(&random, 1, 500000), 1);
        filled_free(&filled);
    }
    return NULL;
}

static void exit_under_running_threads(void *unused)
{
    (void)unused;
    leave_a_will();
    require(atexit(use_at_exit) == 0);
    for (int i = 0; i < 4; i++) {
        pthread_t thread;
        require(pthread_create(&thread, NULL, churn_for_ever, NULL) == 0);
    }
    sleep_ms(20);
    exit(0);
}

static void the_process_may_exit_under_running_threads(void **state)
{
    (void)state;
    for (int i = 0; i < (UNDER_SANITIZER ? 3 : 10); i++)
        assert_child_succeeds(exit_under_running_threads, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_destructors_may_use_every_round),
        cmocka_unit_test(the_allocator_may_be_met_first_in_a_destructor),
        cmocka_unit_test(atexit_handlers_may_allocate_and_free),
        cmocka_unit_test(destructor_functions_may_allocate_and_free),
        cmocka_unit_test(the_process_may_exit_under_running_threads),
    };

    return run_all(tests);
}
