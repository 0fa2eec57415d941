/* test_fpmp_select.c - names, addresses, and which limits and connections a request gets. */
#include "unit.h"

#include "fpmp_select.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

static apr_pool_t *memory;

static void set_up(void)
{
    ck_assert_int_eq(apr_initialize(), APR_SUCCESS);
    ck_assert_int_eq(apr_pool_create(&memory, NULL), APR_SUCCESS);
}

static void tear_down(void)
{
    apr_pool_destroy(memory);
    apr_terminate();
}

START_TEST(test_pool_names)
{
    static const char *const good[] = {"www", "a", "A-b_c.9", "0", "example.org"};
    static const char *const bad[] = {"", ".", "..", ".a", "a/b", "a b", "a\n", "\xc3\xa4", "a:b"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_msg(fpmp_address_is_pool_name(good[i]), "%s", good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(!fpmp_address_is_pool_name(bad[i]), "%s", bad[i]);
    }
    char name[FPMP_POOL_NAME_MAX + 2];
    memset(name, 'n', sizeof(name));
    name[FPMP_POOL_NAME_MAX + 1] = '\0';
    ck_assert(!fpmp_address_is_pool_name(name));
    name[FPMP_POOL_NAME_MAX] = '\0';
    ck_assert(fpmp_address_is_pool_name(name));
}
END_TEST

START_TEST(test_unix_address)
{
    fpmp_address address;
    ck_assert_ptr_null(fpmp_address_parse(&address, "unix:/run/a.sock", memory));
    ck_assert_str_eq(address.label, "unix:/run/a.sock");
    ck_assert_str_eq(address.path, "/run/a.sock");
    const struct sockaddr_un *name = (const struct sockaddr_un *)&address.socket;
    ck_assert_int_eq(name->sun_family, AF_UNIX);
    ck_assert_str_eq(name->sun_path, "/run/a.sock");
    ck_assert_ptr_null(fpmp_address_imply(&address, "/run/fpmpool", "www", memory));
    ck_assert_str_eq(address.path, "/run/fpmpool/www.sock");
}
END_TEST

START_TEST(test_tcp_address)
{
    fpmp_address address;
    ck_assert_ptr_null(fpmp_address_parse(&address, "tcp://127.0.0.1:9000", memory));
    const struct sockaddr_in *four = (const struct sockaddr_in *)&address.socket;
    ck_assert_int_eq(four->sin_family, AF_INET);
    ck_assert_int_eq(ntohs(four->sin_port), 9000);
    ck_assert_ptr_null(fpmp_address_parse(&address, "tcp://[::1]:80", memory));
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address.socket;
    ck_assert_int_eq(six->sin6_family, AF_INET6);
    ck_assert_int_eq(ntohs(six->sin6_port), 80);
    ck_assert_ptr_null(fpmp_address_parse(&address, "TCP://php.example:9000", memory));
    ck_assert_str_eq(address.host, "php.example");
    ck_assert_int_eq((int)address.socket_length, 0);
    ck_assert_ptr_null(address.path);
}
END_TEST

START_TEST(test_bad_address)
{
    static const char *const bad[] = {"",          "unix:",         "unix:a",     "/run/a",
                                      "tcp://",    "tcp://host",    "tcp://:90",  "tcp://h:0",
                                      "tcp://h:x", "tcp://h:70000", "http://h:1", "tcp://::1",
                                      "9000",      "tcp://[::1]:"};
    fpmp_address address;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(fpmp_address_parse(&address, bad[i], memory) != NULL, "%s", bad[i]);
    }
    char *path = apr_palloc(memory, 200);
    memset(path, 'p', 199);
    path[199] = '\0';
    memcpy(path, "unix:/", 6);
    ck_assert_ptr_nonnull(strstr(fpmp_address_parse(&address, path, memory), "107"));
}
END_TEST

START_TEST(test_selects_by_name)
{
    apr_hash_t *pools = apr_hash_make(memory);
    fpmp_pool pool = {.name = "www"};
    apr_hash_set(pools, "www", APR_HASH_KEY_STRING, &pool);
    ck_assert_ptr_eq(fpmp_select_pool(pools, "www"), &pool);
    ck_assert_ptr_null(fpmp_select_pool(pools, "ww"));
    ck_assert_ptr_eq(fpmp_select_server(&pool), &pool.server);
}
END_TEST

START_TEST(test_most_specific_limit_counts)
{
    fpmp_timeouts server = {
        .connect = 11, .connect_set = 1, .first = 12, .first_set = 1, .idle = 13, .idle_set = 1};
    fpmp_timeouts section = {.idle = 33, .idle_set = 1};
    fpmp_pool pool = {.timeouts = {.first = 22, .first_set = 1, .idle = 23, .idle_set = 1}};
    fpmp_timeouts result = fpmp_select_timeouts(&section, &pool, &server);
    ck_assert_int_eq(result.connect, 11);
    ck_assert_int_eq(result.first, 22);
    ck_assert_int_eq(result.idle, 33);
    ck_assert_int_eq(result.keep, FPMP_KEEP_DEFAULT);
}
END_TEST

/* type, is it TCP, reuse=, idempotent, body, streamed -> may it go on a kept connection? */
static const struct {
    fpmp_server_type type;
    int is_tcp, reuses, is_idempotent, has_body, is_streamed, expected;
} reuse[] = {
    {FPMP_TYPE_FPMPOOL, 0, 1, 1, 0, 0, 1}, {FPMP_TYPE_FPMPOOL, 0, 1, 0, 1, 0, 1},
    {FPMP_TYPE_FPMPOOL, 0, 1, 0, 1, 1, 0}, {FPMP_TYPE_FPMPOOL, 0, 0, 1, 0, 0, 0},
    {FPMP_TYPE_FPMPOOL, 1, 1, 1, 0, 0, 1}, {FPMP_TYPE_FPMPOOL, 1, 1, 0, 0, 0, 0},
    {FPMP_TYPE_FPMPOOL, 1, 1, 1, 1, 0, 0}, {FPMP_TYPE_FPM, 0, 1, 1, 0, 0, 1},
    {FPMP_TYPE_FPM, 0, 1, 0, 0, 0, 0},     {FPMP_TYPE_FPM, 0, 1, 1, 1, 0, 0},
    {FPMP_TYPE_FPM, 0, 0, 1, 0, 0, 0},     {FPMP_TYPE_GENERIC, 0, 1, 0, 1, 0, 0},
};

START_TEST(test_reuse)
{
    fpmp_server server = {.type = reuse[_i].type, .reuses = reuse[_i].reuses};
    server.address.path = reuse[_i].is_tcp ? NULL : "/run/a.sock";
    ck_assert_int_eq(fpmp_select_may_reuse(&server, reuse[_i].is_idempotent, reuse[_i].has_body,
                                           reuse[_i].is_streamed),
                     reuse[_i].expected);
}
END_TEST

static Suite *select_suite(void)
{
    Suite *suite = suite_create("fpmp_select");
    TCase *cases = tcase_create("select");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, test_pool_names);
    tcase_add_test(cases, test_unix_address);
    tcase_add_test(cases, test_tcp_address);
    tcase_add_test(cases, test_bad_address);
    tcase_add_test(cases, test_selects_by_name);
    tcase_add_test(cases, test_most_specific_limit_counts);
    tcase_add_loop_test(cases, test_reuse, 0, (int)(sizeof(reuse) / sizeof(reuse[0])));
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(select_suite)
