/* SPDX-License-Identifier: MIT */
/* The relay's thread. */
#include "title_relay.h"

#include <string.h>

#include "title_allocator.h"
#include "title_thread.h"

static struct relay_peer *relay_peer_of(const ENetPeer *peer)
{
    return peer->data;
}

/* Whether messages are passed on to this peer. */
static bool relay_reaches(const ENetPeer *peer)
{
    return peer->state == ENET_PEER_STATE_CONNECTED && peer->data != NULL &&
           relay_peer_of(peer)->in_room;
}

/* Sends one packet to all but `source`.  They share it: ENet counts. */
static void relay_pass_on(struct relay *relay, const ENetPeer *source,
                          ENetPacket *packet, unsigned kind)
{
    bool reliable = message_is_reliable(kind);

    for (size_t i = 0; i < relay->host->peerCount; i++) {
        ENetPeer *peer = &relay->host->peers[i];

        if (peer == source || !relay_reaches(peer))
            continue;
        traffic_count(&relay->traffic.sent[reliable]);
        relay_peer_of(peer)->reliable_sent += reliable;
        enet_peer_send(peer, net_channel(kind), packet);
    }
    if (packet->referenceCount == 0)
        enet_packet_destroy(packet);
}

/* Tells all others that a player came or went. */
static void relay_announce(struct relay *relay, const ENetPeer *source,
                           enum message_kind kind)
{
    struct message message;
    ENetPacket *packet;

    message_write(&message, kind, relay_peer_of(source)->player_id,
                  ++relay->announcements, sizeof message);
    packet =
        enet_packet_create(&message, sizeof message, ENET_PACKET_FLAG_RELIABLE);
    relay_pass_on(relay, source, packet, kind);
}

static void relay_connected(struct relay *relay, ENetPeer *peer,
                            uint32_t player_id)
{
    struct relay_peer *relay_peer = &relay->peers[peer->incomingPeerID];

    memset(relay_peer, 0, sizeof *relay_peer);
    relay_peer->in_room = true;
    relay_peer->player_id = player_id;
    peer->data = relay_peer;
    net_peer_configure(peer);
    relay_announce(relay, peer, MESSAGE_JOINED);
}

/* A player's last message says how many reliable ones went before it, and the
 * answer says how many the player should have received. */
static void relay_bye(struct relay *relay, ENetPeer *peer,
                      const struct message *bye)
{
    struct relay_peer *relay_peer = relay_peer_of(peer);
    struct message answer;

    relay->reliable_lost +=
        (uint32_t)(bye->sequence - (uint32_t)relay_peer->reliable_received);
    relay_peer->in_room = false;
    message_write(&answer, MESSAGE_BYE_BACK, relay_peer->player_id,
                  (uint32_t)relay_peer->reliable_sent, sizeof answer);
    net_send(peer, &answer, &relay->traffic);
    relay_announce(relay, peer, MESSAGE_LEFT);
}

static void relay_received(struct relay *relay, ENetPeer *peer,
                           ENetPacket *packet)
{
    const struct message *message = net_message(packet);
    bool reliable;

    if (message == NULL) {
        relay->corrupted++;
        enet_packet_destroy(packet);
        return;
    }
    reliable = message_is_reliable(message->kind);
    traffic_count(&relay->traffic.received[reliable]);
    if (message->kind == MESSAGE_BYE) {
        relay_bye(relay, peer, message);
        enet_packet_destroy(packet);
        return;
    }
    relay_peer_of(peer)->reliable_received += reliable;
    relay_pass_on(relay, peer, packet, message->kind);
}

static void relay_disconnected(struct relay *relay, ENetPeer *peer)
{
    struct relay_peer *relay_peer = relay_peer_of(peer);

    if (relay_peer != NULL && relay_peer->in_room) {
        relay_peer->in_room = false;
        relay->connections_lost++;
    }
    peer->data = NULL;
}

static void *relay_main(void *argument)
{
    struct relay *relay = argument;
    ENetEvent event;

    thread_begin(THREAD_NETWORK);
    while (!atomic_load_explicit(&relay->stop, memory_order_acquire)) {
        if (enet_host_service(relay->host, &event, NET_WAIT_MILLISECONDS) <= 0)
            continue;
        switch (event.type) {
        case ENET_EVENT_TYPE_CONNECT:
            relay_connected(relay, event.peer, event.data);
            break;
        case ENET_EVENT_TYPE_RECEIVE:
            relay_received(relay, event.peer, event.packet);
            break;
        case ENET_EVENT_TYPE_DISCONNECT:
            relay_disconnected(relay, event.peer);
            break;
        default:
            break;
        }
    }
    enet_host_destroy(relay->host);
    thread_end();
    return NULL;
}

struct relay *relay_start(void)
{
    struct relay *relay = title_allocate_or_stop(sizeof *relay, MEMORY_CLIENT);

    memset(relay, 0, sizeof *relay);
    atomic_init(&relay->stop, false);
    traffic_init(&relay->traffic);
    /* Made here, so that the players know the port; the thread takes over. */
    relay->host = net_host_create(RELAY_PEERS);
    relay->port = relay->host->address.port;
    title_thread_create(&relay->thread, relay_main, relay);
    return relay;
}

void relay_stop(struct relay *relay)
{
    atomic_store_explicit(&relay->stop, true, memory_order_release);
    pthread_join(relay->thread, NULL);
}

void relay_free(struct relay *relay)
{
    title_free(relay, MEMORY_CLIENT);
}
