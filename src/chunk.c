/* SPDX-License-Identifier: MIT */
#include "chunk.h"

#include <stdatomic.h>

#include "compiler.h"
#include "metadata.h"
#include "os.h"
#include "page_map.h"

enum { CHUNK_UNITS = CHUNK_BYTES / UNIT_BYTES };

/*
 * A range that is being granted, in one word for compare-and-swap: the index of
 * its first free unit in the upper half, the count of free units in the lower.
 */
typedef uint64_t span;
enum { SPAN_UNIT_SHIFT = 32 };

static _Atomic(span) current;

/* A place for a reserved range; there are as many as were ever needed at once.
 * They are metadata, and stay in their list. */
struct reserve {
    _Atomic(span) left;
    struct reserve *next;
};

static _Atomic(struct reserve *) reserves;

static struct reserve *first_reserve(void)
{
    /* Pairs with add_reserve(). */
    return atomic_load_explicit(&reserves, memory_order_acquire);
}

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

static uintptr_t span_end(span from)
{
    return span_base(from) + (uintptr_t)span_units(from) * UNIT_BYTES;
}

/* Takes `units` from the low end; 0 when there are not as many.  Acquires the
 * page map leaves that grow_slow() or install() published. */
static uintptr_t take(_Atomic(span) *from, unsigned units)
{
    span now = atomic_load_explicit(from, memory_order_relaxed);
    span rest;
    do {
        if (span_units(now) < units)
            return 0;
        rest = span_make(span_base(now) + (uintptr_t)units * UNIT_BYTES,
                         span_units(now) - units);
    } while (!atomic_compare_exchange_weak_explicit(
        from, &now, rest, memory_order_acquire, memory_order_relaxed));
    return span_base(now);
}

static uintptr_t take_reserved(unsigned units)
{
    uintptr_t base = 0;
    for (struct reserve *place = first_reserve(); place != NULL && base == 0;
         place = place->next)
        base = take(&place->left, units);
    return base;
}

bool chunk_has_reserved(unsigned units)
{
    for (struct reserve *place = first_reserve(); place != NULL;
         place = place->next)
        if (span_units(atomic_load_explicit(&place->left,
                                            memory_order_relaxed)) >= units)
            return true;
    return false;
}

static uintptr_t obtain(size_t bytes)
{
    return (uintptr_t)page_map_obtain(bytes, UNIT_BYTES);
}

/* Unmaps a range that nobody else has.  False: the system refuses. */
static bool drop(span from)
{
    size_t bytes = span_end(from) - span_base(from);
    return bytes == 0 || os_unmap((void *)span_base(from), bytes);
}

/* Maps a chunk and takes its first units.  The rest is for all, in place of
 * what was too short; unless another thread has brought a chunk meanwhile.
 * Near a limit, or if its pages would all come at once, maps just these. */
static SLOW_PATH uintptr_t grow_slow(unsigned units)
{
    span before = atomic_load_explicit(&current, memory_order_relaxed);
    uintptr_t base = os_fills_mappings() ? 0 : obtain(CHUNK_BYTES);
    if (base == 0)
        return units != 0 ? obtain((size_t)units * UNIT_BYTES) : 0;
    uintptr_t rest = base + (size_t)units * UNIT_BYTES;
    span update = span_make(rest, CHUNK_UNITS - units);
    /* Publishes the leaves to take(). */
    bool done = span_units(before) < span_units(update) &&
                atomic_compare_exchange_strong_explicit(&current, &before,
                                                        update,
                                                        memory_order_release,
                                                        memory_order_relaxed);
    drop(done ? before : update);
    return base;
}

void chunk_map_ahead(void)
{
    if (atomic_load_explicit(&current, memory_order_relaxed) == 0)
        grow_slow(0);
}

size_t chunk_drop(void)
{
    /* Acquires the leaves, to publish them again. */
    span left = atomic_exchange_explicit(&current, 0, memory_order_acquire);
    if (drop(left))
        return (size_t)span_units(left) * UNIT_BYTES;
    span none = 0;
    /* Unless another thread has brought a chunk. */
    atomic_compare_exchange_strong_explicit(&current, &none, left,
                                            memory_order_release,
                                            memory_order_relaxed);
    return 0;
}

size_t chunk_left_bytes(void)
{
    return (size_t)span_units(
               atomic_load_explicit(&current, memory_order_relaxed)) *
           UNIT_BYTES;
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

/* --- Reserving ------------------------------------------------------------ */

/* Two ranges joined that lie side by side; 0: they do not. */
static span join(span one, span other)
{
    uint64_t units = (uint64_t)span_units(one) + span_units(other);
    if (units > UINT32_MAX)
        return 0;
    if (span_end(one) == span_base(other))
        return span_make(span_base(one), units);
    return span_end(other) == span_base(one)
               ? span_make(span_base(other), units)
               : 0;
}

/* What a place holds after a range is put there: joined with what lies beside
 * it, or alone in an empty place; 0: neither is possible. */
static span with(span now, span update, bool side_by_side)
{
    if (side_by_side)
        return span_units(now) != 0 ? join(now, update) : 0;
    return span_units(now) == 0 ? update : 0;
}

/* Puts a range into an existing place. */
static bool put(span update, bool side_by_side)
{
    for (struct reserve *place = first_reserve(); place != NULL;
         place = place->next) {
        span now = atomic_load_explicit(&place->left, memory_order_relaxed);
        span next = with(now, update, side_by_side);
        /* Publishes the leaves to take(). */
        if (next != 0 && atomic_compare_exchange_strong_explicit(
                             &place->left, &now, next, memory_order_release,
                             memory_order_relaxed))
            return true;
    }
    return false;
}

static bool add_reserve(span update)
{
    struct reserve *place =
        metadata_allocate(sizeof(*place), _Alignof(struct reserve));
    if (place == NULL)
        return false;
    atomic_init(&place->left, update);
    place->next = first_reserve();
    /* Publishes the place, and the leaves to take(). */
    while (!atomic_compare_exchange_weak_explicit(&reserves, &place->next,
                                                  place, memory_order_release,
                                                  memory_order_acquire))
        ;
    return true;
}

static bool install(span update)
{
    return put(update, true) || put(update, false) || add_reserve(update);
}

bool chunk_reserve(size_t bytes, size_t metadata)
{
    size_t units = (bytes + UNIT_BYTES - 1) >> UNIT_SHIFT;
    size_t rounded = units * UNIT_BYTES;
    if (units > UINT32_MAX)
        return false;
    if (units == 0)
        return metadata_reserve(metadata);
    uintptr_t base = obtain(rounded);
    if (base == 0)
        return false;
    if (metadata_reserve(metadata)) {
        if (!os_populate((void *)base, rounded))
            os_touch((void *)base, rounded);
        /* This also touches the page map's lines of the range. */
        page_map_set(base, units, 0, NULL);
        if (install(span_make(base, units)))
            return true;
    }
    os_unmap((void *)base, rounded);
    return false;
}
