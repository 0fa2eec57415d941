/* test_fpmp_counters.c - figures in shared memory: children that count, die and are replaced;
 * restarts that change the list of servers.
 */
#include "unit.h"

#include <apr_general.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fpmp_counters.h"

#define ROWS 3

static apr_pool_t *process;

static void set_up(void)
{
    apr_initialize();
    apr_pool_create(&process, NULL);
}

static void tear_down(void)
{
    apr_pool_destroy(process);
    apr_terminate();
}

static fpmp_server make_server(int index, const char *label)
{
    fpmp_server server;
    memset(&server, 0, sizeof(server));
    server.index = index;
    server.address.label = label;
    return server;
}

/* The configuration of one start: pools named as their servers. */
static fpmp_counters *configure(apr_pool_t *config, fpmp_server *servers, int count)
{
    fpmp_counters *counters = NULL;
    ck_assert_int_eq(fpmp_counters_create(&counters, process, config, ROWS, count), APR_SUCCESS);
    for (int i = 0; i < count; i++) {
        fpmp_counters_name(counters, &servers[i], servers[i].address.label);
    }
    return counters;
}

typedef void child_fn(fpmp_counters *counters, fpmp_server *server);

/* Runs it in a child that takes a row; returns its pid when it has ended. */
static pid_t run_child(fpmp_counters *counters, fpmp_server *server, child_fn *code, int is_clean)
{
    pid_t pid = fork();
    if (pid == 0) {
        apr_pool_t *child = NULL;
        apr_pool_create(&child, process);
        fpmp_counters_enter(counters, child);
        code(counters, server);
        if (!is_clean) {
            raise(SIGKILL);
        }
        apr_pool_destroy(child);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    return pid;
}

static void count_some(fpmp_counters *counters, fpmp_server *server)
{
    for (int i = 0; i < 10; i++) {
        fpmp_counters_begin(counters, server);
        fpmp_counters_end(counters, server, i < 7 ? "ok" : "timeout", 100, 5);
    }
    fpmp_counters_begin(counters, server);
    fpmp_counters_end(counters, server, NULL, 0, 0);
    fpmp_counters_begin(counters, server);
}

static fpmp_count read_one(const fpmp_counters *counters, const fpmp_server *server)
{
    fpmp_count count;
    fpmp_counters_read(counters, server, &count);
    return count;
}

static int state_of(const char *name)
{
    int i = 0;
    while (strcmp(fpmp_counters_state_name(i), name)) {
        i++;
    }
    return i;
}

START_TEST(children_add_up_and_what_is_in_flight_ends_with_them)
{
    fpmp_server servers[] = {make_server(0, "a"), make_server(1, "b")};
    fpmp_counters *counters = configure(process, servers, 2);
    pid_t pid;

    pid = run_child(counters, &servers[0], count_some, 0);
    ck_assert_uint_eq(read_one(counters, &servers[0]).in_flight, 1); /* nobody has said so yet */
    fpmp_counters_leave(counters, pid);
    ck_assert_uint_eq(read_one(counters, &servers[0]).in_flight, 0);
    for (int i = 0; i < 2 * ROWS; i++) { /* clean ends give their row back themselves */
        run_child(counters, &servers[0], count_some, 1);
    }
    fpmp_count count = read_one(counters, &servers[0]);
    ck_assert_uint_eq(count.requests, (2 * ROWS + 1) * 11);
    ck_assert_uint_eq(count.states[state_of("ok")], (2 * ROWS + 1) * 7);
    ck_assert_uint_eq(count.states[state_of("timeout")], (2 * ROWS + 1) * 3);
    ck_assert_uint_eq(count.states[state_of("other")], 2 * ROWS + 1);
    ck_assert_uint_eq(count.bytes, (2 * ROWS + 1) * 1000);
    ck_assert_uint_eq(count.microseconds, (2 * ROWS + 1) * 50);
    ck_assert_uint_eq(count.in_flight, 0);
    ck_assert_uint_eq(read_one(counters, &servers[1]).requests, 0);
}
END_TEST

START_TEST(a_restart_keeps_the_figures_of_what_is_still_there_under_its_name)
{
    apr_pool_t *first = NULL;
    apr_pool_t *second = NULL;
    fpmp_server before[] = {make_server(0, "a"), make_server(1, "b")};
    fpmp_server after[40];
    static char labels[40][8];

    apr_pool_create(&first, process);
    run_child(configure(first, before, 2), &before[1], count_some, 1);
    apr_pool_destroy(first);
    for (int round = 0; round < 2; round++) { /* the first time there is room, then not */
        int count = round == 0 ? 5 : 40;
        for (int i = 0; i < count; i++) {
            snprintf(labels[i], sizeof(labels[i]), "n%d", i);
            after[i] = make_server(i, i == 3 ? "b" : labels[i]);
        }
        apr_pool_create(&second, process);
        fpmp_counters *counters = configure(second, after, count);
        ck_assert_uint_eq(read_one(counters, &after[3]).requests, 11);
        ck_assert_uint_eq(read_one(counters, &after[3]).in_flight, 0);
        ck_assert_uint_eq(read_one(counters, &after[0]).requests, 0);
        ck_assert_uint_eq(read_one(counters, &after[count - 1]).requests, 0);
        apr_pool_destroy(second);
    }
}
END_TEST

static void count_without_row(fpmp_counters *counters, fpmp_server *server)
{
    apr_pool_t *child = NULL;
    apr_pool_create(&child, process);
    for (int i = 0; i < ROWS; i++) {
        fpmp_counters_enter(counters, child); /* takes all the rest, each time */
    }
    count_some(counters, server);
}

START_TEST(without_a_row_or_memory_nothing_is_counted_and_nothing_breaks)
{
    fpmp_server server = make_server(0, "a");
    fpmp_counters *counters = configure(process, &server, 1);

    fpmp_counters_begin(counters, &server); /* the parent has no row */
    fpmp_counters_end(counters, &server, "ok", 1, 1);
    fpmp_counters_begin(NULL, &server);
    fpmp_counters_end(NULL, &server, "ok", 1, 1);
    ck_assert_uint_eq(read_one(counters, &server).requests, 0);
    run_child(counters, &server, count_without_row, 1);
    ck_assert_uint_eq(read_one(counters, &server).requests, 11);
}
END_TEST

static Suite *counters_suite(void)
{
    Suite *suite = suite_create("fpmp_counters");
    TCase *all = tcase_create("all");

    tcase_add_checked_fixture(all, set_up, tear_down);
    tcase_add_test(all, children_add_up_and_what_is_in_flight_ends_with_them);
    tcase_add_test(all, a_restart_keeps_the_figures_of_what_is_still_there_under_its_name);
    tcase_add_test(all, without_a_row_or_memory_nothing_is_counted_and_nothing_breaks);
    suite_add_tcase(suite, all);
    return suite;
}

UNIT_MAIN(counters_suite)
