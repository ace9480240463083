/* SPDX-License-Identifier: MIT */
#include "weak_memory.h"

#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORD = 8, PAGE = 4096, WORDS = PAGE / WORD, BUCKETS = 1024 };
#define KINDS (ATOMIC_STORE + 1)

/* The last access of each kind by each thread, as weak_clocks counts them; 0:
 * there was none.  Small, since most of the time goes to the pages of these. */
struct accesses {
    uint16_t last[WEAK_THREADS][KINDS];
};

/* Accesses to words as a whole are noted for the word, others for each byte. */
struct shadow {
    struct shadow *next; /* in its bucket */
    uintptr_t page;
    bool has_bytes[WORDS]; /* in use for this word: */
    struct accesses words[WORDS], bytes[PAGE];
};

static struct shadow *buckets[BUCKETS];

/* Where the program begins, from the linker: what addr2line wants. */
extern const char __executable_start;

static struct shadow *find(uintptr_t page)
{
    struct shadow *shadow = buckets[page % BUCKETS];

    while (shadow != NULL && shadow->page != page)
        shadow = shadow->next;
    return shadow;
}

static struct shadow *shadow_of(uintptr_t page)
{
    struct shadow *shadow = find(page);

    if (shadow == NULL) {
        shadow = weak_obtain(sizeof *shadow);
        shadow->page = page;
        shadow->next = buckets[page % BUCKETS];
        buckets[page % BUCKETS] = shadow;
    }
    return shadow;
}

static bool is_store(enum access_kind kind)
{
    return kind == PLAIN_STORE || kind == ATOMIC_STORE;
}

static bool is_plain(enum access_kind kind)
{
    return kind == PLAIN_LOAD || kind == PLAIN_STORE;
}

static bool conflict(enum access_kind a, enum access_kind b)
{
    return (is_store(a) || is_store(b)) && (is_plain(a) || is_plain(b));
}

_Noreturn static void end_by_race(const struct access *access,
                                  enum access_kind other)
{
    static const char *const names[KINDS] = {"load", "store", "atomic load",
                                             "atomic store"};

    dprintf(STDERR_FILENO,
            "data race: %s of %p by the code at 0x%tx, after the other "
            "thread's %s\n",
            names[access->kind], access->address,
            (const char *)access->caller - &__executable_start, names[other]);
    abort();
}

static void judge(const struct access *access, const struct accesses *before)
{
    const uint16_t *last = before->last[!access->thread];

    for (unsigned other = 0; other < KINDS; other++)
        if (last[other] > weak_clocks[access->thread].known &&
            conflict(access->kind, other))
            end_by_race(access, other);
}

static void note(const struct access *access, struct accesses *place)
{
    unsigned number = weak_clocks[access->thread].now + 1;

    require(number <= UINT16_MAX);
    place->last[access->thread][access->kind] = (uint16_t)number;
}

static void note_word(const struct access *access, uintptr_t word)
{
    struct shadow *shadow = shadow_of(word / PAGE);
    size_t place = word % PAGE / WORD;

    judge(access, &shadow->words[place]);
    if (shadow->has_bytes[place])
        for (size_t i = 0; i < WORD; i++)
            judge(access, &shadow->bytes[place * WORD + i]);
    note(access, &shadow->words[place]);
}

static void note_byte(const struct access *access, uintptr_t byte)
{
    struct shadow *shadow = shadow_of(byte / PAGE);
    size_t place = byte % PAGE / WORD;

    judge(access, &shadow->words[place]);
    judge(access, &shadow->bytes[byte % PAGE]);
    shadow->has_bytes[place] = true;
    note(access, &shadow->bytes[byte % PAGE]);
}

void race_note(const struct access *access)
{
    uintptr_t at = (uintptr_t)access->address;
    uintptr_t end = at + access->size;

    while (at < end)
        if (at % WORD == 0 && end - at >= WORD) {
            note_word(access, at);
            at += WORD;
        } else {
            note_byte(access, at);
            at++;
        }
}

/* Bytes that nobody has touched are passed over. */
void race_note_pages(const struct access *access)
{
    uintptr_t begin = (uintptr_t)access->address;

    for (uintptr_t page = begin / PAGE; page < (begin + access->size) / PAGE;
         page++)
        if (find(page) != NULL)
            for (uintptr_t at = page * PAGE; at < (page + 1) * PAGE; at += WORD)
                note_word(access, at);
}

void race_forget(const void *address, size_t size)
{
    for (uintptr_t page = (uintptr_t)address / PAGE;
         page < ((uintptr_t)address + size) / PAGE; page++) {
        struct shadow *shadow = find(page);
        if (shadow != NULL) {
            memset(shadow->has_bytes, 0, sizeof shadow->has_bytes);
            memset(shadow->words, 0, sizeof shadow->words);
            memset(shadow->bytes, 0, sizeof shadow->bytes);
        }
    }
}
