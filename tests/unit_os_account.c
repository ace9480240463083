/* SPDX-License-Identifier: MIT */
/* What counts as mapped, also after failures and in a fork's child; the cap. */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "os.h"

static void what_is_mapped_is_counted(void **state)
{
    size_t before = os_mapped_bytes();
    uint64_t calls = os_kernel_calls();
    char *address = os_map(MIB);

    (void)state;
    assert_int_equal(os_mapped_bytes() - before, MIB);
    assert_true(os_mapped_peak_bytes() >= before + MIB);
    assert_true(os_kernel_calls() > calls);
    assert_true(os_unmap(address + MIB / 2, MIB / 2));
    assert_int_equal(os_mapped_bytes() - before, MIB / 2);
    assert_true(os_unmap(address, MIB / 2));
    assert_int_equal(os_mapped_bytes(), before);
    assert_true(os_mapped_peak_bytes() >= before + MIB);
}

static void *refuse_mmap(void *hint, size_t length, int protection, int flags,
                         int fd, off_t offset)
{
    (void)hint, (void)length, (void)protection;
    (void)flags, (void)fd, (void)offset;
    errno = ENOMEM;
    return MAP_FAILED;
}

/* All are longer than what was ever mapped. */
static void what_was_not_mapped_is_in_no_peak(void **state)
{
    size_t peak = os_mapped_peak_bytes();
    char *address = os_map(MIB);

    (void)state;
    assert_true(os_unmap(address + MIB / 2, MIB / 2));
    assert_true(os_map_at(address + MIB / 2, MIB / 2));
    assert_false(os_map_at(address, peak + MIB));
    assert_false(os_grow(address, MIB / 2, peak + MIB));
    os_calls.mmap = refuse_mmap;
    assert_null(os_map(peak + MIB));
    assert_null(os_map_for_move(peak + 2 * MIB, MIB));
    os_calls.mmap = mmap;
    assert_in_range(os_mapped_peak_bytes(), peak, peak + MIB);
    peak = os_mapped_peak_bytes();
    char *longer = os_map(peak + MIB);
    assert_true(os_mapped_peak_bytes() > peak);
    assert_true(os_unmap(longer, peak + MIB));
    assert_true(os_unmap(address, MIB));
}

static size_t mapped_in_all, unmapped_in_all;

static void *count_mmap(void *hint, size_t length, int protection, int flags,
                        int fd, off_t offset)
{
    mapped_in_all += length;
    return mmap(hint, length, protection, flags, fd, offset);
}

static int count_munmap(void *address, size_t length)
{
    unmapped_in_all += length;
    return munmap(address, length);
}

/* What is mapped besides, for the alignment, goes. */
static void as_much_stays_mapped_as_is_asked_for(void **state)
{
    enum { ALIGNMENT = 64 << 20 };
    struct os_calls calls = os_calls;

    (void)state;
    os_calls.mmap = count_mmap;
    os_calls.munmap = count_munmap;
    char *one = os_map_aligned(MIB, ALIGNMENT);
    char *other = os_map_aligned(MIB, ALIGNMENT);
    os_calls = calls;
    assert_true(one != NULL && other != NULL);
    assert_true(unmapped_in_all >= ALIGNMENT - PAGE_BYTES);
    assert_int_equal(mapped_in_all - unmapped_in_all, 2 * MIB);
    assert_true(os_unmap(one, MIB));
    assert_true(os_unmap(other, MIB));
}

static int refuse_munmap(void *address, size_t length)
{
    (void)address, (void)length;
    errno = ENOMEM;
    return -1;
}

/* As at the limit of mappings. */
static void what_cannot_be_cut_off_is_counted(void **state)
{
    enum { ALIGNMENT = 64 << 20 };
    size_t before = os_mapped_bytes();

    (void)state;
    os_calls.munmap = refuse_munmap;
    char *address = os_map_aligned(MIB, ALIGNMENT);
    char *other = os_map_aligned(MIB, ALIGNMENT);
    os_calls.munmap = munmap;
    assert_non_null(address);
    assert_in_range(os_mapped_bytes() - before, ALIGNMENT, 3 * ALIGNMENT);
    assert_true(os_unmap(address, MIB));
    assert_true(os_unmap(other, MIB));
}

static void the_cap_is_hard(void **state)
{
    size_t before = os_mapped_bytes();
    char *address;

    (void)state;
    os_set_limit(before + MIB);
    assert_null(os_map(2 * MIB));
    assert_int_equal(os_mapped_bytes(), before);
    address = os_map(MIB);
    assert_non_null(address);
    assert_null(os_map(OS_MAP_ALIGNMENT));
    assert_false(os_map_at(address + MIB, MIB));
    assert_false(os_grow(address, MIB, 2 * MIB));
    assert_null(os_map_for_move(MIB + OS_MAP_ALIGNMENT, MIB));
    assert_int_equal(os_mapped_bytes(), before + MIB);
    os_set_limit(0);
    assert_true(os_unmap(address, MIB));
    assert_int_equal(os_mapped_bytes(), before);
}

static atomic_bool stop_asking;

static void *ask_for_too_much(void *unused)
{
    (void)unused;
    while (!atomic_load(&stop_asking))
        require(os_map(64 * MIB) == NULL);
    return NULL;
}

/* What one thread asks for in vain takes nothing from the others. */
static void a_refused_request_takes_no_room_from_others(void **state)
{
    enum { ROUNDS = 20000 };
    pthread_t thread;
    size_t before = os_mapped_bytes();

    (void)state;
    os_set_limit(before + 32 * MIB);
    atomic_store(&stop_asking, false);
    require(pthread_create(&thread, NULL, ask_for_too_much, NULL) == 0);
    for (int i = 0; i < ROUNDS; i++) {
        char *address = os_map(MIB);
        require(address != NULL && os_mapped_bytes() <= before + 32 * MIB);
        require(os_unmap(address, MIB));
    }
    atomic_store(&stop_asking, true);
    require(pthread_join(thread, NULL) == 0);
    os_set_limit(0);
    assert_int_equal(os_mapped_bytes(), before);
}

/* --- a fork while another thread is inside a call --- */

static atomic_int inside; /* 1: a thread is there, 2: it may go on */

static void wait_inside(void)
{
    atomic_store(&inside, 1);
    while (atomic_load(&inside) != 2)
        sleep_ms(1);
}

static void *wait_in_mmap(void *hint, size_t length, int protection, int flags,
                          int fd, off_t offset)
{
    wait_inside();
    return mmap(hint, length, protection, flags, fd, offset);
}

static void *wait_in_mremap(void *address, size_t old_length, size_t new_length,
                            int flags, ...)
{
    va_list more;
    void *target = NULL;

    if ((flags & MREMAP_FIXED) != 0) {
        va_start(more, flags);
        target = va_arg(more, void *);
        va_end(more);
    }
    /* Not in the call that asks whether a range is one mapping. */
    if (new_length < 1024 * MIB)
        wait_inside();
    return mremap(address, old_length, new_length, flags, target);
}

static void require_counted(void *bytes)
{
    require(os_mapped_bytes() == *(const size_t *)bytes);
}

/* The count in the child and in a child of its own; what the cap leaves. */
static void require_mapped(void *bytes)
{
    size_t mapped = *(const size_t *)bytes;

    os_calls.mmap = mmap;
    require_counted(bytes);
    require(run_in_child(require_counted, bytes).status == 0);
    os_set_limit(mapped + 2 * MIB);
    require(os_map(2 * MIB) != NULL);
    require(os_map(OS_MAP_ALIGNMENT) == NULL);
}

/* Forks while a thread is inside the call that the body makes. */
static void fork_inside(thread_body *body, size_t mapped)
{
    pthread_t thread;

    atomic_store(&inside, 0);
    require(pthread_create(&thread, NULL, body, NULL) == 0);
    while (atomic_load(&inside) != 1)
        sleep_ms(1);
    struct ending child = run_in_child(require_mapped, &mapped);
    atomic_store(&inside, 2);
    require(pthread_join(thread, NULL) == 0);
    os_calls.mmap = mmap;
    os_calls.mremap = mremap;
    assert_int_equal(child.status, 0);
}

static char *side, *target;

static void *map_some(void *unused)
{
    (void)unused;
    target = os_map(4 * MIB);
    require(target != NULL);
    return NULL;
}

static void *grow_some(void *unused)
{
    (void)unused;
    require(!os_grow(side, MIB, 4 * MIB));
    return NULL;
}

static void *move_some(void *unused)
{
    (void)unused;
    require(os_move(side, 2 * MIB, target, 4 * MIB));
    return NULL;
}

static void a_child_counts_what_it_has(void **state)
{
    size_t before = os_mapped_bytes();

    (void)state;
    partyalloc_thread_flush(); /* so that the handler of forks is linked */
    side = os_map(2 * MIB);
    os_calls.mmap = wait_in_mmap;
    fork_inside(map_some, before + 2 * MIB);
    os_calls.mremap = wait_in_mremap;
    fork_inside(grow_some, before + 6 * MIB);
    require(os_unmap(target, 4 * MIB));
    target = os_map_for_move(4 * MIB, 2 * MIB);
    /* The child has both sides, though only one counts here. */
    assert_int_equal(os_mapped_bytes(), before + 4 * MIB);
    os_calls.mremap = wait_in_mremap;
    fork_inside(move_some, before + 6 * MIB);
    size_t after = before + 4 * MIB;
    assert_child_succeeds(require_mapped, &after);
    char *unused = os_map_for_move(8 * MIB, 4 * MIB);
    assert_true(os_unmap_for_move(unused, 8 * MIB, 4 * MIB));
    assert_child_succeeds(require_mapped, &after);
    assert_true(os_unmap(target, 4 * MIB));
    assert_int_equal(os_mapped_bytes(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_mapped_is_counted),
        cmocka_unit_test(what_was_not_mapped_is_in_no_peak),
        cmocka_unit_test(as_much_stays_mapped_as_is_asked_for),
        cmocka_unit_test(what_cannot_be_cut_off_is_counted),
        cmocka_unit_test(the_cap_is_hard),
        cmocka_unit_test(a_refused_request_takes_no_room_from_others),
        cmocka_unit_test(a_child_counts_what_it_has),
    };

    return run_all(tests);
}
