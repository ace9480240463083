/* SPDX-License-Identifier: MIT */
/*
 * A player: a network thread, an audio thread, and the queues that join them
 * to each other and to the title's thread.  The title sees what happened as
 * state changes, which the network thread allocates and the title frees when it
 * has processed them.
 *
 *     title --- messages ---> network --- datagrams ---> relay
 *     title <-- state changes-- network <-- datagrams ---
 *     audio --- voice frames -> network
 *     audio <-- voice packets - network
 */
#ifndef TITLE_PLAYER_H
#define TITLE_PLAYER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "title_net.h"
#include "title_queue.h"

/* Players at one time. */
#define PLAYERS_MAX 16

enum state_change_kind {
    CHANGE_CONNECTED, /* the player can send and receives */
    CHANGE_MESSAGE,   /* a message for the player */
    CHANGE_LEFT       /* the last: the network thread is about to end */
};

/* Allocated by the network thread, its packet by ENet there. */
struct state_change {
    enum state_change_kind kind;
    ENetPacket *packet; /* of CHANGE_MESSAGE, else NULL */
};

/* What a player has heard of another one. */
struct heard {
    uint32_t player_id; /* 0: nobody yet */
    uint32_t sequence;  /* of the last reliable message */
};

struct player {
    uint32_t id; /* from 1, never used again */
    uint16_t relay_port;
    bool realtime;
    pthread_t network_thread;
    pthread_t audio_thread;

    struct queue messages;      /* title to network: struct message */
    struct queue voice_frames;  /* audio to network: struct message */
    struct queue state_changes; /* network to title: struct state_change */
    struct queue voice_packets; /* network to audio: ENetPacket */

    _Atomic bool leaving;  /* set by the title */
    _Atomic bool talking;  /* set by the network: connected, not leaving */
    _Atomic bool finished; /* set by the network: nothing comes any more */
    _Atomic bool silent;   /* set by the audio: it is about to end */
    struct traffic traffic;

    /* The title thread's. */
    bool connected;
    bool left;
    uint32_t random;
    uint32_t positions_sent;
    uint32_t reliable_sent;
    struct heard heard[PLAYERS_MAX];

    /* The network thread's, to be read when it has ended. */
    uint64_t reliable_lost;
    uint64_t network_corrupted;
    uint64_t connections_lost;
    uint64_t unplayed; /* voice packets that found the audio's queue full */

    /* The audio thread's, to be read when it has ended. */
    uint64_t unsent; /* voice frames that found the network's queue full */
    uint64_t audio_corrupted;
    bool realtime_refused;
};

/* Makes a player whose network thread at once connects to the relay. */
struct player *player_start(uint32_t id, uint16_t relay_port, bool realtime);

/* Lets the player say good-bye: all that was handed over before is sent. */
void player_leave(struct player *player);

/* The next state changes, at most `count`; returns how many. */
size_t player_start_processing(struct player *player,
                               struct state_change **changes, size_t count);

/* Frees state changes. */
void player_finish_processing(struct state_change **changes, size_t count);

/* Whether both threads have ended, so that joining them does not wait. */
bool player_is_done(const struct player *player);

/* Joins the threads of a player whose CHANGE_LEFT was processed.  The figures
 * can then be read; player_free() ends the player itself. */
void player_join(struct player *player);
void player_free(struct player *player);

/* The two threads. */
void *player_network_main(void *player);
void *player_audio_main(void *player);

#endif
