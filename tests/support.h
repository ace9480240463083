/* SPDX-License-Identifier: MIT */
/*
 * What the tests share: a random sequence that is the same in every run,
 * patterns to fill blocks with, child processes whose end is checked, threads,
 * and figures that the kernel keeps about this process.
 *
 * A test body runs on the main thread and may use cmocka's assertions.  Code
 * that runs on another thread or in a child must use require() instead:
 * cmocka's assertions jump back into the runner.
 */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#include "partyalloc.h"

/* gcc defines macros for these, clang has features. */
#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define UNDER_THREAD_SANITIZER 1
#else
#define UNDER_THREAD_SANITIZER 0
#endif
#if UNDER_THREAD_SANITIZER || defined(__SANITIZE_ADDRESS__) \
    || __has_feature(address_sanitizer)
#define UNDER_SANITIZER 1
#else
#define UNDER_SANITIZER 0
#endif

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* The largest size that is served through a size class. */
#define SMALL_SIZE_MAX (256 * KIB)

#define ARRAY_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* The type id that tests pass where they have no reason for another. */
#define ANY_TYPE 7u

/* Stops the whole process, with a line on standard error, unless it holds. */
#define require(condition) \
    ((condition) ? (void)0 : require_failed(__FILE__, __LINE__, #condition))
_Noreturn void require_failed(const char *file, int line, const char *text);

/*
 * Runs the tests and prints TAP.  To be called once, at the end of main().
 * TEST in the environment names one of them to be run alone.
 */
#define run_all(tests) run_test_array((tests), ARRAY_LENGTH(tests))
int run_test_array(const struct CMUnitTest *tests, size_t count);

/* Reports the test program as skipped: for use at main()'s start. */
int skip_all(const char *reason);

/* --- a repeatable random sequence --- */

struct random {
    uint64_t state;
};

uint64_t random_next(struct random *random);
uint64_t random_below(struct random *random, uint64_t bound);
/* Each power of two from low to high is equally likely. */
size_t random_size(struct random *random, size_t low, size_t high);

/* --- contents of blocks --- */

void fill(void *block, size_t size, uint64_t seed);
bool holds(const void *block, size_t size, uint64_t seed);
bool is_zero(const void *block, size_t size);

/* A block and what it was filled with, for tests that keep many. */
struct filled {
    void *block;
    size_t size;
    uint64_t seed;
};

/* Allocates and fills; requires that there is memory. */
struct filled filled_allocate(size_t size, uint64_t seed);
/* Requires that the contents are still there, then frees. */
void filled_free(struct filled *filled);
/* Requires that no two of the blocks overlap, by their usable sizes. */
void require_disjoint(void *const *blocks, size_t count);

/* --- children --- */

#define CHILD_TEXT_MAX ((size_t)4096)

/* How a child ended: its wait status, and what it wrote on standard error. */
struct ending {
    int status;
    char text[CHILD_TEXT_MAX];
};

typedef void child_body(void *argument);

/* Runs the body in a child, which leaves with status 0 if the body returns. */
struct ending run_in_child(child_body *body, void *argument);

/* Asserts that the child's body returns and that nothing is written. */
void assert_child_succeeds(child_body *body, void *argument);

/*
 * Asserts that the child stops with SIGABRT after the one line that it
 * announced with expect_stop() just before, and nothing else.
 */
void assert_child_stops(child_body *body, void *argument);
/* The same, with a name to be shown when it fails. */
void assert_scenario_stops(const char *scenario, child_body *body,
                           void *argument);
void expect_stop(const char *fault, const void *pointer);

/* --- threads --- */

typedef void *thread_body(void *argument);

#define THREADS_MAX 64

/* Starts `count` threads on consecutive elements of `arguments`, each of
 * `stride` bytes (0: all get the same), and waits for all of them. */
void run_threads(size_t count, thread_body *body, void *arguments,
                 size_t stride);
/* Runs one thread to its end. */
void run_thread(thread_body *body, void *argument);
/* Waits until another thread has stored a value: sees it at once if that thread
 * has its own processor, and does not wait for a whole slice if they share one.
 */
void await_value(const _Atomic(unsigned) *place, unsigned value);
void sleep_ms(unsigned milliseconds);
uint64_t clock_ns(void);

/* --- figures --- */

struct partyalloc_stats stats_now(void);
size_t resident_bytes(void);
size_t mapping_count(void);
/* Page faults of this thread that needed no input or output. */
uint64_t minor_faults(void);

/*
 * From here on any kernel call that concerns memory kills the process (with
 * SIGSYS).  Only in a child.  Without effect under a sanitizer, which needs
 * such calls itself.
 */
void forbid_memory_calls(void);

/* mmap() as under mlockall(MCL_FUTURE): all pages come at once. */
void *mmap_filled(void *hint, size_t length, int protection, int flags, int fd,
                  off_t offset);

#endif
