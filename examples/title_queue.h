/* SPDX-License-Identifier: MIT */
/*
 * The hand-over between two threads: a bounded ring of pointers with one
 * producer and one consumer.  Neither ever waits, so that an audio thread can
 * use it.
 */
#ifndef TITLE_QUEUE_H
#define TITLE_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define QUEUE_SLOTS      1024
#define QUEUE_CACHE_LINE 64

/* The two counts lie on lines of their own, so that the two threads do not
 * slow each other down. */
struct queue {
    char apart_from_what_precedes[QUEUE_CACHE_LINE];
    _Atomic size_t pushed; /* written by the producer */
    char apart_from_pushed[QUEUE_CACHE_LINE];
    _Atomic size_t popped; /* written by the consumer */
    char apart_from_popped[QUEUE_CACHE_LINE];
    void *slots[QUEUE_SLOTS];
};

/* Empties the ring and touches all of its memory. */
void queue_init(struct queue *queue);

/* Hands `item` over; false when the ring is full.  The producer's. */
bool queue_push(struct queue *queue, void *item);

/* Whether there is nothing to pop.  The consumer's. */
bool queue_is_empty(struct queue *queue);

/* The oldest item, or NULL when there is none.  The consumer's. */
void *queue_pop(struct queue *queue);

#endif
