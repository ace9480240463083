/* SPDX-License-Identifier: MIT */
/* Loading and unloading assets. */
#include "title_loading.h"

#include <string.h>

#include "title_allocator.h"
#include "title_message.h"
#include "title_thread.h"

/* An asset is twice as large as what is read for it. */
#define PACKING        2
#define NAME_BYTES_MIN 16
#define NAME_BYTES_MAX 512

static const size_t asset_sizes[ASSETS_PER_LOADER_MAX] = {
    512 * 1024,      1024 * 1024,     3 * 1024 * 1024,
    2 * 1024 * 1024, 6 * 1024 * 1024, 4 * 1024 * 1024,
};

static uint64_t sum_words(const unsigned char *data, size_t size)
{
    uint64_t sum = 0;

    for (size_t i = 0; i + sizeof sum <= size; i += sizeof sum) {
        uint64_t word;

        memcpy(&word, data + i, sizeof word);
        sum = sum * 31 + word;
    }
    return sum;
}

/* Stands for the read from a disk. */
static void fill_staging(unsigned char *staging, size_t size, uint32_t *random)
{
    for (size_t i = 0; i + sizeof *random <= size; i += sizeof *random) {
        random_next(random);
        memcpy(staging + i, random, sizeof *random);
    }
}

static struct asset *load_asset(struct loader *loader, size_t size)
{
    struct asset *asset = title_allocate_or_stop(sizeof *asset, MEMORY_ASSET);
    size_t packed = size / PACKING;

    asset->size = size;
    asset->staging = title_allocate_or_stop(packed, MEMORY_STAGING);
    fill_staging(asset->staging, packed, &loader->random);
    asset->data = title_allocate_or_stop(size, MEMORY_ASSET);
    for (size_t part = 0; part < PACKING; part++)
        memcpy(asset->data + part * packed, asset->staging, packed);
    asset->sum = sum_words(asset->data, size);
    for (size_t i = 0; i < ASSET_NAMES; i++) {
        size_t length =
            random_between(&loader->random, NAME_BYTES_MIN, NAME_BYTES_MAX);

        asset->names[i] = title_allocate_or_stop(length, MEMORY_ASSET_NAME);
        memset(asset->names[i], 'a' + (int)(i % 26), length);
    }
    return asset;
}

static void *loader_main(void *argument)
{
    struct loader *loader = argument;

    thread_begin(THREAD_LOADER);
    for (unsigned i = 0; i < loader->assets; i++)
        queue_push(&loader->loaded, load_asset(loader, asset_sizes[i]));
    thread_end();
    return NULL;
}

void loading_begin(struct loading *loading, unsigned assets_per_loader)
{
    memset(loading, 0, sizeof *loading);
    loading->expected = LOADERS * assets_per_loader;
    for (unsigned i = 0; i < LOADERS; i++) {
        struct loader *loader = &loading->loaders[i];

        loader->assets = assets_per_loader;
        loader->random = i + 1;
        queue_init(&loader->loaded);
        title_thread_create(&loader->thread, loader_main, loader);
    }
}

/* The title's part: it looks at the asset and has no more use for what was
 * read. */
static void take_over(struct loading *loading, struct asset *asset)
{
    if (sum_words(asset->data, asset->size) != asset->sum)
        loading->corrupted++;
    title_free(asset->staging, MEMORY_STAGING);
    asset->staging = NULL;
    loading->assets[loading->loaded++] = asset;
}

/* Whether every loader has an asset to hand over.  Taking them together makes
 * the peak of memory the same however the loaders are scheduled. */
static bool all_have_one(struct loading *loading)
{
    for (unsigned i = 0; i < LOADERS; i++) {
        if (queue_is_empty(&loading->loaders[i].loaded))
            return false;
    }
    return true;
}

bool loading_frame(struct loading *loading)
{
    if (all_have_one(loading)) {
        for (unsigned i = 0; i < LOADERS; i++)
            take_over(loading, queue_pop(&loading->loaders[i].loaded));
    }
    if (loading->loaded < loading->expected)
        return false;
    for (unsigned i = 0; i < LOADERS; i++)
        pthread_join(loading->loaders[i].thread, NULL);
    return true;
}

static void unload_asset(struct asset *asset, struct churn *churn)
{
    churn_free_elsewhere(churn, asset->names, ASSET_NAMES);
    title_free(asset->data, MEMORY_ASSET);
    title_free(asset, MEMORY_ASSET);
}

void loading_unload(struct loading *loading, struct churn *churn)
{
    for (unsigned i = 0; i < loading->loaded; i++) {
        struct asset *asset = loading->assets[i];

        /* Nobody may have written to it while the title played. */
        if (sum_words(asset->data, asset->size) != asset->sum)
            loading->corrupted++;
        unload_asset(asset, churn);
    }
    loading->loaded = 0;
}
