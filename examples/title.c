/* SPDX-License-Identifier: MIT */
/* The title's runs: one session with a report, or many to compare. */
#include "title.h"

#include <stdlib.h>
#include <string.h>

#include "partyalloc.h"
#include "title_clock.h"
#include "title_options.h"

/* How the time that a session plays is divided. */
#define WARM_UP_FIFTHS 1
#define STEADY_FIFTHS  3
#define CHURN_FIFTHS   1

/* A cycle is as short as it can be while everything takes part. */
#define CYCLE_FRAME_NS (4 * NANOSECONDS_PER_MILLISECOND)
#define CYCLE_PLAY_NS  (30 * NANOSECONDS_PER_MILLISECOND)
/* How far resident memory may be above that after the first cycle. */
#define CYCLE_RESIDENT_SLACK MEBIBYTE

/* Zero at the start; the queues in it are too large for a stack. */
static struct title title;

static void reserve(size_t bytes)
{
    if (bytes == 0)
        return;
    if (partyalloc_reserve(bytes) != 0) {
        fprintf(stderr, "title: %zu MiB cannot be reserved\n",
                bytes / MEBIBYTE);
        exit(EXIT_FAILURE);
    }
}

static bool run_session(void)
{
    uint64_t fifth = title.options.seconds * NANOSECONDS_PER_SECOND / 5;

    title.plan = (struct session_plan){
        .frame_ns = NANOSECONDS_PER_SECOND / FRAMES_PER_SECOND,
        .warm_up_ns = WARM_UP_FIFTHS * fifth,
        .steady_ns = STEADY_FIFTHS * fifth,
        .churn_ns = CHURN_FIFTHS * fifth,
        .assets = ASSETS_PER_LOADER_MAX,
    };
    live_open(&title);
    session_run(&title);
    live_close(&title);
    return report_print(&title);
}

/* What is compared from cycle to cycle. */
struct cycles {
    unsigned done;
    uint64_t first_resident;
    uint64_t highest_resident;
    uint64_t last_resident;
    uint64_t leaked;
    uint64_t last_line_ns;
};

static void cycle_compare(struct cycles *cycles)
{
    uint64_t own = 0;
    uint64_t resident = resident_bytes();

    allocator_own_live_blocks(&own);
    cycles->leaked += allocator_live_blocks() + own;
    cycles->done++;
    if (cycles->done == 1)
        cycles->first_resident = resident;
    if (resident > cycles->highest_resident)
        cycles->highest_resident = resident;
    cycles->last_resident = resident;
}

static void cycle_line(struct cycles *cycles)
{
    uint64_t now = now_ns();

    if (cycles->done < title.options.cycles &&
        now - cycles->last_line_ns < NANOSECONDS_PER_SECOND)
        return;
    cycles->last_line_ns = now;
    printf("cycle %u of %u: blocks still live %ju, resident %.2f MiB, "
           "after the first cycle %.2f\n",
           cycles->done, title.options.cycles, (uintmax_t)cycles->leaked,
           (double)cycles->last_resident / (double)MEBIBYTE,
           (double)cycles->first_resident / (double)MEBIBYTE);
    fflush(stdout);
}

static bool cycles_verdict(const struct cycles *cycles)
{
    bool grew = cycles->highest_resident >
                cycles->first_resident + CYCLE_RESIDENT_SLACK;
    char text[GROUPED_SIZE];

    printf("%s reliable messages arrived; resident memory was at most %.2f "
           "MiB after a cycle\n",
           grouped(title.totals.players.received[1] +
                       title.totals.relay.received[1],
                   text),
           (double)cycles->highest_resident / (double)MEBIBYTE);
    if (!report_messages_are_well(&title.totals))
        printf("FAILED: messages were lost or corrupted\n");
    else if (cycles->leaked > 0)
        printf("FAILED: blocks were still live after a cycle\n");
    else if (grew)
        printf("FAILED: resident memory has grown by more than %zu MiB\n",
               CYCLE_RESIDENT_SLACK / MEBIBYTE);
    else
        printf("All is well: no message lost, no block leaked, no growth.\n");
    return report_messages_are_well(&title.totals) && cycles->leaked == 0 &&
           !grew;
}

static bool run_cycles(void)
{
    struct cycles cycles = {.done = 0};

    title.plan = (struct session_plan){
        .frame_ns = CYCLE_FRAME_NS,
        .steady_ns = CYCLE_PLAY_NS,
        .assets = 1,
    };
    title.live.quiet = true;
    live_open(&title);
    while (cycles.done < title.options.cycles) {
        session_run(&title);
        cycle_compare(&cycles);
        cycle_line(&cycles);
    }
    return cycles_verdict(&cycles);
}

int main(int count, char **arguments)
{
    bool good;

    options_read(&title.options, count, arguments);
    ticks_calibrate();
    thread_begin(THREAD_TITLE);
    net_initialize();
    reserve(title.options.reserve_bytes);
    title.random = 1;
    good = title.options.cycles > 0 ? run_cycles() : run_session();
    enet_deinitialize();
    thread_end();
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
