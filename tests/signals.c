/* SPDX-License-Identifier: MIT */
/* Signals that constantly interrupt the allocator change nothing. */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

enum { WORKERS = 2, PERIOD_NS = 100000, SIGNALS = 10000 };

static atomic_uint signals_seen;
static atomic_bool stop_workers;

/* Does what a careful title's handler does: it leaves errno as it was. */
static void interrupt(int number)
{
    int kept = errno;

    (void)number;
    errno = EDOM;
    atomic_fetch_add(&signals_seen, 1);
    errno = kept;
}

static void *work(void *argument)
{
    const int sentinel = 4711;
    struct random random = {(uintptr_t)argument};

    while (!atomic_load(&stop_workers)) {
        struct filled many[50];

        for (size_t i = 0; i < ARRAY_LENGTH(many); i++)
            many[i] = filled_allocate(random_size(&random, 1, 400000), i);
        errno = sentinel;
        for (size_t i = 0; i < ARRAY_LENGTH(many); i++)
            filled_free(&many[i]);
        require(errno == sentinel);
        partyalloc_maintain(50000);
        if (random_below(&random, 50) == 0)
            partyalloc_trim();
    }
    return NULL;
}

static void signals_at_10_khz_change_nothing(void **state)
{
    const struct timespec period = {0, PERIOD_NS};
    const struct sigaction action = {.sa_handler = interrupt};
    pthread_t workers[WORKERS];

    (void)state;
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    for (size_t i = 0; i < WORKERS; i++)
        require(pthread_create(&workers[i], NULL, work, (void *)i) == 0);
    for (size_t i = 0; i < SIGNALS; i++) {
        nanosleep(&period, NULL);
        require(pthread_kill(workers[i % WORKERS], SIGUSR1) == 0);
    }
    atomic_store(&stop_workers, true);
    for (size_t i = 0; i < WORKERS; i++)
        require(pthread_join(workers[i], NULL) == 0);
    /* Those that come while one is pending are lost. */
    assert_in_range(atomic_load(&signals_seen), SIGNALS / 20, SIGNALS);
    assert_int_equal(stats_now().small_live_blocks, 0);
    assert_int_equal(stats_now().large_live_blocks, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signals_at_10_khz_change_nothing),
    };

    return run_all(tests);
}
