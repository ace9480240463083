/* SPDX-License-Identifier: MIT */
/*
 * What a cache's thread does at the very moment at which another one claims the
 * cache: the claimer's barrier is replaced by one that has the thread do it.
 *
 * Every test runs in a child, so that it starts from nothing.
 */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os.h"
#include "size_class.h"
#include "slab_internal.h"
#include "thread.h"
#include "thread_cache_internal.h"

enum {
    BLOCKS = 400,
    SMALL = 20,                  /* a class */
    MEDIUM_BYTES = 12 << 10,     /* of a block */
    /* A thread is idle after 500 ms, by a coarse clock. */
    NOT_IDLE_NS = 450 * 1000 * 1000,
};

/* --- A thread that does what it is told ----------------------------------- */

typedef void job_body(void);

static struct {
    pthread_t thread;
    sem_t begin, done;
    job_body *job; /* NULL: to end */
    struct cache *cache;
} worker;

static void *work(void *unused)
{
    for (;;) {
        require(sem_wait(&worker.begin) == 0);
        if (worker.job == NULL)
            return unused;
        worker.job();
        worker.cache = thread_has_cache() ? cache_of(thread_bins) : NULL;
        require(sem_post(&worker.done) == 0);
    }
}

static void start_worker(void)
{
    require(sem_init(&worker.begin, 0, 0) == 0);
    require(sem_init(&worker.done, 0, 0) == 0);
    require(pthread_create(&worker.thread, NULL, work, NULL) == 0);
}

static void have_done(job_body *job)
{
    worker.job = job;
    require(sem_post(&worker.begin) == 0);
    require(sem_wait(&worker.done) == 0);
}

static void end_worker(void)
{
    worker.job = NULL;
    require(sem_post(&worker.begin) == 0);
    require(pthread_join(worker.thread, NULL) == 0);
}

/* --- What it does --------------------------------------------------------- */

static void *blocks[BLOCKS];

static void allocate_all(size_t size)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = partyalloc_allocate(size, ANY_TYPE);
        require(blocks[i] != NULL);
    }
}

static void free_all(void)
{
    for (size_t i = 0; i < BLOCKS; i++)
        partyalloc_free(blocks[i], ANY_TYPE);
}

static void use_small(void)
{
    allocate_all(size_classes[SMALL].size);
    free_all();
}

static void use_medium(void)
{
    allocate_all(MEDIUM_BYTES);
    free_all();
}

static bool holds_a_slab(const struct cache *cache)
{
    for (unsigned class = 0; class < CLASS_COUNT; class++)
        if (cache->bins.sources[class].held != NULL)
            return true;
    return false;
}

static bool has_further_magazines(const struct cache *cache)
{
    for (unsigned class = 0; class < CLASS_COUNT; class++)
        if (cache->rest[class].full != NULL)
            return true;
    return false;
}

static void flush_unused(void)
{
    sleep_ms(2); /* the worker is on its way to sleep */
    cache_look_at_threads();
    cache_flush_unused();
}

/* On a busy machine that may take longer. */
static void flush_until_handed_on(void)
{
    for (int i = 0; i < 1000 && holds_a_slab(worker.cache); i++)
        flush_unused();
}

/* --- Barriers ------------------------------------------------------------- */

static int no_barrier(int command)
{
    (void)command;
    errno = ENOSYS;
    return -1;
}

static job_body *meanwhile;

/* Only the first claim is disturbed. */
static int barrier_after_job(int command)
{
    (void)command;
    job_body *job = meanwhile;
    meanwhile = NULL;
    if (job != NULL)
        have_done(job);
    return 0;
}

static void disturb_the_claim(job_body *job)
{
    os_calls.membarrier = barrier_after_job;
    meanwhile = job;
    for (int i = 0; i < 1000 && meanwhile != NULL; i++)
        flush_unused();
    require(meanwhile == NULL);
}

/* --- Tests ---------------------------------------------------------------- */

static void run_what_an_idle_thread_holds(void *unused)
{
    (void)unused;
    start_worker();
    have_done(use_small);
    have_done(use_medium);
    require(holds_a_slab(worker.cache));
    require(has_further_magazines(worker.cache));
    flush_until_handed_on();
    require(!holds_a_slab(worker.cache));
    require(!has_further_magazines(worker.cache));
    uint64_t slabs = slab_totals().slabs_made;
    have_done(use_small);
    have_done(use_medium);
    require(slab_totals().slabs_made == slabs);
    end_worker();
}

static void what_an_idle_thread_holds_is_handed_on(void **state)
{
    (void)state;
    assert_child_succeeds(run_what_an_idle_thread_holds, NULL);
}

static void run_no_barrier(void *unused)
{
    (void)unused;
    os_calls.membarrier = no_barrier;
    start_worker();
    have_done(use_medium);
    errno = 0;
    flush_unused();
    require(errno == 0);
    require(holds_a_slab(worker.cache));
    have_done(use_medium);
    end_worker();
}

static void without_a_barrier_nothing_is_claimed(void **state)
{
    (void)state;
    assert_child_succeeds(run_no_barrier, NULL);
}

static void run_busy_thread(void *unused)
{
    (void)unused;
    start_worker();
    have_done(use_medium);
    cache_look_at_threads();
    have_done(use_medium);
    cache_flush_unused();
    require(holds_a_slab(worker.cache));
    end_worker();
}

static void a_thread_that_has_gone_on_keeps_its_slabs(void **state)
{
    (void)state;
    assert_child_succeeds(run_busy_thread, NULL);
}

static void enter(void)
{
    require(cache_enter(cache_of(thread_bins)) ==
            !cache_is_claimed(cache_of(thread_bins)));
}

static void run_entered(void *unused)
{
    (void)unused;
    start_worker();
    have_done(use_medium);
    have_done(enter);
    flush_unused();
    require(holds_a_slab(worker.cache));
    require(!cache_is_claimed(worker.cache));
}

static void a_cache_that_is_entered_is_not_claimed(void **state)
{
    (void)state;
    assert_child_succeeds(run_entered, NULL);
}

/* As if it had seen no claim yet. */
static void enter_just_before(void)
{
    atomic_store(&thread_bins->entered, true);
}

static void run_entered_just_before(void *unused)
{
    (void)unused;
    start_worker();
    have_done(use_medium);
    disturb_the_claim(enter_just_before);
    require(holds_a_slab(worker.cache));
    require(!cache_is_claimed(worker.cache));
}

static void a_cache_that_was_entered_just_before_is_let_be(void **state)
{
    (void)state;
    assert_child_succeeds(run_entered_just_before, NULL);
}

static void use_while_claimed(void)
{
    const struct cache *mine = cache_of(thread_bins);
    uint64_t misses = mine->misses;
    uint64_t overflows = mine->overflows;

    require(cache_is_claimed(cache_of(thread_bins)));
    use_medium();
    use_small();
    require(misses == mine->misses && overflows == mine->overflows);
    partyalloc_thread_flush();
    require(holds_a_slab(mine));
}

static void run_claimed(void *unused)
{
    (void)unused;
    start_worker();
    have_done(use_medium);
    struct cache *cache = worker.cache;
    disturb_the_claim(use_while_claimed);
    require(worker.cache == cache);
    require(!holds_a_slab(cache));
    /* It is the worker's own again. */
    have_done(use_medium);
    require(holds_a_slab(cache));
    end_worker();
    partyalloc_trim();
    require(stats_now().small_live_blocks == 0);
}

static void a_thread_whose_cache_is_claimed_borrows_another(void **state)
{
    (void)state;
    assert_child_succeeds(run_claimed, NULL);
}

static void use_and_end(void)
{
    require(sem_post(&worker.done) == 0);
    pthread_exit(NULL);
}

static int barrier_after_end(int command)
{
    (void)command;
    if (meanwhile != NULL) {
        have_done(meanwhile);
        meanwhile = NULL;
        require(pthread_join(worker.thread, NULL) == 0);
    }
    return 0;
}

static void run_end_while_claimed(void *unused)
{
    (void)unused;
    start_worker();
    have_done(use_medium);
    have_done(use_small);
    struct cache *cache = worker.cache;
    os_calls.membarrier = barrier_after_end;
    meanwhile = use_and_end;
    for (int i = 0; i < 1000 && meanwhile != NULL; i++)
        flush_unused();
    require(!cache_is_claimed(cache));
    require(!holds_a_slab(cache));
    require(cache_bins(cache)->entered);
    /* The next thread gets it, once only. */
    start_worker();
    have_done(use_small);
    require(worker.cache == cache);
    require(cache_take_idle() != cache);
    end_worker();
}

static void a_thread_that_ends_leaves_its_cache_to_the_claimer(void **state)
{
    (void)state;
    assert_child_succeeds(run_end_while_claimed, NULL);
}

/* In the child of a fork there is nobody who would end the claim. */
static void fork_and_go_on(void)
{
    struct cache *mine = cache_of(thread_bins);
    uint64_t caches = cache_totals().caches;

    require(cache_is_claimed(mine));
    pid_t child = fork();
    require(child >= 0);
    if (child == 0) {
        require(!cache_is_claimed(mine));
        require(cache_totals().blocks == 0);
        use_medium();
        use_small();
        require(holds_a_slab(mine));
        require(cache_totals().caches == caches);
        _exit(0);
    }
    int status;
    require(waitpid(child, &status, 0) == child && status == 0);
}

static void run_fork_while_claimed(void *unused)
{
    (void)unused;
    start_worker();
    have_done(use_medium);
    disturb_the_claim(fork_and_go_on);
    require(!holds_a_slab(worker.cache));
    end_worker();
}

static void no_claim_outlives_a_fork(void **state)
{
    (void)state;
    assert_child_succeeds(run_fork_while_claimed, NULL);
}

/* The child's thread is new: by the old clock it would never run. */
static void run_fork(void *unused)
{
    (void)unused;
    partyalloc_free(partyalloc_allocate(1, ANY_TYPE), ANY_TYPE);
    pid_t child = fork();
    require(child >= 0);
    if (child == 0) {
        require(cache_of(thread_bins)->clock == os_thread_clock());
        _exit(0);
    }
    int status;
    require(waitpid(child, &status, 0) == child && status == 0);
}

static void who_forks_goes_on_by_a_clock_of_its_own(void **state)
{
    (void)state;
    assert_child_succeeds(run_fork, NULL);
}

/* As if the fork came when the worker had set the bit of a block that is still
 * counted as another thread's: a live block would look free to the child. */
static void run_fork_beside_a_count(void *unused)
{
    unsigned class = size_class_of(MEDIUM_BYTES);

    (void)unused;
    start_worker();
    have_done(use_medium);
    struct slab *slab = worker.cache->bins.sources[class].held;
    require(slab != NULL);
    atomic_fetch_add(&slab->resting, 1);
    pid_t child = fork();
    require(child >= 0);
    if (child == 0) {
        uint32_t resting = 0;
        for (uint32_t i = 0; i < size_classes[class].capacity; i++)
            resting += atomic_load(&slab->states[i]) == BLOCK_REST;
        require(atomic_load(&slab->local_free) == 0);
        require(atomic_load(&slab->resting) == resting);
        /* As is every cache without a thread. */
        require(cache_bins(worker.cache)->entered);
        _exit(0);
    }
    int status;
    require(waitpid(child, &status, 0) == child && status == 0);
    atomic_fetch_sub(&slab->resting, 1);
    end_worker();
}

static void a_fork_counts_what_rests_in_slabs_that_are_held(void **state)
{
    (void)state;
    assert_child_succeeds(run_fork_beside_a_count, NULL);
}

static void run_out_of_memory(void *unused)
{
    (void)unused;
    start_worker();
    have_done(use_medium);
    require(holds_a_slab(worker.cache));
    sleep_ms(20); /* until it sleeps */
    partyalloc_set_limit(os_mapped_bytes());
    while (partyalloc_allocate(MEDIUM_BYTES, ANY_TYPE) != NULL)
        ;
    require(!holds_a_slab(worker.cache));
    partyalloc_set_limit(0);
    end_worker();
}

static void memory_runs_out_when_idle_threads_hold_no_slab(void **state)
{
    (void)state;
    assert_child_succeeds(run_out_of_memory, NULL);
}

/* It may get no block, but is told so. */
static void run_out_while_claimed(void)
{
    void *list = NULL;
    void **block;

    partyalloc_set_limit(os_mapped_bytes());
    while ((block = partyalloc_allocate(size_classes[SMALL].size,
                                        ANY_TYPE)) != NULL) {
        *block = list;
        list = block;
    }
    partyalloc_set_limit(0);
    while ((block = list) != NULL) {
        list = *block;
        partyalloc_free(block, ANY_TYPE);
    }
}

static void run_out_of_memory_while_claimed(void *unused)
{
    (void)unused;
    start_worker();
    have_done(use_medium);
    disturb_the_claim(run_out_while_claimed);
    end_worker();
}

static void memory_runs_out_for_a_thread_whose_cache_is_claimed(void **state)
{
    (void)state;
    assert_child_succeeds(run_out_of_memory_while_claimed, NULL);
}

static void run_reserved(void *unused)
{
    (void)unused;
    require(partyalloc_reserve(MIB) == 0);
    start_worker();
    have_done(use_medium);
    partyalloc_trim();
    partyalloc_maintain(1000 * 1000); /* sees it for the first time */
    sleep_ms(600);
    for (int i = 0; i < 10; i++)
        partyalloc_maintain(1000 * 1000);
    require(holds_a_slab(worker.cache));
    end_worker();
}

static void with_memory_reserved_threads_keep_their_slabs(void **state)
{
    (void)state;
    assert_child_succeeds(run_reserved, NULL);
}

static void run_steps(void *unused)
{
    (void)unused;
    start_worker();
    have_done(use_medium);
    have_done(use_small);
    uint64_t seen = clock_ns();
    require(!cache_flush_unused_step());
    sleep_ms(300);
    bool flushed = cache_flush_unused_step();
    /* If the machine stalled, the pause was longer. */
    if (clock_ns() - seen < NOT_IDLE_NS)
        require(!flushed && holds_a_slab(worker.cache));
    sleep_ms(300);
    require(cache_flush_unused_step() || flushed);
    while (cache_flush_unused_step())
        ;
    require(!holds_a_slab(worker.cache));
    require(!has_further_magazines(worker.cache));
    end_worker();
}

static void upkeep_waits_until_a_thread_has_been_idle(void **state)
{
    (void)state;
    assert_child_succeeds(run_steps, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_an_idle_thread_holds_is_handed_on),
        cmocka_unit_test(without_a_barrier_nothing_is_claimed),
        cmocka_unit_test(a_thread_that_has_gone_on_keeps_its_slabs),
        cmocka_unit_test(a_cache_that_is_entered_is_not_claimed),
        cmocka_unit_test(a_cache_that_was_entered_just_before_is_let_be),
        cmocka_unit_test(a_thread_whose_cache_is_claimed_borrows_another),
        cmocka_unit_test(a_thread_that_ends_leaves_its_cache_to_the_claimer),
        cmocka_unit_test(no_claim_outlives_a_fork),
        cmocka_unit_test(who_forks_goes_on_by_a_clock_of_its_own),
        cmocka_unit_test(a_fork_counts_what_rests_in_slabs_that_are_held),
        cmocka_unit_test(memory_runs_out_when_idle_threads_hold_no_slab),
        cmocka_unit_test(memory_runs_out_for_a_thread_whose_cache_is_claimed),
        cmocka_unit_test(with_memory_reserved_threads_keep_their_slabs),
        cmocka_unit_test(upkeep_waits_until_a_thread_has_been_idle),
    };
    return run_all(tests);
}
