/* SPDX-License-Identifier: MIT */
/*
 * Where the accesses of what is compiled with -fsanitize=thread arrive: in
 * place of the sanitizer's run-time library, by the same names, as gcc and
 * clang call them.  And what the kernel does to memory.
 */
#include "weak_memory.h"

#include "support.h"

#include <stdarg.h>
#include <sys/mman.h>

#include "interleaving.h"
#include "os.h"

#define CALLER __builtin_return_address(0)

/* --- plain accesses --- */

static void note_plain(const void *address, size_t size, enum access_kind kind,
                       const void *caller)
{
    int thread = interleaving_thread();

    if (thread < 0)
        return;
    race_note(&(struct access){thread, kind, address, size, caller});
    if (kind == PLAIN_STORE)
        weak_forget(address, size);
}

/* A function by one of the compiler's names, which it declares nowhere. */
#define HOOK(type, name, ...)                                                  \
    type name(__VA_ARGS__);                                                    \
    type name(__VA_ARGS__)

#define PLAIN_HOOKS(size)                                                      \
    HOOK(void, __tsan_read##size, const void *address)                         \
    {                                                                          \
        note_plain(address, size, PLAIN_LOAD, CALLER);                         \
    }                                                                          \
    HOOK(void, __tsan_unaligned_read##size, const void *address)               \
    {                                                                          \
        note_plain(address, size, PLAIN_LOAD, CALLER);                         \
    }                                                                          \
    HOOK(void, __tsan_write##size, const void *address)                        \
    {                                                                          \
        note_plain(address, size, PLAIN_STORE, CALLER);                        \
    }                                                                          \
    HOOK(void, __tsan_unaligned_write##size, const void *address)              \
    {                                                                          \
        note_plain(address, size, PLAIN_STORE, CALLER);                        \
    }

PLAIN_HOOKS(1)
PLAIN_HOOKS(2)
PLAIN_HOOKS(4)
PLAIN_HOOKS(8)
PLAIN_HOOKS(16)

HOOK(void, __tsan_read_range, const void *address, size_t size)
{
    note_plain(address, size, PLAIN_LOAD, CALLER);
}

HOOK(void, __tsan_write_range, const void *address, size_t size)
{
    note_plain(address, size, PLAIN_STORE, CALLER);
}

HOOK(void, __tsan_init, void)
{
}

HOOK(void, __tsan_func_entry, void *caller)
{
    (void)caller;
}

HOOK(void, __tsan_func_exit, void)
{
}

/* --- atomic accesses --- */

static uint64_t load(void *address, size_t size, int order, const void *caller)
{
    int thread = interleaving_step();

    if (thread < 0)
        return true_load(address, size);
    race_note(&(struct access){thread, ATOMIC_LOAD, address, size, caller});
    return weak_load(thread, address, size, order);
}

static bool compare_exchange_by(int thread, void *address, size_t size,
                                uint64_t *expected, uint64_t desired,
                                int success, int failure, const void *caller)
{
    if (thread < 0)
        return true_compare_exchange(address, size, expected, desired);
    bool stores = true_load(address, size) == *expected;
    race_note(&(struct access){thread, stores ? ATOMIC_STORE : ATOMIC_LOAD,
                               address, size, caller});
    return weak_compare_exchange(thread, address, size, expected, desired,
                                 success, failure);
}

static bool compare_exchange(void *address, size_t size, uint64_t *expected,
                             uint64_t desired, int success, int failure,
                             const void *caller)
{
    return compare_exchange_by(interleaving_step(), address, size, expected,
                               desired, success, failure, caller);
}

typedef uint64_t change_of(uint64_t before, uint64_t operand);

/* One step: no other thread of the interleaving comes between.  Returns what
 * was there before. */
static uint64_t change(void *address, size_t size, change_of *operation,
                       uint64_t operand, int order, const void *caller)
{
    int thread = interleaving_step();
    uint64_t before = true_load(address, size);

    while (!compare_exchange_by(thread, address, size, &before,
                                operation(before, operand), order, order,
                                caller))
        ;
    return before;
}

static uint64_t second(uint64_t before, uint64_t operand)
{
    (void)before;
    return operand;
}

static uint64_t sum(uint64_t before, uint64_t operand)
{
    return before + operand;
}

static uint64_t difference(uint64_t before, uint64_t operand)
{
    return before - operand;
}

static uint64_t intersection(uint64_t before, uint64_t operand)
{
    return before & operand;
}

static uint64_t join(uint64_t before, uint64_t operand)
{
    return before | operand;
}

static void store(void *address, size_t size, uint64_t value, int order,
                  const void *caller)
{
    int thread = interleaving_step();

    if (thread < 0) {
        true_store(address, size, value);
        return;
    }
    race_note(&(struct access){thread, ATOMIC_STORE, address, size, caller});
    weak_store(thread, address, size, value, order);
}

#define CHANGE_HOOK(bits, name, operation)                                     \
    HOOK(uint##bits##_t, __tsan_atomic##bits##_##name, void *object,           \
         uint##bits##_t operand, int order)                                    \
    {                                                                          \
        return (uint##bits##_t)change(object, sizeof operand, operation,       \
                                      operand, order, CALLER);                 \
    }

#define COMPARE_HOOK(bits, name)                                               \
    HOOK(int, __tsan_atomic##bits##_compare_exchange_##name, void *object,     \
         uint##bits##_t *expected, uint##bits##_t desired, int success,        \
         int failure)                                                          \
    {                                                                          \
        uint64_t found = *expected;                                            \
        bool done = compare_exchange(object, sizeof desired, &found, desired,  \
                                     success, failure, CALLER);                \
        *expected = (uint##bits##_t)found;                                     \
        return done;                                                           \
    }

/* The weak one fails with another thread only: what else it may fail for no
 * schedule could say. */
#define ATOMIC_HOOKS(bits)                                                     \
    HOOK(uint##bits##_t, __tsan_atomic##bits##_load, void *object, int order)  \
    {                                                                          \
        return (uint##bits##_t)load(object, (bits) / 8, order, CALLER);        \
    }                                                                          \
    HOOK(void, __tsan_atomic##bits##_store, void *object,                      \
         uint##bits##_t value, int order)                                      \
    {                                                                          \
        store(object, sizeof value, value, order, CALLER);                     \
    }                                                                          \
    COMPARE_HOOK(bits, strong)                                                 \
    COMPARE_HOOK(bits, weak)                                                   \
    HOOK(uint##bits##_t, __tsan_atomic##bits##_compare_exchange_val,           \
         void *object, uint##bits##_t expected, uint##bits##_t desired,        \
         int success, int failure)                                             \
    {                                                                          \
        uint64_t found = expected;                                             \
        compare_exchange(object, sizeof desired, &found, desired, success,     \
                         failure, CALLER);                                     \
        return (uint##bits##_t)found;                                          \
    }                                                                          \
    CHANGE_HOOK(bits, exchange, second)                                        \
    CHANGE_HOOK(bits, fetch_add, sum)                                          \
    CHANGE_HOOK(bits, fetch_sub, difference)                                   \
    CHANGE_HOOK(bits, fetch_and, intersection)                                 \
    CHANGE_HOOK(bits, fetch_or, join)

ATOMIC_HOOKS(8)
ATOMIC_HOOKS(16)
ATOMIC_HOOKS(32)
ATOMIC_HOOKS(64)

HOOK(void, __tsan_atomic_signal_fence, int order)
{
    (void)order;
}

/* --- the kernel --- */

/* Of membarrier(): MEMBARRIER_CMD_PRIVATE_EXPEDITED. */
enum { BARRIER_PRIVATE = 1 << 3 };

static struct os_calls kernel;

static void note_new(void *address, size_t length)
{
    if (address == MAP_FAILED)
        return;
    race_forget(address, length);
    weak_forget(address, length);
}

static void *map(void *hint, size_t length, int protection, int flags, int fd,
                 off_t offset)
{
    void *address = kernel.mmap(hint, length, protection, flags, fd, offset);

    note_new(address, length);
    return address;
}

static void *remap(void *address, size_t old_length, size_t new_length,
                   int flags, ...)
{
    va_list list;
    void *to = NULL;

    if ((flags & MREMAP_FIXED) != 0) {
        va_start(list, flags);
        to = va_arg(list, void *);
        va_end(list);
    }
    void *moved = kernel.mremap(address, old_length, new_length, flags, to);
    note_new(moved, new_length);
    return moved;
}

/* Who gives memory back stores there, as it were. */
static void note_gone(const void *address, size_t length, const void *caller)
{
    int thread = interleaving_thread();

    if (thread >= 0)
        race_note_pages(
            &(struct access){thread, PLAIN_STORE, address, length, caller});
}

static int unmap(void *address, size_t length)
{
    note_gone(address, length, CALLER);
    return kernel.munmap(address, length);
}

static int advise(void *address, size_t length, int advice)
{
    if (advice == MADV_DONTNEED)
        note_gone(address, length, CALLER);
    return kernel.madvise(address, length, advice);
}

static ssize_t advise_ranges(const struct iovec *ranges, size_t count,
                             int advice)
{
    for (size_t i = 0; i < count && advice == MADV_DONTNEED; i++)
        note_gone(ranges[i].iov_base, ranges[i].iov_len, CALLER);
    return kernel.madvise_ranges(ranges, count, advice);
}

static int barrier(int command)
{
    int result = kernel.membarrier(command);

    if (result == 0 && command == BARRIER_PRIVATE && interleaving_thread() >= 0)
        weak_barrier();
    return result;
}

void weak_memory_watch_kernel(void)
{
    kernel = os_calls;
    os_calls.mmap = map;
    os_calls.munmap = unmap;
    os_calls.madvise = advise;
    os_calls.madvise_ranges = advise_ranges;
    os_calls.mremap = remap;
    os_calls.membarrier = barrier;
}
