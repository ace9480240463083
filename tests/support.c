/* SPDX-License-Identifier: MIT */
/* What the tests share; see support.h. */
#include "support.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A child's exit status when a require() failed in it. */
#define REQUIRE_FAILED_STATUS 99
/* No child may run for longer than this. */
#define CHILD_SECONDS_MAX (UNDER_SANITIZER ? 120 : 30)

void require_failed(const char *file, int line, const char *text)
{
    dprintf(STDERR_FILENO, "%s:%d: does not hold: %s\n", file, line, text);
    _exit(REQUIRE_FAILED_STATUS);
}

int run_test_array(const struct CMUnitTest *tests, size_t count)
{
    const char *only = getenv("TEST");

    cmocka_set_message_output(CM_OUTPUT_TAP);
    if (only != NULL)
        cmocka_set_test_filter(only);
    /* What cmocka_run_group_tests() expands to, for a counted array. */
    return _cmocka_run_group_tests("tests", tests, count, NULL, NULL);
}

int skip_all(const char *reason)
{
    printf("1..0 # SKIP %s\n", reason);
    return 0;
}

/* --- a repeatable random sequence --- */

uint64_t random_next(struct random *random)
{
    /* A Weyl sequence whose values are then mixed. */
    uint64_t value = random->state += UINT64_C(0x9e3779b97f4a7c15);

    value = (value ^ (value >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    value = (value ^ (value >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    return value ^ (value >> 32);
}

uint64_t random_below(struct random *random, uint64_t bound)
{
    return random_next(random) % bound;
}

size_t random_size(struct random *random, size_t low, size_t high)
{
    size_t top = low;
    size_t doublings = 0;

    while (top < high) {
        top *= 2;
        doublings++;
    }
    if (doublings == 0)
        return low;
    size_t base = low << random_below(random, doublings);
    size_t size = base + random_below(random, base);
    return size < high ? size : high;
}

/* --- contents of blocks --- */

static uint64_t pattern_word(uint64_t seed, size_t index)
{
    return (seed + index) * UINT64_C(0x9e3779b97f4a7c15);
}

void fill(void *block, size_t size, uint64_t seed)
{
    unsigned char *bytes = block;
    size_t whole = size / sizeof(uint64_t);

    for (size_t i = 0; i < whole; i++) {
        uint64_t word = pattern_word(seed, i);
        memcpy(bytes + i * sizeof word, &word, sizeof word);
    }
    uint64_t last = pattern_word(seed, whole);
    memcpy(bytes + whole * sizeof last, &last, size % sizeof last);
}

bool holds(const void *block, size_t size, uint64_t seed)
{
    const unsigned char *bytes = block;
    size_t whole = size / sizeof(uint64_t);
    uint64_t differences = 0;

    for (size_t i = 0; i < whole; i++) {
        uint64_t word;
        memcpy(&word, bytes + i * sizeof word, sizeof word);
        differences |= word ^ pattern_word(seed, i);
    }
    uint64_t last = pattern_word(seed, whole);
    return differences == 0
        && memcmp(bytes + whole * sizeof last, &last, size % sizeof last) == 0;
}

bool is_zero(const void *block, size_t size)
{
    const unsigned char *bytes = block;

    return size == 0
        || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* --- children --- */

/* Where a child announces the line with which it will stop; shared. */
static char *announced_line(void)
{
    static char *line;

    if (line == NULL) {
        line = mmap(NULL, CHILD_TEXT_MAX, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        require(line != MAP_FAILED);
    }
    return line;
}

void expect_stop(const char *fault, const void *pointer)
{
    snprintf(announced_line(), CHILD_TEXT_MAX, "partyalloc: %s of 0x%jx\n",
             fault, (uintmax_t)(uintptr_t)pointer);
}

/* Restores the default action of the signals that cmocka catches. */
static void restore_signals(void)
{
    const int caught[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGSYS, SIGABRT};

    for (size_t i = 0; i < ARRAY_LENGTH(caught); i++)
        signal(caught[i], SIG_DFL);
}

_Noreturn static void be_child(child_body *body, void *argument, int out)
{
    const struct rlimit no_core = {0, 0};

    restore_signals();
    setrlimit(RLIMIT_CORE, &no_core);
    alarm(CHILD_SECONDS_MAX);
    dup2(out, STDERR_FILENO);
    close(out);
    body(argument);
    _exit(0);
}

/* Reads to the end of the file; what does not fit is dropped. */
static void read_text(int in, char *text)
{
    char surplus[CHILD_TEXT_MAX];
    size_t length = 0;
    ssize_t got;

    do {
        size_t room = CHILD_TEXT_MAX - 1 - length;
        got = room > 0 ? read(in, text + length, room)
                       : read(in, surplus, sizeof surplus);
        if (got > 0 && room > 0)
            length += (size_t)got;
    } while (got > 0 || (got < 0 && errno == EINTR));
    text[length] = '\0';
}

struct ending run_in_child(child_body *body, void *argument)
{
    struct ending ending;
    int ends[2];

    announced_line()[0] = '\0';
    fflush(stdout);
    require(pipe(ends) == 0);
    pid_t child = fork();
    require(child >= 0);
    if (child == 0) {
        close(ends[0]);
        be_child(body, argument, ends[1]);
    }
    close(ends[1]);
    read_text(ends[0], ending.text);
    close(ends[0]);
    while (waitpid(child, &ending.status, 0) < 0)
        require(errno == EINTR);
    return ending;
}

void assert_child_succeeds(child_body *body, void *argument)
{
    struct ending ending = run_in_child(body, argument);

    assert_string_equal(ending.text, "");
    if (WIFSIGNALED(ending.status))
        fail_msg("the child was killed by signal %d",
                 WTERMSIG(ending.status));
    assert_int_equal(WEXITSTATUS(ending.status), 0);
}

void assert_scenario_stops(const char *scenario, child_body *body,
                           void *argument)
{
    struct ending ending = run_in_child(body, argument);
    bool aborted =
        WIFSIGNALED(ending.status) && WTERMSIG(ending.status) == SIGABRT;
    bool announced = announced_line()[0] != '\0';

    if (aborted && announced && strcmp(ending.text, announced_line()) == 0)
        return;
    print_message("# scenario: %s\n# wait status: 0x%x\n# expected: %s"
                  "# it wrote: %s\n", scenario, (unsigned)ending.status,
                  announced ? announced_line() : "(nothing yet)\n",
                  ending.text);
    fail();
}

void assert_child_stops(child_body *body, void *argument)
{
    assert_scenario_stops("the only one", body, argument);
}

/* --- threads --- */

void run_threads(size_t count, thread_body *body, void *arguments,
                 size_t stride)
{
    pthread_t threads[THREADS_MAX];

    require(count <= THREADS_MAX);
    for (size_t i = 0; i < count; i++) {
        char *argument = arguments;
        if (argument != NULL)
            argument += i * stride;
        require(pthread_create(&threads[i], NULL, body, argument) == 0);
    }
    for (size_t i = 0; i < count; i++)
        require(pthread_join(threads[i], NULL) == 0);
}

void run_thread(thread_body *body, void *argument)
{
    run_threads(1, body, argument, 0);
}

void await_value(const _Atomic(unsigned) *place, unsigned value)
{
    enum { SPINS = 1000 };

    for (unsigned i = 1; atomic_load(place) != value; i++)
        if (i % SPINS == 0)
            sched_yield();
}

void sleep_ms(unsigned milliseconds)
{
    struct timespec rest = {milliseconds / 1000,
                            (long)(milliseconds % 1000) * 1000000};

    while (nanosleep(&rest, &rest) != 0)
        require(errno == EINTR);
}

uint64_t clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}
