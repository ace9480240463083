/* SPDX-License-Identifier: MIT */
/*
 * C11 atomics of which each access is a step that another thread can come
 * before: included ahead of all else in every file that is part of an
 * interleaving (interleaving.h).
 */
#ifndef INTERLEAVING_ATOMICS_H
#define INTERLEAVING_ATOMICS_H

#include <stdatomic.h>

void interleaving_step(void);

/* The compiler's own, by the names that gcc and clang have for them. */
#ifdef __clang__
#define ATOMIC_ACCESS(name) __c11_atomic_##name
#define ATOMIC_FETCH(name)  __c11_atomic_fetch_##name
#define COMPARE_STRONG(object, expected, desired, success, failure) \
    __c11_atomic_compare_exchange_strong(object, expected, desired, success, \
                                         failure)
#else
#define ATOMIC_ACCESS(name) __atomic_##name##_n
#define ATOMIC_FETCH(name)  __atomic_fetch_##name
#define COMPARE_STRONG(object, expected, desired, success, failure) \
    __atomic_compare_exchange_n(object, expected, desired, 0, success, failure)
#endif

#define ATOMIC_STEP(builtin, ...) (interleaving_step(), builtin(__VA_ARGS__))

#undef atomic_load_explicit
#define atomic_load_explicit(...) ATOMIC_STEP(ATOMIC_ACCESS(load), __VA_ARGS__)
#undef atomic_store_explicit
#define atomic_store_explicit(...) \
    ATOMIC_STEP(ATOMIC_ACCESS(store), __VA_ARGS__)
#undef atomic_exchange_explicit
#define atomic_exchange_explicit(...) \
    ATOMIC_STEP(ATOMIC_ACCESS(exchange), __VA_ARGS__)
#undef atomic_fetch_add_explicit
#define atomic_fetch_add_explicit(...) \
    ATOMIC_STEP(ATOMIC_FETCH(add), __VA_ARGS__)
#undef atomic_fetch_sub_explicit
#define atomic_fetch_sub_explicit(...) \
    ATOMIC_STEP(ATOMIC_FETCH(sub), __VA_ARGS__)
#undef atomic_fetch_and_explicit
#define atomic_fetch_and_explicit(...) \
    ATOMIC_STEP(ATOMIC_FETCH(and), __VA_ARGS__)
#undef atomic_fetch_or_explicit
#define atomic_fetch_or_explicit(...) \
    ATOMIC_STEP(ATOMIC_FETCH(or), __VA_ARGS__)

/* The weak one fails with another thread only: what else it may fail for no
 * schedule could say. */
#undef atomic_compare_exchange_strong_explicit
#define atomic_compare_exchange_strong_explicit(...) \
    ATOMIC_STEP(COMPARE_STRONG, __VA_ARGS__)
#undef atomic_compare_exchange_weak_explicit
#define atomic_compare_exchange_weak_explicit \
    atomic_compare_exchange_strong_explicit

#undef atomic_load
#define atomic_load(object) atomic_load_explicit((object), memory_order_seq_cst)
#undef atomic_store
#define atomic_store(object, value) \
    atomic_store_explicit((object), (value), memory_order_seq_cst)
#undef atomic_exchange
#define atomic_exchange(object, value) \
    atomic_exchange_explicit((object), (value), memory_order_seq_cst)
#undef atomic_fetch_add
#define atomic_fetch_add(object, value) \
    atomic_fetch_add_explicit((object), (value), memory_order_seq_cst)
#undef atomic_fetch_sub
#define atomic_fetch_sub(object, value) \
    atomic_fetch_sub_explicit((object), (value), memory_order_seq_cst)
#undef atomic_fetch_and
#define atomic_fetch_and(object, value) \
    atomic_fetch_and_explicit((object), (value), memory_order_seq_cst)
#undef atomic_fetch_or
#define atomic_fetch_or(object, value) \
    atomic_fetch_or_explicit((object), (value), memory_order_seq_cst)
#undef atomic_compare_exchange_strong
#define atomic_compare_exchange_strong(object, expected, desired) \
    atomic_compare_exchange_strong_explicit((object), (expected), (desired), \
                                            memory_order_seq_cst, \
                                            memory_order_seq_cst)

#endif
