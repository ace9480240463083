/* SPDX-License-Identifier: MIT */
/* The line that shows once a second what is going on, and its table file. */
#include <stdlib.h>

#include "title.h"
#include "title_clock.h"

static const char *const phase_names[PHASES] = {
    [PHASE_LOADING] = "loading", [PHASE_JOINING] = "joining",
    [PHASE_WARM_UP] = "warm-up", [PHASE_STEADY] = "steady",
    [PHASE_CHURN] = "churn",     [PHASE_LEAVING] = "leaving",
};

/* One line's worth. */
struct sample {
    double seconds;
    unsigned players;
    uint64_t messages_a_second;
    uint64_t allocations_a_second;
    uint64_t slowest_ns;
    struct memory_figures memory;
};

uint64_t title_messages_received(const struct title *title)
{
    struct traffic_sum sum = title->totals.players;

    for (size_t i = 0; i < PLAYERS_MAX; i++) {
        if (title->players[i] != NULL)
            traffic_add(&sum, &title->players[i]->traffic);
    }
    return sum.received[0] + sum.received[1];
}

static uint64_t a_second(uint64_t count, uint64_t ns)
{
    return (uint64_t)((double)count * (double)NANOSECONDS_PER_SECOND /
                      (double)ns);
}

static void take_sample(struct title *title, uint64_t now,
                        struct sample *sample)
{
    struct live_line *live = &title->live;
    uint64_t allocations = allocator_allocations();
    uint64_t messages = title_messages_received(title);
    uint64_t passed = now - live->last_ns;

    sample->seconds =
        (double)(now - live->begin_ns) / (double)NANOSECONDS_PER_SECOND;
    sample->players = 0;
    for (size_t i = 0; i < PLAYERS_MAX; i++)
        sample->players +=
            title->players[i] != NULL && title->players[i]->connected;
    sample->messages_a_second = a_second(messages - live->messages, passed);
    sample->allocations_a_second =
        a_second(allocations - live->allocations, passed);
    sample->slowest_ns = allocator_take_slowest();
    memory_figures_take(&sample->memory);
    live->allocations = allocations;
    live->messages = messages;
    live->last_ns = now;
}

static void print_line(const struct title *title, const struct sample *sample)
{
    char messages[GROUPED_SIZE];
    char allocations[GROUPED_SIZE];
    char blocks[GROUPED_SIZE];

    printf("%5.1f s  %-8s %8u  %10s  %13s  %11s  %8.1f  %8.1f  %8.1f us\n",
           sample->seconds, phase_names[title->phase], sample->players,
           grouped(sample->messages_a_second, messages),
           grouped(sample->allocations_a_second, allocations),
           grouped(sample->memory.live_blocks, blocks),
           (double)sample->memory.mapped_bytes / (double)MEBIBYTE,
           (double)sample->memory.resident_bytes / (double)MEBIBYTE,
           (double)sample->slowest_ns / 1000.0);
    fflush(stdout);
}

static void write_row(const struct title *title, const struct sample *sample)
{
    fprintf(title->live.csv, "%.3f,%s,%u,%ju,%ju,%ju,%ju,%ju,%ju\n",
            sample->seconds, phase_names[title->phase], sample->players,
            (uintmax_t)sample->messages_a_second,
            (uintmax_t)sample->allocations_a_second,
            (uintmax_t)sample->memory.live_blocks,
            (uintmax_t)sample->memory.mapped_bytes,
            (uintmax_t)sample->memory.resident_bytes,
            (uintmax_t)sample->slowest_ns);
    fflush(title->live.csv);
}

void live_open(struct title *title)
{
    struct live_line *live = &title->live;

    live->begin_ns = now_ns();
    live->last_ns = live->begin_ns;
    if (live->quiet)
        return;
    printf("%7s  %-8s %8s  %10s  %13s  %11s  %8s  %8s  %11s\n", "time", "phase",
           "players", "messages/s", "allocations/s", "live blocks", "mapped",
           "resident", "slowest");
    printf("%7s  %-8s %8s  %10s  %13s  %11s  %8s  %8s  %11s\n", "", "", "", "",
           "", "", "MiB", "MiB", "call");
    if (title->options.csv_path == NULL)
        return;
    live->csv = fopen(title->options.csv_path, "w");
    if (live->csv == NULL) {
        perror(title->options.csv_path);
        exit(EXIT_FAILURE);
    }
    fprintf(live->csv, "seconds,phase,players,messages_per_second,"
                       "allocations_per_second,live_blocks,mapped_bytes,"
                       "resident_bytes,slowest_call_ns\n");
}

void live_frame(struct title *title)
{
    struct live_line *live = &title->live;
    uint64_t now = now_ns();
    struct sample sample;

    if (live->quiet || now - live->last_ns < NANOSECONDS_PER_SECOND)
        return;
    take_sample(title, now, &sample);
    print_line(title, &sample);
    if (live->csv != NULL)
        write_row(title, &sample);
}

void live_close(struct title *title)
{
    if (title->live.csv != NULL)
        fclose(title->live.csv);
    title->live.csv = NULL;
}
