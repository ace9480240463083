/* SPDX-License-Identifier: MIT */
/* Making and verifying messages. */
#include "title_message.h"

#include <string.h>

#define DIGEST_BASIS 2166136261U
#define DIGEST_PRIME 16777619U

uint32_t digest(const void *bytes, size_t size)
{
    const unsigned char *byte = bytes;
    uint32_t value = DIGEST_BASIS;

    for (size_t i = 0; i < size; i++)
        value = (value ^ byte[i]) * DIGEST_PRIME;
    return value;
}

bool message_is_reliable(unsigned kind)
{
    return kind != MESSAGE_VOICE && kind != MESSAGE_POSITION;
}

static uint32_t message_digest(const struct message *message)
{
    const size_t head = sizeof message->checksum;

    return digest((const unsigned char *)message + head,
                  message->length - head);
}

void message_write(struct message *message, enum message_kind kind,
                   uint32_t about, uint32_t sequence, uint16_t length)
{
    unsigned char *body = (unsigned char *)(message + 1);
    size_t body_length = length - sizeof *message;
    uint32_t state = (about * DIGEST_PRIME ^ sequence) | 1;

    message->about = about;
    message->sequence = sequence;
    message->kind = (uint16_t)kind;
    message->length = length;
    for (size_t i = 0; i < body_length; i += sizeof state) {
        size_t part = body_length - i;

        random_next(&state);
        memcpy(body + i, &state, part < sizeof state ? part : sizeof state);
    }
    message->checksum = message_digest(message);
}

bool message_is_intact(const void *bytes, size_t size)
{
    const struct message *message = bytes;

    return size >= sizeof *message && message->length == size &&
           message->kind < MESSAGE_KINDS &&
           message->checksum == message_digest(message);
}
