/* SPDX-License-Identifier: MIT */
#include "size_class.h"
#include "page_map.h"

/*
 * Slabs are as short as possible while the part behind the last block stays
 * below an eighth: every thread that uses a class holds a slab of it.
 */
enum {
    SHORT_SLAB_MAX = 8 << 10,   /* largest block in a slab of 64 KiB */
    MIDDLE_SLAB_MAX = 32 << 10, /* in one of 256 KiB */
    LONG_SLAB_MAX = 128 << 10,  /* in some 512 KiB; above: two to a slab */
};

/* clang-format off */
#define SLAB_BLOCKS(size)                                    \
    (((size) <= SHORT_SLAB_MAX    ? 1u * UNIT_BYTES          \
      : (size) <= MIDDLE_SLAB_MAX ? 4u * UNIT_BYTES          \
      : (size) <= LONG_SLAB_MAX   ? 8u * UNIT_BYTES          \
                                  : (size) * 2u) / (size))

#define SLAB_UNITS(size) \
    ((SLAB_BLOCKS(size) * (size) + UNIT_BYTES - 1) / UNIT_BYTES)

#define RECIPROCAL(size)                                                       \
    (((1u << RECIPROCAL_SHIFT) + ((size) >> GRANULE_SHIFT) - 1) /              \
     ((size) >> GRANULE_SHIFT))

#define CLASS(size_)                      \
    {                                     \
        .size = (size_),                  \
        .reciprocal = RECIPROCAL(size_),  \
        .slab_units = SLAB_UNITS(size_),  \
        .capacity = SLAB_BLOCKS(size_),   \
    }

#define DOUBLING(base)                                                         \
    CLASS((base) + (base) / STEPS * 1), CLASS((base) + (base) / STEPS * 2),    \
        CLASS((base) + (base) / STEPS * 3), CLASS((base)*2)

const struct size_class size_classes[CLASS_COUNT] = {
    CLASS(16),        CLASS(32),        CLASS(48),         CLASS(64),
    CLASS(80),        CLASS(96),        CLASS(112),        CLASS(128),
    DOUBLING(128u),   DOUBLING(256u),   DOUBLING(512u),    DOUBLING(1024u),
    DOUBLING(2048u),  DOUBLING(4096u),  DOUBLING(8192u),   DOUBLING(16384u),
    DOUBLING(32768u), DOUBLING(65536u), DOUBLING(131072u),
};
/* clang-format on */
