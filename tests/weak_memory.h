/* SPDX-License-Identifier: MIT */
/*
 * What the two threads of an interleaving (interleaving.h) may read, by C11's
 * memory model instead of that of the processor they run on.
 *
 * Every value that an atomic object has had is kept.  A load returns one of
 * them, chosen by the schedule, but none older than what its thread has stored
 * or read there, or knows of by acquire and release; a sequentially consistent
 * load none older than the last sequentially consistent store.  Two accesses to
 * a byte that nothing orders, at least one of them a store and at least one not
 * atomic, are a data race, which ends the process.
 *
 * C11 allows all of this, and more: here stores take effect in the order of
 * execution, a read-modify-write returns the newest value even if it fails, and
 * no load is delayed past a later store.  Fences are missing, since the library
 * has none.  Memory that the kernel has just mapped is known to both threads.
 */
#ifndef WEAK_MEMORY_H
#define WEAK_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WEAK_THREADS = 2 };

/*
 * What happens before what.  Each access to an atomic object has a number in
 * its thread, `now` the last one.  Accesses of the other thread up to number
 * `known` happen before its next one.  A plain access has the number of the
 * next atomic one, which may release it.
 */
struct weak_clock {
    unsigned now, known;
};
extern struct weak_clock weak_clocks[WEAK_THREADS];

/* Which of the values that it may return a load returns. */
enum { WEAK_NEWEST, WEAK_OLDEST, WEAK_BY_CHANCE };

/* All that was done before is known to both threads.  A choice of
 * WEAK_BY_CHANCE or more is a seed. */
void weak_memory_begin(unsigned choice);

/* Accesses to an object of 1, 2, 4 or 8 bytes by one of the threads.  Orders
 * are the compiler's, __ATOMIC_RELAXED and so on. */
uint64_t weak_load(int thread, void *address, size_t size, int order);
void weak_store(int thread, void *address, size_t size, uint64_t value,
                int order);
/* A read-modify-write: compares with *expected and stores, or fetches. */
bool weak_compare_exchange(int thread, void *address, size_t size,
                           uint64_t *expected, uint64_t desired, int success,
                           int failure);

/* The same without a model, for all other threads. */
uint64_t true_load(const void *address, size_t size);
void true_store(void *address, size_t size, uint64_t value);
bool true_compare_exchange(void *address, size_t size, uint64_t *expected,
                           uint64_t desired);

/* A memory barrier on all threads. */
void weak_barrier(void);

/* These bytes are no atomic object any longer. */
void weak_forget(const void *address, size_t size);

/* Zeroed memory, never freed. */
void *weak_obtain(size_t size);

/* From now on what the kernel maps, takes back and orders is taken note of. */
void weak_memory_watch_kernel(void);

/* --- data_race.c --- */

enum access_kind { PLAIN_LOAD, PLAIN_STORE, ATOMIC_LOAD, ATOMIC_STORE };

struct access {
    int thread;
    enum access_kind kind;
    const void *address;
    size_t size;
    const void *caller; /* an address in the code that does it */
};

/* Notes an access before it is made.  Ends the process if it is a race with an
 * access of the other thread. */
void race_note(const struct access *access);

/* The same for an access to whole pages. */
void race_note_pages(const struct access *access);

/* The kernel has put other memory there. */
void race_forget(const void *address, size_t size);

#endif
