/* SPDX-License-Identifier: MIT */
/* The library as a running program loads it. */
#include "loaded_library.h"

#include <dlfcn.h>
#include <unistd.h>

#include "support.h"

/* Where the build leaves it: given by the makefile. */
#ifndef LIBRARY_PATH
#error "LIBRARY_PATH is not defined"
#endif

bool library_exists(void)
{
    return access(LIBRARY_PATH, R_OK) == 0;
}

/* dlsym() gives an object pointer, not one to a function. */
#define LOAD(library, name) \
    do { \
        *(void **)&(library).name = \
            dlsym((library).handle, "partyalloc_" #name); \
        require((library).name != NULL); \
    } while (0)

struct loaded_library load_library(void)
{
    struct loaded_library library;

    library.handle = dlopen(LIBRARY_PATH, RTLD_NOW | RTLD_LOCAL);
    require(library.handle != NULL);
    LOAD(library, allocate);
    LOAD(library, free);
    LOAD(library, thread_flush);
    LOAD(library, get_stats);
    return library;
}

struct partyalloc_stats loaded_stats(const struct loaded_library *library)
{
    struct partyalloc_stats stats;

    stats.size = sizeof stats;
    require(library->get_stats(&stats) == 0);
    return stats;
}
