/* SPDX-License-Identifier: MIT */
/*
 * What was freed goes back to the system: most of it by the callbacks alone
 * while a title goes on, nearly all by upkeep, all by a trim.
 *
 * Every test runs in a child, so that it starts from nothing.
 */
#include "support.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

enum { BLOCKS = 150000, SIZE_LOW = 16, SIZE_HIGH = 2047, ROUNDS = 3 };

static void *blocks[BLOCKS];
static size_t start, peak;

/* Growth since the start, as a percentage of that at the peak. */
static size_t percent_resident(void)
{
    size_t now = resident_bytes();

    return now <= start ? 0 : (now - start) * 100 / (peak - start);
}

static void note_start(void)
{
    /* Pages of one size, whatever the machine's setting. */
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i] = &blocks[i]; /* present from now on */
    start = resident_bytes();
    peak = 0;
}

static void shuffle(struct random *random)
{
    for (size_t i = BLOCKS - 1; i > 0; i--) {
        size_t j = random_below(random, i + 1);
        void *block = blocks[i];
        blocks[i] = blocks[j];
        blocks[j] = block;
    }
}

/* Writes to every block, and frees them in random order. */
static void burst(struct random *random)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t size =
            SIZE_LOW + random_below(random, SIZE_HIGH - SIZE_LOW + 1);
        blocks[i] = partyalloc_allocate(size, ANY_TYPE);
        require(blocks[i] != NULL);
        fill(blocks[i], size, i);
    }
    size_t now = resident_bytes();
    if (now > peak)
        peak = now;
    shuffle(random);
    for (size_t i = 0; i < BLOCKS; i++)
        partyalloc_free(blocks[i], ANY_TYPE);
}

static void burst_some_times(void)
{
    struct random random = {1};

    note_start();
    for (int i = 0; i < ROUNDS; i++)
        burst(&random);
    /* What the service thread is just moving counts as live. */
    for (int i = 0; i < 1000 && stats_now().small_live_blocks != 0; i++)
        sleep_ms(1);
    require(stats_now().small_live_blocks == 0);
}

/* What a title does between two bursts: some blocks a frame, which another
 * thread frees. */
enum { FRAME_BLOCKS = 200, FRAMES = 500 };

static void *frame[FRAME_BLOCKS];

static void *free_frame(void *unused)
{
    for (size_t i = 0; i < FRAME_BLOCKS; i++)
        partyalloc_free(frame[i], ANY_TYPE);
    return unused;
}

static void go_on(void)
{
    struct random random = {3};

    for (int n = 0; n < FRAMES; n++) {
        for (size_t i = 0; i < FRAME_BLOCKS; i++) {
            frame[i] = partyalloc_allocate(
                random_size(&random, SIZE_LOW, SIZE_HIGH), ANY_TYPE);
            require(frame[i] != NULL);
        }
        free_frame(NULL);
        pthread_t thread;
        for (size_t i = 0; i < FRAME_BLOCKS; i++)
            frame[i] = partyalloc_allocate(
                random_size(&random, SIZE_LOW, SIZE_HIGH), ANY_TYPE);
        require(pthread_create(&thread, NULL, free_frame, NULL) == 0);
        require(pthread_join(thread, NULL) == 0);
        sleep_ms(1);
    }
}

static void burst_with_callbacks_alone(void *unused)
{
    (void)unused;
    burst_some_times();
    go_on();
    require(percent_resident() <= 30);
}

static void burst_and_maintain(void *unused)
{
    (void)unused;
    burst_some_times();
    for (int i = 0; i < 1000; i++) {
        partyalloc_maintain(500000);
        sleep_ms(1);
    }
    require(percent_resident() <= 10);
}

static void burst_under_service_thread(void *unused)
{
    (void)unused;
    require(partyalloc_start_service_thread() == 0);
    burst_some_times();
    sleep_ms(1500);
    require(percent_resident() <= 10);
    require(partyalloc_stop_service_thread() == 0);
}

static void *burst_on_a_thread(void *unused)
{
    (void)unused;
    struct random random = {2};
    burst(&random);
    return NULL;
}

static void burst_and_trim(void *unused)
{
    (void)unused;
    burst_some_times();
    require(partyalloc_trim() > 0);
    require(percent_resident() <= 4);
    /* What a thread leaves is reached once it has exited. */
    run_thread(burst_on_a_thread, NULL);
    require(partyalloc_trim() > 0);
    require(percent_resident() <= 4);
    require(partyalloc_trim() == 0);
}

/* One block in sixty stays, so that no slab comes free. */
static void thin_out_and_trim(void *unused)
{
    enum { SIZE = 640, KEPT_OF = 60 };

    (void)unused;
    note_start();
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = partyalloc_allocate(SIZE, ANY_TYPE);
        require(blocks[i] != NULL);
        fill(blocks[i], SIZE, i);
    }
    peak = resident_bytes();
    for (size_t i = 0; i < BLOCKS; i++)
        if (i % KEPT_OF != 0)
            partyalloc_free(blocks[i], ANY_TYPE);
    partyalloc_trim();
    /* A kept block pins one page, or two, of nine or ten. */
    require(percent_resident() <= 25);
    for (size_t i = 0; i < BLOCKS; i += KEPT_OF) {
        require(holds(blocks[i], SIZE, i));
        partyalloc_free(blocks[i], ANY_TYPE);
    }
}

static void free_large_and_maintain(void *unused)
{
    enum { LARGE = 8 };

    (void)unused;
    note_start();
    for (size_t i = 0; i < LARGE; i++) {
        blocks[i] = partyalloc_allocate(4 * MIB, ANY_TYPE);
        require(blocks[i] != NULL);
        fill(blocks[i], 4 * MIB, i);
    }
    peak = resident_bytes();
    for (size_t i = 0; i < LARGE; i++)
        partyalloc_free(blocks[i], ANY_TYPE);
    for (int i = 0; i < 150; i++) {
        partyalloc_maintain(500000);
        sleep_ms(10);
    }
    require(stats_now().large_cached_bytes == 0);
    require(percent_resident() <= 4);
}

static void free_large_beyond_the_bound(void *unused)
{
    enum { LARGE = 60 };

    (void)unused;
    for (size_t i = 0; i < LARGE; i++) {
        blocks[i] = partyalloc_allocate(4 * MIB, ANY_TYPE);
        require(blocks[i] != NULL);
    }
    for (size_t i = 0; i < LARGE; i++)
        partyalloc_free(blocks[i], ANY_TYPE);
    /* The excess goes at once; no half second has to pass. */
    partyalloc_maintain(UINT64_C(10000000000));
    require(stats_now().large_cached_bytes <= 64 * MIB);
    require(stats_now().mapped_bytes <= 80 * MIB);
}

/* Then the title goes on with small blocks only. */
static void free_large_and_go_on(void *unused)
{
    enum { LARGE = 60, SMALL = 1000, TURNS = 400 };

    (void)unused;
    for (size_t i = 0; i < LARGE; i++)
        blocks[i] = partyalloc_allocate(4 * MIB, ANY_TYPE);
    for (size_t i = 0; i < LARGE; i++)
        partyalloc_free(blocks[i], ANY_TYPE);
    for (int turn = 0; turn < TURNS; turn++) {
        if (stats_now().large_cached_bytes <= 48 * MIB)
            break;
        for (size_t i = 0; i < SMALL; i++)
            blocks[i] = partyalloc_allocate(16 + i * 7 % 1500, ANY_TYPE);
        for (size_t i = 0; i < SMALL; i++)
            partyalloc_free(blocks[i], ANY_TYPE);
    }
    require(stats_now().large_cached_bytes <= 48 * MIB);
}

/* This thread's processor time, whatever else the machine was doing. */
static uint64_t own_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * UINT64_C(1000000000)
        + (uint64_t)time.tv_nsec;
}

static int compare_times(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return (a > b) - (a < b);
}

static void maintain_within_budget(void *unused)
{
    enum { CALLS = 400, BUDGET_NS = 50000 };
    static uint64_t times[CALLS];

    (void)unused;
    burst_some_times();
    for (size_t i = 0; i < CALLS; i++) {
        uint64_t before = own_ns();
        partyalloc_maintain(BUDGET_NS);
        times[i] = own_ns() - before;
        sleep_ms(1);
    }
    qsort(times, CALLS, sizeof times[0], compare_times);
    require(times[CALLS / 2] <= BUDGET_NS + 100000);
    require(times[CALLS * 95 / 100] <= BUDGET_NS + 500000);
}

static void a_burst_goes_back_for_the_most_part_while_the_title_goes_on(
    void **state)
{
    (void)state;
    assert_child_succeeds(burst_with_callbacks_alone, NULL);
}

static void a_burst_goes_back_in_a_second_of_upkeep(void **state)
{
    (void)state;
    assert_child_succeeds(burst_and_maintain, NULL);
}

static void a_burst_goes_back_under_the_service_thread(void **state)
{
    (void)state;
    assert_child_succeeds(burst_under_service_thread, NULL);
}

static void a_trim_gives_back_all_that_is_free(void **state)
{
    (void)state;
    assert_child_succeeds(burst_and_trim, NULL);
}

static void a_trim_gives_back_the_pages_between_live_blocks(void **state)
{
    (void)state;
    assert_child_succeeds(thin_out_and_trim, NULL);
}

static void large_blocks_go_back_after_a_while(void **state)
{
    (void)state;
    assert_child_succeeds(free_large_and_maintain, NULL);
}

static void large_blocks_are_kept_within_a_bound_only(void **state)
{
    (void)state;
    assert_child_succeeds(free_large_beyond_the_bound, NULL);
}

static void a_call_of_the_upkeep_stays_near_its_budget(void **state)
{
    (void)state;
    assert_child_succeeds(maintain_within_budget, NULL);
}

static void a_surplus_of_large_blocks_goes_by_small_ones(void **state)
{
    (void)state;
    assert_child_succeeds(free_large_and_go_on, NULL);
}

/* What a title locks stays, except large blocks, which are unmapped. */
static void trim_what_is_locked(void *unused)
{
    enum { COUNT = 10000, SIZE = 3000 };
    size_t before = resident_bytes();

    (void)unused;
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        return; /* not allowed here */
    partyalloc_free(partyalloc_allocate(4 * MIB, ANY_TYPE), ANY_TYPE);
    for (size_t i = 0; i < COUNT; i++)
        blocks[i] = partyalloc_allocate(SIZE, ANY_TYPE);
    for (size_t i = 0; i < COUNT; i++)
        partyalloc_free(blocks[i], ANY_TYPE);
    require(partyalloc_trim() == 4 * MIB);
    require(resident_bytes() - before > (size_t)COUNT * SIZE);
    require(munlockall() == 0);
    require(partyalloc_trim() > (size_t)COUNT * SIZE);
}

static void what_is_locked_goes_back_when_it_is_unlocked(void **state)
{
    (void)state;
    assert_child_succeeds(trim_what_is_locked, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_goes_back_for_the_most_part_while_the_title_goes_on),
        cmocka_unit_test(a_burst_goes_back_in_a_second_of_upkeep),
        cmocka_unit_test(a_burst_goes_back_under_the_service_thread),
        cmocka_unit_test(a_trim_gives_back_all_that_is_free),
        cmocka_unit_test(a_trim_gives_back_the_pages_between_live_blocks),
        cmocka_unit_test(large_blocks_go_back_after_a_while),
        cmocka_unit_test(large_blocks_are_kept_within_a_bound_only),
        cmocka_unit_test(a_surplus_of_large_blocks_goes_by_small_ones),
        cmocka_unit_test(a_call_of_the_upkeep_stays_near_its_budget),
        cmocka_unit_test(what_is_locked_goes_back_when_it_is_unlocked),
    };

    if (UNDER_SANITIZER)
        return skip_all("the sanitizer keeps memory of its own");
    return run_all(tests);
}
