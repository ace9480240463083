/* SPDX-License-Identifier: MIT */
/*
 * partyalloc: the memory allocator that a multithreaded title installs as its
 * PlayFab Party memory callbacks.
 *
 *     Party::PartyManager::SetMemoryCallbacks(partyalloc_allocate,
 *                                             partyalloc_free);
 *
 * For every function below, unless its own text says otherwise:
 *
 * - Sizes and alignments are in bytes.
 * - Thread safety: callable from any thread at any time, from before main()
 *   until the process is gone: in constructors, in destructors of thread-local
 *   objects and of pthread keys, in atexit handlers, in the child after fork().
 *   No initialisation call exists or is needed.
 * - Async-signal safety: none but partyalloc_version().  Call no other
 *   function from a signal handler.
 * - memory_type_id is PlayFab's opaque category.  No decision depends on it,
 *   and it need not match between allocate and free.
 * - Running out of memory is a NULL result, never the end of the process.
 *   Misuse (freeing what is not a live block) writes one line to standard
 *   error and raises SIGABRT.
 */
#ifndef PARTYALLOC_H
#define PARTYALLOC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The alignment of every block, of every size. */
#define PARTYALLOC_ALIGNMENT 16

/*
 * What compilers may assume: that a new block aliases nothing else, and that
 * ignoring the result leaks a block.  The former is not part of a function's
 * type, so the Party pair has exactly the type that Party asks for.  Not
 * alloc_size, since all of partyalloc_usable_size() may be used; nor
 * alloc_align, since clang warns of alignments for which
 * partyalloc_allocate_aligned() returns EINVAL, and of more than 4 GiB.
 */
#if defined(__GNUC__)
#define PARTYALLOC_NEW         __attribute__((__malloc__))
#define PARTYALLOC_RESULT_USED __attribute__((__warn_unused_result__))
#else
#define PARTYALLOC_NEW
#define PARTYALLOC_RESULT_USED
#endif

/*
 * Allocates a block of at least `size` bytes, aligned to PARTYALLOC_ALIGNMENT,
 * with undefined contents.  Size 0 gives a distinct block as well.
 *
 * Returns the block, which the caller gives back with partyalloc_free(); or
 * NULL with errno set to ENOMEM when out of memory.  Sizes beyond any address
 * space fail without a kernel call.
 */
void *partyalloc_allocate(size_t size, uint32_t memory_type_id) PARTYALLOC_NEW;

/*
 * Gives back a block from any function of this header, whatever its size,
 * alignment and allocating thread.  NULL is ignored.  Never changes errno.
 *
 * A pointer that is not a live block stops the process with SIGABRT after one
 * line on standard error:
 *
 *     partyalloc: invalid free of 0x7f0123456789
 *     partyalloc: double free of 0x7f0123456780
 *
 * Found at this call:
 * - a misaligned pointer, and one outside all slabs of small blocks (of up to
 *   256 KiB) at which no large block starts either;
 * - in a slab (64 KiB or more of small blocks of one size) of another thread:
 *   an address where no block starts or none was made yet, and a free block,
 *   unless it lies in a thread's cache, ready to be allocated next;
 * - a block freed twice in a row by one thread.
 * Everything else is found when the block leaves the cache of a thread.  Until
 * then caches hand out freed blocks unchecked: a block freed twice can be
 * allocated twice, and the free that is then stopped, if any, may be a rightful
 * one.  With PARTYALLOC_OPTION_CHECKED all of this is found at this call.  The
 * details are in partyalloc_free(3).
 */
void partyalloc_free(void *pointer, uint32_t memory_type_id);

/*
 * As partyalloc_allocate(), with the block aligned to `alignment`, any power
 * of two.  partyalloc_free() takes the block.
 *
 * Returns NULL with errno set to EINVAL when `alignment` is not a power of two,
 * to ENOMEM when out of memory.
 */
void *partyalloc_allocate_aligned(size_t size, size_t alignment,
                                  uint32_t memory_type_id)
    PARTYALLOC_NEW PARTYALLOC_RESULT_USED;

/*
 * As partyalloc_allocate() of `count` times `size` bytes, all of them zero.
 *
 * Returns NULL with errno set to ENOMEM when the product overflows or when out
 * of memory.
 */
void *partyalloc_allocate_zeroed(size_t count, size_t size,
                                 uint32_t memory_type_id)
    PARTYALLOC_NEW PARTYALLOC_RESULT_USED;

/*
 * Resizes the block to at least `size` bytes, in place or by moving it.  The
 * contents are kept, up to the smaller of the two sizes.  NULL allocates; size
 * 0 is a size like any other (it does not free).  The result is aligned to
 * PARTYALLOC_ALIGNMENT only, whatever the alignment of the old block.
 *
 * Returns the block, or NULL with errno set to ENOMEM: the old block is then
 * untouched and still the caller's.  A smaller or equal size never fails.
 *
 * A pointer that is not a live block stops the process at this call, with
 * "invalid reallocate".  A free block in a thread's cache, ready to be
 * allocated next, is found with PARTYALLOC_OPTION_CHECKED only.
 */
void *partyalloc_reallocate(void *pointer, size_t size,
                            uint32_t memory_type_id) PARTYALLOC_RESULT_USED;

/*
 * As partyalloc_reallocate(), with the result aligned to `alignment`.  If the
 * block does not have that alignment yet, a smaller size can fail as well.
 *
 * Returns NULL with errno set to EINVAL when `alignment` is not a power of two.
 */
void *partyalloc_reallocate_aligned(void *pointer, size_t size,
                                    size_t alignment, uint32_t memory_type_id)
    PARTYALLOC_RESULT_USED;

/*
 * The number of bytes that the block really has, all of them usable; at least
 * the size it was allocated with.  0 for NULL.  A pointer that is not a block's
 * start stops the process, with "invalid usable_size"; free blocks are found as
 * in partyalloc_reallocate().
 */
size_t partyalloc_usable_size(const void *pointer);

/*
 * The number of bytes that a block allocated with `size` has: what
 * partyalloc_usable_size() will return for it.  Returns `size` itself when no
 * such block can exist.
 */
size_t partyalloc_good_size(size_t size);

/*
 * Hands everything that the calling thread's cache holds to the other threads.
 * Worth calling before a thread sleeps for long.  (Does nothing while another
 * thread's partyalloc_trim() or partyalloc_maintain() is working on that
 * cache.)
 */
void partyalloc_thread_flush(void);

/*
 * Gives back to the system every page that carries no live block: from the
 * depot, the slabs, the memory kept of large blocks and the caches of exited
 * threads.  Of other threads it reaches what is free in the slabs that they
 * hold, and in their caches all but some blocks of each size class.  It skips
 * threads that are running, and all other threads once memory is reserved or
 * where membarrier(2) is missing (before Linux 4.14).  A thread gives up all of
 * its own cache by partyalloc_thread_flush().  Of locked memory (mlockall(2))
 * only what is kept of large blocks goes back.
 *
 * Cost: proportional to the memory at rest; about one kernel call per free run
 * of pages.  Meant for a scene change, not for every frame.
 *
 * Returns the number of bytes given back.
 */
size_t partyalloc_trim(void);

/*
 * Does a bounded amount of upkeep: gives back memory that has been free for a
 * while, including free blocks in slabs held by threads that have been idle for
 * half a second (as in partyalloc_trim()).  Meant to be called once a frame.
 * `budget_ns` is the time it may take, in nanoseconds; it stops after the first
 * step that exceeds it (a step takes about 20 microseconds).
 *
 * Returns the number of bytes given back.  0 from a call with time to spare
 * means that nothing is due now; with a budget of 0 it gives nothing back.
 */
size_t partyalloc_maintain(uint64_t budget_ns);

/*
 * Maps and touches `bytes` of memory, and all metadata that goes with it, for
 * small blocks (of up to 256 KiB).  As long as the size classes' individual
 * peaks add up to no more, a thread that has allocated before makes no kernel
 * call and takes no page fault in allocate or free, whatever was used and given
 * back before.
 *
 * - Slabs keep their class, so add up the peak of each class: about twice the
 *   live bytes is a fair start; kernel_calls in the statistics shows whether it
 *   was enough.
 * - Reserved memory is never given back.  From then on allocate and free give
 *   back no other memory either, except memory of large blocks kept beyond a
 *   bound.
 * - Calls add up; pieces below 512 KiB may not serve the largest sizes.
 *
 * Returns 0, or ENOMEM: nothing is reserved by the call then, and a smaller one
 * can be tried.
 */
int partyalloc_reserve(size_t bytes);

/*
 * A hard cap on the bytes that partyalloc has mapped, metadata included.
 * Beyond it an allocation first tries what the caches can give back, and wholly
 * free slabs (64 KiB and more) of other sizes; then it fails with NULL and
 * ENOMEM.  (What another thread is giving back at that moment does not count.)
 * 0 lifts the cap.  A cap below what is mapped already gives up what is free,
 * and stops further growth.
 *
 * Returns 0.
 */
int partyalloc_set_limit(size_t bytes);

/*
 * Starts a thread that calls partyalloc_maintain() in the background, at a low
 * rate; stop ends it and waits for it.  No such thread runs unless asked for.
 * A child after fork() has none.
 *
 * Returns 0; start returns EALREADY when it runs already, or the error of
 * pthread_create(); stop returns ESRCH when none runs.
 */
int partyalloc_start_service_thread(void);
int partyalloc_stop_service_thread(void);

/*
 * Options, all to be set before the first block is allocated; each can also be
 * given in the environment, as a decimal number, under the name on the right.
 */
enum partyalloc_option {
    /* 1: find every double free, every interior pointer and every other pointer
     * that is not a live block's, at its free.  Slower by a small factor.
     * Default 0. */
    PARTYALLOC_OPTION_CHECKED = 1, /* PARTYALLOC_CHECKED */
    /* 1: ask for transparent huge pages for blocks of 4 MiB and more.
     * Default 0: the system's setting is left alone. */
    PARTYALLOC_OPTION_HUGE_PAGES = 2, /* PARTYALLOC_HUGE_PAGES */
    /* The most bytes that one thread's cache may hold in blocks of at most a
     * 128th of this value (4 KiB).  Of each larger class it keeps at most 16
     * blocks, or as many as fit in twice this value if that is fewer, and up to
     * eight slabs in use.  Default 524288, at most 67108864. */
    PARTYALLOC_OPTION_CACHE_BYTES = 3 /* PARTYALLOC_CACHE_BYTES */
};

/*
 * Sets an option.  Returns 0; EINVAL when the option or its value is unknown;
 * EBUSY when a block has been allocated already.
 */
int partyalloc_set_option(enum partyalloc_option option, size_t value);

/*
 * Statistics.  `size` is set by the caller to sizeof(struct partyalloc_stats),
 * so that the structure can grow: a library newer than its caller fills only
 * what the caller knows, an older one what it knows itself.  On return `size`
 * is the number of bytes filled.
 *
 * Each figure is exact when no other thread is inside the allocator, and
 * otherwise a close estimate.  "Small" blocks are those of a size class (up to
 * 256 KiB), "large" ones are mapped memory of their own.  Bytes of blocks
 * are usable bytes.
 */
struct partyalloc_stats {
    size_t size;
    /* Blocks that the title has now. */
    uint64_t small_live_blocks;
    uint64_t small_live_bytes;
    uint64_t large_live_blocks;
    uint64_t large_live_bytes;
    /* High-water marks.  The small one is sampled when a slab is made, and
     * counts what lies in the threads' caches and the depot as live. */
    uint64_t small_peak_bytes;
    uint64_t large_peak_bytes;
    /* Bytes of address space, metadata included: now, and the peak. */
    uint64_t mapped_bytes;
    uint64_t mapped_peak_bytes;
    /* Free bytes, by where they lie. */
    uint64_t cache_bytes;        /* in the threads' caches */
    uint64_t depot_bytes;        /* in the depot */
    uint64_t slab_bytes;         /* returned to their slabs */
    uint64_t large_cached_bytes; /* kept of large blocks, for reuse */
    uint64_t purged_bytes;       /* of slab_bytes, given back to the system */
    uint64_t metadata_bytes;
    /* Events since the start of the process. */
    uint64_t cache_misses;    /* allocations that the cache could not serve */
    uint64_t cache_overflows; /* frees that the cache could not take */
    uint64_t depot_pushes;    /* magazines handed to the depot */
    uint64_t depot_pops;      /* magazines taken from it */
    uint64_t depot_retries;   /* their compare-and-swaps that lost a race */
    uint64_t slabs_carved;    /* slabs made, including those given up since */
    uint64_t large_maps;      /* large blocks that took a new mapping */
    uint64_t large_reuses;    /* large blocks that took kept memory */
    uint64_t kernel_calls;    /* all of the allocator's */
    uint64_t threads;         /* thread caches made: about the most threads at
                                 once */
};

/*
 * Fills `stats`.  Takes no lock.
 *
 * Returns 0, or EINVAL when `stats` is NULL or its `size` is smaller than the
 * member `size` itself.
 */
int partyalloc_get_stats(struct partyalloc_stats *stats);

/* The version of the library, as "major.minor.patch". */
const char *partyalloc_version(void);

#undef PARTYALLOC_NEW
#undef PARTYALLOC_RESULT_USED

#ifdef __cplusplus
}
#endif

#endif
