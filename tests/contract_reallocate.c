/* SPDX-License-Identifier: MIT */
/* Reallocation keeps the contents, wherever it moves the block. */
#include "support.h"

#include <errno.h>

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Small, both sides of the boundary to large, and large. */
static const size_t some_sizes[] = {
    0, 1, 16, 17, 100, 128, 129, 1000, 4096, 5000, 20000, 65536, 100000,
    SMALL_SIZE_MAX - 1, SMALL_SIZE_MAX, SMALL_SIZE_MAX + 1, 300000, 500000,
    MIB, MIB + 1, 3 * MIB, 5 * MIB + 123};

static void check_step(size_t from, size_t to, size_t alignment)
{
    void *block = alignment == 0
        ? partyalloc_allocate(from, ANY_TYPE)
        : partyalloc_allocate_aligned(from, alignment, ANY_TYPE);

    assert_non_null(block);
    fill(block, from, from);
    void *moved = alignment == 0
        ? partyalloc_reallocate(block, to, ANY_TYPE)
        : partyalloc_reallocate_aligned(block, to, alignment, ANY_TYPE);
    assert_non_null(moved);
    assert_int_equal((uintptr_t)moved % PARTYALLOC_ALIGNMENT, 0);
    if (alignment != 0)
        assert_int_equal((uintptr_t)moved % alignment, 0);
    assert_true(partyalloc_usable_size(moved) >= to);
    /* The pattern is made of words: the last one may be cut off. */
    size_t kept = smaller(from, to) / sizeof(uint64_t) * sizeof(uint64_t);
    assert_true(holds(moved, kept, from));
    fill(moved, partyalloc_usable_size(moved), 1);
    assert_true(holds(moved, partyalloc_usable_size(moved), 1));
    partyalloc_free(moved, ANY_TYPE);
}

static void every_step_between_sizes_keeps_the_contents(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(some_sizes); i++)
        for (size_t j = 0; j < ARRAY_LENGTH(some_sizes); j++)
            check_step(some_sizes[i], some_sizes[j], 0);
}

static void every_step_of_an_aligned_block_keeps_the_alignment(void **state)
{
    const size_t alignments[] = {1, 16, 64, 256, 4096, 64 * KIB, MIB};

    (void)state;
    for (size_t k = 0; k < ARRAY_LENGTH(alignments); k++)
        for (size_t i = 0; i < ARRAY_LENGTH(some_sizes); i += 2)
            for (size_t j = 0; j < ARRAY_LENGTH(some_sizes); j++)
                check_step(some_sizes[i], some_sizes[j], alignments[k]);
}

static void a_block_that_grows_byte_by_byte_keeps_every_byte(void **state)
{
    enum { BYTES = 20000 };
    unsigned char *bytes = NULL;

    (void)state;
    for (size_t size = 1; size <= BYTES; size++) {
        bytes = partyalloc_reallocate(bytes, size, ANY_TYPE);
        assert_non_null(bytes);
        bytes[size - 1] = (unsigned char)(size * 7);
    }
    for (size_t size = BYTES; size >= 1; size--) {
        assert_int_equal(bytes[size - 1], (unsigned char)(size * 7));
        bytes = partyalloc_reallocate(bytes, size, ANY_TYPE);
        assert_non_null(bytes);
    }
    partyalloc_free(bytes, ANY_TYPE);
}

static void a_block_that_becomes_much_smaller_is_another_one(void **state)
{
    const size_t sizes[] = {32, 100, 1000, 5000, 20000, SMALL_SIZE_MAX};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        void *block = partyalloc_allocate(sizes[i], ANY_TYPE);
        size_t usable = partyalloc_usable_size(block);
        void *same = partyalloc_reallocate(block, usable / 2 + 1, ANY_TYPE);
        assert_ptr_equal(same, block);
        block = partyalloc_reallocate(same, usable / 2, ANY_TYPE);
        assert_non_null(block);
        assert_int_equal(partyalloc_usable_size(block),
                         partyalloc_good_size(usable / 2));
        partyalloc_free(block, ANY_TYPE);
    }
    /* There is no smaller class. */
    void *block = partyalloc_allocate(16, ANY_TYPE);
    assert_ptr_equal(partyalloc_reallocate(block, 1, ANY_TYPE), block);
    partyalloc_free(block, ANY_TYPE);
}

static void a_reallocation_of_null_allocates(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(some_sizes); i++) {
        size_t size = some_sizes[i];
        void *block = partyalloc_reallocate(NULL, size, ANY_TYPE);
        void *other = partyalloc_reallocate_aligned(NULL, size, 4096, 0);

        assert_non_null(block);
        assert_non_null(other);
        assert_ptr_not_equal(block, other);
        assert_int_equal((uintptr_t)other % 4096, 0);
        assert_true(partyalloc_usable_size(block) >= size);
        assert_true(partyalloc_usable_size(other) >= size);
        partyalloc_free(block, ANY_TYPE);
        partyalloc_free(other, ANY_TYPE);
    }
}

static void a_reallocation_to_size_zero_gives_a_live_block(void **state)
{
    uint64_t before = stats_now().small_live_blocks;
    void *small = partyalloc_allocate(100, ANY_TYPE);
    void *large = partyalloc_allocate(MIB, ANY_TYPE);

    (void)state;
    small = partyalloc_reallocate(small, 0, ANY_TYPE);
    large = partyalloc_reallocate(large, 0, ANY_TYPE);
    assert_non_null(small);
    assert_non_null(large);
    assert_ptr_not_equal(small, large);
    partyalloc_free(small, ANY_TYPE);
    partyalloc_free(large, ANY_TYPE);
    assert_int_equal(stats_now().small_live_blocks, before);
    assert_int_equal(stats_now().large_live_blocks, 0);
}

static void a_large_block_that_shrinks_gives_its_pages_back(void **state)
{
    struct partyalloc_stats before = stats_now();
    void *block = partyalloc_allocate(64 * MIB, ANY_TYPE);

    (void)state;
    block = partyalloc_reallocate(block, MIB, ANY_TYPE);
    assert_non_null(block);
    assert_in_range(stats_now().large_live_bytes - before.large_live_bytes,
                    MIB, 2 * MIB);
    partyalloc_free(block, ANY_TYPE);
}

static void a_failed_reallocation_leaves_the_block_alone(void **state)
{
    const size_t absurd[] = {(size_t)PTRDIFF_MAX + 1, SIZE_MAX - 4096,
                             SIZE_MAX};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(some_sizes); i++) {
        struct filled filled = filled_allocate(some_sizes[i], i);
        for (size_t j = 0; j < ARRAY_LENGTH(absurd); j++) {
            errno = 0;
            assert_null(partyalloc_reallocate(filled.block, absurd[j], 0));
            assert_int_equal(errno, ENOMEM);
            errno = 0;
            assert_null(partyalloc_reallocate_aligned(filled.block, absurd[j],
                                                      64, 0));
            assert_int_equal(errno, ENOMEM);
        }
        filled_free(&filled);
    }
}

static void a_reallocation_within_the_usable_size_stays_in_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(some_sizes); i++) {
        void *block = partyalloc_allocate(some_sizes[i], ANY_TYPE);
        size_t usable = partyalloc_usable_size(block);

        assert_ptr_equal(partyalloc_reallocate(block, usable, 0), block);
        partyalloc_free(block, ANY_TYPE);
    }
}

/* Also with an alignment that a move of pages would not keep. */
static void an_aligned_block_that_gets_no_longer_stays_in_place(void **state)
{
    (void)state;
    for (size_t alignment = 4096; alignment <= 4 * MIB; alignment *= 4) {
        char *block = partyalloc_allocate_aligned(3 * MIB, alignment, ANY_TYPE);
        fill(block, 3 * MIB, 1);
        for (size_t size = 3 * MIB; size >= MIB; size -= MIB)
            assert_ptr_equal(partyalloc_reallocate_aligned(block, size,
                                                           alignment, ANY_TYPE),
                             block);
        assert_true(holds(block, MIB, 1));
        partyalloc_free(block, ANY_TYPE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_step_between_sizes_keeps_the_contents),
        cmocka_unit_test(every_step_of_an_aligned_block_keeps_the_alignment),
        cmocka_unit_test(a_block_that_grows_byte_by_byte_keeps_every_byte),
        cmocka_unit_test(a_block_that_becomes_much_smaller_is_another_one),
        cmocka_unit_test(a_reallocation_of_null_allocates),
        cmocka_unit_test(a_reallocation_to_size_zero_gives_a_live_block),
        cmocka_unit_test(a_large_block_that_shrinks_gives_its_pages_back),
        cmocka_unit_test(a_failed_reallocation_leaves_the_block_alone),
        cmocka_unit_test(a_reallocation_within_the_usable_size_stays_in_place),
        cmocka_unit_test(an_aligned_block_that_gets_no_longer_stays_in_place),
    };

    return run_all(tests);
}
