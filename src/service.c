/* SPDX-License-Identifier: MIT */
/* The optional thread that does upkeep in the background.  The only file that
 * takes a lock: between start, stop and the thread itself. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#include "compiler.h"
#include "partyalloc.h"

static const long period_ns = 20 * 1000 * 1000;
static const uint64_t budget_ns = 2 * 1000 * 1000;

enum service_state { SERVICE_STOPPED, SERVICE_RUNNING, SERVICE_STOPPING };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static enum service_state state;
static pthread_t thread;
static bool prepared; /* `changed` is set up */

static struct timespec next_wake(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_nsec += period_ns;
    if (time.tv_nsec >= 1000000000) {
        time.tv_nsec -= 1000000000;
        time.tv_sec++;
    }
    return time;
}

static void *serve(void *unused)
{
    pthread_mutex_lock(&lock);
    while (state == SERVICE_RUNNING) {
        struct timespec wake = next_wake();
        if (pthread_cond_timedwait(&changed, &lock, &wake) != ETIMEDOUT)
            continue;
        pthread_mutex_unlock(&lock);
        partyalloc_maintain(budget_ns);
        pthread_mutex_lock(&lock);
    }
    pthread_mutex_unlock(&lock);
    return unused;
}

/* Threads do not outlive a fork, and the lock may have been held. */
static void after_fork_in_child(void)
{
    lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    state = SERVICE_STOPPED;
    prepared = false;
}

/* At load: at the first start it could be too late for the child of a
 * simultaneous fork, which finds the lock held. */
__attribute__((constructor)) static void load(void)
{
    pthread_atfork(NULL, NULL, after_fork_in_child);
}

static void prepare(void)
{
    if (prepared)
        return;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &attributes);
    pthread_condattr_destroy(&attributes);
    prepared = true;
}

/* The thread blocks all signals, so it gets none of the title's. */
static int create(void)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, NULL, serve, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

EXPORTED int partyalloc_start_service_thread(void)
{
    int error = EALREADY;
    pthread_mutex_lock(&lock);
    if (state == SERVICE_STOPPED) {
        prepare();
        state = SERVICE_RUNNING;
        error = create();
        if (error != 0)
            state = SERVICE_STOPPED;
    }
    pthread_mutex_unlock(&lock);
    return error;
}

static int stop(void)
{
    pthread_mutex_lock(&lock);
    bool running = state == SERVICE_RUNNING;
    if (running) {
        state = SERVICE_STOPPING;
        pthread_cond_signal(&changed);
    }
    pthread_mutex_unlock(&lock);
    if (!running)
        return ESRCH;
    pthread_join(thread, NULL);
    pthread_mutex_lock(&lock);
    state = SERVICE_STOPPED;
    pthread_mutex_unlock(&lock);
    return 0;
}

EXPORTED int partyalloc_stop_service_thread(void)
{
    /* A thread cancelled while waiting would leave it half stopped. */
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    int error = stop();
    pthread_setcancelstate(before, NULL);
    return error;
}
