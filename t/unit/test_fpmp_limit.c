/* test_fpmp_limit.c - who is let in, who waits, who is refused and why. */
#include "unit.h"

#include "fpmp_limit.h"

#include <string.h>

typedef struct given {
    const char *what;
    fpmp_limit limit;
    fpmp_limit_view view;
    fpmp_limit_answer answer;
} given;

#define LIMIT(n, m, k)                                                                             \
    {                                                                                              \
        .requests = (n), .queue = (m), .per_address = (k), .wait = 5000                            \
    }

static const given cases[] = {
    {"nothing is limited", LIMIT(0, 0, 0), {.in_flight = 900, .has_server = 1}, FPMP_LIMIT_ENTER},
    {"one is left", LIMIT(3, 0, 0), {.in_flight = 2, .has_server = 1}, FPMP_LIMIT_ENTER},
    {"none is left, no queue",
     LIMIT(3, 0, 0),
     {.in_flight = 3, .has_server = 1},
     FPMP_LIMIT_REQUESTS},
    {"none is left, a queue", LIMIT(3, 1, 0), {.in_flight = 3, .has_server = 1}, FPMP_LIMIT_WAIT},
    {"the queue is full",
     LIMIT(3, 1, 0),
     {.in_flight = 3, .waiting = 1, .elders = 1, .has_server = 1},
     FPMP_LIMIT_QUEUE_FULL},
    {"a place is free, but somebody waits for it",
     LIMIT(3, 2, 0),
     {.in_flight = 2, .waiting = 1, .elders = 1, .has_server = 1},
     FPMP_LIMIT_WAIT},
    {"likewise, and no queue for this one",
     LIMIT(3, 0, 0),
     {.in_flight = 2, .waiting = 1, .elders = 1, .has_server = 1},
     FPMP_LIMIT_REQUESTS},
    {"likewise, and the queue is full",
     LIMIT(3, 1, 0),
     {.in_flight = 2, .waiting = 1, .elders = 1, .has_server = 1},
     FPMP_LIMIT_QUEUE_FULL},
    {"in the queue: the first, a place is free",
     LIMIT(3, 1, 0),
     {.in_flight = 2, .is_in_queue = 1, .has_server = 1},
     FPMP_LIMIT_ENTER},
    {"in the queue: the first, no place",
     LIMIT(3, 1, 0),
     {.in_flight = 3, .is_in_queue = 1, .has_server = 1},
     FPMP_LIMIT_WAIT},
    {"in the queue: those who are full behind it do not matter",
     LIMIT(3, 1, 0),
     {.in_flight = 3, .waiting = 7, .is_in_queue = 1, .has_server = 1},
     FPMP_LIMIT_WAIT},
    {"in the queue: the second",
     LIMIT(3, 5, 0),
     {.in_flight = 2, .waiting = 1, .elders = 1, .is_in_queue = 1, .has_server = 1},
     FPMP_LIMIT_WAIT},
    {"in the queue: the second, and the first does not move",
     LIMIT(3, 5, 0),
     {.in_flight = 2,
      .waiting = 1,
      .elders = 1,
      .is_in_queue = 1,
      .has_server = 1,
      .is_stalled = 1},
     FPMP_LIMIT_ENTER},
    {"in the queue: it does not move, but there is no place",
     LIMIT(3, 5, 0),
     {.in_flight = 3,
      .waiting = 1,
      .elders = 1,
      .is_in_queue = 1,
      .has_server = 1,
      .is_stalled = 1},
     FPMP_LIMIT_WAIT},
    {"in the queue: too long",
     LIMIT(3, 5, 0),
     {.in_flight = 3, .is_in_queue = 1, .has_server = 1, .waited = 5000},
     FPMP_LIMIT_QUEUE_TIMEOUT},
    {"in the queue: a place comes with the last moment",
     LIMIT(3, 5, 0),
     {.in_flight = 2, .is_in_queue = 1, .has_server = 1, .waited = 5000},
     FPMP_LIMIT_ENTER},
    {"it has waited elsewhere for as long",
     LIMIT(3, 5, 0),
     {.in_flight = 3, .has_server = 1, .waited = 5000},
     FPMP_LIMIT_QUEUE_TIMEOUT},
    {"servers have their max=, no queue", LIMIT(0, 0, 9), {.has_server = 0}, FPMP_LIMIT_FULL},
    {"servers have their max=, a queue", LIMIT(0, 1, 0), {.has_server = 0}, FPMP_LIMIT_WAIT},
    {"servers have their max=, the queue is full",
     LIMIT(0, 1, 0),
     {.waiting = 1, .elders = 1},
     FPMP_LIMIT_QUEUE_FULL},
    {"servers have their max=, places are left",
     LIMIT(9, 1, 0),
     {.in_flight = 2, .is_in_queue = 1},
     FPMP_LIMIT_WAIT},
    {"of one address: the last one",
     LIMIT(0, 0, 2),
     {.of_address = 1, .has_server = 1},
     FPMP_LIMIT_ENTER},
    {"of one address: one too many, though there is room",
     LIMIT(9, 9, 2),
     {.of_address = 2, .has_server = 1},
     FPMP_LIMIT_PER_ADDRESS},
};

START_TEST(test_answers)
{
    const given *one = &cases[_i];
    fpmp_limit_answer answer = fpmp_limit_decide(&one->limit, &one->view);
    ck_assert_msg(answer == one->answer, "%s: %d instead of %d", one->what, answer, one->answer);
}
END_TEST

START_TEST(test_every_refusal_has_a_state)
{
    ck_assert_ptr_null(fpmp_limit_state(FPMP_LIMIT_ENTER));
    ck_assert_ptr_null(fpmp_limit_state(FPMP_LIMIT_WAIT));
    for (int one = FPMP_LIMIT_FULL; one < FPMP_LIMIT_REASONS; one++) {
        const char *state = fpmp_limit_state((fpmp_limit_answer)one);
        ck_assert_ptr_nonnull(state);
        for (int other = FPMP_LIMIT_FULL; other < one; other++) {
            ck_assert_str_ne(state, fpmp_limit_state((fpmp_limit_answer)other));
        }
    }
}
END_TEST

START_TEST(test_the_most_specific_word_counts)
{
    const fpmp_limit any = {.requests = 1, .requests_set = 1, .queue = 1, .queue_set = 1};
    const fpmp_limit server = {.requests = 2, .requests_set = 1, .wait = 2, .wait_set = 1};
    const fpmp_limit section = {.per_address = 4, .per_address_set = 1};
    const fpmp_limit none = {.requests = 0};
    fpmp_pool pool = {.limit = {.status = 429, .status_set = 1, .wait = 3, .wait_set = 1}};
    fpmp_limit all = fpmp_limit_resolve(&section, &pool, &server, &any, 7);
    ck_assert_uint_eq(all.requests, 2);
    ck_assert_uint_eq(all.queue, 1);
    ck_assert_uint_eq(all.per_address, 4);
    ck_assert_int_eq(all.wait, 3);
    ck_assert_int_eq(all.status, 429);
    ck_assert_int_eq(all.retry_after, 7);
    ck_assert(fpmp_limit_is_set(&all));

    memset(&pool, 0, sizeof(pool));
    all = fpmp_limit_resolve(&none, &pool, &none, NULL, 5);
    ck_assert(!fpmp_limit_is_set(&all));
    ck_assert_int_eq(all.wait, FPMP_LIMIT_WAIT_DEFAULT);
    ck_assert_int_eq(all.status, 503);
}
END_TEST

static Suite *limit_suite(void)
{
    Suite *suite = suite_create("fpmp_limit");
    TCase *tests = tcase_create("limit");
    tcase_add_loop_test(tests, test_answers, 0, (int)(sizeof(cases) / sizeof(cases[0])));
    tcase_add_test(tests, test_every_refusal_has_a_state);
    tcase_add_test(tests, test_the_most_specific_word_counts);
    suite_add_tcase(suite, tests);
    return suite;
}

UNIT_MAIN(limit_suite)
