/* SPDX-License-Identifier: MIT */
/*
 * Random numbers, and tables of sizes and indices made from them.
 */
#include "random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { WARM_UP = 16 };

struct random random_stream(uint64_t stream)
{
    struct random random = {0x9e3779b97f4a7c15u * (stream + 1)};

    for (int i = 0; i < WARM_UP; i++)
        random_next(&random);
    return random;
}

uint64_t random_next(struct random *random)
{
    random->state ^= random->state >> 12;
    random->state ^= random->state << 25;
    random->state ^= random->state >> 27;
    return random->state * 0x2545f4914f6cdd1du;
}

uint32_t random_below(struct random *random, uint32_t limit)
{
    return (uint32_t)((random_next(random) >> 32) * limit >> 32);
}

uint32_t *random_sizes(struct random *random, struct size_range range)
{
    uint32_t *sizes = harness_memory(SIZE_COUNT * sizeof *sizes);
    double ratio = ((double)range.most + 1) / (double)range.least;

    for (size_t i = 0; i < SIZE_COUNT; i++) {
        double part = (double)(random_next(random) >> 11) * 0x1p-53;

        sizes[i] = (uint32_t)((double)range.least * pow(ratio, part));
    }
    return sizes;
}

uint32_t *random_indices(struct random *random, uint32_t limit)
{
    uint32_t *indices = harness_memory(INDEX_COUNT * sizeof *indices);

    for (size_t i = 0; i < INDEX_COUNT; i++)
        indices[i] = random_below(random, limit);
    return indices;
}

uint32_t *random_order(struct random *random, uint32_t count)
{
    uint32_t *order = harness_memory(count * sizeof *order);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t other = random_below(random, i + 1);

        order[i] = order[other];
        order[other] = i;
    }
    return order;
}

void *harness_memory(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (memory == MAP_FAILED) {
        perror("bench: memory of the harness");
        exit(EXIT_FAILURE);
    }
    return memory;
}
