/* test_queue.c - first come, first served; limits, time-outs and leaving from the middle. */
#include "unit.h"

#include "pool/queue.h"

static apr_pool_t *memory;

static void start(void)
{
    ck_assert_int_eq(apr_initialize(), APR_SUCCESS);
    ck_assert_int_eq(apr_pool_create(&memory, NULL), APR_SUCCESS);
}

static void stop(void)
{
    apr_pool_destroy(memory);
    apr_terminate();
}

START_TEST(serves_in_order_of_arrival)
{
    fpd_queue *queue = fpd_queue_create(1000, memory);

    for (uint32_t i = 0; i < 1000; i++) {
        ck_assert_int_eq(fpd_queue_push(queue, i * 7, i), 1); /* beyond the first array size too */
    }
    ck_assert_uint_eq(fpd_queue_length(queue), 1000);
    for (uint32_t i = 0; i < 1000; i++) {
        ck_assert_uint_eq(fpd_queue_first(queue), i * 7);
        ck_assert_uint_eq(fpd_queue_pop(queue), i * 7);
    }
    ck_assert_uint_eq(fpd_queue_pop(queue), FPD_QUEUE_NONE);
    ck_assert_uint_eq(fpd_queue_length(queue), 0);
}
END_TEST

START_TEST(full_refuses_and_changes_nothing)
{
    fpd_queue *queue = fpd_queue_create(2, memory);

    ck_assert_int_eq(fpd_queue_push(queue, 5, 1), 1);
    ck_assert_int_eq(fpd_queue_push(queue, 6, 1), 1);
    ck_assert(fpd_queue_is_full(queue));
    ck_assert_int_eq(fpd_queue_push(queue, 7, 1), 0);
    ck_assert_uint_eq(fpd_queue_length(queue), 2);
    ck_assert_int_eq(fpd_queue_remove(queue, 7), 0);
    ck_assert_uint_eq(fpd_queue_pop(queue), 5);
    ck_assert_int_eq(fpd_queue_push(queue, 7, 1), 1);
}
END_TEST

START_TEST(limit_zero_lets_nobody_wait)
{
    fpd_queue *queue = fpd_queue_create(0, memory);

    ck_assert_int_eq(fpd_queue_push(queue, 0, 1), 0);
    ck_assert_uint_eq(fpd_queue_first(queue), FPD_QUEUE_NONE);
}
END_TEST

START_TEST(returns_to_the_head_even_when_full)
{
    fpd_queue *queue = fpd_queue_create(2, memory);

    fpd_queue_push(queue, 1, 10);
    fpd_queue_push(queue, 2, 11);
    fpd_queue_push_first(queue, 9, 5);
    ck_assert_uint_eq(fpd_queue_length(queue), 3);
    ck_assert_uint_eq(fpd_queue_pop(queue), 9);
    ck_assert_uint_eq(fpd_queue_pop(queue), 1);
    fpd_queue_pop(queue);
    fpd_queue_push_first(queue, 3, 5);
    ck_assert_uint_eq(fpd_queue_first(queue), 3);
    fpd_queue_push(queue, 4, 6);
    ck_assert_uint_eq(fpd_queue_pop(queue), 3);
    ck_assert_uint_eq(fpd_queue_pop(queue), 4);
}
END_TEST

START_TEST(leaves_from_anywhere)
{
    static const uint32_t leaving[] = {0, 2, 4};

    for (size_t i = 0; i < 3; i++) {
        fpd_queue *queue = fpd_queue_create(8, memory);
        for (uint32_t index = 0; index < 5; index++) {
            fpd_queue_push(queue, index, index);
        }
        ck_assert_int_eq(fpd_queue_remove(queue, leaving[i]), 1);
        ck_assert_int_eq(fpd_queue_remove(queue, leaving[i]), 0);
        for (uint32_t index = 0; index < 5; index++) {
            if (index != leaving[i]) {
                ck_assert_uint_eq(fpd_queue_pop(queue), index);
            }
        }
        ck_assert_uint_eq(fpd_queue_pop(queue), FPD_QUEUE_NONE);
    }
}
END_TEST

START_TEST(waits_once_only)
{
    fpd_queue *queue = fpd_queue_create(8, memory);

    ck_assert_int_eq(fpd_queue_push(queue, 1, 1), 1);
    ck_assert_int_eq(fpd_queue_push(queue, 2, 2), 1);
    ck_assert_int_eq(fpd_queue_push(queue, 1, 3), 1);
    fpd_queue_push_first(queue, 2, 3);
    ck_assert_uint_eq(fpd_queue_length(queue), 2);
    ck_assert_uint_eq(fpd_queue_pop(queue), 1);
    ck_assert_uint_eq(fpd_queue_pop(queue), 2);
}
END_TEST

START_TEST(head_expires_first_and_exactly)
{
    fpd_queue *queue = fpd_queue_create(8, memory);

    ck_assert_int_eq(fpd_queue_next_expiry(queue, 100), 0);
    fpd_queue_push(queue, 1, 1000);
    fpd_queue_push(queue, 2, 1050);
    ck_assert_int_eq(fpd_queue_next_expiry(queue, 100), 1100);
    ck_assert_int_eq(fpd_queue_next_expiry(queue, 0), 0);
    ck_assert_uint_eq(fpd_queue_expired(queue, 1099, 100), FPD_QUEUE_NONE);
    ck_assert_uint_eq(fpd_queue_expired(queue, 1100, 100), 1);
    ck_assert_uint_eq(fpd_queue_expired(queue, 1000000, 0), FPD_QUEUE_NONE);
    fpd_queue_pop(queue);
    ck_assert_uint_eq(fpd_queue_expired(queue, 1149, 100), FPD_QUEUE_NONE);
    ck_assert_uint_eq(fpd_queue_expired(queue, 1150, 100), 2);
}
END_TEST

START_TEST(who_was_let_in_elsewhere_stands_where_the_waiting_time_says)
{
    static const uint32_t order[] = {7, 1, 8, 9, 2, 3};
    fpd_queue *queue = fpd_queue_create(3, memory);

    fpd_queue_push(queue, 1, 100);
    fpd_queue_push(queue, 2, 200);
    fpd_queue_push(queue, 3, 300); /* full */
    fpd_queue_insert(queue, 7, 50);
    fpd_queue_insert(queue, 8, 100); /* behind its like */
    fpd_queue_insert(queue, 9, 100);
    fpd_queue_insert(queue, 9, 1); /* waits already */
    ck_assert_uint_eq(fpd_queue_length(queue), 6);
    ck_assert_int_eq(fpd_queue_next_expiry(queue, 1000), 1050);
    for (size_t i = 0; i < 6; i++) {
        ck_assert_uint_eq(fpd_queue_pop(queue), order[i]);
    }
    fpd_queue_insert(queue, 4, 1); /* into an empty one */
    fpd_queue_insert(queue, 5, 2);
    ck_assert_uint_eq(fpd_queue_pop(queue), 4);
    ck_assert_uint_eq(fpd_queue_pop(queue), 5);
    ck_assert_uint_eq(fpd_queue_pop(queue), FPD_QUEUE_NONE);
}
END_TEST

static Suite *queue_suite(void)
{
    Suite *suite = suite_create("queue");
    TCase *cases = tcase_create("queue");

    tcase_add_checked_fixture(cases, start, stop);
    tcase_add_test(cases, serves_in_order_of_arrival);
    tcase_add_test(cases, full_refuses_and_changes_nothing);
    tcase_add_test(cases, limit_zero_lets_nobody_wait);
    tcase_add_test(cases, returns_to_the_head_even_when_full);
    tcase_add_test(cases, leaves_from_anywhere);
    tcase_add_test(cases, waits_once_only);
    tcase_add_test(cases, who_was_let_in_elsewhere_stands_where_the_waiting_time_says);
    tcase_add_test(cases, head_expires_first_and_exactly);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(queue_suite)
