/* SPDX-License-Identifier: MIT */
/* Clocks, processors, and the barrier in all threads. */
#include "os.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "os_account.h"

/* Commands of membarrier(): as in <linux/membarrier.h>, which not every libc
 * ships.  Linux 4.14. */
enum { BARRIER_PRIVATE = 1 << 3, BARRIER_REGISTER_PRIVATE = 1 << 4 };

static bool call_membarrier(int command)
{
    account_call();
    return os_calls.membarrier(command) == 0;
}

void os_prepare_barrier(void)
{
    int saved = errno;
    call_membarrier(BARRIER_REGISTER_PRIVATE);
    errno = saved;
}

bool os_barrier_everywhere(void)
{
    int saved = errno;
    /* The registration may have failed, or not been inherited by a fork. */
    bool done = call_membarrier(BARRIER_PRIVATE) ||
                (errno == EPERM && call_membarrier(BARRIER_REGISTER_PRIVATE) &&
                 call_membarrier(BARRIER_PRIVATE));
    errno = saved;
    return done;
}

static uint64_t read_clock(clockid_t clock)
{
    struct timespec now = {0};
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

clockid_t os_thread_clock(void)
{
    clockid_t clock;
    return pthread_getcpuclockid(pthread_self(), &clock) == 0
               ? clock
               : CLOCK_THREAD_CPUTIME_ID;
}

uint64_t os_thread_time(clockid_t clock)
{
    int saved = errno;
    account_call();
    uint64_t time = read_clock(clock);
    errno = saved;
    return time;
}

uint64_t os_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

unsigned os_processor(void)
{
    int saved = errno;
    int number = sched_getcpu();
    errno = saved;
    return number < 0 ? 0 : (unsigned)number;
}

uint64_t os_now_coarse(void)
{
    return read_clock(CLOCK_MONOTONIC_COARSE);
}
