/* SPDX-License-Identifier: MIT */
#include "large_overflow.h"

#include <stdatomic.h>

#include "compiler.h"

/*
 * The top range of a stack: its first unit, and a generation that each pop
 * increments.  A pop that has read the link of a range fails if that range was
 * popped meanwhile, unless there have been a multiple of 2^32 pops.
 *
 * A range is linked by the word that the page map has for its first unit, which
 * says its length and where the next one starts (encoded as in a range).  Its
 * lowest bit is 0: to a stray pointer it is no block's word.
 *
 * Owner:   of a link, whoever has popped the range or not yet pushed it.
 * Readers: everybody who pops, hence the generation; the page map stays.
 */
typedef uint64_t head_word;
enum { HEAD_BASE_SHIFT = 32 };
_Static_assert(ADDRESS_BITS - UNIT_SHIFT <= 64 - HEAD_BASE_SHIFT,
               "a base fits");
_Static_assert(RANGE_LENGTH_SHIFT > 0, "a link is even");

static _Alignas(CACHE_LINE_PAIR) _Atomic(head_word) heads[OVERFLOW_COUNT];

/* A count: relaxed.  For a moment above the truth, never below. */
static _Atomic(uint64_t) all_units;

static uint64_t top_of(head_word from)
{
    return from >> HEAD_BASE_SHIFT;
}

static head_word head_make(uint64_t top, head_word generation)
{
    return top << HEAD_BASE_SHIFT | (uint32_t)generation;
}

static range read_link(uint64_t base)
{
    void *start = (void *)(uintptr_t)(base << UNIT_SHIFT);
    return (range)(uintptr_t)page_map_descriptor(start);
}

static void write_link(range from, uint64_t next)
{
    void *start = start_of(from);
    uint64_t length = units_of(from) << RANGE_LENGTH_SHIFT;
    page_map_set((uintptr_t)start, 1, page_map_entry(start),
                 (void *)(uintptr_t)(next << RANGE_BASE_SHIFT | length));
}

void overflow_push(enum overflow stack, range new)
{
    _Atomic(head_word) *head = &heads[stack];
    atomic_fetch_add_explicit(&all_units, units_of(new), memory_order_relaxed);
    head_word before = atomic_load_explicit(head, memory_order_relaxed);
    do
        write_link(new, top_of(before));
    /* Publishes the range and its link; pairs with overflow_pop(). */
    while (!atomic_compare_exchange_weak_explicit(
        head, &before, head_make(base_of(new), before), memory_order_release,
        memory_order_relaxed));
}

range overflow_pop(enum overflow stack)
{
    _Atomic(head_word) *head = &heads[stack];
    /* Acquires the link, and the range if the pop succeeds; pairs with
     * overflow_push(). */
    head_word before = atomic_load_explicit(head, memory_order_acquire);
    while (top_of(before) != 0) {
        range link = read_link(top_of(before));
        if (!atomic_compare_exchange_weak_explicit(
                head, &before, head_make(base_of(link), before + 1),
                memory_order_acquire, memory_order_acquire))
            continue;
        atomic_fetch_sub_explicit(&all_units, units_of(link),
                                  memory_order_relaxed);
        return range_make(top_of(before), units_of(link), 0);
    }
    return 0;
}

size_t overflow_bytes(void)
{
    return atomic_load_explicit(&all_units, memory_order_relaxed) << UNIT_SHIFT;
}
