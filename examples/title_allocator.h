/* SPDX-License-Identifier: MIT */
/*
 * The allocator under the title: which one it is, and around its callback pair
 * the counting of blocks and the measurement of every call, thread by thread.
 */
#ifndef TITLE_ALLOCATOR_H
#define TITLE_ALLOCATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "title_latency.h"

/* title.h says what each kind of thread does. */
enum thread_kind {
    THREAD_TITLE,
    THREAD_NETWORK,
    THREAD_AUDIO,
    THREAD_LOADER,
    THREAD_SHORT_LIVED,
    THREAD_KINDS
};

enum operation { OPERATION_ALLOCATE, OPERATION_FREE, OPERATIONS };

/* The steady phase is measured apart from everything else. */
enum period { PERIOD_OTHER, PERIOD_STEADY, PERIODS };

/* The type ids that the title passes; an allocator must not care. */
enum memory_type {
    MEMORY_ENET = 0x10,
    MEMORY_CLIENT,
    MEMORY_STATE_CHANGE,
    MEMORY_MESSAGE,
    MEMORY_VOICE,
    MEMORY_FRAME,
    MEMORY_ASSET,
    MEMORY_ASSET_NAME,
    MEMORY_STAGING
};

/* Figures of the allocator and the process at one moment. */
struct memory_figures {
    uint64_t live_blocks; /* the title's own count */
    uint64_t live_bytes;
    uint64_t mapped_bytes;
    uint64_t resident_bytes;
    uint64_t kernel_calls; /* the allocator's; 0 where it does not count them */
    uint64_t page_faults;  /* of the process */
};

/* Selects "partyalloc" or "libc"; false when it is neither.  To be called
 * before any thread begins. */
bool allocator_choose(const char *name);
const char *allocator_name(void);
bool allocator_is_partyalloc(void);

/* To be called first and last by every thread that allocates or frees. */
void thread_begin(enum thread_kind kind);
void thread_end(void);

/* The callback pair, counted and measured.  Allocation returns NULL when out of
 * memory. */
void *title_allocate(size_t size, uint32_t memory_type);
void title_free(void *block, uint32_t memory_type);

/* As title_allocate(), but stops the title when out of memory. */
void *title_allocate_or_stop(size_t size, uint32_t memory_type);

/* Ends one period of the measurements and begins another. */
void allocator_set_period(enum period period);

/* Counts over all threads.  Close estimates while others run. */
uint64_t allocator_allocations(void);
uint64_t allocator_live_blocks(void);

/* The slowest call since this was last asked, in nanoseconds. */
uint64_t allocator_take_slowest(void);

/* Blocks live by the allocator's own account; false when it keeps none. */
bool allocator_own_live_blocks(uint64_t *blocks);

void memory_figures_take(struct memory_figures *figures);
uint64_t resident_bytes(void);
uint64_t resident_peak_bytes(void);

/* Merges what the threads of a kind have recorded.  All but the calling one
 * must have ended. */
void allocator_latency(enum thread_kind kind, enum period period,
                       enum operation operation, struct latency *merged);

/* The same measurement with nothing in between. */
void allocator_measure_timer(struct latency *latency);

#endif
