/* SPDX-License-Identifier: MIT */
/* ENet on the chosen allocator and on the loopback device. */
#include "title_net.h"

#include <stdio.h>
#include <stdlib.h>

#include "title_allocator.h"

static void *ENET_CALLBACK enet_allocate(size_t size)
{
    return title_allocate(size, MEMORY_ENET);
}

static void ENET_CALLBACK enet_release(void *block)
{
    title_free(block, MEMORY_ENET);
}

static void ENET_CALLBACK enet_no_memory(void)
{
    fprintf(stderr, "title: %s has no memory left for ENet\n",
            allocator_name());
    abort();
}

void net_initialize(void)
{
    const ENetCallbacks callbacks = {.malloc = enet_allocate,
                                     .free = enet_release,
                                     .no_memory = enet_no_memory};

    if (enet_initialize_with_callbacks(ENET_VERSION, &callbacks) != 0) {
        fprintf(stderr, "title: ENet does not start\n");
        exit(EXIT_FAILURE);
    }
}

ENetHost *net_host_create(size_t peers)
{
    ENetAddress address = {.port = ENET_PORT_ANY};
    ENetHost *host;

    enet_address_set_host_ip(&address, "127.0.0.1");
    host = enet_host_create(&address, peers, CHANNELS, 0, 0);
    if (host == NULL) {
        fprintf(stderr, "title: no UDP socket on 127.0.0.1\n");
        exit(EXIT_FAILURE);
    }
    return host;
}

void net_peer_configure(ENetPeer *peer)
{
    enet_peer_timeout(peer, ENET_PEER_TIMEOUT_LIMIT, NET_TIMEOUT_MILLISECONDS,
                      NET_TIMEOUT_MILLISECONDS);
    enet_peer_throttle_configure(peer, ENET_PEER_PACKET_THROTTLE_INTERVAL,
                                 ENET_PEER_PACKET_THROTTLE_SCALE, 0);
}

enet_uint8 net_channel(unsigned kind)
{
    return message_is_reliable(kind) ? CHANNEL_RELIABLE : CHANNEL_UNRELIABLE;
}

void net_send(ENetPeer *peer, const struct message *message,
              struct traffic *traffic)
{
    bool reliable = message_is_reliable(message->kind);
    ENetPacket *packet = enet_packet_create(
        message, message->length, reliable ? ENET_PACKET_FLAG_RELIABLE : 0);

    if (enet_peer_send(peer, net_channel(message->kind), packet) != 0)
        enet_packet_destroy(packet);
    traffic_count(&traffic->sent[reliable]);
}

const struct message *net_message(const ENetPacket *packet)
{
    const struct message *message = (const struct message *)packet->data;

    if (packet->dataLength < sizeof *message || message->kind >= MESSAGE_KINDS)
        return NULL;
    return message;
}

void traffic_init(struct traffic *traffic)
{
    for (int i = 0; i < 2; i++) {
        atomic_init(&traffic->sent[i], 0);
        atomic_init(&traffic->received[i], 0);
    }
}

void traffic_add(struct traffic_sum *sum, const struct traffic *traffic)
{
    for (int i = 0; i < 2; i++) {
        sum->sent[i] +=
            atomic_load_explicit(&traffic->sent[i], memory_order_relaxed);
        sum->received[i] +=
            atomic_load_explicit(&traffic->received[i], memory_order_relaxed);
    }
}
