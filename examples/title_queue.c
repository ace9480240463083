/* SPDX-License-Identifier: MIT */
/* The ring of one producer and one consumer. */
#include "title_queue.h"

#include <string.h>

_Static_assert((QUEUE_SLOTS & (QUEUE_SLOTS - 1)) == 0,
               "the counts wrap, so the slots must be a power of two");

void queue_init(struct queue *queue)
{
    memset(queue->slots, 0, sizeof queue->slots);
    atomic_init(&queue->pushed, 0);
    atomic_init(&queue->popped, 0);
}

bool queue_push(struct queue *queue, void *item)
{
    size_t pushed = atomic_load_explicit(&queue->pushed, memory_order_relaxed);
    /* Pairs with the release in queue_pop(): the slot has been read. */
    size_t popped = atomic_load_explicit(&queue->popped, memory_order_acquire);

    if (pushed - popped == QUEUE_SLOTS)
        return false;
    queue->slots[pushed % QUEUE_SLOTS] = item;
    /* Publishes the slot and what the item points to. */
    atomic_store_explicit(&queue->pushed, pushed + 1, memory_order_release);
    return true;
}

bool queue_is_empty(struct queue *queue)
{
    return atomic_load_explicit(&queue->pushed, memory_order_acquire) ==
           atomic_load_explicit(&queue->popped, memory_order_relaxed);
}

void *queue_pop(struct queue *queue)
{
    size_t popped = atomic_load_explicit(&queue->popped, memory_order_relaxed);
    /* Pairs with the release in queue_push(). */
    size_t pushed = atomic_load_explicit(&queue->pushed, memory_order_acquire);
    void *item;

    if (pushed == popped)
        return NULL;
    item = queue->slots[popped % QUEUE_SLOTS];
    /* Gives the slot back to the producer. */
    atomic_store_explicit(&queue->popped, popped + 1, memory_order_release);
    return item;
}
