/* SPDX-License-Identifier: MIT */
/*
 * Large blocks: what one call gives back at most, how much is mapped ahead, and
 * what a cap, or a system that refuses, leaves behind.
 */
#include "support.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "chunk.h"
#include "large.h"
#include "mapped.h"
#include "os.h"
#include "page_map.h"

/* What one step unmaps. */
enum { STEP = 256 * KIB };

static void *allocate(size_t size)
{
    void *block = large_allocate(size, 1, false);

    require(block != NULL);
    return block;
}

/* --- what one call gives back --- */

static size_t unmapped_by_free(void *block)
{
    size_t mapped = os_mapped_bytes();
    uint64_t calls = os_kernel_calls();

    large_free(block);
    /* One more call may ask whether it was written. */
    require(os_kernel_calls() - calls <= 2);
    return mapped - os_mapped_bytes();
}

/* Blocks of 4 MiB that live until all are made. */
static void allocate_and_free_many(size_t count)
{
    enum { MANY = 100 };
    void *blocks[MANY];

    require(count <= MANY);
    for (size_t i = 0; i < count; i++)
        blocks[i] = allocate(4 * MIB);
    for (size_t i = 0; i < count; i++)
        require(unmapped_by_free(blocks[i]) <= STEP);
}

static void what_is_over_the_bound_goes_in_small_steps(void **state)
{
    (void)state;
    allocate_and_free_many(16);
    /* The last four frees exceeded it. */
    assert_int_equal(large_totals().cached_bytes, 64 * MIB - 4 * STEP);
    while (large_drop_step(false) != 0)
        ;
    assert_int_equal(large_totals().cached_bytes, 48 * MIB);
    large_drop_all();
}

static void what_is_far_over_the_bound_goes_in_small_steps_too(void **state)
{
    (void)state;
    allocate_and_free_many(100);
    assert_in_range(large_totals().cached_bytes, 300 * MIB, 400 * MIB);
    assert_int_equal(unmapped_by_free(allocate(600 * MIB)), STEP);
    while (large_drop_step(false) != 0)
        ;
    assert_int_equal(large_totals().cached_bytes, 48 * MIB);
    large_drop_all();
}

/* Any excess goes with frees and new mappings only. */
static void what_is_kept_serves_without_a_kernel_call(void **state)
{
    (void)state;
    allocate_and_free_many(100);
    uint64_t calls = os_kernel_calls();
    void *block = allocate(4 * MIB);
    assert_int_equal(os_kernel_calls(), calls);
    large_free(block);
    large_drop_all();
}

static void a_part_of_what_is_live_is_kept_besides(void **state)
{
    void *live = allocate(400 * MIB);

    (void)state;
    large_free(allocate(160 * MIB));
    while (large_drop_step(false) != 0)
        ;
    assert_int_equal(large_totals().cached_bytes, 148 * MIB);
    large_free(live);
    large_drop_all();
}

static void what_blocks_give_up_is_bounded_too(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        void *block = allocate(60 * MIB), *next = allocate(60 * MIB);
        large_drop_all(); /* what was mapped ahead */
        size_t mapped = os_mapped_bytes();
        /* Later calls give it back. */
        assert_ptr_equal(large_resize(block, MIB), block);
        assert_int_equal(os_mapped_bytes(), mapped);
        assert_ptr_equal(large_resize(next, MIB), next);
        size_t after = os_mapped_bytes();
        assert_in_range(mapped - after, 0, STEP);
        assert_ptr_equal(large_resize(block, 300 * KIB), block);
        assert_int_equal(after - os_mapped_bytes(), STEP);
        large_free(block);
        large_free(next);
        large_drop_all();
    }
}

/* Nothing kept fits, and more is kept than should be. */
static void a_new_mapping_gives_a_step_back(void **state)
{
    enum { COUNT = 20 };
    void *blocks[COUNT], *between[COUNT];

    (void)state;
    large_free(allocate(COUNT * 5 * MIB)); /* all are cut from it, adjacent */
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = allocate(4 * MIB);
        between[i] = allocate(300 * KIB);
    }
    large_drop_all();
    for (size_t i = 0; i < COUNT; i++)
        large_free(blocks[i]);
    size_t kept = large_totals().cached_bytes;
    assert_true(kept > 60 * MIB);
    uint64_t maps = large_totals().maps;
    /* Aligned, so that no range is extended. */
    blocks[0] = large_allocate(5 * MIB, 2 * UNIT_BYTES, false);
    assert_int_equal(large_totals().maps, maps + 1);
    assert_int_equal(kept - large_totals().cached_bytes, STEP);
    large_free(blocks[0]);
    for (size_t i = 0; i < COUNT; i++)
        large_free(between[i]);
    large_drop_all();
}

/* More ranges than places, none adjacent. */
static void a_free_without_a_place_gives_a_step_back(void **state)
{
    enum { COUNT = 900 };
    static void *blocks[COUNT];

    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        blocks[i] = allocate(2 * MIB);
    for (size_t i = 0; i < COUNT; i += 2)
        require(unmapped_by_free(blocks[i]) <= STEP);
    for (size_t i = 1; i < COUNT; i += 2)
        require(unmapped_by_free(blocks[i]) <= STEP);
    while (large_drop_step(false) != 0)
        ;
    assert_in_range(large_totals().cached_bytes, 48 * MIB - STEP, 48 * MIB);
    large_drop_all();
}

/* A free of a small block may flush several, and still gives back once. */
static void a_free_of_a_small_block_gives_a_step_back(void **state)
{
    enum { COUNT = 4000, LARGE = 60 };
    static void *blocks[COUNT];
    const size_t sizes[] = {100, 3000, 5000, 20000, 100000};

    (void)state;
    for (size_t i = 0; i < LARGE; i++)
        blocks[i] = allocate(4 * MIB);
    for (size_t i = 0; i < LARGE; i++)
        large_free(blocks[i]);
    size_t kept = large_totals().cached_bytes;
    for (size_t turn = 0; turn < ARRAY_LENGTH(sizes); turn++) {
        for (size_t i = 0; i < COUNT; i++)
            blocks[i] = partyalloc_allocate(sizes[turn], ANY_TYPE);
        for (size_t i = 0; i < COUNT; i++) {
            size_t mapped = os_mapped_bytes();
            partyalloc_free(blocks[i * 7 % COUNT], ANY_TYPE);
            require(os_mapped_bytes() + STEP >= mapped);
        }
    }
    assert_true(large_totals().cached_bytes < kept);
    partyalloc_trim();
}

/* No more is kept than may be, but nobody uses it. */
static void frees_of_small_blocks_give_back_what_is_old(void **state)
{
    enum { COUNT = 1000, TURNS = 100 };
    static void *blocks[COUNT];

    (void)state;
    large_free(allocate(STEP));
    assert_int_equal(large_totals().cached_bytes, STEP);
    for (int turn = 0; large_totals().cached_bytes != 0; turn++) {
        require(turn < TURNS);
        sleep_ms(20);
        for (size_t i = 0; i < COUNT; i++)
            blocks[i] = partyalloc_allocate(3000, ANY_TYPE);
        for (size_t i = 0; i < COUNT; i++)
            partyalloc_free(blocks[i], ANY_TYPE);
    }
    partyalloc_trim();
}

/* --- what is mapped ahead of use --- */

static void as_much_as_is_live_is_mapped_ahead(void **state)
{
    size_t mapped = mapped_bytes();

    (void)state;
    void *first = allocate(4 * MIB);
    assert_int_equal(mapped_bytes() - mapped, 4 * MIB);
    void *second = allocate(MIB);
    assert_int_equal(mapped_bytes() - mapped, 9 * MIB);
    uint64_t calls = os_kernel_calls();
    void *third = allocate(3 * MIB);
    assert_int_equal(os_kernel_calls(), calls);
    assert_ptr_equal((char *)third + 3 * MIB, second);
    assert_true(is_zero(third, 3 * MIB));
    assert_int_equal(large_totals().cached_bytes, 0);
    large_free(first);
    large_free(second);
    large_free(third);
    assert_int_equal(large_totals().cached_bytes, 8 * MIB);
    large_drop_all();
    assert_int_equal(mapped_bytes(), mapped);
}

static size_t mappings;

static void *count_mmap(void *hint, size_t length, int protection, int flags,
                        int fd, off_t offset)
{
    mappings++;
    return mmap(hint, length, protection, flags, fd, offset);
}

static void what_is_mapped_ahead_is_bounded(void **state)
{
    enum { COUNT = 100 };
    void *blocks[COUNT];
    size_t mapped = mapped_bytes();

    (void)state;
    os_calls.mmap = count_mmap;
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = allocate(MIB + i * UNIT_BYTES);
        require(mapped_bytes() - mapped
                <= large_totals().live_bytes + 16 * MIB);
    }
    os_calls.mmap = mmap;
    /* 409 MiB; some tries find their place taken, and one may be for a leaf of
     * the page map. */
    assert_in_range(mappings, 20, 60);
    for (size_t i = 0; i < COUNT; i++)
        large_free(blocks[i]);
    large_drop_all();
}

static void nothing_is_mapped_ahead_where_pages_come_at_once(void **state)
{
    (void)state;
    os_calls.mmap = mmap_filled;
    void *first = allocate(4 * MIB);
    size_t mapped = mapped_bytes();
    void *second = allocate(MIB);
    os_calls.mmap = mmap;
    assert_int_equal(mapped_bytes() - mapped, MIB);
    large_free(first);
    large_free(second);
    large_drop_all();
    assert_true(os_unmap(os_map(UNIT_BYTES), UNIT_BYTES)); /* ends that */
}

static void a_block_at_the_cap_needs_room_for_itself_only(void **state)
{
    void *live = allocate(20 * MIB);

    (void)state;
    os_set_limit(os_mapped_bytes() + 3 * MIB);
    void *block = large_allocate(3 * MIB, 1, false);
    assert_non_null(block);
    assert_null(large_allocate(MIB, 1, false));
    os_set_limit(0);
    large_free(block);
    large_free(live);
    large_drop_all();
}

/* Each free unmaps a step at the low end, just above another block. */
static void what_a_step_has_taken_is_mapped_in_its_place(void **state)
{
    (void)state;
    large_free(allocate(80 * MIB)); /* both are cut from it */
    char *block = allocate(60 * MIB), *below = allocate(19 * MIB);
    assert_ptr_equal(below + 19 * MIB, block);
    large_drop_all();
    size_t mapped = os_mapped_bytes();
    for (int i = 0; i < 20; i++) {
        large_free(block);
        assert_int_equal(mapped - os_mapped_bytes(), STEP);
        assert_ptr_equal(allocate(60 * MIB), block);
        assert_int_equal(os_mapped_bytes(), mapped);
    }
    large_free(block);
    large_free(below);
    large_drop_all();
}

/* --- at a cap --- */

static void an_allocation_at_the_cap_drops_what_it_needs_only(void **state)
{
    enum { COUNT = 10 };
    void *blocks[COUNT];

    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        blocks[i] = allocate(4 * MIB);
    large_drop_all(); /* what was mapped ahead */
    for (size_t i = 0; i < COUNT; i += 2)
        large_free(blocks[i]);
    assert_int_equal(large_totals().cached_bytes, 20 * MIB);
    os_set_limit(os_mapped_bytes());
    void *block = partyalloc_allocate(6 * MIB, ANY_TYPE);
    assert_non_null(block);
    /* Part of the block can lie in what was kept. */
    assert_in_range(large_totals().cached_bytes, 12 * MIB, 18 * MIB);
    large_free(block);
    os_set_limit(0);
    for (size_t i = 1; i < COUNT; i += 2)
        large_free(blocks[i]);
    large_drop_all();
}

static void a_lower_cap_gives_up_what_is_kept(void **state)
{
    (void)state;
    large_free(allocate(8 * MIB));
    size_t mapped = os_mapped_bytes();
    /* What is mapped just fits. */
    assert_int_equal(partyalloc_set_limit(mapped), 0);
    assert_int_equal(os_mapped_bytes(), mapped);
    assert_int_equal(partyalloc_set_limit(mapped - MIB), 0);
    assert_int_equal(os_mapped_bytes(), mapped - 8 * MIB);
    assert_int_equal(partyalloc_set_limit(0), 0);
}

static void a_lower_cap_gives_up_what_no_slab_has_yet(void **state)
{
    (void)state;
    require(chunk_grant(1).base != 0);
    size_t left = chunk_left_bytes(), mapped = os_mapped_bytes();
    assert_int_not_equal(left, 0);
    assert_int_equal(partyalloc_set_limit(mapped - 1), 0);
    assert_int_equal(os_mapped_bytes(), mapped - left);
    assert_int_equal(partyalloc_set_limit(0), 0);
}

/* Where the page map has no leaf yet: far below all else that is mapped. */
static char *far_away;

static void find_far_away(const char *mapped)
{
    far_away = (char *)((uintptr_t)mapped & ~(uintptr_t)(MIB - 1));
    do
        far_away -= (size_t)1 << 36;
    while (page_map_leaf(far_away) != NULL);
}

static void *mmap_far_away(void *hint, size_t length, int protection, int flags,
                           int fd, off_t offset)
{
    if (hint == NULL && length == 6 * MIB)
        hint = far_away;
    return mmap(hint, length, protection, flags, fd, offset);
}

/* The block fits below the cap, but its leaf of the page map does not. */
static void what_is_kept_makes_room_for_the_page_map(void **state)
{
    void *kept = allocate(5 * MIB);

    (void)state;
    find_far_away(kept);
    large_free(kept);
    os_calls.mmap = mmap_far_away;
    os_set_limit(os_mapped_bytes() + 6 * MIB);
    /* Aligned, so that it is not mapped beside what is kept. */
    char *block = partyalloc_allocate_aligned(6 * MIB, 2 * UNIT_BYTES, ANY_TYPE);
    os_set_limit(0);
    os_calls.mmap = mmap;
    assert_ptr_equal(block, far_away);
    large_free(block);
    large_drop_all();
}

static char *allocate_far_away(void)
{
    os_calls.mmap = mmap_far_away;
    char *block = large_allocate(6 * MIB, 2 * UNIT_BYTES, false);
    os_calls.mmap = mmap;
    require(block == far_away);
    return block;
}

/* The end, or the start, of the leaf that an address has or would have. */
static char *leaf_around(char *address, bool end)
{
    uintptr_t bytes = (uintptr_t)LEAF_UNITS * UNIT_BYTES;

    return (char *)(((uintptr_t)address & ~(bytes - 1)) + (end ? bytes : 0));
}

/* The block moves, to where there is a leaf. */
static void what_grows_beyond_its_leaf_at_the_cap_is_given_up(void **state)
{
    void *near = allocate(MIB);

    (void)state;
    find_far_away(near);
    far_away = leaf_around(far_away, true) - 6 * MIB;
    char *block = allocate_far_away();
    fill(block, 6 * MIB, 1);
    size_t mapped = os_mapped_bytes();
    os_set_limit(mapped + 2 * MIB);
    char *moved = large_resize(block, 8 * MIB);
    os_set_limit(0);
    assert_non_null(moved);
    assert_ptr_not_equal(moved, block);
    assert_true(holds(moved, 6 * MIB, 1));
    assert_null(page_map_leaf(block + 6 * MIB));
    assert_int_equal(os_mapped_bytes() - mapped, 2 * MIB);
    /* Nothing is mapped there now. */
    assert_true(os_map_at(block, 8 * MIB));
    assert_true(os_unmap(block, 8 * MIB));
    large_free(moved);
    large_free(near);
    large_drop_all();
}

static void what_is_in_front_of_its_leaf_at_the_cap_is_given_up(void **state)
{
    void *near = allocate(MIB);

    (void)state;
    find_far_away(near);
    large_free(near);
    large_drop_all();
    far_away = leaf_around(far_away, false);
    large_free(allocate_far_away());
    size_t mapped = os_mapped_bytes();
    os_set_limit(mapped + 2 * MIB);
    assert_null(large_allocate(8 * MIB, 1, false));
    os_set_limit(0);
    assert_null(page_map_leaf(far_away - MIB));
    assert_int_equal(os_mapped_bytes(), mapped);
    assert_true(os_map_at(far_away - 2 * MIB, 2 * MIB));
    assert_true(os_unmap(far_away - 2 * MIB, 2 * MIB));
    assert_int_equal(large_drop_all(), 6 * MIB);
}

/* --- what the system refuses --- */

static int refuse_munmap(void *address, size_t length)
{
    (void)address, (void)length;
    errno = ENOMEM;
    return -1;
}

static void *refuse_mremap(void *address, size_t old_length, size_t new_length,
                           int flags, ...)
{
    (void)address, (void)old_length, (void)new_length, (void)flags;
    errno = ENOMEM;
    return MAP_FAILED;
}

static void what_the_system_does_not_unmap_stays_kept(void **state)
{
    size_t mapped = os_mapped_bytes();

    (void)state;
    char *block = allocate(4 * MIB);
    memset(block, 1, 4 * MIB);
    large_free(block);
    os_calls.munmap = refuse_munmap;
    errno = 0;
    assert_int_equal(large_drop_all(), 0);
    assert_int_equal(large_drop(MIB), 0);
    assert_int_equal(errno, 0);
    assert_int_equal(large_totals().cached_bytes, 4 * MIB);
    assert_false(os_is_present(block, PAGE_BYTES));
    os_calls.munmap = munmap;
    assert_ptr_equal(allocate(4 * MIB), block);
    large_free(block);
    assert_int_equal(large_drop_all(), 4 * MIB);
    assert_int_equal(os_mapped_bytes(), mapped);
}

/* The target of a failed move, which cannot be unmapped either. */
static void a_target_that_stays_is_kept(void **state)
{
    size_t mapped = os_mapped_bytes();
    void *block = allocate(MIB);

    (void)state;
    os_calls.munmap = refuse_munmap;
    os_calls.mremap = refuse_mremap;
    void *moved = large_resize(block, 8 * MIB);
    os_calls.munmap = munmap;
    os_calls.mremap = mremap;
    assert_null(moved);
    assert_int_equal(os_mapped_bytes() - mapped, 9 * MIB);
    assert_int_equal(large_totals().cached_bytes, 8 * MIB);
    large_free(block);
    large_drop_all();
    assert_int_equal(os_mapped_bytes(), mapped);
}

/* A target without a leaf of the page map can be nobody's block. */
static void a_target_that_cannot_be_entered_is_not_kept(void **state)
{
    char *whole = allocate(2 * MIB);

    (void)state;
    large_free(whole);
    void *above = allocate(MIB); /* against growth in place */
    void *block = allocate(MIB);
    assert_ptr_equal(block, whole);
    find_far_away(block);
    os_calls.mmap = mmap_far_away;
    os_calls.munmap = refuse_munmap;
    os_set_limit(os_mapped_bytes() + 5 * MIB);
    void *moved = large_resize(block, 6 * MIB);
    os_set_limit(0);
    os_calls.mmap = mmap;
    os_calls.munmap = munmap;
    assert_null(moved);
    assert_null(page_map_leaf(far_away));
    assert_int_equal(large_totals().cached_bytes, 0);
    require(munmap(far_away, 6 * MIB) == 0);
    large_free(block);
    large_free(above);
    large_drop_all();
}

/* To the system two mappings, which cannot move as one: room does not help. */
static void a_block_that_cannot_move_leaves_what_is_kept(void **state)
{
    (void)state;
    char *block = allocate(2 * MIB);
    void *beside[] = {allocate(MIB), allocate(MIB), allocate(MIB)};
    large_free(beside[1]);
    require(madvise(block, MIB, MADV_DONTFORK) == 0);
    assert_null(large_resize(block, 8 * MIB));
    assert_int_equal(large_totals().cached_bytes, MIB);
    assert_int_equal(large_usable_size(block, "test"), 2 * MIB);
    large_free(block);
    large_free(beside[0]);
    large_free(beside[2]);
    large_drop_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_over_the_bound_goes_in_small_steps),
        cmocka_unit_test(what_is_far_over_the_bound_goes_in_small_steps_too),
        cmocka_unit_test(what_is_kept_serves_without_a_kernel_call),
        cmocka_unit_test(a_part_of_what_is_live_is_kept_besides),
        cmocka_unit_test(what_blocks_give_up_is_bounded_too),
        cmocka_unit_test(a_new_mapping_gives_a_step_back),
        cmocka_unit_test(a_free_without_a_place_gives_a_step_back),
        cmocka_unit_test(a_free_of_a_small_block_gives_a_step_back),
        cmocka_unit_test(frees_of_small_blocks_give_back_what_is_old),
        cmocka_unit_test(as_much_as_is_live_is_mapped_ahead),
        cmocka_unit_test(what_is_mapped_ahead_is_bounded),
        cmocka_unit_test(nothing_is_mapped_ahead_where_pages_come_at_once),
        cmocka_unit_test(what_a_step_has_taken_is_mapped_in_its_place),
        cmocka_unit_test(a_block_at_the_cap_needs_room_for_itself_only),
        cmocka_unit_test(an_allocation_at_the_cap_drops_what_it_needs_only),
        cmocka_unit_test(a_lower_cap_gives_up_what_is_kept),
        cmocka_unit_test(a_lower_cap_gives_up_what_no_slab_has_yet),
        cmocka_unit_test(what_is_kept_makes_room_for_the_page_map),
        cmocka_unit_test(what_grows_beyond_its_leaf_at_the_cap_is_given_up),
        cmocka_unit_test(what_is_in_front_of_its_leaf_at_the_cap_is_given_up),
        cmocka_unit_test(what_the_system_does_not_unmap_stays_kept),
        cmocka_unit_test(a_target_that_stays_is_kept),
        cmocka_unit_test(a_target_that_cannot_be_entered_is_not_kept),
        cmocka_unit_test(a_block_that_cannot_move_leaves_what_is_kept),
    };

    return run_all(tests);
}
