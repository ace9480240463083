/* SPDX-License-Identifier: MIT */
/* What the players say to each other, and how it is made and verified. */
#ifndef TITLE_MESSAGE_H
#define TITLE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum message_kind {
    MESSAGE_VOICE,    /* unreliable: a frame of an audio thread */
    MESSAGE_POSITION, /* unreliable: where a player is */
    MESSAGE_EVENT,    /* reliable: something happened */
    MESSAGE_SNAPSHOT, /* reliable: larger than a datagram */
    MESSAGE_JOINED,   /* reliable, from the relay: a player came */
    MESSAGE_LEFT,     /* reliable, from the relay: a player went */
    MESSAGE_BYE,      /* reliable, to the relay: the player's last message */
    MESSAGE_BYE_BACK, /* reliable, from the relay: its answer */
    MESSAGE_KINDS
};

/*
 * The head of every message; its body follows.  `about` is the id of the
 * sender, or of the player that the relay reports on.  `sequence` counts a
 * sender's messages of one delivery; in BYE and BYE_BACK it is how many
 * reliable messages went before them on this connection.
 */
struct message {
    uint32_t checksum; /* over all that follows it */
    uint32_t about;
    uint32_t sequence;
    uint16_t kind;
    uint16_t length; /* of head and body */
};

/* Whether messages of this kind must arrive. */
bool message_is_reliable(unsigned kind);

/* Fills in the head and a body that follows from it. */
void message_write(struct message *message, enum message_kind kind,
                   uint32_t about, uint32_t sequence, uint16_t length);

/* Whether `size` bytes are one whole message, just as it was written. */
bool message_is_intact(const void *bytes, size_t size);

/* A small random generator: each user has a state of its own, not 0. */
static inline uint32_t random_next(uint32_t *state)
{
    uint32_t x = *state;

    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    *state = x;
    return x;
}

/* A random number from `low` to `high`. */
static inline uint32_t random_between(uint32_t *state, uint32_t low,
                                      uint32_t high)
{
    return low + random_next(state) % (high - low + 1);
}

/* A 32-bit digest (FNV-1a). */
uint32_t digest(const void *bytes, size_t size);

#endif
