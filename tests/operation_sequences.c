/* SPDX-License-Identifier: MIT */
/* Random sequences of calls do what a model of the live blocks says. */
#include "support.h"

#include "operations.h"

enum { SEQUENCES = UNDER_SANITIZER ? 6 : 60, LENGTH = 8000 };

static void random_sequences_agree_with_the_model(void **state)
{
    static uint8_t bytes[LENGTH];

    (void)state;
    for (uint64_t seed = 0; seed < SEQUENCES; seed++) {
        struct random random = {seed};
        for (size_t i = 0; i < LENGTH; i++)
            bytes[i] = (uint8_t)random_next(&random);
        play_operations(bytes, LENGTH);
    }
}

/* Bytes of few values make long runs of few operations on few slots. */
static void narrow_sequences_agree_with_the_model(void **state)
{
    static uint8_t bytes[LENGTH];

    (void)state;
    for (uint64_t seed = 0; seed < SEQUENCES; seed++) {
        struct random random = {seed + 1000};
        uint8_t values[6];
        for (size_t i = 0; i < ARRAY_LENGTH(values); i++)
            values[i] = (uint8_t)random_next(&random);
        for (size_t i = 0; i < LENGTH; i++)
            bytes[i] = values[random_below(&random, ARRAY_LENGTH(values))];
        play_operations(bytes, LENGTH);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_sequences_agree_with_the_model),
        cmocka_unit_test(narrow_sequences_agree_with_the_model),
    };

    return run_all(tests);
}
