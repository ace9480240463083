/* SPDX-License-Identifier: MIT */
/*
 * The library is loaded into a running program, and closed again, under threads
 * that stay.  This program is not linked with it.
 */
#include "support.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

#include "loaded_library.h"

#ifndef LATE_MODULE_PATH
#error "LATE_MODULE_PATH is not defined"
#endif

enum { THREADS = 32, BLOCKS = 500 };

static struct loaded_library library;
static pthread_barrier_t barrier;

static void use_library(void)
{
    struct random random = {3};
    void *blocks[BLOCKS];
    size_t sizes[BLOCKS];

    for (size_t i = 0; i < BLOCKS; i++) {
        sizes[i] = random_size(&random, 1, 100000);
        blocks[i] = library.allocate(sizes[i], ANY_TYPE);
        require(blocks[i] != NULL);
        fill(blocks[i], sizes[i], i);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        require(holds(blocks[i], sizes[i], i));
        library.free(blocks[i], ANY_TYPE);
    }
}

static void meet(void)
{
    pthread_barrier_wait(&barrier);
}

static void *live_through_loading(void *unused)
{
    (void)unused;
    meet(); /* all threads run; the library is loaded now */
    meet(); /* it is loaded */
    use_library();
    meet(); /* all have used it; it is closed now */
    meet(); /* it is closed; the threads exit */
    return NULL;
}

static void load_use_close(void *unused)
{
    pthread_t threads[THREADS];

    (void)unused;
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (size_t i = 0; i < THREADS; i++)
        require(pthread_create(&threads[i], NULL, live_through_loading, NULL)
                == 0);
    meet();
    library = load_library();
    meet();
    use_library();
    meet();
    require(loaded_stats(&library).small_live_blocks == 0);
    require(loaded_stats(&library).large_live_blocks == 0);
    require(dlclose(library.handle) == 0);
    meet();
    for (size_t i = 0; i < THREADS; i++)
        require(pthread_join(threads[i], NULL) == 0);
}

static void load_many_times(void *unused)
{
    for (int i = 0; i < 20; i++)
        load_use_close(unused);
}

static void threads_exit_after_the_library_was_closed(void **state)
{
    (void)state;
    assert_child_succeeds(load_use_close, NULL);
}

static void the_library_may_come_and_go_many_times(void **state)
{
    (void)state;
    assert_child_succeeds(load_many_times, NULL);
}

/* Leaves blocks, and what frees them, to a module that was loaded first: its
 * destructor function runs after the library's. */
static void free_from_a_module_that_ends_later(void *unused)
{
    void *module = dlopen(LATE_MODULE_PATH, RTLD_NOW);

    (void)unused;
    require(module != NULL);
    void (*keep)(void *, void (*)(void *, uint32_t));
    *(void **)&keep = dlsym(module, "late_module_keep");
    require(keep != NULL);
    library = load_library();
    for (size_t size = 1; size < 4 * MIB; size *= 2) {
        void *block = library.allocate(size, ANY_TYPE);
        require(block != NULL);
        keep(block, library.free);
    }
    exit(0);
}

static void a_module_that_ends_after_the_library_may_free(void **state)
{
    (void)state;
    assert_child_succeeds(free_from_a_module_that_ends_later, NULL);
}

static void *use_on_thread(void *unused)
{
    (void)unused;
    use_library();
    return NULL;
}

static void use_after_close(void *unused)
{
    (void)unused;
    library = load_library();
    void *block = library.allocate(100, ANY_TYPE);
    require(dlclose(library.handle) == 0);
    /* As by a timer thread that the title has forgotten. */
    library.free(block, ANY_TYPE);
    run_threads(4, use_on_thread, NULL, 0);
}

static void a_free_that_comes_after_the_close_finds_the_code(void **state)
{
    (void)state;
    assert_child_succeeds(use_after_close, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_exit_after_the_library_was_closed),
        cmocka_unit_test(the_library_may_come_and_go_many_times),
        cmocka_unit_test(a_module_that_ends_after_the_library_may_free),
        cmocka_unit_test(a_free_that_comes_after_the_close_finds_the_code),
    };

    if (!library_exists())
        return skip_all("there is no shared library");
    return run_all(tests);
}
