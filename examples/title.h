/* SPDX-License-Identifier: MIT */
/*
 * The title: a small game whose network, audio, loading and short-lived threads
 * all take their memory from one callback pair, the way PlayFab Party takes it
 * from a title.
 *
 *     title.c          options, the whole run, start-stop cycles
 *     title_session.c  the phases of one session: load, join, play, leave
 *     title_frame.c    what the title's thread does 60 times a second
 *     title_player.c   a player, with title_network.c and title_audio.c
 *     title_relay.c    passes messages on; title_net.c, title_message.c
 *     title_loading.c  large buffers
 *     title_churn.c    threads and players that come and go
 *     title_report.c   the report; title_live.c a line each second
 *     title_watch.c    what the kernel sees of memory calls
 *     title_allocator.c, title_figures.c, title_latency.c  what is measured
 */
#ifndef TITLE_H
#define TITLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "title_allocator.h"
#include "title_churn.h"
#include "title_loading.h"
#include "title_player.h"
#include "title_relay.h"

#define FRAMES_PER_SECOND 60
#define MEBIBYTE          ((size_t)1024 * 1024)

struct title_options {
    unsigned seconds;
    unsigned players;
    unsigned cycles;      /* 0: one session with a report */
    size_t reserve_bytes; /* 0: nothing is reserved */
    bool maintain;
    bool trim;
    bool realtime;
    bool expect_quiet;
    bool watch;
    const char *csv_path; /* NULL: none */
};

enum phase {
    PHASE_LOADING,
    PHASE_JOINING,
    PHASE_WARM_UP,
    PHASE_STEADY,
    PHASE_CHURN,
    PHASE_LEAVING,
    PHASES
};

/* How long one session takes. */
struct session_plan {
    uint64_t frame_ns;
    uint64_t warm_up_ns;
    uint64_t steady_ns;
    uint64_t churn_ns;
    unsigned assets; /* that each loader thread loads */
};

/* What went over the wire, and what went wrong. */
struct totals {
    struct traffic_sum players; /* of the players that have left */
    struct traffic_sum relay;
    uint64_t reliable_lost;
    uint64_t corrupted;
    uint64_t connections_lost;
    uint64_t held_back; /* not sent: a queue was full */
    uint64_t unplayed;  /* voice that came when the audio's queue was full */
    uint64_t joins;
    uint64_t short_lived_threads;
    uint64_t realtime_refused;
};

/* The moments at which memory is looked at. */
enum moment {
    MOMENT_START,
    MOMENT_LOADED,
    MOMENT_STEADY_BEGINS,
    MOMENT_STEADY_ENDS,
    MOMENT_LEFT,
    MOMENTS
};

struct measured {
    struct memory_figures at[MOMENTS];
    uint64_t steady_ns;
    uint64_t steady_allocations;
    uint64_t steady_messages;
    uint64_t maintain_calls;
    uint64_t maintained_bytes;
    uint64_t trimmed_bytes;
    uint64_t watched_calls; /* memory calls that the watch has seen */
};

/* What the live line compares with. */
struct live_line {
    FILE *csv;
    uint64_t begin_ns;
    uint64_t last_ns;
    uint64_t allocations;
    uint64_t messages;
    bool quiet; /* no line at all */
};

struct title {
    struct title_options options;
    struct session_plan plan;
    enum phase phase;
    uint64_t frame;
    uint64_t next_frame_ns;
    uint32_t random;
    uint32_t last_player_id;
    struct relay *relay;
    struct player *players[PLAYERS_MAX];
    struct loading loading;
    struct churn churn;
    struct totals totals;
    struct measured measured;
    struct live_line live;
};

/* title_session.c: one session from loading to leaving. */
void session_run(struct title *title);
/* Starts a player in a free slot; false when there is none. */
bool session_join(struct title *title);
/* Lets the player that has been there longest leave; false when there is
 * none. */
bool session_leave_one(struct title *title);

/* title_frame.c: one frame, which sleeps until the next one is due. */
void title_frame(struct title *title);

/* title_live.c */
void live_open(struct title *title);
void live_frame(struct title *title);
void live_close(struct title *title);
uint64_t title_messages_received(const struct title *title);

/* title_report.c: prints the report; returns whether all was well. */
bool report_print(const struct title *title);
/* Whether every reliable message arrived and every payload was intact. */
bool report_messages_are_well(const struct totals *totals);
/* Writes a number with separators of thousands, and returns the text. */
#define GROUPED_SIZE 32
char *grouped(uint64_t number, char text[GROUPED_SIZE]);

#endif
