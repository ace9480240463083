/* SPDX-License-Identifier: MIT */
/*
 * A third-party program that loads a module with the static archive in it, and
 * closes it while a thread that has used it still runs.  When that thread
 * exits, the destructor of its key is called, and must still be there.
 */
#define _POSIX_C_SOURCE 200809L

#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef void *allocate_function(size_t size, uint32_t type);
typedef void free_function(void *block, uint32_t type);

static allocate_function *allocate;
static free_function *release;
static pthread_barrier_t barrier;

static void *
live(void *unused)
{
    void *block = allocate(100, 0);

    if (block == NULL)
        exit(1);
    release(block, 0);
    pthread_barrier_wait(&barrier); /* the module has been used */
    pthread_barrier_wait(&barrier); /* and is closed */
    return unused;
}

int
main(int argc, char **argv)
{
    void *module = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
    pthread_t thread;

    if (module == NULL) {
        fprintf(stderr, "closed_module: the module cannot be loaded\n");
        return 1;
    }
    *(void **)&allocate = dlsym(module, "partyalloc_allocate");
    *(void **)&release = dlsym(module, "partyalloc_free");
    if (allocate == NULL || release == NULL)
        return 1;
    pthread_barrier_init(&barrier, NULL, 2);
    if (pthread_create(&thread, NULL, live, NULL) != 0)
        return 1;
    pthread_barrier_wait(&barrier);
    dlclose(module);
    pthread_barrier_wait(&barrier);
    return pthread_join(thread, NULL);
}
