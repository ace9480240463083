/* SPDX-License-Identifier: MIT */
/*
 * What a thread has freed goes back to the system even if the thread sleeps
 * from then on.
 *
 * Every test runs in a child, so that it starts from nothing.
 */
#include "support.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    BLOCKS = 4000,
    SIZE_LOW = 1 << 10,
    SIZE_HIGH = 32 << 10,
    KEPT_EVERY = 16, /* one in so many blocks stays */
};

static struct filled blocks[BLOCKS];
static pthread_barrier_t barrier;

static void meet(void)
{
    int result = pthread_barrier_wait(&barrier);

    require(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);
}

static void load(void)
{
    struct random random = {1};

    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i] =
            filled_allocate(random_size(&random, SIZE_LOW, SIZE_HIGH), i);
    for (size_t i = 0; i < BLOCKS; i++)
        if (i % KEPT_EVERY != 0)
            filled_free(&blocks[i]);
}

static void unload(void)
{
    for (size_t i = 0; i < BLOCKS; i += KEPT_EVERY)
        filled_free(&blocks[i]);
}

static void *load_and_sleep(void *unused)
{
    load();
    meet();
    meet();
    unload();
    load();
    unload();
    return unused;
}

/* Loads on a thread, then gives back what it holds while it sleeps. */
static void run_with(void (*give_back)(void))
{
    pthread_t thread;

    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i].size = 0; /* present from now on */
    size_t start = resident_bytes();
    require(pthread_barrier_init(&barrier, NULL, 2) == 0);
    require(pthread_create(&thread, NULL, load_and_sleep, NULL) == 0);
    meet();
    size_t before = resident_bytes() - start;
    give_back();
    size_t after = resident_bytes() - start;
    /* Magazines hold 512 KiB, and two blocks of each class above 4 KiB; and
     * each block that is kept pins a page or two. */
    require(UNDER_SANITIZER || after < before / 3);
    meet();
    require(pthread_join(thread, NULL) == 0);
    partyalloc_trim();
    require(stats_now().small_live_blocks == 0);
}

/* More than once: the thread may still be on its way to sleep. */
static void trim(void)
{
    size_t bytes = 0;

    for (int i = 0; i < 10; i++) {
        bytes += partyalloc_trim();
        sleep_ms(5);
    }
    require(bytes > 0);
}

static void maintain(void)
{
    for (int i = 0; i < 1500; i++) {
        partyalloc_maintain(1000 * 1000);
        sleep_ms(1);
    }
}

static void run_with_trim(void *unused)
{
    (void)unused;
    run_with(trim);
}

static void run_with_maintain(void *unused)
{
    (void)unused;
    run_with(maintain);
}

static void a_trim_reaches_the_slabs_of_an_idle_thread(void **state)
{
    (void)state;
    assert_child_succeeds(run_with_trim, NULL);
}

static void upkeep_reaches_the_slabs_of_an_idle_thread(void **state)
{
    (void)state;
    assert_child_succeeds(run_with_maintain, NULL);
}

/* --- Threads that come and go while others claim their caches --- */

/* What lies in front of the contents of a block. */
struct label {
    size_t size; /* of the contents */
    uint64_t seed;
};

static _Atomic(struct label *) places[64];
static atomic_bool over;

static void put(struct random *random)
{
    size_t size = random_size(random, 1, 64 * KIB);
    struct label *label = partyalloc_allocate(sizeof *label + size, ANY_TYPE);

    require(label != NULL);
    *label = (struct label){size, random_next(random)};
    fill(label + 1, size, label->seed);
    label = atomic_exchange(
        &places[random_below(random, ARRAY_LENGTH(places))], label);
    if (label == NULL)
        return;
    require(holds(label + 1, label->size, label->seed));
    partyalloc_free(label, ANY_TYPE);
}

static void *live_shortly(void *seed)
{
    struct random random = {*(uint64_t *)seed};

    for (size_t rounds = random_below(&random, 5); rounds > 0; rounds--) {
        for (size_t i = random_below(&random, 300); i > 0; i--)
            put(&random);
        sleep_ms((unsigned)random_below(&random, 3));
    }
    return NULL;
}

static void *start_threads(void *unused)
{
    uint64_t seeds[4] = {1, 2, 3, 4};

    while (!atomic_load(&over)) {
        run_threads(ARRAY_LENGTH(seeds), live_shortly, seeds, sizeof *seeds);
        for (size_t i = 0; i < ARRAY_LENGTH(seeds); i++)
            seeds[i] += ARRAY_LENGTH(seeds);
    }
    return unused;
}

static void *claim(void *unused)
{
    while (!atomic_load(&over)) {
        partyalloc_trim();
        partyalloc_maintain(50000);
    }
    return unused;
}

static void come_and_go(void *unused)
{
    thread_body *const bodies[] = {start_threads, start_threads, claim, claim};
    pthread_t threads[ARRAY_LENGTH(bodies)];

    (void)unused;
    for (size_t i = 0; i < ARRAY_LENGTH(bodies); i++)
        require(pthread_create(&threads[i], NULL, bodies[i], NULL) == 0);
    sleep_ms(2000);
    atomic_store(&over, true);
    for (size_t i = 0; i < ARRAY_LENGTH(bodies); i++)
        require(pthread_join(threads[i], NULL) == 0);
    for (size_t i = 0; i < ARRAY_LENGTH(places); i++)
        partyalloc_free(places[i], ANY_TYPE);
    require(stats_now().small_live_blocks == 0);
}

static void threads_come_and_go_while_others_claim_their_caches(void **state)
{
    (void)state;
    assert_child_succeeds(come_and_go, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trim_reaches_the_slabs_of_an_idle_thread),
        cmocka_unit_test(threads_come_and_go_while_others_claim_their_caches),
        cmocka_unit_test(upkeep_reaches_the_slabs_of_an_idle_thread),
    };
    return run_all(tests);
}
