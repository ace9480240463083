/* SPDX-License-Identifier: MIT */
/*
 * A burst: many blocks of 16 to 2,047 bytes, all written, then all freed in a
 * scattered order.
 */
#ifndef BENCH_BURST_H
#define BENCH_BURST_H

#include "run.h"

struct burst {
    uint32_t count;
    uint32_t *sizes;
    uint32_t *order;
    void **blocks;
};

void burst_setup(struct burst *burst, uint32_t count);

/* The sizes differ a little from round to round. */
void burst_once(const struct run *run, struct burst *burst, uint32_t round);

#endif
