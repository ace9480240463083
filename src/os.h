/* SPDX-License-Identifier: MIT */
/*
 * The operating system, as partyalloc sees it: the only layer that calls the
 * kernel for memory.
 *
 * No function here changes errno or takes a lock, and each counts its kernel
 * calls.  Lengths are multiples of PAGE_BYTES, and ranges aligned to it.
 */
#ifndef PARTYALLOC_OS_H
#define PARTYALLOC_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

enum {
    /* The most bits of a user-space address: what the kernel gives to processes
     * that do not ask for more. */
#ifdef __x86_64__
    ADDRESS_BITS = 47,
#else
    ADDRESS_BITS = 48,
#endif
    PAGE_SHIFT = 12,
    PAGE_BYTES = 1 << PAGE_SHIFT,
    /* Every mapping starts at a multiple of this: a unit of the page map. */
    OS_MAP_ALIGNMENT = 1 << 16,
    OS_PRESENT_MAX = 4 << 20,
};

/*
 * The kernel calls, in a table where tests can put failing ones.  Not to be
 * written while another thread allocates.
 */
struct os_calls {
    void *(*mmap)(void *hint, size_t length, int protection, int flags, int fd,
                  off_t offset);
    int (*munmap)(void *address, size_t length);
    int (*madvise)(void *address, size_t length, int advice);
    void *(*mremap)(void *address, size_t old_length, size_t new_length,
                    int flags, ...);
    int (*mincore)(void *address, size_t length, unsigned char *present);
    /* process_madvise() of the process itself. */
    ssize_t (*madvise_ranges)(const struct iovec *ranges, size_t count,
                              int advice);
    int (*membarrier)(int command);
};
extern struct os_calls os_calls;

/* Maps zeroed memory at a multiple of OS_MAP_ALIGNMENT.  NULL when the system
 * or the limit does not allow it. */
void *os_map(size_t bytes);

/* As os_map(), at a multiple of `alignment`, a power of two not below
 * OS_MAP_ALIGNMENT. */
void *os_map_aligned(size_t bytes, size_t alignment);

/* Unmaps.  False when the system refuses (a process at its limit of mappings):
 * the range is then still mapped and accounted. */
bool os_unmap(void *address, size_t bytes);

/* Gives the pages back; they read as zero afterwards, and cost a page fault
 * each.  False when the system refuses, or has longer pages than PAGE_BYTES and
 * the range cuts one: the contents then stay.  It refuses locked pages; these
 * are left, though Linux 5.18 has an advice for them: whoever locks pages wants
 * no faults. */
bool os_purge(void *address, size_t bytes);

/* The same for several ranges, in one call where the system has one for that:
 * most of the time of a call goes to the TLB flush, which is then done once.
 * Returns how many ranges it did before one was refused.
 */
size_t os_purge_ranges(const struct iovec *ranges, size_t count);

/* Whether the system has been seen to do that. */
bool os_purges_ranges_at_once(void);

/* Makes the pages present and writable ahead of use, in a few calls instead
 * of a fault each.  A hint: false when the system cannot for some of them. */
bool os_populate(void *address, size_t bytes);

/* Whether all pages of a range are present, at most OS_PRESENT_MAX bytes.  A
 * hint: false also when the system does not say. */
bool os_is_present(const void *address, size_t bytes);

/* Whether the system fills new mappings with pages at once, as under
 * mlockall(MCL_FUTURE); as of the last mapping.  Mapping ahead of use then
 * costs the pages as well. */
bool os_fills_mappings(void);

/* Makes pages present one by one, contents kept; they may be in use. */
void os_touch(void *address, size_t bytes);

/* Asks for huge pages in the range.  A hint. */
void os_advise_huge(void *address, size_t bytes);

/* Maps zeroed memory at an address, a multiple of OS_MAP_ALIGNMENT.  False when
 * something is mapped there, or the system or the limit does not allow it. */
bool os_map_at(void *address, size_t bytes);

/* Makes a mapping longer in place.  False when it cannot be done there; nothing
 * has changed then. */
bool os_grow(void *address, size_t old_bytes, size_t new_bytes);

/* As os_map(), for the pages of a mapping of `moved` bytes, at most as long, to
 * be moved there: only the difference counts against the limit. */
void *os_map_for_move(size_t bytes, size_t moved);

/* Moves pages over the `bytes` that os_map_for_move() has mapped, without
 * copying; `from` is then unmapped.  False: nothing changed. */
bool os_move(void *from, size_t moved, void *to, size_t bytes);

/* Unmaps what os_map_for_move() has mapped if nothing was moved there; but not
 * what another thread has mapped there since, as a failed move allows.  False
 * when the system refuses: it is then still mapped and accounted in full,
 * whatever the limit. */
bool os_unmap_for_move(void *to, size_t bytes, size_t moved);

/* A cap on the bytes mapped, 0 for none; and the bytes that it leaves, 0 if
 * there is no cap. */
void os_set_limit(size_t bytes);
size_t os_room_bytes(void);

/* In the child of a fork: what other threads were about to map is not there,
 * and threads about to move pages have left both mappings. */
void os_after_fork_in_child(void);

/* Bytes mapped now, and at the peak; kernel calls made. */
size_t os_mapped_bytes(void);
size_t os_mapped_peak_bytes(void);
uint64_t os_kernel_calls(void);

/* A full memory barrier in all threads of the process, wherever each of them
 * is: what a thread wrote before its barrier is seen after this call, and what
 * was written before this call the thread sees from then on.  False: the system
 * has no such call.  The first function makes the second one quick; call it
 * while there is only one thread, if possible. */
void os_prepare_barrier(void);
bool os_barrier_everywhere(void);

/* The CPU-time clock of the calling thread.  No kernel call. */
clockid_t os_thread_clock(void);

/* The CPU time of a thread, in nanoseconds: it differs from call to call while
 * the thread runs.  0: there is no such thread any more. */
uint64_t os_thread_time(clockid_t clock);

/* The number of the processor that the thread runs on, perhaps stale on return;
 * 0 when the system does not say.  No kernel call. */
unsigned os_processor(void);

/* Nanoseconds of a clock that never goes back.  No kernel call (vDSO). */
uint64_t os_now(void);

/* The same clock, some milliseconds late, for a fifth of the time. */
uint64_t os_now_coarse(void);

#endif
