/* SPDX-License-Identifier: MIT */
/*
 * A kept range in one word, for compare-and-swap: its base and its length, both
 * in units, whether it is unused, and when it was freed or mapped.  0: none.
 *
 * The word says all there is to know of the range.  So there is no ABA problem:
 * a word that comes back means the same range as before, and whoever replaces
 * it owns what the replacement leaves out.
 */
#ifndef PARTYALLOC_LARGE_RANGE_H
#define PARTYALLOC_LARGE_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compiler.h"
#include "os.h"
#include "page_map.h"

typedef uint64_t range;
enum {
    /* Ages are counted in steps of 34 ms. */
    RANGE_AGE_SHIFT = 25,
    RANGE_AGE_AHEAD = 64,
    RANGE_SINCE_BITS = 12,
    RANGE_UNUSED_BITS = 1,
    /* What a base leaves: 20 with addresses of 47 bits, 64 GiB. */
    RANGE_LENGTH_BITS = 64 - (ADDRESS_BITS - UNIT_SHIFT) - RANGE_UNUSED_BITS -
                        RANGE_SINCE_BITS,
    RANGE_LENGTH_SHIFT = RANGE_SINCE_BITS + RANGE_UNUSED_BITS,
    RANGE_BASE_SHIFT = RANGE_LENGTH_SHIFT + RANGE_LENGTH_BITS,
};
#define RANGE_SINCE_MASK ((UINT64_C(1) << RANGE_SINCE_BITS) - 1)
/* Its pages are not there yet: nobody has ever written to it. */
#define RANGE_UNUSED     (UINT64_C(1) << RANGE_SINCE_BITS)
#define RANGE_LENGTH_MAX ((UINT64_C(1) << RANGE_LENGTH_BITS) - 1)

_Static_assert(ADDRESS_BITS - UNIT_SHIFT + RANGE_BASE_SHIFT <= 64,
               "a base fits");

/* `like`: its age, and whether it is unused. */
static inline range range_make(uint64_t base, uint64_t units, uint64_t like)
{
    CHECK(base != 0 && units != 0 && units <= RANGE_LENGTH_MAX);
    return base << RANGE_BASE_SHIFT | units << RANGE_LENGTH_SHIFT |
           (like & (RANGE_UNUSED | RANGE_SINCE_MASK));
}

static inline uint64_t base_of(range from)
{
    return from >> RANGE_BASE_SHIFT;
}

static inline uint64_t units_of(range from)
{
    return from >> RANGE_LENGTH_SHIFT & RANGE_LENGTH_MAX;
}

static inline uint64_t end_of(range from)
{
    return base_of(from) + units_of(from);
}

static inline bool is_unused(range from)
{
    return (from & RANGE_UNUSED) != 0;
}

/* Another thread's clock may have been read later than `now`. */
static inline uint64_t age_of(range from, uint64_t now)
{
    uint64_t age = (now - from) & RANGE_SINCE_MASK;
    return age <= RANGE_SINCE_MASK - RANGE_AGE_AHEAD ? age : 0;
}

/* A part of a range; 0 when it is empty. */
static inline range part(range whole, uint64_t base, uint64_t end)
{
    return base == end ? 0 : range_make(base, end - base, whole);
}

/* Two neighbours as one, which has the age of the longer one: a part in
 * occasional use does not keep a larger one that is not. */
static inline range joined(range low, range high)
{
    CHECK(end_of(low) == base_of(high) && is_unused(low) == is_unused(high));
    return range_make(base_of(low), units_of(low) + units_of(high),
                      units_of(low) >= units_of(high) ? low : high);
}

static inline bool can_join(range low, range high)
{
    return low != 0 && high != 0 && end_of(low) == base_of(high) &&
           is_unused(low) == is_unused(high) &&
           units_of(low) + units_of(high) <= RANGE_LENGTH_MAX;
}

/* The highest base at which a range has `units` units; 0: there is none. */
static inline uint64_t fit(range from, uint64_t units, uint64_t alignment)
{
    if (from == 0 || units_of(from) < units)
        return 0;
    uint64_t base = (end_of(from) - units) & ~(alignment - 1);
    return base >= base_of(from) ? base : 0;
}

static inline void *start_of(range from)
{
    return (void *)(uintptr_t)(base_of(from) << UNIT_SHIFT);
}

static inline size_t bytes_of(range from)
{
    return units_of(from) << UNIT_SHIFT;
}

#endif
