/* SPDX-License-Identifier: MIT */
/* Memory for our own structures: zeroed, aligned, and nobody else's. */
#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "metadata.h"
#include "os.h"

enum { PIECES = 2000, THREADS = 4 };

struct piece {
    unsigned char *memory;
    size_t bytes;
};

static struct piece pieces[THREADS][PIECES];

static void *take_pieces(void *argument)
{
    struct piece *own = argument;
    struct random random = {(uintptr_t)argument};

    for (size_t i = 0; i < PIECES; i++) {
        size_t bytes = random_size(&random, 1, 20000);
        size_t alignment = (size_t)1 << random_below(&random, 13);
        unsigned char *memory = metadata_allocate(bytes, alignment);
        require(memory != NULL);
        require((uintptr_t)memory % alignment == 0);
        require(is_zero(memory, bytes));
        memset(memory, 0xff, bytes);
        own[i] = (struct piece){memory, bytes};
    }
    return NULL;
}

static int compare_pieces(const void *left, const void *right)
{
    const struct piece *a = left, *b = right;

    return (a->memory > b->memory) - (a->memory < b->memory);
}

static void pieces_are_zero_aligned_and_apart(void **state)
{
    struct piece *all = &pieces[0][0];

    (void)state;
    run_threads(THREADS, take_pieces, pieces, sizeof pieces[0]);
    qsort(all, THREADS * PIECES, sizeof *all, compare_pieces);
    for (size_t i = 1; i < THREADS * PIECES; i++)
        assert_true(all[i - 1].memory + all[i - 1].bytes <= all[i].memory);
}

static void a_piece_may_be_longer_than_what_is_mapped_at_once(void **state)
{
    unsigned char *memory = metadata_allocate(3 * MIB, 64);

    (void)state;
    assert_non_null(memory);
    assert_true(is_zero(memory, 3 * MIB));
    memset(memory, 1, 3 * MIB);
}

/* It also fits behind the header of the region mapped for it. */
static void a_piece_may_be_about_as_long_as_what_is_mapped_at_once(
    void **state)
{
    enum { ALIGNMENT = 128, MAPPED = 256 * KIB };

    (void)state;
    os_set_limit(os_mapped_bytes() + 64 * MIB);
    for (size_t bytes = MAPPED - 256; bytes <= MAPPED + 256; bytes += 32) {
        size_t before = metadata_bytes();
        uintptr_t memory = (uintptr_t)metadata_allocate(bytes, ALIGNMENT);
        assert_int_not_equal(memory, 0);
        assert_int_equal(memory % ALIGNMENT, 0);
        assert_in_range(metadata_bytes() - before, 0, 2 * MAPPED);
    }
    os_set_limit(0);
}

static void the_bytes_are_counted(void **state)
{
    size_t before = metadata_bytes();

    (void)state;
    assert_non_null(metadata_allocate(2 * MIB, 64));
    assert_in_range(metadata_bytes() - before, 2 * MIB, 3 * MIB);
    assert_true(os_mapped_bytes() >= metadata_bytes());
}

static void use_reserved_metadata(size_t bytes)
{
    uint64_t calls = os_kernel_calls();
    uint64_t faults = minor_faults();
    for (size_t i = 0; i < bytes / 512; i++) {
        unsigned char *memory = metadata_allocate(448, 64);
        require(memory != NULL);
        memory[0] = 1;
    }
    faults = minor_faults() - faults;
    assert_int_equal(os_kernel_calls(), calls);
    if (!UNDER_SANITIZER)
        assert_int_equal(faults, 0);
}

static void reserved_metadata_needs_no_kernel_call(void **state)
{
    (void)state;
    assert_true(metadata_reserve(MIB));
    use_reserved_metadata(MIB);
}

/* As if another thread mapped a region first. */
static void *mmap_after_another(void *hint, size_t length, int protection,
                                int flags, int fd, off_t offset)
{
    os_calls.mmap = mmap;
    require(metadata_allocate(3 * MIB, 64) != NULL);
    return mmap(hint, length, protection, flags, fd, offset);
}

static void a_reservation_is_made_whatever_others_do(void **state)
{
    (void)state;
    os_calls.mmap = mmap_after_another;
    assert_true(metadata_reserve(MIB));
    use_reserved_metadata(MIB);
}

static void reservations_of_metadata_add_up(void **state)
{
    enum { CALLS = 64 };
    size_t before = metadata_bytes();

    (void)state;
    for (int i = 0; i < CALLS; i++)
        assert_true(metadata_reserve(16 * KIB));
    assert_in_range(metadata_bytes() - before, MIB / 2, MIB + MIB / 2);
    use_reserved_metadata(MIB);
    /* And once more; what was left unused counts. */
    before = metadata_bytes();
    assert_true(metadata_reserve(MIB));
    use_reserved_metadata(MIB / 2);
    assert_true(metadata_reserve(MIB / 2));
    use_reserved_metadata(MIB);
    assert_in_range(metadata_bytes() - before, MIB, 2 * MIB + MIB / 2);
}

static void a_failing_reservation_of_metadata_costs_nothing(void **state)
{
    size_t mapped = os_mapped_bytes();

    (void)state;
    os_set_limit(mapped + MIB);
    for (int i = 0; i < 100; i++)
        assert_false(metadata_reserve(2 * MIB));
    assert_int_equal(os_mapped_bytes(), mapped);
    os_set_limit(0);
    assert_true(metadata_reserve(MIB));
    assert_in_range(os_mapped_bytes() - mapped, 0, MIB + MIB / 2);
    use_reserved_metadata(MIB);
}

static void pages_come_by_sixteen(void **state)
{
    enum { PIECE = 1 << 16 };
    void *probe = os_map(PIECE);

    (void)state;
    assert_non_null(probe);
    if (!os_populate(probe, PIECE))
        return; /* one by one then; cmocka's skip() counts as a failure */
    for (size_t i = 0; i < MIB / 512; i++) {
        char *memory = metadata_allocate(448, 64);
        require(memory != NULL);
        size_t offset = (uintptr_t)memory % PIECE;
        /* The first page is the header's. */
        if (offset >= PAGE_BYTES)
            assert_true(os_is_present(memory - offset, PIECE));
    }
}

static void without_memory_there_is_none(void **state)
{
    (void)state;
    os_set_limit(1);
    assert_null(metadata_allocate(16 * MIB, 64));
    assert_false(metadata_reserve(16 * MIB));
    os_set_limit(0);
    assert_non_null(metadata_allocate(16 * MIB, 64));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_zero_aligned_and_apart),
        cmocka_unit_test(a_piece_may_be_longer_than_what_is_mapped_at_once),
        cmocka_unit_test(
            a_piece_may_be_about_as_long_as_what_is_mapped_at_once),
        cmocka_unit_test(the_bytes_are_counted),
        cmocka_unit_test(reserved_metadata_needs_no_kernel_call),
        cmocka_unit_test(a_reservation_is_made_whatever_others_do),
        cmocka_unit_test(reservations_of_metadata_add_up),
        cmocka_unit_test(a_failing_reservation_of_metadata_costs_nothing),
        cmocka_unit_test(pages_come_by_sixteen),
        cmocka_unit_test(without_memory_there_is_none),
    };

    return run_all(tests);
}
