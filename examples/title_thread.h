/* SPDX-License-Identifier: MIT */
/* Starting threads. */
#ifndef TITLE_THREAD_H
#define TITLE_THREAD_H

#include <pthread.h>

/* Starts a thread; stops the title when that fails. */
void title_thread_create(pthread_t *thread, void *(*main)(void *),
                         void *argument);

/* Asks for the calling thread to be scheduled in real time, which takes a
 * privilege.  Returns 0 or an error number. */
int title_thread_make_realtime(void);

#endif
