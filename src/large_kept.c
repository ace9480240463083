/* SPDX-License-Identifier: MIT */
#include "large_kept.h"

#include <stdatomic.h>

#include "compiler.h"
#include "os.h"
#include "page_map.h"

enum {
    KEPT_COUNT = 256,
    /* Tries to take or to put a range when other threads are faster. */
    TRIES_MAX = 8,
    /* Ranges are unmapped by so many units at a time: the kernel needs 10 to
     * 20 us for their pages. */
    DROP_UNITS = 2,
    /* Ages are counted in steps of 34 ms; what is older than half a second is
     * unmapped by kept_drop_step(). */
    AGE_SHIFT = 25,
    AGE_MAX = 500 * 1000 * 1000 >> AGE_SHIFT,
    AGE_AHEAD = 64,
};

/*
 * A kept range in one word, for compare-and-swap: when it was freed, its
 * length and its base, both in units.  0: none.
 *
 * The word says all there is to know of the range.  So a word that has been
 * away and come back means the same range as before, and whoever replaces it
 * owns what the replacement leaves out.
 */
typedef uint64_t range;
enum {
    FREED_BITS = 13,
    LENGTH_BITS = 20, /* 64 GiB */
    LENGTH_SHIFT = FREED_BITS,
    BASE_SHIFT = FREED_BITS + LENGTH_BITS,
};
#define FREED_MASK ((UINT64_C(1) << FREED_BITS) - 1)
#define LENGTH_MAX ((UINT64_C(1) << LENGTH_BITS) - 1)

_Static_assert(ADDRESS_BITS - UNIT_SHIFT + BASE_SHIFT <= 64, "a base fits");

/*
 * The places of ranges.  All changes are compare-and-swaps that both acquire
 * and release: what the last user of a range wrote there happens before it is
 * the next one's, by whatever joins and cuts.
 */
static _Alignas(CACHE_LINE_PAIR) _Atomic(range) kept[KEPT_COUNT];

/* Places above this one have never been used.  Relaxed: who misses a new one
 * does without it. */
static _Alignas(CACHE_LINE_PAIR) _Atomic(unsigned) kept_end;

/* --- Ranges --------------------------------------------------------------- */

static range range_make(uint64_t base, uint64_t units, uint64_t freed)
{
    CHECK(base != 0 && units != 0 && units <= LENGTH_MAX);
    return base << BASE_SHIFT | units << LENGTH_SHIFT | (freed & FREED_MASK);
}

static uint64_t base_of(range from)
{
    return from >> BASE_SHIFT;
}

static uint64_t units_of(range from)
{
    return from >> LENGTH_SHIFT & LENGTH_MAX;
}

static uint64_t end_of(range from)
{
    return base_of(from) + units_of(from);
}

/* Another thread's clock may have been read later than `now`. */
static uint64_t age_of(range from, uint64_t now)
{
    uint64_t age = (now - from) & FREED_MASK;
    return age <= FREED_MASK - AGE_AHEAD ? age : 0;
}

static uint64_t age_clock(void)
{
    return os_now_coarse() >> AGE_SHIFT;
}

/* A part of a range; 0 when it is empty. */
static range part(range whole, uint64_t base, uint64_t end)
{
    return base == end ? 0 : range_make(base, end - base, whole);
}

/* Two neighbours as one, which has the age of the longer one: what is used
 * now and then does not keep much that is not. */
static range joined(range low, range high)
{
    CHECK(end_of(low) == base_of(high));
    return range_make(base_of(low), units_of(low) + units_of(high),
                      units_of(low) >= units_of(high) ? low : high);
}

static bool can_join(range low, range high)
{
    return low != 0 && high != 0 && end_of(low) == base_of(high) &&
           units_of(low) + units_of(high) <= LENGTH_MAX;
}

static void *start_of(range from)
{
    return (void *)(uintptr_t)(base_of(from) << UNIT_SHIFT);
}

static size_t bytes_of(range from)
{
    return units_of(from) << UNIT_SHIFT;
}

/* Unmaps a range that is not kept, if it is one.  Returns the bytes. */
static size_t unmap(range from);

/* --- Places --------------------------------------------------------------- */

static unsigned places(void)
{
    return atomic_load_explicit(&kept_end, memory_order_relaxed);
}

/* What lies at a place; to be confirmed by replace(). */
static range look(unsigned place)
{
    return atomic_load_explicit(&kept[place], memory_order_relaxed);
}

static bool replace(unsigned place, range before, range after)
{
    return atomic_compare_exchange_strong_explicit(&kept[place], &before, after,
                                                   memory_order_acq_rel,
                                                   memory_order_relaxed);
}

/* Puts a range where nothing is, the lowest places first.  False: there is no
 * such place. */
static bool put_in_empty_place(range new)
{
    for (unsigned i = 0; i < KEPT_COUNT; i++) {
        if (look(i) != 0 || !replace(i, 0, new))
            continue;
        unsigned end = places();
        while (end <= i && !atomic_compare_exchange_weak_explicit(
                               &kept_end, &end, i + 1, memory_order_relaxed,
                               memory_order_relaxed))
            ;
        return true;
    }
    return false;
}

/* The place of the shortest range, when all are taken. */
static unsigned shortest_place(range *shortest)
{
    unsigned place = 0;
    *shortest = look(0);
    for (unsigned i = 1; i < KEPT_COUNT; i++) {
        range now = look(i);
        if (units_of(now) >= units_of(*shortest))
            continue;
        place = i;
        *shortest = now;
    }
    return place;
}

/* Puts a range without joining it.  Where all places are taken, the shortest of
 * all has to give way.  Returns the range that has no place now; 0: none. */
static range put_alone(range new)
{
    for (int tries = 0; tries < TRIES_MAX; tries++) {
        if (put_in_empty_place(new))
            return 0;
        range shortest;
        unsigned place = shortest_place(&shortest);
        if (units_of(shortest) >= units_of(new))
            return new;
        if (replace(place, shortest, new))
            return shortest;
    }
    return new;
}

/* The place of a neighbour below (or above); KEPT_COUNT: there is none. */
static unsigned neighbour(range new, bool below, range *found)
{
    unsigned end = places();
    for (unsigned i = 0; i < end; i++) {
        *found = look(i);
        if (below ? can_join(*found, new) : can_join(new, *found))
            return i;
    }
    *found = 0;
    return KEPT_COUNT;
}

/*
 * Puts a range, joined with its neighbours.  The joined range replaces one of
 * them where it lies, so that it is out of others' sight for no moment.  Two
 * threads that put neighbours at once may miss each other; rejoin() mends it.
 * Returns a range that has no place now, which may be another; 0: none.
 */
static range put(range new)
{
    range low, high;
    unsigned below = neighbour(new, true, &low);
    unsigned above = neighbour(new, false, &high);
    if (low != 0 && replace(below, low, joined(low, new))) {
        low = joined(low, new);
        if (!can_join(low, high) || !replace(above, high, 0))
            return 0;
        if (replace(below, low, joined(low, high)))
            return 0;
        /* The new one has its place; the one above has lost its. */
        return put_alone(high);
    }
    if (high != 0 && replace(above, high, joined(new, high)))
        return 0;
    return put_alone(new);
}

/* Joins neighbours that lie apart.  Whether there were any. */
static bool rejoin(void)
{
    bool any = false;
    unsigned end = places();
    for (unsigned i = 0; i < end; i++) {
        range high;
        range low = look(i);
        if (low == 0 || neighbour(low, false, &high) == KEPT_COUNT ||
            !replace(i, low, 0))
            continue;
        unmap(put(low));
        any = true;
    }
    return any;
}

/* --- Taking --------------------------------------------------------------- */

/* The highest base at which a range has as many units; 0: it has not. */
static uint64_t fit(range from, uint64_t units, uint64_t alignment)
{
    if (from == 0 || units_of(from) < units)
        return 0;
    uint64_t base = (end_of(from) - units) & ~(alignment - 1);
    return base >= base_of(from) ? base : 0;
}

/* The place of the shortest range that has `units`; of several the highest,
 * since mappings grow downwards: what is low is used last and can go back. */
static unsigned best_place(uint64_t units, uint64_t alignment, range *best)
{
    unsigned place = KEPT_COUNT;
    unsigned end = places();
    *best = 0;
    for (unsigned i = 0; i < end; i++) {
        range now = look(i);
        if (fit(now, units, alignment) == 0)
            continue;
        if (place == KEPT_COUNT || units_of(now) < units_of(*best) ||
            (units_of(now) == units_of(*best) && now > *best)) {
            place = i;
            *best = now;
        }
    }
    return place;
}

/* Takes `units` at `base` out of the range at a place, and leaves what is
 * before and behind. */
static bool cut(unsigned place, range from, uint64_t base, uint64_t units)
{
    range before = part(from, base_of(from), base);
    range behind = part(from, base + units, end_of(from));
    if (!replace(place, from, before != 0 ? before : behind))
        return false;
    if (before != 0 && behind != 0)
        unmap(put_alone(behind));
    return true;
}

uintptr_t kept_take(size_t bytes, size_t alignment)
{
    uint64_t units = bytes >> UNIT_SHIFT;
    for (int tries = 0; tries < TRIES_MAX; tries++) {
        range found;
        unsigned place = best_place(units, alignment >> UNIT_SHIFT, &found);
        if (place == KEPT_COUNT && !rejoin())
            return 0;
        if (place == KEPT_COUNT)
            continue;
        uint64_t base = fit(found, units, alignment >> UNIT_SHIFT);
        if (cut(place, found, base, units))
            return base << UNIT_SHIFT;
    }
    return 0;
}

bool kept_fits(size_t bytes, size_t alignment)
{
    range found;
    return best_place(bytes >> UNIT_SHIFT, alignment >> UNIT_SHIFT, &found) !=
           KEPT_COUNT;
}

bool kept_take_at(uintptr_t base, size_t bytes)
{
    uint64_t unit = base >> UNIT_SHIFT;
    uint64_t units = bytes >> UNIT_SHIFT;
    unsigned end = places();
    for (unsigned i = 0; i < end; i++) {
        range now = look(i);
        if (now != 0 && base_of(now) == unit && units_of(now) >= units)
            return cut(i, now, unit, units);
    }
    return false;
}

uintptr_t kept_extend(size_t bytes, size_t *fresh)
{
    unsigned lowest = KEPT_COUNT;
    range found = 0;
    unsigned end = places();
    for (unsigned i = 0; i < end; i++) {
        range now = look(i);
        if (now != 0 && (found == 0 || now < found)) {
            lowest = i;
            found = now;
        }
    }
    uint64_t units = bytes >> UNIT_SHIFT;
    if (found == 0 || units_of(found) >= units || end_of(found) <= units)
        return 0;
    uintptr_t base = (end_of(found) - units) << UNIT_SHIFT;
    size_t lacking = bytes - (units_of(found) << UNIT_SHIFT);
    if (!page_map_reserve(base, lacking) || !os_map_at((void *)base, lacking))
        return 0;
    *fresh = lacking;
    if (replace(lowest, found, 0))
        return base;
    /* Another thread has taken some of it meanwhile. */
    kept_give(base, lacking);
    return 0;
}

/* --- Giving --------------------------------------------------------------- */

static range range_of(uintptr_t base, size_t bytes)
{
    return range_make(base >> UNIT_SHIFT, bytes >> UNIT_SHIFT, age_clock());
}

/* What the system does not unmap gives its pages back and is kept.  If that
 * takes the last place from another one, its pages go back too, and only its
 * address space is lost. */
static size_t unmap(range from)
{
    if (from == 0)
        return 0;
    if (os_unmap(start_of(from), bytes_of(from)))
        return bytes_of(from);
    os_purge(start_of(from), bytes_of(from));
    range lost = put(range_make(base_of(from), units_of(from), age_clock()));
    if (lost != 0)
        os_purge(start_of(lost), bytes_of(lost));
    return 0;
}

void kept_give(uintptr_t base, size_t bytes)
{
    if (bytes >> UNIT_SHIFT <= LENGTH_MAX)
        unmap(put(range_of(base, bytes)));
    else if (!os_unmap((void *)base, bytes))
        os_purge((void *)base, bytes);
}

/* --- Dropping ------------------------------------------------------------- */

/* The place of the range that was freed first; of several the lowest. */
static unsigned oldest_place(uint64_t now, range *oldest)
{
    unsigned place = KEPT_COUNT;
    unsigned end = places();
    for (unsigned i = 0; i < end; i++) {
        range next = look(i);
        if (next == 0)
            continue;
        if (place == KEPT_COUNT || age_of(next, now) > age_of(*oldest, now) ||
            (age_of(next, now) == age_of(*oldest, now) && next < *oldest)) {
            place = i;
            *oldest = next;
        }
    }
    return place;
}

/* Unmaps the low end of a range, at most so many units: blocks are cut from
 * the other end.  Returns the bytes. */
static size_t drop_piece(unsigned place, range from, uint64_t units)
{
    if (units > units_of(from))
        units = units_of(from);
    if (!cut(place, from, base_of(from), units))
        return 0;
    return unmap(range_make(base_of(from), units, from));
}

size_t kept_drop_step(size_t bound, bool aged_too)
{
    bool surplus = kept_bytes() > bound;
    if (places() == 0 || (!surplus && !aged_too))
        return 0;
    uint64_t now = age_clock();
    range oldest;
    unsigned place = oldest_place(now, &oldest);
    if (place == KEPT_COUNT || (!surplus && age_of(oldest, now) <= AGE_MAX))
        return 0;
    return drop_piece(place, oldest, DROP_UNITS);
}

size_t kept_drop(size_t bytes)
{
    uint64_t now = age_clock();
    size_t dropped = 0;
    for (unsigned i = 0; i < KEPT_COUNT && dropped < bytes; i++) {
        range oldest;
        unsigned place = oldest_place(now, &oldest);
        if (place == KEPT_COUNT)
            break;
        dropped += drop_piece(place, oldest,
                              (bytes - dropped + UNIT_BYTES - 1) >> UNIT_SHIFT);
    }
    return dropped != 0 ? dropped : kept_drop_all();
}

size_t kept_drop_all(void)
{
    size_t bytes = 0;
    unsigned end = places();
    for (unsigned i = 0; i < end; i++) {
        range next = look(i);
        if (next != 0 && replace(i, next, 0))
            bytes += unmap(next);
    }
    return bytes;
}

size_t kept_bytes(void)
{
    uint64_t units = 0;
    unsigned end = places();
    for (unsigned i = 0; i < end; i++)
        units += units_of(look(i));
    return units << UNIT_SHIFT;
}
