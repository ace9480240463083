/* SPDX-License-Identifier: MIT */
#include "metadata.h"

#include <stdatomic.h>
#include <stdint.h>

#include "compiler.h"
#include "os.h"

enum {
    REGION_BYTES = 256 << 10,
    /* Pages are made present so many bytes at a time: else whoever first
     * touches one takes a fault. */
    PIECE_BYTES = 64 << 10,
};

/* Less than this is left of a region when the next one is begun. */
enum { TAIL_BYTES = 16 << 10 };

/* A mapping that is handed out from its start, where this header lies. */
struct region {
    size_t bytes;
    _Atomic(size_t) used;
    _Atomic(size_t) present;       /* pages up to here, or about to be */
    _Atomic(struct region *) next; /* the next one to use */
};

static _Atomic(struct region *) current;
static _Atomic(size_t) total;

/* Where reserved memory ends: an offset into all regions in the order of their
 * use. */
static _Atomic(size_t) reserved_end;

/* Makes a region present up to `end`, rounded up to a piece.  A hint, hence
 * relaxed: whoever touches a page before that takes a fault. */
static void make_present(struct region *region, size_t end)
{
    size_t present =
        atomic_load_explicit(&region->present, memory_order_relaxed);
    if (likely(end <= present))
        return;
    size_t next = (end + PIECE_BYTES - 1) & ~(size_t)(PIECE_BYTES - 1);
    /* If not, another thread is about to. */
    if (atomic_compare_exchange_strong_explicit(&region->present, &present,
                                                next, memory_order_relaxed,
                                                memory_order_relaxed))
        os_populate((char *)region + present, next - present);
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
    /* Writing the header has made its page present. */
    atomic_init(&region->present, PAGE_BYTES);
    atomic_fetch_add_explicit(&total, bytes, memory_order_relaxed);
    return region;
}

/* Goes on with the region behind a full one (NULL: with the first one), making
 * it if there is none.  False: out of memory. */
static bool advance(struct region *full, size_t bytes)
{
    _Atomic(struct region *) *place = full != NULL ? &full->next : &current;
    /* Pairs with the exchange below, and with append(). */
    struct region *next = atomic_load_explicit(place, memory_order_acquire);
    if (next == NULL) {
        struct region *region = make_region(bytes);
        if (region == NULL)
            return false;
        /* Publishes the header; another thread may be first. */
        if (atomic_compare_exchange_strong_explicit(place, &next, region,
                                                    memory_order_release,
                                                    memory_order_acquire)) {
            next = region;
        } else {
            atomic_fetch_sub_explicit(&total, bytes, memory_order_relaxed);
            os_unmap(region, bytes);
        }
    }
    /* Publishes the header to metadata_allocate(). */
    if (full != NULL)
        atomic_compare_exchange_strong_explicit(
            &current, &full, next, memory_order_release, memory_order_relaxed);
    return true;
}

void *metadata_allocate(size_t bytes, size_t alignment)
{
    for (;;) {
        /* Pairs with advance() and append(). */
        struct region *region =
            atomic_load_explicit(&current, memory_order_acquire);
        void *piece = region ? take(region, bytes, alignment) : NULL;
        if (likely(piece != NULL))
            return piece;
        size_t wanted = bytes + alignment + sizeof(struct region);
        size_t units = (wanted + REGION_BYTES - 1) / REGION_BYTES;
        if (!advance(region, units * REGION_BYTES))
            return NULL;
    }
}

void metadata_map_ahead(void)
{
    if (atomic_load_explicit(&current, memory_order_relaxed) == NULL)
        advance(NULL, REGION_BYTES);
    struct region *region =
        atomic_load_explicit(&current, memory_order_acquire);
    if (region != NULL)
        make_present(region, PIECE_BYTES);
}

/* --- Reserving ------------------------------------------------------------ */

/* Puts a new region behind the last one. */
static void append(struct region *region)
{
    _Atomic(struct region *) *place = &current;
    struct region *taken = NULL;
    /* Publishes the header to metadata_allocate() and advance(). */
    while (!atomic_compare_exchange_strong_explicit(
        place, &taken, region, memory_order_release, memory_order_acquire)) {
        place = &taken->next;
        taken = NULL;
    }
}

static struct region *first_region(void)
{
    return atomic_load_explicit(&current, memory_order_acquire);
}

static struct region *region_after(struct region *region)
{
    /* Pairs with advance() and append(). */
    return atomic_load_explicit(&region->next, memory_order_acquire);
}

/* The bytes handed out, and those left over in full regions. */
static size_t used_bytes(void)
{
    size_t used = metadata_bytes();
    for (struct region *region = first_region(); region != NULL;
         region = region_after(region))
        used -= region->bytes -
                atomic_load_explicit(&region->used, memory_order_relaxed);
    return used;
}

/* Reserves `bytes` behind what is used and what is reserved already; returns
 * where they end. */
static size_t extend_reserve(size_t bytes)
{
    size_t before = atomic_load_explicit(&reserved_end, memory_order_relaxed);
    size_t end;
    do {
        size_t used = used_bytes();
        end = (before > used ? before : used) + bytes;
    } while (!atomic_compare_exchange_weak_explicit(&reserved_end, &before, end,
                                                    memory_order_relaxed,
                                                    memory_order_relaxed));
    return end;
}

/* Maps `bytes` for later. */
static bool map_for_later(size_t bytes)
{
    size_t wanted = bytes + sizeof(struct region) + TAIL_BYTES;
    size_t units = (wanted + REGION_BYTES - 1) / REGION_BYTES;
    struct region *region = make_region(units * REGION_BYTES);
    if (region != NULL)
        append(region);
    return region != NULL;
}

/* Makes what is left of a region present, including pages that the child of a
 * fork still shares with its parent. */
static void make_rest_present(struct region *region)
{
    size_t used = atomic_load_explicit(&region->used, memory_order_relaxed);
    size_t start = used & ~(size_t)(PAGE_BYTES - 1);
    char *rest = (char *)region + start;
    size_t bytes = region->bytes - start;
    atomic_store_explicit(&region->present, region->bytes,
                          memory_order_relaxed);
    if (bytes != 0 && !os_populate(rest, bytes))
        os_touch(rest, bytes); /* Linux before 5.14 */
}

bool metadata_reserve(size_t bytes)
{
    size_t end = extend_reserve(bytes);
    size_t mapped = metadata_bytes();
    if (end > mapped && !map_for_later(end - mapped)) {
        atomic_fetch_sub_explicit(&reserved_end, bytes, memory_order_relaxed);
        return false;
    }
    for (struct region *region = first_region(); region != NULL;
         region = region_after(region))
        make_rest_present(region);
    return true;
}

size_t metadata_bytes(void)
{
    return atomic_load_explicit(&total, memory_order_relaxed);
}
