/* SPDX-License-Identifier: MIT */
/* The choice of the allocator, and what is measured around its pair. */
#include "title_allocator.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "partyalloc.h"
#include "title_clock.h"

/* More threads than this never run at the same time. */
#define RECORDERS    64
#define TIMER_ROUNDS 100000

#define STACK_TOUCHED ((size_t)32 * 1024)
#define STACK_STEP    1024

/*
 * What one thread has done.  It belongs to the thread from thread_begin() to
 * thread_end(), then to the next thread of the same kind.  The atomics are
 * written by the owner alone and read by the title's live line; the histograms
 * are read when their owners have ended.
 */
struct recorder {
    enum thread_kind kind;
    bool made;
    bool owned;
    _Atomic uint64_t allocations;
    _Atomic uint64_t frees;
    _Atomic uint64_t slowest_ticks;
    struct latency latency[PERIODS][OPERATIONS];
};

static void *libc_allocate(size_t size, uint32_t memory_type)
{
    (void)memory_type;
    return malloc(size);
}

static void libc_free(void *block, uint32_t memory_type)
{
    (void)memory_type;
    free(block);
}

static const struct pair {
    const char *name;
    void *(*allocate)(size_t size, uint32_t memory_type);
    void (*free)(void *block, uint32_t memory_type);
} pairs[] = {
    {"partyalloc", partyalloc_allocate, partyalloc_free},
    {"libc", libc_allocate, libc_free},
};

static const struct pair *pair;
static _Atomic int current_period;
static _Thread_local struct recorder *my_recorder;

/* Guards which recorder belongs to whom. */
static pthread_mutex_t recorders_lock = PTHREAD_MUTEX_INITIALIZER;
static struct recorder *recorders;

bool allocator_choose(const char *name)
{
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (strcmp(name, pairs[i].name) == 0) {
            pair = &pairs[i];
            return true;
        }
    }
    return false;
}

const char *allocator_name(void)
{
    return pair->name;
}

bool allocator_is_partyalloc(void)
{
    return pair->allocate == partyalloc_allocate;
}

/* Memory that comes neither from the allocator under test nor by page faults
 * during a measurement. */
static struct recorder *map_recorders(void)
{
    void *memory =
        mmap(NULL, RECORDERS * sizeof *recorders, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (memory == MAP_FAILED) {
        perror("title: cannot map memory for the measurements");
        exit(EXIT_FAILURE);
    }
    return memory;
}

static struct recorder *recorder_claim(enum thread_kind kind)
{
    struct recorder *claimed = NULL;

    pthread_mutex_lock(&recorders_lock);
    if (recorders == NULL)
        recorders = map_recorders();
    for (size_t i = 0; i < RECORDERS && claimed == NULL; i++) {
        struct recorder *recorder = &recorders[i];

        if (!recorder->made || (recorder->kind == kind && !recorder->owned)) {
            recorder->made = true;
            recorder->owned = true;
            recorder->kind = kind;
            claimed = recorder;
        }
    }
    pthread_mutex_unlock(&recorders_lock);
    return claimed;
}

/* Touches the part of its stack that a thread will use, as threads do that
 * must not take a page fault later. */
static void touch_stack(void)
{
    volatile unsigned char stack[STACK_TOUCHED];

    for (size_t i = 0; i < sizeof stack; i += STACK_STEP)
        stack[i] = 0;
}

void thread_begin(enum thread_kind kind)
{
    touch_stack();
    my_recorder = recorder_claim(kind);
    if (my_recorder == NULL) {
        fprintf(stderr, "title: more threads than recorders\n");
        abort();
    }
}

void thread_end(void)
{
    pthread_mutex_lock(&recorders_lock);
    my_recorder->owned = false;
    my_recorder = NULL;
    pthread_mutex_unlock(&recorders_lock);
}

/* Adds one to a count that no other thread writes. */
static void count_one(_Atomic uint64_t *count)
{
    atomic_store_explicit(count,
                          atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static void record(struct recorder *recorder, enum operation operation,
                   uint64_t ticks)
{
    int period = atomic_load_explicit(&current_period, memory_order_relaxed);

    latency_record(&recorder->latency[period][operation], ticks);
    if (ticks >
        atomic_load_explicit(&recorder->slowest_ticks, memory_order_relaxed))
        atomic_store_explicit(&recorder->slowest_ticks, ticks,
                              memory_order_relaxed);
}

void *title_allocate(size_t size, uint32_t memory_type)
{
    struct recorder *recorder = my_recorder;
    uint64_t begin = ticks_now();
    void *block = pair->allocate(size, memory_type);
    uint64_t end = ticks_now();

    record(recorder, OPERATION_ALLOCATE, end - begin);
    if (block != NULL)
        count_one(&recorder->allocations);
    return block;
}

void title_free(void *block, uint32_t memory_type)
{
    struct recorder *recorder = my_recorder;
    uint64_t begin;

    if (block == NULL)
        return;
    begin = ticks_now();
    pair->free(block, memory_type);
    record(recorder, OPERATION_FREE, ticks_now() - begin);
    count_one(&recorder->frees);
}

void *title_allocate_or_stop(size_t size, uint32_t memory_type)
{
    void *block = title_allocate(size, memory_type);

    if (block == NULL) {
        fprintf(stderr, "title: %s has no %zu bytes left\n", pair->name, size);
        exit(EXIT_FAILURE);
    }
    return block;
}

void allocator_set_period(enum period period)
{
    atomic_store_explicit(&current_period, (int)period, memory_order_relaxed);
}

uint64_t allocator_allocations(void)
{
    uint64_t allocations = 0;

    for (size_t i = 0; i < RECORDERS; i++)
        allocations += atomic_load_explicit(&recorders[i].allocations,
                                            memory_order_relaxed);
    return allocations;
}

uint64_t allocator_live_blocks(void)
{
    uint64_t frees = 0;
    uint64_t allocations;

    for (size_t i = 0; i < RECORDERS; i++)
        frees +=
            atomic_load_explicit(&recorders[i].frees, memory_order_relaxed);
    allocations = allocator_allocations();
    return allocations > frees ? allocations - frees : 0;
}

uint64_t allocator_take_slowest(void)
{
    uint64_t slowest = 0;

    for (size_t i = 0; i < RECORDERS; i++) {
        uint64_t ticks = atomic_exchange_explicit(&recorders[i].slowest_ticks,
                                                  0, memory_order_relaxed);

        if (ticks > slowest)
            slowest = ticks;
    }
    return ticks_to_ns(slowest);
}

void allocator_latency(enum thread_kind kind, enum period period,
                       enum operation operation, struct latency *merged)
{
    memset(merged, 0, sizeof *merged);
    for (size_t i = 0; i < RECORDERS; i++) {
        if (recorders[i].made && recorders[i].kind == kind)
            latency_merge(merged, &recorders[i].latency[period][operation]);
    }
}

void allocator_measure_timer(struct latency *latency)
{
    memset(latency, 0, sizeof *latency);
    for (unsigned i = 0; i < TIMER_ROUNDS; i++) {
        uint64_t begin = ticks_now();

        latency_record(latency, ticks_now() - begin);
    }
}
