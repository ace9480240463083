/* SPDX-License-Identifier: MIT */
/*
 * A player's network thread.  It sends what the title and the audio thread have
 * queued, and turns what arrives into state changes and voice packets.
 */
#include <stdlib.h>
#include <stdio.h>

#include "title_allocator.h"
#include "title_clock.h"
#include "title_player.h"

/* Events handled before the queues are looked at again. */
#define EVENTS_A_TURN 64
/* How long the relay may take to end a connection that has said good-bye. */
#define DISCONNECT_NS (5 * NANOSECONDS_PER_SECOND)

enum connection_state {
    STATE_CONNECTING,
    STATE_PLAYING,
    STATE_SAYING_BYE,
    STATE_DISCONNECTING,
    STATE_OVER
};

struct connection {
    struct player *player;
    ENetHost *host;
    ENetPeer *relay;
    enum connection_state state;
    uint64_t disconnecting_since;
    uint64_t reliable_sent;
    uint64_t reliable_received;
};

/* Hands a state change to the title; waits while it has too many, which keeps
 * ENet from reading on. */
static void report(struct player *player, enum state_change_kind kind,
                   ENetPacket *packet)
{
    struct state_change *change =
        title_allocate_or_stop(sizeof *change, MEMORY_STATE_CHANGE);

    change->kind = kind;
    change->packet = packet;
    while (!queue_push(&player->state_changes, change))
        sleep_until(now_ns() + NANOSECONDS_PER_MILLISECOND);
}

static void send_queue(struct connection *connection, struct queue *queue,
                       enum memory_type type)
{
    struct message *message;

    while ((message = queue_pop(queue)) != NULL) {
        connection->reliable_sent += message_is_reliable(message->kind);
        net_send(connection->relay, message, &connection->player->traffic);
        title_free(message, type);
    }
}

/* Sends what is queued, and the good-bye behind it when the title wants it. */
static void send_pending(struct connection *connection)
{
    struct player *player = connection->player;
    /* Read before the queues: what was pushed before it is in them. */
    bool leaving = atomic_load_explicit(&player->leaving, memory_order_acquire);
    struct message bye;

    send_queue(connection, &player->messages, MEMORY_MESSAGE);
    send_queue(connection, &player->voice_frames, MEMORY_VOICE);
    if (!leaving)
        return;
    atomic_store_explicit(&player->talking, false, memory_order_relaxed);
    message_write(&bye, MESSAGE_BYE, player->id,
                  (uint32_t)connection->reliable_sent, sizeof bye);
    net_send(connection->relay, &bye, &player->traffic);
    connection->state = STATE_SAYING_BYE;
}

/* The relay's last message: all others have arrived before it. */
static void bye_back(struct connection *connection,
                     const struct message *message)
{
    connection->player->reliable_lost +=
        (uint32_t)(message->sequence - (uint32_t)connection->reliable_received);
    enet_peer_disconnect(connection->relay, 0);
    connection->state = STATE_DISCONNECTING;
    connection->disconnecting_since = now_ns();
}

static void received(struct connection *connection, ENetPacket *packet)
{
    struct player *player = connection->player;
    const struct message *message = net_message(packet);
    bool reliable;

    if (message == NULL) {
        player->network_corrupted++;
        enet_packet_destroy(packet);
        return;
    }
    reliable = message_is_reliable(message->kind);
    traffic_count(&player->traffic.received[reliable]);
    if (message->kind == MESSAGE_BYE_BACK) {
        bye_back(connection, message);
        enet_packet_destroy(packet);
        return;
    }
    connection->reliable_received += reliable;
    if (message->kind != MESSAGE_VOICE) {
        report(player, CHANGE_MESSAGE, packet);
    } else if (!queue_push(&player->voice_packets, packet)) {
        player->unplayed++;
        enet_packet_destroy(packet);
    }
}

static void connected(struct connection *connection)
{
    net_peer_configure(connection->relay);
    connection->state = STATE_PLAYING;
    atomic_store_explicit(&connection->player->talking, true,
                          memory_order_relaxed);
    report(connection->player, CHANGE_CONNECTED, NULL);
}

static void disconnected(struct connection *connection)
{
    if (connection->state != STATE_DISCONNECTING)
        connection->player->connections_lost++;
    connection->state = STATE_OVER;
}

static void handle_events(struct connection *connection)
{
    enet_uint32 wait = NET_WAIT_MILLISECONDS;
    ENetEvent event;

    for (unsigned i = 0; i < EVENTS_A_TURN; i++) {
        if (enet_host_service(connection->host, &event, wait) <= 0)
            return;
        wait = 0;
        if (event.type == ENET_EVENT_TYPE_CONNECT)
            connected(connection);
        else if (event.type == ENET_EVENT_TYPE_RECEIVE)
            received(connection, event.packet);
        else if (event.type == ENET_EVENT_TYPE_DISCONNECT)
            disconnected(connection);
    }
}

static void open_connection(struct connection *connection,
                            struct player *player)
{
    ENetAddress relay = {.port = player->relay_port};

    enet_address_set_host_ip(&relay, "127.0.0.1");
    connection->player = player;
    connection->host = net_host_create(1);
    connection->relay =
        enet_host_connect(connection->host, &relay, CHANNELS, player->id);
    if (connection->relay == NULL) {
        fprintf(stderr, "title: ENet has no peer for the relay\n");
        exit(EXIT_FAILURE);
    }
    connection->state = STATE_CONNECTING;
}

void *player_network_main(void *argument)
{
    struct player *player = argument;
    struct connection connection = {.player = player};

    thread_begin(THREAD_NETWORK);
    open_connection(&connection, player);
    while (connection.state != STATE_OVER) {
        if (connection.state == STATE_PLAYING)
            send_pending(&connection);
        handle_events(&connection);
        if (connection.state == STATE_DISCONNECTING &&
            now_ns() - connection.disconnecting_since > DISCONNECT_NS)
            connection.state = STATE_OVER;
    }
    enet_host_destroy(connection.host);
    atomic_store_explicit(&player->talking, false, memory_order_relaxed);
    /* Pairs with the acquire of the audio thread: the last packet is queued. */
    atomic_store_explicit(&player->finished, true, memory_order_release);
    report(player, CHANGE_LEFT, NULL);
    thread_end();
    return NULL;
}
