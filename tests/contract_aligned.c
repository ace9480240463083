/* SPDX-License-Identifier: MIT */
/* Aligned blocks: every power of two, every size, one free for all. */
#include "support.h"

#include <errno.h>

#define ALIGNMENT_MAX (4 * MIB)

static bool is_aligned(const void *block, size_t alignment)
{
    return (uintptr_t)block % alignment == 0
        && (uintptr_t)block % PARTYALLOC_ALIGNMENT == 0;
}

/* Sizes around every possible boundary for this alignment. */
static size_t sizes_for(size_t alignment, size_t *sizes)
{
    const size_t fixed[] = {0, 1, 15, 16, 17, 100, 1000, 4095, 4096, 5000,
                            70000, SMALL_SIZE_MAX - 1, SMALL_SIZE_MAX,
                            SMALL_SIZE_MAX + 1, MIB + 7};
    size_t count = 0;

    for (size_t i = 0; i < ARRAY_LENGTH(fixed); i++)
        sizes[count++] = fixed[i];
    sizes[count++] = alignment - 1;
    sizes[count++] = alignment;
    sizes[count++] = alignment + 1;
    sizes[count++] = alignment + alignment / 2;
    sizes[count++] = 2 * alignment;
    return count;
}

static void every_power_of_two_aligns_every_size(void **state)
{
    (void)state;
    for (size_t alignment = 1; alignment <= ALIGNMENT_MAX; alignment *= 2) {
        size_t sizes[32];
        void *blocks[32];
        size_t count = sizes_for(alignment, sizes);

        for (size_t i = 0; i < count; i++) {
            blocks[i] = partyalloc_allocate_aligned(sizes[i], alignment, 0);
            assert_non_null(blocks[i]);
            assert_true(is_aligned(blocks[i], alignment));
            assert_true(partyalloc_usable_size(blocks[i]) >= sizes[i]);
            fill(blocks[i], partyalloc_usable_size(blocks[i]), i);
        }
        require_disjoint(blocks, count);
        for (size_t i = 0; i < count; i++) {
            assert_true(
                holds(blocks[i], partyalloc_usable_size(blocks[i]), i));
            partyalloc_free(blocks[i], ANY_TYPE);
        }
    }
}

static void many_aligned_blocks_of_one_kind_live_side_by_side(void **state)
{
    (void)state;
    for (size_t alignment = 32; alignment <= 64 * KIB; alignment *= 4) {
        void *blocks[300];

        for (size_t i = 0; i < ARRAY_LENGTH(blocks); i++) {
            size_t size = 1 + i % 3 * alignment;
            blocks[i] = partyalloc_allocate_aligned(size, alignment, 0);
            assert_non_null(blocks[i]);
            assert_true(is_aligned(blocks[i], alignment));
        }
        require_disjoint(blocks, ARRAY_LENGTH(blocks));
        for (size_t i = 0; i < ARRAY_LENGTH(blocks); i++)
            partyalloc_free(blocks[i], ANY_TYPE);
    }
}

/* It comes from a class whose blocks are so aligned, not from a mapping. */
static void an_aligned_small_block_is_a_small_one(void **state)
{
    uint64_t large = stats_now().large_live_blocks;

    (void)state;
    for (size_t alignment = 32; alignment <= 64 * KIB; alignment *= 2)
        for (size_t size = 1; size <= 64 * KIB; size *= 3) {
            void *block =
                partyalloc_allocate_aligned(size, alignment, ANY_TYPE);
            size_t longer = size > alignment ? size : alignment;
            assert_in_range(partyalloc_usable_size(block), longer, 2 * longer);
            assert_int_equal(stats_now().large_live_blocks, large);
            partyalloc_free(block, ANY_TYPE);
        }
}

static void a_huge_alignment_gives_a_block_or_says_enomem(void **state)
{
    (void)state;
    for (size_t alignment = 8 * MIB; alignment != 0; alignment *= 2) {
        errno = 0;
        void *block = partyalloc_allocate_aligned(100, alignment, 0);
        if (block == NULL) {
            assert_int_equal(errno, ENOMEM);
            continue;
        }
        assert_true(is_aligned(block, alignment));
        partyalloc_free(block, ANY_TYPE);
    }
}

static void an_alignment_that_cannot_be_costs_no_kernel_call(void **state)
{
    const size_t alignment = (size_t)1 << 63;
    uint64_t before = stats_now().kernel_calls;

    (void)state;
    errno = 0;
    assert_null(partyalloc_allocate_aligned(1, alignment, 0));
    assert_int_equal(errno, ENOMEM);
    errno = 0;
    assert_null(partyalloc_allocate_aligned(alignment, alignment, 0));
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(stats_now().kernel_calls, before);
}

static void a_bad_alignment_says_einval(void **state)
{
    const size_t bad[] = {0, 3, 5, 6, 7, 12, 24, 48, 100, 4097, MIB - 1,
                          MIB + 16, SIZE_MAX, SIZE_MAX - 1};
    void *block = partyalloc_allocate(100, ANY_TYPE);
    uint64_t before = stats_now().kernel_calls;

    (void)state;
    fill(block, 100, 1);
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        errno = 0;
        assert_null(partyalloc_allocate_aligned(100, bad[i], 0));
        assert_int_equal(errno, EINVAL);
        errno = 0;
        assert_null(partyalloc_allocate_aligned(SIZE_MAX, bad[i], 0));
        assert_int_equal(errno, EINVAL);
        errno = 0;
        assert_null(partyalloc_reallocate_aligned(block, 5000, bad[i], 0));
        assert_int_equal(errno, EINVAL);
        /* Though it has that size already. */
        errno = 0;
        assert_null(partyalloc_reallocate_aligned(block, 100, bad[i], 0));
        assert_int_equal(errno, EINVAL);
        errno = 0;
        assert_null(partyalloc_reallocate_aligned(NULL, 5000, bad[i], 0));
        assert_int_equal(errno, EINVAL);
    }
    assert_int_equal(stats_now().kernel_calls, before);
    assert_true(holds(block, 100, 1));
    partyalloc_free(block, ANY_TYPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_power_of_two_aligns_every_size),
        cmocka_unit_test(many_aligned_blocks_of_one_kind_live_side_by_side),
        cmocka_unit_test(an_aligned_small_block_is_a_small_one),
        cmocka_unit_test(a_huge_alignment_gives_a_block_or_says_enomem),
        cmocka_unit_test(an_alignment_that_cannot_be_costs_no_kernel_call),
        cmocka_unit_test(a_bad_alignment_says_einval),
    };

    return run_all(tests);
}
