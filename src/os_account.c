/* SPDX-License-Identifier: MIT */
#include "os_account.h"

#include <stdatomic.h>
#include <stdint.h>

#include "compiler.h"
#include "os.h"

/* Counts; each stands alone, so relaxed. */
static _Atomic(size_t) mapped;
static _Atomic(size_t) mapped_peak;
static _Atomic(size_t) limit;

static void raise_peak(size_t now)
{
    size_t peak = atomic_load_explicit(&mapped_peak, memory_order_relaxed);
    while (now > peak && !atomic_compare_exchange_weak_explicit(
                             &mapped_peak, &peak, now, memory_order_relaxed,
                             memory_order_relaxed))
        ;
}

bool account_begin(size_t bytes)
{
    size_t cap = atomic_load_explicit(&limit, memory_order_relaxed);
    if (cap == 0)
        cap = SIZE_MAX;
    size_t now = atomic_load_explicit(&mapped, memory_order_relaxed);
    do {
        if (unlikely(now > cap || bytes > cap - now))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&mapped, &now, now + bytes,
                                                    memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

void account_end(size_t bytes, bool done)
{
    if (!done)
        atomic_fetch_sub_explicit(&mapped, bytes, memory_order_relaxed);
    else
        raise_peak(atomic_load_explicit(&mapped, memory_order_relaxed));
}

void account_more(size_t bytes)
{
    atomic_fetch_add_explicit(&mapped, bytes, memory_order_relaxed);
    raise_peak(atomic_load_explicit(&mapped, memory_order_relaxed));
}

void account_unmapped(size_t bytes)
{
    atomic_fetch_sub_explicit(&mapped, bytes, memory_order_relaxed);
}

void os_set_limit(size_t bytes)
{
    atomic_store_explicit(&limit, bytes, memory_order_relaxed);
}

size_t os_mapped_bytes(void)
{
    return atomic_load_explicit(&mapped, memory_order_relaxed);
}

size_t os_mapped_peak_bytes(void)
{
    return atomic_load_explicit(&mapped_peak, memory_order_relaxed);
}
