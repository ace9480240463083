/* SPDX-License-Identifier: MIT */
/*
 * Mappings of large blocks that were freed, kept for reuse: new pages cost far
 * more than used ones.
 *
 * A block takes the head of the shortest that is long enough, what is left
 * over is kept by itself; and what lies side by side is joined again.
 */
#include "large_internal.h"

#include "os.h"
#include "page_map.h"

enum {
    /* How many are kept, of so many bytes and a part of what is live (a
     * shift). */
    KEPT_COUNT = 64,
    KEPT_CONSTANT = 48 << 20,
    KEPT_FRACTION_SHIFT = 1,
    /* What is left over is kept by itself from this length on. */
    CUT_MIN = 128 << 10,
    /* Pieces of this length are unmapped, from the ends, which takes the
     * kernel about 20 us: so many by a free that finds too much kept. */
    DROP_STEP = 128 << 10,
    DROP_STEPS_MAX = 4,
    /* Races with other threads for what is kept before it is given up. */
    TRIES_MAX = 8,
};

/* What is kept longer is unmapped by large_drop_step(). */
static const uint64_t kept_for_ns = 500 * 1000 * 1000;

/* A place is filled by compare-and-swap from NULL, and emptied by
 * compare-and-swap to NULL: who does that has the mapping. */
static _Atomic(struct large *) kept[KEPT_COUNT];
static _Atomic(uint64_t) kept_bytes;

size_t large_kept_bytes(void)
{
    return GET(kept_bytes);
}

/* --- In and out of places ------------------------------------------------- */

/* False: all places are full. */
static bool put(struct large *large, uint64_t freed_at)
{
    size_t bytes = GET(large->mapped);
    SET(large->freed_at, freed_at);
    ADD(kept_bytes, bytes);
    for (uint32_t place = 0; place < KEPT_COUNT; place++) {
        struct large *expected = NULL;
        if (GET(kept[place]) != NULL)
            continue;
        SET(large->place, place);
        /* Publishes the mapping's contents to take(). */
        if (atomic_compare_exchange_strong_explicit(&kept[place], &expected,
                                                    large, memory_order_release,
                                                    memory_order_relaxed))
            return true;
    }
    SUB(kept_bytes, bytes);
    return false;
}

/* Puts back what was taken, or else unmaps it. */
static void put_back(struct large *large)
{
    if (!put(large, GET(large->freed_at)))
        large_unmap(large);
}

/* Takes what lies at a place; pairs with put().  The caller owns it then. */
static bool take(uint32_t place, struct large *large)
{
    if (!atomic_compare_exchange_strong_explicit(&kept[place], &large, NULL,
                                                 memory_order_acquire,
                                                 memory_order_relaxed))
        return false;
    SUB(kept_bytes, GET(large->mapped));
    return true;
}

struct choice {
    bool (*suits)(const struct large *large, const struct choice *choice);
    bool (*better)(const struct large *large, const struct large *other);
    size_t bytes;
    size_t alignment;
    uint64_t freed_by;
};

/* The place of the best kept mapping of those that suit; KEPT_COUNT: none. */
static uint32_t find_best(const struct choice *choice, struct large **best)
{
    uint32_t place = KEPT_COUNT;
    for (uint32_t i = 0; i < KEPT_COUNT; i++) {
        struct large *large =
            atomic_load_explicit(&kept[i], memory_order_acquire);
        if (large == NULL || !choice->suits(large, choice))
            continue;
        if (place == KEPT_COUNT || choice->better(large, *best)) {
            *best = large;
            place = i;
        }
    }
    return place;
}

/*
 * Takes the best; NULL: none suits, or other threads were first again and
 * again.  Both questions may be asked of a mapping that changes meanwhile; the
 * first is asked again of the one that was taken.
 */
static struct large *take_best(const struct choice *choice)
{
    for (unsigned tries = 0; tries < TRIES_MAX; tries++) {
        struct large *best = NULL;
        uint32_t place = find_best(choice, &best);
        if (place == KEPT_COUNT)
            return NULL;
        if (!take(place, best))
            continue;
        if (choice->suits(best, choice))
            return best;
        put_back(best);
    }
    return NULL;
}

static bool is_shorter(const struct large *large, const struct large *other)
{
    return GET(large->mapped) < GET(other->mapped);
}

static bool is_longer(const struct large *large, const struct large *other)
{
    return GET(large->mapped) > GET(other->mapped);
}

static bool is_older(const struct large *large, const struct large *other)
{
    return GET(large->freed_at) < GET(other->freed_at);
}

static bool is_old(const struct large *large, const struct choice *choice)
{
    return GET(large->freed_at) <= choice->freed_by;
}

static struct large *take_oldest(uint64_t freed_by)
{
    return take_best(&(struct choice){
        .suits = is_old, .better = is_older, .freed_by = freed_by});
}

/* --- Cutting and joining -------------------------------------------------- */

/* Keeps what a mapping is longer than `bytes` by itself. */
static void cut(struct large *large, size_t bytes)
{
    size_t rest = GET(large->mapped) - bytes;
    struct large *tail = rest < CUT_MIN ? NULL : large_take_descriptor();
    if (tail == NULL)
        return;
    SET(tail->base, GET(large->base) + bytes);
    SET(tail->mapped, rest);
    SET(tail->state, LARGE_FREED);
    SET(large->mapped, bytes);
    large_enter(large);
    large_enter(tail);
    if (put(tail, GET(large->freed_at)))
        return;
    SET(large->mapped, bytes + rest);
    large_enter_gone(tail);
    large_enter(large);
    large_give_descriptor(tail);
}

/* Takes the kept mapping that has an address in its first or last unit, and
 * that begins (or ends) at `edge`.  NULL: none does. */
static struct large *take_neighbour(uintptr_t address, uintptr_t edge)
{
    if (page_map_entry((const void *)address) != ENTRY_LARGE)
        return NULL;
    struct large *large = page_map_descriptor((const void *)address);
    if ((GET(large->base) != edge && large_end(large) != edge) ||
        GET(large->state) != LARGE_FREED || !take(GET(large->place), large))
        return NULL;
    /* Between the look and the taking it may have come to be another one. */
    if (GET(large->base) == edge || large_end(large) == edge)
        return large;
    put_back(large);
    return NULL;
}

/* Makes two mappings one, the first's; it counts as freed when the longer one
 * was. */
static struct large *join(struct large *first, struct large *second)
{
    uint64_t freed_at =
        GET((is_longer(first, second) ? first : second)->freed_at);
    large_enter_gone(second);
    SET(first->mapped, GET(first->mapped) + GET(second->mapped));
    SET(first->freed_at, freed_at);
    large_give_descriptor(second);
    large_enter(first);
    return first;
}

static struct large *join_neighbours(struct large *large)
{
    uintptr_t base = GET(large->base);
    uintptr_t end = large_end(large);
    struct large *right = take_neighbour(end, end);
    if (right != NULL)
        large = join(large, right);
    struct large *left = take_neighbour(base - UNIT_BYTES, base);
    return left != NULL ? join(left, large) : large;
}

/* --- What is kept --------------------------------------------------------- */

static bool fits(const struct large *large, const struct choice *choice)
{
    return GET(large->mapped) >= choice->bytes &&
           (GET(large->base) & (choice->alignment - 1)) == 0;
}

struct large *large_take_kept(size_t bytes, size_t alignment)
{
    struct large *large = take_best(&(struct choice){
        .suits = fits,
        .better = is_shorter,
        .bytes = bytes,
        .alignment = alignment,
    });
    if (large != NULL)
        cut(large, bytes);
    return large;
}

static bool can_grow(const struct large *large, const struct choice *choice)
{
    size_t mapped = GET(large->mapped);
    return mapped < choice->bytes && mapped >= choice->bytes >> FIT_SHIFT;
}

/* The longest kept mapping that is too short by half at most, made longer:
 * that costs page faults for the difference only. */
struct large *large_grow_kept(size_t bytes)
{
    struct large *large = take_best(&(struct choice){
        .suits = can_grow, .better = is_longer, .bytes = bytes});
    if (large == NULL || large_stretch(large, bytes))
        return large;
    put_back(large);
    return NULL;
}

/* Unmaps a mapping that was taken.  Returns the bytes; 0: the system does not,
 * so it is kept.  (Without a place its address space is lost, its pages are
 * not.) */
static size_t drop(struct large *large)
{
    size_t mapped = GET(large->mapped);
    if (large_unmap(large))
        return mapped;
    put(large, os_now());
    return 0;
}

/* The same with a piece of it; the rest is kept. */
static size_t drop_piece(struct large *large)
{
    size_t mapped = GET(large->mapped);
    if (mapped <= DROP_STEP || !large_shorten(large, mapped - DROP_STEP))
        return drop(large);
    put_back(large);
    return DROP_STEP;
}

void large_keep(struct large *large, uint64_t live_bytes)
{
    uint64_t bound = KEPT_CONSTANT + (live_bytes >> KEPT_FRACTION_SHIFT);
    /* What was freed last is what most likely fits, and is in the caches. */
    SET(large->freed_at, os_now());
    large = join_neighbours(large);
    if (!put(large, GET(large->freed_at)))
        large_unmap(large);
    for (unsigned i = 0; i < DROP_STEPS_MAX && GET(kept_bytes) > bound; i++) {
        struct large *oldest = take_oldest(UINT64_MAX);
        if (oldest != NULL)
            drop_piece(oldest);
    }
    /* Much more than that, since what is freed is long. */
    while (GET(kept_bytes) > bound + bound / 2) {
        struct large *oldest = take_oldest(UINT64_MAX);
        if (oldest == NULL || drop(oldest) == 0)
            break;
    }
}

size_t large_drop_step(void)
{
    if (GET(kept_bytes) == 0)
        return 0;
    struct large *large = take_oldest(os_now() - kept_for_ns);
    return large != NULL ? drop_piece(large) : 0;
}

size_t large_drop_all(void)
{
    size_t bytes = 0;
    for (uint32_t place = 0; place < KEPT_COUNT; place++) {
        struct large *large =
            atomic_load_explicit(&kept[place], memory_order_acquire);
        if (large != NULL && take(place, large))
            bytes += drop(large);
    }
    return bytes;
}
