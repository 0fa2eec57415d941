/* test_fpmp_share.c - what children share: counts that survive their deaths, records that survive
 * configurations, a lease that moves on. */
#include "unit.h"

#include "fpmp_share.h"

#include <apr_general.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROWS 12

static apr_pool_t *memory;
static fpmp_share *share;
static fpmp_records records;
static uint64_t keys[300];

/* As many pools as servers, under the same keys. */
static void open_with(int count)
{
    fpmp_share_keys names = {keys, count, keys, count, 0, 0, 0};
    ck_assert_int_eq(fpmp_share_open(&share, memory, memory, ROWS, &names, &records), APR_SUCCESS);
}

static fpmp_cell *of_server(int index)
{
    return records.servers[index]->in_flight;
}

static unsigned under_way(int index)
{
    return fpmp_share_sum(share, of_server(index));
}

static void set_up(void)
{
    ck_assert_int_eq(apr_initialize(), APR_SUCCESS);
    ck_assert_int_eq(apr_pool_create(&memory, NULL), APR_SUCCESS);
    for (int i = 0; i < 300; i++) {
        keys[i] = (uint64_t)i + 1;
    }
    open_with(2);
}

static void tear_down(void)
{
    share = NULL;
    apr_pool_destroy(memory);
    apr_terminate();
}

START_TEST(test_counts_of_a_killed_child_are_cleared)
{
    pid_t child = fork();
    if (!child) {
        int row = fpmp_share_enter(share, getpid());
        fpmp_share_count(of_server(0), row, 1);
        fpmp_share_count(of_server(0), row, 1);
        fpmp_share_count(of_server(1), row, 1);
        pause();
    }
    int row = fpmp_share_enter(share, getpid());
    fpmp_share_count(of_server(0), row, 1);
    while (under_way(1) < 1) {
        usleep(1000);
    }
    ck_assert_uint_eq(under_way(0), 3);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    fpmp_share_leave(share, child);
    ck_assert_uint_eq(under_way(0), 1);
    ck_assert_uint_eq(under_way(1), 0);
    fpmp_share_count(of_server(0), row, -1);
    ck_assert_uint_eq(under_way(0), 0);
}
END_TEST

START_TEST(test_a_pool_counts_for_itself)
{
    fpmp_pool_record *pool = records.pools[0];
    fpmp_cell *waiting = fpmp_share_waiting(share, pool);
    for (int child = 0; child < ROWS; child++) {
        int row = fpmp_share_enter(share, 1000 + child);
        fpmp_share_count(pool->in_flight, row, 1);
        fpmp_share_count(waiting, row, 1);
        fpmp_share_count(waiting, row, 1);
        fpmp_share_count(of_server(0), row, 1);
        fpmp_share_count(of_server(0), row, -1);
    }
    ck_assert_uint_eq(fpmp_share_sum(share, pool->in_flight), ROWS);
    ck_assert_uint_eq(fpmp_share_sum(share, waiting), 2 * ROWS);
    ck_assert_uint_eq(under_way(0), 0);
    ck_assert_uint_eq(fpmp_share_sum(share, records.pools[1]->in_flight), 0);
    fpmp_share_leave(share, 1003);
    ck_assert_uint_eq(fpmp_share_sum(share, pool->in_flight), ROWS - 1);
    ck_assert_uint_eq(fpmp_share_sum(share, waiting), 2 * (ROWS - 1));
}
END_TEST

START_TEST(test_ten_thousand_names_and_four_hundred_children)
{
    enum { NAMES = 10000, ROWS_OF_400 = 2 * 400 + 8 };
    uint64_t *many = apr_palloc(memory, NAMES * sizeof(*many));
    for (int i = 0; i < NAMES; i++) {
        many[i] = 1000 + (uint64_t)i;
    }
    fpmp_share_keys names = {many, NAMES, many, NAMES, 0, 0, 0};
    fpmp_share *large = NULL;
    for (int configuration = 0; configuration < 3; configuration++) {
        ck_assert_int_eq(fpmp_share_open(&large, memory, memory, ROWS_OF_400, &names, &records),
                         APR_SUCCESS);
    }
    ck_assert_uint_le(fpmp_share_size(large), 128 * 1024 * 1024);
    fpmp_share_keys found = {NULL, 0, NULL, 0, NAMES, 0, 0}; /* as many that come at run time */
    fpmp_share *other = NULL;
    ck_assert_int_eq(fpmp_share_open(&other, memory, memory, ROWS_OF_400, &found, &records),
                     APR_SUCCESS);
    ck_assert_uint_le(fpmp_share_size(other), 128 * 1024 * 1024);
}
END_TEST

START_TEST(test_rows_are_used_again)
{
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < ROWS; i++) {
            ck_assert_int_ne(fpmp_share_enter(share, 1000 + i), FPMP_NO_ROW);
        }
        ck_assert_int_eq(fpmp_share_enter(share, 5000), FPMP_NO_ROW);
        fpmp_share_count(of_server(0), FPMP_NO_ROW, 1); /* counts nothing */
        ck_assert_uint_eq(under_way(0), 0);
        for (int i = 0; i < ROWS; i++) {
            fpmp_share_leave(share, 1000 + i);
        }
    }
}
END_TEST

START_TEST(test_a_process_id_that_comes_again_starts_with_nothing)
{
    int row = fpmp_share_enter(share, 1000);
    fpmp_share_count(of_server(0), row, 1);
    ck_assert_int_ne(fpmp_share_enter(share, 1000), FPMP_NO_ROW);
    ck_assert_uint_eq(under_way(0), 0);
}
END_TEST

START_TEST(test_records_survive_a_configuration)
{
    fpmp_record *second = records.servers[1];
    atomic_store(&second->health, 77);
    keys[0] = 50; /* a new one in the place of the first */
    open_with(2);
    ck_assert_ptr_eq(records.servers[1], second);
    ck_assert_uint_eq(atomic_load(&records.servers[1]->health), 77);
    ck_assert_uint_eq(atomic_load(&records.servers[0]->health), 0);
    keys[0] = 2;
    keys[1] = 1; /* another order; the old first is still remembered */
    open_with(2);
    ck_assert_ptr_eq(records.servers[0], second);
}
END_TEST

START_TEST(test_old_records_are_given_away_last)
{
    int row = fpmp_share_enter(share, 1000);
    fpmp_record *first = records.servers[0];
    fpmp_share_count(first->in_flight, row, 1);
    for (int round = 0; round < 40; round++) {
        keys[0] = 100 + (uint64_t)round;
        keys[1] = 200 + (uint64_t)round;
        open_with(2);
        ck_assert_ptr_ne(records.servers[0], first);
        ck_assert_ptr_ne(records.servers[1], first);
        ck_assert_ptr_ne(records.servers[0], records.servers[1]);
    }
}
END_TEST

START_TEST(test_many_new_servers)
{
    fpmp_share *before = share;
    atomic_store(&records.servers[1]->health, 77);
    atomic_store(&records.pools[1]->turn, 5);
    fpmp_counters_add(&records.servers[1]->counters, "ok", 10, 20);
    fpmp_share_count(of_server(1), fpmp_share_enter(share, 1000), 1);
    open_with(300);
    ck_assert_ptr_ne(share, before);
    for (int i = 0; i < 300; i++) {
        ck_assert_uint_eq(records.servers[i]->head.key, keys[i]);
        ck_assert_uint_eq(atomic_load(&records.servers[i]->health), i == 1 ? 77 : 0);
        ck_assert_uint_eq(atomic_load(&records.pools[i]->turn), i == 1 ? 5 : 0);
        ck_assert_uint_eq(under_way(i), 0); /* the old children count on in the old memory */
    }
    fpmp_count count;
    fpmp_counters_read(&records.servers[1]->counters, &count);
    ck_assert_uint_eq(count.requests, 1);
    ck_assert_uint_eq(count.bytes, 10);
}
END_TEST

static uint64_t requests_of(int pool, apr_time_t now)
{
    fpmp_minute_counts minutes[FPMP_HISTORY_MINUTES];
    fpmp_history_read(fpmp_share_history(share, records.pools[pool]), now, minutes);
    return minutes[FPMP_HISTORY_MINUTES - 1].requests;
}

/* What a pool was asked stays with its name: when the memory grows, and when names come and go. */
START_TEST(test_history)
{
    apr_time_t now = apr_time_from_sec(7200);
    atomic_store(&records.servers[1]->admin, 1);
    fpmp_share_end(share, records.pools[1], records.servers[1], "ok", 10, 20, now);
    fpmp_share_end(share, records.pools[1], records.servers[1], "lost", 10, 20, now);
    ck_assert_uint_eq(requests_of(0, now), 0);
    ck_assert_uint_eq(requests_of(1, now), 2);
    open_with(300);
    ck_assert_uint_eq(requests_of(1, now), 2);
    ck_assert_uint_eq(requests_of(2, now), 0);
    ck_assert_uint_eq(atomic_load(&records.servers[1]->admin), 1);
    ck_assert_uint_eq(atomic_load(&records.servers[2]->admin), 0);
    for (int round = 1; round < 9; round++) {
        for (int i = 0; i < 300; i++) {
            keys[i] = (uint64_t)(1000 * round + i);
        }
        open_with(300);
        for (int i = 0; i < 300; i++) {
            ck_assert_uint_eq(requests_of(i, now), 0);
            ck_assert_uint_eq(atomic_load(&records.servers[i]->admin), 0);
            fpmp_share_end(share, records.pools[i], records.servers[i], "ok", 1, 2, now);
        }
    }
}
END_TEST

START_TEST(test_keys_know_pool_and_server)
{
    ck_assert(fpmp_share_key("a", "bc") != fpmp_share_key("ab", "c"));
    ck_assert(fpmp_share_key("a", "b") == fpmp_share_key("a", "b"));
}
END_TEST

START_TEST(test_complains_once)
{
    fpmp_complaint about = {0};
    unsigned suppressed = 9;
    apr_time_t now = apr_time_from_sec(1000);
    ck_assert_int_eq(fpmp_share_calm(&about), 0);
    ck_assert_int_eq(fpmp_share_complain(&about, now, &suppressed), 1);
    ck_assert_uint_eq(suppressed, 0);
    ck_assert_int_eq(fpmp_share_complain(&about, now + 1, &suppressed), 0);
    ck_assert_int_eq(fpmp_share_complain(&about, now + 2, &suppressed), 0);
    ck_assert_int_eq(fpmp_share_complain(&about, now + apr_time_from_sec(10), &suppressed), 1);
    ck_assert_uint_eq(suppressed, 2);
    ck_assert_int_eq(fpmp_share_calm(&about), 1);
    ck_assert_int_eq(fpmp_share_calm(&about), 0);
}
END_TEST

START_TEST(test_lease)
{
    uint64_t until = 2000;
    ck_assert_int_eq(fpmp_share_lease(share, 11, 1000, &until), 1);
    until = 3000;
    ck_assert_int_eq(fpmp_share_lease(share, 22, 1500, &until), 0);
    ck_assert_uint_eq(until, 2000);
    until = 2500;
    ck_assert_int_eq(fpmp_share_lease(share, 11, 1900, &until), 1); /* renewed */
    until = 3000;
    ck_assert_int_eq(fpmp_share_lease(share, 22, 2400, &until), 0);
    until = 3500;
    ck_assert_int_eq(fpmp_share_lease(share, 22, 2500, &until), 1); /* the other is late */
    fpmp_share_end_lease(share, 11);                                /* it is not his any more */
    until = 4000;
    ck_assert_int_eq(fpmp_share_lease(share, 11, 2600, &until), 0);
    fpmp_share_leave(share, 22);
    until = 4000;
    ck_assert_int_eq(fpmp_share_lease(share, 11, 2600, &until), 1); /* at once */
}
END_TEST

static Suite *share_suite(void)
{
    Suite *suite = suite_create("fpmp_share");
    TCase *cases = tcase_create("share");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, test_counts_of_a_killed_child_are_cleared);
    tcase_add_test(cases, test_a_pool_counts_for_itself);
    tcase_add_test(cases, test_ten_thousand_names_and_four_hundred_children);
    tcase_add_test(cases, test_rows_are_used_again);
    tcase_add_test(cases, test_a_process_id_that_comes_again_starts_with_nothing);
    tcase_add_test(cases, test_records_survive_a_configuration);
    tcase_add_test(cases, test_old_records_are_given_away_last);
    tcase_add_test(cases, test_many_new_servers);
    tcase_add_test(cases, test_history);
    tcase_add_test(cases, test_keys_know_pool_and_server);
    tcase_add_test(cases, test_complains_once);
    tcase_add_test(cases, test_lease);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(share_suite)
