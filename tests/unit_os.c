/* SPDX-License-Identifier: MIT */
/* The system layer: alignment, pages, moves, clocks, and errno left alone. */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "os.h"

enum { SENTINEL = 4711 };

static void mappings_are_zero_and_aligned(void **state)
{
    (void)state;
    for (size_t alignment = OS_MAP_ALIGNMENT; alignment <= 64 * MIB;
         alignment *= 4) {
        char *address = os_map_aligned(3 * OS_MAP_ALIGNMENT, alignment);
        assert_non_null(address);
        assert_int_equal((uintptr_t)address % alignment, 0);
        assert_true(is_zero(address, 3 * OS_MAP_ALIGNMENT));
        memset(address, 1, 3 * OS_MAP_ALIGNMENT);
        assert_true(os_unmap(address, 3 * OS_MAP_ALIGNMENT));
    }
}

static size_t longest_advice, all_advice;

static int note_length(void *address, size_t length, int advice)
{
    longest_advice = length > longest_advice ? length : longest_advice;
    all_advice += length;
    return madvise(address, length, advice);
}

/* No other thread can map while a call makes pages present. */
static void pages_are_made_present_in_pieces(void **state)
{
    char *address = os_map(MIB);

    (void)state;
    os_calls.madvise = note_length;
    bool done = os_populate(address, MIB - PAGE_BYTES);
    os_calls.madvise = madvise;
    assert_in_range(longest_advice, 1, 256 * KIB);
    if (done) { /* since Linux 5.14 */
        assert_int_equal(all_advice, MIB - PAGE_BYTES);
        assert_true(os_is_present(address, MIB - PAGE_BYTES));
        assert_false(os_is_present(address, MIB));
    }
    assert_true(os_unmap(address, MIB));
}

static void purged_pages_read_as_zero(void **state)
{
    char *address = os_map(MIB);

    (void)state;
    memset(address, 1, MIB);
    assert_true(os_purge(address + PAGE_BYTES, 10 * PAGE_BYTES));
    assert_int_equal(address[0], 1);
    assert_true(is_zero(address + PAGE_BYTES, 10 * PAGE_BYTES));
    assert_int_equal(address[11 * PAGE_BYTES], 1);
    assert_true(os_unmap(address, MIB));
}

static void pages_are_present_once_they_are_written(void **state)
{
    char *address = os_map(MIB);

    (void)state;
    assert_false(os_is_present(address, MIB));
    memset(address, 1, MIB - PAGE_BYTES);
    assert_true(os_is_present(address, MIB - PAGE_BYTES));
    assert_false(os_is_present(address, MIB));
    address[MIB - 1] = 1;
    assert_true(os_is_present(address, MIB));
    assert_true(os_unmap(address, MIB));
    assert_false(os_is_present(address, MIB));
}

static void require_filled(bool filled)
{
    char *address = os_map(2 * MIB);

    require(address != NULL && os_fills_mappings() == filled);
    os_unmap(address + MIB, MIB);
    os_calls.mmap = filled ? mmap : mmap_filled;
    require(os_map_at(address + MIB, MIB));
    require(os_fills_mappings() != filled);
    os_unmap(address, 2 * MIB);
}

static void lock_all_that_is_mapped(void *unused)
{
    (void)unused;
    if (mlockall(MCL_FUTURE) == 0)
        require(os_map(MIB) != NULL && os_fills_mappings());
    if (mlockall(MCL_FUTURE | MCL_ONFAULT) == 0)
        require(os_map(MIB) != NULL && !os_fills_mappings());
}

static void it_is_seen_when_the_system_gives_pages_at_once(void **state)
{
    (void)state;
    require_filled(false);
    require_filled(true);
    os_calls.mmap = mmap;
    if (!UNDER_SANITIZER) /* it makes mlockall() do nothing */
        assert_child_succeeds(lock_all_that_is_mapped, NULL);
}

static void memory_is_mapped_where_there_is_none(void **state)
{
    size_t before = os_mapped_bytes();
    char *address = os_map(4 * MIB);

    (void)state;
    fill(address, MIB, 7);
    assert_false(os_map_at(address, MIB));
    assert_false(os_map_at(address + MIB / 2, 4 * MIB));
    assert_int_equal(os_mapped_bytes() - before, 4 * MIB);
    assert_true(holds(address, MIB, 7));
    assert_true(os_unmap(address + MIB, 2 * MIB));
    assert_true(os_map_at(address + 2 * MIB, MIB));
    assert_false(os_grow(address, MIB, 3 * MIB));
    assert_true(os_grow(address, MIB, 2 * MIB));
    assert_true(is_zero(address + MIB, 2 * MIB));
    assert_true(holds(address, MIB, 7));
    assert_int_equal(os_mapped_bytes() - before, 4 * MIB);
    assert_true(os_unmap(address, 4 * MIB));
}

static void pages_move_without_being_copied(void **state)
{
    size_t before = os_mapped_bytes();
    char *from = os_map(MIB);
    char *to = os_map_for_move(2 * MIB, MIB);

    (void)state;
    fill(from, MIB, 3);
    assert_int_equal(os_mapped_bytes() - before, 2 * MIB);
    assert_true(os_move(from, MIB, to, 2 * MIB));
    assert_true(holds(to, MIB, 3));
    assert_true(is_zero(to + MIB, MIB));
    assert_int_equal(os_mapped_bytes() - before, 2 * MIB);
    /* All of it is one mapping now, which can be moved again. */
    from = to;
    to = os_map_for_move(4 * MIB, 2 * MIB);
    assert_true(os_move(from, 2 * MIB, to, 4 * MIB));
    assert_true(holds(to, MIB, 3));
    assert_true(os_unmap(to + 2 * MIB, 2 * MIB));
    assert_true(os_unmap(to, 2 * MIB));
    assert_int_equal(os_mapped_bytes(), before);
}

static size_t targets_unmapped;

/* As older kernels do it. */
static void *unmap_the_target_first(void *address, size_t old_length,
                                    size_t new_length, int flags, ...)
{
    va_list more;
    void *target = NULL;

    if ((flags & MREMAP_FIXED) != 0) {
        va_start(more, flags);
        target = va_arg(more, void *);
        va_end(more);
        require(munmap(target, new_length) == 0);
        targets_unmapped++;
    }
    return mremap(address, old_length, new_length, flags, target);
}

/* Another thread's mapping, made where the target was. */
static size_t foreign_bytes;

static void *fail_behind_the_target(void *address, size_t old_length,
                                    size_t new_length, int flags, ...)
{
    va_list more;

    if ((flags & MREMAP_FIXED) == 0)
        return mremap(address, old_length, new_length, flags);
    va_start(more, flags);
    char *target = va_arg(more, void *);
    va_end(more);
    require(munmap(target, new_length) == 0);
    if (foreign_bytes != 0) {
        require(mmap(target + MIB, foreign_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)
                == target + MIB);
        memset(target + MIB, 5, foreign_bytes);
    }
    errno = ENOMEM;
    return MAP_FAILED;
}

static void a_move_that_fails_late_leaves_no_gap(void **state)
{
    size_t before = os_mapped_bytes();
    char *from = os_map(MIB);
    char *to = os_map_for_move(2 * MIB, MIB);

    (void)state;
    fill(from, MIB, 4);
    foreign_bytes = 0;
    os_calls.mremap = fail_behind_the_target;
    errno = SENTINEL;
    assert_false(os_move(from, MIB, to, 2 * MIB));
    assert_int_equal(errno, SENTINEL);
    os_calls.mremap = mremap;
    assert_true(holds(from, MIB, 4));
    assert_false(os_map_at(to, MIB)); /* it is still there */
    assert_true(os_unmap_for_move(to, 2 * MIB, MIB));
    assert_true(os_map_at(to, MIB));
    assert_true(os_unmap(to, MIB));
    assert_int_equal(os_mapped_bytes() - before, MIB);
    assert_true(os_unmap(from, MIB));
}

static void what_another_thread_mapped_in_a_gap_stays(void **state)
{
    size_t before = os_mapped_bytes();
    char *from = os_map(MIB);
    char *to = os_map_for_move(2 * MIB, MIB);

    (void)state;
    foreign_bytes = 64 * KIB;
    os_calls.mremap = fail_behind_the_target;
    assert_false(os_move(from, MIB, to, 2 * MIB));
    os_calls.mremap = mremap;
    assert_true(os_unmap_for_move(to, 2 * MIB, MIB));
    assert_int_equal(to[MIB], 5);
    assert_int_equal(os_mapped_bytes() - before, MIB);
    require(munmap(to + MIB, foreign_bytes) == 0);
    assert_true(os_unmap(from, MIB));
}

/* Two mappings side by side, which the kernel does not move as one. */
static void a_move_that_is_refused_leaves_both_sides(void **state)
{
    size_t before = os_mapped_bytes();
    char *from = os_map(MIB);
    char *to = os_map_for_move(2 * MIB, MIB);

    (void)state;
    fill(from, MIB, 4);
    require(madvise(from, MIB / 2, MADV_DONTFORK) == 0);
    os_calls.mremap = unmap_the_target_first;
    assert_false(os_move(from, MIB, to, 2 * MIB));
    os_calls.mremap = mremap;
    assert_int_equal(targets_unmapped, 0);
    assert_true(holds(from, MIB, 4));
    assert_false(os_map_at(to, MIB)); /* it is still there */
    os_unmap_for_move(to, 2 * MIB, MIB);
    assert_int_equal(os_mapped_bytes() - before, MIB);
    assert_true(os_unmap(from, MIB));
}

static void a_length_that_cannot_be_is_refused(void **state)
{
    size_t before = os_mapped_bytes();

    (void)state;
    assert_null(os_map_aligned((size_t)1 << 62, OS_MAP_ALIGNMENT));
    assert_null(os_map_aligned(OS_MAP_ALIGNMENT, (size_t)1 << 62));
    assert_null(os_map_aligned(SIZE_MAX - OS_MAP_ALIGNMENT + 1,
                               OS_MAP_ALIGNMENT));
    os_set_limit(before + MIB);
    assert_null(os_map_aligned(SIZE_MAX - OS_MAP_ALIGNMENT + 1,
                               OS_MAP_ALIGNMENT));
    os_set_limit(0);
    assert_int_equal(os_mapped_bytes(), before);
}

static int refused_times;

static int refuse_for_a_while(void *address, size_t length, int advice)
{
    if (++refused_times % 3 != 0) {
        errno = EAGAIN;
        return -1;
    }
    return madvise(address, length, advice);
}

static int refuse_for_ever(void *address, size_t length, int advice)
{
    (void)address;
    (void)length;
    (void)advice;
    refused_times++;
    errno = EAGAIN;
    return -1;
}

static void a_purge_is_repeated_a_bounded_number_of_times(void **state)
{
    char *address = os_map(MIB);

    (void)state;
    memset(address, 1, MIB);
    os_calls.madvise = refuse_for_a_while;
    assert_true(os_purge(address, MIB));
    assert_true(is_zero(address, MIB));
    os_calls.madvise = refuse_for_ever;
    refused_times = 0;
    assert_false(os_purge(address, MIB));
    assert_in_range(refused_times, 2, 100);
    os_calls.madvise = madvise;
    assert_true(os_unmap(address, MIB));
}

/* --- ranges in one call --- */

enum { RANGES = 3 };

static size_t tries;

static ssize_t refuse_ranges(const struct iovec *ranges, size_t count,
                             int advice)
{
    (void)ranges;
    (void)count;
    (void)advice;
    tries++;
    errno = EBADF;
    return -1;
}

static ssize_t take_the_first_range(const struct iovec *ranges, size_t count,
                                    int advice)
{
    (void)count;
    return madvise(ranges[0].iov_base, ranges[0].iov_len, advice) == 0
        ? (ssize_t)ranges[0].iov_len
        : -1;
}

/* Every fourth 64 KiB of a mapping of which every byte was written. */
static char *ranges_of(struct iovec ranges[RANGES])
{
    char *address = os_map(MIB);

    memset(address, 1, MIB);
    for (size_t i = 0; i < RANGES; i++)
        ranges[i] = (struct iovec){.iov_base = address + i * MIB / 4,
                                   .iov_len = MIB / 16};
    return address;
}

static void require_purged(const struct iovec *ranges, size_t count)
{
    for (size_t i = 0; i < RANGES; i++) {
        const char *start = ranges[i].iov_base;
        require(is_zero(start, ranges[i].iov_len) == (i < count));
        require(start[ranges[i].iov_len] == 1);
    }
}

/* Whoever locks pages wants them present, whatever is free. */
static void locked_pages_stay(void **state)
{
    struct iovec ranges[RANGES];
    char *address = ranges_of(ranges);
    char *last = ranges[RANGES - 1].iov_base;
    size_t length = ranges[RANGES - 1].iov_len;

    (void)state;
    if (UNDER_SANITIZER)
        return; /* it makes mlock() do nothing */
    require(mlock(last, PAGE_BYTES) == 0);
    errno = SENTINEL;
    assert_false(os_purge(last, PAGE_BYTES));
    assert_int_equal(os_purge_ranges(ranges, RANGES), RANGES - 1);
    assert_int_equal(errno, SENTINEL);
    require(last[0] == 1 && last[PAGE_BYTES - 1] == 1);
    require(munlock(last, PAGE_BYTES) == 0);
    assert_true(os_purge(last, length));
    require_purged(ranges, RANGES);
    assert_true(os_unmap(address, MIB));
}

static void ranges_are_purged_in_one_call(void **state)
{
    struct iovec ranges[RANGES];
    char *address = ranges_of(ranges);
    uint64_t calls = os_kernel_calls();

    (void)state;
    errno = SENTINEL;
    assert_int_equal(os_purge_ranges(ranges, RANGES), RANGES);
    assert_int_equal(errno, SENTINEL);
    require_purged(ranges, RANGES);
    if (os_purges_ranges_at_once())
        assert_int_equal(os_kernel_calls() - calls, 1);
    assert_true(os_unmap(address, MIB));
}

static void ranges_are_purged_up_to_one_that_is_refused(void **state)
{
    struct iovec ranges[RANGES];
    char *address = ranges_of(ranges);
    struct os_calls calls = os_calls;

    (void)state;
    os_calls.madvise_ranges = take_the_first_range;
    os_calls.madvise = refuse_for_ever;
    assert_int_equal(os_purge_ranges(ranges, RANGES), 1);
    os_calls = calls;
    require_purged(ranges, 1);
    bool at_once = os_purges_ranges_at_once();
    assert_int_equal(os_purge_ranges(ranges + 1, RANGES - 1), RANGES - 1);
    require_purged(ranges, RANGES);
    assert_true(os_unmap(address, MIB));
    /* A single refusal is no reason to give up the call. */
    address = ranges_of(ranges);
    os_calls.madvise_ranges = refuse_ranges;
    assert_int_equal(os_purge_ranges(ranges, RANGES), RANGES);
    os_calls = calls;
    assert_int_equal(os_purges_ranges_at_once(), at_once);
    assert_true(os_unmap(address, MIB));
}

static void purge_where_the_system_cannot(void *unused)
{
    struct iovec ranges[RANGES];

    (void)unused;
    os_calls.madvise_ranges = refuse_ranges;
    for (int round = 0; round < 2; round++) {
        ranges_of(ranges);
        errno = SENTINEL;
        require(os_purge_ranges(ranges, RANGES) == RANGES);
        require(errno == SENTINEL);
        require_purged(ranges, RANGES);
        require(!os_purges_ranges_at_once());
    }
    require(tries == 1);
}

/* The system is asked only once. */
static void ranges_are_purged_one_by_one_where_the_system_cannot(void **state)
{
    (void)state;
    assert_child_succeeds(purge_where_the_system_cannot, NULL);
}

static void purge_where_all_is_refused_first(void *unused)
{
    struct iovec ranges[RANGES];

    (void)unused;
    ranges_of(ranges);
    os_calls.madvise_ranges = refuse_ranges;
    os_calls.madvise = refuse_for_ever;
    require(os_purge_ranges(ranges, RANGES) == 0);
    os_calls.madvise_ranges = take_the_first_range;
    os_calls.madvise = madvise;
    require(os_purge_ranges(ranges, RANGES) == RANGES);
    require(os_purges_ranges_at_once());
}

/* As for locked pages: it does not tell what the system can do. */
static void after_a_refusal_of_all_several_are_tried_again(void **state)
{
    (void)state;
    assert_child_succeeds(purge_where_all_is_refused_first, NULL);
}

static void errno_is_left_alone(void **state)
{
    (void)state;
    errno = SENTINEL;
    char *address = os_map(MIB);
    assert_int_equal(errno, SENTINEL);
    os_purge(address, MIB);
    os_populate(address, MIB);
    os_advise_huge(address, MIB);
    assert_int_equal(errno, SENTINEL);
    assert_null(os_map_aligned((size_t)1 << 62, OS_MAP_ALIGNMENT));
    assert_int_equal(errno, SENTINEL);
    assert_false(os_is_present(NULL, PAGE_BYTES));
    assert_int_equal(errno, SENTINEL);
    assert_false(os_map_at(address, MIB));
    assert_false(os_grow(address, MIB, (size_t)1 << 60));
    assert_false(os_move(address + 1, MIB, address, MIB));
    assert_int_equal(errno, SENTINEL);
    assert_false(os_unmap(address + 1, MIB));
    assert_int_equal(errno, SENTINEL);
    assert_true(os_unmap(address, MIB));
    assert_int_equal(errno, SENTINEL);
}

static void the_clocks_never_go_back(void **state)
{
    uint64_t last = os_now();
    uint64_t last_coarse = os_now_coarse();

    (void)state;
    for (int i = 0; i < 10000; i++) {
        uint64_t coarse = os_now_coarse();
        uint64_t now = os_now();
        require(now >= last && coarse >= last_coarse && coarse <= now);
        require(now - coarse < 100000000);
        last = now;
        last_coarse = coarse;
    }
}

static void a_thread_runs_on_a_processor_that_it_may_use(void **state)
{
    cpu_set_t set;

    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    assert_true(CPU_ISSET(os_processor(), &set));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mappings_are_zero_and_aligned),
        cmocka_unit_test(pages_are_made_present_in_pieces),
        cmocka_unit_test(purged_pages_read_as_zero),
        cmocka_unit_test(pages_are_present_once_they_are_written),
        cmocka_unit_test(it_is_seen_when_the_system_gives_pages_at_once),
        cmocka_unit_test(memory_is_mapped_where_there_is_none),
        cmocka_unit_test(pages_move_without_being_copied),
        cmocka_unit_test(a_move_that_is_refused_leaves_both_sides),
        cmocka_unit_test(a_move_that_fails_late_leaves_no_gap),
        cmocka_unit_test(what_another_thread_mapped_in_a_gap_stays),
        cmocka_unit_test(a_length_that_cannot_be_is_refused),
        cmocka_unit_test(a_purge_is_repeated_a_bounded_number_of_times),
        /* In their children nothing has been tried yet. */
        cmocka_unit_test(ranges_are_purged_one_by_one_where_the_system_cannot),
        cmocka_unit_test(after_a_refusal_of_all_several_are_tried_again),
        cmocka_unit_test(locked_pages_stay),
        cmocka_unit_test(ranges_are_purged_in_one_call),
        cmocka_unit_test(ranges_are_purged_up_to_one_that_is_refused),
        cmocka_unit_test(errno_is_left_alone),
        cmocka_unit_test(a_thread_runs_on_a_processor_that_it_may_use),
        cmocka_unit_test(the_clocks_never_go_back),
    };

    return run_all(tests);
}
