/* test_fpmp_latency.c - how long requests take, the last hour, and why a server failed: figures
 * that many threads and processes write at once, and that nobody resets.
 */
#include "unit.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fpmp_latency.h"
#include "fpmp_trouble.h"

#define SECOND apr_time_from_sec(1)
#define MINUTE apr_time_from_sec(60)

static fpmp_latency latency;
static fpmp_history history;

static void set_up(void)
{
    memset(&latency, 0, sizeof(latency));
    memset(&history, 0, sizeof(history));
}

static int bucket_of(uint64_t microseconds)
{
    fpmp_latency_counts counts;
    set_up();
    fpmp_latency_add(&latency, microseconds, SECOND);
    fpmp_latency_read_recent(&latency, SECOND, &counts);
    for (int i = 0; i < FPMP_LATENCY_BUCKETS; i++) {
        if (counts.buckets[i]) {
            return i;
        }
    }
    return -1;
}

START_TEST(test_bounds_rise_evenly)
{
    ck_assert_uint_eq(fpmp_latency_bound(0), 200);
    ck_assert_uint_eq(fpmp_latency_bound(FPMP_LATENCY_BOUNDS - 1), 100000000);
    ck_assert_uint_eq(fpmp_latency_bound(FPMP_LATENCY_BOUNDS), UINT64_MAX);
    for (int i = 1; i < FPMP_LATENCY_BOUNDS; i++) {
        double step = (double)fpmp_latency_bound(i) / (double)fpmp_latency_bound(i - 1);
        ck_assert_msg(step > 1.3 && step < 1.7, "bound %d", i);
    }
}
END_TEST

START_TEST(test_a_bucket_has_its_bound)
{
    for (int i = 0; i < FPMP_LATENCY_BOUNDS; i++) {
        ck_assert_int_eq(bucket_of(fpmp_latency_bound(i)), i);
        ck_assert_int_eq(bucket_of(fpmp_latency_bound(i) + 1), i + 1);
    }
    ck_assert_int_eq(bucket_of(0), 0);
    ck_assert_int_eq(bucket_of(UINT64_MAX), FPMP_LATENCY_BOUNDS);
}
END_TEST

/* The coarse buckets have the same requests, by bounds of their own. */
START_TEST(test_coarse_buckets_agree)
{
    for (int i = 0; i < FPMP_LATENCY_BUCKETS; i++) {
        uint64_t value = i < FPMP_LATENCY_BOUNDS ? fpmp_latency_bound(i) : UINT64_MAX;
        fpmp_latency_ever ever;
        (void)bucket_of(value);
        fpmp_latency_read_ever(&latency, &ever);
        for (int j = 0; j < FPMP_LATENCY_COARSE; j++) {
            int is_here = value <= fpmp_latency_coarse_bound(j) &&
                          (!j || value > fpmp_latency_coarse_bound(j - 1));
            ck_assert_msg(ever.buckets[j] == (unsigned)is_here, "%d in %d", i, j);
        }
    }
    ck_assert_uint_eq(fpmp_latency_coarse_bound(0), 1000);
    ck_assert_uint_eq(fpmp_latency_coarse_bound(1), 2000);
    ck_assert_uint_eq(fpmp_latency_coarse_bound(2), 5000);
    ck_assert_uint_eq(fpmp_latency_coarse_bound(FPMP_LATENCY_COARSE - 2), 100000000);
    ck_assert_uint_eq(fpmp_latency_coarse_bound(FPMP_LATENCY_COARSE - 1), UINT64_MAX);
}
END_TEST

START_TEST(test_quantiles)
{
    fpmp_latency_counts counts;
    fpmp_latency_read_recent(&latency, SECOND, &counts);
    ck_assert_uint_eq(fpmp_latency_quantile(&counts, 0.5), 0);
    for (int i = 1; i <= 1000; i++) {
        fpmp_latency_add(&latency, (uint64_t)i * 1000, SECOND); /* 1 ms .. 1 s, evenly */
    }
    fpmp_latency_read_recent(&latency, SECOND, &counts);
    static const double parts[] = {0.1, 0.5, 0.9, 0.99};
    for (int i = 0; i < 4; i++) {
        double found = (double)fpmp_latency_quantile(&counts, parts[i]) / 1e6;
        ck_assert_msg(found > parts[i] * 0.97 && found < parts[i] * 1.03, "%f: %f", parts[i],
                      found);
    }
}
END_TEST

START_TEST(test_what_is_longer_than_all_bounds_is_at_least_the_last)
{
    fpmp_latency_counts counts;
    fpmp_latency_add(&latency, 500000000, SECOND);
    fpmp_latency_read_recent(&latency, SECOND, &counts);
    ck_assert_uint_eq(fpmp_latency_quantile(&counts, 0.5), 100000000);
}
END_TEST

static uint64_t count_recent(apr_time_t now)
{
    fpmp_latency_counts counts;
    uint64_t total = 0;
    fpmp_latency_read_recent(&latency, now, &counts);
    for (int i = 0; i < FPMP_LATENCY_BUCKETS; i++) {
        total += counts.buckets[i];
    }
    return total;
}

START_TEST(test_recent_forgets)
{
    apr_time_t first = 1000 * FPMP_LATENCY_PERIOD;
    fpmp_latency_add(&latency, 1000, first);
    fpmp_latency_add(&latency, 1000, first + FPMP_LATENCY_PERIOD - 1);
    ck_assert_uint_eq(count_recent(first), 2);
    ck_assert_uint_eq(count_recent(first + 2 * FPMP_LATENCY_PERIOD - 1), 2);
    ck_assert_uint_eq(count_recent(first + 2 * FPMP_LATENCY_PERIOD), 0);
    fpmp_latency_add(&latency, 1000, first + 2 * FPMP_LATENCY_PERIOD);
    ck_assert_uint_eq(count_recent(first + 2 * FPMP_LATENCY_PERIOD), 1);
    fpmp_latency_ever ever;
    fpmp_latency_read_ever(&latency, &ever);
    ck_assert_uint_eq(ever.buckets[0], 3);
}
END_TEST

START_TEST(test_recent_stops_before_it_spills)
{
    for (int i = 0; i < 2200000; i++) {
        fpmp_latency_add(&latency, 1000, SECOND);
    }
    ck_assert_uint_gt(count_recent(SECOND), 2000000);
    ck_assert_uint_lt(count_recent(SECOND), 2097152);
    fpmp_latency_ever ever;
    fpmp_latency_read_ever(&latency, &ever);
    ck_assert_uint_eq(ever.buckets[0], 2200000);
}
END_TEST

START_TEST(test_an_hour_of_minutes)
{
    fpmp_minute_counts minutes[FPMP_HISTORY_MINUTES];
    for (int i = 0; i < 100; i++) {
        fpmp_history_add(&history, i % 3 == 0, 10, i * MINUTE + i);
        fpmp_history_add(&history, 0, 20, i * MINUTE + 59 * SECOND);
    }
    fpmp_history_read(&history, 99 * MINUTE, minutes);
    for (int i = 0; i < FPMP_HISTORY_MINUTES; i++) {
        ck_assert_uint_eq(minutes[i].requests, 2);
        ck_assert_uint_eq(minutes[i].errors, (40 + i) % 3 == 0);
        ck_assert_uint_eq(minutes[i].microseconds, 30);
    }
    fpmp_history_read(&history, 109 * MINUTE, minutes);
    ck_assert_uint_eq(minutes[49].requests, 2);
    ck_assert_uint_eq(minutes[50].requests, 0);
    fpmp_history_read(&history, 159 * MINUTE, minutes);
    ck_assert_uint_eq(minutes[0].requests, 0);
}
END_TEST

START_TEST(test_a_host_that_is_up_for_less_than_an_hour)
{
    fpmp_minute_counts minutes[FPMP_HISTORY_MINUTES];
    fpmp_history_add(&history, 0, 5, 3 * MINUTE);
    fpmp_history_read(&history, 3 * MINUTE, minutes);
    ck_assert_uint_eq(minutes[FPMP_HISTORY_MINUTES - 1].requests, 1);
    ck_assert_uint_eq(minutes[0].requests, 0);
}
END_TEST

/* Whoever is first in a minute begins it, and nobody's request is lost over that. */
START_TEST(test_processes_at_once)
{
    enum { CHILDREN = 4, EACH = 50000 };
    fpmp_history *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
    for (int child = 0; child < CHILDREN; child++) {
        if (fork() == 0) {
            for (int i = 0; i < EACH; i++) {
                fpmp_history_add(shared, i % 2, 1, i / 1000 * MINUTE);
            }
            _exit(0);
        }
    }
    while (wait(NULL) > 0) {
    }
    fpmp_minute_counts minutes[FPMP_HISTORY_MINUTES];
    fpmp_history_read(shared, 59 * MINUTE, minutes);
    for (int i = 0; i < EACH / 1000; i++) {
        ck_assert_uint_eq(minutes[i].requests, CHILDREN * 1000);
        ck_assert_uint_eq(minutes[i].errors, CHILDREN * 500);
        ck_assert_uint_eq(minutes[i].microseconds, CHILDREN * 1000);
    }
}
END_TEST

START_TEST(test_trouble)
{
    fpmp_trouble trouble;
    char text[FPMP_TROUBLE_SIZE];
    uint64_t when = 0;
    memset(&trouble, 0, sizeof(trouble));
    ck_assert(!fpmp_trouble_read(&trouble, text, &when));
    fpmp_trouble_note(&trouble, "it is away", 77);
    ck_assert(fpmp_trouble_read(&trouble, text, &when));
    ck_assert_str_eq(text, "it is away");
    ck_assert_uint_eq(when, 77);
    char large[200];
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    fpmp_trouble_note(&trouble, large, 78);
    ck_assert(fpmp_trouble_read(&trouble, text, &when));
    ck_assert_uint_eq(strlen(text), FPMP_TROUBLE_SIZE - 1);
}
END_TEST

/* A writer that was killed, or two at once: no mixed text, and the next one is whole again. */
START_TEST(test_torn_trouble_is_none)
{
    fpmp_trouble trouble;
    char text[FPMP_TROUBLE_SIZE];
    uint64_t when = 0;
    memset(&trouble, 0, sizeof(trouble));
    fpmp_trouble_note(&trouble, "no connection to it", 77);
    atomic_store(&trouble.words[1], 1234);
    ck_assert(!fpmp_trouble_read(&trouble, text, &when));
    fpmp_trouble_note(&trouble, "no connection to it", 79);
    ck_assert(fpmp_trouble_read(&trouble, text, &when));
    atomic_store(&trouble.seal, 0);
    ck_assert(!fpmp_trouble_read(&trouble, text, &when));
}
END_TEST

static Suite *latency_suite(void)
{
    Suite *suite = suite_create("fpmp_latency");
    TCase *tests = tcase_create("latency");
    tcase_add_checked_fixture(tests, set_up, NULL);
    tcase_add_test(tests, test_bounds_rise_evenly);
    tcase_add_test(tests, test_a_bucket_has_its_bound);
    tcase_add_test(tests, test_coarse_buckets_agree);
    tcase_add_test(tests, test_quantiles);
    tcase_add_test(tests, test_what_is_longer_than_all_bounds_is_at_least_the_last);
    tcase_add_test(tests, test_recent_forgets);
    tcase_add_test(tests, test_recent_stops_before_it_spills);
    tcase_add_test(tests, test_an_hour_of_minutes);
    tcase_add_test(tests, test_a_host_that_is_up_for_less_than_an_hour);
    tcase_add_test(tests, test_processes_at_once);
    tcase_add_test(tests, test_trouble);
    tcase_add_test(tests, test_torn_trouble_is_none);
    suite_add_tcase(suite, tests);
    return suite;
}

UNIT_MAIN(latency_suite)
