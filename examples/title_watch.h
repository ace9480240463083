/* SPDX-License-Identifier: MIT */
/*
 * The watch: the kernel tells us of every call that concerns the memory of the
 * process, whoever makes it: the allocator, libc or a library.  The calls are
 * counted and then go on as if nobody had looked.
 */
#ifndef TITLE_WATCH_H
#define TITLE_WATCH_H

#include <stdint.h>

/* Sets the watch up and checks that it works; stops the title if the system
 * cannot.  Once per process: all later memory calls are seen, and slow. */
void watch_open(void);

/* Begins to count. */
void watch_begin(void);

/* Stops counting; returns how many calls there were. */
uint64_t watch_end(void);

/* Prints how many calls of which kind there were. */
void watch_print(void);

#endif
