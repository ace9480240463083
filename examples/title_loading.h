/* SPDX-License-Identifier: MIT */
/*
 * Loading: two threads that read assets into large staging buffers, unpack them
 * into large buffers that stay, and make many small names.  The title frees the
 * staging buffers, and at the end short-lived threads free the names.
 */
#ifndef TITLE_LOADING_H
#define TITLE_LOADING_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "title_churn.h"
#include "title_queue.h"

#define LOADERS               2
#define ASSETS_PER_LOADER_MAX 6
#define ASSET_NAMES           SHORT_LIVED_BLOCKS

/* Allocated by a loader, with all that it points to. */
struct asset {
    size_t size;
    uint64_t sum;
    unsigned char *data;
    unsigned char *staging; /* NULL when the title has freed it */
    void *names[ASSET_NAMES];
};

struct loader {
    pthread_t thread;
    unsigned assets;
    uint32_t random;
    struct queue loaded; /* loader to title: struct asset */
};

struct loading {
    struct loader loaders[LOADERS];
    struct asset *assets[LOADERS * ASSETS_PER_LOADER_MAX];
    unsigned expected;
    unsigned loaded;
    uint64_t corrupted;
};

void loading_begin(struct loading *loading, unsigned assets_per_loader);

/* Takes over what has been loaded since the last frame; true when that was
 * all, and the threads have ended. */
bool loading_frame(struct loading *loading);

/* Frees everything; the names through short-lived threads. */
void loading_unload(struct loading *loading, struct churn *churn);

#endif
