/* SPDX-License-Identifier: MIT */
/*
 * Runs one workload on one allocator and prints what it measured, one figure
 * per line: a name and a number.  run.sh runs this program many times.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "clock.h"
#include "run.h"
#include "workloads.h"

/* The exit code of a run whose allocator is not installed. */
enum { EXIT_MISSING = 77 };

static const char usage[] =
    "Usage: bench [OPTION...] WORKLOAD[-THREADS] ALLOCATOR\n"
    "       bench --workloads | --memory | --allocators\n"
    "  --seconds S    about how long to run (default 1)\n"
    "  --trace FILE   write resident memory over time to FILE\n"
    "  --huge-pages   leave transparent huge pages as the machine has them\n";

/* Some libraries need more static thread-local storage than a process keeps
 * free for dlopen().  The reserve is read at the start of a process. */
static void reserve_static_tls(char **arguments)
{
    static const char variable[] = "GLIBC_TUNABLES";
    static const char tunable[] = "glibc.rtld.optional_static_tls=8192";
    const char *now = getenv(variable);
    char value[1024];

    if (now != NULL && strstr(now, "optional_static_tls") != NULL)
        return;
    snprintf(value, sizeof value, "%s%s%s", now ? now : "", now ? ":" : "",
             tunable);
    setenv(variable, value, 1);
    execv("/proc/self/exe", arguments);
}

/* Lists what can be run, as run.sh reads it. */
static void list(char kind)
{
    if (kind == 'a')
        allocator_list();
    else
        workload_list(kind == 'm' ? WORKLOAD_MEMORY : WORKLOAD_SPEED);
    exit(EXIT_SUCCESS);
}

struct request {
    const char *workload;
    const char *allocator;
    bool huge_pages;
};

static void parse(int count, char **arguments, struct run *run,
                  struct request *request)
{
    static const struct option options[] = {
        {"seconds", required_argument, NULL, 's'},
        {"trace", required_argument, NULL, 't'},
        {"huge-pages", no_argument, NULL, 'p'},
        {"workloads", no_argument, NULL, 'w'},
        {"memory", no_argument, NULL, 'm'},
        {"allocators", no_argument, NULL, 'a'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(count, arguments, "", options, NULL)) != -1) {
        if (option == 's')
            run->seconds = atof(optarg);
        else if (option == 't')
            run->trace = optarg;
        else if (option == 'p')
            request->huge_pages = true;
        else if (option != '?')
            list((char)option);
        else
            break;
    }
    if (option != -1 || count - optind != 2 || run->seconds <= 0) {
        fputs(usage, stderr);
        exit(EXIT_FAILURE);
    }
    request->workload = arguments[optind];
    request->allocator = arguments[optind + 1];
}

int main(int count, char **arguments)
{
    static struct run run = {.seconds = 1};
    struct request request = {0};
    struct allocator allocator;
    const struct workload *workload;
    char error[512];

    reserve_static_tls(arguments);
    parse(count, arguments, &run, &request);
    if (!request.huge_pages)
        prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    run.cores = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    workload = workload_find(request.workload, &run.threads);
    if (workload == NULL) {
        fprintf(stderr, "bench: no workload %s\n", request.workload);
        return EXIT_FAILURE;
    }
    if (!allocator_load(request.allocator, &allocator, error, sizeof error)) {
        fprintf(stderr, "bench: %s: %s\n", request.allocator, error);
        return EXIT_MISSING;
    }
    run.callbacks = allocator.callbacks;
    run.verbs = allocator.verbs;
    clock_calibrate();
    workload->function(&run);
    return EXIT_SUCCESS;
}
