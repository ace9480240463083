/* SPDX-License-Identifier: MIT */
#include "depot.h"

#include <stdatomic.h>

#include "compiler.h"
#include "depot_tray.h"
#include "metadata.h"
#include "os.h"
#include "page_map.h"
#include "size_class.h"
#include "slab.h"

enum {
    /*
     * Shelves of a class.  Magazines lie on the shelf of the owner of their
     * blocks, and are first looked for there: so what a cache could not hold
     * comes back to it, instead of going to another one, where each of these
     * blocks would be foreign.
     */
    SHELVES = 4,
    /* The most full magazines of a shelf; further blocks go to their slabs.
     * Each scattered block here pins a page, and going through the slabs costs
     * little more: a deeper shelf would cost memory and gain nothing. */
    DEPTH_MAX = 8,
    /* Magazines of a shelf that are left to the owner of the blocks: otherwise
     * two threads with working sets of their own would now and then take what
     * the other is about to want back. */
    RESERVED = 2,
    /* Of a magazine, and of its states: enough for 28 blocks. */
    PREFETCH_BYTES = 32 * sizeof(void *),
};

/*
 * A number of magazines and of the blocks in them, in one word.  The difference
 * of two tallies is a tally.
 */
typedef uint64_t tally;
enum { TALLY_MAGAZINE_SHIFT = 40 };

static tally tally_of(const struct magazine *magazine)
{
    return (tally)1 << TALLY_MAGAZINE_SHIFT | magazine->count;
}

static uint64_t tally_magazines(tally of)
{
    return of >> TALLY_MAGAZINE_SHIFT;
}

static uint64_t tally_blocks(tally of)
{
    return of & (((tally)1 << TALLY_MAGAZINE_SHIFT) - 1);
}

/*
 * Magazines of one class.  Shared by all; the counters are on the cache line of
 * the stack's head, which whoever counts writes anyway.  They are counts only:
 * relaxed.
 */
struct shelf {
    _Alignas(CACHE_LINE_PAIR) struct stack full;
    _Atomic(tally) pushed; /* counted before the push, */
    _Atomic(tally) popped; /* after the pop: never more than pushed */
    _Atomic(uint64_t) retries;
    _Atomic(uint64_t) popped_seen; /* by drain_idle_shelf() */
};

_Static_assert(sizeof(struct shelf) == CACHE_LINE_PAIR,
               "a line of its own for each shelf");

static struct shelf shelves[CLASS_COUNT][SHELVES];

static struct shelf *shelf_of(unsigned class, uint32_t owner)
{
    return &shelves[class][owner % SHELVES];
}

static struct {
    _Alignas(CACHE_LINE_PAIR) struct stack stack;
} empties;

static void add(_Atomic(uint64_t) *counter, uint64_t value)
{
    atomic_fetch_add_explicit(counter, value, memory_order_relaxed);
}

/* What lies on a shelf, about. */
static tally on_shelf(const struct shelf *shelf)
{
    /* In this order, so that the difference is not negative. */
    tally popped = atomic_load_explicit(&shelf->popped, memory_order_acquire);
    return atomic_load_explicit(&shelf->pushed, memory_order_relaxed) - popped;
}

/* --- Empty magazines ------------------------------------------------------ */

/* A page of new ones: what a thread uses together should not cost it a TLB miss
 * each. */
static struct magazine *make_empties(void)
{
    struct magazine *bundle = metadata_allocate(PAGE_BYTES, PAGE_BYTES);
    if (bundle == NULL)
        return NULL;
    unsigned count = PAGE_BYTES / MAGAZINE_BYTES;
    for (unsigned i = 0; i + 1 < count; i++)
        bundle[i].next = &bundle[i + 1];
    bundle->count = count;
    return bundle;
}

struct magazine *depot_take_empties(void)
{
    unsigned retries = 0;
    struct stack_node *node = stack_pop(&empties.stack, &retries);
    return node != NULL ? (struct magazine *)(void *)node : make_empties();
}

void depot_give_empties(struct magazine *bundle)
{
    CHECK(bundle->count != 0);
    stack_push(&empties.stack, &bundle->node);
}

/* One that was just emptied. */
static void give_empty(struct magazine *magazine)
{
    magazine->next = NULL;
    magazine->count = 1;
    depot_give_empties(magazine);
}

void depot_reserve(size_t bytes)
{
    os_touch(shelves, sizeof(shelves));
    tray_reserve();
    for (size_t i = 0; i < bytes / PAGE_BYTES; i++) {
        struct magazine *bundle = make_empties();
        if (bundle == NULL)
            return;
        depot_give_empties(bundle);
    }
}

/* --- Full magazines ------------------------------------------------------- */

/* The shelf where a magazine with blocks belongs. */
static struct shelf *shelf_for(unsigned class, const struct magazine *magazine)
{
    uint32_t entry = page_map_entry(magazine->slots[magazine->count - 1]);
    return shelf_of(class, entry >> ENTRY_OWNER_SHIFT);
}

static void push(struct shelf *shelf, struct magazine *magazine)
{
    add(&shelf->pushed, tally_of(magazine));
    unsigned retries = stack_push(&shelf->full, &magazine->node);
    if (unlikely(retries != 0))
        add(&shelf->retries, retries);
}

static void drain(unsigned class, struct magazine *magazine)
{
    slab_return(class, magazine->slots, magazine->count);
    magazine->count = 0;
}

static bool is_full(const struct shelf *shelf)
{
    return tally_magazines(on_shelf(shelf)) >= DEPTH_MAX;
}

bool depot_give(unsigned class, struct magazine *magazine)
{
    struct shelf *shelf = shelf_for(class, magazine);
    if (is_full(shelf)) {
        drain(class, magazine);
        return false;
    }
    slab_mark_away(class, magazine);
    push(shelf, magazine);
    return true;
}

bool depot_give_away(unsigned class, struct magazine *magazine)
{
    struct shelf *shelf = shelf_for(class, magazine);
    if (is_full(shelf)) {
        slab_mark_out(magazine);
        drain(class, magazine);
        return false;
    }
    push(shelf, magazine);
    return true;
}

/* Prefetches what a taker of the top magazine reads: all of it comes from the
 * cache of the processor that filled it, and nothing after the pop's
 * compare-and-swap would be fetched before that is done. */
static void prefetch_top(struct shelf *shelf)
{
    char *magazine = stack_peek(&shelf->full);
    if (magazine == NULL)
        return;
    char *states = magazine + offsetof(struct magazine, states);
    for (size_t at = 0; at < PREFETCH_BYTES; at += CACHE_LINE) {
        __builtin_prefetch(magazine + at, 0);
        __builtin_prefetch(states + at, 0);
    }
}

static struct magazine *take(struct shelf *shelf)
{
    unsigned retries = 0;
    prefetch_top(shelf);
    struct stack_node *node = stack_pop(&shelf->full, &retries);
    if (unlikely(retries != 0))
        add(&shelf->retries, retries);
    if (node == NULL)
        return NULL;
    struct magazine *magazine = (struct magazine *)(void *)node;
    /* Release: whoever sees the pop counted sees the push counted too. */
    atomic_fetch_add_explicit(&shelf->popped, tally_of(magazine),
                              memory_order_release);
    slab_mark_out(magazine);
    return magazine;
}

struct magazine *depot_take_own(unsigned class, uint32_t owner)
{
    return take(shelf_of(class, owner));
}

struct magazine *depot_take(unsigned class, uint32_t owner)
{
    struct magazine *magazine = take(shelf_of(class, owner));
    for (unsigned i = 1; i < SHELVES && magazine == NULL; i++) {
        struct shelf *shelf = shelf_of(class, owner + i);
        if (tally_magazines(on_shelf(shelf)) > RESERVED)
            magazine = take(shelf);
    }
    return magazine;
}

struct magazine *depot_take_any(unsigned class)
{
    struct magazine *magazine = NULL;
    for (unsigned i = 0; i < SHELVES && magazine == NULL; i++)
        magazine = take(shelf_of(class, i));
    return magazine;
}

void *depot_take_any_one(unsigned class)
{
    struct magazine *magazine = depot_take_any(class);
    if (magazine == NULL)
        return NULL;
    void *block = magazine->slots[--magazine->count];
    drain(class, magazine);
    give_empty(magazine);
    return block;
}

/* --- Upkeep --------------------------------------------------------------- */

/* Brings the blocks of one magazine to rest; false: there is none. */
static bool drain_one(unsigned class, struct shelf *shelf)
{
    struct magazine *magazine = take(shelf);
    if (magazine == NULL)
        return false;
    drain(class, magazine);
    give_empty(magazine);
    return true;
}

/* The same when none was taken since the last call. */
static void drain_idle_shelf(unsigned class, struct shelf *shelf)
{
    tally popped = atomic_load_explicit(&shelf->popped, memory_order_relaxed);
    if (popped != atomic_exchange_explicit(&shelf->popped_seen, popped,
                                           memory_order_relaxed) ||
        !drain_one(class, shelf))
        return;
    /* What this took out must not look like use. */
    atomic_store_explicit(
        &shelf->popped_seen,
        atomic_load_explicit(&shelf->popped, memory_order_relaxed),
        memory_order_relaxed);
}

/* Classes still to come in the round.  Whoever takes one off drains that class,
 * and the count publishes nothing else: relaxed. */
static _Atomic(unsigned) idle_left;

void depot_begin_idle(void)
{
    unsigned none = 0;
    atomic_compare_exchange_strong_explicit(&idle_left, &none, CLASS_COUNT,
                                            memory_order_relaxed,
                                            memory_order_relaxed);
}

bool depot_drain_idle_step(void)
{
    unsigned left = atomic_load_explicit(&idle_left, memory_order_relaxed);
    do {
        if (left == 0)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(
        &idle_left, &left, left - 1, memory_order_relaxed,
        memory_order_relaxed));
    unsigned class = CLASS_COUNT - left;
    tray_drain_idle(class);
    for (unsigned i = 0; i < SHELVES; i++)
        drain_idle_shelf(class, &shelves[class][i]);
    return true;
}

/* Drains what was there at first: others may go on giving for ever. */
static void drain_shelf(unsigned class, struct shelf *shelf)
{
    uint64_t magazines = tally_magazines(on_shelf(shelf));
    while (magazines-- != 0 && drain_one(class, shelf))
        ;
}

void depot_drain_all(void)
{
    for (unsigned class = 0; class < CLASS_COUNT; class++) {
        tray_drain(class);
        for (unsigned i = 0; i < SHELVES; i++)
            drain_shelf(class, &shelves[class][i]);
    }
}

void depot_settle(void)
{
    for (unsigned class = 0; class < CLASS_COUNT; class++)
        for (unsigned i = 0; i < SHELVES; i++) {
            struct shelf *shelf = &shelves[class][i];
            atomic_store_explicit(
                &shelf->popped,
                atomic_load_explicit(&shelf->pushed, memory_order_relaxed),
                memory_order_relaxed);
        }
}

struct depot_totals depot_totals(void)
{
    struct depot_totals totals = {0};
    for (unsigned class = 0; class < CLASS_COUNT; class++) {
        uint64_t blocks = tray_count(class);
        for (unsigned i = 0; i < SHELVES; i++) {
            const struct shelf *shelf = &shelves[class][i];
            blocks += tally_blocks(on_shelf(shelf));
            totals.retries +=
                atomic_load_explicit(&shelf->retries, memory_order_relaxed);
        }
        totals.blocks += blocks;
        totals.bytes += blocks * size_classes[class].size;
    }
    return totals;
}
