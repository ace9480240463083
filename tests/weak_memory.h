/* SPDX-License-Identifier: MIT */
/*
 * What the two threads of an interleaving (interleaving.h) may read, by the
 * memory model of C11 instead of by that of the processor that runs them.
 *
 * Every value that an atomic object has had is kept.  A load has one of those
 * that are not older than what its thread has stored or read there, or has
 * acquired from the other thread, which released it; one that is sequentially
 * consistent has none older than the last such store.  Which of them, the
 * schedule says.  And two accesses to a byte, of which at least one is a store
 * and one is not atomic, where neither happens before the other, are a data
 * race, which ends the process.
 *
 * All that a thread does here C11 allows.  The model allows more: stores come
 * in the order in which they are executed, a read-modify-write, done or failed,
 * has the newest value, and no load comes after a store that follows it.
 * Fences have no entry here, as the library has none.  What the kernel maps
 * anew is known to both threads.
 */
#ifndef WEAK_MEMORY_H
#define WEAK_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WEAK_THREADS = 2 };

/*
 * What has happened before what: each access of thread i to an atomic object
 * has a number, `now` is that of its last one.  It knows accesses of the other
 * thread up to number `known`.  A plain access has the number of the atomic one
 * to come, which may release it.
 */
struct weak_clock {
    unsigned now, known;
};
extern struct weak_clock weak_clocks[WEAK_THREADS];

/* Which of the values that it may have a load has. */
enum { WEAK_NEWEST, WEAK_OLDEST, WEAK_BY_CHANCE };

/* Begins with threads that know all that was done before.  From WEAK_BY_CHANCE
 * on the choice is a seed as well. */
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

/* A barrier in all threads, by one of them. */
void weak_barrier(void);

/* What was an atomic object in these bytes is none any longer. */
void weak_forget(const void *address, size_t size);

/* Zeroed memory, for as long as the process lasts. */
void *weak_obtain(size_t size);

/* Learns from now on what the kernel maps, and of its barriers. */
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

/* Notes an access before it is made.  Ends the process when it and another one
 * there, of the other thread, are a race. */
void race_note(const struct access *access);

/* The same for an access to all bytes of some pages. */
void race_note_pages(const struct access *access);

/* The kernel has put other memory there. */
void race_forget(const void *address, size_t size);

#endif
