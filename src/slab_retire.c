/* SPDX-License-Identifier: MIT */
/*
 * Giving up the address space of wholly free slabs.
 *
 * Normally a slab keeps it for life.  But when there is no more, at a cap or a
 * limit of the system, other classes can have what one does not use.
 */
#include "slab_internal.h"

#include <string.h>

#include "slab_index.h"

enum {
    /* The most refusals per class: at the limit of mappings the system refuses
     * all slabs but those at the edge of a mapping. */
    REFUSALS_MAX = 8,
};

static uint32_t load(const _Atomic(uint32_t) *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

/* Whether every block of a held slab rests.  Whoever brought the last of them
 * to rest still reads the slab itself, but that stays.  Acquire: no thread is
 * on its way to a block any more; pairs with rested(). */
static bool is_free(const struct slab *slab)
{
    uint32_t resting =
        atomic_load_explicit(&slab->resting, memory_order_acquire);
    return resting == load(&slab->carved);
}

/* Takes a wholly free slab out of all sums. */
static void uncount(const struct slab *slab)
{
    uint64_t blocks = load(&slab->carved);
    uint64_t bytes = blocks * size_classes[slab->class].size;
    int64_t purged = (int64_t)slab_purged_pages(slab) << PAGE_SHIFT;
    atomic_fetch_sub_explicit(&slab_sums.carved_blocks, blocks,
                              memory_order_relaxed);
    atomic_fetch_sub_explicit(&slab_sums.carved_bytes, bytes,
                              memory_order_relaxed);
    atomic_fetch_sub_explicit(&slab_sums.purged_bytes, (uint64_t)purged,
                              memory_order_relaxed);
    atomic_fetch_sub_explicit(&slab_sums.placed_bytes, slab_bytes(slab),
                              memory_order_relaxed);
    slab_add_dirty(purged - (int64_t)bytes);
}

/* Resets a held slab to one that never had a block. */
static void forget(struct slab *slab)
{
    uint32_t carved = load(&slab->carved);
    for (uint32_t i = 0; i < carved; i++)
        atomic_store_explicit(&slab->states[i], BLOCK_FRESH,
                              memory_order_relaxed);
    atomic_store_explicit(&slab->resting, 0, memory_order_relaxed);
    atomic_store_explicit(&slab->carved, 0, memory_order_relaxed);
    atomic_store_explicit(&slab->purge_at, UINT32_MAX, memory_order_relaxed);
    slab->cursor = 0;
    slab->present = 0;
    slab_set_purged_pages(slab, 0);
    memset(slab->purged, 0, sizeof(slab->purged));
}

/* Gives the addresses of a held slab back.  False: the system refuses, or
 * another thread is about to touch them (sequentially consistent with
 * make_used_present(): one of the two sees the other). */
static bool leave_place(struct slab *slab)
{
    unsigned units = size_classes[slab->class].slab_units;
    /* Before anyone else can have the addresses. */
    page_map_set(slab->base, units, 0, slab);
    atomic_store(&slab->placed, false);
    if (atomic_load(&slab->touched) == 0 &&
        os_unmap((void *)slab->base, slab_bytes(slab)))
        return true;
    atomic_store(&slab->placed, true);
    page_map_set(slab->base, units,
                 page_map_slab_entry(slab->owner, slab->class), slab);
    return false;
}

static bool retire(struct slab *slab)
{
    if (!leave_place(slab))
        return false;
    uncount(slab);
    forget(slab);
    /* It stays held: whoever finds it still in a set leaves it alone. */
    slab_index_add(slab->class, SLABS_UNPLACED, slab->number);
    return true;
}

/* A wholly free slab of a class, now held; NULL: there is none.  Some listed
 * slabs no longer are; whoever holds one lists it again when it lets go. */
static struct slab *take_free(unsigned class)
{
    struct slab *slab;
    while ((slab = slab_index_take_highest(class, SLABS_FREE)) != NULL) {
        if (!slab_hold(slab))
            continue;
        if (is_free(slab))
            return slab;
        slab_unhold(slab);
    }
    return NULL;
}

/* Retires slabs of a class until that makes `bytes`, or the system has refused
 * some.  These are let go at the end, so that each is tried once. */
static size_t retire_class(unsigned class, size_t bytes)
{
    size_t done = 0;
    unsigned count = 0;
    struct slab *refused[REFUSALS_MAX];
    while (done < bytes && count < REFUSALS_MAX) {
        struct slab *slab = take_free(class);
        if (slab == NULL)
            break;
        if (retire(slab))
            done += slab_bytes(slab);
        else
            refused[count++] = slab;
    }
    while (count != 0)
        slab_unhold(refused[--count]);
    return done;
}

size_t slab_retire(size_t bytes)
{
    size_t done = 0;
    for (unsigned class = 0; class < CLASS_COUNT && done < bytes; class++)
        done += retire_class(class, bytes - done);
    return done;
}

size_t slab_free_bytes(void)
{
    uint64_t placed = atomic_load_explicit(&slab_sums.placed_bytes,
                                           memory_order_relaxed);
    uint64_t others = slab_used_bytes() +
                      atomic_load_explicit(&slab_sums.reserved_bytes,
                                           memory_order_relaxed);
    return placed > others ? placed - others : 0;
}
