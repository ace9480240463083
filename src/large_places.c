/* SPDX-License-Identifier: MIT */
#include "large_places.h"

enum {
    /* Tries to put a range when other threads are faster. */
    TRIES_MAX = 8,
    /* The first of the distances 121, 40, 13, 4, 1 of a Shell sort. */
    SORT_GAP = 121,
};

struct places large_places;

/* --- Neighbours that missed each other ------------------------------------ */

/*
 * Two threads that put neighbours at once may not see each other's.  Each
 * counts its put when its range has its place.  Whoever counts last has either
 * looked for neighbours after the other had counted, and so seen its range, or
 * finds the count changed since before its look.
 */

/* Acquires the ranges of all puts that are counted; pairs with end_put(). */
static unsigned begin_put(void)
{
    return atomic_load_explicit(&large_places.puts, memory_order_acquire);
}

/* Publishes the changed words to places_rejoin(). */
static void note_apart(void)
{
    atomic_store_explicit(&large_places.apart, true, memory_order_release);
}

/* Publishes what was put; pairs with begin_put(). */
static void end_put(unsigned before)
{
    if (atomic_fetch_add_explicit(&large_places.puts, 1,
                                  memory_order_acq_rel) != before)
        note_apart();
}

/* As place_replace().  If it fails, what is there instead may be a neighbour
 * too. */
static bool replace_neighbour(struct seen neighbour, range after)
{
    if (place_replace(neighbour.place, neighbour.what, after))
        return true;
    note_apart();
    return false;
}

/* --- Putting -------------------------------------------------------------- */

/* Puts a range into an empty place, the lowest first.  False: there is no such
 * place. */
static bool put_in_empty_place(range new)
{
    for (unsigned i = 0; i < PLACE_COUNT; i++) {
        if (place_look(i) != 0 || !place_replace(i, 0, new))
            continue;
        unsigned end = places_end();
        while (end <= i && !atomic_compare_exchange_weak_explicit(
                               &large_places.end, &end, i + 1,
                               memory_order_relaxed, memory_order_relaxed))
            ;
        return true;
    }
    return false;
}

/* The place of the shortest range, when all are taken. */
static unsigned shortest_place(range *shortest)
{
    unsigned place = 0;
    *shortest = place_look(0);
    for (unsigned i = 1; i < PLACE_COUNT; i++) {
        range now = place_look(i);
        if (units_of(now) >= units_of(*shortest))
            continue;
        place = i;
        *shortest = now;
    }
    return place;
}

/* Puts a range without joining it.  Returns as places_put(). */
static range put_alone(range new)
{
    for (int tries = 0; tries < TRIES_MAX; tries++) {
        if (put_in_empty_place(new))
            return 0;
        range shortest;
        unsigned place = shortest_place(&shortest);
        if (units_of(shortest) >= units_of(new))
            return new;
        if (place_replace(place, shortest, new))
            return shortest;
    }
    return new;
}

static void find_neighbours(range new, struct seen *below, struct seen *above)
{
    unsigned end = places_end();
    *below = *above = (struct seen){0};
    for (unsigned i = 0; i < end; i++) {
        range now = place_look(i);
        if (can_join(now, new))
            *below = (struct seen){now, i};
        else if (can_join(new, now))
            *above = (struct seen){now, i};
    }
}

/* The joined range replaces one of its neighbours in its place, so that at no
 * moment is that one hidden from others. */
static range put(range new)
{
    struct seen low, high;
    find_neighbours(new, &low, &high);
    if (low.what != 0 && replace_neighbour(low, joined(low.what, new))) {
        low.what = joined(low.what, new);
        if (!can_join(low.what, high.what) || !replace_neighbour(high, 0))
            return 0;
        if (replace_neighbour(low, joined(low.what, high.what)))
            return 0;
        /* The new range has a place; the one above has lost its own. */
        return put_alone(high.what);
    }
    if (high.what != 0 && replace_neighbour(high, joined(new, high.what)))
        return 0;
    return put_alone(new);
}

range places_put(range new)
{
    unsigned before = begin_put();
    range lost = put(new);
    end_put(before);
    return lost;
}

/* --- Joining later -------------------------------------------------------- */

/* A snapshot of the ranges. */
struct sorted {
    range at[PLACE_COUNT];
    /* Places, the lowest range first. */
    unsigned char places[PLACE_COUNT];
    unsigned count;
};
_Static_assert(PLACE_COUNT <= 256, "a place is a byte");

/* Moves the place at an index down to where it belongs. */
static void sink(struct sorted *all, unsigned index, unsigned gap)
{
    unsigned char place = all->places[index];
    for (; index >= gap && all->at[all->places[index - gap]] > all->at[place];
         index -= gap)
        all->places[index] = all->places[index - gap];
    all->places[index] = place;
}

static void sort(struct sorted *all)
{
    unsigned end = places_end();
    all->count = 0;
    for (unsigned i = 0; i < end; i++) {
        all->at[i] = place_look(i);
        if (all->at[i] != 0)
            all->places[all->count++] = (unsigned char)i;
    }
    for (unsigned gap = SORT_GAP; gap != 0; gap /= 3)
        for (unsigned i = gap; i < all->count; i++)
            sink(all, i, gap);
}

/* Joins two neighbours in the place of the upper one.  False: one of them has
 * changed; *lost as in places_rejoin(). */
static bool join(struct seen low, struct seen high, range *lost)
{
    if (!replace_neighbour(low, 0))
        return false;
    if (replace_neighbour(high, joined(low.what, high.what)))
        return true;
    *lost = put(low.what);
    return false;
}

/* From above, so that a joined range is the next one's neighbour. */
static bool join_sorted(struct sorted *all, range *lost)
{
    bool any = false;
    for (unsigned i = all->count; i-- > 1 && *lost == 0;) {
        unsigned char below = all->places[i - 1], above = all->places[i];
        struct seen low = {all->at[below], below};
        struct seen high = {all->at[above], above};
        if (!can_join(low.what, high.what) || !join(low, high, lost))
            continue;
        all->at[above] = joined(low.what, high.what);
        all->places[i - 1] = above;
        any = true;
    }
    return any;
}

bool places_rejoin(range *lost)
{
    *lost = 0;
    if (!atomic_load_explicit(&large_places.apart, memory_order_relaxed))
        return false;
    /* While a range is in no place, another thread may put its neighbour. */
    unsigned before = begin_put();
    /* Acquires the changed words; pairs with note_apart(). */
    atomic_exchange_explicit(&large_places.apart, false, memory_order_acquire);
    struct sorted all;
    sort(&all);
    bool any = join_sorted(&all, lost);
    end_put(before);
    return any;
}
