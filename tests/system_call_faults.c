/* SPDX-License-Identifier: MIT */
/*
 * Every kernel call of a scenario fails once, from then on, or one in k: the
 * scenario goes on, live blocks keep their contents, and once the fault is
 * lifted there is memory again and nothing is lost.
 *
 * White box: the calls are replaced in os_calls.
 */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "os.h"

enum call {
    CALL_MMAP,
    CALL_MUNMAP,
    CALL_MADVISE,
    CALL_MREMAP,
    CALL_MINCORE,
    CALL_MEMBARRIER,
    CALL_KINDS,
};

struct fault {
    unsigned kinds;    /* a bit for each enum call that may fail */
    unsigned first;    /* the number of the first of them that fails, from 1 */
    unsigned count;    /* how many in a row; 0: until the fault is lifted */
    unsigned every;    /* then one in so many fails; 0: no more */
    int error;         /* 0: ENOMEM */
};

/* Of the scenario, in a child and shared with its parent. */
static struct {
    struct fault fault;
    unsigned calls;    /* calls of those kinds so far */
    size_t mapped;     /* bytes that are mapped, as the kernel sees it */
    bool cut_failed;   /* an unmapping failed: address space may be lost */
} *shared;

static struct os_calls system_calls; /* the real ones */

static bool fails(enum call call)
{
    const struct fault *fault = &shared->fault;

    if ((fault->kinds >> call & 1) == 0)
        return false;
    unsigned number = ++shared->calls;
    if (number < fault->first)
        return false;
    bool fails = fault->count == 0 || number < fault->first + fault->count
        || (fault->every != 0 && (number - fault->first) % fault->every == 0);
    if (fails) {
        shared->cut_failed = shared->cut_failed || call == CALL_MUNMAP;
        errno = fault->error != 0 ? fault->error : ENOMEM;
    }
    return fails;
}

static void *failing_mmap(void *hint, size_t length, int protection,
                          int flags, int fd, off_t offset)
{
    if (fails(CALL_MMAP))
        return MAP_FAILED;
    void *address = mmap(hint, length, protection, flags, fd, offset);
    if (address != MAP_FAILED)
        shared->mapped += length;
    return address;
}

static int failing_munmap(void *address, size_t length)
{
    if (fails(CALL_MUNMAP))
        return -1;
    shared->mapped -= length;
    return munmap(address, length);
}

static int failing_madvise(void *address, size_t length, int advice)
{
    return fails(CALL_MADVISE) ? -1 : madvise(address, length, advice);
}

static ssize_t failing_madvise_ranges(const struct iovec *ranges, size_t count,
                                      int advice)
{
    return fails(CALL_MADVISE) ? -1
                               : system_calls.madvise_ranges(ranges, count,
                                                             advice);
}

static void *failing_mremap(void *address, size_t old_length,
                            size_t new_length, int flags, ...)
{
    va_list more;
    void *target = NULL;

    if (fails(CALL_MREMAP))
        return MAP_FAILED;
    if ((flags & MREMAP_FIXED) != 0) {
        va_start(more, flags);
        target = va_arg(more, void *);
        va_end(more);
    }
    void *result = mremap(address, old_length, new_length, flags, target);
    if (result == MAP_FAILED)
        return result;
    /* A move lands on a mapping, which it replaces. */
    shared->mapped += new_length;
    shared->mapped -= old_length;
    if ((flags & MREMAP_FIXED) != 0)
        shared->mapped -= new_length;
    return result;
}

static int failing_mincore(void *address, size_t length,
                           unsigned char *present)
{
    return fails(CALL_MINCORE) ? -1 : mincore(address, length, present);
}

static int failing_membarrier(int command)
{
    return fails(CALL_MEMBARRIER) ? -1 : system_calls.membarrier(command);
}

/* --- the scenario: all that allocates, frees, gives back and reserves --- */

enum { SMALL = 200, LARGE = 12, ZEROED = 9 };

static struct filled small[SMALL], large[LARGE];

/* An allocation that may fail: then with ENOMEM and no block. */
static void try_block(struct filled *filled, void *block, size_t size,
                      uint64_t seed)
{
    require(block != NULL || errno == ENOMEM);
    *filled = (struct filled){block, block != NULL ? size : 0, seed};
    if (block != NULL)
        fill(block, size, seed);
    errno = 0;
}

static void free_block(struct filled *filled)
{
    const int sentinel = 4711;

    errno = sentinel;
    filled_free(filled);
    require(errno == sentinel);
    errno = 0;
}

static void resize_block(struct filled *filled, size_t size)
{
    if (filled->block == NULL)
        return;
    void *block = partyalloc_reallocate(filled->block, size, ANY_TYPE);
    if (block == NULL) {
        require(errno == ENOMEM);
        errno = 0;
        require(holds(filled->block, filled->size, filled->seed));
        return;
    }
    size_t kept = size < filled->size ? size : filled->size;
    require(holds(block, kept / 8 * 8, filled->seed));
    fill(block, size, filled->seed);
    filled->block = block;
    filled->size = size;
}

static void use_small_blocks(void)
{
    struct random random = {1};

    for (size_t i = 0; i < SMALL; i++) {
        size_t size = random_size(&random, 1, SMALL_SIZE_MAX);
        void *block = i % 3 == 0
            ? partyalloc_allocate_aligned(size, 64, ANY_TYPE)
            : partyalloc_allocate(size, ANY_TYPE);
        try_block(&small[i], block, size, i);
    }
    for (size_t i = 0; i < SMALL; i += 4)
        resize_block(&small[i], random_size(&random, 1, 100000));
    for (size_t i = 0; i < SMALL; i += 2)
        free_block(&small[i]);
}

static void use_large_blocks(void)
{
    struct random random = {2};

    for (size_t i = 0; i < LARGE; i++) {
        size_t size = random_size(&random, SMALL_SIZE_MAX + 1, MIB);
        void *block = i % 3 == 0
            ? partyalloc_allocate_aligned(size, 2 * MIB, ANY_TYPE)
            : partyalloc_allocate(size, ANY_TYPE);
        try_block(&large[i], block, size, i);
    }
    for (size_t i = 0; i < LARGE; i += 2)
        resize_block(&large[i], random_size(&random, 1000, 3 * MIB));
    for (size_t i = 0; i < LARGE; i += 2)
        free_block(&large[i]);
}

static void use_zeroed_blocks(void)
{
    for (size_t i = 0; i < ZEROED; i++) {
        size_t size = (size_t)3000 << i;
        void *block = partyalloc_allocate_zeroed(1, size, ANY_TYPE);
        require(block != NULL || errno == ENOMEM);
        errno = 0;
        if (block == NULL)
            continue;
        require(is_zero(block, size));
        memset(block, 0xff, size);
        partyalloc_free(block, ANY_TYPE);
    }
}

static void *use_on_a_thread(void *unused)
{
    struct filled own;

    for (size_t size = 10; size < MIB; size *= 5) {
        try_block(&own, partyalloc_allocate(size, ANY_TYPE), size, size);
        free_block(&own);
    }
    for (size_t i = 1; i < SMALL; i += 4)
        free_block(&small[i]);
    return unused;
}

static pthread_barrier_t meeting;

static void *use_and_wait(void *unused)
{
    use_on_a_thread(unused);
    pthread_barrier_wait(&meeting);
    pthread_barrier_wait(&meeting);
    return unused;
}

static void trim_while_a_thread_waits(void)
{
    pthread_t thread;

    require(pthread_barrier_init(&meeting, NULL, 2) == 0);
    require(pthread_create(&thread, NULL, use_and_wait, NULL) == 0);
    pthread_barrier_wait(&meeting);
    sleep_ms(1); /* until it sleeps */
    partyalloc_trim();
    pthread_barrier_wait(&meeting);
    require(pthread_join(thread, NULL) == 0);
}

static void play(void)
{
    use_small_blocks();
    use_large_blocks();
    use_zeroed_blocks();
    trim_while_a_thread_waits();
    use_zeroed_blocks();
    partyalloc_maintain(UINT64_C(1000000000));
    int error = partyalloc_reserve(MIB);
    require(error == 0 || error == ENOMEM);
}

/* With the fault lifted: everything is there and works. */
static void recover(void)
{
    shared->fault.kinds = 0;
    struct filled one = filled_allocate(100, 1);
    struct filled other = filled_allocate(5 * MIB, 1);

    filled_free(&one);
    filled_free(&other);
    for (size_t i = 0; i < SMALL; i++)
        free_block(&small[i]);
    for (size_t i = 0; i < LARGE; i++)
        free_block(&large[i]);
    require(stats_now().small_live_blocks == 0);
    require(stats_now().large_live_blocks == 0);
    for (int i = 0; i < 3; i++)
        partyalloc_trim();
    require(stats_now().large_cached_bytes == 0);
    require(shared->mapped >= stats_now().mapped_bytes);
    if (!shared->cut_failed)
        require(shared->mapped == stats_now().mapped_bytes);
}

static void play_with_fault(void *unused)
{
    (void)unused;
    system_calls = os_calls;
    shared->mapped = stats_now().mapped_bytes; /* when it was loaded */
    os_calls.mmap = failing_mmap;
    os_calls.munmap = failing_munmap;
    os_calls.madvise = failing_madvise;
    os_calls.madvise_ranges = failing_madvise_ranges;
    os_calls.mremap = failing_mremap;
    os_calls.mincore = failing_mincore;
    os_calls.membarrier = failing_membarrier;
    play();
    recover();
}

static void check_fault(struct fault fault)
{
    char scenario[128];

    memset(shared, 0, sizeof *shared);
    shared->fault = fault;
    struct ending ending = run_in_child(play_with_fault, NULL);
    if (ending.status == 0 && ending.text[0] == '\0')
        return;
    snprintf(scenario, sizeof scenario,
             "kinds 0x%x, from call %u on, %u in a row, every %u, error %d",
             fault.kinds, fault.first, fault.count, fault.every, fault.error);
    print_message("# %s\n# wait status: 0x%x\n# it wrote: %s\n", scenario,
                  (unsigned)ending.status, ending.text);
    fail();
}

/* The calls of these kinds that the scenario makes when none fails. */
static unsigned count_calls(unsigned kinds)
{
    /* On a busy machine the thread that waits may still run at the trim, and
     * there is no barrier then. */
    for (int i = 0; i < 100 && (i == 0 || shared->calls == 0); i++)
        check_fault((struct fault){kinds, UINT32_MAX, 1, 0, 0});
    return shared->calls;
}

/* Under a sanitizer not every call gets its turn, but every kind of place. */
enum { STRIDE = UNDER_SANITIZER ? 7 : 1 };

static void sweep(unsigned kinds, unsigned stride, int error)
{
    unsigned calls = count_calls(kinds);

    assert_true(calls > 0);
    for (unsigned first = 1; first <= calls; first += stride) {
        check_fault((struct fault){kinds, first, 1, 0, error});
        check_fault((struct fault){kinds, first, 0, 0, error});
    }
    for (unsigned every = 2; every <= 7; every++)
        check_fault((struct fault){kinds, 1, 1, every, error});
}

static void any_mmap_may_fail(void **state)
{
    (void)state;
    sweep(1u << CALL_MMAP, STRIDE, ENOMEM);
}

static void any_munmap_may_fail(void **state)
{
    (void)state;
    sweep(1u << CALL_MUNMAP, STRIDE, ENOMEM);
}

static void any_madvise_may_fail(void **state)
{
    const int errors[] = {EINVAL, ENOSYS, EAGAIN};

    (void)state;
    sweep(1u << CALL_MADVISE, STRIDE, ENOMEM);
    for (size_t i = 0; i < ARRAY_LENGTH(errors); i++)
        sweep(1u << CALL_MADVISE, 5 * STRIDE, errors[i]);
}

static void any_mremap_may_fail(void **state)
{
    (void)state;
    sweep(1u << CALL_MREMAP, STRIDE, ENOMEM);
}

static void any_mincore_may_fail(void **state)
{
    (void)state;
    sweep(1u << CALL_MINCORE, STRIDE, ENOMEM);
}

static void any_membarrier_may_fail(void **state)
{
    (void)state;
    sweep(1u << CALL_MEMBARRIER, 1, ENOSYS);
    sweep(1u << CALL_MEMBARRIER, 1, EPERM);
}

static void any_call_of_any_kind_may_fail(void **state)
{
    (void)state;
    sweep((1u << CALL_KINDS) - 1, 3 * STRIDE, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_mmap_may_fail),
        cmocka_unit_test(any_munmap_may_fail),
        cmocka_unit_test(any_madvise_may_fail),
        cmocka_unit_test(any_mremap_may_fail),
        cmocka_unit_test(any_mincore_may_fail),
        cmocka_unit_test(any_membarrier_may_fail),
        cmocka_unit_test(any_call_of_any_kind_may_fail),
    };

    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    require(shared != MAP_FAILED);
    return run_all(tests);
}
