/* SPDX-License-Identifier: MIT */
/*
 * A title that writes into blocks it has freed corrupts nothing but its own
 * blocks: nothing of ours lies in them.
 */
#include "support.h"

#include <string.h>

enum { BLOCKS = 3000 };

static void *blocks[BLOCKS];

static void allocate_all(uint64_t seed)
{
    struct random random = {seed};

    for (size_t i = 0; i < BLOCKS; i++) {
        size_t size = random_size(&random, 16, 4000);
        blocks[i] = partyalloc_allocate(size, ANY_TYPE);
        require(blocks[i] != NULL);
        require(partyalloc_usable_size(blocks[i])
                == partyalloc_good_size(size));
        memset(blocks[i], (int)(i & 0xff), size);
    }
    require_disjoint(blocks, BLOCKS);
}

static void *free_half(void *unused)
{
    (void)unused;
    for (size_t i = 0; i < BLOCKS; i += 2)
        partyalloc_free(blocks[i], ANY_TYPE);
    return NULL;
}

/* What a stray write leaves: zeros, ones, or addresses of the title. */
static void spoil(void *block, size_t size, size_t how)
{
    char *const addresses[] = {(char *)blocks, block, (char *)&blocks[how]};
    char *bytes = block;

    if (how % 4 == 0)
        memset(bytes, 0, size);
    else if (how % 4 == 1)
        memset(bytes, 0xff, size);
    else
        for (size_t i = 0; i + 8 <= size; i += 8)
            memcpy(bytes + i, &addresses[(how + i / 8) % 3], 8);
}

static void spoil_half(void)
{
    for (size_t i = 0; i < BLOCKS; i += 2)
        spoil(blocks[i], 16, i / 2);
}

static void blocks_stay_apart_after_writes_into_freed_ones(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 20; round++) {
        allocate_all(round);
        if (round % 2 == 0)
            free_half(NULL);
        else
            run_thread(free_half, NULL);
        spoil_half();
        if (round % 3 == 0)
            partyalloc_thread_flush();
        if (round % 5 == 0)
            partyalloc_trim();
        spoil_half();
        for (size_t i = 1; i < BLOCKS; i += 2)
            partyalloc_free(blocks[i], ANY_TYPE);
        allocate_all(round + 100);
        for (size_t i = 0; i < BLOCKS; i++)
            partyalloc_free(blocks[i], ANY_TYPE);
    }
    assert_int_equal(stats_now().small_live_blocks, 0);
}

static void zeroed_blocks_are_zero_after_writes_into_freed_ones(void **state)
{
    (void)state;
    for (size_t size = 16; size <= SMALL_SIZE_MAX; size *= 2) {
        void *block = partyalloc_allocate_zeroed(1, size, ANY_TYPE);
        partyalloc_free(block, ANY_TYPE);
        memset(block, 0xff, size);
        void *again = partyalloc_allocate_zeroed(1, size, ANY_TYPE);
        assert_true(is_zero(again, size));
        partyalloc_free(again, ANY_TYPE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_stay_apart_after_writes_into_freed_ones),
        cmocka_unit_test(zeroed_blocks_are_zero_after_writes_into_freed_ones),
    };

    return run_all(tests);
}
