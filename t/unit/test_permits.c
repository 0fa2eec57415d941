/* test_permits.c - the ledger of process.max: the sum, fairness, reclaims; emergency restarts. */
#include "master/emergency.h"
#include "master/permits.h"
#include "unit.h"

#define SECOND INT64_C(1000000)
#define POOLS  5

static fpd_permits permits;
static fpd_permit_holder pools[POOLS];

static void setup(void)
{
    permits = (fpd_permits){.limit = 4};
    for (int i = 0; i < POOLS; i++) {
        pools[i] = (fpd_permit_holder){0};
        fpd_permits_join(&permits, &pools[i], 10);
    }
}

static uint32_t grant_all(int64_t now)
{
    uint32_t count;
    uint32_t sum = 0;

    while (fpd_permits_grant(&permits, &count, now) != NULL) {
        sum += count;
    }
    return sum;
}

static uint32_t held(void)
{
    uint32_t sum = 0;

    for (int i = 0; i < POOLS; i++) {
        sum += pools[i].held;
    }
    return sum;
}

START_TEST(one_pool_gets_what_is_there)
{
    fpd_permits_want(&pools[0], 6, 0);
    ck_assert_uint_eq(grant_all(0), 4);
    ck_assert_uint_eq(pools[0].held, 4);
    ck_assert_uint_eq(pools[0].wanted, 2);
    fpd_permits_give_back(&permits, &pools[0], 1);
    ck_assert_uint_eq(grant_all(0), 1);
}
END_TEST

START_TEST(nobody_gets_more_than_its_pool_may_have)
{
    permits.limit = 100;
    fpd_permits_want(&pools[0], UINT32_MAX, 1);
    ck_assert_uint_eq(grant_all(0), 10);
    fpd_permits_want(&pools[0], UINT32_MAX, 1);
    ck_assert_uint_eq(grant_all(0), 0);
}
END_TEST

START_TEST(first_workers_come_before_further_ones)
{
    fpd_permits_want(&pools[0], 3, 1);
    ck_assert_uint_eq(grant_all(0), 3);
    fpd_permits_want(&pools[0], 3, 1);
    fpd_permits_want(&pools[1], 3, 0);
    ck_assert_uint_eq(grant_all(0), 1);
    ck_assert_uint_eq(pools[1].held, 1);
}
END_TEST

START_TEST(waiting_requests_come_before_spare_workers)
{
    permits.limit = 3;
    for (int i = 0; i < 2; i++) {
        fpd_permits_want(&pools[i], 1, 0);
    }
    ck_assert_uint_eq(grant_all(0), 2);
    fpd_permits_want(&pools[0], 1, 0);
    fpd_permits_want(&pools[1], 1, 1);
    ck_assert_uint_eq(grant_all(0), 1);
    ck_assert_uint_eq(pools[1].held, 2);
}
END_TEST

START_TEST(turns_are_taken)
{
    permits.limit = 9;
    for (int i = 0; i < 3; i++) {
        fpd_permits_want(&pools[i], 9, 0);
    }
    ck_assert_uint_eq(grant_all(0), 9);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(pools[i].held, 3);
    }
}
END_TEST

START_TEST(giving_back_more_than_it_has_gains_nothing)
{
    fpd_permits_want(&pools[0], 2, 0);
    fpd_permits_want(&pools[1], 2, 0);
    (void)grant_all(0);
    fpd_permits_give_back(&permits, &pools[0], 1000);
    ck_assert_uint_eq(permits.granted, 2);
    fpd_permits_want(&pools[2], 10, 0);
    ck_assert_uint_eq(grant_all(0), 2);
    ck_assert_uint_eq(held(), 4);
}
END_TEST

START_TEST(orphans_count)
{
    permits.orphaned = 3;
    fpd_permits_want(&pools[0], 4, 1);
    ck_assert_uint_eq(grant_all(0), 1);
    permits.orphaned = 0;
    ck_assert_uint_eq(grant_all(0), 3);
}
END_TEST

START_TEST(who_leaves_gives_back)
{
    fpd_permits_want(&pools[0], 4, 0);
    (void)grant_all(0);
    fpd_permits_leave(&permits, &pools[0]);
    fpd_permits_leave(&permits, &pools[0]);
    ck_assert_uint_eq(permits.granted, 0);
    fpd_permits_want(&pools[4], 4, 0);
    ck_assert_uint_eq(grant_all(0), 4);
    fpd_permits_join(&permits, &pools[0], 0);
    ck_assert_uint_eq(pools[0].most, 1);
}
END_TEST

START_TEST(no_limit_grants_everything)
{
    permits.limit = 0;
    for (int i = 0; i < POOLS; i++) {
        fpd_permits_want(&pools[i], 10, 0);
    }
    ck_assert_uint_eq(grant_all(0), 50);
    ck_assert_int_eq(fpd_permits_should_warn(&permits), 0);
}
END_TEST

START_TEST(a_lower_limit_grants_nothing_until_it_fits)
{
    fpd_permits_want(&pools[0], 4, 0);
    (void)grant_all(0);
    permits.limit = 2;
    fpd_permits_want(&pools[1], 1, 1);
    fpd_permits_give_back(&permits, &pools[0], 2);
    ck_assert_uint_eq(grant_all(0), 0);
    fpd_permits_give_back(&permits, &pools[0], 1);
    ck_assert_uint_eq(grant_all(0), 1);
}
END_TEST

START_TEST(the_richest_gives_to_who_has_none)
{
    fpd_permits_want(&pools[0], 1, 0);
    fpd_permits_want(&pools[1], 3, 0);
    (void)grant_all(0);
    fpd_permits_want(&pools[2], 2, 0);
    ck_assert_int_eq(fpd_permits_is_starving(&permits), 0); /* no request waits there */
    ck_assert_ptr_null(fpd_permits_reclaim(&permits, 0));
    fpd_permits_want(&pools[2], 2, 1);
    ck_assert_int_eq(fpd_permits_is_starving(&permits), 1);
    ck_assert_ptr_eq(fpd_permits_reclaim(&permits, 5 * SECOND), &pools[1]);
    ck_assert_ptr_null(fpd_permits_reclaim(&permits, 5 * SECOND)); /* one for one */
    fpd_permits_give_back(&permits, &pools[1], 1);
    ck_assert_uint_eq(pools[1].owed, 0);
    ck_assert_uint_eq(grant_all(6 * SECOND), 1);
    ck_assert_uint_eq(pools[2].held, 1);
    ck_assert_ptr_null(fpd_permits_reclaim(&permits, 9 * SECOND));
}
END_TEST

START_TEST(another_one_is_asked_when_the_richest_takes_long)
{
    fpd_permits_want(&pools[0], 1, 0);
    fpd_permits_want(&pools[1], 3, 0);
    (void)grant_all(0);
    fpd_permits_want(&pools[2], 1, 1);
    ck_assert_ptr_eq(fpd_permits_reclaim(&permits, 5 * SECOND), &pools[1]);
    ck_assert_ptr_eq(fpd_permits_reclaim(&permits, 6 * SECOND), &pools[0]);
    ck_assert_ptr_eq(fpd_permits_reclaim(&permits, 7 * SECOND), &pools[1]);
}
END_TEST

START_TEST(more_pools_than_permits_take_turns)
{
    permits.limit = 1;
    fpd_permits_want(&pools[0], 1, 1);
    (void)grant_all(5 * SECOND);
    fpd_permits_want(&pools[1], 1, 1);
    ck_assert_ptr_null(fpd_permits_reclaim(&permits, 5 * SECOND + 1000)); /* it has just got it */
    ck_assert_ptr_eq(fpd_permits_reclaim(&permits, 6 * SECOND), &pools[0]);
    fpd_permits_give_back(&permits, &pools[0], 1);
    fpd_permits_want(&pools[0], 1, 1);
    ck_assert_uint_eq(grant_all(6 * SECOND), 1);
    ck_assert_uint_eq(pools[1].held, 1);
}
END_TEST

START_TEST(one_warning_until_nobody_is_refused)
{
    fpd_permits_want(&pools[0], 4, 0);
    (void)grant_all(0);
    ck_assert_int_eq(fpd_permits_should_warn(&permits), 0); /* nobody is refused */
    fpd_permits_want(&pools[0], 1, 0);
    ck_assert_int_eq(fpd_permits_should_warn(&permits), 1);
    ck_assert_int_eq(fpd_permits_should_warn(&permits), 0);
    fpd_permits_want(&pools[1], 1, 0);
    fpd_permits_give_back(&permits, &pools[0], 1);
    (void)grant_all(0);
    ck_assert_int_eq(fpd_permits_should_warn(&permits), 0); /* one of two is */
    fpd_permits_give_back(&permits, &pools[0], 1);
    (void)grant_all(0);
    ck_assert_int_eq(fpd_permits_should_warn(&permits), 0);
    fpd_permits_want(&pools[1], 1, 0);
    ck_assert_int_eq(fpd_permits_should_warn(&permits), 1);
}
END_TEST

START_TEST(random_talk_keeps_the_sum)
{
    uint32_t seed = 20261124;

    permits.limit = 7;
    for (int i = 0; i < 20000; i++) {
        fpd_permit_holder *holder;
        seed = seed * 1664525 + 1013904223;
        holder = &pools[(seed >> 8) % POOLS];
        switch ((seed >> 16) % 4) {
        case 0:
            fpd_permits_give_back(&permits, holder, (seed >> 20) % 12);
            break;
        case 1:
            (void)fpd_permits_reclaim(&permits, i * 1000);
            break;
        default:
            fpd_permits_want(holder, (seed >> 20) % 12, (seed >> 24) & 1);
        }
        (void)grant_all(i * 1000);
        ck_assert_uint_eq(held(), permits.granted);
        ck_assert_uint_le(permits.granted, 7);
        for (int pool = 0; pool < POOLS; pool++) { /* work is never left lying */
            ck_assert(pools[pool].wanted == 0 || permits.granted == 7);
        }
    }
}
END_TEST

/* ---- emergency ---------------------------------------------------------------------------- */

static apr_pool_t *memory;

static void setup_emergency(void)
{
    apr_initialize();
    apr_pool_create(&memory, NULL);
}

static void end_emergency(void)
{
    apr_terminate();
}

START_TEST(emergency_wants_all_crashes_within_the_interval)
{
    fpd_emergency *emergency = fpd_emergency_create(memory);

    ck_assert_int_eq(fpd_emergency_note(emergency, 0), 0);
    fpd_emergency_set(emergency, 3, 10);
    ck_assert_int_eq(fpd_emergency_note(emergency, 0 * SECOND), 0);
    ck_assert_int_eq(fpd_emergency_note(emergency, 6 * SECOND), 0);
    ck_assert_int_eq(fpd_emergency_note(emergency, 11 * SECOND), 0);
    ck_assert_int_eq(fpd_emergency_note(emergency, 16 * SECOND), 1); /* 6, 11, 16 */
}
END_TEST

START_TEST(emergency_comes_once_in_an_interval)
{
    fpd_emergency *emergency = fpd_emergency_create(memory);
    int count = 0;

    fpd_emergency_set(emergency, 2, 10);
    for (int i = 0; i < 1000; i++) {                       /* for 100 seconds */
        fpd_emergency_set(emergency, 2 + (i / 7) % 2, 10); /* reloads gain nothing either */
        count += fpd_emergency_note(emergency, i * SECOND / 10);
    }
    ck_assert_int_ge(count, 8);
    ck_assert_int_le(count, 10);
}
END_TEST

START_TEST(emergency_of_one)
{
    fpd_emergency *emergency = fpd_emergency_create(memory);

    fpd_emergency_set(emergency, 1, 5);
    ck_assert_int_eq(fpd_emergency_note(emergency, 1), 1);
    ck_assert_int_eq(fpd_emergency_note(emergency, SECOND), 0);
    ck_assert_int_eq(fpd_emergency_note(emergency, 6 * SECOND), 1);
    fpd_emergency_set(emergency, 0, 5);
    ck_assert_int_eq(fpd_emergency_note(emergency, 60 * SECOND), 0);
}
END_TEST

static Suite *permits_suite(void)
{
    Suite *suite = suite_create("permits");
    TCase *ledger = tcase_create("ledger");
    TCase *emergency = tcase_create("emergency");

    tcase_add_checked_fixture(ledger, setup, NULL);
    tcase_add_test(ledger, one_pool_gets_what_is_there);
    tcase_add_test(ledger, nobody_gets_more_than_its_pool_may_have);
    tcase_add_test(ledger, first_workers_come_before_further_ones);
    tcase_add_test(ledger, waiting_requests_come_before_spare_workers);
    tcase_add_test(ledger, turns_are_taken);
    tcase_add_test(ledger, giving_back_more_than_it_has_gains_nothing);
    tcase_add_test(ledger, orphans_count);
    tcase_add_test(ledger, who_leaves_gives_back);
    tcase_add_test(ledger, no_limit_grants_everything);
    tcase_add_test(ledger, a_lower_limit_grants_nothing_until_it_fits);
    tcase_add_test(ledger, the_richest_gives_to_who_has_none);
    tcase_add_test(ledger, another_one_is_asked_when_the_richest_takes_long);
    tcase_add_test(ledger, more_pools_than_permits_take_turns);
    tcase_add_test(ledger, one_warning_until_nobody_is_refused);
    tcase_add_test(ledger, random_talk_keeps_the_sum);
    suite_add_tcase(suite, ledger);
    tcase_add_checked_fixture(emergency, setup_emergency, end_emergency);
    tcase_add_test(emergency, emergency_wants_all_crashes_within_the_interval);
    tcase_add_test(emergency, emergency_comes_once_in_an_interval);
    tcase_add_test(emergency, emergency_of_one);
    suite_add_tcase(suite, emergency);
    return suite;
}

UNIT_MAIN(permits_suite)
