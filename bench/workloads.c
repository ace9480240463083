/* SPDX-License-Identifier: MIT */
/*
 * The table of workloads.
 */
#include "workloads.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPEED  WORKLOAD_SPEED
#define MEMORY WORKLOAD_MEMORY

static const struct workload workloads[] = {
    {"pair", "64 bytes, allocated and freed at once",
     run_pair, SPEED, {1, 2}, true, false},
    {"lifo", "1,000 blocks, the last freed first",
     run_lifo, SPEED, {1, 2}, false, false},
    {"fifo", "1,000 blocks, the first freed first",
     run_fifo, SPEED, {1, 2}, false, false},
    {"churn", "a random one of 10,000 blocks replaced",
     run_churn, SPEED, {1, 2}, false, false},
    {"big-churn", "a random one of 500,000 blocks replaced",
     run_big_churn, SPEED, {1, 2}, false, false},
    {"packets", "10,000 packets of 40 to 1,400 bytes",
     run_packets, SPEED, {1, 2}, false, false},
    {"queue", "one thread allocates, the other frees",
     run_queue, SPEED, {2}, true, false},
    {"free-only", "several threads allocate, one frees",
     run_free_only, SPEED, {4}, true, false},
    {"server", "threads replaced, their blocks inherited",
     run_server, SPEED, {1, 2}, false, false},
    {"short-threads", "threads that live for 300 blocks",
     run_short_threads, SPEED, {1, 2}, true, false},
    {"active-sharing", "two threads write small blocks of theirs",
     run_active_sharing, SPEED, {2}, false, false},
    {"passive-sharing", "the same after freeing each other's",
     run_passive_sharing, SPEED, {2}, false, false},
    {"medium", "200 blocks of 4 to 128 KiB",
     run_medium, SPEED, {1, 2}, false, false},
    {"large", "16 blocks of 256 KiB to 4 MiB, touched",
     run_large, SPEED, {1, 2}, false, false},
    {"burst", "200 MiB written and freed in scattered order",
     run_burst, SPEED, {1}, false, false},
    {"frame", "a title's frame: two threads allocate, it frees",
     run_frame, SPEED, {3}, true, false},
    {"realtime", "an audio thread while others churn",
     run_realtime, SPEED, {3}, true, false},
    {"scale-churn", "1,000 blocks a thread",
     run_small_churn, SPEED, {2, 4, 8, 16, 64}, false, false},
    {"scale-queue", "pairs of producer and consumer",
     run_queue, SPEED, {2, 4, 8, 16, 64}, false, false},

    {"burst-alone", "bursts, then nothing for a second",
     run_burst_alone, MEMORY, {1}, false, false},
    {"burst-light", "bursts, then a second of light traffic",
     run_burst_light, MEMORY, {1}, false, false},
    {"burst-maintain", "bursts, then a second of partyalloc_maintain",
     run_burst_maintain, MEMORY, {1}, false, true},
    {"burst-service", "bursts, with the service thread",
     run_burst_service, MEMORY, {1}, false, true},
    {"many-producers", "16 threads allocate, one frees",
     run_many_producers, MEMORY, {16}, false, false},
    {"inherit", "10,000 threads, half left to the next",
     run_inherit, MEMORY, {1}, false, false},
    {"no-trim", "packets, each call timed",
     run_no_trim, MEMORY, {1}, false, true},
    {"trim", "the same while another thread trims",
     run_trim, MEMORY, {1}, false, true},
};

enum { WORKLOAD_COUNT = sizeof workloads / sizeof workloads[0] };

static const struct workload *find_exactly(const char *name, size_t length)
{
    for (size_t i = 0; i < WORKLOAD_COUNT; i++)
        if (strlen(workloads[i].name) == length &&
            strncmp(workloads[i].name, name, length) == 0)
            return &workloads[i];
    return NULL;
}

const struct workload *workload_find(const char *name, unsigned *threads)
{
    const struct workload *found = find_exactly(name, strlen(name));
    const char *dash = strrchr(name, '-');
    unsigned long wanted;

    if (found != NULL) {
        *threads = found->threads[0];
        return found;
    }
    if (dash == NULL || !isdigit((unsigned char)dash[1]))
        return NULL;
    wanted = strtoul(dash + 1, NULL, 10);
    if (wanted == 0 || wanted > MAX_THREADS)
        return NULL;
    *threads = (unsigned)wanted;
    return find_exactly(name, (size_t)(dash - name));
}

static void list_one(const struct workload *workload)
{
    const char *mark = workload->floor ? "floor"
                       : workload->verbs ? "verbs"
                                         : "-";
    bool several = workload->threads[1] != 0;

    for (size_t i = 0; i < sizeof workload->threads / sizeof(unsigned); i++) {
        if (workload->threads[i] == 0)
            break;
        if (several)
            printf("%s-%u %s %s\n", workload->name, workload->threads[i], mark,
                   workload->description);
        else
            printf("%s %s %s\n", workload->name, mark, workload->description);
    }
}

void workload_list(enum workload_group group)
{
    for (size_t i = 0; i < WORKLOAD_COUNT; i++)
        if (workloads[i].group == group)
            list_one(&workloads[i]);
}
