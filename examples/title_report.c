/* SPDX-License-Identifier: MIT */
/* The report at the end of a run. */
#include <stdio.h>
#include <string.h>

#include "title.h"
#include "title_clock.h"
#include "title_watch.h"

static const char *const thread_names[THREAD_KINDS] = {
    [THREAD_TITLE] = "title",
    [THREAD_NETWORK] = "network",
    [THREAD_AUDIO] = "audio",
    [THREAD_LOADER] = "loader",
    [THREAD_SHORT_LIVED] = "short-lived",
};

static const char *const operation_names[OPERATIONS] = {
    [OPERATION_ALLOCATE] = "allocate",
    [OPERATION_FREE] = "free",
};

char *grouped(uint64_t number, char text[GROUPED_SIZE])
{
    char digits[GROUPED_SIZE];
    int length = snprintf(digits, sizeof digits, "%ju", (uintmax_t)number);
    char *to = text;

    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}

/* Messages. */

static uint64_t missing(uint64_t sent, uint64_t received)
{
    return sent > received ? sent - received : 0;
}

bool report_messages_are_well(const struct totals *totals)
{
    return totals->reliable_lost == 0 && totals->corrupted == 0 &&
           totals->connections_lost == 0 &&
           totals->players.sent[1] == totals->relay.received[1] &&
           totals->relay.sent[1] == totals->players.received[1];
}

static void print_message_row(const char *name, uint64_t sent,
                              uint64_t received)
{
    char text[3][GROUPED_SIZE];

    printf("  %-28s %12s %12s %12s\n", name, grouped(sent, text[0]),
           grouped(received, text[1]),
           grouped(missing(sent, received), text[2]));
}

static void print_messages(const struct totals *totals)
{
    char text[5][GROUPED_SIZE];

    printf("\n%-30s %12s %12s %12s\n", "Messages", "sent", "received", "lost");
    print_message_row("reliable, to the relay", totals->players.sent[1],
                      totals->relay.received[1]);
    print_message_row("reliable, to players", totals->relay.sent[1],
                      totals->players.received[1]);
    print_message_row("unreliable, to the relay", totals->players.sent[0],
                      totals->relay.received[0]);
    print_message_row("unreliable, to players", totals->relay.sent[0],
                      totals->players.received[0]);
    printf("  gaps in reliable sequences %s, corrupted %s, "
           "connections lost %s\n",
           grouped(totals->reliable_lost, text[0]),
           grouped(totals->corrupted, text[1]),
           grouped(totals->connections_lost, text[2]));
    if (totals->held_back + totals->unplayed > 0)
        printf("  queues were full: %s not sent, %s voice packets not "
               "played\n",
               grouped(totals->held_back, text[3]),
               grouped(totals->unplayed, text[4]));
}

/* Latency. */

static void print_latency_row(const char *operation, const char *thread,
                              const struct latency *latency)
{
    static const double fractions[] = {0.50, 0.99, 0.999};
    char text[GROUPED_SIZE];

    printf("  %-9s %-12s %12s", operation, thread,
           grouped(latency->calls, text));
    for (size_t i = 0; i < sizeof fractions / sizeof fractions[0]; i++)
        printf(" %9s",
               grouped(ticks_to_ns(latency_percentile(latency, fractions[i])),
                       text));
    printf(" %11s\n", grouped(ticks_to_ns(latency->slowest), text));
}

static void print_latency(enum period period, const char *title)
{
    static struct latency latency;

    printf("\n%s\n  %-9s %-12s %12s %9s %9s %9s %11s\n", title, "call",
           "thread", "calls", "p50", "p99", "p99.9", "max");
    for (int operation = 0; operation < OPERATIONS; operation++) {
        for (int kind = 0; kind < THREAD_KINDS; kind++) {
            allocator_latency((enum thread_kind)kind, period,
                              (enum operation)operation, &latency);
            if (latency.calls > 0)
                print_latency_row(operation_names[operation],
                                  thread_names[kind], &latency);
        }
    }
}

static void print_timer(void)
{
    static struct latency latency;

    allocator_measure_timer(&latency);
    print_latency_row("nothing", "(the timer)", &latency);
    printf("  Measured with %s.  The timer's own cost is\n"
           "  in every figure.  The longest calls include the times when the "
           "scheduler\n  took the processor away.\n",
           ticks_describe());
}

/* Memory. */

static void print_bytes_row(const struct measured *measured, const char *name,
                            size_t offset)
{
    printf("  %-24s", name);
    for (int moment = 0; moment < MOMENTS; moment++) {
        uint64_t bytes;

        memcpy(&bytes, (const char *)&measured->at[moment] + offset,
               sizeof bytes);
        printf(" %10.1f", (double)bytes / (double)MEBIBYTE);
    }
    printf("\n");
}

static void print_memory(const struct measured *measured)
{
    char text[GROUPED_SIZE];

    printf("\n%-26s %10s %10s %10s %10s %10s\n", "Memory", "at start", "loaded",
           "steady in", "steady out", "all left");
    printf("  %-24s", "live blocks");
    for (int moment = 0; moment < MOMENTS; moment++)
        printf(" %10s", grouped(measured->at[moment].live_blocks, text));
    printf("\n");
    print_bytes_row(measured, "live, MiB",
                    offsetof(struct memory_figures, live_bytes));
    print_bytes_row(measured, "mapped, MiB",
                    offsetof(struct memory_figures, mapped_bytes));
    print_bytes_row(measured, "resident, MiB",
                    offsetof(struct memory_figures, resident_bytes));
    printf("  resident at the most %.1f MiB\n",
           (double)resident_peak_bytes() / (double)MEBIBYTE);
}

/* The steady phase. */

static uint64_t steady_kernel_calls(const struct measured *measured)
{
    return measured->at[MOMENT_STEADY_ENDS].kernel_calls -
           measured->at[MOMENT_STEADY_BEGINS].kernel_calls;
}

static uint64_t steady_page_faults(const struct measured *measured)
{
    return measured->at[MOMENT_STEADY_ENDS].page_faults -
           measured->at[MOMENT_STEADY_BEGINS].page_faults;
}

static void print_count(const char *name, uint64_t count)
{
    char text[GROUPED_SIZE];

    printf("  %-40s %12s\n", name, grouped(count, text));
}

static void print_steady(const struct title *title)
{
    const struct measured *measured = &title->measured;
    double seconds =
        (double)measured->steady_ns / (double)NANOSECONDS_PER_SECOND;

    printf("\nSteady phase, %.1f s\n", seconds);
    print_count("messages received a second",
                (uint64_t)((double)measured->steady_messages / seconds));
    print_count("allocations a second",
                (uint64_t)((double)measured->steady_allocations / seconds));
    if (allocator_is_partyalloc())
        print_count("kernel calls of the allocator",
                    steady_kernel_calls(measured));
    else
        printf("  %-40s %12s\n", "kernel calls of the allocator", "n/a");
    print_count("page faults of the process", steady_page_faults(measured));
    if (title->options.watch) {
        print_count("memory calls that the kernel has seen",
                    measured->watched_calls);
        watch_print();
    }
}

static void print_run(const struct title *title)
{
    const struct measured *measured = &title->measured;

    printf("\nWhole run\n");
    print_count("allocations", allocator_allocations());
    print_count("players that joined", title->totals.joins);
    print_count("short-lived threads", title->totals.short_lived_threads);
    if (title->options.realtime)
        print_count("audio threads denied real time",
                    title->totals.realtime_refused);
    if (title->options.maintain) {
        print_count("calls of partyalloc_maintain", measured->maintain_calls);
        print_count("bytes that it gave back", measured->maintained_bytes);
    }
    if (title->options.trim)
        print_count("bytes that partyalloc_trim gave back",
                    measured->trimmed_bytes);
}

/* The verdict. */

static bool is_quiet(const struct title *title)
{
    return steady_kernel_calls(&title->measured) == 0 &&
           steady_page_faults(&title->measured) == 0 &&
           title->measured.watched_calls == 0;
}

static bool check(bool good, const char *failure)
{
    if (!good)
        printf("FAILED: %s\n", failure);
    return good;
}

static bool print_verdict(const struct title *title)
{
    char text[GROUPED_SIZE];
    uint64_t own = 0;
    bool has_own = allocator_own_live_blocks(&own);
    uint64_t live = allocator_live_blocks();
    bool good;

    print_count("blocks still live, by the title's count", live);
    printf("  %-40s %12s\n\n", "blocks still live, by the allocator's",
           has_own ? grouped(own, text) : "n/a");
    good = check(report_messages_are_well(&title->totals),
                 "messages were lost or corrupted");
    good &= check(live == 0 && own == 0, "blocks are still live");
    if (title->options.expect_quiet)
        good &= check(is_quiet(title),
                      "the steady phase called the kernel for memory");
    if (good)
        printf("All is well: no reliable message lost, nothing corrupted, "
               "no block leaked.\n");
    return good;
}

bool report_print(const struct title *title)
{
    printf("\nReport: %u players and a relay on 127.0.0.1, "
           "memory from %s\n",
           title->options.players, allocator_name());
    print_messages(&title->totals);
    print_latency(PERIOD_STEADY, "Latency in the steady phase, ns");
    print_timer();
    print_latency(PERIOD_OTHER,
                  "Latency outside of it: loading, joining, churn, leaving, "
                  "ns");
    print_memory(&title->measured);
    print_steady(title);
    print_run(title);
    return print_verdict(title);
}
