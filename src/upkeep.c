/* SPDX-License-Identifier: MIT */
/* The calls by which a title has memory given back, reserved or limited. */
#include <errno.h>
#include <stdatomic.h>

#include "chunk.h"
#include "compiler.h"
#include "depot.h"
#include "large.h"
#include "options.h"
#include "os.h"
#include "partyalloc.h"
#include "shortage.h"
#include "slab.h"
#include "thread.h"
#include "thread_cache.h"

/*
 * Free memory decays: at the end of each period the memory that may stay dirty
 * falls to half of what is dirty.  So what is soon used again stays, and after
 * a second without use next to nothing does.
 */
static const uint64_t decay_period_ns = 50 * 1000 * 1000;
enum { DECAY_SHIFT = 1, DIRTY_MIN = 256 << 10 };

/* Threads that do upkeep at once share the work; each word stands alone, so
 * relaxed. */
static _Atomic(uint64_t) period_end;
static _Atomic(size_t) dirty_target = SIZE_MAX;

/* True once in each period, for one thread. */
static bool begins_period(uint64_t now)
{
    uint64_t end = atomic_load_explicit(&period_end, memory_order_relaxed);
    return now >= end && atomic_compare_exchange_strong_explicit(
                             &period_end, &end, now + decay_period_ns,
                             memory_order_relaxed, memory_order_relaxed);
}

static void lower_target(void)
{
    size_t target = slab_dirty_bytes() >> DECAY_SHIFT;
    atomic_store_explicit(&dirty_target,
                          target < DIRTY_MIN ? DIRTY_MIN : target,
                          memory_order_relaxed);
}

/* The next piece of giving back; false: nothing more is due. */
static bool give_back_step(size_t target, size_t *given_back)
{
    bool more = true;
    size_t bytes = large_drop_step(true);
    if (bytes == 0 && slab_dirty_bytes() <= target)
        return false;
    if (bytes == 0)
        bytes = slab_purge_step(&more);
    *given_back += bytes;
    return more || bytes != 0;
}

/* Hands on some of what no thread uses; false: there is nothing.  Once memory
 * is reserved no thread is to lose what it holds, and need other pages. */
static bool flush_idle_step(void)
{
    return cache_flush_left(LEFT_AGE) ||
           (!option_quiet() && cache_flush_unused_step());
}

EXPORTED size_t partyalloc_maintain(uint64_t budget_ns)
{
    uint64_t start = os_now();
    if (begins_period(start)) {
        depot_begin_idle();
        lower_target();
    }
    size_t target = atomic_load_explicit(&dirty_target, memory_order_relaxed);
    /* For at most half of the time, so that small budgets serve the rest as
     * well. */
    while (os_now() - start < budget_ns / 2 && depot_drain_idle_step())
        ;
    while (os_now() - start < budget_ns && flush_idle_step())
        ;
    size_t bytes = 0;
    while (os_now() - start < budget_ns && give_back_step(target, &bytes))
        ;
    return bytes;
}

EXPORTED size_t partyalloc_trim(void)
{
    bool idle_too = !option_quiet(); /* as in flush_idle_step() */
    if (idle_too)
        cache_look_at_threads();
    thread_flush();
    cache_flush_all_left();
    if (idle_too)
        cache_flush_unused();
    depot_drain_all();
    return slab_trim() + large_drop_all();
}

enum {
    /* Metadata that is reserved once: the index of the slabs, the caches of
     * some threads, and their magazines. */
    METADATA_CONSTANT = 1 << 20,
    MAGAZINE_RESERVE_BYTES = 512 << 10,
};

static bool reserve(size_t bytes, size_t metadata)
{
    if (chunk_reserve(bytes, metadata))
        return true;
    struct shortage shortage = shortage_of(bytes);
    while (shortage_relieve(&shortage))
        if (chunk_reserve(bytes, metadata))
            return true;
    return false;
}

EXPORTED int partyalloc_reserve(size_t bytes)
{
    if (bytes > PTRDIFF_MAX)
        return ENOMEM;
    bool first = !option_quiet();
    size_t metadata = slab_metadata_bytes(bytes);
    if (first)
        metadata += METADATA_CONSTANT + MAGAZINE_RESERVE_BYTES;
    if (!reserve(bytes, metadata))
        return ENOMEM;
    options_be_quiet(); /* only now: without a reserve all goes on as before */
    if (first)
        depot_reserve(MAGAZINE_RESERVE_BYTES);
    slab_reserve();
    os_now(); /* so that the clock's page is present too */
    return 0;
}

/* Gives up free address space, until no more than `bytes` is mapped. */
static void shrink_to(size_t bytes)
{
    if (os_mapped_bytes() > bytes)
        large_drop_all();
    if (os_mapped_bytes() > bytes)
        chunk_drop();
    size_t mapped = os_mapped_bytes();
    if (mapped > bytes)
        slab_retire(mapped - bytes);
}

EXPORTED int partyalloc_set_limit(size_t bytes)
{
    os_set_limit(bytes);
    if (bytes != 0)
        shrink_to(bytes);
    return 0;
}
