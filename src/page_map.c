/* SPDX-License-Identifier: MIT */
#include "page_map.h"
#include "os.h"

_Atomic(struct page_map_leaf *) page_map_root[ROOT_SLOTS];

static _Atomic(size_t) leaf_bytes;

static bool make_leaf(_Atomic(struct page_map_leaf *) *slot)
{
    if (atomic_load_explicit(slot, memory_order_relaxed) != NULL)
        return true;
    struct page_map_leaf *leaf = os_map(sizeof(*leaf));
    if (leaf == NULL)
        return false;
    struct page_map_leaf *expected = NULL;
    /* Publishes the zeroed leaf to page_map_leaf(). */
    if (atomic_compare_exchange_strong_explicit(
            slot, &expected, leaf, memory_order_release, memory_order_relaxed))
        /* Pairs with page_map_bytes(); a count. */
        atomic_fetch_add_explicit(&leaf_bytes, sizeof(*leaf),
                                  memory_order_relaxed);
    else
        os_unmap(leaf, sizeof(*leaf));
    return true;
}

bool page_map_reserve(uintptr_t base, size_t bytes)
{
    uint64_t last = page_map_slot((base + bytes - 1) & ~(uintptr_t)15);
    if (last >= ROOT_SLOTS)
        return false;
    for (uint64_t slot = page_map_slot(base); slot <= last; slot++)
        if (!make_leaf(&page_map_root[slot]))
            return false;
    return true;
}

void *page_map_obtain(size_t bytes, size_t alignment)
{
    void *base = os_map_aligned(bytes, alignment);
    if (base != NULL && !page_map_reserve((uintptr_t)base, bytes)) {
        os_unmap(base, bytes);
        base = NULL;
    }
    return base;
}

void page_map_set(uintptr_t base, size_t units, uint32_t entry,
                  void *descriptor)
{
    for (size_t i = 0; i < units; i++) {
        uintptr_t address = base + i * UNIT_BYTES;
        struct page_map_leaf *leaf = page_map_leaf((void *)address);
        size_t unit = page_map_unit(address);
        /* Relaxed: published with the address of a block, see the header. */
        atomic_store_explicit(&leaf->descriptors[unit], descriptor,
                              memory_order_relaxed);
        atomic_store_explicit(&leaf->entries[unit], entry,
                              memory_order_relaxed);
    }
}

size_t page_map_bytes(void)
{
    return atomic_load_explicit(&leaf_bytes, memory_order_relaxed);
}
