/* SPDX-License-Identifier: MIT */
/*
 * Finds and loads allocators.
 *
 * partyalloc has Party's signature and is called as it is.  Every peer is
 * called through the wrapper that a title would write for it: one indirect tail
 * jump here, as through the linkage table in a title.
 */
#include "allocator.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 1024, SPEC_BYTES = PATH_BYTES + 256 };

/* A specification, taken apart. */
struct spec {
    char text[SPEC_BYTES];
    const char *name;
    const char *path;
    const char *allocate;
    const char *release;
    bool pair;
};

/* The known allocators, by the names that their libraries have everywhere. */
static const struct known {
    const char *name;
    const char *spec;
} known_allocators[] = {
    {"glibc", "glibc=libc.so.6:malloc:free"},
    {"jemalloc", "jemalloc=libjemalloc.so.2:malloc:free"},
    {"mimalloc", "mimalloc=libmimalloc.so.2:mi_malloc:mi_free"},
    {"tcmalloc", "tcmalloc=libtcmalloc_minimal.so.4:malloc:free"},
    {"tbbmalloc", "tbbmalloc=libtbbmalloc.so.2:scalable_malloc:scalable_free"},
};

enum { KNOWN_COUNT = sizeof known_allocators / sizeof known_allocators[0] };

static const char partyalloc_functions[] =
    "partyalloc_allocate:partyalloc_free";

/* --- The wrapper of a peer ----------------------------------------------- */

static void *(*peer_malloc)(size_t size);
static void (*peer_free)(void *pointer);

static void *peer_allocate(size_t size, uint32_t memory_type_id)
{
    (void)memory_type_id;
    return peer_malloc(size);
}

static void peer_release(void *pointer, uint32_t memory_type_id)
{
    (void)memory_type_id;
    peer_free(pointer);
}

/* --- The floor: a pair that does nothing --------------------------------- */

static _Alignas(64) char floor_block[4096];

static void *floor_allocate(size_t size, uint32_t memory_type_id)
{
    (void)memory_type_id;
    (void)size;
    return floor_block;
}

static void floor_release(void *pointer, uint32_t memory_type_id)
{
    (void)pointer;
    (void)memory_type_id;
}

/* --- Specifications ------------------------------------------------------ */

/* If `*text` begins with `prefix`, steps over it. */
static bool skip_prefix(const char **text, const char *prefix)
{
    size_t length = strlen(prefix);

    if (strncmp(*text, prefix, length) != 0)
        return false;
    *text += length;
    return true;
}

/* Cuts `text` at its last `mark`; returns what follows it, or NULL. */
static char *cut_last(char *text, char mark)
{
    char *found = strrchr(text, mark);

    if (found != NULL)
        *found++ = '\0';
    return found;
}

static bool spec_parse(const char *text, struct spec *spec)
{
    if (strlen(text) >= sizeof spec->text)
        return false;
    strcpy(spec->text, text);
    spec->release = cut_last(spec->text, ':');
    spec->allocate = spec->release ? cut_last(spec->text, ':') : NULL;

    char *path = strchr(spec->text, '=');

    if (spec->allocate == NULL || path == NULL)
        return false;
    *path++ = '\0';
    spec->name = spec->text;
    spec->path = path;
    spec->pair = skip_prefix(&spec->path, "pair:");
    return true;
}

/* The library of this build: beside the program's folder, or by its name. */
static void find_partyalloc(char *path, size_t path_size)
{
    const char *given = getenv("PARTYALLOC_LIBRARY");
    char self[PATH_BYTES] = "";
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);

    if (given != NULL) {
        snprintf(path, path_size, "%s", given);
        return;
    }
    for (int level = 0; length > 0 && level < 2; level++)
        (void)cut_last(self, '/');
    snprintf(path, path_size, "%.900s/.libs/libpartyalloc.so", self);
    if (access(path, R_OK) != 0)
        snprintf(path, path_size, "libpartyalloc.so.0");
}

/* Turns a known name into its specification; leaves the others alone. */
static void spec_expand(const char *text, char *spec, size_t spec_size)
{
    bool huge = strcmp(text, "partyalloc-huge") == 0;

    snprintf(spec, spec_size, "%s", text);
    if (huge || strcmp(text, "partyalloc") == 0) {
        char path[PATH_BYTES];

        find_partyalloc(path, sizeof path);
        snprintf(spec, spec_size, "%s=pair:%s:%s", text, path,
                 partyalloc_functions);
        /* The library reads its options when it makes its first block. */
        if (huge)
            setenv("PARTYALLOC_HUGE_PAGES", "1", 1);
        return;
    }
    for (size_t i = 0; i < KNOWN_COUNT; i++)
        if (strcmp(text, known_allocators[i].name) == 0)
            snprintf(spec, spec_size, "%s", known_allocators[i].spec);
}

/* --- Loading ------------------------------------------------------------- */

/* ISO C has no conversion from what dlsym() returns to a function pointer;
 * POSIX promises that the two have one representation. */
static bool find_function(void *handle, const char *name, void *function)
{
    void *address = dlsym(handle, name);

    memcpy(function, &address, sizeof address);
    return address != NULL;
}

static bool find_pair(void *handle, const struct spec *spec,
                      struct callbacks *callbacks)
{
    if (spec->pair)
        return find_function(handle, spec->allocate, &callbacks->allocate) &&
               find_function(handle, spec->release, &callbacks->release);
    callbacks->allocate = peer_allocate;
    callbacks->release = peer_release;
    return find_function(handle, spec->allocate, &peer_malloc) &&
           find_function(handle, spec->release, &peer_free);
}

static void find_verbs(void *handle, struct verbs *verbs)
{
    find_function(handle, "partyalloc_maintain", &verbs->maintain);
    find_function(handle, "partyalloc_trim", &verbs->trim);
    find_function(handle, "partyalloc_start_service_thread",
                  &verbs->start_service_thread);
    find_function(handle, "partyalloc_stop_service_thread",
                  &verbs->stop_service_thread);
    find_function(handle, "partyalloc_get_stats", &verbs->get_stats);
}

static bool load_spec(const struct spec *spec, struct allocator *allocator,
                      char *error, size_t error_size)
{
    void *handle;

    handle = dlopen(spec->path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (handle == NULL) {
        const char *reason = dlerror();

        snprintf(error, error_size, "%s", reason ? reason : "not loaded");
        return false;
    }
    if (!find_pair(handle, spec, &allocator->callbacks)) {
        snprintf(error, error_size, "%s has no %s and %s", spec->path,
                 spec->allocate, spec->release);
        return false;
    }
    if (spec->pair)
        find_verbs(handle, &allocator->verbs);
    return true;
}

bool allocator_load(const char *text, struct allocator *allocator,
                    char *error, size_t error_size)
{
    char expanded[SPEC_BYTES];
    struct spec spec;

    memset(allocator, 0, sizeof *allocator);
    if (strcmp(text, "floor") == 0) {
        strcpy(allocator->name, text);
        allocator->callbacks.allocate = floor_allocate;
        allocator->callbacks.release = floor_release;
        return true;
    }
    spec_expand(text, expanded, sizeof expanded);
    if (!spec_parse(expanded, &spec)) {
        snprintf(error, error_size, "%s is not name=path:allocate:free", text);
        return false;
    }
    snprintf(allocator->name, sizeof allocator->name, "%.*s",
             (int)sizeof allocator->name - 1, spec.name);
    return load_spec(&spec, allocator, error, error_size);
}

void allocator_list(void)
{
    puts("partyalloc");
    for (size_t i = 0; i < KNOWN_COUNT; i++)
        puts(known_allocators[i].name);
}
