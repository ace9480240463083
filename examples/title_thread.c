/* SPDX-License-Identifier: MIT */
/* Starting threads. */
#include "title_thread.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STACK_BYTES       ((size_t)512 * 1024)
#define REALTIME_PRIORITY 1

void title_thread_create(pthread_t *thread, void *(*main)(void *),
                         void *argument)
{
    pthread_attr_t attributes;
    int error;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    error = pthread_create(thread, &attributes, main, argument);
    pthread_attr_destroy(&attributes);
    if (error != 0) {
        fprintf(stderr, "title: no thread: %s\n", strerror(error));
        exit(EXIT_FAILURE);
    }
}

int title_thread_make_realtime(void)
{
    const struct sched_param priority = {.sched_priority = REALTIME_PRIORITY};

    return pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority);
}
