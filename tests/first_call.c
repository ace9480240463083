/* SPDX-License-Identifier: MIT */
/*
 * Whatever a thread or a process calls first works: there is nothing to
 * initialise.
 */
#include "support.h"

#define TINY ((size_t)24)
#define LARGE (3 * MIB)

static void free_nothing(void *unused)
{
    (void)unused;
    partyalloc_free(NULL, ANY_TYPE);
}

static void allocate_small(void *unused)
{
    (void)unused;
    struct filled filled = filled_allocate(TINY, 1);
    filled_free(&filled);
}

static void allocate_large(void *unused)
{
    (void)unused;
    struct filled filled = filled_allocate(LARGE, 1);
    filled_free(&filled);
}

static void allocate_aligned(void *unused)
{
    void *block = partyalloc_allocate_aligned(TINY, 4096, ANY_TYPE);

    (void)unused;
    require(block != NULL && (uintptr_t)block % 4096 == 0);
    partyalloc_free(block, ANY_TYPE);
}

static void allocate_zeroed(void *unused)
{
    void *block = partyalloc_allocate_zeroed(TINY, 3, ANY_TYPE);

    (void)unused;
    require(block != NULL && is_zero(block, 3 * TINY));
    partyalloc_free(block, ANY_TYPE);
}

static void reallocate_null(void *unused)
{
    void *block = partyalloc_reallocate(NULL, TINY, ANY_TYPE);

    (void)unused;
    require(block != NULL);
    partyalloc_free(block, ANY_TYPE);
}

static void ask_sizes(void *unused)
{
    (void)unused;
    require(partyalloc_usable_size(NULL) == 0);
    require(partyalloc_good_size(TINY) >= TINY);
}

static void ask_statistics(void *unused)
{
    (void)unused;
    stats_now();
}

static void flush(void *unused)
{
    (void)unused;
    partyalloc_thread_flush();
}

static void trim(void *unused)
{
    (void)unused;
    partyalloc_trim();
}

static void maintain(void *unused)
{
    (void)unused;
    partyalloc_maintain(1000000);
}

static void reserve(void *unused)
{
    (void)unused;
    require(partyalloc_reserve(MIB) == 0);
}

static void set_limit(void *unused)
{
    (void)unused;
    require(partyalloc_set_limit(64 * MIB) == 0);
    require(partyalloc_set_limit(0) == 0);
}

static child_body *const calls[] = {
    free_nothing, allocate_small, allocate_large, allocate_aligned,
    allocate_zeroed, reallocate_null, ask_sizes, ask_statistics, flush, trim,
    maintain, reserve, set_limit,
};

struct first {
    child_body *call;
};

/* The first call, then some ordinary use. */
static void start_with(void *argument)
{
    struct first *first = argument;

    first->call(NULL);
    allocate_small(NULL);
    allocate_large(NULL);
}

static void *start_thread_with(void *argument)
{
    start_with(argument);
    return NULL;
}

static void start_only_thread_with(void *argument)
{
    run_thread(start_thread_with, argument);
    start_with(argument);
}

static void any_call_may_be_a_processes_first(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(calls); i++) {
        struct first first = {calls[i]};
        assert_child_succeeds(start_with, &first);
        assert_child_succeeds(start_only_thread_with, &first);
    }
}

static void any_call_may_be_a_threads_first(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(calls); i++) {
        struct first first = {calls[i]};
        run_thread(start_thread_with, &first);
    }
}

static void *free_blocks(void *argument)
{
    struct filled *blocks = argument;

    for (; blocks->block != NULL; blocks++)
        filled_free(blocks);
    return NULL;
}

static void a_threads_first_call_may_free_anothers_block(void **state)
{
    (void)state;
    for (size_t size = 1; size < 2 * LARGE; size *= 2) {
        struct filled blocks[20] = {{NULL, 0, 0}};
        size_t count = size < MIB ? ARRAY_LENGTH(blocks) - 1 : 2;

        for (size_t i = 0; i < count; i++)
            blocks[i] = filled_allocate(size, i);
        run_thread(free_blocks, blocks);
    }
    assert_int_equal(stats_now().small_live_blocks, 0);
    assert_int_equal(stats_now().large_live_blocks, 0);
}

static void *grow_block(void *argument)
{
    struct filled *filled = argument;
    size_t size = filled->size;

    filled->block = partyalloc_reallocate(filled->block, 3 * size, ANY_TYPE);
    require(filled->block != NULL);
    return NULL;
}

static void a_threads_first_call_may_reallocate_anothers_block(void **state)
{
    (void)state;
    for (size_t size = 8; size < 2 * LARGE; size *= 2) {
        struct filled filled = filled_allocate(size, size);

        run_thread(grow_block, &filled);
        filled_free(&filled);
    }
    assert_int_equal(stats_now().small_live_blocks, 0);
    assert_int_equal(stats_now().large_live_blocks, 0);
}

static void *ask_usable_size(void *argument)
{
    struct filled *filled = argument;

    require(partyalloc_usable_size(filled->block)
            == partyalloc_good_size(filled->size));
    return NULL;
}

static void a_threads_first_call_may_ask_anothers_usable_size(void **state)
{
    (void)state;
    for (size_t size = 1; size < 2 * LARGE; size *= 2) {
        struct filled filled = filled_allocate(size, size);

        run_thread(ask_usable_size, &filled);
        filled_free(&filled);
    }
}

/* To map memory could mean to wait for threads in page faults. */
static void allocate_first_blocks(void *unused)
{
    uint64_t before = stats_now().mapped_bytes;

    (void)unused;
    for (size_t size = 16; size <= 4096; size += 16)
        require(partyalloc_allocate(size, ANY_TYPE) != NULL);
    require(stats_now().mapped_bytes == before);
}

static void the_first_blocks_map_no_memory(void **state)
{
    (void)state;
    assert_child_succeeds(allocate_first_blocks, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* Forks, so it must come before any call here. */
        cmocka_unit_test(any_call_may_be_a_processes_first),
        cmocka_unit_test(the_first_blocks_map_no_memory),
        cmocka_unit_test(any_call_may_be_a_threads_first),
        cmocka_unit_test(a_threads_first_call_may_free_anothers_block),
        cmocka_unit_test(a_threads_first_call_may_reallocate_anothers_block),
        cmocka_unit_test(a_threads_first_call_may_ask_anothers_usable_size),
    };

    return run_all(tests);
}
