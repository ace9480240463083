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

/* The compiler's own, by the names that gcc and clang have for them: gcc's take
 * any object, clang's ask for an atomic one. */
#ifdef __clang__
#define ATOMIC_BUILTIN(gcc_name, clang_name) clang_name
#define COMPARE_STRONG(object, expected, desired, success, failure) \
    __c11_atomic_compare_exchange_strong(object, expected, desired, success, \
                                         failure)
#else
#define ATOMIC_BUILTIN(gcc_name, clang_name) gcc_name
#define COMPARE_STRONG(object, expected, desired, success, failure) \
    __atomic_compare_exchange_n(object, expected, desired, 0, success, failure)
#endif

#define ATOMIC_STEP(access) (interleaving_step(), (access))

#undef atomic_load_explicit
#define atomic_load_explicit(object, order) \
    ATOMIC_STEP(ATOMIC_BUILTIN(__atomic_load_n, __c11_atomic_load)((object), \
                                                                  (order)))
#undef atomic_store_explicit
#define atomic_store_explicit(object, value, order) \
    ATOMIC_STEP(ATOMIC_BUILTIN(__atomic_store_n, __c11_atomic_store)( \
        (object), (value), (order)))
#undef atomic_exchange_explicit
#define atomic_exchange_explicit(object, value, order) \
    ATOMIC_STEP(ATOMIC_BUILTIN(__atomic_exchange_n, __c11_atomic_exchange)( \
        (object), (value), (order)))
#undef atomic_fetch_add_explicit
#define atomic_fetch_add_explicit(object, value, order) \
    ATOMIC_STEP(ATOMIC_BUILTIN(__atomic_fetch_add, __c11_atomic_fetch_add)( \
        (object), (value), (order)))
#undef atomic_fetch_sub_explicit
#define atomic_fetch_sub_explicit(object, value, order) \
    ATOMIC_STEP(ATOMIC_BUILTIN(__atomic_fetch_sub, __c11_atomic_fetch_sub)( \
        (object), (value), (order)))
#undef atomic_fetch_and_explicit
#define atomic_fetch_and_explicit(object, value, order) \
    ATOMIC_STEP(ATOMIC_BUILTIN(__atomic_fetch_and, __c11_atomic_fetch_and)( \
        (object), (value), (order)))
#undef atomic_fetch_or_explicit
#define atomic_fetch_or_explicit(object, value, order) \
    ATOMIC_STEP(ATOMIC_BUILTIN(__atomic_fetch_or, __c11_atomic_fetch_or)( \
        (object), (value), (order)))

/* The weak one fails with another thread only: what else it may fail for no
 * schedule could say. */
#undef atomic_compare_exchange_strong_explicit
#define atomic_compare_exchange_strong_explicit(object, expected, desired, \
                                                success, failure) \
    ATOMIC_STEP(COMPARE_STRONG((object), (expected), (desired), (success), \
                               (failure)))
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
