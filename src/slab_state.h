/* SPDX-License-Identifier: MIT */
/* From the address of a block to its state; inlined, since every free of
 * another thread's block needs it. */
#ifndef PARTYALLOC_SLAB_STATE_H
#define PARTYALLOC_SLAB_STATE_H

#include "slab_internal.h"

/* The offset of a block in its slab.  A slab of one unit begins where the unit
 * does, so it need not be read. */
FAST_PATH uint32_t slab_offset(const struct slab *slab, unsigned class,
                               const void *pointer)
{
    uintptr_t address = (uintptr_t)pointer;
    if (likely(size_classes[class].slab_units == 1))
        return (uint32_t)(address & (UNIT_BYTES - 1));
    return (uint32_t)(address - slab->base);
}

/* The state of the block of a class that starts at an address in a slab of
 * that class; NULL: none starts there. */
FAST_PATH _Atomic(uint8_t) *slab_state_in(struct slab *slab, unsigned class,
                                          const void *pointer)
{
    uint32_t offset = slab_offset(slab, class, pointer);
    uint32_t index = size_class_index(class, offset);
    if (unlikely(index * size_classes[class].size != offset) ||
        unlikely(index >= size_classes[class].capacity))
        return NULL;
    return &slab->states[index];
}

FAST_PATH _Atomic(uint8_t) *slab_state(unsigned class, const void *pointer)
{
    return slab_state_in(page_map_descriptor(pointer), class, pointer);
}

/* The slab of a block: probably `last`, that of the last one, if any. */
FAST_PATH struct slab *slab_of(unsigned class, const void *block,
                               struct slab *last)
{
    size_t bytes = (size_t)size_classes[class].slab_units * UNIT_BYTES;
    if (likely(last != NULL) && likely((uintptr_t)block - last->base < bytes))
        return last;
    return page_map_descriptor(block);
}

/* The state of a block that is being freed; stops the process when it is not
 * OUT. */
FAST_PATH _Atomic(uint8_t) *slab_judge(struct slab *slab, unsigned class,
                                       const void *block)
{
    _Atomic(uint8_t) *state = slab_state_in(slab, class, block);
    if (unlikely(state == NULL) ||
        unlikely(atomic_load_explicit(state, memory_order_relaxed) !=
                 BLOCK_OUT))
        slab_misuse_slow(class, block);
    return state;
}

#endif
