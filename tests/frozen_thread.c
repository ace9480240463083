/* SPDX-License-Identifier: MIT */
/*
 * A thread stopped in the middle of any operation blocks no other, and does no
 * harm to the child of a fork at that moment.
 *
 * A signal handler that waits freezes it, wherever it is.
 */
#include "support.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

enum {
    WORKERS = 3, /* one of them at a time is frozen */
    FREEZES = UNDER_SANITIZER ? 30 : 400,
    FORKS = UNDER_SANITIZER ? 10 : 150,
    /* Turns that each other worker must take while one is frozen, and turns
     * of its own after which this thread gives up. */
    TURNS_MIN = 10,
    PATIENCE_TURNS = 20000,
};

struct worker {
    pthread_t thread;
    struct random random;
    _Atomic(uint64_t) turns;
    /* One for each: a worker just frozen could take the post meant for one
     * that is about to leave the handler. */
    sem_t thaw;
};

static struct worker workers[WORKERS];
static atomic_bool stop_workers;
static sem_t frozen;
static void *_Atomic hands[256];
static _Thread_local struct worker *self;

static void freeze(int number)
{
    (void)number;
    sem_post(&frozen);
    while (sem_wait(&self->thaw) != 0)
        ;
}

/* Everything that could have to wait for others, if anything did. */
static void take_turn(struct random *random)
{
    void *blocks[40];
    size_t size = random_size(random, 1, 30000);

    for (size_t i = 0; i < ARRAY_LENGTH(blocks); i++) {
        blocks[i] = partyalloc_allocate(size, ANY_TYPE);
        require(blocks[i] != NULL);
        blocks[i] = atomic_exchange(
            &hands[random_below(random, ARRAY_LENGTH(hands))], blocks[i]);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(blocks); i++)
        partyalloc_free(blocks[i], ANY_TYPE);
    switch (random_below(random, 20)) {
    case 0:
        partyalloc_thread_flush();
        break;
    case 1:
        partyalloc_maintain(100000);
        break;
    case 2:
        partyalloc_free(partyalloc_allocate(MIB, ANY_TYPE), ANY_TYPE);
        break;
    case 3:
        stats_now();
        break;
    case 4:
        if (random_below(random, 10) == 0)
            partyalloc_trim();
        break;
    default:
        break;
    }
}

static void *work(void *argument)
{
    struct worker *worker = argument;

    self = worker;
    while (!atomic_load(&stop_workers)) {
        take_turn(&worker->random);
        atomic_fetch_add(&worker->turns, 1);
    }
    return NULL;
}

/* A thread frozen while it starts may hold locks of the system. */
static void await_first_turns(void)
{
    for (size_t i = 0; i < WORKERS; i++)
        while (atomic_load(&workers[i].turns) == 0)
            usleep(200);
}

static void start_workers(void)
{
    const struct sigaction action = {.sa_handler = freeze,
                                     .sa_flags = SA_RESTART};

    require(sigaction(SIGUSR1, &action, NULL) == 0);
    require(sem_init(&frozen, 0, 0) == 0);
    atomic_store(&stop_workers, false);
    for (size_t i = 0; i < WORKERS; i++) {
        workers[i].random.state = i;
        atomic_store(&workers[i].turns, 0);
        require(sem_init(&workers[i].thaw, 0, 0) == 0);
        require(pthread_create(&workers[i].thread, NULL, work, &workers[i])
                == 0);
    }
    await_first_turns();
}

static void end_workers(void)
{
    atomic_store(&stop_workers, true);
    for (size_t i = 0; i < WORKERS; i++)
        require(pthread_join(workers[i].thread, NULL) == 0);
    for (size_t i = 0; i < ARRAY_LENGTH(hands); i++)
        partyalloc_free(atomic_exchange(&hands[i], NULL), ANY_TYPE);
    assert_int_equal(stats_now().small_live_blocks, 0);
    assert_int_equal(stats_now().large_live_blocks, 0);
}

static void freeze_worker(size_t number)
{
    require(pthread_kill(workers[number].thread, SIGUSR1) == 0);
    while (sem_wait(&frozen) != 0)
        ;
}

static void thaw_worker(size_t number)
{
    require(sem_post(&workers[number].thaw) == 0);
}

/* Whether all workers but one have taken TURNS_MIN more than before. */
static bool others_took_turns(size_t number, const uint64_t before[WORKERS])
{
    for (size_t i = 0; i < WORKERS; i++)
        if (i != number
            && atomic_load(&workers[i].turns) - before[i] < TURNS_MIN)
            return false;
    return true;
}

/* Whether all other workers go on, and this thread too. */
static bool others_go_on(size_t number)
{
    struct random random = {number};
    uint64_t before[WORKERS];

    for (size_t i = 0; i < WORKERS; i++)
        before[i] = atomic_load(&workers[i].turns);
    for (int i = 0; i < PATIENCE_TURNS; i++) {
        take_turn(&random);
        if (others_took_turns(number, before))
            return true;
        usleep(200);
    }
    return false;
}

static void the_others_go_on_while_a_thread_stands_still(void **state)
{
    struct random random = {1};

    (void)state;
    start_workers();
    for (size_t i = 0; i < FREEZES; i++) {
        size_t number = i % WORKERS;
        freeze_worker(number);
        require(others_go_on(number));
        thaw_worker(number);
        /* The next freeze hits another moment. */
        usleep((useconds_t)random_below(&random, 300));
    }
    end_workers();
}

static void live_in_the_child(void *unused)
{
    struct random random = {2};

    (void)unused;
    for (int i = 0; i < 50; i++)
        take_turn(&random);
    partyalloc_thread_flush();
    partyalloc_trim();
    for (int i = 0; i < 50; i++)
        take_turn(&random);
}

static void a_child_lives_though_a_thread_stood_still(void **state)
{
    struct random random = {3};

    (void)state;
    start_workers();
    for (size_t i = 0; i < FORKS; i++) {
        size_t number = i % WORKERS;
        freeze_worker(number);
        assert_child_succeeds(live_in_the_child, NULL);
        thaw_worker(number);
        usleep((useconds_t)random_below(&random, 300));
    }
    end_workers();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_others_go_on_while_a_thread_stands_still),
        cmocka_unit_test(a_child_lives_though_a_thread_stood_still),
    };

    return run_all(tests);
}
