/* SPDX-License-Identifier: MIT */
/* A module that library_loading loads before the library: at process exit its
 * destructor function runs after the library's own. */
#include <stddef.h>
#include <stdint.h>

enum { KEPT_MAX = 64 };

typedef void free_function(void *block, uint32_t type);

static void *kept[KEPT_MAX];
static size_t kept_count;
static free_function *free_kept;

void late_module_keep(void *block, free_function *function);

void late_module_keep(void *block, free_function *function)
{
    free_kept = function;
    if (kept_count < KEPT_MAX)
        kept[kept_count++] = block;
}

__attribute__((destructor)) static void free_all_kept(void)
{
    while (kept_count > 0)
        free_kept(kept[--kept_count], 0);
}
