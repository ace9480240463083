/* SPDX-License-Identifier: MIT */
/*
 * A program that leaves no thread-specific key to the library, or only those
 * for which the C library needs memory, or whose system refuses to set one.
 * The library, loaded in a child, finds this program's pthread_key_create() and
 * pthread_setspecific() before the system's.
 */
#include "support.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "loaded_library.h"

enum { BLOCKS = 300, SIZE = 200, THREADS = 400, AT_ONCE = 4 };
/* From this index on glibc keeps the values in memory from calloc(). */
enum { KEYS_IN_THE_THREAD_ITSELF = 32 };

static atomic_bool refuse_create, refuse_set;

#if !UNDER_SANITIZER /* which has these functions itself */

int pthread_key_create(pthread_key_t *key, void (*destructor)(void *))
{
    int (*next)(pthread_key_t *, void (*)(void *));

    if (atomic_load(&refuse_create))
        return EAGAIN;
    *(void **)&next = dlsym(RTLD_NEXT, "pthread_key_create");
    return next(key, destructor);
}

int pthread_setspecific(pthread_key_t key, const void *value)
{
    int (*next)(pthread_key_t, const void *);

    if (atomic_load(&refuse_set))
        return ENOMEM;
    *(void **)&next = dlsym(RTLD_NEXT, "pthread_setspecific");
    return next(key, value);
}

#endif

static struct loaded_library library;

static void *churn(void *unused)
{
    void *blocks[BLOCKS];

    (void)unused;
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = library.allocate(SIZE, ANY_TYPE);
        require(blocks[i] != NULL);
        fill(blocks[i], SIZE, i);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        require(holds(blocks[i], SIZE, i));
        library.free(blocks[i], ANY_TYPE);
    }
    void *large = library.allocate(MIB, ANY_TYPE);
    require(large != NULL);
    library.free(large, ANY_TYPE);
    return NULL;
}

/* Threads work, and what they leave does not pile up. */
static void run_churning_threads(void)
{
    churn(NULL);
    for (int i = 0; i < THREADS / 4; i++)
        run_thread(churn, NULL);
    size_t mapped = loaded_stats(&library).mapped_bytes;
    for (int i = 0; i < THREADS; i++)
        run_thread(churn, NULL);
    for (int i = 0; i < THREADS; i += AT_ONCE)
        run_threads(AT_ONCE, churn, NULL, 0);
    require(loaded_stats(&library).small_live_blocks == 0);
    require(loaded_stats(&library).large_live_blocks == 0);
    /* Each of the AT_ONCE may have had a large block and a part of a chunk of
     * its own; had every thread left its blocks, it would be more. */
    require(loaded_stats(&library).mapped_bytes
            <= mapped + AT_ONCE * (MIB + 2 * MIB));
}

static int take_keys(int count)
{
    int taken = 0;
    pthread_key_t key;

    while (taken < count && pthread_key_create(&key, NULL) == 0)
        taken++;
    return taken;
}

static void leave_only_high_keys(void *unused)
{
    (void)unused;
    require(take_keys(KEYS_IN_THE_THREAD_ITSELF + 8)
            == KEYS_IN_THE_THREAD_ITSELF + 8);
    library = load_library();
    run_churning_threads();
}

static void leave_no_key(void *unused)
{
    (void)unused;
    require(take_keys(PTHREAD_KEYS_MAX + 1) > PTHREAD_KEYS_MAX / 2);
    library = load_library();
    run_churning_threads();
}

static void let_create_fail(void *unused)
{
    (void)unused;
    atomic_store(&refuse_create, true);
    library = load_library();
    run_churning_threads();
}

static void let_set_fail(void *unused)
{
    (void)unused;
    atomic_store(&refuse_set, true);
    library = load_library();
    run_churning_threads();
}

static void let_set_fail_for_a_while(void *unused)
{
    (void)unused;
    library = load_library();
    churn(NULL);
    for (int i = 0; i < 50; i++) {
        atomic_store(&refuse_set, i % 2 == 0);
        run_threads(4, churn, NULL, 0);
    }
    atomic_store(&refuse_set, false);
    run_churning_threads();
}

static void keys_beyond_the_first_32_serve(void **state)
{
    (void)state;
    assert_child_succeeds(leave_only_high_keys, NULL);
}

static void a_program_that_has_taken_every_key_can_use_the_library(void **state)
{
    (void)state;
    assert_child_succeeds(leave_no_key, NULL);
}

static void nothing_is_lost_when_no_key_can_be_made(void **state)
{
    (void)state;
    assert_child_succeeds(let_create_fail, NULL);
}

static void nothing_is_lost_when_no_key_can_be_set(void **state)
{
    (void)state;
    assert_child_succeeds(let_set_fail, NULL);
}

static void a_refusal_that_ends_is_overcome(void **state)
{
    (void)state;
    assert_child_succeeds(let_set_fail_for_a_while, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_beyond_the_first_32_serve),
        cmocka_unit_test(
            a_program_that_has_taken_every_key_can_use_the_library),
        cmocka_unit_test(nothing_is_lost_when_no_key_can_be_made),
        cmocka_unit_test(nothing_is_lost_when_no_key_can_be_set),
        cmocka_unit_test(a_refusal_that_ends_is_overcome),
    };

    if (UNDER_SANITIZER)
        return skip_all("the sanitizer has these functions itself");
    if (!library_exists())
        return skip_all("there is no shared library");
    return run_all(tests);
}
