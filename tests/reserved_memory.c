/* SPDX-License-Identifier: MIT */
/*
 * A title that lives within what it has reserved makes no kernel call and
 * takes no page fault in any allocate or free of a small size.
 */
#include "support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define RESERVED (64 * MIB)

/* Steady mixes with working sets of about 27 MiB each: a slab keeps its class,
 * so each class needs room for its own peak. */
static const struct mix {
    size_t slots;
    size_t size_max;
} mixes[] = {{100000, 1400}, {8000, 32 * KIB}, {1200, SMALL_SIZE_MAX}};

enum { SLOTS_MAX = 100000, WARM_UP = 5000 };

static void *slots[SLOTS_MAX];

static void touch_own_memory(void)
{
    for (size_t i = 0; i < SLOTS_MAX; i++)
        slots[i] = &slots[i];
    for (size_t i = 0; i < SLOTS_MAX; i++)
        slots[i] = NULL;
    /* And libc's code: with gcc -Os the library calls memmove(). */
    volatile size_t bytes = SLOTS_MAX / 2 * sizeof(slots[0]);
    memmove(slots, slots + SLOTS_MAX / 2, bytes);
}

/* Each step frees a block of the working set and allocates another one. */
static void live_in(const struct mix *mix, struct random *random, size_t steps)
{
    for (size_t i = 0; i < steps; i++) {
        size_t slot = random_below(random, mix->slots);
        partyalloc_free(slots[slot], ANY_TYPE);
        slots[slot] =
            partyalloc_allocate(random_size(random, 1, mix->size_max), 0);
        require(slots[slot] != NULL);
        *(volatile char *)slots[slot] = 1; /* its page is there */
    }
}

static void live_within_reserve(void *argument)
{
    const struct mix *mix = argument;
    struct random random = {1};

    touch_own_memory();
    require(partyalloc_reserve(RESERVED) == 0);
    live_in(mix, &random, WARM_UP);
    (void)stats_now();
    uint64_t calls = stats_now().kernel_calls;
    forbid_memory_calls();
    uint64_t faults = minor_faults();
    live_in(mix, &random, 6 * mix->slots);
    uint64_t new_faults = minor_faults() - faults;
    require(stats_now().kernel_calls == calls);
    if (!UNDER_SANITIZER)
        require(new_faults == 0);
}

static void no_kernel_call_and_no_fault_within_the_reserve(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(mixes); i++)
        assert_child_succeeds(live_within_reserve,
                              (void *)(uintptr_t)&mixes[i]);
}

/* --- the same for threads that hand blocks to each other --- */

enum { THREADS = 4, HANDS = 2000, ROUNDS = 30000 };

static void *_Atomic hands[HANDS];
static pthread_barrier_t barrier;
static _Atomic(uint64_t) faults_of_threads;

static void exchange_blocks(struct random *random, size_t rounds)
{
    for (size_t i = 0; i < rounds; i++) {
        size_t size = random_size(random, 16, 8 * KIB);
        char *block = partyalloc_allocate(size, ANY_TYPE);
        require(block != NULL);
        *(volatile char *)block = 1;
        size_t hand = random_below(random, HANDS);
        block = atomic_exchange(&hands[hand], block);
        partyalloc_free(block, ANY_TYPE);
    }
}

static void *warm_up_then_exchange(void *argument)
{
    struct random random = {(uintptr_t)argument};

    exchange_blocks(&random, WARM_UP); /* gets its cache and stack pages */
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    uint64_t faults = minor_faults();
    exchange_blocks(&random, ROUNDS);
    faults = minor_faults() - faults;
    atomic_fetch_add(&faults_of_threads, faults);
    pthread_barrier_wait(&barrier);
    /* A thread's end makes kernel calls: the child ends first. */
    for (;;)
        sleep_ms(1000);
    return NULL;
}

static void exchange_within_reserve(void *unused)
{
    (void)unused;
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    require(partyalloc_reserve(RESERVED) == 0);
    for (size_t i = 0; i < THREADS; i++) {
        pthread_t thread;
        require(pthread_create(&thread, NULL, warm_up_then_exchange,
                               (void *)i) == 0);
    }
    pthread_barrier_wait(&barrier);
    uint64_t calls = stats_now().kernel_calls;
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    require(stats_now().kernel_calls == calls);
    if (!UNDER_SANITIZER)
        require(atomic_load(&faults_of_threads) == 0);
}

static void threads_exchange_blocks_without_a_kernel_call(void **state)
{
    (void)state;
    assert_child_succeeds(exchange_within_reserve, NULL);
}

/* --- what a reservation is, and what it is not --- */

static void reserve_and_trim(void *unused)
{
    (void)unused;
    require(partyalloc_reserve(16 * MIB) == 0);
    size_t resident = resident_bytes();
    partyalloc_trim();
    for (int i = 0; i < 100; i++) {
        partyalloc_maintain(1000000);
        sleep_ms(1);
    }
    require(resident_bytes() + 64 * KIB >= resident);
    struct random random = {3};
    touch_own_memory();
    uint64_t calls = stats_now().kernel_calls;
    for (int i = 0; i < 2000; i++) {
        slots[i] = partyalloc_allocate(2000, ANY_TYPE);
        require(slots[i] != NULL);
        *(volatile char *)slots[i] = 1;
    }
    for (int i = 0; i < 2000; i++) {
        size_t other = random_below(&random, 2000);
        partyalloc_free(slots[other], ANY_TYPE);
        slots[other] = NULL;
    }
    require(stats_now().kernel_calls == calls);
}

static void reserved_memory_is_never_given_back(void **state)
{
    (void)state;
    if (!UNDER_SANITIZER)
        assert_child_succeeds(reserve_and_trim, NULL);
}

static void reserve_in_pieces(void *unused)
{
    struct random random = {2};

    (void)unused;
    touch_own_memory();
    for (size_t bytes = 0; bytes < RESERVED; bytes += 8 * MIB)
        require(partyalloc_reserve(8 * MIB) == 0);
    partyalloc_free(partyalloc_allocate(1, ANY_TYPE), ANY_TYPE);
    uint64_t calls = stats_now().kernel_calls;
    live_in(&mixes[1], &random, 4 * mixes[1].slots);
    require(stats_now().kernel_calls == calls);
}

static void reservations_add_up(void **state)
{
    (void)state;
    assert_child_succeeds(reserve_in_pieces, NULL);
}

static void reserve_nothing(void *unused)
{
    (void)unused;
    require(partyalloc_reserve(0) == 0);
    require(partyalloc_reserve(1) == 0);
    struct filled filled = filled_allocate(100, 1);
    filled_free(&filled);
}

static void a_reservation_of_nothing_is_one(void **state)
{
    (void)state;
    assert_child_succeeds(reserve_nothing, NULL);
}

/* --- memory that was in use before --- */

/* Of each of these sizes LIVE bytes are live at once. */
static const size_t sizes[] = {16, 500, 3000, 6000, 20000, 100000};
#define LIVE (4 * MIB)

/* Allocates blocks of a size, writes them if wanted, and frees them. */
static void use_size(size_t size, bool write)
{
    size_t count = LIVE / size < SLOTS_MAX ? LIVE / size : SLOTS_MAX;
    for (size_t i = 0; i < count; i++) {
        slots[i] = partyalloc_allocate(size, ANY_TYPE);
        require(slots[i] != NULL);
        for (size_t at = 0; write && at < size; at += 4 * KIB)
            ((volatile char *)slots[i])[at] = 1;
    }
    for (size_t i = 0; i < count; i++)
        partyalloc_free(slots[i], ANY_TYPE);
}

static void use_sizes(bool write)
{
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++)
        use_size(sizes[i], write);
}

static void use_sizes_without_a_fault(void)
{
    uint64_t calls = stats_now().kernel_calls;
    uint64_t faults = minor_faults();
    use_sizes(true);
    faults = minor_faults() - faults;
    require(stats_now().kernel_calls == calls);
    if (!UNDER_SANITIZER)
        require(faults == 0);
}

static void play_again_and_again(void *unused)
{
    (void)unused;
    touch_own_memory();
    use_sizes(true);
    partyalloc_thread_flush();
    partyalloc_trim();
    require(partyalloc_reserve(RESERVED) == 0);
    for (int match = 0; match < 3; match++) {
        use_sizes_without_a_fault();
        partyalloc_trim();
        partyalloc_maintain(1000000);
    }
}

static void each_match_is_within_the_reserve(void **state)
{
    (void)state;
    assert_child_succeeds(play_again_and_again, NULL);
}

/* Some of each size stay: not every slab is free as a whole. */
static void reserve_among_blocks_never_written(void *unused)
{
    enum { KEPT = 1000 };
    static void *kept[KEPT];

    (void)unused;
    touch_own_memory();
    use_size(700, true); /* the code has its pages */
    use_sizes(false);
    for (size_t i = 0; i < KEPT; i++)
        kept[i] =
            partyalloc_allocate(sizes[i % ARRAY_LENGTH(sizes)], ANY_TYPE);
    for (size_t i = 0; i < KEPT; i++)
        if (i % 7 != 0)
            partyalloc_free(kept[i], ANY_TYPE);
    require(partyalloc_reserve(RESERVED) == 0);
    use_sizes_without_a_fault();
}

static void what_was_never_written_does_not_come_first(void **state)
{
    (void)state;
    assert_child_succeeds(reserve_among_blocks_never_written, NULL);
}

static _Atomic(int) stage;

static void wait_for(int wanted, bool busy)
{
    while (atomic_load(&stage) < wanted)
        if (!busy)
            sleep_ms(1);
}

/* A thread that holds blocks of each size in its cache and slabs, most of them
 * never written, while another thread reserves. */
static void *hold_then_use(void *argument)
{
    bool busy = *(const bool *)argument;

    use_size(700, true);
    use_sizes(false);
    atomic_store(&stage, 1);
    wait_for(2, busy);
    use_sizes_without_a_fault();
    atomic_store(&stage, 3);
    wait_for(4, false);
    return NULL;
}

static void reserve_for_another_thread(void *argument)
{
    pthread_t thread;

    touch_own_memory();
    require(pthread_create(&thread, NULL, hold_then_use, argument) == 0);
    wait_for(1, false);
    sleep_ms(10);
    require(partyalloc_reserve(RESERVED) == 0);
    atomic_store(&stage, 2);
    wait_for(3, false); /* the child ends before the thread does */
}

static void what_threads_hold_has_its_pages(void **state)
{
    static bool busy[] = {false, true};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(busy); i++)
        assert_child_succeeds(reserve_for_another_thread, &busy[i]);
}

/* Beyond the reserve, memory that was used before comes first. */
static void live_beyond_the_reserve(void *unused)
{
    enum { BLOCK_SIZE = 500, BLOCKS = 40000 };

    (void)unused;
    for (int round = 0; round < 2; round++) {
        uint64_t mapped = stats_now().mapped_bytes;
        for (size_t i = 0; i < BLOCKS; i++) {
            slots[i] = partyalloc_allocate(BLOCK_SIZE, ANY_TYPE);
            require(slots[i] != NULL);
        }
        if (round == 1)
            require(stats_now().mapped_bytes == mapped);
        for (size_t i = 0; i < BLOCKS; i++)
            partyalloc_free(slots[i], ANY_TYPE);
        partyalloc_trim();
        if (round == 0)
            require(partyalloc_reserve(2 * MIB) == 0);
    }
}

static void beyond_the_reserve_nothing_is_mapped_while_there_is_more(
    void **state)
{
    (void)state;
    assert_child_succeeds(live_beyond_the_reserve, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_kernel_call_and_no_fault_within_the_reserve),
        cmocka_unit_test(threads_exchange_blocks_without_a_kernel_call),
        cmocka_unit_test(reserved_memory_is_never_given_back),
        cmocka_unit_test(reservations_add_up),
        cmocka_unit_test(a_reservation_of_nothing_is_one),
        cmocka_unit_test(each_match_is_within_the_reserve),
        cmocka_unit_test(what_was_never_written_does_not_come_first),
        cmocka_unit_test(what_threads_hold_has_its_pages),
        cmocka_unit_test(
            beyond_the_reserve_nothing_is_mapped_while_there_is_more),
    };

    return run_all(tests);
}
