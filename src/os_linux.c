/* SPDX-License-Identifier: MIT */
#include "os.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "compiler.h"
#include "os_account.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000 /* Linux 4.17 */
#endif

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

#ifndef SYS_process_madvise
#define SYS_process_madvise 440 /* Linux 5.10 */
#endif

/* Instead of a pidfd: the calling process.  Linux 6.15. */
enum { THIS_PROCESS = -10000 };

static ssize_t madvise_ranges(const struct iovec *ranges, size_t count,
                              int advice)
{
    return syscall(SYS_process_madvise, THIS_PROCESS, ranges, count, advice,
                   0U);
}

static int membarrier(int command)
{
    return (int)syscall(SYS_membarrier, command, 0U, 0);
}

struct os_calls os_calls = {
    .mmap = mmap,
    .munmap = munmap,
    .madvise = madvise,
    .mremap = mremap,
    .mincore = mincore,
    .madvise_ranges = madvise_ranges,
    .membarrier = membarrier,
};

enum {
    /* How often a call that fails with EAGAIN is repeated. */
    EAGAIN_RETRIES = 8,
    /* Pages are made present so many bytes at a time: meanwhile the kernel lets
     * nobody map. */
    POPULATE_STEP = 256 << 10,
};

static size_t round_up(size_t bytes)
{
    return (bytes + OS_MAP_ALIGNMENT - 1) & ~(size_t)(OS_MAP_ALIGNMENT - 1);
}

static char *map_pages(void *wanted, size_t bytes, int flags)
{
    account_call();
    void *address = os_calls.mmap(
        wanted, bytes, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    return address == MAP_FAILED ? NULL : address;
}

static bool unmap_pages(void *address, size_t bytes)
{
    account_call();
    return os_calls.munmap(address, bytes) == 0;
}

/* Unmaps what is not accounted.  If the system refuses (a process at its limit
 * of mappings), that address space is lost, and its whole units are accounted
 * from now on. */
static void give_up(char *address, size_t bytes)
{
    if (!unmap_pages(address, bytes))
        account_more(bytes & ~(size_t)(OS_MAP_ALIGNMENT - 1));
}

/* Maps more than is needed and cuts off what lies outside the alignment. */
static char *map_with_slack(size_t bytes, size_t alignment)
{
    size_t slack = alignment - PAGE_BYTES;
    if (bytes > SIZE_MAX - slack)
        return NULL;
    char *start = map_pages(NULL, bytes + slack, 0);
    if (start == NULL)
        return NULL;
    size_t before = -(uintptr_t)start & (alignment - 1);
    if (before != 0)
        give_up(start, before);
    if (before != slack)
        give_up(start + before + bytes, slack - before);
    return start + before;
}

/* The pages of the system, which may be longer than ours: on aarch64 16 or 64
 * KiB. */
static size_t system_page(void)
{
#ifdef __x86_64__
    return PAGE_BYTES;
#else
    return (size_t)sysconf(_SC_PAGESIZE);
#endif
}

bool os_is_present(const void *address, size_t bytes)
{
    unsigned char pages[OS_PRESENT_MAX / PAGE_BYTES];
    size_t count = (bytes + system_page() - 1) / system_page();
    int saved = errno;
    account_call();
    bool all = os_calls.mincore((void *)address, bytes, pages) == 0;
    for (size_t i = 0; all && i < count; i++)
        all = (pages[i] & 1) != 0;
    errno = saved;
    return all;
}

/* A hint, so relaxed. */
static _Atomic(bool) fills;

bool os_fills_mappings(void)
{
    return atomic_load_explicit(&fills, memory_order_relaxed);
}

/* A new mapping has no pages, unless the system fills it. */
static void look_if_filled(const char *mapping)
{
    bool now = os_is_present(mapping, PAGE_BYTES);
    if (os_fills_mappings() != now)
        atomic_store_explicit(&fills, now, memory_order_relaxed);
}

/* Maps `bytes`, of which `counted` are accounted. */
static void *map(size_t bytes, size_t alignment, size_t counted)
{
    int saved = errno;
    void *result = NULL;
    if (account_begin(counted)) {
        /* The kernel places mappings side by side: when all lengths are
         * multiples of the alignment, the first try mostly fits. */
        char *address = map_pages(NULL, bytes, 0);
        if (address != NULL && ((uintptr_t)address & (alignment - 1)) != 0) {
            give_up(address, bytes);
            address = map_with_slack(bytes, alignment);
        }
        if (address != NULL)
            look_if_filled(address);
        result = address;
        account_end(counted, address != NULL);
    }
    errno = saved;
    return result;
}

void *os_map_aligned(size_t bytes, size_t alignment)
{
    return map(bytes, alignment, bytes);
}

void *os_map(size_t bytes)
{
    return os_map_aligned(round_up(bytes), OS_MAP_ALIGNMENT);
}

void *os_map_for_move(size_t bytes, size_t moved)
{
    void *to = map(bytes, OS_MAP_ALIGNMENT, bytes - moved);
    if (to != NULL)
        account_moving(moved);
    return to;
}

/* Maps at an address where nothing is mapped yet. */
static bool map_there(void *address, size_t bytes)
{
    char *there = map_pages(address, bytes, MAP_FIXED_NOREPLACE);
    /* Linux before 4.17 takes the address for a hint. */
    if (there != NULL && there != address)
        unmap_pages(there, bytes);
    return there == address;
}

bool os_map_at(void *address, size_t bytes)
{
    int saved = errno;
    bool done = false;
    if (account_begin(bytes)) {
        done = map_there(address, bytes);
        if (done)
            look_if_filled(address);
        account_end(bytes, done);
    }
    errno = saved;
    return done;
}

bool os_unmap(void *address, size_t bytes)
{
    int saved = errno;
    bool done = unmap_pages(address, round_up(bytes));
    if (done)
        account_unmapped(round_up(bytes));
    errno = saved;
    return done;
}

static bool advise(void *address, size_t bytes, int advice)
{
    int saved = errno;
    int result;
    int tries = 0;
    do {
        account_call();
        result = os_calls.madvise(address, bytes, advice);
    } while (result != 0 && errno == EAGAIN && ++tries < EAGAIN_RETRIES);
    errno = saved;
    return result == 0;
}

/* The offset of a multiple of PAGE_BYTES in its page of the system. */
static size_t into_page(uintptr_t place)
{
    return system_page() == PAGE_BYTES ? 0 : place & (system_page() - 1);
}

bool os_purge(void *address, size_t bytes)
{
    /* The kernel would take whole pages, even for part of one. */
    return into_page((uintptr_t)address | bytes) == 0 &&
           advise(address, bytes, MADV_DONTNEED);
}

/* Whether the system gives back several ranges in one call; a hint: relaxed. */
enum { NOT_TRIED, AT_ONCE, ONE_BY_ONE };
static _Atomic(int) purging;

bool os_purges_ranges_at_once(void)
{
    return atomic_load_explicit(&purging, memory_order_relaxed) == AT_ONCE;
}

/* How many of the first ranges were given back in one call. */
static size_t purge_at_once(const struct iovec *ranges, size_t count)
{
    int saved = errno;
    account_call();
    ssize_t bytes = os_calls.madvise_ranges(ranges, count, MADV_DONTNEED);
    errno = saved;
    size_t done = 0;
    while (done < count && bytes >= (ssize_t)ranges[done].iov_len)
        bytes -= (ssize_t)ranges[done++].iov_len;
    return done;
}

size_t os_purge_ranges(const struct iovec *ranges, size_t count)
{
    size_t done = 0;
    if (count > 1 && system_page() == PAGE_BYTES &&
        atomic_load_explicit(&purging, memory_order_relaxed) != ONE_BY_ONE)
        done = purge_at_once(ranges, count);
    size_t before = done;
    while (done < count &&
           os_purge(ranges[done].iov_base, ranges[done].iov_len))
        done++;
    /* If the first list ever tried was refused but a range alone was not, the
     * system does not take lists. */
    if (count > 1 && done != 0 &&
        atomic_load_explicit(&purging, memory_order_relaxed) == NOT_TRIED)
        atomic_store_explicit(&purging, before != 0 ? AT_ONCE : ONE_BY_ONE,
                              memory_order_relaxed);
    return done;
}

bool os_populate(void *address, size_t bytes)
{
    char *start = (char *)address - into_page((uintptr_t)address);
    char *end = (char *)address + bytes;
    while (start < end) {
        size_t rest = (size_t)(end - start);
        size_t step = rest < POPULATE_STEP ? rest : POPULATE_STEP;
        if (!advise(start, step, MADV_POPULATE_WRITE))
            return false;
        start += step;
    }
    return true;
}

/* Writes a byte back unchanged.  By compare-and-swap: compilers may turn adding
 * 0 into a mere read, which brings no page. */
static void touch(char *byte)
{
    _Atomic(char) *shared = (_Atomic(char) *)byte;
    char value = atomic_load_explicit(shared, memory_order_relaxed);
    atomic_compare_exchange_strong_explicit(
        shared, &value, value, memory_order_relaxed, memory_order_relaxed);
}

void os_touch(void *address, size_t bytes)
{
    char *start = address;
    for (size_t offset = 0; offset < bytes; offset += PAGE_BYTES)
        touch(start + offset);
    touch(start + bytes - 1);
}

void os_advise_huge(void *address, size_t bytes)
{
    advise(address, bytes, MADV_HUGEPAGE);
}

bool os_grow(void *address, size_t old_bytes, size_t new_bytes)
{
    if (!account_begin(new_bytes - old_bytes))
        return false;
    int saved = errno;
    account_call();
    bool done = os_calls.mremap(address, old_bytes, new_bytes, 0) == address;
    errno = saved;
    account_end(new_bytes - old_bytes, done);
    return done;
}

/* The end of user space, which may be smaller than ADDRESS_BITS: on aarch64
 * 39, 42 or 47 bits.  The strings that the kernel puts on the first stack lie
 * in its upper half. */
static size_t user_space(void)
{
#ifdef __x86_64__
    return (size_t)1 << ADDRESS_BITS;
#else
    return (size_t)2 << (63 - __builtin_clzl(getauxval(AT_EXECFN) | 1));
#endif
}

/*
 * Whether a range is one mapping to the kernel.  Adjacent ranges merge when
 * they are mapped, but not once pages were moved or the process has forked.
 * Tested by a growth in place that can never succeed, since it would end where
 * user space does; the kernel checks the range first.  With a length beyond
 * user space it may not (EINVAL, as in Linux 6.18): that is no answer.
 */
static bool is_one_mapping(void *address, size_t bytes)
{
    size_t to_the_end = user_space() - PAGE_BYTES - (uintptr_t)address;
    account_call();
    void *result = os_calls.mremap(address, bytes, to_the_end, 0);
    return result == MAP_FAILED && errno != EFAULT && errno != EINVAL;
}

bool os_move(void *from, size_t moved, void *to, size_t bytes)
{
    int saved = errno;
    bool done = false;
    /* The kernel refuses to move several mappings at once, but may have
     * unmapped the target by then. */
    if (is_one_mapping(from, moved)) {
        account_call();
        /* With its new length, so that it is one mapping there too. */
        done = os_calls.mremap(from, moved, bytes,
                               MREMAP_MAYMOVE | MREMAP_FIXED, to) == to;
        /* The kernel unmaps the target first, and may fail after that: for lack
         * of memory, or at the limit of mappings. */
        if (!done)
            map_there(to, bytes);
    }
    if (done)
        account_moved(moved);
    errno = saved;
    return done;
}

bool os_unmap_for_move(void *to, size_t bytes, size_t moved)
{
    int saved = errno;
    /* If not, part of it is another thread's by now, which mapped there before
     * os_move() could. */
    bool done = !is_one_mapping(to, bytes) || unmap_pages(to, bytes);
    if (done)
        account_unmapped(bytes - moved);
    else
        account_more(moved);
    account_moved(moved);
    errno = saved;
    return done;
}
