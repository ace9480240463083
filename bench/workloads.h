/* SPDX-License-Identifier: MIT */
/*
 * The workloads, by group; README.md says what each stands for.
 */
#ifndef BENCH_WORKLOADS_H
#define BENCH_WORKLOADS_H

#include "run.h"

enum workload_group { WORKLOAD_SPEED, WORKLOAD_MEMORY };

struct workload {
    const char *name;
    const char *description;
    void (*function)(struct run *run);
    enum workload_group group;
    /* The numbers of threads that the suite runs it with; only one if the
     * workload has its own threads. */
    unsigned threads[6];
    /* Whether a pair that does nothing can run it. */
    bool floor;
    /* partyalloc's own verbs are what is measured. */
    bool verbs;
};

/* Finds `name`, which may end in "-N" for N threads. */
const struct workload *workload_find(const char *name, unsigned *threads);

/* Prints one line for each of a group as the suite runs it: the name with its
 * threads, "floor", "verbs" or "-", and the description. */
void workload_list(enum workload_group group);

/* local.c: one thread's own blocks */
void run_pair(struct run *run);
void run_lifo(struct run *run);
void run_fifo(struct run *run);
void run_churn(struct run *run);
void run_big_churn(struct run *run);
void run_small_churn(struct run *run);
void run_packets(struct run *run);
void run_medium(struct run *run);

/* large.c */
void run_large(struct run *run);
void run_burst(struct run *run);

/* queue.c: blocks that change hands */
void run_queue(struct run *run);
void run_free_only(struct run *run);
void run_many_producers(struct run *run);

/* server.c: threads that come and go */
void run_server(struct run *run);
void run_short_threads(struct run *run);

/* sharing.c */
void run_active_sharing(struct run *run);
void run_passive_sharing(struct run *run);

/* frame.c: the latency of single calls */
void run_frame(struct run *run);
void run_realtime(struct run *run);

/* memory.c: memory that comes back */
void run_burst_alone(struct run *run);
void run_burst_light(struct run *run);
void run_burst_maintain(struct run *run);
void run_burst_service(struct run *run);
void run_inherit(struct run *run);

/* trim.c */
void run_trim(struct run *run);
void run_no_trim(struct run *run);

#endif
