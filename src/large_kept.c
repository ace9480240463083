/* SPDX-License-Identifier: MIT */
#include "large_kept.h"

#include <stdatomic.h>

#include "compiler.h"
#include "large_range.h"
#include "os.h"
#include "page_map.h"

enum {
    KEPT_COUNT = 256,
    /* Tries to take or to put a range when other threads are faster. */
    TRIES_MAX = 8,
    /* Ranges are unmapped by so many units at a time: the kernel needs about
     * 10 us for their pages, and no less for half as many (doc/design.md). */
    DROP_UNITS = 4,
    /* What is older than half a second is unmapped by kept_drop_step(). */
    AGE_MAX = 500 * 1000 * 1000 >> RANGE_AGE_SHIFT,
};

/*
 * The places of ranges.  All changes are compare-and-swaps that both acquire
 * and release: what the last user of a range wrote there happens before it is
 * the next one's, by whatever joins and cuts.
 */
static _Alignas(CACHE_LINE_PAIR) _Atomic(range) kept[KEPT_COUNT];

/* Places above this one have never been used.  Relaxed: who misses a new one
 * does without it. */
static _Alignas(CACHE_LINE_PAIR) _Atomic(unsigned) kept_end;

/* A range that was seen at a place; an empty one: none was. */
struct seen {
    range what;
    unsigned place;
};

static uint64_t age_clock(void)
{
    return os_now_coarse() >> RANGE_AGE_SHIFT;
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

static void find_neighbours(range new, struct seen *below, struct seen *above)
{
    unsigned end = places();
    *below = *above = (struct seen){0};
    for (unsigned i = 0; i < end; i++) {
        range now = look(i);
        if (can_join(now, new))
            *below = (struct seen){now, i};
        else if (can_join(new, now))
            *above = (struct seen){now, i};
    }
}

/*
 * Puts a range, joined with its neighbours.  The joined range replaces one of
 * them where it lies, so that it is out of others' sight for no moment.  Two
 * threads that put neighbours at once may miss each other; rejoin() mends it.
 * Returns a range that has no place now, which may be another; 0: none.
 */
static range put(range new)
{
    struct seen low, high;
    find_neighbours(new, &low, &high);
    if (low.what != 0 && replace(low.place, low.what, joined(low.what, new))) {
        new = joined(low.what, new);
        if (!can_join(new, high.what) || !replace(high.place, high.what, 0))
            return 0;
        if (replace(low.place, new, joined(new, high.what)))
            return 0;
        /* The new one has its place; the one above has lost its. */
        return put_alone(high.what);
    }
    if (high.what != 0 &&
        replace(high.place, high.what, joined(new, high.what)))
        return 0;
    return put_alone(new);
}

/* Joins neighbours that lie apart.  Whether there were any. */
static bool rejoin(void)
{
    bool any = false;
    unsigned end = places();
    for (unsigned i = 0; i < end; i++) {
        struct seen below, above;
        range low = look(i);
        if (low == 0)
            continue;
        find_neighbours(low, &below, &above);
        if (above.what == 0 || !replace(i, low, 0))
            continue;
        unmap(put(low));
        any = true;
    }
    return any;
}

/* --- Taking --------------------------------------------------------------- */

/* The place of the shortest range that has `units`; of several the highest,
 * since mappings grow downwards: what is low is used last and can go back. */
static unsigned best_place(uint64_t units, uint64_t alignment, bool unused,
                           range *best)
{
    unsigned place = KEPT_COUNT;
    unsigned end = places();
    *best = 0;
    for (unsigned i = 0; i < end; i++) {
        range now = look(i);
        if (is_unused(now) != unused || fit(now, units, alignment) == 0)
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

static uintptr_t take(size_t bytes, size_t alignment, bool unused)
{
    uint64_t units = bytes >> UNIT_SHIFT;
    alignment >>= UNIT_SHIFT;
    for (int tries = 0; tries < TRIES_MAX; tries++) {
        range found;
        unsigned place = best_place(units, alignment, unused, &found);
        if (place == KEPT_COUNT && !rejoin())
            return 0;
        if (place == KEPT_COUNT)
            continue;
        uint64_t base = fit(found, units, alignment);
        if (cut(place, found, base, units))
            return base << UNIT_SHIFT;
    }
    return 0;
}

uintptr_t kept_take(size_t bytes, size_t alignment)
{
    return take(bytes, alignment, false);
}

uintptr_t kept_take_unused(size_t bytes, size_t alignment)
{
    return take(bytes, alignment, true);
}

bool kept_fits(size_t bytes, size_t alignment)
{
    range found;
    return best_place(bytes >> UNIT_SHIFT, alignment >> UNIT_SHIFT, false,
                      &found) != KEPT_COUNT;
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

/* The lowest range that was used, and the unused one in front of it. */
static void find_lowest(struct seen *lowest, struct seen *front)
{
    unsigned end = places();
    *lowest = *front = (struct seen){0};
    for (unsigned i = 0; i < end; i++) {
        range now = look(i);
        if (now != 0 && !is_unused(now) &&
            (lowest->what == 0 || now < lowest->what))
            *lowest = (struct seen){now, i};
    }
    for (unsigned i = 0; i < end; i++) {
        range now = look(i);
        if (is_unused(now) && end_of(now) == base_of(lowest->what))
            *front = (struct seen){now, i};
    }
}

uintptr_t kept_front(size_t bytes, size_t *lacking)
{
    struct seen lowest, front;
    uint64_t units = bytes >> UNIT_SHIFT;
    find_lowest(&lowest, &front);
    uint64_t length = units_of(front.what) + units_of(lowest.what);
    if (lowest.what == 0 || length >= units)
        return 0;
    *lacking = (units - length) << UNIT_SHIFT;
    return (end_of(lowest.what) - length) << UNIT_SHIFT;
}

uintptr_t kept_extend(size_t bytes, size_t *fresh)
{
    struct seen lowest, front;
    uint64_t units = bytes >> UNIT_SHIFT;
    find_lowest(&lowest, &front);
    uint64_t length = units_of(lowest.what);
    if (length >= units || units_of(front.what) < units - length)
        return 0;
    uint64_t base = end_of(lowest.what) - units;
    if (!cut(front.place, front.what, base, units - length))
        return 0;
    if (replace(lowest.place, lowest.what, 0)) {
        *fresh = (units - length) << UNIT_SHIFT;
        return base << UNIT_SHIFT;
    }
    /* Another thread has taken some of it meanwhile. */
    unmap(put(part(front.what, base, end_of(front.what))));
    return 0;
}

/* --- Giving --------------------------------------------------------------- */

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
    range lost = put(range_make(base_of(from), units_of(from),
                                age_clock() & RANGE_SINCE_MASK));
    if (lost != 0)
        os_purge(start_of(lost), bytes_of(lost));
    return 0;
}

static void give(uintptr_t base, size_t bytes, range like)
{
    uint64_t units = bytes >> UNIT_SHIFT;
    if (units <= RANGE_LENGTH_MAX)
        unmap(put(range_make(base >> UNIT_SHIFT, units, like)));
    else if (!os_unmap((void *)base, bytes))
        os_purge((void *)base, bytes);
}

void kept_give(uintptr_t base, size_t bytes)
{
    give(base, bytes, age_clock() & RANGE_SINCE_MASK);
}

void kept_give_unused(uintptr_t base, size_t bytes)
{
    give(base, bytes, age_clock() | RANGE_UNUSED);
}

/* --- Dropping ------------------------------------------------------------- */

/* Whether a range is older than another one, or as old and lower. */
static bool is_older(range left, range right, uint64_t now)
{
    uint64_t age = age_of(left, now), other = age_of(right, now);
    return age > other || (age == other && left < right);
}

/* Finds the oldest of the ranges that are used, and of those that are not.
 * Returns the bytes of the used ones. */
static size_t find_oldest(uint64_t now, struct seen *used, struct seen *unused)
{
    uint64_t units = 0;
    unsigned end = places();
    *used = *unused = (struct seen){0};
    for (unsigned i = 0; i < end; i++) {
        range next = look(i);
        struct seen *oldest = is_unused(next) ? unused : used;
        if (next != 0 &&
            (oldest->what == 0 || is_older(next, oldest->what, now)))
            *oldest = (struct seen){next, i};
        units += is_unused(next) ? 0 : units_of(next);
    }
    return units << UNIT_SHIFT;
}

/* Unmaps the low end of a range, at most so many units: blocks are cut from
 * the other end.  Returns the bytes. */
static size_t drop_piece(struct seen from, uint64_t units)
{
    if (units > units_of(from.what))
        units = units_of(from.what);
    if (units == 0 || !cut(from.place, from.what, base_of(from.what), units))
        return 0;
    return unmap(range_make(base_of(from.what), units, from.what));
}

static bool is_aged(range from, uint64_t now)
{
    return from != 0 && age_of(from, now) > AGE_MAX;
}

size_t kept_drop_step(size_t bound, bool aged_too)
{
    /* Of a title without large blocks every slow free comes here. */
    if (likely(places() == 0))
        return 0;
    struct seen used, unused;
    uint64_t now = age_clock();
    size_t bytes = find_oldest(now, &used, &unused);
    if (bytes > bound || (aged_too && is_aged(used.what, now)))
        return drop_piece(used, DROP_UNITS);
    /* It has no pages, so that it can go at once. */
    if (aged_too && is_aged(unused.what, now))
        return drop_piece(unused, RANGE_LENGTH_MAX);
    return 0;
}

size_t kept_drop(size_t bytes)
{
    uint64_t now = age_clock();
    size_t dropped = 0;
    for (unsigned i = 0; i < KEPT_COUNT && dropped < bytes; i++) {
        struct seen used, unused;
        size_t rest = bytes - dropped + UNIT_BYTES - 1;
        find_oldest(now, &used, &unused);
        dropped +=
            drop_piece(unused.what != 0 ? unused : used, rest >> UNIT_SHIFT);
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

static size_t sum(bool unused)
{
    uint64_t units = 0;
    unsigned end = places();
    for (unsigned i = 0; i < end; i++) {
        range next = look(i);
        units += is_unused(next) == unused ? units_of(next) : 0;
    }
    return units << UNIT_SHIFT;
}

size_t kept_bytes(void)
{
    return sum(false);
}

size_t kept_unused_bytes(void)
{
    return sum(true);
}
