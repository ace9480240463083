/* SPDX-License-Identifier: MIT */
/*
 * Threads that come and go.  Most only ever free what the title allocated; one
 * in four allocates, frees half and leaves the rest to the title.
 */
#ifndef TITLE_CHURN_H
#define TITLE_CHURN_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHORT_LIVED_THREADS 4
#define SHORT_LIVED_BLOCKS  64

/* One thread's blocks: given to it, or left by it. */
struct short_lived {
    pthread_t thread;
    bool running;
    uint32_t random;
    void *blocks[SHORT_LIVED_BLOCKS];
};

struct churn {
    struct short_lived threads[SHORT_LIVED_THREADS];
    uint64_t started;
};

/* Waits for the last burst of threads, if there was one, and frees what they
 * left. */
void churn_collect(struct churn *churn);

/* Starts a burst of threads. */
void churn_burst(struct churn *churn, uint32_t *random);

/* Lets a thread free the blocks; returns when it has ended. */
void churn_free_elsewhere(struct churn *churn, void *const *blocks,
                          size_t count);

#endif
