/* SPDX-License-Identifier: MIT */
#include "fatal.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 256 };

/* A line that is built on the stack: stdio allocates. */
struct line {
    char text[LINE_MAX_BYTES];
    size_t length;
};

static void append(struct line *line, const char *text)
{
    size_t length = strlen(text);
    size_t room = sizeof(line->text) - 1 - line->length; /* 1: the newline */
    if (length > room)
        length = room;
    memcpy(line->text + line->length, text, length);
    line->length += length;
}

static void append_number(struct line *line, uintptr_t value, unsigned base)
{
    char digits[24];
    char *digit = digits + sizeof(digits);
    *--digit = '\0';
    do {
        *--digit = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    append(line, digit);
}

static _Noreturn void finish(struct line *line)
{
    line->text[line->length++] = '\n';
    /* One write, so that lines of several threads do not interleave. */
    ssize_t written = write(STDERR_FILENO, line->text, line->length);
    (void)written;
    abort();
}

_Noreturn void fatal_misuse(const char *what, const void *pointer)
{
    struct line line = {.length = 0};
    append(&line, "partyalloc: ");
    append(&line, what);
    append(&line, " of 0x");
    append_number(&line, (uintptr_t)pointer, 16);
    finish(&line);
}

_Noreturn void fatal_check(const char *file, int line_number,
                           const char *condition)
{
    struct line line = {.length = 0};
    append(&line, "partyalloc: ");
    append(&line, file);
    append(&line, ":");
    append_number(&line, (uintptr_t)line_number, 10);
    append(&line, ": broken invariant: ");
    append(&line, condition);
    finish(&line);
}
