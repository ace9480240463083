/* SPDX-License-Identifier: MIT */
/* What the slab layer has present ahead of use, when memory is reserved. */
#include "slab_internal.h"

#include "slab_index.h"

size_t slab_metadata_bytes(size_t bytes)
{
    /* Of a slab of the smallest blocks, and its place in the index. */
    size_t each = sizeof(struct slab) + size_classes[0].capacity + CACHE_LINE;
    return (bytes / UNIT_BYTES + 1) * each;
}

void slab_reserve(void)
{
    slab_index_reserve();
    os_touch(&slab_sums, sizeof(slab_sums));
}
