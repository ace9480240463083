/* SPDX-License-Identifier: MIT */
#include "os_account.h"

#include <stdatomic.h>
#include <stdint.h>

#include "compiler.h"
#include "os.h"

/*
 * What counts against the cap, and the part of it that threads are about to
 * map: two counts in units of OS_MAP_ALIGNMENT in one word, so that the child
 * of a fork, which has the mappings but not these threads, sees both as of one
 * moment.  Counts do not exceed user space.
 */
typedef uint64_t account;
enum { PENDING_SHIFT = 32, ACCOUNT_UNIT_SHIFT = 16 };
#define COUNTED_MASK (((account)1 << PENDING_SHIFT) - 1)
#define COUNTED_MAX  (COUNTED_MASK << ACCOUNT_UNIT_SHIFT)
_Static_assert(1 << ACCOUNT_UNIT_SHIFT == OS_MAP_ALIGNMENT, "a unit");
_Static_assert(ADDRESS_BITS <= PENDING_SHIFT + ACCOUNT_UNIT_SHIFT, "room");

/* Counts; each stands alone, so relaxed. */
static _Atomic(account) sum;
static _Atomic(size_t) moving;
static _Atomic(size_t) mapped_peak;
static _Atomic(size_t) limit;
static _Atomic(uint64_t) calls;

void account_call(void)
{
    atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
}

static account account_of(size_t counted, size_t pending)
{
    CHECK(((counted | pending) & (OS_MAP_ALIGNMENT - 1)) == 0);
    return (account)counted >> ACCOUNT_UNIT_SHIFT |
           (account)pending >> ACCOUNT_UNIT_SHIFT << PENDING_SHIFT;
}

static size_t counted_of(account word)
{
    return (word & COUNTED_MASK) << ACCOUNT_UNIT_SHIFT;
}

static size_t mapped_of(account word)
{
    return counted_of(word) - (word >> PENDING_SHIFT << ACCOUNT_UNIT_SHIFT);
}

static void raise_peak(size_t now)
{
    size_t peak = atomic_load_explicit(&mapped_peak, memory_order_relaxed);
    while (now > peak && !atomic_compare_exchange_weak_explicit(
                             &mapped_peak, &peak, now, memory_order_relaxed,
                             memory_order_relaxed))
        ;
}

static void take_off(account word)
{
    account now =
        atomic_fetch_sub_explicit(&sum, word, memory_order_relaxed) - word;
    raise_peak(mapped_of(now));
}

bool account_begin(size_t bytes)
{
    size_t cap = atomic_load_explicit(&limit, memory_order_relaxed);
    if (cap == 0 || cap > COUNTED_MAX)
        cap = COUNTED_MAX;
    account now = atomic_load_explicit(&sum, memory_order_relaxed);
    do {
        size_t counted = counted_of(now);
        if (unlikely(counted > cap || bytes > cap - counted))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(
        &sum, &now, now + account_of(bytes, bytes), memory_order_relaxed,
        memory_order_relaxed));
    return true;
}

void account_end(size_t bytes, bool done)
{
    take_off(account_of(done ? 0 : bytes, bytes));
}

void account_more(size_t bytes)
{
    account more = account_of(bytes, 0);
    account now =
        atomic_fetch_add_explicit(&sum, more, memory_order_relaxed) + more;
    raise_peak(mapped_of(now));
}

void account_unmapped(size_t bytes)
{
    take_off(account_of(bytes, 0));
}

void account_moving(size_t bytes)
{
    atomic_fetch_add_explicit(&moving, bytes, memory_order_relaxed);
}

void account_moved(size_t bytes)
{
    atomic_fetch_sub_explicit(&moving, bytes, memory_order_relaxed);
}

void os_after_fork_in_child(void)
{
    account now = atomic_load_explicit(&sum, memory_order_relaxed);
    size_t twice = atomic_load_explicit(&moving, memory_order_relaxed);
    atomic_store_explicit(&sum, account_of(mapped_of(now) + twice, 0),
                          memory_order_relaxed);
    atomic_store_explicit(&moving, 0, memory_order_relaxed);
}

void os_set_limit(size_t bytes)
{
    atomic_store_explicit(&limit, bytes, memory_order_relaxed);
}

size_t os_room_bytes(void)
{
    size_t cap = atomic_load_explicit(&limit, memory_order_relaxed);
    size_t counted =
        counted_of(atomic_load_explicit(&sum, memory_order_relaxed));
    return cap > counted ? cap - counted : 0;
}

size_t os_mapped_bytes(void)
{
    return mapped_of(atomic_load_explicit(&sum, memory_order_relaxed));
}

size_t os_mapped_peak_bytes(void)
{
    return atomic_load_explicit(&mapped_peak, memory_order_relaxed);
}

uint64_t os_kernel_calls(void)
{
    return atomic_load_explicit(&calls, memory_order_relaxed);
}
