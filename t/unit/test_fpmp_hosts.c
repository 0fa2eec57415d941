/* test_fpmp_hosts.c - addresses of host names: order, versions, and that nobody reads a half list.
 */
#include "unit.h"

#include "fpmp_hosts.h"

#include <apr_general.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static apr_pool_t *memory;
static fpmp_hosts *names;
static fpmp_server server = {.name_place = 2};

static void set_up(void)
{
    ck_assert_int_eq(apr_initialize(), APR_SUCCESS);
    ck_assert_int_eq(apr_pool_create(&memory, NULL), APR_SUCCESS);
    ck_assert_int_eq(fpmp_hosts_open(&names, memory, 3), APR_SUCCESS);
    server.address.port = 9000;
}

static void tear_down(void)
{
    apr_pool_destroy(memory);
    apr_terminate();
}

static void add(fpmp_addresses *to, const char *text)
{
    fpmp_socket *at = &to->sockets[to->count++];
    memset(at, 0, sizeof(*at));
    if (inet_pton(AF_INET, text, &at->four.sin_addr) == 1) {
        at->four.sin_family = AF_INET;
    } else {
        ck_assert_int_eq(inet_pton(AF_INET6, text, &at->six.sin6_addr), 1);
        at->six.sin6_family = AF_INET6;
    }
}

static const char *show(const fpmp_addresses *list)
{
    static char text[500];
    text[0] = '\0';
    for (int i = 0; i < list->count; i++) {
        const fpmp_socket *at = &list->sockets[i];
        int is_six = at->any.sa_family == AF_INET6;
        strcat(text, i ? " " : "");
        inet_ntop(at->any.sa_family,
                  is_six ? (const void *)&at->six.sin6_addr : (const void *)&at->four.sin_addr,
                  text + strlen(text), INET6_ADDRSTRLEN);
        ck_assert_int_eq(ntohs(is_six ? at->six.sin6_port : at->four.sin_port), 9000);
    }
    return text;
}

/* What the name service said -> what is used, and whether that is a change. */
static const struct {
    const char *said[4];
    const char *used;
    int is_change;
} looks[] = {
    {{"10.0.0.2", "10.0.0.1"}, "10.0.0.1 10.0.0.2", 1},
    {{"10.0.0.1", "10.0.0.2"}, "10.0.0.1 10.0.0.2", 0},
    {{"10.0.0.2", "10.0.0.1", "10.0.0.2"}, "10.0.0.1 10.0.0.2", 0},
    {{"10.0.0.2"}, "10.0.0.2", 1},
    {{"::1", "10.0.0.2"}, "10.0.0.2 ::1", 1},
    {{"10.0.0.2", "::2"}, "10.0.0.2 ::2", 1},
    {{"fe80::1", "fe80::1"}, "fe80::1", 1},
};

START_TEST(test_changes)
{
    uint32_t version = 0;
    for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++) {
        fpmp_addresses found = {.count = 0};
        for (int at = 0; at < 4 && looks[i].said[at]; at++) {
            add(&found, looks[i].said[at]);
        }
        ck_assert_int_eq(fpmp_hosts_publish(names, &server, &found), looks[i].is_change);
        fpmp_addresses read;
        fpmp_hosts_get(names, &server, &read);
        ck_assert_str_eq(show(&read), looks[i].used);
        ck_assert((read.version != version) == looks[i].is_change);
        ck_assert(read.version == fpmp_hosts_version(names, &server));
        version = read.version;
    }
}
END_TEST

START_TEST(test_who_is_no_name)
{
    fpmp_server number = {.name_place = 0};
    fpmp_server local = {.name_place = 0};
    fpmp_addresses read;
    ck_assert_ptr_null(fpmp_address_parse(&number.address, "tcp://127.0.0.1:9000", memory));
    fpmp_hosts_get(names, &number, &read);
    ck_assert_str_eq(show(&read), "127.0.0.1");
    ck_assert_uint_eq(fpmp_hosts_version(names, &number), 0);
    fpmp_hosts_get(NULL, &number, &read);
    ck_assert_str_eq(show(&read), "127.0.0.1");
    ck_assert_ptr_null(fpmp_address_parse(&local.address, "unix:/run/a.sock", memory));
    fpmp_hosts_get(names, &local, &read);
    ck_assert_int_eq(read.count, 0);
    fpmp_hosts_get(names, &server, &read); /* nobody has looked yet */
    ck_assert_int_eq(read.count, 0);
    ck_assert_uint_eq(read.version, 0);
}
END_TEST

static _Atomic(int) is_over;

static void *publish_often(void *unused)
{
    for (int i = 0; !is_over; i++) {
        fpmp_addresses found = {.count = 0};
        for (int at = 0; at < 1 + i % FPMP_ADDRESSES_MAX; at++) { /* the count says which */
            add(&found, "10.0.0.0");
            found.sockets[at].four.sin_addr.s_addr =
                htonl((uint32_t)(10 << 24 | i % FPMP_ADDRESSES_MAX << 8 | at));
        }
        (void)fpmp_hosts_publish(names, &server, &found);
    }
    return unused;
}

/* Two who publish at once, as after a lease that was lost. */
START_TEST(test_nobody_reads_half)
{
    pthread_t threads[2];
    fpmp_addresses read;
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, publish_often, NULL), 0);
    }
    for (int i = 0; i < 100000; i++) {
        fpmp_hosts_get(names, &server, &read);
        for (int at = 0; at < read.count; at++) {
            ck_assert_uint_eq(ntohl(read.sockets[at].four.sin_addr.s_addr),
                              (uint32_t)(10 << 24 | (read.count - 1) << 8 | at));
        }
    }
    is_over = 1;
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
}
END_TEST

START_TEST(test_lease)
{
    uint64_t until = 2000;
    ck_assert(fpmp_hosts_lease(names, 100, 1000, &until));
    until = 2500;
    ck_assert(!fpmp_hosts_lease(names, 200, 1500, &until));
    ck_assert_uint_eq(until, 2000);
    until = 3000;
    ck_assert(fpmp_hosts_lease(names, 100, 1900, &until)); /* renewed */
    until = 3500;
    ck_assert(!fpmp_hosts_lease(names, 200, 2100, &until));
    until = 4000;
    ck_assert(fpmp_hosts_lease(names, 200, 3000, &until)); /* it was killed */
    fpmp_hosts_end_lease(names, 100);                      /* not its own any more */
    until = 5000;
    ck_assert(!fpmp_hosts_lease(names, 100, 3500, &until));
    fpmp_hosts_end_lease(names, 200);
    until = 5000;
    ck_assert(fpmp_hosts_lease(names, 100, 3500, &until));
}
END_TEST

static Suite *hosts_suite(void)
{
    Suite *suite = suite_create("fpmp_hosts");
    TCase *cases = tcase_create("names");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, test_changes);
    tcase_add_test(cases, test_who_is_no_name);
    tcase_add_test(cases, test_nobody_reads_half);
    tcase_add_test(cases, test_lease);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(hosts_suite)
