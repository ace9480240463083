/* SPDX-License-Identifier: MIT */
/* The short ways of slab_local.c, inlined: no call, no frame, no
 * read-modify-write. */
#ifndef PARTYALLOC_SLAB_LOCAL_H
#define PARTYALLOC_SLAB_LOCAL_H

#include "slab_internal.h"
#include "slab_state.h"

/*
 * Only the holder writes the bits; others read them for statistics.  A block
 * whose bit is set is at rest, or, for the child of a fork that comes between
 * the two steps, still OUT: never the other way round, hence the releases
 * here, which cost nothing on x86-64.
 */

FAST_PATH uint64_t slab_local_free(const struct slab *slab)
{
    return atomic_load_explicit(&slab->local_free, memory_order_relaxed);
}

FAST_PATH void slab_set_local_free(struct slab *slab, uint64_t bits)
{
    atomic_store_explicit(&slab->local_free, bits, memory_order_release);
}

FAST_PATH void *slab_take_local_at(struct slab *slab, uint32_t index)
{
    uint64_t bits = slab_local_free(slab);
    atomic_store_explicit(&slab->states[index], BLOCK_OUT,
                          memory_order_relaxed);
    slab_set_local_free(slab, bits & ~(UINT64_C(1) << index));
    return (void *)(slab->base + index * size_classes[slab->class].size);
}

/* A block at rest of the slab that is held first, the lowest.  NULL: there is
 * none that takes no more than this. */
FAST_PATH void *slab_take_first(struct slab_source *source)
{
    struct slab *slab = source->held;
    if (unlikely(slab == NULL))
        return NULL;
    uint64_t bits = slab_local_free(slab);
    if (unlikely(bits == 0) || unlikely(slab->purged_pages != 0))
        return NULL;
    return slab_take_local_at(slab, (uint32_t)__builtin_ctzll(bits));
}

/* Brings a block to rest if a slab of its class that the source holds has it,
 * and still has others out.  False also when there is no such block. */
FAST_PATH bool slab_give_held(struct slab_source *source, unsigned class,
                              const void *block)
{
    struct slab *slab = page_map_descriptor(block);
    if (unlikely(atomic_load_explicit(&slab->holder, memory_order_relaxed) !=
                 source))
        return false;
    _Atomic(uint8_t) *state = slab_state(class, block);
    if (unlikely(state == NULL) ||
        unlikely(atomic_load_explicit(state, memory_order_relaxed) !=
                 BLOCK_OUT))
        return false;
    uint64_t bits = slab_local_free(slab) | UINT64_C(1)
                                                << (state - slab->states);
    if (unlikely(bits == slab->local_all))
        return false;
    slab_set_local_free(slab, bits);
    atomic_store_explicit(state, BLOCK_REST, memory_order_release);
    return true;
}

#endif
