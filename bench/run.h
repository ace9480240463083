/* SPDX-License-Identifier: MIT */
/*
 * One run: one workload on one allocator in one process.
 */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "random.h"

struct run {
    struct callbacks callbacks;
    struct verbs verbs;
    unsigned threads;
    unsigned cores;
    double seconds;     /* the wanted length, on a machine like the author's */
    const char *trace;  /* where to write resident memory over time, or NULL */

    size_t start_resident;
    struct partyalloc_stats start_stats;
    double ns_per_operation;
    double cpu_ns_per_operation;
    double operations;          /* of one core */
    double all_operations;      /* of all threads */
};

/* --- Time and memory of a run -------------------------------------------- */

/* How many operations to do, where `per_second` would take a second; the same
 * for every allocator. */
uint64_t run_operations(const struct run *run, double per_second);

/* To be called when the harness has its memory and the allocator has made no
 * block yet: resident memory counts from here. */
void run_baseline(struct run *run);

/* Sets the result: `ns` of wall time and `cpu_ns` of one core's processor time
 * for `operations` on each core at work. */
void run_result(struct run *run, uint64_t ns, uint64_t cpu_ns,
                double operations);

/* To be called when everything is freed: prints the result, the memory, and
 * partyalloc's own counts per operation. */
void run_report(struct run *run);

/* Prints resident memory now, above the baseline, as `name` in KiB. */
void run_print_resident(const struct run *run, const char *name);

/* Resident memory above the baseline now, and the most since then, in bytes. */
size_t run_resident(const struct run *run);
size_t run_peak(const struct run *run);

/* --- Threads ------------------------------------------------------------- */

struct worker {
    struct run *run;
    unsigned index;
    uint64_t operations;    /* to be done in `work` */
    bool frees_only;        /* its operations are counted with another */
    uint32_t *sizes;
    uint32_t *indices;
    void **slots;
    size_t slot_count;
    void *own;              /* whatever the workload needs beyond that */
    uint64_t start_ns;
    uint64_t stop_ns;
    uint64_t start_cpu_ns;  /* of the whole process */
    uint64_t stop_cpu_ns;
};

/* What the threads of a workload do; a NULL phase is left out.  Only `work` is
 * timed, and all threads are in the same phase. */
struct phases {
    void (*setup)(struct worker *worker);   /* on the main thread, no blocks */
    void (*fill)(struct worker *worker);
    void (*work)(struct worker *worker);
    void (*drain)(struct worker *worker);
};

enum { MAX_THREADS = 256 };

/*
 * Runs the phases on run->threads new threads and reports.  The operations,
 * `per_second` a second, are shared out so that every core has the same number
 * however many threads there are.  Even a single worker is a new thread, since
 * a title never has only its first.
 */
void run_phases(struct run *run, const struct phases *phases,
                double per_second);

/* The same without the report; returns the workers, for what they own. */
struct worker *run_phases_quietly(struct run *run, const struct phases *phases,
                                  double per_second);

/* As pthread_create() and pthread_join(), ending the process on failure. */
pthread_t thread_start(void *(*function)(void *), void *argument);
void thread_join(pthread_t thread);

/* Pins the calling thread, and those that it starts, to one core, so that the
 * time that a core takes to wake up is not measured. */
void thread_keep_to_core(unsigned number);

/* Waits a little in a loop whose condition another thread makes true: spins
 * first, then leaves the core to others. */
void wait_a_little(unsigned *turns);

/* --- Blocks -------------------------------------------------------------- */

/* Ends the process: an allocator that runs out of memory has failed. */
_Noreturn void out_of_memory(size_t size);

/* Writes the first and the last byte, as the user of a block would. */
static inline void *block_write(void *block, size_t size)
{
    volatile unsigned char *bytes = block;

    if (__builtin_expect(block == NULL, 0))
        out_of_memory(size);
    bytes[0] = 1;
    bytes[size - 1] = 1;
    return block;
}

static inline void *block_take(const struct callbacks *callbacks, size_t size)
{
    return block_write(callbacks->allocate(size, 0), size);
}

static inline void block_give(const struct callbacks *callbacks, void *block)
{
    callbacks->release(block, 0);
}

/* The sizes of a worker, gone through again and again. */
static inline size_t size_at(const struct worker *worker, uint64_t i)
{
    return worker->sizes[i % SIZE_COUNT];
}

#endif
