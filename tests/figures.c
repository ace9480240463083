/* SPDX-License-Identifier: MIT */
/* Figures of this process, and kernel calls as on other systems: support.h. */
#include "support.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_process_madvise
#define SYS_process_madvise 440 /* Linux 5.10 */
#endif

size_t resident_bytes(void)
{
    size_t total, resident;
    FILE *file = fopen("/proc/self/statm", "r");

    require(file != NULL);
    require(fscanf(file, "%zu %zu", &total, &resident) == 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

size_t mapping_count(void)
{
    size_t count = 0;
    int character;
    FILE *file = fopen("/proc/self/maps", "r");

    require(file != NULL);
    while ((character = getc(file)) != EOF)
        count += character == '\n';
    fclose(file);
    return count;
}

uint64_t minor_faults(void)
{
    struct rusage usage;

    require(getrusage(RUSAGE_THREAD, &usage) == 0);
    return (uint64_t)usage.ru_minflt;
}

#define KILL_IF(call) \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (call), 0, 1), \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)

void forbid_memory_calls(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        KILL_IF(SYS_mmap),
        KILL_IF(SYS_munmap),
        KILL_IF(SYS_mremap),
        KILL_IF(SYS_mprotect),
        KILL_IF(SYS_madvise),
        KILL_IF(SYS_process_madvise),
        KILL_IF(SYS_mincore),
        KILL_IF(SYS_mlock),
        KILL_IF(SYS_membarrier),
        KILL_IF(SYS_brk),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {ARRAY_LENGTH(filter), filter};

    if (UNDER_SANITIZER)
        return;
    require(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    require(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

void *mmap_filled(void *hint, size_t length, int protection, int flags, int fd,
                  off_t offset)
{
    return mmap(hint, length, protection, flags | MAP_POPULATE, fd, offset);
}
