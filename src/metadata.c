/* SPDX-License-Identifier: MIT */
#include "metadata.h"

#include <stdatomic.h>
#include <stdint.h>

#include "compiler.h"
#include "os.h"

enum {
    REGION_BYTES = 256 << 10,
    /* Pages are made present so many at a time: else each costs whoever comes
     * to it first a fault. */
    PIECE_BYTES = 64 << 10,
};

/* A mapping that is handed out from its start; this header is its first
 * piece. */
struct region {
    size_t bytes;
    _Atomic(size_t) used;
    _Atomic(size_t) present; /* pages up to here, or about to be */
};

static _Atomic(struct region *) current;
static _Atomic(size_t) total;

/* Makes a region present up to `end` and what goes with it.  A hint, hence
 * relaxed: who is earlier than that takes a fault.  False: the system cannot. */
static bool make_present(struct region *region, size_t end)
{
    size_t present =
        atomic_load_explicit(&region->present, memory_order_relaxed);
    if (likely(end <= present))
        return true;
    size_t next = (end + PIECE_BYTES - 1) & ~(size_t)(PIECE_BYTES - 1);
    if (!atomic_compare_exchange_strong_explicit(&region->present, &present,
                                                 next, memory_order_relaxed,
                                                 memory_order_relaxed))
        return true; /* another thread is about to */
    return os_populate((char *)region + present, next - present);
}

/* NULL when the region is full.  Relaxed: disjoint ranges are handed out, and
 * their contents are published by their users. */
static void *take(struct region *region, size_t bytes, size_t alignment)
{
    size_t used = atomic_load_explicit(&region->used, memory_order_relaxed);
    size_t start;
    do {
        start = (used + alignment - 1) & ~(alignment - 1);
        if (start > region->bytes || bytes > region->bytes - start)
            return NULL;
    } while (!atomic_compare_exchange_weak_explicit(
        &region->used, &used, start + bytes, memory_order_relaxed,
        memory_order_relaxed));
    make_present(region, start + bytes);
    return (char *)region + start;
}

static struct region *make_region(size_t bytes)
{
    struct region *region = os_map(bytes);
    if (region == NULL)
        return NULL;
    region->bytes = bytes;
    atomic_init(&region->used, sizeof(*region));
    /* Writing the header has brought its page. */
    atomic_init(&region->present, PAGE_BYTES);
    atomic_fetch_add_explicit(&total, bytes, memory_order_relaxed);
    return region;
}

/* Replaces the full region `old`; another thread may be first. */
static bool replace(struct region *old, size_t bytes)
{
    struct region *region = make_region(bytes);
    if (region == NULL)
        return false;
    /* Publishes the header to metadata_allocate(). */
    if (!atomic_compare_exchange_strong_explicit(&current, &old, region,
                                                 memory_order_release,
                                                 memory_order_relaxed)) {
        atomic_fetch_sub_explicit(&total, bytes, memory_order_relaxed);
        os_unmap(region, bytes);
    }
    return true;
}

void *metadata_allocate(size_t bytes, size_t alignment)
{
    for (;;) {
        /* Pairs with replace(). */
        struct region *region =
            atomic_load_explicit(&current, memory_order_acquire);
        void *piece = region ? take(region, bytes, alignment) : NULL;
        if (likely(piece != NULL))
            return piece;
        size_t wanted = bytes + alignment + sizeof(struct region);
        size_t units = (wanted + REGION_BYTES - 1) / REGION_BYTES;
        if (!replace(region, units * REGION_BYTES))
            return NULL;
    }
}

void metadata_map_ahead(void)
{
    if (atomic_load_explicit(&current, memory_order_relaxed) == NULL)
        replace(NULL, REGION_BYTES);
    struct region *region =
        atomic_load_explicit(&current, memory_order_acquire);
    if (region != NULL)
        make_present(region, PIECE_BYTES);
}

bool metadata_reserve(size_t bytes)
{
    struct region *region =
        make_region((bytes / REGION_BYTES + 1) * REGION_BYTES);
    if (region == NULL)
        return false;
    if (!make_present(region, region->bytes))
        os_touch(region, region->bytes); /* Linux before 5.14 */
    /* Publishes the header to metadata_allocate(); what is left of the one
     * before is given up. */
    atomic_store_explicit(&current, region, memory_order_release);
    return true;
}

size_t metadata_bytes(void)
{
    return atomic_load_explicit(&total, memory_order_relaxed);
}
