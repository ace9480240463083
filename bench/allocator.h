/* SPDX-License-Identifier: MIT */
/*
 * The allocators that can be measured, each as the pair of callbacks that a
 * title would install for it.
 */
#ifndef BENCH_ALLOCATOR_H
#define BENCH_ALLOCATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "partyalloc.h"

/* The callback pair, called through pointers as Party calls it. */
struct callbacks {
    void *(*allocate)(size_t size, uint32_t memory_type_id);
    void (*release)(void *pointer, uint32_t memory_type_id);
};

/* What partyalloc offers besides the pair; all NULL for a peer. */
struct verbs {
    size_t (*maintain)(uint64_t budget_ns);
    size_t (*trim)(void);
    int (*start_service_thread)(void);
    int (*stop_service_thread)(void);
    int (*get_stats)(struct partyalloc_stats *stats);
};

struct allocator {
    char name[32];
    struct callbacks callbacks;
    struct verbs verbs;
};

/*
 * Loads an allocator.  `spec` is a name that is known here (allocator_list()),
 * or `name=path:allocate:free`; if `path` begins with "pair:", the functions
 * take Party's two arguments themselves and need no wrapper.
 *
 * Returns true, or false after a line in `error`.
 */
bool allocator_load(const char *spec, struct allocator *allocator,
                    char *error, size_t error_size);

/* Prints the known names, one a line. */
void allocator_list(void);

#endif
