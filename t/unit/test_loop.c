/* test_loop.c - descriptors, timers and signals; a removed registration never fires. */
#include "unit.h"

#include <signal.h>
#include <unistd.h>

#include "apr_general.h"
#include "base/loop.h"

static apr_pool_t *pool;
static fpd_loop *loop;

static void set_up(void)
{
    ck_assert_int_eq(apr_initialize(), APR_SUCCESS);
    ck_assert_int_eq(apr_pool_create(&pool, NULL), APR_SUCCESS);
    ck_assert_int_eq(fpd_loop_create(&loop, pool), APR_SUCCESS);
}

static void tear_down(void)
{
    apr_pool_destroy(pool);
}

typedef struct seen {
    int count;
    int order[64];
    fpd_loop_id remove_this;
    fpd_loop_timer *again;
} seen;

static void stop_now(void *context)
{
    (void)context;
    fpd_loop_stop(loop);
}

static void stop_within(int64_t microseconds)
{
    fpd_loop_timer_set(fpd_loop_timer_create(loop, stop_now, NULL),
                       fpd_monotonic_now() + microseconds);
}

static void remove_the_other(void *context, uint32_t events)
{
    seen *record = context;

    (void)events;
    record->count++;
    fpd_loop_remove(loop, record->remove_this);
}

START_TEST(a_registration_removed_by_a_callback_of_the_same_wake_up_does_not_fire)
{
    int a[2], b[2];
    fpd_loop_id id_a, id_b;
    seen on_a = {0}, on_b = {0};

    ck_assert_int_eq(pipe(a), 0);
    ck_assert_int_eq(pipe(b), 0);
    ck_assert_int_eq(fpd_loop_add(loop, a[0], EPOLLIN | EPOLLET, remove_the_other, &on_a, &id_a),
                     APR_SUCCESS);
    ck_assert_int_eq(fpd_loop_add(loop, b[0], EPOLLIN | EPOLLET, remove_the_other, &on_b, &id_b),
                     APR_SUCCESS);
    on_a.remove_this = id_b;
    on_b.remove_this = id_a;
    ck_assert_int_eq(write(a[1], "x", 1), 1);
    ck_assert_int_eq(write(b[1], "x", 1), 1);
    stop_within(20000);
    ck_assert_int_eq(fpd_loop_run(loop), APR_SUCCESS);
    ck_assert_int_eq(on_a.count + on_b.count, 1);
}
END_TEST

START_TEST(a_reused_place_does_not_answer_to_the_old_id)
{
    int a[2];
    fpd_loop_id old_id, new_id;
    seen record = {0};

    ck_assert_int_eq(pipe(a), 0);
    ck_assert_int_eq(fpd_loop_add(loop, a[0], EPOLLIN, remove_the_other, &record, &old_id),
                     APR_SUCCESS);
    fpd_loop_remove(loop, old_id);
    ck_assert_int_eq(fpd_loop_add(loop, a[0], EPOLLIN, remove_the_other, &record, &new_id),
                     APR_SUCCESS);
    ck_assert(old_id != new_id);
    ck_assert_int_eq(fpd_loop_modify(loop, old_id, EPOLLIN), APR_NOTFOUND);
    fpd_loop_remove(loop, old_id); /* must not remove the new one */
    record.remove_this = new_id;
    ck_assert_int_eq(write(a[1], "x", 1), 1);
    stop_within(20000);
    ck_assert_int_eq(fpd_loop_run(loop), APR_SUCCESS);
    ck_assert_int_eq(record.count, 1);
}
END_TEST

/* More than one wake-up can bring. */
#define MANY 200

static void count_to_many(void *context, uint32_t events)
{
    seen *record = context;

    (void)events;
    if (++record->count == MANY) {
        fpd_loop_stop(loop);
    }
}

START_TEST(registrations_survive_growth_of_the_table)
{
    int ends[MANY][2];
    fpd_loop_id ids[MANY];
    seen record = {0};

    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(pipe(ends[i]), 0);
        ck_assert_int_eq(
            fpd_loop_add(loop, ends[i][0], EPOLLIN | EPOLLET, count_to_many, &record, &ids[i]),
            APR_SUCCESS);
        ck_assert_int_eq(write(ends[i][1], "x", 1), 1);
    }
    stop_within(20 * INT64_C(1000000));
    ck_assert_int_eq(fpd_loop_run(loop), APR_SUCCESS);
    ck_assert_int_eq(record.count, MANY);
}
END_TEST

typedef struct alarm_clock {
    seen *record;
    int number;
} alarm_clock;

static void ring(void *context)
{
    alarm_clock *clock = context;

    clock->record->order[clock->record->count++] = clock->number;
}

START_TEST(timers_fire_in_order_of_time_and_cancelled_ones_do_not)
{
    seen record = {0};
    alarm_clock clocks[40];
    fpd_loop_timer *timers[40];
    int64_t now = fpd_monotonic_now();

    for (int i = 0; i < 40; i++) {
        clocks[i] = (alarm_clock){&record, i};
        timers[i] = fpd_loop_timer_create(loop, ring, &clocks[i]);
        fpd_loop_timer_set(timers[i], now + (int64_t)((i * 17) % 40) * 100);
    }
    for (int i = 0; i < 40; i += 4) {
        fpd_loop_timer_cancel(timers[i]);
        ck_assert(!fpd_loop_timer_is_set(timers[i]));
    }
    stop_within(30000);
    ck_assert_int_eq(fpd_loop_run(loop), APR_SUCCESS);
    ck_assert_int_eq(record.count, 30);
    for (int i = 1; i < record.count; i++) {
        ck_assert_int_lt((record.order[i - 1] * 17) % 40, (record.order[i] * 17) % 40);
    }
}
END_TEST

static void set_again(void *context)
{
    seen *record = context;

    record->count++;
    fpd_loop_timer_set(record->again, 0);
}

static void count_and_stop(void *context, uint32_t events)
{
    int *fired = context;

    (void)events;
    ++*fired;
    fpd_loop_stop(loop);
}

START_TEST(a_timer_that_is_always_due_does_not_starve_descriptors)
{
    int a[2];
    int fired = 0;
    fpd_loop_id id;
    seen record = {0};

    record.again = fpd_loop_timer_create(loop, set_again, &record);
    fpd_loop_timer_set(record.again, 0);
    ck_assert_int_eq(pipe(a), 0);
    ck_assert_int_eq(write(a[1], "x", 1), 1);
    ck_assert_int_eq(fpd_loop_add(loop, a[0], EPOLLIN, count_and_stop, &fired, &id), APR_SUCCESS);
    ck_assert_int_eq(fpd_loop_run(loop), APR_SUCCESS);
    ck_assert_int_eq(fired, 1);
}
END_TEST

static void note_signal(void *context, int signal_number)
{
    seen *record = context;

    record->order[record->count++] = signal_number;
    fpd_loop_stop(loop);
}

START_TEST(signals_arrive_as_calls)
{
    seen record = {0};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    ck_assert_int_eq(fpd_loop_watch_signals(loop, &set, note_signal, &record), APR_SUCCESS);
    ck_assert_int_eq(kill(getpid(), SIGUSR1), 0);
    ck_assert_int_eq(fpd_loop_run(loop), APR_SUCCESS);
    ck_assert_int_eq(record.count, 1);
    ck_assert_int_eq(record.order[0], SIGUSR1);
}
END_TEST

static Suite *loop_suite(void)
{
    Suite *suite = suite_create("loop");
    TCase *cases = tcase_create("events");

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, a_registration_removed_by_a_callback_of_the_same_wake_up_does_not_fire);
    tcase_add_test(cases, a_reused_place_does_not_answer_to_the_old_id);
    tcase_add_test(cases, registrations_survive_growth_of_the_table);
    tcase_add_test(cases, timers_fire_in_order_of_time_and_cancelled_ones_do_not);
    tcase_add_test(cases, a_timer_that_is_always_due_does_not_starve_descriptors);
    tcase_add_test(cases, signals_arrive_as_calls);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(loop_suite)
