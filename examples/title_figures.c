/* SPDX-License-Identifier: MIT */
/* Figures of the allocator and the process at one moment. */
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "partyalloc.h"
#include "title_allocator.h"

/* Reads a file of /proc as a string.  Not through stdio, which would allocate
 * in the middle of what is measured. */
static void read_proc(const char *path, char *text, size_t size)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = 0;

    if (file >= 0) {
        length = read(file, text, size - 1);
        close(file);
    }
    text[length > 0 ? length : 0] = '\0';
}

uint64_t resident_bytes(void)
{
    char text[256];
    char *rest;

    /* Pages of the whole address space, then those that are resident. */
    read_proc("/proc/self/statm", text, sizeof text);
    strtoull(text, &rest, 10);
    return strtoull(rest, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t resident_peak_bytes(void)
{
    static const char field[] = "VmHWM:";
    const uint64_t kibibyte = 1024;
    char text[4096];
    const char *line;

    read_proc("/proc/self/status", text, sizeof text);
    line = strstr(text, field);
    if (line == NULL)
        return 0;
    return strtoull(line + strlen(field), NULL, 10) * kibibyte;
}

static void partyalloc_figures(struct memory_figures *figures)
{
    struct partyalloc_stats stats = {.size = sizeof stats};

    partyalloc_get_stats(&stats);
    figures->live_bytes = stats.small_live_bytes + stats.large_live_bytes;
    figures->mapped_bytes = stats.mapped_bytes;
    figures->kernel_calls = stats.kernel_calls;
}

static void libc_figures(struct memory_figures *figures)
{
    figures->live_bytes = 0;
    figures->mapped_bytes = 0;
    figures->kernel_calls = 0;
#ifdef HAVE_MALLINFO2 /* glibc 2.33; others do not tell */
    struct mallinfo2 info = mallinfo2();

    figures->live_bytes = info.uordblks + info.hblkhd;
    figures->mapped_bytes = info.arena + info.hblkhd;
#endif
}

void memory_figures_take(struct memory_figures *figures)
{
    struct rusage usage;

    if (allocator_is_partyalloc())
        partyalloc_figures(figures);
    else
        libc_figures(figures);
    figures->live_blocks = allocator_live_blocks();
    figures->resident_bytes = resident_bytes();
    getrusage(RUSAGE_SELF, &usage);
    figures->page_faults = (uint64_t)(usage.ru_minflt + usage.ru_majflt);
}

bool allocator_own_live_blocks(uint64_t *blocks)
{
    struct partyalloc_stats stats = {.size = sizeof stats};

    if (!allocator_is_partyalloc() || partyalloc_get_stats(&stats) != 0)
        return false;
    *blocks = stats.small_live_blocks + stats.large_live_blocks;
    return true;
}
