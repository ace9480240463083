/* SPDX-License-Identifier: MIT */
/* The compiler's extensions that partyalloc uses, under one name each. */
#ifndef PARTYALLOC_COMPILER_H
#define PARTYALLOC_COMPILER_H

#define likely(condition)   __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

/* Part of the symbol map: visible to the title. */
#define EXPORTED __attribute__((visibility("default")))

/* On declarations of the library's own data: addressed without the indirection
 * that an interposable symbol would need. */
#define INTERNAL __attribute__((visibility("hidden")))

/* Called from one place, rarely: kept out of the caller's code. */
#define SLOW_PATH __attribute__((noinline, cold))

/* A path that is not always taken, but whose time counts: kept out of the
 * caller's code, and otherwise compiled like any other. */
#define OUT_OF_LINE __attribute__((noinline))

/* Inlined even where the compiler's cost model says no: fast paths. */
#define FAST_PATH static inline __attribute__((always_inline))

/* On the two functions that nearly all calls go to: each begins on a cache
 * line.  Otherwise any change to the code before one would shift it within the
 * lines, and change its time by 5%. */
#define FAST_ENTRY __attribute__((aligned(CACHE_LINE)))

/* The distance that avoids false sharing: two lines, since x86-64 prefetches
 * them in pairs. */
#define CACHE_LINE      64
#define CACHE_LINE_PAIR 128

/* Invariants of a layer, checked at run time with --enable-checks only. */
#ifdef PARTYALLOC_CHECKS
#include "fatal.h"
#define CHECK(condition)                                                       \
    ((condition) ? (void)0 : fatal_check(__FILE__, __LINE__, #condition))
#else
#define CHECK(condition) ((void)0)
#endif

#endif
