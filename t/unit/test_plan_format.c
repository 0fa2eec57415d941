/* test_plan_format.c - a plan survives its memfd, and damaged bytes never become a plan. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "apr_general.h"
#include "apr_strings.h"
#include "base/plan_format.h"

static apr_pool_t *pool;

static void set_up(void)
{
    ck_assert_int_eq(apr_initialize(), APR_SUCCESS);
    ck_assert_int_eq(apr_pool_create(&pool, NULL), APR_SUCCESS);
}

static void tear_down(void)
{
    apr_pool_destroy(pool);
}

static void add_value(fpd_plan_pool *plan, const char *key, const char *value, int is_admin)
{
    fpd_plan_pair *pair = apr_array_push(plan->php_values);

    pair->key = key;
    pair->value = value;
    pair->is_admin = is_admin;
}

static fpd_plan_pool *sample(void)
{
    fpd_plan_pool *plan = fpd_plan_pool_create(pool);

    plan->name = "www";
    plan->config_file = "/etc/x.conf";
    plan->listen = "/run/www.sock";
    plan->limit_extensions = "";
    plan->max_children = 5;
    plan->pm = FPD_PM_DYNAMIC;
    add_value(plan, "memory_limit", "64M", 1);
    add_value(plan, "display_errors", "", 0);
    APR_ARRAY_PUSH(plan->defines, const char *) = "a=b";
    return plan;
}

START_TEST(survives_the_memfd)
{
    fpd_plan_pool *plan = sample();
    fpd_plan_pool *back;
    int fd;

    ck_assert_int_eq(fpd_plan_pool_write(plan, &fd, pool), APR_SUCCESS);
    ck_assert_int_eq(fpd_plan_pool_read(&back, fd, pool), APR_SUCCESS);
    ck_assert(fpd_plan_pool_equals(plan, back));
    ck_assert_str_eq(back->name, "www");
    ck_assert_str_eq(back->limit_extensions, "");
    ck_assert_ptr_null(back->ping_path);
    ck_assert_int_eq(back->process_priority, FPD_PLAN_UNSET);
    ck_assert_int_eq(back->php_values->nelts, 2);
    ck_assert_str_eq(APR_ARRAY_IDX(back->php_values, 0, fpd_plan_pair).value, "64M");
    ck_assert_int_eq(APR_ARRAY_IDX(back->php_values, 0, fpd_plan_pair).is_admin, 1);
    ck_assert_str_eq(APR_ARRAY_IDX(back->defines, 0, const char *), "a=b");
    ck_assert_int_lt(write(fd, "x", 1), 0); /* sealed */
    close(fd);
}
END_TEST

START_TEST(every_cut_and_every_longer_text_is_refused)
{
    fpd_plan_bytes bytes = fpd_plan_pool_encode(sample(), pool);
    char *longer = apr_palloc(pool, bytes.length + 1);
    fpd_plan_pool *plan;

    for (size_t length = 0; length < bytes.length; length++) {
        ck_assert_int_eq(fpd_plan_pool_decode(&plan, bytes.data, length, pool), APR_EGENERAL);
    }
    memcpy(longer, bytes.data, bytes.length);
    longer[bytes.length] = 0;
    ck_assert_int_eq(fpd_plan_pool_decode(&plan, longer, bytes.length + 1, pool), APR_EGENERAL);
}
END_TEST

START_TEST(flipped_bytes_never_read_outside)
{
    fpd_plan_bytes bytes = fpd_plan_pool_encode(sample(), pool);

    for (size_t i = 0; i < bytes.length; i++) {
        char *copy = apr_pmemdup(pool, bytes.data, bytes.length);
        fpd_plan_pool *plan = NULL;
        copy[i] = (char)(copy[i] ^ 0xff);
        if (fpd_plan_pool_decode(&plan, copy, bytes.length, pool) == APR_SUCCESS) {
            ck_assert_ptr_nonnull(plan->name);
        } else {
            ck_assert_ptr_null(plan);
        }
    }
}
END_TEST

START_TEST(equality_ignores_labels_and_sees_everything_else)
{
    fpd_plan_pool *left = sample();
    fpd_plan_pool *right = sample();

    right->config_file = "/elsewhere";
    right->config_line = 77;
    ck_assert(fpd_plan_pool_equals(left, right));
    right->ping_path = "/ping";
    ck_assert(!fpd_plan_pool_equals(left, right));
    right->ping_path = NULL;
    add_value(right, "x", "y", 0);
    ck_assert(!fpd_plan_pool_equals(left, right));
}
END_TEST

static Suite *plan_format_suite(void)
{
    Suite *suite = suite_create("plan_format");
    TCase *cases = tcase_create("bytes");

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, survives_the_memfd);
    tcase_add_test(cases, every_cut_and_every_longer_text_is_refused);
    tcase_add_test(cases, flipped_bytes_never_read_outside);
    tcase_add_test(cases, equality_ignores_labels_and_sees_everything_else);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(plan_format_suite)
