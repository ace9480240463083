/* SPDX-License-Identifier: MIT */
/* The slab itself, for the files that implement slab.h and their tests. */
#ifndef PARTYALLOC_SLAB_INTERNAL_H
#define PARTYALLOC_SLAB_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compiler.h"
#include "os.h"
#include "page_map.h"
#include "size_class.h"
#include "slab.h"

enum {
    SLAB_UNITS_MAX = 8,
    SLAB_PAGES_MAX = SLAB_UNITS_MAX * UNIT_BYTES / PAGE_BYTES,
    PAGE_WORD_BITS = 64,
    PAGE_WORDS = SLAB_PAGES_MAX / PAGE_WORD_BITS,
};

/*
 * Owner:   nobody; `held` says whether somebody has the right to take blocks: a
 *          cache, a purge, or a thread that retires it; without addresses it
 *          stays set.  It is taken by compare-and-swap, so fills and purges of
 *          one slab exclude each other, and nobody ever waits: whoever fails
 *          goes to another slab (I5).
 * Readers: everybody who frees.
 * Memory:  type-stable (metadata).
 */
struct slab {
    /* On a cache line of its own, read by all who free: constant while the slab
     * has addresses. */
    uintptr_t base;
    uint32_t number;
    uint32_t class;
    _Atomic(bool) reserved; /* pages are to stay */
    _Atomic(bool) placed;   /* `base` and `reserved` are valid */
    /* Who holds it for single blocks; NULL: nobody does.  A holder sets and
     * clears only itself, so others need to see only that it is not they. */
    _Atomic(struct slab_source *) holder;

    /* Shared. */
    _Alignas(CACHE_LINE) _Atomic(bool) held;
    _Atomic(uint32_t) resting;   /* blocks at rest */
    _Atomic(uint32_t) purge_at;  /* so many at rest make it dirty */
    _Atomic(uint32_t) dirty_age; /* the age when it became dirty */
    _Atomic(uint32_t) carved;    /* blocks made; only the holder writes */
    /* Threads that make pages of it present without holding it: it keeps its
     * addresses meanwhile. */
    _Atomic(uint32_t) touched;

    /* The holder's. */
    uint32_t owner;         /* in the page map */
    uint32_t cursor;        /* where the search for blocks at rest goes on */
    uint32_t present;       /* bytes from base that were made present */
    struct slab *next_held; /* by the same source */
    /* A bit for each block at rest that is not counted in `resting`: the
     * holder's alone, to be taken without synchronisation. */
    _Atomic(uint64_t) local_free;
    uint64_t local_all;          /* a bit for each block carved */
    /* Bits set in `purged`; only the holder writes. */
    _Atomic(uint32_t) purged_pages;
    uint64_t purged[PAGE_WORDS]; /* a bit for each page given back */

    /* Of each block, its enum block_state. */
    _Alignas(CACHE_LINE) _Atomic(uint8_t) states[];
};

/* Sums over all slabs; on a line that only the slab layer touches, once for
 * each magazine that comes here.  Each is a sum of its own: relaxed. */
struct slab_sums {
    _Alignas(CACHE_LINE_PAIR) _Atomic(uint64_t) carved_blocks;
    _Atomic(uint64_t) carved_bytes;
    /* Bytes of blocks at rest less bytes of pages given back.  What lies in
     * pages behind the last block of a slab is given back too, so this can be
     * too low, even negative. */
    _Atomic(int64_t) dirty_bytes;
    _Atomic(uint64_t) purged_bytes;
    _Atomic(uint64_t) peak_bytes;     /* carved and not resting, at the peak */
    _Atomic(uint64_t) reserved_bytes; /* of slabs whose pages are to stay */
    _Atomic(uint64_t) slabs_made;
    _Atomic(uint64_t) placed_bytes;   /* of slabs that have addresses */
};
extern INTERNAL struct slab_sums slab_sums;

/* Takes and gives up the right to take blocks from a slab.  Giving it up enters
 * the slab in the sets where it belongs. */
bool slab_hold(struct slab *slab);
void slab_unhold(struct slab *slab);

/* A slab for a source to take blocks from, held; NULL: out of memory. */
struct slab *slab_choose(struct slab_source *source, unsigned class);

/* The lowest available slab, now held, if `wanted` blocks rest there and all
 * its pages are there; NULL: otherwise, or if another thread was first, or if
 * it is not reserved and others are. */
struct slab *slab_choose_rested(const struct slab_source *source,
                                unsigned class, size_t wanted);

/* Carves up to `wanted` new blocks. */
size_t slab_carve(struct slab *slab, void **blocks, size_t wanted);

/* Moves what rests in `local_free` to the shared count. */
void slab_share_local(struct slab *slab);

/* Enters a slab that nobody holds in the sets where it belongs. */
void slab_list(struct slab *slab);

/* The pages that were given back and not used since.  Relaxed: a hint to all
 * but the holder. */
static inline uint32_t slab_purged_pages(const struct slab *slab)
{
    return atomic_load_explicit(&slab->purged_pages, memory_order_relaxed);
}

static inline void slab_set_purged_pages(struct slab *slab, uint32_t pages)
{
    atomic_store_explicit(&slab->purged_pages, pages, memory_order_relaxed);
}

/* Notes bytes that came to rest, or (negative) were taken. */
static inline void slab_add_dirty(int64_t bytes)
{
    atomic_fetch_add_explicit(&slab_sums.dirty_bytes, bytes,
                              memory_order_relaxed);
}

/* Notes that pages of a byte range are in use again.  For the holder. */
void slab_pages_used(struct slab *slab, uint32_t start, uint32_t end);

/* About the bytes carved and not at rest; and notes them for the peak. */
uint64_t slab_used_bytes(void);
void slab_sample_peak(void);

static inline size_t slab_bytes(const struct slab *slab)
{
    return (size_t)size_classes[slab->class].slab_units * UNIT_BYTES;
}

/* Enters a slab among those that are worth a look for free pages. */
void slab_list_dirty(struct slab *slab);

/* Sets when a slab is next worth a look for free pages, after one that found
 * `resting` blocks at rest.  For the holder. */
void slab_expect_purge(struct slab *slab, uint32_t resting);

#endif
