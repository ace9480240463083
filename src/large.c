/* SPDX-License-Identifier: MIT */
/* Allocating, freeing and resizing large blocks. */
#include "large_internal.h"

#include <string.h>

#include "compiler.h"
#include "fatal.h"
#include "os.h"
#include "page_map.h"

/* The whole of the user address space: what no block can have. */
#define SIZE_LIMIT ((size_t)1 << ADDRESS_BITS)

static struct {
    _Alignas(CACHE_LINE_PAIR) _Atomic(uint64_t) live_blocks;
    _Atomic(uint64_t) live_bytes;
    _Atomic(uint64_t) peak_bytes;
    _Atomic(uint64_t) maps;
    _Atomic(uint64_t) reuses;
} sums;

static size_t round_up(size_t bytes, size_t multiple)
{
    return (bytes + multiple - 1) & ~(multiple - 1);
}

size_t large_good_size(size_t size)
{
    if (size > SIZE_LIMIT)
        return size;
    return round_up(size + (size == 0), PAGE_BYTES);
}

/* --- Allocate and free ---------------------------------------------------- */

/* Changes the sum of live bytes, and the peak with it. */
static void count_live(size_t more, size_t less)
{
    uint64_t live = ADD(sums.live_bytes, more - less) + more - less;
    uint64_t peak = GET(sums.peak_bytes);
    while (live > peak && !atomic_compare_exchange_weak_explicit(
                              &sums.peak_bytes, &peak, live,
                              memory_order_relaxed, memory_order_relaxed))
        ;
}

void *large_allocate(size_t size, size_t alignment, bool zeroed)
{
    if (size > SIZE_LIMIT || alignment > SIZE_LIMIT)
        return NULL;
    size_t bytes = round_up(size + (size == 0), UNIT_BYTES);
    if (alignment < UNIT_BYTES)
        alignment = UNIT_BYTES;
    struct large *large = large_take_kept(bytes, alignment);
    if (large == NULL && alignment == UNIT_BYTES)
        large = large_grow_kept(bytes);
    bool used = large != NULL;
    if (!used)
        large = large_map(bytes, alignment);
    if (large == NULL)
        return NULL;
    if (used)
        ADD(sums.reuses, 1);
    else
        ADD(sums.maps, 1);
    void *block = (void *)GET(large->base);
    SET(large->usable, large_good_size(size));
    SET(large->state, LARGE_LIVE);
    large_enter_live(large);
    ADD(sums.live_blocks, 1);
    count_live(GET(large->usable), 0);
    if (used && zeroed)
        memset(block, 0, size);
    return block;
}

/* The descriptor of the large block at an address whose page map entry is
 * ENTRY_LARGE; NULL when the block is not there. */
static struct large *find(const void *block)
{
    struct large *large = page_map_descriptor(block);
    return GET(large->base) == (uintptr_t)block ? large : NULL;
}

void large_free(void *block)
{
    struct large *large = find(block);
    if (large == NULL)
        fatal_misuse("invalid free", block);
    uint32_t live = LARGE_LIVE;
    if (!atomic_compare_exchange_strong_explicit(
            &large->state, &live, LARGE_FREED, memory_order_relaxed,
            memory_order_relaxed))
        fatal_misuse("double free", block);
    SUB(sums.live_blocks, 1);
    size_t usable = GET(large->usable);
    large_keep(large, SUB(sums.live_bytes, usable) - usable);
}

size_t large_usable_size(const void *block, const char *what)
{
    const struct large *large = find(block);
    if (large == NULL || GET(large->state) != LARGE_LIVE)
        fatal_misuse(what, block);
    return GET(large->usable);
}

/* --- Resize --------------------------------------------------------------- */

static void *set_usable(struct large *large, size_t size)
{
    size_t usable = large_good_size(size);
    size_t before = GET(large->usable);
    SET(large->usable, usable);
    count_live(usable, before);
    return (void *)GET(large->base);
}

void *large_resize(void *block, size_t size)
{
    struct large *large = find(block);
    if (size > SIZE_LIMIT)
        return NULL;
    size_t mapped = GET(large->mapped);
    size_t bytes = round_up(size, UNIT_BYTES);
    if (bytes <= mapped && mapped >> FIT_SHIFT <= bytes)
        return set_usable(large, size);
    if (large_stretch(large, bytes))
        large_enter_live(large);
    else if (bytes > mapped)
        return NULL;
    return set_usable(large, size);
}

struct large_totals large_totals(void)
{
    struct large_totals totals = {
        .live_blocks = GET(sums.live_blocks),
        .live_bytes = GET(sums.live_bytes),
        .peak_bytes = GET(sums.peak_bytes),
        .cached_bytes = large_kept_bytes(),
        .maps = GET(sums.maps),
        .reuses = GET(sums.reuses),
    };
    return totals;
}
