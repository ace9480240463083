/* SPDX-License-Identifier: MIT */
/*
 * One session.  The phases that must make no memory call to the kernel and
 * those that may are kept apart: everything starts, loads and joins before the
 * steady phase, and comes and goes after it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "partyalloc.h"
#include "title.h"
#include "title_clock.h"
#include "title_watch.h"

/* Waiting for players longer than this means that something is broken. */
#define PATIENCE_NS (60 * NANOSECONDS_PER_SECOND)
/* In the churn phase: a burst of threads, and a player that leaves or joins,
 * every so many frames. */
#define BURST_FRAMES  6
#define PLAYER_FRAMES 20

static void take_figures(struct title *title, enum moment moment)
{
    memory_figures_take(&title->measured.at[moment]);
}

static void play_for(struct title *title, uint64_t ns)
{
    uint64_t end = now_ns() + ns;

    while (now_ns() < end)
        title_frame(title);
}

static unsigned count_players(const struct title *title, bool connected)
{
    unsigned count = 0;

    for (size_t i = 0; i < PLAYERS_MAX; i++) {
        const struct player *player = title->players[i];

        count += player != NULL && (!connected || player->connected);
    }
    return count;
}

static void check_patience(uint64_t since, const char *what)
{
    if (now_ns() - since < PATIENCE_NS)
        return;
    fprintf(stderr, "title: players did not %s in time\n", what);
    exit(EXIT_FAILURE);
}

bool session_join(struct title *title)
{
    for (size_t i = 0; i < PLAYERS_MAX; i++) {
        if (title->players[i] != NULL)
            continue;
        title->players[i] =
            player_start(++title->last_player_id, title->relay->port,
                         title->options.realtime);
        title->totals.joins++;
        return true;
    }
    return false;
}

bool session_leave_one(struct title *title)
{
    struct player *oldest = NULL;

    for (size_t i = 0; i < PLAYERS_MAX; i++) {
        struct player *player = title->players[i];

        if (player == NULL || !player->connected ||
            atomic_load_explicit(&player->leaving, memory_order_relaxed))
            continue;
        if (oldest == NULL || player->id < oldest->id)
            oldest = player;
    }
    if (oldest != NULL)
        player_leave(oldest);
    return oldest != NULL;
}

static void load(struct title *title)
{
    title->phase = PHASE_LOADING;
    loading_begin(&title->loading, title->plan.assets);
    while (!loading_frame(&title->loading))
        title_frame(title);
    take_figures(title, MOMENT_LOADED);
}

static void wait_until_connected(struct title *title)
{
    uint64_t since = now_ns();

    while (count_players(title, true) < count_players(title, false)) {
        title_frame(title);
        check_patience(since, "join");
    }
}

static void join(struct title *title)
{
    title->phase = PHASE_JOINING;
    title->relay = relay_start();
    for (unsigned i = 0; i < title->options.players; i++)
        session_join(title);
    wait_until_connected(title);
}

static void warm_up(struct title *title)
{
    title->phase = PHASE_WARM_UP;
    if (title->options.watch)
        watch_open();
    play_for(title, title->plan.warm_up_ns);
}

static void steady(struct title *title)
{
    struct measured *measured = &title->measured;
    uint64_t begin;

    title->phase = PHASE_STEADY;
    if (title->options.watch)
        watch_begin();
    measured->steady_allocations = allocator_allocations();
    measured->steady_messages = title_messages_received(title);
    allocator_set_period(PERIOD_STEADY);
    begin = now_ns();
    take_figures(title, MOMENT_STEADY_BEGINS);
    play_for(title, title->plan.steady_ns);
    take_figures(title, MOMENT_STEADY_ENDS);
    measured->steady_ns = now_ns() - begin;
    allocator_set_period(PERIOD_OTHER);
    measured->steady_allocations =
        allocator_allocations() - measured->steady_allocations;
    measured->steady_messages =
        title_messages_received(title) - measured->steady_messages;
    if (title->options.watch)
        measured->watched_calls = watch_end();
}

static void churn(struct title *title)
{
    uint64_t end = now_ns() + title->plan.churn_ns;
    bool one_leaves = true;

    title->phase = PHASE_CHURN;
    while (now_ns() < end) {
        if (title->frame % BURST_FRAMES == 0) {
            churn_collect(&title->churn);
            churn_burst(&title->churn, &title->random);
        }
        if (title->frame % PLAYER_FRAMES == 0) {
            if (one_leaves)
                session_leave_one(title);
            else
                session_join(title);
            one_leaves = !one_leaves;
        }
        title_frame(title);
    }
    churn_collect(&title->churn);
}

static void stop_relay(struct title *title)
{
    struct totals *totals = &title->totals;
    struct relay *relay = title->relay;

    relay_stop(relay);
    traffic_add(&totals->relay, &relay->traffic);
    totals->reliable_lost += relay->reliable_lost;
    totals->corrupted += relay->corrupted;
    totals->connections_lost += relay->connections_lost;
    relay_free(relay);
    title->relay = NULL;
}

static void leave(struct title *title)
{
    uint64_t since = now_ns();
    bool more;

    title->phase = PHASE_LEAVING;
    wait_until_connected(title);
    while (count_players(title, false) > 0) {
        do
            more = session_leave_one(title);
        while (more);
        title_frame(title);
        check_patience(since, "leave");
    }
    stop_relay(title);
    loading_unload(&title->loading, &title->churn);
    title->totals.corrupted += title->loading.corrupted;
    title->totals.short_lived_threads += title->churn.started;
    title->churn.started = 0;
    if (title->options.trim)
        title->measured.trimmed_bytes += partyalloc_trim();
    take_figures(title, MOMENT_LEFT);
}

void session_run(struct title *title)
{
    title->next_frame_ns = now_ns();
    take_figures(title, MOMENT_START);
    load(title);
    join(title);
    warm_up(title);
    steady(title);
    if (title->plan.churn_ns > 0)
        churn(title);
    leave(title);
}
