/* SPDX-License-Identifier: MIT */
#include "depot_tray.h"

#include <stdatomic.h>

#include "compiler.h"
#include "depot.h"
#include "os.h"
#include "size_class.h"
#include "slab.h"

enum {
    /* The most blocks of a class, and the most bytes in them; others go to
     * their slabs. */
    SINGLES_MAX = 8,
    SINGLES_BYTES = 512 << 10,
};

/*
 * Single blocks of one class.  A place is filled by compare-and-swap from NULL
 * and emptied by exchange with NULL, so a block has one taker; it does not
 * matter if the same block was away in between, so there is no ABA problem.
 */
struct tray {
    _Alignas(CACHE_LINE_PAIR) _Atomic(void *) places[SINGLES_MAX];
    _Atomic(uintptr_t) seen; /* hash of all places, by tray_drain_idle() */
};

static struct tray trays[CLASS_COUNT];

static unsigned places_of(unsigned class)
{
    unsigned places = SINGLES_BYTES / size_classes[class].size;
    return places < SINGLES_MAX ? places : SINGLES_MAX;
}

void depot_give_one(unsigned class, void *block)
{
    struct tray *tray = &trays[class];
    unsigned places = places_of(class);
    for (unsigned i = 0; i < places; i++) {
        _Atomic(void *) *place = &tray->places[i];
        void *expected = NULL;
        if (atomic_load_explicit(place, memory_order_relaxed) != NULL)
            continue;
        slab_mark_away_one(class, block);
        /* Publishes the block and its state to depot_take_one(). */
        if (atomic_compare_exchange_strong_explicit(place, &expected, block,
                                                    memory_order_release,
                                                    memory_order_relaxed))
            return;
        slab_mark_out_one(class, block);
    }
    slab_return(class, &block, 1);
}

void *depot_take_one(unsigned class)
{
    struct tray *tray = &trays[class];
    unsigned places = places_of(class);
    for (unsigned i = 0; i < places; i++) {
        _Atomic(void *) *place = &tray->places[i];
        if (atomic_load_explicit(place, memory_order_relaxed) == NULL)
            continue;
        /* Pairs with depot_give_one(). */
        void *block =
            atomic_exchange_explicit(place, NULL, memory_order_acquire);
        if (block == NULL)
            continue;
        slab_mark_out_one(class, block);
        return block;
    }
    return NULL;
}

void tray_reserve(void)
{
    os_touch(trays, sizeof(trays));
}

void tray_drain(unsigned class)
{
    unsigned places = places_of(class);
    for (unsigned i = 0; i < places; i++) {
        void *block = depot_take_one(class);
        if (block == NULL)
            return;
        slab_return(class, &block, 1);
    }
}

void tray_drain_idle(unsigned class)
{
    struct tray *tray = &trays[class];
    uintptr_t all = 0;
    for (unsigned i = 0; i < SINGLES_MAX; i++)
        all = all * 31 + (uintptr_t)atomic_load_explicit(&tray->places[i],
                                                         memory_order_relaxed);
    if (all != 0 &&
        all == atomic_exchange_explicit(&tray->seen, all, memory_order_relaxed))
        tray_drain(class);
}

uint64_t tray_count(unsigned class)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < SINGLES_MAX; i++)
        count += atomic_load_explicit(&trays[class].places[i],
                                      memory_order_relaxed) != NULL;
    return count;
}
