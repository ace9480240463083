/* SPDX-License-Identifier: MIT */
/* What is mapped, for tests that compare it: without leaves of the page map,
 * since some mappings need a new one, depending on their addresses. */
#ifndef MAPPED_H
#define MAPPED_H

#include <stddef.h>

#include "os.h"
#include "page_map.h"

static inline size_t mapped_bytes(void)
{
    return os_mapped_bytes() - page_map_bytes();
}

#endif
