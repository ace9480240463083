/* SPDX-License-Identifier: MIT */
/* The library as a running program loads it. */
#ifndef LOADED_LIBRARY_H
#define LOADED_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "partyalloc.h"

struct loaded_library {
    void *handle;
    void *(*allocate)(size_t size, uint32_t type);
    void (*free)(void *block, uint32_t type);
    void (*thread_flush)(void);
    int (*get_stats)(struct partyalloc_stats *stats);
};

/* Whether there is a shared library to be loaded. */
bool library_exists(void);
/* Requires that it can be loaded. */
struct loaded_library load_library(void);
struct partyalloc_stats loaded_stats(const struct loaded_library *library);

#endif
