/* SPDX-License-Identifier: MIT */
/*
 * The relay: a network thread that passes every player's messages on to all
 * others, as Party's relay in the cloud does.
 */
#ifndef TITLE_RELAY_H
#define TITLE_RELAY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "title_net.h"

/* Connections at one time, those included that are about to end. */
#define RELAY_PEERS 32

/* One connection, as the relay's thread sees it. */
struct relay_peer {
    bool in_room;
    uint32_t player_id;
    uint64_t reliable_received;
    uint64_t reliable_sent;
};

struct relay {
    pthread_t thread;
    ENetHost *host;
    uint16_t port;
    _Atomic bool stop;
    struct traffic traffic;
    struct relay_peer peers[RELAY_PEERS];
    uint32_t announcements;
    /* To be read when the thread has ended. */
    uint64_t reliable_lost;
    uint64_t corrupted;
    uint64_t connections_lost;
};

/* Starts the relay's thread; its port is then known. */
struct relay *relay_start(void);

/* Ends the thread, when all players have left.  The title's figures can then
 * be read; relay_free() ends the relay itself. */
void relay_stop(struct relay *relay);
void relay_free(struct relay *relay);

#endif
