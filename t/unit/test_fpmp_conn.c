/* test_fpmp_conn.c - kept connections and opening with a deadline, on sockets of the test's own. */
#include "unit.h"

#include "fpmp_conn.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define KEEP apr_time_from_sec(30)

static apr_pool_t *memory;
static fpmp_connections *table;
static fpmp_server server;
static char folder[40];
static const char *socket_path;
static int listener;

static void set_up(void)
{
    ck_assert_int_eq(apr_initialize(), APR_SUCCESS);
    ck_assert_int_eq(apr_pool_create(&memory, NULL), APR_SUCCESS);
    strcpy(folder, "/tmp/fpmpool-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    server = (fpmp_server){.index = 1};
    ck_assert_ptr_null(fpmp_address_imply(&server.address, folder, "a", memory));
    socket_path = server.address.path;
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(
        bind(listener, (struct sockaddr *)&server.address.socket, server.address.socket_length), 0);
    ck_assert_int_eq(listen(listener, 200), 0);
    ck_assert_int_eq(fpmp_conn_create(&table, memory, NULL, 2, 1), APR_SUCCESS);
}

static void tear_down(void)
{
    close(listener);
    unlink(socket_path);
    rmdir(folder);
    apr_pool_destroy(memory);
    apr_terminate();
}

static fpmp_conn *open_one(void)
{
    fpmp_conn *connection = NULL;
    ck_assert_int_eq(fpmp_conn_open(table, &server, apr_time_from_sec(1), &connection),
                     APR_SUCCESS);
    return connection;
}

static int is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

START_TEST(test_last_in_first_out)
{
    fpmp_conn *first = open_one();
    fpmp_conn *second = open_one();
    ck_assert_ptr_null(fpmp_conn_take(table, &server, KEEP, 100));
    fpmp_conn_keep(table, first, KEEP, 100);
    fpmp_conn_keep(table, second, KEEP, 200);
    ck_assert_ptr_eq(fpmp_conn_take(table, &server, KEEP, 300), second);
    ck_assert_ptr_eq(fpmp_conn_take(table, &server, KEEP, 300), first);
    ck_assert_ptr_null(fpmp_conn_take(table, &server, KEEP, 300));
    fpmp_conn_discard(table, first);
    fpmp_conn_discard(table, second);
}
END_TEST

START_TEST(test_old_ones_are_closed)
{
    fpmp_conn *first = open_one();
    fpmp_conn *second = open_one();
    int old = first->fd;
    fpmp_conn_keep(table, first, KEEP, 100);
    fpmp_conn_keep(table, second, KEEP, 100 + KEEP);
    ck_assert_ptr_eq(fpmp_conn_take(table, &server, KEEP, 101 + KEEP), second);
    ck_assert(!is_open(old));
    old = second->fd;
    fpmp_conn_keep(table, second, 0, 200 + KEEP);
    ck_assert(!is_open(old));
}
END_TEST

START_TEST(test_count_is_bounded)
{
    fpmp_conn *connections[FPMP_KEPT_MAX + 1];
    for (int i = 0; i <= FPMP_KEPT_MAX; i++) {
        connections[i] = open_one();
    }
    int oldest = connections[0]->fd;
    for (int i = 0; i <= FPMP_KEPT_MAX; i++) {
        fpmp_conn_keep(table, connections[i], KEEP, 100 + i);
    }
    ck_assert(!is_open(oldest));
    int kept = 0;
    for (fpmp_conn *at; (at = fpmp_conn_take(table, &server, KEEP, 1000)); kept++) {
        fpmp_conn_discard(table, at);
    }
    ck_assert_int_eq(kept, FPMP_KEPT_MAX);
}
END_TEST

static apr_status_t see_if_open(void *data)
{
    int *fd = data;
    *fd = is_open(*fd);
    return APR_SUCCESS;
}

/* A child's cleanups run when its subpools, where the structs lie, are gone. */
START_TEST(test_kept_ones_are_closed_before_their_memory_goes)
{
    static fpmp_connections *own;
    apr_pool_t *child = NULL;
    fpmp_conn *connection = NULL;
    ck_assert_int_eq(apr_pool_create(&child, memory), APR_SUCCESS);
    ck_assert_int_eq(fpmp_conn_create(&own, child, NULL, 2, 0), APR_SUCCESS);
    ck_assert_int_eq(fpmp_conn_open(own, &server, apr_time_from_sec(1), &connection), APR_SUCCESS);
    int fd_then_open = connection->fd;
    fpmp_conn_keep(own, connection, KEEP, 100);
    apr_pool_cleanup_register(child, &fd_then_open, see_if_open, apr_pool_cleanup_null);
    apr_pool_destroy(child);
    ck_assert_int_eq(fd_then_open, 0);
}
END_TEST

/* A request that ends after its child's pool, as an HTTP/2 worker's may. */
START_TEST(test_late_ones_are_closed)
{
    static fpmp_connections *own;
    apr_pool_t *child = NULL;
    fpmp_conn *late[2] = {NULL, NULL};
    int fd[2];
    ck_assert_int_eq(apr_pool_create(&child, memory), APR_SUCCESS);
    ck_assert_int_eq(fpmp_conn_create(&own, child, NULL, 2, 1), APR_SUCCESS);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(fpmp_conn_open(own, &server, apr_time_from_sec(1), &late[i]), APR_SUCCESS);
        fd[i] = late[i]->fd;
    }
    apr_pool_destroy(child);
    memset(apr_palloc(memory, 8000), 0x5a, 8000); /* what was the child's is somebody else's */
    ck_assert(is_open(fd[0]) && is_open(fd[1]));
    fpmp_conn_keep(own, late[0], KEEP, 100);
    fpmp_conn_discard(own, late[1]);
    ck_assert(!is_open(fd[0]) && !is_open(fd[1]));
    ck_assert_ptr_null(fpmp_conn_take(own, &server, KEEP, 200));
}
END_TEST

START_TEST(test_descriptor_is_closed_on_exec)
{
    fpmp_conn *connection = open_one();
    ck_assert_int_ne(fcntl(connection->fd, F_GETFD) & FD_CLOEXEC, 0);
    fpmp_conn_discard(table, connection);
}
END_TEST

START_TEST(test_knows_a_closed_connection)
{
    fpmp_conn *connection = open_one();
    int peer = accept(listener, NULL, NULL);
    ck_assert(fpmp_conn_is_alive(connection));
    close(peer);
    ck_assert(!fpmp_conn_is_alive(connection));
    fpmp_conn_discard(table, connection);
}
END_TEST

START_TEST(test_full_queue_ends_in_time)
{
    fpmp_conn *connection = NULL;
    ck_assert_int_eq(listen(listener, 0), 0);
    apr_status_t status = APR_SUCCESS;
    apr_time_t begin = 0;
    for (int i = 0; i < 4 && status == APR_SUCCESS; i++) {
        begin = apr_time_now();
        status = fpmp_conn_open(table, &server, 50000, &connection);
    }
    ck_assert_int_eq(status, APR_TIMEUP);
    ck_assert_int_ge(apr_time_now() - begin, 40000);
    ck_assert_int_lt(apr_time_now() - begin, apr_time_from_sec(5));
}
END_TEST

static void ignore_signal(int number)
{
    (void)number;
}

START_TEST(test_signal_is_no_answer)
{
    struct sigaction action = {.sa_handler = ignore_signal};
    struct itimerval every = {{0, 10000}, {0, 10000}};
    fpmp_conn *connection = NULL;
    ck_assert_int_eq(listen(listener, 0), 0);
    fpmp_conn *taken = open_one(); /* the one place in the queue */
    ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &every, NULL), 0);
    apr_time_t begin = apr_time_now();
    ck_assert_int_eq(fpmp_conn_open(table, &server, 200000, &connection), APR_TIMEUP);
    ck_assert_int_ge(apr_time_now() - begin, 200000);
    every = (struct itimerval){{0, 0}, {0, 0}};
    ck_assert_int_eq(setitimer(ITIMER_REAL, &every, NULL), 0);
    fpmp_conn_discard(table, taken);
}
END_TEST

START_TEST(test_names_why_it_cannot_connect)
{
    fpmp_conn *connection = NULL;
    unlink(server.address.path);
    ck_assert_int_eq(fpmp_conn_open(table, &server, 50000, &connection), ENOENT);
    ck_assert_ptr_null(fpmp_address_parse(&server.address, "tcp://127.0.0.1:1", memory));
    ck_assert_int_eq(fpmp_conn_open(table, &server, apr_time_from_sec(5), &connection),
                     ECONNREFUSED);
}
END_TEST

static Suite *conn_suite(void)
{
    Suite *suite = suite_create("fpmp_conn");
    TCase *cases = tcase_create("conn");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, test_last_in_first_out);
    tcase_add_test(cases, test_old_ones_are_closed);
    tcase_add_test(cases, test_count_is_bounded);
    tcase_add_test(cases, test_kept_ones_are_closed_before_their_memory_goes);
    tcase_add_test(cases, test_late_ones_are_closed);
    tcase_add_test(cases, test_descriptor_is_closed_on_exec);
    tcase_add_test(cases, test_knows_a_closed_connection);
    tcase_add_test(cases, test_full_queue_ends_in_time);
    tcase_add_test(cases, test_signal_is_no_answer);
    tcase_add_test(cases, test_names_why_it_cannot_connect);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(conn_suite)
