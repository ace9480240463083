/* SPDX-License-Identifier: MIT */
#include "chunk.h"

#include <stdatomic.h>

#include "compiler.h"
#include "os.h"
#include "page_map.h"

enum {
    CHUNK_UNITS = 64, /* 4 MiB: one kernel call for as much */
    /* Places for reserved memory: as many calls of chunk_reserve() can have
     * something left at once. */
    RESERVE_COUNT = 32,
};

/*
 * A range that is being granted, in one word for compare-and-swap: the number
 * of its first free unit above, the number of free units below.
 */
typedef uint64_t span;
enum { SPAN_UNIT_SHIFT = 32 };

static _Atomic(span) current;
static _Atomic(span) reserves[RESERVE_COUNT];
static _Atomic(bool) any_reserve;

static span span_make(uintptr_t base, size_t units)
{
    return (span)(base >> UNIT_SHIFT) << SPAN_UNIT_SHIFT | units;
}

static uintptr_t span_base(span from)
{
    return (uintptr_t)(from >> SPAN_UNIT_SHIFT) << UNIT_SHIFT;
}

static uint32_t span_units(span from)
{
    return (uint32_t)from;
}

/* Takes `units` from the low end; 0 when there are not as many.  Acquires the
 * page map leaves that install() published. */
static uintptr_t take(_Atomic(span) *from, unsigned units)
{
    span now = atomic_load_explicit(from, memory_order_acquire);
    span rest;
    do {
        if (span_units(now) < units)
            return 0;
        rest = span_make(span_base(now) + (uintptr_t)units * UNIT_BYTES,
                         span_units(now) - units);
    } while (!atomic_compare_exchange_weak_explicit(
        from, &now, rest, memory_order_acquire, memory_order_acquire));
    return span_base(now);
}

static uintptr_t take_reserved(unsigned units)
{
    if (likely(!atomic_load_explicit(&any_reserve, memory_order_relaxed)))
        return 0;
    for (unsigned i = 0; i < RESERVE_COUNT; i++) {
        uintptr_t base = take(&reserves[i], units);
        if (base != 0)
            return base;
    }
    return 0;
}

static uintptr_t map(size_t bytes)
{
    void *address = os_map(bytes);
    if (address == NULL)
        return 0;
    if (!page_map_reserve((uintptr_t)address, bytes)) {
        os_unmap(address, bytes);
        return 0;
    }
    return (uintptr_t)address;
}

/* Maps a chunk and keeps its first units; the rest is for all, unless another
 * thread has brought a chunk meanwhile. */
static SLOW_PATH uintptr_t grow_slow(unsigned units)
{
    size_t bytes = (size_t)CHUNK_UNITS * UNIT_BYTES;
    span before = atomic_load_explicit(&current, memory_order_relaxed);
    uintptr_t base = map(bytes);
    if (base == 0) /* near a limit: just this */
        return units != 0 ? map((size_t)units * UNIT_BYTES) : 0;
    uintptr_t rest = base + (size_t)units * UNIT_BYTES;
    span update = span_make(rest, CHUNK_UNITS - units);
    /* Publishes the leaves to take(). */
    if (span_units(before) >= span_units(update) ||
        !atomic_compare_exchange_strong_explicit(&current, &before, update,
                                                 memory_order_release,
                                                 memory_order_relaxed))
        os_unmap((void *)rest, base + bytes - rest);
    return base;
}

void chunk_map_ahead(void)
{
    if (atomic_load_explicit(&current, memory_order_relaxed) == 0)
        grow_slow(0);
}

struct grant chunk_grant(unsigned units)
{
    uintptr_t base = take_reserved(units);
    if (base != 0)
        return (struct grant){.base = base, .reserved = true};
    base = take(&current, units);
    if (base == 0)
        base = grow_slow(units);
    return (struct grant){.base = base, .reserved = false};
}

/* Puts a reserved range where nothing is left; false when all are in use. */
static bool install(span update)
{
    for (unsigned i = 0; i < RESERVE_COUNT; i++) {
        span now = atomic_load_explicit(&reserves[i], memory_order_relaxed);
        /* Publishes the leaves to take(). */
        if (span_units(now) == 0 &&
            atomic_compare_exchange_strong_explicit(&reserves[i], &now, update,
                                                    memory_order_release,
                                                    memory_order_relaxed)) {
            atomic_store_explicit(&any_reserve, true, memory_order_relaxed);
            return true;
        }
    }
    return false;
}

bool chunk_reserve(size_t bytes)
{
    size_t units = (bytes + UNIT_BYTES - 1) >> UNIT_SHIFT;
    size_t rounded = units * UNIT_BYTES;
    if (units == 0 || units > UINT32_MAX)
        return units == 0;
    uintptr_t base = map(rounded);
    if (base == 0)
        return false;
    if (!os_populate((void *)base, rounded))
        os_touch((void *)base, rounded);
    /* The page map's lines of the range are touched as well. */
    page_map_set(base, units, 0, NULL);
    if (install(span_make(base, units)))
        return true;
    os_unmap((void *)base, rounded);
    return false;
}
