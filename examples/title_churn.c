/* SPDX-License-Identifier: MIT */
/* Threads that come and go. */
#include "title_churn.h"

#include "title_allocator.h"
#include "title_message.h"
#include "title_thread.h"

#define BLOCK_BYTES_MIN 16
#define BLOCK_BYTES_MAX 2047

static void *allocate_some(uint32_t *random)
{
    size_t size = random_between(random, BLOCK_BYTES_MIN, BLOCK_BYTES_MAX);

    return title_allocate_or_stop(size, MEMORY_FRAME);
}

/* Its first call to the allocator is a free, and so is its last. */
static void *free_only_main(void *argument)
{
    struct short_lived *self = argument;

    thread_begin(THREAD_SHORT_LIVED);
    for (size_t i = 0; i < SHORT_LIVED_BLOCKS; i++) {
        title_free(self->blocks[i], MEMORY_FRAME);
        self->blocks[i] = NULL;
    }
    thread_end();
    return NULL;
}

static void *leave_half_main(void *argument)
{
    struct short_lived *self = argument;

    thread_begin(THREAD_SHORT_LIVED);
    for (size_t i = 0; i < SHORT_LIVED_BLOCKS; i++)
        self->blocks[i] = allocate_some(&self->random);
    for (size_t i = 0; i < SHORT_LIVED_BLOCKS; i += 2) {
        title_free(self->blocks[i], MEMORY_FRAME);
        self->blocks[i] = NULL;
    }
    thread_end();
    return NULL;
}

static void start(struct churn *churn, struct short_lived *thread,
                  void *(*main)(void *))
{
    title_thread_create(&thread->thread, main, thread);
    thread->running = true;
    churn->started++;
}

static void collect_one(struct short_lived *thread)
{
    if (!thread->running)
        return;
    pthread_join(thread->thread, NULL);
    thread->running = false;
    for (size_t i = 0; i < SHORT_LIVED_BLOCKS; i++) {
        title_free(thread->blocks[i], MEMORY_FRAME);
        thread->blocks[i] = NULL;
    }
}

void churn_collect(struct churn *churn)
{
    for (size_t i = 0; i < SHORT_LIVED_THREADS; i++)
        collect_one(&churn->threads[i]);
}

void churn_burst(struct churn *churn, uint32_t *random)
{
    for (size_t i = 0; i < SHORT_LIVED_THREADS; i++) {
        struct short_lived *thread = &churn->threads[i];

        if (i == 0) {
            thread->random = random_next(random);
            start(churn, thread, leave_half_main);
            continue;
        }
        for (size_t k = 0; k < SHORT_LIVED_BLOCKS; k++)
            thread->blocks[k] = allocate_some(random);
        start(churn, thread, free_only_main);
    }
}

void churn_free_elsewhere(struct churn *churn, void *const *blocks,
                          size_t count)
{
    struct short_lived *thread = &churn->threads[0];

    collect_one(thread);
    for (size_t i = 0; i < SHORT_LIVED_BLOCKS; i++)
        thread->blocks[i] = i < count ? blocks[i] : NULL;
    start(churn, thread, free_only_main);
    collect_one(thread);
}
