/* SPDX-License-Identifier: MIT */
/*
 * The page map: what every address of the process means to the allocator.
 *
 * Two levels.  The root has one slot for each 4 GiB of the user address space
 * (ADDRESS_BITS), a leaf one entry and one descriptor for each unit of 64 KiB.
 * Leaves are made when first needed and live as long as the process.
 *
 * An entry is one word that answers the two questions of a free (whose, and of
 * which class) in one load:
 *
 *     0            not ours
 *     ENTRY_LARGE  the first unit of a live large block
 *     ENTRY_LARGE_GONE  where one was, freed since
 *     otherwise    a unit of a slab: owner << ENTRY_OWNER_SHIFT | bin offset
 *
 * The bin offset is the size class times the size of a bin, so `entry ^ tag`
 * of a thread's cache is the offset of the block's bin in that cache when the
 * slab is its own, and at least ENTRY_BIN_LIMIT when it is not.  The owner is
 * a hint for locality: it may change at any time, correctness never depends
 * on it.
 */
#ifndef PARTYALLOC_PAGE_MAP_H
#define PARTYALLOC_PAGE_MAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compiler.h"
#include "os.h"

enum {
    UNIT_SHIFT = 16,
    UNIT_BYTES = 1 << UNIT_SHIFT,
    LEAF_SHIFT = 16,
    LEAF_UNITS = 1 << LEAF_SHIFT,
    ROOT_SLOTS = 1 << (ADDRESS_BITS - LEAF_SHIFT - UNIT_SHIFT),

    ENTRY_BIN_SHIFT = 5, /* log2 of sizeof(struct bin) */
    ENTRY_OWNER_SHIFT = 11,
    ENTRY_BIN_LIMIT = 1 << ENTRY_OWNER_SHIFT,
    ENTRY_LARGE = 1,
    ENTRY_LARGE_GONE = 2,
    OWNER_MAX = (1 << (32 - ENTRY_OWNER_SHIFT)) - 1,
};

/*
 * Written before the block's address is handed out, so that whoever rightly
 * frees the block sees it; whoever follows a stray pointer sees old or new
 * values.  On a weakly ordered processor that may be a slab's entry without its
 * descriptor, while the slab is being made: the process then stops with a
 * segmentation fault.
 */
struct page_map_leaf {
    _Atomic(uint32_t) entries[LEAF_UNITS];
    _Atomic(void *) descriptors[LEAF_UNITS];
};

extern INTERNAL _Atomic(struct page_map_leaf *) page_map_root[ROOT_SLOTS];

/* The root slot of an address; ROOT_SLOTS or more when the address is not a
 * multiple of 16 or not in user space: rotating by 4 puts the bits that must
 * be zero above all others. */
FAST_PATH uint64_t page_map_slot(uintptr_t address)
{
    uint64_t rotated = (uint64_t)address >> 4 | (uint64_t)address << 60;
    return rotated >> (UNIT_SHIFT + LEAF_SHIFT - 4);
}

FAST_PATH size_t page_map_unit(uintptr_t address)
{
    return (uint16_t)(address >> UNIT_SHIFT);
}

/* The leaf of an address, NULL for addresses that cannot be a block's. */
FAST_PATH struct page_map_leaf *page_map_leaf(const void *pointer)
{
    uint64_t slot = page_map_slot((uintptr_t)pointer);
    if (unlikely(slot >= ROOT_SLOTS))
        return NULL;
    /* Acquires what page_map_reserve() published: a zeroed leaf.  (Consume
     * would do; acquire is free on x86-64.) */
    return atomic_load_explicit(&page_map_root[slot], memory_order_acquire);
}

/* The entry and the descriptor of an address whose leaf this is.  Relaxed: see
 * the comment at struct page_map_leaf. */
FAST_PATH uint32_t leaf_entry(struct page_map_leaf *leaf, const void *pointer)
{
    return atomic_load_explicit(
        &leaf->entries[page_map_unit((uintptr_t)pointer)],
        memory_order_relaxed);
}

FAST_PATH void *leaf_descriptor(struct page_map_leaf *leaf, const void *pointer)
{
    return atomic_load_explicit(
        &leaf->descriptors[page_map_unit((uintptr_t)pointer)],
        memory_order_relaxed);
}

/* The entry of an address; 0 also when it cannot be a block's. */
FAST_PATH uint32_t page_map_entry(const void *pointer)
{
    struct page_map_leaf *leaf = page_map_leaf(pointer);
    return likely(leaf != NULL) ? leaf_entry(leaf, pointer) : 0;
}

/* The descriptor of an address whose entry is not 0. */
FAST_PATH void *page_map_descriptor(const void *pointer)
{
    struct page_map_leaf *leaf =
        atomic_load_explicit(&page_map_root[page_map_slot((uintptr_t)pointer)],
                             memory_order_acquire);
    return leaf_descriptor(leaf, pointer);
}

/*
 * The leaf that most blocks of a thread are in.  Comparing with its slot makes
 * all checks of a pointer in one step: it finds addresses that are misaligned,
 * not in user space, or of no leaf, and those of other leaves, which go through
 * the root.
 */
struct page_map_home {
    uint64_t slot;
    struct page_map_leaf *leaf;
};

/* At home nowhere: the slot of no address. */
#define PAGE_MAP_NOWHERE                                                       \
    {                                                                          \
        .slot = UINT64_MAX                                                     \
    }

FAST_PATH bool page_map_is_home(const struct page_map_home *home,
                                const void *pointer)
{
    return page_map_slot((uintptr_t)pointer) == home->slot;
}

/* Makes the leaf of a block the home. */
static inline void page_map_settle(struct page_map_home *home,
                                   const void *block)
{
    if (likely(page_map_is_home(home, block)))
        return;
    home->leaf = page_map_leaf(block);
    home->slot = page_map_slot((uintptr_t)block);
}

/* Replaces the descriptor of an address whose entry is not 0, if it is still
 * `before`.  Relaxed: whoever replaces it has the range, and knows of it
 * through the pointer. */
static inline bool page_map_replace(const void *pointer, void *before,
                                    void *after)
{
    struct page_map_leaf *leaf = page_map_leaf(pointer);
    return atomic_compare_exchange_strong_explicit(
        &leaf->descriptors[page_map_unit((uintptr_t)pointer)], &before, after,
        memory_order_relaxed, memory_order_relaxed);
}

FAST_PATH bool page_map_is_slab(uint32_t entry)
{
    return entry >= ENTRY_BIN_LIMIT;
}

FAST_PATH unsigned page_map_class(uint32_t entry)
{
    return (entry & (ENTRY_BIN_LIMIT - 1)) >> ENTRY_BIN_SHIFT;
}

static inline uint32_t page_map_slab_entry(uint32_t owner, unsigned class)
{
    return owner << ENTRY_OWNER_SHIFT | class << ENTRY_BIN_SHIFT;
}

/* Makes the leaves of a range, so that page_map_set() cannot fail there.
 * Returns false when out of memory. */
bool page_map_reserve(uintptr_t base, size_t bytes);

/* Maps zeroed memory at a multiple of `alignment` (os_map_aligned()), and makes
 * the leaves that it needs.  NULL: out of memory for either.  In this order,
 * since leaves stay for ever: none is to be made for what cannot be mapped. */
void *page_map_obtain(size_t bytes, size_t alignment);

/* Enters `units` units from `base`, whose leaves exist. */
void page_map_set(uintptr_t base, size_t units, uint32_t entry,
                  void *descriptor);

/* Bytes of leaves. */
size_t page_map_bytes(void);

#endif
