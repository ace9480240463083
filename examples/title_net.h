/* SPDX-License-Identifier: MIT */
/*
 * What the relay and the players share: ENet on the chosen allocator, loopback
 * addresses, and the count of what went over the wire.  ENet knows no threads:
 * every host is used by one thread.
 */
#ifndef TITLE_NET_H
#define TITLE_NET_H

#include <enet/enet.h>
#include <stdatomic.h>
#include <stdint.h>

#include "title_message.h"

/* A network thread looks at its queues at least this often. */
#define NET_WAIT_MILLISECONDS 4
/* A peer that does not answer for this long is lost.  Generous, for runs under
 * a checker. */
#define NET_TIMEOUT_MILLISECONDS 30000

enum { CHANNEL_RELIABLE, CHANNEL_UNRELIABLE, CHANNELS };

/* Of one network thread; index 1 counts reliable messages, 0 the others.  The
 * thread alone writes, the title reads. */
struct traffic {
    _Atomic uint64_t sent[2];
    _Atomic uint64_t received[2];
};

/* The same, added up by the title. */
struct traffic_sum {
    uint64_t sent[2];
    uint64_t received[2];
};

/* Lets ENet allocate through title_allocate().  Once, before any host. */
void net_initialize(void);

/* A host on 127.0.0.1, on a port that the system chooses; stops the title on
 * failure. */
ENetHost *net_host_create(size_t peers);

/* Patience, and no throttling of unreliable messages. */
void net_peer_configure(ENetPeer *peer);

/* Sends a message of its own to one peer, and counts it. */
void net_send(ENetPeer *peer, const struct message *message,
              struct traffic *traffic);

/* Which channel and which flags a kind of message takes. */
enet_uint8 net_channel(unsigned kind);

/* Whether a packet is a message; its kind is then in range. */
const struct message *net_message(const ENetPacket *packet);

void traffic_init(struct traffic *traffic);
void traffic_add(struct traffic_sum *sum, const struct traffic *traffic);

/* Adds one to a count that no other thread writes. */
static inline void traffic_count(_Atomic uint64_t *count)
{
    atomic_store_explicit(count,
                          atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

#endif
