/* SPDX-License-Identifier: MIT */
/*
 * Everything that is random in a workload is drawn before the clock starts,
 * from generators with fixed seeds: each allocator meets the same requests.
 */
#ifndef BENCH_RANDOM_H
#define BENCH_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct random {
    uint64_t state;
};

/* A generator of its own for each `stream`. */
struct random random_stream(uint64_t stream);

/* The next number of the generator (xorshift64*). */
uint64_t random_next(struct random *random);

/* A number below `limit`. */
uint32_t random_below(struct random *random, uint32_t limit);

/* Tables that a workload cycles through; their lengths are powers of two. */
enum { SIZE_COUNT = 1 << 16, INDEX_COUNT = 1 << 20 };

struct size_range {
    uint32_t least;
    uint32_t most;
};

/* SIZE_COUNT sizes of a range, log-uniform: as many from 16 to 31 bytes as
 * from 1,024 to 2,047. */
uint32_t *random_sizes(struct random *random, struct size_range range);

/* INDEX_COUNT indices below `limit`, uniform. */
uint32_t *random_indices(struct random *random, uint32_t limit);

/* The numbers below `count` in a scattered order. */
uint32_t *random_order(struct random *random, uint32_t count);

/* Zeroed memory of the harness, resident from here on, so that it is part of
 * what the process had before the allocator's first block. */
void *harness_memory(size_t bytes);

#endif
