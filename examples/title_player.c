/* SPDX-License-Identifier: MIT */
/* A player as the title's thread handles it. */
#include "title_player.h"

#include <string.h>

#include "title_allocator.h"
#include "title_thread.h"

struct player *player_start(uint32_t id, uint16_t relay_port, bool realtime)
{
    struct player *player =
        title_allocate_or_stop(sizeof *player, MEMORY_CLIENT);

    memset(player, 0, sizeof *player);
    player->id = id;
    player->relay_port = relay_port;
    player->realtime = realtime;
    player->random = id;
    queue_init(&player->messages);
    queue_init(&player->voice_frames);
    queue_init(&player->state_changes);
    queue_init(&player->voice_packets);
    atomic_init(&player->leaving, false);
    atomic_init(&player->talking, false);
    atomic_init(&player->finished, false);
    atomic_init(&player->silent, false);
    traffic_init(&player->traffic);
    title_thread_create(&player->network_thread, player_network_main, player);
    title_thread_create(&player->audio_thread, player_audio_main, player);
    return player;
}

void player_leave(struct player *player)
{
    /* Pairs with the acquire of the network thread: what was pushed before is
     * sent before the good-bye. */
    atomic_store_explicit(&player->leaving, true, memory_order_release);
}

size_t player_start_processing(struct player *player,
                               struct state_change **changes, size_t count)
{
    size_t found = 0;

    while (found < count &&
           (changes[found] = queue_pop(&player->state_changes)) != NULL)
        found++;
    return found;
}

void player_finish_processing(struct state_change **changes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (changes[i]->packet != NULL)
            enet_packet_destroy(changes[i]->packet);
        title_free(changes[i], MEMORY_STATE_CHANGE);
    }
}

bool player_is_done(const struct player *player)
{
    return player->left &&
           atomic_load_explicit(&player->silent, memory_order_acquire);
}

void player_join(struct player *player)
{
    void *rest;

    pthread_join(player->audio_thread, NULL);
    pthread_join(player->network_thread, NULL);
    while ((rest = queue_pop(&player->messages)) != NULL)
        title_free(rest, MEMORY_MESSAGE);
    while ((rest = queue_pop(&player->voice_frames)) != NULL)
        title_free(rest, MEMORY_VOICE);
    while ((rest = queue_pop(&player->voice_packets)) != NULL)
        enet_packet_destroy(rest);
}

void player_free(struct player *player)
{
    title_free(player, MEMORY_CLIENT);
}
