/* SPDX-License-Identifier: MIT */
/*
 * A block that is freed twice stops the process: in checked mode at the second
 * free, otherwise no later than when both frees have left the caches.
 */
#include "support.h"

#include <stdatomic.h>
#include <unistd.h>

/* Frees a block once, in the way its name says, and returns it for the second
 * free. */
struct scenario {
    const char *name;
    void *(*free_once)(void);
};

#define SCENARIO(function) {#function, function}

static void *allocate(size_t size)
{
    void *block = partyalloc_allocate(size, ANY_TYPE);

    require(block != NULL);
    return block;
}

static void release(void *block)
{
    partyalloc_free(block, ANY_TYPE);
}

/* --- found at the second free in every mode --- */

static void *freed_just_before(size_t size)
{
    void *block = allocate(size);

    release(block);
    return block;
}

static void *small_just_before(void)
{
    return freed_just_before(64);
}

/* The cache then has room: the free takes no slow path. */
static void warm_cache(size_t size, size_t count)
{
    enum { WARM_MAX = 1000 };
    static void *blocks[WARM_MAX];

    require(count <= WARM_MAX);
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < count; i++)
            blocks[i] = allocate(size);
        for (size_t i = 0; i < count; i++)
            release(blocks[i]);
    }
    for (size_t i = 0; i < count / 2; i++)
        blocks[i] = allocate(size);
}

static void *small_just_before_in_a_warm_cache(void)
{
    warm_cache(64, 50);
    return freed_just_before(64);
}

static void *medium_just_before_in_a_warm_cache(void)
{
    warm_cache(3000, 10);
    return freed_just_before(3000);
}

static void *tiny_just_before(void)
{
    return freed_just_before(0);
}

static void *medium_just_before(void)
{
    return freed_just_before(20000);
}

/* The top block left when half of a full magazine has been spilled. */
static void *medium_just_before_a_spill(void)
{
    void *blocks[2]; /* what a magazine of them holds at first */

    for (size_t i = 0; i < ARRAY_LENGTH(blocks); i++)
        blocks[i] = allocate(20000);
    for (size_t i = 0; i < ARRAY_LENGTH(blocks); i++)
        release(blocks[i]);
    return blocks[ARRAY_LENGTH(blocks) / 2 - 1];
}

static void *largest_class_just_before(void)
{
    return freed_just_before(SMALL_SIZE_MAX);
}

static void *large_just_before(void)
{
    return freed_just_before(SMALL_SIZE_MAX + 1);
}

static void *huge_just_before(void)
{
    return freed_just_before(100 * MIB);
}

static void *aligned_just_before(void)
{
    void *block = partyalloc_allocate_aligned(100, 512, ANY_TYPE);

    release(block);
    return block;
}

static void *large_aligned_just_before(void)
{
    void *block = partyalloc_allocate_aligned(100, 4 * MIB, ANY_TYPE);

    release(block);
    return block;
}

static void *handed_out_twice_then_freed(void)
{
    void *first = freed_just_before(64);

    require(allocate(64) == first);
    release(first);
    return first;
}

static void *large_before_another_large(void)
{
    void *block = freed_just_before(MIB);

    release(allocate(3 * MIB));
    return block;
}

/* Joined with its neighbours, then (below) unmapped or in use again. */
static void *large_between_others_freed(void)
{
    void *blocks[3];

    release(allocate(12 * MIB));
    for (size_t i = 0; i < 3; i++)
        blocks[i] = allocate(4 * MIB);
    for (size_t i = 0; i < 3; i++)
        release(blocks[i]);
    return blocks[1];
}

static void *large_joined_and_unmapped(void)
{
    void *block = large_between_others_freed();

    partyalloc_trim();
    return block;
}

static void *large_above_a_live_one(void)
{
    char *block = large_between_others_freed();

    require(allocate(8 * MIB) == block);
    require(allocate(4 * MIB) == block - 4 * MIB);
    release(block);
    return block;
}

static void *large_by_another_thread_body(void *block)
{
    release(block);
    return NULL;
}

static void *large_by_another_thread(void)
{
    void *block = allocate(MIB);

    run_thread(large_by_another_thread_body, block);
    return block;
}

static const struct scenario found_at_once[] = {
    SCENARIO(small_just_before),
    SCENARIO(small_just_before_in_a_warm_cache),
    SCENARIO(medium_just_before_in_a_warm_cache),
    SCENARIO(tiny_just_before),
    SCENARIO(medium_just_before),
    SCENARIO(medium_just_before_a_spill),
    SCENARIO(largest_class_just_before),
    SCENARIO(large_just_before),
    SCENARIO(huge_just_before),
    SCENARIO(aligned_just_before),
    SCENARIO(large_aligned_just_before),
    SCENARIO(handed_out_twice_then_freed),
    SCENARIO(large_before_another_large),
    SCENARIO(large_between_others_freed),
    SCENARIO(large_joined_and_unmapped),
    SCENARIO(large_above_a_live_one),
    SCENARIO(large_by_another_thread),
};

/* --- found by the flush --- */

static void *before_others(size_t size, size_t count)
{
    enum { OTHERS_MAX = 20000 };
    static void *others[OTHERS_MAX];
    void *block = allocate(size);

    require(count <= OTHERS_MAX);
    for (size_t i = 0; i < count; i++)
        others[i] = allocate(size);
    release(block);
    for (size_t i = 0; i < count; i++)
        release(others[i]);
    return block;
}

static void *before_one_other(void)
{
    return before_others(64, 1);
}

static void *before_two_others(void)
{
    return before_others(64, 2);
}

static void *before_ten_others(void)
{
    return before_others(64, 10);
}

static void *before_a_hundred_others(void)
{
    return before_others(64, 100);
}

static void *before_a_thousand_others(void)
{
    return before_others(64, 1000);
}

static void *before_so_many_that_they_left_the_cache(void)
{
    return before_others(64, 20000);
}

static void *medium_before_others(void)
{
    return before_others(20000, 7);
}

static void *largest_class_before_others(void)
{
    return before_others(SMALL_SIZE_MAX, 3);
}

static void *before_one_of_another_class(void)
{
    void *block = freed_just_before(64);

    release(allocate(1000));
    return block;
}

static void *by_a_thread_that_exited(void)
{
    void *block = allocate(64);

    run_thread(large_by_another_thread_body, block);
    return block;
}

static void *left_by_a_reallocation(void)
{
    void *block = allocate(64);

    require(partyalloc_reallocate(block, 5000, ANY_TYPE) != block);
    release(allocate(64 + 16));
    return block;
}

static void *flushed(void)
{
    void *block = before_others(64, 100);

    partyalloc_thread_flush();
    return block;
}

static void *trimmed(void)
{
    void *block = before_others(64, 5000);

    partyalloc_thread_flush();
    partyalloc_trim();
    return block;
}

static void *medium_between_live_ones(void)
{
    void *blocks[5];

    for (size_t i = 0; i < ARRAY_LENGTH(blocks); i++)
        blocks[i] = allocate(20000);
    release(blocks[1]);
    release(blocks[3]);
    return blocks[1];
}

static void *medium_trimmed(void)
{
    void *block = before_others(20000, 500);

    partyalloc_thread_flush();
    partyalloc_trim();
    return block;
}

static void *kept_up(void)
{
    void *block = before_others(500, 5000);

    partyalloc_thread_flush();
    for (int i = 0; i < 50; i++) {
        partyalloc_maintain(UINT64_C(1000000000));
        sleep_ms(2);
    }
    return block;
}

static const struct scenario found_by_the_flush[] = {
    SCENARIO(before_one_other),
    SCENARIO(before_two_others),
    SCENARIO(before_ten_others),
    SCENARIO(before_a_hundred_others),
    SCENARIO(before_a_thousand_others),
    SCENARIO(before_so_many_that_they_left_the_cache),
    SCENARIO(medium_before_others),
    SCENARIO(medium_between_live_ones),
    SCENARIO(largest_class_before_others),
    SCENARIO(before_one_of_another_class),
    SCENARIO(by_a_thread_that_exited),
    SCENARIO(left_by_a_reallocation),
    SCENARIO(flushed),
    SCENARIO(trimmed),
    SCENARIO(medium_trimmed),
    SCENARIO(kept_up),
};

/* --- the second free --- */

struct misuse {
    void *(*free_once)(void);
    bool checked;
};

static void *prepare(const struct misuse *misuse)
{
    if (misuse->checked)
        require(partyalloc_set_option(PARTYALLOC_OPTION_CHECKED, 1) == 0);
    void *block = misuse->free_once();
    expect_stop("double free", block);
    return block;
}

static void free_again(void *argument)
{
    release(prepare(argument));
}

static void free_again_and_flush(void *argument)
{
    free_again(argument);
    partyalloc_thread_flush();
}

static void free_again_between_others(void *argument)
{
    void *others[3] = {allocate(64), allocate(64), allocate(64)};
    void *block = prepare(argument);

    release(others[0]);
    release(block);
    release(others[1]);
    release(others[2]);
    partyalloc_thread_flush();
}

static void *free_on_a_thread(void *block)
{
    release(block);
    return NULL;
}

/* The thread's end flushes its cache; then this one's is flushed. */
static void free_again_on_a_thread(void *argument)
{
    run_thread(free_on_a_thread, prepare(argument));
    partyalloc_thread_flush();
}

static void free_again_on_a_thread_at_once(void *argument)
{
    run_thread(free_on_a_thread, prepare(argument));
}

static void check_all(const struct scenario *scenarios, size_t count,
                      bool checked, child_body *again)
{
    for (size_t i = 0; i < count; i++) {
        struct misuse misuse = {scenarios[i].free_once, checked};
        assert_scenario_stops(scenarios[i].name, again, &misuse);
    }
}

#define check_every(scenarios, checked, again) \
    check_all((scenarios), ARRAY_LENGTH(scenarios), (checked), (again))

static void a_double_free_in_a_row_stops_at_once(void **state)
{
    (void)state;
    check_every(found_at_once, false, free_again);
}

static void any_double_free_stops_by_the_flush(void **state)
{
    (void)state;
    check_every(found_by_the_flush, false, free_again_and_flush);
    check_every(found_by_the_flush, false, free_again_between_others);
    check_every(found_at_once, false, free_again_between_others);
}

static void a_double_free_across_threads_stops_by_the_flush(void **state)
{
    (void)state;
    check_every(found_by_the_flush, false, free_again_on_a_thread);
    check_every(found_at_once, false, free_again_on_a_thread);
}

static void any_double_free_stops_at_once_if_checked(void **state)
{
    (void)state;
    check_every(found_at_once, true, free_again);
    check_every(found_by_the_flush, true, free_again);
}

static void a_double_free_across_threads_stops_at_once_if_checked(void **state)
{
    (void)state;
    check_every(found_at_once, true, free_again_on_a_thread_at_once);
    check_every(found_by_the_flush, true, free_again_on_a_thread_at_once);
}

/* --- both frees by another thread than the one that allocated --- */

enum { FOREIGN = 30, FOREIGN_SIZE = 64 };

static void *free_all_and_one_again(void *argument)
{
    void **blocks = argument;

    for (size_t i = 0; i < FOREIGN; i++)
        release(blocks[i]);
    /* Neither the first nor the last of them. */
    expect_stop("double free", blocks[FOREIGN / 2]);
    release(blocks[FOREIGN / 2]);
    /* The thread's end would flush its cache. */
    _exit(0);
}

static void free_twice_elsewhere(void *unused)
{
    void *blocks[FOREIGN];

    (void)unused;
    for (size_t i = 0; i < FOREIGN; i++)
        blocks[i] = allocate(FOREIGN_SIZE);
    run_thread(free_all_and_one_again, blocks);
}

static void anothers_block_freed_twice_stops_at_once(void **state)
{
    (void)state;
    assert_child_stops(free_twice_elsewhere, NULL);
}

/* --- uses of a freed block other than freeing it --- */

static void reallocate_freed(void *argument)
{
    const struct misuse *misuse = argument;

    if (misuse->checked)
        require(partyalloc_set_option(PARTYALLOC_OPTION_CHECKED, 1) == 0);
    void *block = misuse->free_once();
    expect_stop("invalid reallocate", block);
    (void)!partyalloc_reallocate(block, 5 * MIB, ANY_TYPE);
}

static void a_freed_large_block_cannot_be_reallocated(void **state)
{
    static const struct scenario large[] = {
        SCENARIO(large_just_before),
        SCENARIO(huge_just_before),
        SCENARIO(large_aligned_just_before),
        SCENARIO(large_before_another_large),
        SCENARIO(large_by_another_thread),
    };

    (void)state;
    check_every(large, false, reallocate_freed);
}

static void a_freed_block_cannot_be_reallocated_if_checked(void **state)
{
    (void)state;
    check_every(found_at_once, true, reallocate_freed);
    check_every(found_by_the_flush, true, reallocate_freed);
}

/* --- two threads free one block at once --- */

static atomic_int waiting;
static _Atomic(uint64_t) start;

/* The last to arrive sets the time; then both watch the clock, so that neither
 * waits to hear from the other. */
static void *release_with_the_other(void *block)
{
    if (atomic_fetch_sub(&waiting, 1) == 1)
        atomic_store(&start, clock_ns() + 5000);
    while (atomic_load(&start) == 0 || clock_ns() < atomic_load(&start))
        ;
    release(block);
    return NULL;
}

static void free_a_large_block_at_once(void *unused)
{
    void *block = allocate(MIB);

    (void)unused;
    atomic_store(&waiting, 2);
    expect_stop("double free", block);
    run_threads(2, release_with_the_other, block, 0);
}

static void one_of_two_threads_that_free_a_large_block_stops(void **state)
{
    enum { ROUNDS = UNDER_SANITIZER ? 20 : 1000 };

    (void)state;
    for (int i = 0; i < ROUNDS; i++)
        assert_child_stops(free_a_large_block_at_once, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_double_free_in_a_row_stops_at_once),
        cmocka_unit_test(any_double_free_stops_by_the_flush),
        cmocka_unit_test(a_double_free_across_threads_stops_by_the_flush),
        cmocka_unit_test(any_double_free_stops_at_once_if_checked),
        cmocka_unit_test(a_double_free_across_threads_stops_at_once_if_checked),
        cmocka_unit_test(anothers_block_freed_twice_stops_at_once),
        cmocka_unit_test(a_freed_large_block_cannot_be_reallocated),
        cmocka_unit_test(one_of_two_threads_that_free_a_large_block_stops),
        cmocka_unit_test(a_freed_block_cannot_be_reallocated_if_checked),
    };

    return run_all(tests);
}
