/* SPDX-License-Identifier: MIT */
#include "weak_memory.h"

#include "support.h"

#include <sys/mman.h>

/* A value that an object has had, and what happened before its store. */
struct message {
    struct message *older;
    uint64_t value;
    unsigned number;              /* of the values of this object */
    unsigned knows[WEAK_THREADS]; /* accesses of each that it releases */
};

/* A thread has read or stored a value: it returns to none older, nor does the
 * other thread once it knows of that access. */
struct sight {
    struct sight *older;
    unsigned when; /* the number of the thread's access */
    unsigned number;
};

/* An atomic object that was stored to since the beginning. */
struct object {
    struct object *next; /* in its bucket */
    uintptr_t address;
    size_t size;
    struct message *newest; /* NULL: forgotten */
    struct sight *sights[WEAK_THREADS];
    unsigned last_consistent; /* the last sequentially consistent store */
};

enum { BUCKETS = 4096 };
#define ARENA_BYTES (256 * MIB) /* of address space */

struct weak_clock weak_clocks[WEAK_THREADS];
static struct object *buckets[BUCKETS];
static unsigned how_old;
static struct random chance;
static char *arena; /* for weak_obtain() */
static size_t arena_used;

void weak_memory_begin(unsigned choice)
{
    how_old = choice;
    chance.state = choice;
    arena = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    require(arena != MAP_FAILED);
}

void *weak_obtain(size_t size)
{
    void *memory = arena + arena_used;

    arena_used += (size + 7) & ~(size_t)7;
    require(arena_used <= ARENA_BYTES);
    return memory;
}

/* --- what is in memory --- */

#define BY_SIZE(size, one, two, four, eight)                                   \
    ((size) == 1 ? (one) : (size) == 2 ? (two) : (size) == 4 ? (four) : (eight))

uint64_t true_load(const void *address, size_t size)
{
    return BY_SIZE(
        size, __atomic_load_n((const uint8_t *)address, __ATOMIC_SEQ_CST),
        __atomic_load_n((const uint16_t *)address, __ATOMIC_SEQ_CST),
        __atomic_load_n((const uint32_t *)address, __ATOMIC_SEQ_CST),
        __atomic_load_n((const uint64_t *)address, __ATOMIC_SEQ_CST));
}

#define EXCHANGE_OF(type)                                                      \
    do {                                                                       \
        type wanted = (type)*expected;                                         \
        bool done = __atomic_compare_exchange_n(                               \
            (type *)address, &wanted, (type)desired, false, __ATOMIC_SEQ_CST,  \
            __ATOMIC_SEQ_CST);                                                 \
        *expected = wanted;                                                    \
        return done;                                                           \
    } while (0)

bool true_compare_exchange(void *address, size_t size, uint64_t *expected,
                           uint64_t desired)
{
    switch (size) {
    case 1:
        EXCHANGE_OF(uint8_t);
    case 2:
        EXCHANGE_OF(uint16_t);
    case 4:
        EXCHANGE_OF(uint32_t);
    default:
        EXCHANGE_OF(uint64_t);
    }
}

void true_store(void *address, size_t size, uint64_t value)
{
    uint64_t before = true_load(address, size);

    while (!true_compare_exchange(address, size, &before, value))
        ;
}

/* --- objects --- */

static struct object **bucket_of(uintptr_t address)
{
    return &buckets[(address ^ address >> 12) % BUCKETS];
}

static struct object *find(uintptr_t address)
{
    struct object *object = *bucket_of(address);

    while (object != NULL && object->address != address)
        object = object->next;
    return object;
}

/* The object of this size.  NULL: there is none; what is there is known to both
 * threads, or is a part of an object or several of them. */
static struct object *known_object(const void *address, size_t size)
{
    struct object *object = find((uintptr_t)address);

    if (object == NULL || object->newest == NULL || object->size != size)
        return NULL;
    if (object->newest->value != true_load(address, size))
        object->newest = NULL;
    return object->newest != NULL ? object : NULL;
}

static uint64_t cut(uint64_t value, size_t size)
{
    return size == sizeof value ? value
                                : value & ((UINT64_C(1) << 8 * size) - 1);
}

static struct message *add_message(struct object *object, uint64_t value)
{
    struct message *message = weak_obtain(sizeof *message);

    message->older = object->newest;
    message->value = cut(value, object->size);
    if (message->older != NULL)
        message->number = message->older->number + 1;
    object->newest = message;
    return message;
}

/* The object; a new one has the value that is in memory as its first. */
static struct object *make_object(void *address, size_t size)
{
    struct object *object = known_object(address, size);

    if (object != NULL)
        return object;
    object = find((uintptr_t)address);
    if (object == NULL) {
        struct object **bucket = bucket_of((uintptr_t)address);
        object = weak_obtain(sizeof *object);
        object->address = (uintptr_t)address;
        object->next = *bucket;
        *bucket = object;
    }
    object->newest = NULL;
    object->size = size;
    object->last_consistent = 0;
    for (int i = 0; i < WEAK_THREADS; i++)
        object->sights[i] = NULL;
    add_message(object, true_load(address, size));
    return object;
}

static void forget_byte(uintptr_t byte)
{
    struct object *object = find(byte);

    if (object != NULL)
        object->newest = NULL;
}

static void forget_range(uintptr_t begin, size_t size)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct object *object = buckets[i]; object != NULL;
             object = object->next)
            if (object->address - begin < size)
                object->newest = NULL;
}

void weak_forget(const void *address, size_t size)
{
    if (size > BUCKETS)
        forget_range((uintptr_t)address, size);
    else
        for (size_t i = 0; i < size; i++)
            forget_byte((uintptr_t)address + i);
}

/* --- what a thread knows --- */

static bool acquires(int order)
{
    return order != __ATOMIC_RELAXED && order != __ATOMIC_RELEASE;
}

static bool releases(int order)
{
    return order == __ATOMIC_RELEASE || order == __ATOMIC_ACQ_REL ||
           order == __ATOMIC_SEQ_CST;
}

static unsigned larger(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

/* The oldest value that a thread may still read. */
static unsigned oldest_for(int thread, const struct object *object)
{
    const struct sight *own = object->sights[thread];
    const struct sight *other = object->sights[!thread];

    while (other != NULL && other->when > weak_clocks[thread].known)
        other = other->older;
    return larger(own != NULL ? own->number : 0,
                  other != NULL ? other->number : 0);
}

static void meet(int thread, struct object *object,
                 const struct message *message, int order)
{
    struct sight *sight = weak_obtain(sizeof *sight);
    struct weak_clock *clock = &weak_clocks[thread];

    sight->older = object->sights[thread];
    sight->when = clock->now;
    sight->number = message->number;
    object->sights[thread] = sight;
    if (acquires(order))
        clock->known = larger(clock->known, message->knows[!thread]);
}

static void release(int thread, struct message *message)
{
    message->knows[thread] =
        larger(message->knows[thread], weak_clocks[thread].now);
    message->knows[!thread] =
        larger(message->knows[!thread], weak_clocks[thread].known);
}

void weak_barrier(void)
{
    unsigned now[WEAK_THREADS];

    for (int i = 0; i < WEAK_THREADS; i++)
        now[i] = ++weak_clocks[i].now;
    for (int i = 0; i < WEAK_THREADS; i++)
        weak_clocks[i].known = now[!i];
}

/* --- accesses --- */

/* How many values to go back, at most `oldest`. */
static unsigned choose(unsigned oldest)
{
    if (how_old == WEAK_NEWEST)
        return 0;
    if (how_old == WEAK_OLDEST)
        return oldest;
    return (unsigned)random_below(&chance, oldest + 1);
}

uint64_t weak_load(int thread, void *address, size_t size, int order)
{
    struct object *object = known_object(address, size);

    weak_clocks[thread].now++;
    if (object == NULL)
        return true_load(address, size);
    unsigned oldest = oldest_for(thread, object);
    if (order == __ATOMIC_SEQ_CST)
        oldest = larger(oldest, object->last_consistent);
    const struct message *message = object->newest;
    for (unsigned back = choose(message->number - oldest); back > 0; back--)
        message = message->older;
    meet(thread, object, message, order);
    return message->value;
}

static struct message *store(int thread, struct object *object, uint64_t value,
                             int order)
{
    struct message *message = add_message(object, value);

    true_store((void *)object->address, object->size, value);
    if (releases(order))
        release(thread, message);
    if (order == __ATOMIC_SEQ_CST)
        object->last_consistent = message->number;
    return message;
}

void weak_store(int thread, void *address, size_t size, uint64_t value,
                int order)
{
    struct object *object = make_object(address, size);

    weak_clocks[thread].now++;
    meet(thread, object, store(thread, object, value, order), __ATOMIC_RELAXED);
}

bool weak_compare_exchange(int thread, void *address, size_t size,
                           uint64_t *expected, uint64_t desired, int success,
                           int failure)
{
    struct object *object = make_object(address, size);
    struct message *before = object->newest;

    weak_clocks[thread].now++;
    if (before->value != *expected) {
        *expected = before->value;
        meet(thread, object, before, failure);
        return false;
    }
    meet(thread, object, before, success);
    struct message *after = store(thread, object, desired, success);
    /* It goes on with what `before` releases. */
    for (int i = 0; i < WEAK_THREADS; i++)
        after->knows[i] = larger(after->knows[i], before->knows[i]);
    meet(thread, object, after, __ATOMIC_RELAXED);
    return true;
}
