/* test_fpmp_queue.c - places and the queue over processes: exact counts, order, and deaths. */
#include "unit.h"

#include "fpmp_queue.h"

#include <apr_general.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROWS     24
#define SLOTS    8
#define CHILDREN 8
#define ROUNDS   2000

static apr_pool_t *memory;
static fpmp_share *share;
static fpmp_records records;
static fpmp_stay stay;

/* What the children of a test tell. */
typedef struct told {
    _Atomic(int) inside;
    _Atomic(int) most;
    _Atomic(int) taken;
    _Atomic(int) order[CHILDREN];
    _Atomic(int) ended;
} told;

static told *tell;

static void enter(fpmp_stay *as)
{
    *as = (fpmp_stay){
        .share = share, .record = records.pools[0], .row = fpmp_share_enter(share, getpid())};
}

static void set_up(void)
{
    static const uint64_t pools[] = {11, 22};
    static const uint64_t servers[] = {33, 44};
    const fpmp_share_keys keys = {pools, 2, servers, 2, 0, 0, SLOTS};
    ck_assert_int_eq(apr_initialize(), APR_SUCCESS);
    ck_assert_int_eq(apr_pool_create(&memory, NULL), APR_SUCCESS);
    share = NULL;
    ck_assert_int_eq(fpmp_share_open(&share, memory, memory, ROWS, &keys, &records), APR_SUCCESS);
    tell = mmap(NULL, sizeof(*tell), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(tell, MAP_FAILED);
    enter(&stay);
}

static void tear_down(void)
{
    munmap(tell, sizeof(*tell));
    apr_pool_destroy(memory);
    apr_terminate();
}

static void raise_to(_Atomic(int) *highest, int value)
{
    int before = atomic_load(highest);
    while (before < value && !atomic_compare_exchange_weak(highest, &before, value)) {
    }
}

/* Until it has a place. */
static void wait_for_place(fpmp_stay *as, unsigned most)
{
    ck_assert(fpmp_queue_join(as, CHILDREN));
    for (;;) {
        uint32_t heard = fpmp_queue_listen(as);
        if (!fpmp_queue_look(as).elders && fpmp_queue_take(as, most)) {
            fpmp_queue_leave(as);
            return;
        }
        (void)fpmp_queue_sleep(as, heard, FPMP_QUEUE_LOOK);
    }
}

static void reap(int count)
{
    for (int i = 0; i < count; i++) {
        int status = 0;
        pid_t pid = wait(&status);
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child %d: %x", (int)pid,
                      (unsigned)status);
        fpmp_share_leave(share, pid);
    }
}

static void work(unsigned most)
{
    fpmp_stay own;
    enter(&own);
    for (int i = 0; i < ROUNDS; i++) {
        int has_entered = !fpmp_queue_waiting(&own) && fpmp_queue_take(&own, most);
        if (!has_entered) {
            wait_for_place(&own, most);
        }
        raise_to(&tell->most, atomic_fetch_add(&tell->inside, 1) + 1);
        atomic_fetch_add(&tell->taken, 1);
        if (i % 16 == 0) {
            usleep(50);
        }
        atomic_fetch_sub(&tell->inside, 1);
        fpmp_queue_end(&own);
    }
    _exit(0);
}

START_TEST(test_never_more_than_there_are_places)
{
    const unsigned most = (unsigned)_i + 1;
    for (int i = 0; i < CHILDREN; i++) {
        if (!fork()) {
            work(most);
        }
    }
    reap(CHILDREN);
    ck_assert_int_eq(tell->taken, CHILDREN * ROUNDS);
    ck_assert_int_le(tell->most, (int)most);
    ck_assert_uint_eq(fpmp_queue_in_flight(&stay), 0);
    ck_assert_uint_eq(fpmp_queue_waiting(&stay), 0);
}
END_TEST

static void wait_until_waiting(unsigned count)
{
    while (fpmp_queue_waiting(&stay) < count) {
        usleep(500);
    }
    /* ... and asleep, or about to look: its ticket is drawn right after it was counted. */
    fpmp_stay late = stay;
    late.ticket = 0;
    while (fpmp_queue_look(&late).elders < count) {
        usleep(500);
    }
}

static pid_t start_waiter(int number)
{
    pid_t pid = fork();
    if (!pid) {
        fpmp_stay own;
        enter(&own);
        wait_for_place(&own, 1);
        atomic_store(&tell->order[atomic_fetch_add(&tell->ended, 1)], number);
        fpmp_queue_end(&own);
        _exit(0);
    }
    return pid;
}

START_TEST(test_who_came_first_goes_first)
{
    ck_assert(fpmp_queue_take(&stay, 1));
    for (int i = 0; i < CHILDREN; i++) {
        (void)start_waiter(i);
        wait_until_waiting((unsigned)i + 1);
    }
    ck_assert(
        !fpmp_queue_take(&(fpmp_stay){.share = share, .record = stay.record, .row = stay.row}, 1));
    fpmp_queue_end(&stay);
    reap(CHILDREN);
    for (int i = 0; i < CHILDREN; i++) {
        ck_assert_int_eq(tell->order[i], i);
    }
}
END_TEST

START_TEST(test_the_dead_hold_nothing_up)
{
    ck_assert(fpmp_queue_take(&stay, 1));
    pid_t first = start_waiter(0);
    wait_until_waiting(1);
    (void)start_waiter(1);
    wait_until_waiting(2);
    kill(first, SIGKILL);
    waitpid(first, NULL, 0);
    fpmp_share_leave(share, first);
    ck_assert_uint_eq(fpmp_queue_waiting(&stay), 1);
    fpmp_queue_end(&stay);
    reap(1);
    ck_assert_int_eq(tell->order[0], 1);

    pid_t holder = fork();
    if (!holder) {
        enter(&stay);
        unsigned others = 0;
        _exit(fpmp_queue_take(&stay, 1) && fpmp_queue_count_address(&stay, 77, &others) &&
                      kill(getpid(), SIGKILL)
                  ? 1
                  : 2);
    }
    waitpid(holder, NULL, 0);
    ck_assert_uint_eq(fpmp_queue_in_flight(&stay), 1);
    (void)start_waiter(2);
    wait_until_waiting(1);
    fpmp_share_leave(share, holder);
    fpmp_queue_wake(share, stay.record);
    reap(1);
    unsigned others = 9;
    ck_assert(fpmp_queue_count_address(&stay, 77, &others));
    ck_assert_uint_eq(others, 0);
}
END_TEST

START_TEST(test_a_sleeper_is_woken)
{
    pid_t pid = fork();
    if (!pid) {
        fpmp_stay own;
        enter(&own);
        uint32_t heard = fpmp_queue_join(&own, 1) ? fpmp_queue_listen(&own) : 0;
        atomic_store(&tell->inside, 1);
        _exit(fpmp_queue_sleep(&own, heard, apr_time_from_sec(30)) ? 0 : 1);
    }
    ck_assert(fpmp_queue_take(&stay, 1));
    wait_until_waiting(1);
    while (!atomic_load(&tell->inside)) {
        usleep(500);
    }
    fpmp_queue_end(&stay); /* also if it has not fallen asleep yet */
    reap(1);
}
END_TEST

START_TEST(test_queues_of_pools_are_apart)
{
    fpmp_stay other = {.share = share, .record = records.pools[1], .row = stay.row};
    ck_assert(fpmp_queue_join(&other, 1));
    ck_assert_uint_eq(fpmp_queue_waiting(&stay), 0);
    ck_assert_uint_eq(fpmp_queue_look(&stay).elders, 0);
    ck_assert(fpmp_queue_join(&stay, 1));
    ck_assert_uint_eq(fpmp_queue_look(&stay).elders, 0);
    fpmp_stay more = {.share = share, .record = records.pools[1], .row = stay.row};
    ck_assert_msg(!fpmp_queue_join(&more, 1), "the queue of one is full");
    ck_assert_ptr_null(more.slot);
    fpmp_queue_end(&other);
    ck_assert(fpmp_queue_join(&more, 1));
    fpmp_queue_end(&more);
    fpmp_queue_end(&stay);
}
END_TEST

START_TEST(test_it_keeps_its_turn)
{
    fpmp_stay other = {.share = share, .record = stay.record, .row = stay.row};
    ck_assert(fpmp_queue_join(&stay, 9));
    fpmp_queue_leave(&stay);
    ck_assert(fpmp_queue_join(&other, 9));
    ck_assert_uint_eq(fpmp_queue_look(&stay).elders, 0);
    ck_assert(fpmp_queue_join(&stay, 9));
    ck_assert_uint_eq(fpmp_queue_look(&stay).elders, 0);
    ck_assert_uint_eq(fpmp_queue_look(&other).elders, 1);
    fpmp_queue_end(&other);
    fpmp_queue_end(&stay);
}
END_TEST

START_TEST(test_addresses)
{
    fpmp_stay other[SLOTS];
    unsigned others = 0;
    for (int i = 0; i < SLOTS; i++) {
        other[i] = (fpmp_stay){.share = share, .record = records.pools[i == 3], .row = stay.row};
        ck_assert(fpmp_queue_count_address(&other[i], i % 2 ? 5 : 6, &others));
    }
    ck_assert_uint_eq(others, 2); /* 5: four, one of them in the other pool */
    ck_assert_msg(!fpmp_queue_count_address(&stay, 5, &others), "no slot is left");
    ck_assert_msg(!fpmp_queue_join(&stay, 99), "likewise");
    ck_assert_uint_eq(fpmp_queue_waiting(&stay), 0);
    for (int i = 0; i < SLOTS; i++) {
        fpmp_queue_end(&other[i]);
    }
    ck_assert(fpmp_queue_count_address(&stay, 5, &others));
    ck_assert_uint_eq(others, 0);
    fpmp_queue_end(&stay);
}
END_TEST

/* What one look at all addresses costs: 32 children of 256 slots that were all used. Printed only.
 */
START_TEST(test_cost_of_a_look)
{
    enum { LOOKS = 2000, MANY_ROWS = 32, MANY_SLOTS = 256 };
    static const uint64_t pools[] = {11};
    const fpmp_share_keys keys = {pools, 1, pools, 1, 0, 0, MANY_SLOTS};
    fpmp_share *large = NULL;
    fpmp_records of;
    ck_assert_int_eq(fpmp_share_open(&large, memory, memory, MANY_ROWS, &keys, &of), APR_SUCCESS);
    for (int row = 0; row < MANY_ROWS; row++) {
        ck_assert_int_eq(fpmp_share_enter(large, 1000 + row), row);
        for (int i = 0; i < MANY_SLOTS - 1; i++) {
            fpmp_slot *slot = fpmp_share_claim(large, row, fpmp_share_id(large, of.pools[0]));
            atomic_store(&slot->address, (uint64_t)(row * MANY_SLOTS + i + 1));
        }
    }
    fpmp_stay one = {.share = large, .record = of.pools[0], .row = 0};
    struct timespec from;
    struct timespec to;
    unsigned others = 0;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < LOOKS; i++) {
        ck_assert(fpmp_queue_count_address(&one, 3, &others));
        fpmp_queue_forget_address(&one);
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    ck_assert_uint_eq(others, 1);
    double each =
        ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / LOOKS;
    fprintf(stderr, "# a look at %d slots: %.1f us\n", MANY_ROWS * MANY_SLOTS, each / 1000);
}
END_TEST

static Suite *queue_suite(void)
{
    Suite *suite = suite_create("fpmp_queue");
    TCase *tests = tcase_create("queue");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, test_never_more_than_there_are_places, 0, 3);
    tcase_add_test(tests, test_who_came_first_goes_first);
    tcase_add_test(tests, test_the_dead_hold_nothing_up);
    tcase_add_test(tests, test_a_sleeper_is_woken);
    tcase_add_test(tests, test_queues_of_pools_are_apart);
    tcase_add_test(tests, test_it_keeps_its_turn);
    tcase_add_test(tests, test_addresses);
    tcase_add_test(tests, test_cost_of_a_look);
    suite_add_tcase(suite, tests);
    return suite;
}

UNIT_MAIN(queue_suite)
