/* test_plan_format.c - a plan survives its memfd, and damaged bytes never become a plan. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
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

/* In memory of its exact size, so that a byte too far is seen. */
static apr_status_t decode_exactly(const char *bytes, size_t length, fpd_plan_pool **plan)
{
    char *copy = malloc(length > 0 ? length : 1);
    apr_status_t status;

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, bytes, length);
    status = fpd_plan_pool_decode(plan, copy, length, pool);
    free(copy);
    return status;
}

START_TEST(every_flipped_bit_is_refused)
{
    fpd_plan_bytes bytes = fpd_plan_pool_encode(sample(), pool);

    for (size_t i = 0; i < bytes.length * 8; i++) {
        fpd_plan_pool *plan = NULL;
        bytes.data[i / 8] = (char)(bytes.data[i / 8] ^ (1 << i % 8));
        ck_assert_int_eq(decode_exactly(bytes.data, bytes.length, &plan), APR_EGENERAL);
        ck_assert_ptr_null(plan);
        bytes.data[i / 8] = (char)(bytes.data[i / 8] ^ (1 << i % 8));
    }
}
END_TEST

/* The checksum as the format has it, so that what is behind it is tested too. */
static void repair(char *bytes, size_t length)
{
    uint64_t sum = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < length - sizeof(sum); i++) {
        sum = (sum ^ (uint8_t)bytes[i]) * UINT64_C(1099511628211);
    }
    memcpy(bytes + length - sizeof(sum), &sum, sizeof(sum));
}

static void is_usable(const fpd_plan_pool *plan)
{
    ck_assert_ptr_nonnull(plan->name);
    ck_assert_int_ge(plan->max_children, 0);
    ck_assert_int_le(plan->max_children, FPD_PLAN_CHILDREN_MAX);
    ck_assert_int_ge(plan->pm, 0);
    ck_assert_int_le(plan->pm, FPD_PM_ONDEMAND);
    ck_assert_int_ge(plan->uid, -1);
    for (int i = 0; i < plan->php_values->nelts; i++) {
        const fpd_plan_pair *pair = &APR_ARRAY_IDX(plan->php_values, i, fpd_plan_pair);
        ck_assert(pair->key != NULL && pair->value != NULL);
    }
    for (int i = 0; i < plan->defines->nelts; i++) {
        ck_assert_ptr_nonnull(APR_ARRAY_IDX(plan->defines, i, const char *));
    }
}

START_TEST(a_flipped_bit_with_a_good_checksum_is_refused_or_harmless)
{
    fpd_plan_bytes bytes = fpd_plan_pool_encode(sample(), pool);
    int refused = 0;

    for (size_t i = 0; i < (bytes.length - 8) * 8; i++) {
        fpd_plan_pool *plan = NULL;
        bytes.data[i / 8] = (char)(bytes.data[i / 8] ^ (1 << i % 8));
        repair(bytes.data, bytes.length);
        if (decode_exactly(bytes.data, bytes.length, &plan) == APR_SUCCESS) {
            is_usable(plan);
        } else {
            ck_assert_ptr_null(plan);
            refused++;
        }
        bytes.data[i / 8] = (char)(bytes.data[i / 8] ^ (1 << i % 8));
    }
    ck_assert_int_gt(refused, 200);
}
END_TEST

START_TEST(every_cut_with_a_good_checksum_is_refused)
{
    fpd_plan_bytes bytes = fpd_plan_pool_encode(sample(), pool);
    char *copy = apr_palloc(pool, bytes.length + 8);

    for (size_t length = 8; length < bytes.length; length++) {
        fpd_plan_pool *plan = NULL;
        memcpy(copy, bytes.data, length);
        repair(copy, length);
        ck_assert_int_eq(decode_exactly(copy, length, &plan), APR_EGENERAL);
        ck_assert_ptr_null(plan);
    }
}
END_TEST

START_TEST(values_out_of_their_range_are_refused)
{
    static const int32_t children[] = {-1, FPD_PLAN_CHILDREN_MAX + 1, INT32_MAX, INT32_MIN};
    static const int32_t managers[] = {-1, FPD_PM_ONDEMAND + 1, INT32_MAX};
    fpd_plan_pool *plan = sample();
    fpd_plan_bytes bytes;
    fpd_plan_pool *back;

    for (size_t i = 0; i < sizeof(children) / sizeof(children[0]); i++) {
        plan->max_children = children[i];
        bytes = fpd_plan_pool_encode(plan, pool);
        ck_assert_int_eq(fpd_plan_pool_decode(&back, bytes.data, bytes.length, pool), APR_EGENERAL);
    }
    plan->max_children = FPD_PLAN_CHILDREN_MAX;
    for (size_t i = 0; i < sizeof(managers) / sizeof(managers[0]); i++) {
        plan->pm = managers[i];
        bytes = fpd_plan_pool_encode(plan, pool);
        ck_assert_int_eq(fpd_plan_pool_decode(&back, bytes.data, bytes.length, pool), APR_EGENERAL);
    }
    plan->pm = FPD_PM_STATIC;
    plan->uid = -2;
    bytes = fpd_plan_pool_encode(plan, pool);
    ck_assert_int_eq(fpd_plan_pool_decode(&back, bytes.data, bytes.length, pool), APR_EGENERAL);
    plan->uid = -1;
    add_value(plan, NULL, "x", 0);
    bytes = fpd_plan_pool_encode(plan, pool);
    ck_assert_int_eq(fpd_plan_pool_decode(&back, bytes.data, bytes.length, pool), APR_EGENERAL);
    apr_array_pop(plan->php_values);
    bytes = fpd_plan_pool_encode(plan, pool);
    ck_assert_int_eq(fpd_plan_pool_decode(&back, bytes.data, bytes.length, pool), APR_SUCCESS);
}
END_TEST

START_TEST(a_copy_shares_nothing)
{
    apr_pool_t *own;
    fpd_plan_pool *copy;

    ck_assert_int_eq(apr_pool_create(&own, pool), APR_SUCCESS);
    {
        apr_pool_t *short_lived;
        fpd_plan_pool *plan;
        ck_assert_int_eq(apr_pool_create(&short_lived, pool), APR_SUCCESS);
        plan = fpd_plan_pool_copy(sample(), short_lived);
        ck_assert_ptr_nonnull(plan);
        copy = fpd_plan_pool_copy(plan, own);
        apr_pool_destroy(short_lived);
    }
    ck_assert_ptr_nonnull(copy);
    ck_assert(fpd_plan_pool_equals(copy, sample()));
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
    tcase_add_test(cases, every_flipped_bit_is_refused);
    tcase_add_test(cases, a_flipped_bit_with_a_good_checksum_is_refused_or_harmless);
    tcase_add_test(cases, every_cut_with_a_good_checksum_is_refused);
    tcase_add_test(cases, values_out_of_their_range_are_refused);
    tcase_add_test(cases, a_copy_shares_nothing);
    tcase_add_test(cases, equality_ignores_labels_and_sees_everything_else);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(plan_format_suite)
