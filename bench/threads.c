/* SPDX-License-Identifier: MIT */
/*
 * The threads of a run, and the phases that they go through together.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "run.h"

enum { SPINS = 200 };

/* The threads of one run, and where they wait for each other. */
static struct worker workers[MAX_THREADS];
static const struct phases *current_phases;
static pthread_barrier_t barrier;

static void fail(const char *what, int error)
{
    fprintf(stderr, "bench: %s: %s\n", what, strerror(error));
    exit(EXIT_FAILURE);
}

pthread_t thread_start(void *(*function)(void *), void *argument)
{
    pthread_t thread;
    int error = pthread_create(&thread, NULL, function, argument);

    if (error != 0)
        fail("a thread", error);
    return thread;
}

void thread_join(pthread_t thread)
{
    int error = pthread_join(thread, NULL);

    if (error != 0)
        fail("the end of a thread", error);
}

void thread_keep_to_core(unsigned number)
{
    cpu_set_t allowed, one;
    unsigned core = 0;

    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return;
    for (number %= (unsigned)CPU_COUNT(&allowed);; core++)
        if (CPU_ISSET(core, &allowed) && number-- == 0)
            break;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    sched_setaffinity(0, sizeof one, &one);
}

void wait_a_little(unsigned *turns)
{
    if (++*turns % SPINS == 0) {
        sched_yield();
        return;
    }
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void run_phase(void (*phase)(struct worker *), struct worker *worker)
{
    if (phase != NULL)
        phase(worker);
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;

    run_phase(current_phases->fill, worker);
    pthread_barrier_wait(&barrier);
    worker->start_cpu_ns = clock_ns_of(CLOCK_PROCESS_CPUTIME_ID);
    worker->start_ns = clock_ns();
    run_phase(current_phases->work, worker);
    worker->stop_ns = clock_ns();
    worker->stop_cpu_ns = clock_ns_of(CLOCK_PROCESS_CPUTIME_ID);
    pthread_barrier_wait(&barrier);
    run_phase(current_phases->drain, worker);
    return NULL;
}

static unsigned busy_cores(const struct run *run)
{
    return run->threads < run->cores ? run->threads : run->cores;
}

static void set_up(struct run *run, double per_second)
{
    uint64_t per_core = run_operations(run, per_second);

    if (run->threads > MAX_THREADS)
        fail("too many threads", 0);
    for (unsigned i = 0; i < run->threads; i++) {
        struct worker *worker = &workers[i];

        worker->run = run;
        worker->index = i;
        worker->operations = per_core * busy_cores(run) / run->threads;
        run_phase(current_phases->setup, worker);
    }
}

/* From the first thread's start to the last one's end. */
static void set_result(struct run *run)
{
    struct worker whole = workers[0];
    double operations = 0;

    run->all_operations = 0;
    for (unsigned i = 0; i < run->threads; i++) {
        const struct worker *worker = &workers[i];

        if (worker->start_ns < whole.start_ns)
            whole.start_ns = worker->start_ns;
        if (worker->start_cpu_ns < whole.start_cpu_ns)
            whole.start_cpu_ns = worker->start_cpu_ns;
        if (worker->stop_ns > whole.stop_ns)
            whole.stop_ns = worker->stop_ns;
        if (worker->stop_cpu_ns > whole.stop_cpu_ns)
            whole.stop_cpu_ns = worker->stop_cpu_ns;
        operations += (double)worker->operations;
        if (!worker->frees_only)
            run->all_operations += (double)worker->operations;
    }
    run_result(run, whole.stop_ns - whole.start_ns,
               (whole.stop_cpu_ns - whole.start_cpu_ns) / busy_cores(run),
               operations / busy_cores(run));
}

struct worker *run_phases_quietly(struct run *run, const struct phases *phases,
                                  double per_second)
{
    static pthread_t threads[MAX_THREADS];

    current_phases = phases;
    set_up(run, per_second);
    pthread_barrier_init(&barrier, NULL, run->threads);
    run_baseline(run);
    for (unsigned i = 0; i < run->threads; i++)
        threads[i] = thread_start(worker_main, &workers[i]);
    for (unsigned i = 0; i < run->threads; i++)
        thread_join(threads[i]);
    pthread_barrier_destroy(&barrier);
    set_result(run);
    return workers;
}

void run_phases(struct run *run, const struct phases *phases,
                double per_second)
{
    run_phases_quietly(run, phases, per_second);
    run_report(run);
}
