/* SPDX-License-Identifier: MIT */
/*
 * PARTYALLOC_OPTION_HUGE_PAGES asks for huge pages for large blocks of 4 MiB
 * and more, and changes nothing for others, whose pages go back as always.
 */
#include "support.h"

#include <sys/mman.h>

#include "os.h"

enum { BLOCKS = 100000, SIZE = 1000 };

static size_t asked, given_back;
static void *asked_start; /* the last time */
static size_t asked_length;

static int count_advice(void *address, size_t length, int advice)
{
    if (advice == MADV_HUGEPAGE) {
        asked++;
        asked_start = address;
        asked_length = length;
    }
    given_back += advice == MADV_DONTNEED;
    return madvise(address, length, advice);
}

static ssize_t (*advise_ranges)(const struct iovec *, size_t, int);

static ssize_t count_ranges(const struct iovec *ranges, size_t count,
                            int advice)
{
    given_back += advice == MADV_DONTNEED;
    return advise_ranges(ranges, count, advice);
}

static void start(size_t huge_pages)
{
    advise_ranges = os_calls.madvise_ranges;
    require(partyalloc_set_option(PARTYALLOC_OPTION_HUGE_PAGES, huge_pages) ==
            0);
    os_calls.madvise = count_advice;
    os_calls.madvise_ranges = count_ranges;
}

static void allocate_and_free(size_t size)
{
    void *block = partyalloc_allocate(size, ANY_TYPE);

    require(block != NULL);
    partyalloc_free(block, ANY_TYPE);
}

static void use_large_blocks(void *unused)
{
    (void)unused;
    start(1);
    allocate_and_free(3 * MIB);
    require(asked == 0);
    allocate_and_free(4 * MIB);
    require(asked == 1);
    partyalloc_trim();
    allocate_and_free(40 * MIB);
    require(asked == 2);
}

/* The last request was for the whole block. */
static void require_asked_for(void *block, size_t size, size_t times)
{
    require(block != NULL);
    require(asked == times);
    require(times == 0 || (asked_start == block && asked_length == size));
}

static void use_kept_memory(void *unused)
{
    void *blocks[6];

    (void)unused;
    start(1);
    for (size_t i = 0; i < ARRAY_LENGTH(blocks); i++)
        blocks[i] = partyalloc_allocate(3 * MIB, ANY_TYPE);
    for (size_t i = 0; i < ARRAY_LENGTH(blocks); i++)
        partyalloc_free(blocks[i], ANY_TYPE);
    require(asked == 0);
    require_asked_for(partyalloc_allocate(10 * MIB, ANY_TYPE), 10 * MIB, 1);
    void *block = partyalloc_allocate(3 * MIB, ANY_TYPE);
    require(asked == 1);
    block = partyalloc_reallocate(block, 7 * MIB / 2, ANY_TYPE);
    require(asked == 1);
    block = partyalloc_reallocate(block, 5 * MIB, ANY_TYPE);
    require_asked_for(block, 5 * MIB, 2);
    block = partyalloc_reallocate(block, 30 * MIB, ANY_TYPE);
    require_asked_for(block, 30 * MIB, 3);
    block = partyalloc_reallocate(block, 29 * MIB, ANY_TYPE);
    require_asked_for(block, 30 * MIB, 3);
}

static void use_large_blocks_without(void *unused)
{
    (void)unused;
    start(0);
    allocate_and_free(40 * MIB);
    allocate_and_free(40 * MIB);
    require(asked == 0);
}

static void allocate_and_free_many(size_t count)
{
    static void *blocks[BLOCKS];

    for (size_t i = 0; i < count; i++) {
        blocks[i] = partyalloc_allocate(SIZE, ANY_TYPE);
        require(blocks[i] != NULL);
    }
    for (size_t i = 0; i < count; i++)
        partyalloc_free(blocks[i], ANY_TYPE);
}

static void use_small_blocks(void *unused)
{
    (void)unused;
    start(1);
    allocate_and_free_many(BLOCKS);
    require(asked == 0);
    /* What has been free for two frames goes when others are freed. */
    for (int turn = 0; turn < 20; turn++) {
        sleep_ms(10);
        allocate_and_free_many(BLOCKS / 50);
    }
    require(given_back > 0);
}

static void they_are_asked_for_large_blocks(void **state)
{
    (void)state;
    assert_child_succeeds(use_large_blocks, NULL);
}

static void they_are_asked_for_in_kept_memory_and_for_what_grows(void **state)
{
    (void)state;
    assert_child_succeeds(use_kept_memory, NULL);
}

static void they_are_not_asked_for_by_default(void **state)
{
    (void)state;
    assert_child_succeeds(use_large_blocks_without, NULL);
}

static void small_blocks_are_as_without_them(void **state)
{
    (void)state;
    assert_child_succeeds(use_small_blocks, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_are_asked_for_large_blocks),
        cmocka_unit_test(they_are_asked_for_in_kept_memory_and_for_what_grows),
        cmocka_unit_test(they_are_not_asked_for_by_default),
        cmocka_unit_test(small_blocks_are_as_without_them),
    };

    return run_all(tests);
}
