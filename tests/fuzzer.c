/* SPDX-License-Identifier: MIT */
/* "make fuzz": libFuzzer's entry point. */
#include "operations.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    play_operations(bytes, length);
    return 0;
}
