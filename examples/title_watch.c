/* SPDX-License-Identifier: MIT */
/*
 * The watch, made of a seccomp filter that hands memory calls to a thread of
 * ours, which lets each one continue.
 */
#include "title_watch.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "title_thread.h"

#ifndef SYS_process_madvise
#define SYS_process_madvise 440 /* Linux 5.10 */
#endif

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

static struct watched_call {
    int number;
    const char *name;
    _Atomic uint64_t count;
} calls[] = {
    {SYS_mmap, "mmap", 0},
    {SYS_munmap, "munmap", 0},
    {SYS_mremap, "mremap", 0},
    {SYS_mprotect, "mprotect", 0},
    {SYS_madvise, "madvise", 0},
    {SYS_process_madvise, "process_madvise", 0},
    {SYS_mincore, "mincore", 0},
    {SYS_mlock, "mlock", 0},
    {SYS_membarrier, "membarrier", 0},
    {SYS_brk, "brk", 0},
};

/* Before the calls: load the number.  After them: allow, notify. */
#define FILTER_LENGTH (LENGTH(calls) + 3)

/* The kernel's messages may be longer than we were compiled for. */
union notification {
    struct seccomp_notif message;
    unsigned char room[512];
};
union answer {
    struct seccomp_notif_resp message;
    unsigned char room[512];
};

static _Atomic bool counting;
static _Atomic int listener = -1;

static void count_call(int number)
{
    for (size_t i = 0; i < LENGTH(calls); i++) {
        if (calls[i].number == number)
            atomic_fetch_add_explicit(&calls[i].count, 1, memory_order_relaxed);
    }
}

/* Makes no memory call itself: it would wait for itself. */
static void *watch_main(void *argument)
{
    static union notification notification;
    static union answer answer;
    int descriptor;

    /* Pairs with the release in watch_open(). */
    while ((descriptor =
                atomic_load_explicit(&listener, memory_order_acquire)) < 0)
        sched_yield();
    for (;;) {
        memset(&notification, 0, sizeof notification);
        if (ioctl(descriptor, SECCOMP_IOCTL_NOTIF_RECV, &notification) != 0)
            continue;
        if (atomic_load_explicit(&counting, memory_order_relaxed))
            count_call(notification.message.data.nr);
        memset(&answer, 0, sizeof answer);
        answer.message.id = notification.message.id;
        answer.message.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        ioctl(descriptor, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
    return argument;
}

/* Returns the descriptor of the notifications, or -1. */
static int install_filter(void)
{
    const unsigned char allow = LENGTH(calls) + 1;
    const unsigned char notify = LENGTH(calls) + 2;
    struct sock_filter filter[FILTER_LENGTH];
    struct sock_fprog program = {.len = FILTER_LENGTH, .filter = filter};

    filter[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                             offsetof(struct seccomp_data, nr));
    /* A jump counts from the instruction that follows it. */
    for (size_t i = 0; i < LENGTH(calls); i++)
        filter[i + 1] = (struct sock_filter)BPF_JUMP(
            BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i].number,
            (unsigned char)(notify - (i + 2)), 0);
    filter[allow] =
        (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[notify] =
        (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                        SECCOMP_FILTER_FLAG_TSYNC |
                            SECCOMP_FILTER_FLAG_TSYNC_ESRCH |
                            SECCOMP_FILTER_FLAG_NEW_LISTENER,
                        &program);
}

void watch_begin(void)
{
    for (size_t i = 0; i < LENGTH(calls); i++)
        atomic_store_explicit(&calls[i].count, 0, memory_order_relaxed);
    atomic_store_explicit(&counting, true, memory_order_relaxed);
}

uint64_t watch_end(void)
{
    uint64_t count = 0;

    atomic_store_explicit(&counting, false, memory_order_relaxed);
    for (size_t i = 0; i < LENGTH(calls); i++)
        count += atomic_load_explicit(&calls[i].count, memory_order_relaxed);
    return count;
}

/* Whether a call that does nothing is seen. */
static bool watch_works(void)
{
    watch_begin();
    munmap(NULL, 0);
    return watch_end() == 1;
}

void watch_open(void)
{
    pthread_t thread;
    int descriptor;

    /* Started before the filter, since starting a thread takes memory; it runs
     * until the process ends. */
    title_thread_create(&thread, watch_main, NULL);
    pthread_detach(thread);
    descriptor = install_filter();
    if (descriptor < 0) {
        perror("title: cannot watch the memory calls of the process");
        exit(EXIT_FAILURE);
    }
    atomic_store_explicit(&listener, descriptor, memory_order_release);
    if (!watch_works()) {
        fprintf(stderr, "title: the watch does not see memory calls\n");
        exit(EXIT_FAILURE);
    }
}

void watch_print(void)
{
    for (size_t i = 0; i < LENGTH(calls); i++) {
        uint64_t count =
            atomic_load_explicit(&calls[i].count, memory_order_relaxed);

        if (count > 0)
            printf("    %-38s %12ju\n", calls[i].name, (uintmax_t)count);
    }
}
