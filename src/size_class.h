/* SPDX-License-Identifier: MIT */
/*
 * The size classes: steps of 16 bytes up to 128, then four steps to each
 * doubling, up to 256 KiB.  So at most 15 bytes are lost up to 128 bytes and
 * at most 20% above.
 *
 *     class   0   1 ..   7 |   8    9   10   11 |  12 ..     51
 *     size   16  32 .. 128 | 160  192  224  256 | 320 .. 262144
 */
#ifndef PARTYALLOC_SIZE_CLASS_H
#define PARTYALLOC_SIZE_CLASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compiler.h"

enum {
    GRANULE_SHIFT = 4,
    GRANULE = 1 << GRANULE_SHIFT, /* the step of the linear classes */
    LINEAR_SHIFT = 7,
    LINEAR_MAX = 1 << LINEAR_SHIFT, /* largest size of the linear part */
    LINEAR_COUNT = LINEAR_MAX / GRANULE,
    STEP_SHIFT = 2,
    STEPS = 1 << STEP_SHIFT, /* classes per doubling */
    SMALL_MAX_SHIFT = 18,
    SMALL_MAX = 1 << SMALL_MAX_SHIFT, /* largest size of a class */
    CLASS_COUNT = LINEAR_COUNT + (SMALL_MAX_SHIFT - LINEAR_SHIFT) * STEPS,
};

_Static_assert(CLASS_COUNT == 52, "the table above");

/* The class whose blocks hold `size` bytes, more than LINEAR_MAX and at most
 * SMALL_MAX. */
static inline unsigned size_class_of_stepped(size_t size)
{
    size_t last = size - 1;
    unsigned doubling = 63u - (unsigned)__builtin_clzl(last);
    unsigned step = (unsigned)(last >> (doubling - STEP_SHIFT)) & (STEPS - 1);
    return LINEAR_COUNT + (doubling - LINEAR_SHIFT) * STEPS + step;
}

/* The same for any size up to SMALL_MAX. */
static inline unsigned size_class_of(size_t size)
{
    if (size <= LINEAR_MAX)
        return (unsigned)((size + (size == 0) - 1) >> GRANULE_SHIFT);
    return size_class_of_stepped(size);
}

/* Multiplying by a reciprocal divides exactly: a slab has at most 2^15
 * granules, so the rounding error stays below 2^15 / 2^31 of a block. */
enum { RECIPROCAL_SHIFT = 31 };

/* What a block of a class and a slab of such blocks look like. */
struct size_class {
    uint32_t size;       /* of a block */
    uint32_t reciprocal; /* ceil(2^RECIPROCAL_SHIFT / granules of a block) */
    uint32_t slab_units; /* of a slab, in page map units */
    uint32_t capacity;   /* blocks in a slab */
};

extern INTERNAL const struct size_class size_classes[CLASS_COUNT];

/*
 * The index of the block at `offset` of a slab: exact for every offset within
 * a slab, tested for all of them.
 */
static inline uint32_t size_class_index(unsigned class, uint32_t offset)
{
    uint64_t granules = offset >> GRANULE_SHIFT;
    return (uint32_t)((granules * size_classes[class].reciprocal) >>
                      RECIPROCAL_SHIFT);
}

#endif
