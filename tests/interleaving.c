/* SPDX-License-Identifier: MIT */
#include "interleaving.h"

#include "support.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "weak_memory.h"

enum {
    STOPS = 3,
    SCHEDULES = 400,
    /* Destructors of keys run in rounds; the library's may run once more for
     * what another one's frees. */
    LAST_ROUND = 3,
    SECONDS_MAX = 20, /* of one schedule */
};

/* The first thread runs to its step stops[0], the other one to its step
 * stops[1], the first to its step stops[2]; 0, or more than there are: to its
 * end.  Then each to its end. */
struct schedule {
    unsigned first;
    unsigned stops[STOPS];
    unsigned values; /* that loads have: as in weak_memory_begin() */
};

/* The steps of each thread so far, where the test sees them too. */
static unsigned *steps;

/* --- In the process of a schedule ----------------------------------------- */

struct turn {
    sem_t may_run;
    unsigned round; /* of destructors */
    bool ended;
    interleaved_body *body;
};

static struct turn turns[2];
static interleaved_body *prelude; /* of the first one; NULL: there is none */
static struct schedule now;
static unsigned stop; /* the next of now.stops */
static sem_t ready, all_ended;
static pthread_key_t end_key;

/* NULL: not a thread of an interleaving. */
static _Thread_local struct turn *own;

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0)
        ;
}

static struct turn *other_than(const struct turn *turn)
{
    return turn == &turns[0] ? &turns[1] : &turns[0];
}

int interleaving_thread(void)
{
    return own != NULL ? (int)(own - turns) : -1;
}

/* Before a step of the thread whose turn it is: the other's turn may be due. */
static void count_step(void)
{
    unsigned *count = &steps[own - turns];
    ++*count;
    if (stop == STOPS || own != &turns[now.first ^ (stop & 1)] ||
        *count != now.stops[stop])
        return;
    stop++;
    struct turn *other = other_than(own);
    if (other->ended)
        return;
    sem_post(&other->may_run);
    wait_for(&own->may_run);
}

int interleaving_step(void)
{
    if (own != NULL)
        count_step();
    return interleaving_thread();
}

/* Ends a turn behind the library's destructor, of which each access is a step
 * too. */
static void end_turn(void *turn)
{
    if (++own->round < LAST_ROUND) {
        require(pthread_setspecific(end_key, turn) == 0);
        return;
    }
    struct turn *other = other_than(own);
    own->ended = true;
    sem_post(other->ended ? &all_ended : &other->may_run);
}

static void *take_turn(void *turn)
{
    struct turn *mine = turn;

    if (mine == &turns[0] && prelude != NULL)
        prelude();
    own = mine;
    require(pthread_setspecific(end_key, turn) == 0);
    sem_post(&ready);
    wait_for(&own->may_run);
    own->body();
    return NULL;
}

/* So that a change of turn does not wait for another processor. */
static void stay_on_this_processor(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)sched_getcpu(), &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void play(const struct interleaving *scenario)
{
    pthread_t threads[2];

    stay_on_this_processor();
    alarm(SECONDS_MAX);
    weak_memory_watch_kernel();
    if (scenario->set_up != NULL)
        scenario->set_up();
    require(pthread_key_create(&end_key, end_turn) == 0);
    require(sem_init(&ready, 0, 0) == 0 && sem_init(&all_ended, 0, 0) == 0);
    for (int i = 0; i < 2; i++) {
        turns[i].body = scenario->bodies[i];
        require(sem_init(&turns[i].may_run, 0, 0) == 0);
        require(pthread_create(&threads[i], NULL, take_turn, &turns[i]) == 0);
        wait_for(&ready);
    }
    weak_memory_begin(now.values);
    sem_post(&turns[now.first].may_run);
    wait_for(&all_ended);
    for (int i = 0; i < 2; i++)
        require(pthread_join(threads[i], NULL) == 0);
    scenario->check();
}

void fork_in_turn(interleaved_body *body)
{
    int status;
    struct turn *mine = own;

    /* The child is alone from the start: handlers of the fork run there too. */
    own = NULL;
    pid_t child = fork();
    require(child >= 0);
    if (child == 0) {
        alarm(SECONDS_MAX);
        body();
        _exit(0);
    }
    own = mine;
    require(waitpid(child, &status, 0) == child && status == 0);
}

/* --- In the process of the test ------------------------------------------- */

/* What each is to end with, and where it says so; NULL: it is not to end so. */
static const char *fault;
static FILE *report;

/* Runs a schedule in the child of a fork, to the end. */
_Noreturn static void play_in_child(const struct interleaving *scenario)
{
    if (report != NULL)
        dup2(fileno(report), STDERR_FILENO);
    signal(SIGSEGV, SIG_DFL); /* of which cmocka makes an exit */
    play(scenario);
    _exit(0);
}

static bool ends_as_it_should(int status)
{
    char text[256] = "";

    if (report == NULL)
        return status == 0;
    rewind(report);
    if (fgets(text, sizeof text, report) == NULL)
        return false;
    rewind(report);
    assert_int_equal(ftruncate(fileno(report), 0), 0);
    return status == SIGABRT && strstr(text, fault) != NULL;
}

static void run(const struct interleaving *scenario, struct schedule schedule)
{
    int status;
    pid_t child;

    if (report != NULL)
        schedule.values = WEAK_NEWEST;
    now = schedule;
    memset(steps, 0, 2 * sizeof *steps);
    fflush(NULL);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        play_in_child(scenario);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!ends_as_it_should(status))
        fail_msg("wait status 0x%x with SCHEDULE=\"%u %u %u %u %u\"",
                 (unsigned)status, schedule.first, schedule.stops[0],
                 schedule.stops[1], schedule.stops[2], schedule.values);
}

/* One change, with the newest values everywhere and the oldest ones at `count`
 * places.  The other thread's length depends on where: *longest. */
static unsigned run_with_one_change(const struct interleaving *scenario,
                                    unsigned first, unsigned count,
                                    unsigned *longest)
{
    *longest = 0;
    for (unsigned at = 1;; at++) {
        run(scenario, (struct schedule){first, {at}, WEAK_NEWEST});
        unsigned length = steps[first];
        if (steps[!first] > *longest)
            *longest = steps[!first];
        if (at % (1 + length / count) == 0)
            run(scenario, (struct schedule){first, {at}, WEAK_OLDEST});
        if (at > length)
            return length;
    }
}

/* Two changes at all pairs of places, as often as `count` allows, with other
 * values each time; or at `count` of the pairs. */
static void run_with_two_changes(const struct interleaving *scenario,
                                 unsigned first, unsigned length,
                                 unsigned longest, unsigned count)
{
    struct random random = {first + 1};
    unsigned pairs = length * longest;

    for (unsigned i = 0; i < count; i++) {
        unsigned pair = pairs <= count ? i % pairs
                                       : (unsigned)random_below(&random, pairs);
        unsigned values = pairs <= count ? i / pairs : i;
        run(scenario,
            (struct schedule){
                first, {1 + pair % length, 1 + pair / length}, values});
    }
}

static void run_with_three_changes(const struct interleaving *scenario,
                                   unsigned first, unsigned length,
                                   unsigned longest, unsigned count)
{
    struct random random = {first + 1};

    for (unsigned i = 0; i < count && length > 1; i++) {
        unsigned at = 1 + (unsigned)random_below(&random, length - 1);
        unsigned then = 1 + (unsigned)random_below(&random, longest);
        unsigned last = at + 1 + (unsigned)random_below(&random, length - at);
        run(scenario, (struct schedule){first, {at, then, last}, i});
    }
}

static void run_in_orders_of(const struct interleaving *scenario,
                             unsigned first, unsigned count)
{
    unsigned longest;
    unsigned length = run_with_one_change(scenario, first, count, &longest);

    if (length == 0 || longest == 0)
        return;
    run_with_two_changes(scenario, first, length, longest, count);
    run_with_three_changes(scenario, first, length, longest, count / 2);
}

static void run_all_schedules(const struct interleaving *scenario)
{
    const char *named = getenv("SCHEDULE");
    const char *given = getenv("SCHEDULES");
    unsigned count = given != NULL ? (unsigned)atoi(given) : SCHEDULES;
    struct schedule one;

    steps = mmap(NULL, 2 * sizeof *steps, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(steps, MAP_FAILED);
    if (named != NULL) {
        assert_int_equal(sscanf(named, "%u %u %u %u %u", &one.first,
                                &one.stops[0], &one.stops[1], &one.stops[2],
                                &one.values),
                         5);
        run(scenario, one);
        return;
    }
    for (unsigned first = 0; first < 2; first++)
        run_in_orders_of(scenario, first, count / 2 + (count < 2));
    assert_int_equal(munmap(steps, 2 * sizeof *steps), 0);
}

void assert_interleavings(const struct interleaving *scenario)
{
    assert_interleavings_after(NULL, scenario);
}

void assert_interleavings_after(interleaved_body *first,
                                const struct interleaving *scenario)
{
    report = NULL;
    prelude = first;
    run_all_schedules(scenario);
}

void assert_interleavings_stop(const struct interleaving *scenario,
                               const char *expected)
{
    fault = expected;
    report = tmpfile();
    assert_non_null(report);
    prelude = NULL;
    run_all_schedules(scenario);
    fclose(report);
}
