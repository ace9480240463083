/* SPDX-License-Identifier: MIT */
#include "large_kept.h"

#include "compiler.h"
#include "large_overflow.h"
#include "large_places.h"
#include "large_range.h"
#include "os.h"
#include "page_map.h"

enum {
    /* Tries to take a range when other threads are faster, or the system
     * refuses to unmap it. */
    TRIES_MAX = 8,
    /* Ranges are unmapped so many units at a time: the kernel needs about 10 us
     * for their pages, and no less for half as many (doc/design.md). */
    DROP_UNITS = 4,
    /* And their pages so many bytes at a time, if a long one goes whole. */
    PURGE_BYTES = 1 << 20,
    /* What is older than half a second is unmapped by kept_drop_step(). */
    AGE_MAX = 500 * 1000 * 1000 >> RANGE_AGE_SHIFT,
};

static uint64_t age_clock(void)
{
    return os_now_coarse() >> RANGE_AGE_SHIFT;
}

static range make_used(range from)
{
    return range_make(base_of(from), units_of(from),
                      age_clock() & RANGE_SINCE_MASK);
}

/* A range that has lost its place (0: none) waits for another one.  Without
 * pages it can go at once. */
static void settle(range lost)
{
    if (lost == 0)
        return;
    if (!is_unused(lost) || !os_unmap(start_of(lost), bytes_of(lost)))
        overflow_push(OVERFLOW_WAITING, lost);
}

/* Keeps a range, joined with its neighbours. */
static void keep(range new)
{
    settle(places_put(new));
}

/* A place has become empty. */
static void refill(void)
{
    range waiting = overflow_pop(OVERFLOW_WAITING);
    if (waiting == 0)
        waiting = overflow_pop(OVERFLOW_REFUSED);
    if (waiting != 0)
        keep(make_used(waiting));
}

/* Fills the places that have become empty by joining.  False: none has, or
 * nothing waits. */
static bool refill_all(void)
{
    bool any = false;
    unsigned end = places_end();
    for (unsigned i = 0; i < end && overflow_bytes() != 0; i++) {
        if (place_look(i) != 0)
            continue;
        refill();
        any = true;
    }
    return any;
}

/* Makes ranges longer, if possible.  False: nothing has changed. */
static bool put_in_order(void)
{
    range lost;
    bool any = places_rejoin(&lost);
    settle(lost);
    return refill_all() || any;
}

/* --- Taking --------------------------------------------------------------- */

/* The place of the shortest range that fits `units`; the highest of several,
 * since mappings grow downwards: what is low is used last and can go back. */
static unsigned best_place(uint64_t units, uint64_t alignment, bool unused,
                           range *best)
{
    unsigned place = PLACE_COUNT;
    unsigned end = places_end();
    *best = 0;
    for (unsigned i = 0; i < end; i++) {
        range now = place_look(i);
        if (is_unused(now) != unused || fit(now, units, alignment) == 0)
            continue;
        if (place == PLACE_COUNT || units_of(now) < units_of(*best) ||
            (units_of(now) == units_of(*best) && now > *best)) {
            place = i;
            *best = now;
        }
    }
    return place;
}

/* Takes `units` at `base` out of the range at a place, and leaves the parts
 * before and behind. */
static bool cut(unsigned place, range from, uint64_t base, uint64_t units)
{
    range before = part(from, base_of(from), base);
    range behind = part(from, base + units, end_of(from));
    if (!place_replace(place, from, before != 0 ? before : behind))
        return false;
    if (before != 0 && behind != 0)
        keep(behind);
    else if (before == 0 && behind == 0)
        refill();
    return true;
}

static uintptr_t take(size_t bytes, size_t alignment, bool unused)
{
    uint64_t units = bytes >> UNIT_SHIFT;
    bool in_order = false;
    alignment >>= UNIT_SHIFT;
    for (int tries = 0; tries < TRIES_MAX; tries++) {
        range found;
        unsigned place = best_place(units, alignment, unused, &found);
        if (place == PLACE_COUNT) {
            if (in_order || !put_in_order())
                return 0;
            in_order = true;
            continue;
        }
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

bool kept_take_at(uintptr_t base, size_t bytes)
{
    uint64_t unit = base >> UNIT_SHIFT;
    uint64_t units = bytes >> UNIT_SHIFT;
    unsigned end = places_end();
    for (unsigned i = 0; i < end; i++) {
        range now = place_look(i);
        if (now != 0 && base_of(now) == unit && units_of(now) >= units)
            return cut(i, now, unit, units);
    }
    return false;
}

/* The lowest used range, and the unused one in front of it. */
static void find_lowest(struct seen *lowest, struct seen *front)
{
    unsigned end = places_end();
    *lowest = *front = (struct seen){0};
    for (unsigned i = 0; i < end; i++) {
        range now = place_look(i);
        if (now != 0 && !is_unused(now) &&
            (lowest->what == 0 || now < lowest->what))
            *lowest = (struct seen){now, i};
    }
    for (unsigned i = 0; i < end; i++) {
        range now = place_look(i);
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
    if (place_replace(lowest.place, lowest.what, 0)) {
        *fresh = (units - length) << UNIT_SHIFT;
        return base << UNIT_SHIFT;
    }
    /* Another thread has taken some of it meanwhile. */
    keep(part(front.what, base, end_of(front.what)));
    return 0;
}

/* --- Giving --------------------------------------------------------------- */

/* Unmaps what is longer than a word can say.  False: it is to be kept. */
static bool is_gone(uintptr_t base, size_t bytes)
{
    if (bytes >> UNIT_SHIFT <= RANGE_LENGTH_MAX)
        return false;
    if (os_unmap((void *)base, bytes))
        return true;
    os_purge((void *)base, bytes);
    return false;
}

static void give(uintptr_t base, size_t bytes, range like)
{
    if (is_gone(base, bytes))
        return;
    uint64_t unit = base >> UNIT_SHIFT, units = bytes >> UNIT_SHIFT;
    for (; units > RANGE_LENGTH_MAX; units -= RANGE_LENGTH_MAX) {
        keep(range_make(unit, RANGE_LENGTH_MAX, like));
        unit += RANGE_LENGTH_MAX;
    }
    keep(range_make(unit, units, like));
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

/* Unmapping holds up all who map or make pages present: not for long, if the
 * pages of a long range are gone already. */
static void purge_long(range from)
{
    if (is_unused(from))
        return;
    for (size_t at = PURGE_BYTES; at < bytes_of(from); at += PURGE_BYTES)
        os_purge((char *)start_of(from) + at - PURGE_BYTES, PURGE_BYTES);
}

/* Gives up a range that nobody else has, which had a place or waited for one.
 * What the system refuses to unmap gives its pages back, and stays.  Returns
 * the bytes. */
static size_t give_up(range from, bool had_place)
{
    purge_long(from);
    if (os_unmap(start_of(from), bytes_of(from)))
        return bytes_of(from);
    os_purge(start_of(from), bytes_of(from));
    if (had_place)
        keep(make_used(from));
    else
        overflow_push(OVERFLOW_REFUSED, from);
    return 0;
}

/* Whether a range is older than another one, or as old and lower. */
static bool is_older(range left, range right, uint64_t now)
{
    uint64_t age = age_of(left, now), other = age_of(right, now);
    return age > other || (age == other && left < right);
}

/* Finds the oldest used range and the oldest unused one.  Returns the bytes of
 * the used ones. */
static size_t find_oldest(uint64_t now, struct seen *used, struct seen *unused)
{
    uint64_t units = 0;
    unsigned end = places_end();
    *used = *unused = (struct seen){0};
    for (unsigned i = 0; i < end; i++) {
        range next = place_look(i);
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
    return give_up(range_make(base_of(from.what), units, from.what), true);
}

/* The same with a range that has no place. */
static size_t drop_waiting_piece(void)
{
    range from = overflow_pop(OVERFLOW_WAITING);
    if (from == 0)
        from = overflow_pop(OVERFLOW_REFUSED);
    if (from == 0)
        return 0;
    if (units_of(from) <= DROP_UNITS)
        return give_up(from, false);
    uint64_t end = base_of(from) + DROP_UNITS;
    overflow_push(OVERFLOW_WAITING, part(from, end, end_of(from)));
    return give_up(part(from, base_of(from), end), false);
}

/* Each range once: what is refused again, here or elsewhere, is left. */
static size_t drop_waiting(void)
{
    range from;
    size_t bytes = 0;
    size_t count = overflow_bytes() >> UNIT_SHIFT;
    for (size_t i = 0;
         i < count && (from = overflow_pop(OVERFLOW_REFUSED)) != 0; i++)
        overflow_push(OVERFLOW_WAITING, from);
    for (size_t i = 0;
         i < count && (from = overflow_pop(OVERFLOW_WAITING)) != 0; i++)
        bytes += give_up(from, false);
    return bytes;
}

static bool is_aged(range from, uint64_t now)
{
    return from != 0 && age_of(from, now) > AGE_MAX;
}

/* An unused range has none, and can go at once; but mlockall(2) may have given
 * it all its pages since. */
static bool has_pages(range from)
{
    return os_is_present(start_of(from), PAGE_BYTES);
}

/* Whether too much was kept at the last look.  A hint: relaxed. */
static _Atomic(bool) too_much;

bool kept_too_much(void)
{
    return atomic_load_explicit(&too_much, memory_order_relaxed);
}

static void note_too_much(bool now)
{
    if (kept_too_much() != now)
        atomic_store_explicit(&too_much, now, memory_order_relaxed);
}

size_t kept_drop_step(size_t bound, bool aged_too)
{
    if (places_end() == 0)
        return 0;
    struct seen used, unused;
    uint64_t now = age_clock();
    size_t bytes = find_oldest(now, &used, &unused) + overflow_bytes();
    note_too_much(bytes > bound);
    if (bytes > bound || aged_too) {
        size_t dropped = drop_waiting_piece();
        if (dropped != 0)
            return dropped;
    }
    if (bytes > bound || (aged_too && is_aged(used.what, now)))
        return drop_piece(used, DROP_UNITS);
    if (aged_too && is_aged(unused.what, now))
        return drop_piece(unused, has_pages(unused.what) ? DROP_UNITS
                                                         : RANGE_LENGTH_MAX);
    return 0;
}

size_t kept_drop(size_t bytes)
{
    uint64_t now = age_clock();
    size_t dropped = 0;
    unsigned failures = 0;
    while (dropped < bytes && failures < TRIES_MAX) {
        struct seen used, unused;
        size_t rest = bytes - dropped + UNIT_BYTES - 1;
        find_oldest(now, &used, &unused);
        size_t more =
            drop_piece(unused.what != 0 ? unused : used, rest >> UNIT_SHIFT);
        dropped += more;
        failures = more == 0 ? failures + 1 : 0;
    }
    return dropped != 0 ? dropped : kept_drop_all();
}

size_t kept_drop_all(void)
{
    size_t bytes = 0;
    unsigned end = places_end();
    for (unsigned i = 0; i < end; i++) {
        range next = place_look(i);
        if (next != 0 && place_replace(i, next, 0))
            bytes += give_up(next, true);
    }
    return bytes + drop_waiting();
}

static size_t sum(bool unused)
{
    uint64_t units = 0;
    unsigned end = places_end();
    for (unsigned i = 0; i < end; i++) {
        range next = place_look(i);
        units += is_unused(next) == unused ? units_of(next) : 0;
    }
    return units << UNIT_SHIFT;
}

size_t kept_bytes(void)
{
    return sum(false) + overflow_bytes();
}

size_t kept_unused_bytes(void)
{
    return sum(true);
}
