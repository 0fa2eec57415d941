/* test_slow_requests.c - what the pool process makes of slow requests, and of the answers of
 * tracers, which are a tenant's own processes.
 */
#include "pool_bench.h"

static bench *pool;

static unsigned count_logged(const char *text)
{
    unsigned count = 0;

    for (const char *at = bench_log(pool); (at = strstr(at, text)) != NULL; at++) {
        count++;
    }
    return count;
}

static unsigned counted(void)
{
    return atomic_load(&pool->board->slow_requests);
}

/* A pool of one worker, and a client whose script runs until fake->release. */
static int start(const char *script)
{
    int fd;

    pool = bench_create(1);
    pool->plan->request_slowlog_timeout = 1;
    pool->plan->slowlog = "slow.log";
    pool->slow_log = memfd_create("slow.log", MFD_CLOEXEC);
    bench_start(pool);
    fd = client_connect(pool);
    client_send(fd, script, 1);
    return fd;
}

static void end(int fd, const char *allowed)
{
    client_reply reply;

    atomic_store(&fake->release, 1);
    client_read(fd, &reply);
    ck_assert_int_eq(atoi(reply.body), client_pid(fd, 1)); /* the worker serves on */
    close(fd);
    close(pool->slow_log);
    bench_expect_calm(pool, allowed);
    bench_stop(pool);
}

START_TEST(a_traced_request_is_told_of_and_counted)
{
    int fd = start("/trace");
    const char *line;

    BENCH_UNTIL(count_logged("executing too slow (") == 1);
    ck_assert_int_eq((int)lseek(pool->slow_log, 0, SEEK_END), 5); /* the worker had the file */
    line = strstr(pool->log_text, "executing too slow");
    ck_assert_int_eq(strncmp(line, "executing too slow (1.", 22), 0);
    ck_assert_ptr_nonnull(strstr(line, "), logging\n"));
    /* texts without an end are cut, and do not touch what stands behind them */
    ck_assert_ptr_nonnull(strstr(pool->log_text, "(request: \"xxxxxxxxxxxxxxx xxx"));
    ck_assert_uint_eq(counted(), 1);
    end(fd, "executing too slow");
}
END_TEST

START_TEST(what_had_ended_before_it_was_traced_is_not_slow)
{
    int fd = start("/trace-late");

    BENCH_UNTIL(lseek(pool->slow_log, 0, SEEK_END) == 5);
    atomic_store(&fake->release, 1);
    BENCH_UNTIL(FPD_SLOT_STATE(atomic_load(&pool->board->slots[0].word)) == FPD_SLOT_IDLE);
    ck_assert_uint_eq(counted(), 0);
    end(fd, NULL);
}
END_TEST

/* Nobody asked: such a tracer could fill the log. */
START_TEST(an_answer_without_a_question_is_the_last_one)
{
    int fd = start("/trace-early");

    BENCH_UNTIL(count_logged("sent a malformed message, it is not asked again") == 1);
    BENCH_UNTIL(count_logged("executing too slow") == 1);
    ck_assert_uint_eq(counted(), 1);
    ck_assert_ptr_null(strstr(bench_log(pool), "xxx"));
    atomic_store(&fake->release, 1);
    end(fd, "child");
}
END_TEST

START_TEST(an_answer_that_is_cut_is_no_answer)
{
    int fd = start("/trace-cut");

    BENCH_UNTIL(count_logged("executing too slow") == 1);
    ck_assert_uint_eq(count_logged("sent a malformed message, it is not asked again"), 1);
    ck_assert_uint_eq(counted(), 1);
    end(fd, "child");
}
END_TEST

START_TEST(without_a_tracer_it_is_told_of_and_counted)
{
    int fd = start("/trace-gone");

    BENCH_UNTIL(count_logged("executing too slow") == 1);
    ck_assert_uint_eq(counted(), 1);
    end(fd, "executing too slow");
}
END_TEST

START_TEST(a_worker_that_dies_before_it_answers_is_told_of)
{
    int fd = start("/trace-mute");
    client_reply reply;

    BENCH_UNTIL(atomic_load(&fake->traces_asked) == 1);
    ck_assert_uint_eq(count_logged("executing too slow"), 0);
    kill(atomic_load(&pool->board->slots[0].pid), SIGKILL);
    client_read(fd, &reply);
    BENCH_UNTIL(count_logged("executing too slow") == 1);
    BENCH_UNTIL(counted() == 1);
    client_expect_end(fd);
    close(pool->slow_log);
    bench_stop(pool);
}
END_TEST

static Suite *slow_suite(void)
{
    Suite *tests = suite_create("slow requests");
    TCase *all = tcase_create("slow requests");

    tcase_set_timeout(all, 60);
    tcase_add_test(all, a_traced_request_is_told_of_and_counted);
    tcase_add_test(all, what_had_ended_before_it_was_traced_is_not_slow);
    tcase_add_test(all, an_answer_without_a_question_is_the_last_one);
    tcase_add_test(all, an_answer_that_is_cut_is_no_answer);
    tcase_add_test(all, without_a_tracer_it_is_told_of_and_counted);
    tcase_add_test(all, a_worker_that_dies_before_it_answers_is_told_of);
    suite_add_tcase(tests, all);
    return tests;
}

UNIT_MAIN(slow_suite)
