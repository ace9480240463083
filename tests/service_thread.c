/* SPDX-License-Identifier: MIT */
/* The optional thread that does the upkeep. */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

static size_t thread_count(void)
{
    char line[256];
    size_t count = 0;
    FILE *file = fopen("/proc/self/status", "r");

    require(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "Threads: %zu", &count) == 1)
            break;
    fclose(file);
    return count;
}

/* A thread that was joined may still be counted for a moment. */
static bool comes_to_thread_count(size_t count)
{
    for (int i = 0; i < 1000 && thread_count() != count; i++)
        sleep_ms(1);
    return thread_count() == count;
}

static void no_thread_runs_unless_asked_for(void **state)
{
    struct filled filled = filled_allocate(100, 1);
    size_t before = thread_count();

    (void)state;
    for (int i = 0; i < 100; i++)
        partyalloc_maintain(1000);
    partyalloc_trim();
    assert_int_equal(thread_count(), before);
    filled_free(&filled);
}

static void *do_nothing(void *unused)
{
    return unused;
}

static void start_and_stop_say_what_they_did(void **state)
{
    /* ThreadSanitizer starts a thread of its own with the first of ours. */
    run_thread(do_nothing, NULL);
    size_t before = thread_count();

    (void)state;
    assert_int_equal(partyalloc_stop_service_thread(), ESRCH);
    assert_int_equal(partyalloc_start_service_thread(), 0);
    assert_true(comes_to_thread_count(before + 1));
    assert_int_equal(partyalloc_start_service_thread(), EALREADY);
    assert_true(comes_to_thread_count(before + 1));
    assert_int_equal(partyalloc_stop_service_thread(), 0);
    assert_true(comes_to_thread_count(before));
    assert_int_equal(partyalloc_stop_service_thread(), ESRCH);
}

static void set_stack_bytes(size_t bytes)
{
    pthread_attr_t attributes;

    require(pthread_attr_init(&attributes) == 0);
    require(pthread_attr_setstacksize(&attributes, bytes) == 0);
    require(pthread_setattr_default_np(&attributes) == 0);
    require(pthread_attr_destroy(&attributes) == 0);
}

/* No stack can be larger than the address space. */
static void start_what_cannot_be(void *unused)
{
    (void)unused;
    set_stack_bytes((size_t)1 << 60);
    int error = partyalloc_start_service_thread();
    require(error != 0 && error != EALREADY);
    require(partyalloc_stop_service_thread() == ESRCH);
    set_stack_bytes(MIB);
    require(partyalloc_start_service_thread() == 0);
    require(partyalloc_stop_service_thread() == 0);
}

static void it_may_start_after_it_could_not(void **state)
{
    (void)state;
    if (UNDER_SANITIZER)
        return; /* it gives threads stacks of its own */
    assert_child_succeeds(start_what_cannot_be, NULL);
}

static void it_may_start_and_stop_many_times(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        assert_int_equal(partyalloc_start_service_thread(), 0);
        assert_int_equal(partyalloc_stop_service_thread(), 0);
    }
}

static void *stop_while_cancelled(void *unused)
{
    pthread_cancel(pthread_self());
    require(partyalloc_stop_service_thread() == 0);
    pthread_testcancel();
    return unused;
}

static void whoever_is_cancelled_stops_it_all_the_same(void **state)
{
    enum { ROUNDS = 50 }; /* it may end before it is waited for */

    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_t thread;
        void *result;

        assert_int_equal(partyalloc_start_service_thread(), 0);
        assert_int_equal(
            pthread_create(&thread, NULL, stop_while_cancelled, NULL), 0);
        assert_int_equal(pthread_join(thread, &result), 0);
        assert_ptr_equal(result, PTHREAD_CANCELED);
    }
    assert_int_equal(partyalloc_stop_service_thread(), ESRCH);
}

static void *start_or_stop(void *argument)
{
    struct random random = {(uintptr_t)argument};

    for (int i = 0; i < 100; i++) {
        int error = random_below(&random, 2) == 0
            ? partyalloc_start_service_thread()
            : partyalloc_stop_service_thread();
        require(error == 0 || error == EALREADY || error == ESRCH);
    }
    return NULL;
}

static void threads_may_start_and_stop_it_at_once(void **state)
{
    (void)state;
    run_threads(4, start_or_stop, NULL, 0);
    partyalloc_stop_service_thread();
    assert_int_equal(partyalloc_stop_service_thread(), ESRCH);
}

static atomic_int taken;

static void take_signal(int number)
{
    (void)number;
    atomic_store(&taken, (int)gettid());
}

static void it_takes_none_of_the_titles_signals(void **state)
{
    sigset_t one;

    (void)state;
    signal(SIGUSR2, take_signal);
    sigemptyset(&one);
    sigaddset(&one, SIGUSR2);
    assert_int_equal(partyalloc_start_service_thread(), 0);
    /* Blocked here, it could only go to the service thread. */
    pthread_sigmask(SIG_BLOCK, &one, NULL);
    kill(getpid(), SIGUSR2);
    sleep_ms(50);
    assert_int_equal(atomic_load(&taken), 0);
    pthread_sigmask(SIG_UNBLOCK, &one, NULL);
    assert_int_equal(atomic_load(&taken), getpid());
    assert_int_equal(partyalloc_stop_service_thread(), 0);
}

static void start_and_return(void *unused)
{
    (void)unused;
    require(partyalloc_start_service_thread() == 0);
    struct filled filled = filled_allocate(100, 1);
    filled_free(&filled);
}

static void the_process_may_exit_under_it(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        assert_child_succeeds(start_and_return, NULL);
}

/* --- A fork beside the first start --- */

static atomic_int about_to_start;

static void *start_a_little_later(void *delay)
{
    atomic_store(&about_to_start, 1);
    for (volatile uintptr_t left = (uintptr_t)delay; left > 0; left--)
        ;
    (void)!partyalloc_start_service_thread();
    return NULL;
}

static void start_and_stop(void *unused)
{
    (void)unused;
    alarm(10);
    require(partyalloc_start_service_thread() == 0);
    require(partyalloc_stop_service_thread() == 0);
}

/* In a process that has never started the thread. */
static void fork_beside_a_start(void *delay)
{
    pthread_t thread;

    require(pthread_create(&thread, NULL, start_a_little_later, delay) == 0);
    while (atomic_load(&about_to_start) == 0)
        ;
    struct ending ending = run_in_child(start_and_stop, NULL);
    require(ending.status == 0);
    require(pthread_join(thread, NULL) == 0);
}

static void a_child_of_a_fork_beside_a_start_can_start_it(void **state)
{
    enum { FORKS = 500, DELAY_STEP = 397, DELAY_MAX = 30000 };

    (void)state;
    /* TSan does not follow threads past a fork, and ASan can leave a lock of
     * its allocator held for ever. */
    if (UNDER_SANITIZER)
        return;
    for (uintptr_t i = 0; i < FORKS; i++) {
        uintptr_t delay = i * DELAY_STEP % DELAY_MAX;
        assert_child_succeeds(fork_beside_a_start, (void *)delay);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First, since no start may come before it. */
        cmocka_unit_test(a_child_of_a_fork_beside_a_start_can_start_it),
        cmocka_unit_test(no_thread_runs_unless_asked_for),
        cmocka_unit_test(start_and_stop_say_what_they_did),
        cmocka_unit_test(it_may_start_after_it_could_not),
        cmocka_unit_test(it_may_start_and_stop_many_times),
        cmocka_unit_test(whoever_is_cancelled_stops_it_all_the_same),
        cmocka_unit_test(threads_may_start_and_stop_it_at_once),
        cmocka_unit_test(it_takes_none_of_the_titles_signals),
        cmocka_unit_test(the_process_may_exit_under_it),
    };

    return run_all(tests);
}
