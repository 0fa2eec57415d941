/* test_fpmp_counters.c - figures that many processes add to at once, some of which are killed. */
#include "unit.h"

#include "fpmp_counters.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILDREN 4
#define REQUESTS 1000

static int state_of(const char *name)
{
    int i = 0;
    while (strcmp(fpmp_counters_state_name(i), name)) {
        i++;
    }
    return i;
}

static void count_some(fpmp_counters *counters)
{
    for (int i = 0; i < REQUESTS; i++) {
        fpmp_counters_add(counters, i % 10 < 7 ? "ok" : i % 10 < 9 ? "timeout" : NULL, 100, 5);
    }
    raise(SIGKILL);
}

START_TEST(children_add_up_and_their_sums_outlive_them)
{
    fpmp_counters *counters =
        mmap(NULL, sizeof(*counters), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    fpmp_count count;
    pid_t child[CHILDREN];
    ck_assert_ptr_ne(counters, MAP_FAILED);
    fpmp_counters_read(counters, &count);
    ck_assert_uint_eq(count.requests, 0);
    for (int i = 0; i < CHILDREN; i++) {
        child[i] = fork();
        if (child[i] == 0) {
            count_some(counters);
        }
    }
    for (int i = 0; i < CHILDREN; i++) {
        waitpid(child[i], NULL, 0);
    }
    fpmp_counters_read(counters, &count);
    ck_assert_uint_eq(count.requests, CHILDREN * REQUESTS);
    ck_assert_uint_eq(count.states[state_of("ok")], CHILDREN * REQUESTS * 7 / 10);
    ck_assert_uint_eq(count.states[state_of("timeout")], CHILDREN * REQUESTS * 2 / 10);
    ck_assert_uint_eq(count.states[state_of("other")], CHILDREN * REQUESTS / 10);
    ck_assert_uint_eq(count.bytes, CHILDREN * REQUESTS * 100);
    ck_assert_uint_eq(count.microseconds, CHILDREN * REQUESTS * 5);
    munmap(counters, sizeof(*counters));
}
END_TEST

START_TEST(every_state_has_a_name_and_no_other_has)
{
    for (int i = 0; i < FPMP_COUNTERS_STATES; i++) {
        ck_assert_ptr_nonnull(fpmp_counters_state_name(i));
        ck_assert_int_eq(state_of(fpmp_counters_state_name(i)), i);
    }
    ck_assert_ptr_null(fpmp_counters_state_name(FPMP_COUNTERS_STATES));
    ck_assert_ptr_null(fpmp_counters_state_name(-1));
}
END_TEST

static Suite *counters_suite(void)
{
    Suite *suite = suite_create("fpmp_counters");
    TCase *all = tcase_create("all");
    tcase_add_test(all, children_add_up_and_their_sums_outlive_them);
    tcase_add_test(all, every_state_has_a_name_and_no_other_has);
    suite_add_tcase(suite, all);
    return suite;
}

UNIT_MAIN(counters_suite)
