/* SPDX-License-Identifier: MIT */
/*
 * One frame of the title's thread: process the state changes, compute, send,
 * keep up the allocator, and sleep until the next frame.
 */
#include <string.h>

#include "partyalloc.h"
#include "title.h"
#include "title_clock.h"

/* State changes taken from a player in one go. */
#define CHANGES_AT_ONCE 64
/* Blocks that live for one frame. */
#define SCRATCH_BLOCKS    32
#define SCRATCH_SHIFT_MIN 4
#define SCRATCH_SHIFT_MAX 10
/* What partyalloc_maintain() may take of a frame. */
#define MAINTAIN_BUDGET_NS 200000
/* Later than this, the title drops frames instead of catching up. */
#define FRAME_LATE_NS (100 * NANOSECONDS_PER_MILLISECOND)

/* How often a player sends what, in frames, and how large it is. */
#define POSITION_FRAMES 2
#define POSITION_BYTES  48
#define EVENT_FRAMES    6
#define EVENT_BYTES_MIN 32
#define EVENT_BYTES_MAX 1200
#define SNAPSHOT_FRAMES 60
#define SNAPSHOT_BYTES  8000

/* Receiving. */

static struct heard *heard_of(struct player *player, uint32_t about)
{
    struct heard *unused = &player->heard[0];

    for (size_t i = 0; i < PLAYERS_MAX; i++) {
        if (player->heard[i].player_id == about)
            return &player->heard[i];
        if (player->heard[i].player_id == 0)
            unused = &player->heard[i];
    }
    unused->player_id = about;
    unused->sequence = 0;
    return unused;
}

/* The reliable messages of a player come in order and without a gap, from the
 * first one that was sent after we had joined. */
static void follow_sequence(struct title *title, struct player *player,
                            const struct message *message)
{
    struct heard *heard = heard_of(player, message->about);

    if (heard->sequence != 0)
        title->totals.reliable_lost +=
            (uint32_t)(message->sequence - heard->sequence - 1);
    heard->sequence = message->sequence;
}

static void process_message(struct title *title, struct player *player,
                            const ENetPacket *packet)
{
    const struct message *message = net_message(packet);

    if (!message_is_intact(packet->data, packet->dataLength)) {
        title->totals.corrupted++;
        return;
    }
    if (message->kind == MESSAGE_EVENT || message->kind == MESSAGE_SNAPSHOT)
        follow_sequence(title, player, message);
    else if (message->kind == MESSAGE_LEFT)
        heard_of(player, message->about)->player_id = 0;
}

static void process_changes(struct title *title, struct player *player)
{
    struct state_change *changes[CHANGES_AT_ONCE];
    size_t count;

    do {
        count = player_start_processing(player, changes, CHANGES_AT_ONCE);
        for (size_t i = 0; i < count; i++) {
            if (changes[i]->kind == CHANGE_CONNECTED)
                player->connected = true;
            else if (changes[i]->kind == CHANGE_LEFT)
                player->left = true;
            else
                process_message(title, player, changes[i]->packet);
        }
        player_finish_processing(changes, count);
    } while (count == CHANGES_AT_ONCE);
}

/* Joins a player that has left, and takes over its figures. */
static void bury(struct title *title, struct player *player)
{
    struct totals *totals = &title->totals;

    player_join(player);
    traffic_add(&totals->players, &player->traffic);
    totals->reliable_lost += player->reliable_lost;
    totals->corrupted += player->network_corrupted + player->audio_corrupted;
    totals->connections_lost += player->connections_lost;
    totals->unplayed += player->unplayed;
    totals->held_back += player->unsent;
    totals->realtime_refused += player->realtime_refused;
    player_free(player);
}

static void receive(struct title *title)
{
    for (size_t i = 0; i < PLAYERS_MAX; i++) {
        struct player *player = title->players[i];

        if (player == NULL)
            continue;
        process_changes(title, player);
        if (player_is_done(player)) {
            title->players[i] = NULL;
            bury(title, player);
        }
    }
}

/* Computing: blocks of many sizes that live for one frame. */

static void compute(struct title *title)
{
    void *blocks[SCRATCH_BLOCKS];

    for (size_t i = 0; i < SCRATCH_BLOCKS; i++) {
        uint32_t shift = random_between(&title->random, SCRATCH_SHIFT_MIN,
                                        SCRATCH_SHIFT_MAX);
        size_t size = ((size_t)1 << shift) +
                      (random_next(&title->random) & ((1U << shift) - 1));

        blocks[i] = title_allocate_or_stop(size, MEMORY_FRAME);
        memset(blocks[i], (int)i, size);
    }
    for (size_t i = 0; i < SCRATCH_BLOCKS; i++)
        title_free(blocks[i], MEMORY_FRAME);
}

/* Sending. */

static void send_one(struct title *title, struct player *player,
                     enum message_kind kind, uint32_t *last_sequence,
                     uint32_t length)
{
    struct message *message = title_allocate_or_stop(length, MEMORY_MESSAGE);

    message_write(message, kind, player->id, *last_sequence + 1,
                  (uint16_t)length);
    if (queue_push(&player->messages, message)) {
        ++*last_sequence;
    } else {
        title->totals.held_back++;
        title_free(message, MEMORY_MESSAGE);
    }
}

/* The slots take turns, so that not all players send in the same frame. */
static void send_as(struct title *title, struct player *player, size_t slot)
{
    uint64_t turn = title->frame + slot;

    if (turn % POSITION_FRAMES == 0)
        send_one(title, player, MESSAGE_POSITION, &player->positions_sent,
                 POSITION_BYTES);
    if (turn % EVENT_FRAMES == 0)
        send_one(
            title, player, MESSAGE_EVENT, &player->reliable_sent,
            random_between(&player->random, EVENT_BYTES_MIN, EVENT_BYTES_MAX));
    if (turn % SNAPSHOT_FRAMES == 0)
        send_one(title, player, MESSAGE_SNAPSHOT, &player->reliable_sent,
                 SNAPSHOT_BYTES);
}

static void send_all(struct title *title)
{
    for (size_t i = 0; i < PLAYERS_MAX; i++) {
        struct player *player = title->players[i];

        if (player != NULL && player->connected && !player->left &&
            !atomic_load_explicit(&player->leaving, memory_order_relaxed))
            send_as(title, player, i);
    }
}

/* Upkeep and waiting. */

static void maintain(struct title *title)
{
    if (!title->options.maintain)
        return;
    title->measured.maintain_calls++;
    title->measured.maintained_bytes += partyalloc_maintain(MAINTAIN_BUDGET_NS);
}

static void wait_for_next_frame(struct title *title)
{
    uint64_t now = now_ns();

    if (now > title->next_frame_ns + FRAME_LATE_NS)
        title->next_frame_ns = now;
    title->next_frame_ns += title->plan.frame_ns;
    sleep_until(title->next_frame_ns);
}

void title_frame(struct title *title)
{
    title->frame++;
    receive(title);
    compute(title);
    send_all(title);
    maintain(title);
    live_frame(title);
    wait_for_next_frame(title);
}
