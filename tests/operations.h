/* SPDX-License-Identifier: MIT */
/*
 * A sequence of calls, decoded from bytes, that is played against the
 * allocator and against a model of what is live: by a test with random bytes,
 * and by a fuzzer with bytes that it finds interesting.
 */
#ifndef OPERATIONS_H
#define OPERATIONS_H

#include <stddef.h>
#include <stdint.h>

/* Ends the process when the allocator does not do what the model says. */
void play_operations(const uint8_t *bytes, size_t length);

#endif
