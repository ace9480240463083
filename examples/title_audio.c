/* SPDX-License-Identifier: MIT */
/*
 * A player's audio thread: every 20 milliseconds it plays the voice packets
 * that have arrived, and records a voice frame.  It never waits for another
 * thread.
 */
#include "title_allocator.h"
#include "title_clock.h"
#include "title_player.h"
#include "title_thread.h"

#define AUDIO_PERIOD_NS (20 * NANOSECONDS_PER_MILLISECOND)
/* Later than this, the thread starts over instead of catching up. */
#define AUDIO_LATE_NS   (100 * NANOSECONDS_PER_MILLISECOND)
#define VOICE_BYTES_MIN 40
#define VOICE_BYTES_MAX 200

static void play(struct player *player)
{
    ENetPacket *packet;

    while ((packet = queue_pop(&player->voice_packets)) != NULL) {
        if (!message_is_intact(packet->data, packet->dataLength))
            player->audio_corrupted++;
        enet_packet_destroy(packet);
    }
}

static void speak(struct player *player, uint32_t *random, uint32_t sequence)
{
    uint16_t length =
        (uint16_t)random_between(random, VOICE_BYTES_MIN, VOICE_BYTES_MAX);
    struct message *frame = title_allocate_or_stop(length, MEMORY_VOICE);

    message_write(frame, MESSAGE_VOICE, player->id, sequence, length);
    if (!queue_push(&player->voice_frames, frame)) {
        player->unsent++;
        title_free(frame, MEMORY_VOICE);
    }
}

/* When to wake up next, after `last`. */
static uint64_t next_period(uint64_t last)
{
    uint64_t now = now_ns();

    if (now > last + AUDIO_LATE_NS)
        return now + AUDIO_PERIOD_NS;
    return last + AUDIO_PERIOD_NS;
}

void *player_audio_main(void *argument)
{
    struct player *player = argument;
    uint32_t random = player->id * 2 + 1;
    uint32_t sequence = 0;
    uint64_t wake = now_ns();

    thread_begin(THREAD_AUDIO);
    if (player->realtime)
        player->realtime_refused = title_thread_make_realtime() != 0;
    /* Pairs with the release at the end of the network thread. */
    while (!atomic_load_explicit(&player->finished, memory_order_acquire)) {
        play(player);
        if (atomic_load_explicit(&player->talking, memory_order_relaxed))
            speak(player, &random, ++sequence);
        wake = next_period(wake);
        sleep_until(wake);
    }
    play(player);
    thread_end();
    atomic_store_explicit(&player->silent, true, memory_order_release);
    return NULL;
}
