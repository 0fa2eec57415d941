/* test_pm.c - php-fpm's three process managers, spawning after the queue, and back-off. */
#include "unit.h"

#include "pool/pm.h"

#define SECOND INT64_C(1000000)
#define START  (1000 * SECOND)

static fpd_pm_state make(int kind)
{
    fpd_plan_pool plan = {.pm = kind,
                          .max_children = 10,
                          .start_servers = 3,
                          .min_spare_servers = 2,
                          .max_spare_servers = 4,
                          .max_spawn_rate = 32,
                          .process_idle_timeout = 10};
    fpd_pm_state pm;

    fpd_pm_init(&pm, &plan, START);
    return pm;
}

static fpd_pm_counts counts(int idle, int active, int queued)
{
    return (fpd_pm_counts){
        .idle = idle, .active = active, .total = idle + active, .queued = queued};
}

START_TEST(starts_as_many_as_php_fpm)
{
    fpd_pm_state fixed = make(FPD_PM_STATIC);
    fpd_pm_state dynamic = make(FPD_PM_DYNAMIC);
    fpd_pm_state ondemand = make(FPD_PM_ONDEMAND);

    ck_assert_int_eq(fpd_pm_start_count(&fixed), 10);
    ck_assert_int_eq(fpd_pm_start_count(&dynamic), 3);
    ck_assert_int_eq(fpd_pm_start_count(&ondemand), 0);
}
END_TEST

START_TEST(static_fills_up_and_never_retires)
{
    fpd_pm_state pm = make(FPD_PM_STATIC);
    fpd_pm_counts all = counts(10, 0, 0);
    fpd_pm_counts some = counts(4, 3, 0);

    ck_assert_int_eq(fpd_pm_tick(&pm, &all, START).fork, 0);
    ck_assert_int_eq(fpd_pm_tick(&pm, &all, START).should_retire, 0);
    ck_assert_int_eq(fpd_pm_tick(&pm, &some, START).fork, 3);
}
END_TEST

START_TEST(dynamic_retires_above_max_spare)
{
    fpd_pm_state pm = make(FPD_PM_DYNAMIC);
    fpd_pm_counts five = counts(5, 1, 0);
    fpd_pm_counts four = counts(4, 1, 0);

    ck_assert_int_eq(fpd_pm_tick(&pm, &five, START).should_retire, 1);
    ck_assert_int_eq(fpd_pm_tick(&pm, &four, START).should_retire, 0);
    ck_assert_int_eq(fpd_pm_tick(&pm, &four, START).fork, 0);
}
END_TEST

START_TEST(dynamic_doubles_its_rate_while_short)
{
    fpd_plan_pool plan = {.pm = FPD_PM_DYNAMIC,
                          .max_children = 100,
                          .start_servers = 1,
                          .min_spare_servers = 30,
                          .max_spare_servers = 40,
                          .max_spawn_rate = 32};
    static const int forks[] = {1, 2, 4, 8, 15};
    fpd_pm_state pm;
    int total = 0;

    fpd_pm_init(&pm, &plan, START);
    for (int i = 0; i < 5; i++) {
        fpd_pm_counts now = counts(total, 0, 0);
        fpd_pm_decision decision = fpd_pm_tick(&pm, &now, START + i * SECOND);
        ck_assert_int_eq(decision.fork, forks[i]);
        ck_assert_int_eq(decision.rate, 1 << i);
        ck_assert_int_eq(decision.warning, i < 3 ? FPD_PM_WARN_NONE : FPD_PM_WARN_BUSY);
        total += decision.fork;
    }
    ck_assert_int_eq(total, 30);
    fpd_pm_counts enough = counts(30, 0, 0);
    ck_assert_int_eq(fpd_pm_tick(&pm, &enough, START).fork, 0);
    fpd_pm_counts fewer = counts(20, 0, 0);
    ck_assert_int_eq(fpd_pm_tick(&pm, &fewer, START).fork, 1); /* the rate began again */
}
END_TEST

START_TEST(dynamic_warns_once_per_episode)
{
    fpd_pm_state pm = make(FPD_PM_DYNAMIC);
    fpd_pm_counts full = counts(0, 10, 0);
    fpd_pm_counts calm = counts(3, 7, 0);

    ck_assert_int_eq(fpd_pm_tick(&pm, &full, START).warning, FPD_PM_WARN_MAX_CHILDREN);
    ck_assert_int_eq(fpd_pm_tick(&pm, &full, START).warning, FPD_PM_WARN_NONE);
    ck_assert_int_eq(fpd_pm_tick(&pm, &calm, START).warning, FPD_PM_WARN_NONE);
    ck_assert_int_eq(fpd_pm_tick(&pm, &full, START).warning, FPD_PM_WARN_MAX_CHILDREN);
}
END_TEST

START_TEST(queue_is_followed_up_to_max_children)
{
    static const int kinds[] = {FPD_PM_DYNAMIC, FPD_PM_ONDEMAND};

    for (int i = 0; i < 2; i++) {
        fpd_pm_state pm = make(kinds[i]);
        fpd_pm_counts three = counts(0, 4, 3);
        fpd_pm_counts many = counts(0, 4, 50);
        fpd_pm_counts coming = counts(2, 4, 3);
        fpd_pm_counts full = counts(0, 10, 5);
        coming.starting = 2;
        ck_assert_int_eq(fpd_pm_follow_queue(&pm, &three, START).fork, 3);
        ck_assert_int_eq(fpd_pm_follow_queue(&pm, &many, START).fork, 6);
        ck_assert_int_eq(fpd_pm_follow_queue(&pm, &coming, START).fork, 1);
        ck_assert_int_eq(fpd_pm_follow_queue(&pm, &full, START).fork, 0);
    }
}
END_TEST

START_TEST(full_queue_warning_is_once_and_not_for_static)
{
    fpd_pm_state ondemand = make(FPD_PM_ONDEMAND);
    fpd_pm_state fixed = make(FPD_PM_STATIC);
    fpd_pm_counts full = counts(0, 10, 5);
    fpd_pm_counts room = counts(0, 9, 1);

    ck_assert_int_eq(fpd_pm_follow_queue(&fixed, &full, START).warning, FPD_PM_WARN_NONE);
    ck_assert_int_eq(fpd_pm_follow_queue(&ondemand, &full, START).warning,
                     FPD_PM_WARN_MAX_CHILDREN);
    ck_assert_int_eq(fpd_pm_follow_queue(&ondemand, &full, START).warning, FPD_PM_WARN_NONE);
    ck_assert_int_eq(fpd_pm_follow_queue(&ondemand, &room, START).fork, 1);
    ck_assert_int_eq(fpd_pm_follow_queue(&ondemand, &full, START).warning,
                     FPD_PM_WARN_MAX_CHILDREN);
}
END_TEST

START_TEST(spawning_after_the_queue_is_rate_limited)
{
    fpd_plan_pool plan = {.pm = FPD_PM_ONDEMAND, .max_children = 1000, .max_spawn_rate = 4};
    fpd_pm_counts storm = counts(0, 0, 500);
    fpd_pm_state pm;
    fpd_pm_decision decision;

    fpd_pm_init(&pm, &plan, START);
    decision = fpd_pm_follow_queue(&pm, &storm, START);
    ck_assert_int_eq(decision.fork, 4);
    ck_assert_int_gt(decision.retry_at, START);
    ck_assert_int_le(decision.retry_at, START + SECOND / 4 + 1);
    ck_assert_int_eq(fpd_pm_follow_queue(&pm, &storm, START + 1).fork, 0);
    ck_assert_int_eq(fpd_pm_follow_queue(&pm, &storm, decision.retry_at).fork, 1);
    ck_assert_int_eq(fpd_pm_follow_queue(&pm, &storm, START + 10 * SECOND).fork, 4);
}
END_TEST

START_TEST(replaces_the_dead_but_backs_off_when_they_die_at_once)
{
    static const int64_t delays[] = {0,       100000,  200000,   400000,   800000,   1600000,
                                     3200000, 6400000, 12800000, 25600000, 30000000, 30000000};
    fpd_pm_state pm = make(FPD_PM_STATIC);
    fpd_pm_counts nine = counts(0, 9, 0);
    int64_t now = START;

    ck_assert_int_eq(fpd_pm_replace(&pm, &nine, 5 * SECOND, 1, now).fork, 1);
    for (int i = 0; i < 12; i++) {
        fpd_pm_decision decision = fpd_pm_replace(&pm, &nine, SECOND / 100, 0, now);
        ck_assert_int_eq(decision.fork, delays[i] == 0);
        ck_assert_int_eq(decision.retry_at, delays[i] == 0 ? 0 : now + delays[i]);
        /* more deaths of the same round do not lengthen it */
        if (delays[i] > 0) {
            (void)fpd_pm_replace(&pm, &nine, SECOND / 100, 0, now + 1);
            ck_assert_int_eq(fpd_pm_tick(&pm, &nine, now + delays[i] - 1).fork, 0);
        }
        ck_assert_int_eq(fpd_pm_is_failing(&pm, now), delays[i] > SECOND);
        now += delays[i];
        ck_assert_int_eq(fpd_pm_tick(&pm, &nine, now).fork, 1);
    }
    ck_assert_int_eq(fpd_pm_replace(&pm, &nine, SECOND / 100, 1, now).fork, 1); /* it had served */
    ck_assert_int_eq(fpd_pm_is_failing(&pm, now), 0);
    ck_assert_int_eq(fpd_pm_replace(&pm, &nine, SECOND / 100, 0, now).fork, 1);
}
END_TEST

START_TEST(a_full_pool_replaces_nobody)
{
    fpd_pm_state pm = make(FPD_PM_DYNAMIC);
    fpd_pm_counts full = counts(5, 5, 0);

    ck_assert_int_eq(fpd_pm_replace(&pm, &full, 5 * SECOND, 1, START).fork, 0);
}
END_TEST

START_TEST(failed_fork_waits_a_little)
{
    fpd_pm_state pm = make(FPD_PM_DYNAMIC);
    fpd_pm_counts none = counts(0, 0, 0);

    ck_assert_int_eq(fpd_pm_fork_failed(&pm, START), START + SECOND / 10);
    ck_assert_int_eq(fpd_pm_tick(&pm, &none, START + 1).fork, 0);
    ck_assert_int_eq(fpd_pm_tick(&pm, &none, START + 1).retry_at, START + SECOND / 10);
    ck_assert_int_ge(fpd_pm_tick(&pm, &none, START + SECOND).fork, 1);
}
END_TEST

START_TEST(chooses_whom_to_retire)
{
    fpd_pm_state dynamic = make(FPD_PM_DYNAMIC);
    fpd_pm_state ondemand = make(FPD_PM_ONDEMAND);
    fpd_pm_slot slots[] = {
        {.is_idle = 0, .started_at = 1, .idle_since = 1},
        {.is_idle = 1, .started_at = 20, .idle_since = START - 9 * SECOND},
        {.is_idle = 1, .started_at = 10, .idle_since = START - 1 * SECOND},
        {.is_idle = 1, .started_at = 30, .idle_since = START - 5 * SECOND},
    };

    ck_assert_int_eq(fpd_pm_choose_retired(&dynamic, slots, 4, START), 2);
    ck_assert_int_eq(fpd_pm_choose_retired(&ondemand, slots, 4, START), -1);
    ck_assert_int_eq(fpd_pm_choose_retired(&ondemand, slots, 4, START + SECOND), 1);
    ck_assert_int_eq(fpd_pm_choose_retired(&ondemand, slots, 4, START + 100 * SECOND), 1);
    ck_assert_int_eq(fpd_pm_choose_retired(&dynamic, slots, 1, START), -1);
}
END_TEST

START_TEST(ondemand_retires_only_when_calm)
{
    fpd_pm_state pm = make(FPD_PM_ONDEMAND);
    fpd_pm_counts calm = counts(2, 1, 0);
    fpd_pm_counts waiting = counts(2, 1, 2);
    fpd_pm_counts starting = counts(1, 0, 0);
    starting.starting = 1;

    ck_assert_int_eq(fpd_pm_tick(&pm, &calm, START).should_retire, 1);
    ck_assert_int_eq(fpd_pm_tick(&pm, &waiting, START).should_retire, 0);
    ck_assert_int_eq(fpd_pm_tick(&pm, &starting, START).should_retire, 0);
    ck_assert_int_eq(fpd_pm_tick(&pm, &calm, START).fork, 0);
}
END_TEST

static Suite *pm_suite(void)
{
    Suite *suite = suite_create("pm");
    TCase *cases = tcase_create("pm");

    tcase_add_test(cases, starts_as_many_as_php_fpm);
    tcase_add_test(cases, static_fills_up_and_never_retires);
    tcase_add_test(cases, dynamic_retires_above_max_spare);
    tcase_add_test(cases, dynamic_doubles_its_rate_while_short);
    tcase_add_test(cases, dynamic_warns_once_per_episode);
    tcase_add_test(cases, queue_is_followed_up_to_max_children);
    tcase_add_test(cases, full_queue_warning_is_once_and_not_for_static);
    tcase_add_test(cases, spawning_after_the_queue_is_rate_limited);
    tcase_add_test(cases, replaces_the_dead_but_backs_off_when_they_die_at_once);
    tcase_add_test(cases, a_full_pool_replaces_nobody);
    tcase_add_test(cases, failed_fork_waits_a_little);
    tcase_add_test(cases, chooses_whom_to_retire);
    tcase_add_test(cases, ondemand_retires_only_when_calm);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(pm_suite)
