/* SPDX-License-Identifier: MIT */
/*
 * Sizes beyond any address space give NULL and ENOMEM at once: without a
 * kernel call, and without a trace in the allocator.
 */
#include "support.h"

#include <errno.h>

static const size_t absurd[] = {
    (size_t)PTRDIFF_MAX + 1, (size_t)PTRDIFF_MAX + 2,
    (size_t)PTRDIFF_MAX + 4096, SIZE_MAX / 4 * 3, SIZE_MAX - 65536,
    SIZE_MAX - 8192, SIZE_MAX - 4096, SIZE_MAX - 4095, SIZE_MAX - 4094,
    SIZE_MAX - 64, SIZE_MAX - 17, SIZE_MAX - 16, SIZE_MAX - 15, SIZE_MAX - 1,
    SIZE_MAX};

#define assert_no_memory(call) \
    do { \
        errno = 0; \
        assert_null(call); \
        assert_int_equal(errno, ENOMEM); \
    } while (0)

static void sizes_above_ptrdiff_max_need_no_kernel_call(void **state)
{
    struct partyalloc_stats before = stats_now();

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(absurd); i++) {
        size_t size = absurd[i];
        assert_no_memory(partyalloc_allocate(size, 0));
        assert_no_memory(partyalloc_allocate_aligned(size, 16, 0));
        assert_no_memory(partyalloc_allocate_aligned(size, MIB, 0));
        assert_no_memory(partyalloc_allocate_zeroed(size, 1, 0));
        assert_no_memory(partyalloc_allocate_zeroed(1, size, 0));
        assert_no_memory(partyalloc_reallocate(NULL, size, 0));
        assert_no_memory(partyalloc_reallocate_aligned(NULL, size, 64, 0));
    }
    assert_int_equal(stats_now().kernel_calls, before.kernel_calls);
    assert_int_equal(stats_now().mapped_bytes, before.mapped_bytes);
}

static void try_absurd_sizes(void *unused)
{
    (void)unused;
    forbid_memory_calls();
    for (size_t i = 0; i < ARRAY_LENGTH(absurd); i++) {
        require(partyalloc_allocate(absurd[i], 0) == NULL);
        require(partyalloc_allocate_aligned(absurd[i], 4096, 0) == NULL);
        require(partyalloc_allocate_zeroed(absurd[i], 1, 0) == NULL);
        require(partyalloc_reallocate(NULL, absurd[i], 0) == NULL);
    }
}

static void the_kernel_sees_no_call_for_an_absurd_size(void **state)
{
    (void)state;
    assert_child_succeeds(try_absurd_sizes, NULL);
}

static void sizes_just_below_ptrdiff_max_say_enomem(void **state)
{
    const size_t sizes[] = {PTRDIFF_MAX, PTRDIFF_MAX - 1, PTRDIFF_MAX - 4095,
                            PTRDIFF_MAX - 4096, PTRDIFF_MAX - 65536,
                            (size_t)1 << 62, (size_t)1 << 48};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        assert_no_memory(partyalloc_allocate(sizes[i], 0));
        assert_no_memory(partyalloc_allocate_aligned(sizes[i], 64 * KIB, 0));
        assert_no_memory(partyalloc_allocate_zeroed(1, sizes[i], 0));
    }
    assert_int_equal(stats_now().large_live_blocks, 0);
}

static void an_absurd_size_does_not_disturb_what_follows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(absurd); i++) {
        struct filled small, large;
        assert_null(partyalloc_allocate(absurd[i], 0));
        small = filled_allocate(100, i);
        large = filled_allocate(MIB, i);
        filled_free(&small);
        filled_free(&large);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_above_ptrdiff_max_need_no_kernel_call),
        cmocka_unit_test(the_kernel_sees_no_call_for_an_absurd_size),
        cmocka_unit_test(sizes_just_below_ptrdiff_max_say_enomem),
        cmocka_unit_test(an_absurd_size_does_not_disturb_what_follows),
    };

    return run_all(tests);
}
