/* test_pool.c - deaths in each slot state, and the pool process's life from start to its end. */
#include "pool_bench.h"

static bench *pool;

static fpd_slot_state slot_state(uint32_t slot)
{
    return FPD_SLOT_STATE(atomic_load(&pool->board->slots[slot].word));
}

static int slot_pid(uint32_t slot)
{
    return atomic_load(&pool->board->slots[slot].pid);
}

static int is_ready(uint32_t slot)
{
    return slot_state(slot) == FPD_SLOT_IDLE || slot_state(slot) == FPD_SLOT_IDLE_NO_LANE;
}

static int has_logged(const char *text)
{
    return strstr(bench_log(pool), text) != NULL;
}

/* One request on a connection of its own, which must end with it. */
static client_reply ask(const char *script, int keep)
{
    static client_reply reply;
    int fd = client_connect(pool);

    client_send(fd, script, keep);
    client_read(fd, &reply);
    client_expect_end(fd);
    return reply;
}

/* ---- deaths ------------------------------------------------------------------------------- */

START_TEST(death_when_claimed_gives_the_request_to_another)
{
    pool = bench_create(2);
    bench_start(pool);
    BENCH_UNTIL(is_ready(0) && is_ready(1));
    atomic_store(&fake->die_when_claimed, 1);
    int fd = client_connect(pool);
    (void)client_pid(fd, 1);
    ck_assert_int_eq(atomic_load(&fake->requests_seen), 1);
    BENCH_UNTIL(has_logged("exited on signal 9 (SIGKILL) after"));
    BENCH_UNTIL(is_ready(0) && is_ready(1)); /* replaced */
    (void)client_pid(fd, 0);
    bench_expect_calm(pool, "SIGKILL");
    bench_stop(pool);
}
END_TEST

START_TEST(death_when_running_is_a_502_with_the_cause_and_no_second_execution)
{
    client_reply reply;

    pool = bench_create(2);
    bench_start(pool);
    reply = ask("/die-running", 1);
    ck_assert_int_eq(reply.status, WIRE_REQUEST_COMPLETE);
    ck_assert_ptr_nonnull(strstr(reply.out, "Status: 502 Bad Gateway\r\n"));
    ck_assert_ptr_nonnull(strstr(reply.error, "exited on signal 9 (SIGKILL)"));
    ck_assert_int_eq(atomic_load(&fake->requests_seen), 1);
    bench_stop(pool);
}
END_TEST

START_TEST(death_when_sending_closes_and_nothing_else)
{
    client_reply reply;

    pool = bench_create(1);
    bench_start(pool);
    reply = ask("/die-sending", 1);
    ck_assert_int_eq(reply.status, -1);
    ck_assert(reply.is_closed);
    ck_assert_int_eq(atomic_load(&fake->requests_seen), 1);
    bench_stop(pool);
}
END_TEST

START_TEST(death_when_done_leaves_the_response_whole)
{
    client_reply reply;

    pool = bench_create(1);
    bench_start(pool);
    reply = ask("/die-done", 1);
    ck_assert_int_eq(reply.status, WIRE_REQUEST_COMPLETE);
    ck_assert_int_gt(atoi(reply.body), 0);
    ck_assert_uint_eq(reply.error_length, 0);
    bench_stop(pool);
}
END_TEST

START_TEST(death_when_idle_keeps_the_lane_open)
{
    pool = bench_create(1);
    bench_start(pool);
    int fd = client_connect(pool);
    int pid = client_pid(fd, 1);
    BENCH_UNTIL(slot_state(0) == FPD_SLOT_IDLE);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    int other = client_pid(fd, 1);
    ck_assert_int_ne(other, pid);
    ck_assert_uint_eq(atomic_load(&pool->board->retired_requests), 1);
    bench_stop(pool);
}
END_TEST

START_TEST(stopped_when_claimed_loses_the_request_to_another)
{
    pool = bench_create(2);
    bench_start(pool);
    BENCH_UNTIL(is_ready(0) && is_ready(1));
    atomic_store(&fake->stop_when_claimed, 1);
    int fd = client_connect(pool);
    int64_t start = fpd_monotonic_now();
    int pid = client_pid(fd, 1);
    int64_t took = fpd_monotonic_now() - start;
    int stopped = atomic_load(&fake->stopped_pid);
    ck_assert_int_ne(pid, stopped);
    ck_assert_int_ge(took, 900000);
    ck_assert_int_eq(atomic_load(&fake->requests_seen), 1);
    /* while it is stopped it gets nothing */
    for (int i = 0; i < 5; i++) {
        int again = client_connect(pool);
        ck_assert_int_eq(client_pid(again, 1), pid);
        close(again);
    }
    /* it goes on: refuses what was taken from it, and serves again */
    uint32_t slot = slot_pid(0) == stopped ? 0 : 1;
    ck_assert_int_eq(kill(stopped, SIGCONT), 0);
    BENCH_UNTIL(slot_state(slot) == FPD_SLOT_IDLE_NO_LANE);
    (void)client_pid(fd, 1);
    int second = client_connect(pool);
    ck_assert_int_eq(client_pid(second, 1) == stopped || client_pid(fd, 1) == stopped, 1);
    ck_assert_int_eq(slot_pid(slot), stopped);
    bench_expect_calm(pool, NULL);
    bench_stop(pool);
}
END_TEST

START_TEST(all_die_and_the_waiting_are_served_by_the_next)
{
    int fds[10];

    pool = bench_create(2);
    bench_start(pool);
    BENCH_UNTIL(is_ready(0) && is_ready(1));
    for (int i = 0; i < 10; i++) {
        fds[i] = client_connect(pool);
        client_send(fds[i], i < 2 ? "/wait" : "/pid", 1);
        BENCH_UNTIL(i >= 2 || atomic_load(&fake->requests_seen) == i + 1);
    }
    BENCH_UNTIL(atomic_load(&pool->board->queue_length) == 8);
    kill(slot_pid(0), SIGKILL);
    kill(slot_pid(1), SIGKILL);
    for (int i = 0; i < 10; i++) {
        client_reply reply;
        client_read(fds[i], &reply);
        ck_assert_int_eq(reply.status, WIRE_REQUEST_COMPLETE);
        ck_assert_int_eq(strstr(reply.out, "Status: 502") != NULL, i < 2);
    }
    ck_assert_int_eq(atomic_load(&fake->requests_seen), 10);
    bench_stop(pool);
}
END_TEST

START_TEST(workers_that_die_at_once_make_503_not_a_hang)
{
    pool = bench_create(1);
    atomic_init(&fake->die_at_start, 1);
    bench_start(pool);
    /* five rounds of back-off until it is longer than a second */
    client_reply reply = ask("/pid", 0);
    ck_assert_int_eq(reply.status, WIRE_OVERLOADED);
    ck_assert_ptr_nonnull(strstr(reply.out, "Status: 503"));
    ck_assert(has_logged("exited with code 70"));
    atomic_store(&fake->die_at_start, 0);
    BENCH_UNTIL(is_ready(0)); /* and it recovers by itself */
    (void)client_pid(client_connect(pool), 0);
    bench_stop(pool);
}
END_TEST

/* ---- limits ------------------------------------------------------------------------------- */

START_TEST(request_that_runs_too_long_is_a_504)
{
    pool = bench_create(1);
    pool->plan->request_terminate_timeout = 1;
    bench_start(pool);
    int idle = client_connect(pool);
    int pid = client_pid(idle, 1);
    client_reply reply = ask("/wait", 0);
    ck_assert_ptr_nonnull(strstr(reply.out, "Status: 504 Gateway Timeout"));
    ck_assert(has_logged("execution timed out (1."));
    BENCH_UNTIL(has_logged("exited on signal 15 (SIGTERM)"));
    atomic_store(&fake->release, 1);
    ck_assert_int_ne(client_pid(idle, 1), pid); /* an idle kept connection has no limit */
    bench_stop(pool);
}
END_TEST

START_TEST(max_requests_replaces_the_worker_and_keeps_connections)
{
    pool = bench_create(1);
    atomic_store(&fake->max_requests, 3);
    bench_start(pool);
    int fd = client_connect(pool);
    int changes = 0;
    int pid = client_pid(fd, 1);
    for (int i = 1; i < 9; i++) {
        int now = client_pid(fd, 1);
        changes += now != pid;
        pid = now;
    }
    ck_assert_int_eq(changes, 2);
    BENCH_UNTIL(has_logged("exited with code 0 after"));
    bench_expect_calm(pool, NULL);
    bench_stop(pool);
}
END_TEST

START_TEST(descriptors_run_out_and_come_back)
{
    struct rlimit limit;
    struct rlimit low;
    int fds[80];
    int answered = 0;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    pool = bench_create(1);
    low = limit;
    low.rlim_cur = 64;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    bench_start(pool);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (int i = 0; i < 80; i++) {
        fds[i] = client_connect(pool);
    }
    BENCH_UNTIL(has_logged("no descriptor left for a new connection"));
    for (int i = 0; i < 40; i++) {
        close(fds[i]);
    }
    for (int i = 40; i < 80; i++) {
        answered += client_pid(fds[i], 0) > 0;
    }
    ck_assert_int_eq(answered, 40);
    bench_expect_calm(pool, "no descriptor left");
    bench_stop(pool);
}
END_TEST

START_TEST(kept_connections_give_way_when_descriptors_run_out)
{
    struct rlimit limit;
    struct rlimit low;
    int fds[60];

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    pool = bench_create(1);
    low = limit;
    low.rlim_cur = 64;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    bench_start(pool);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (int i = 0; i < 60; i++) { /* all stay open on this side */
        fds[i] = client_connect(pool);
        ck_assert_int_gt(client_pid(fds[i], 1), 0);
    }
    client_expect_end(fds[0]); /* the longest idle ones had to go */
    bench_expect_calm(pool, "no descriptor left");
    bench_stop(pool);
}
END_TEST

/* ---- ondemand ----------------------------------------------------------------------------- */

START_TEST(ondemand_forks_after_the_queue_and_retires_idle_workers)
{
    int fds[6];

    pool = bench_create(4);
    pool->plan->pm = FPD_PM_ONDEMAND;
    pool->plan->process_idle_timeout = 1;
    bench_start(pool);
    ck_assert_int_eq(slot_pid(0), 0);
    for (int i = 0; i < 6; i++) {
        fds[i] = client_connect(pool);
        client_send(fds[i], "/wait", 0);
    }
    BENCH_UNTIL(atomic_load(&fake->requests_seen) == 4);
    BENCH_UNTIL(has_logged("server reached max_children setting (4), consider raising it"));
    ck_assert_uint_eq(atomic_load(&pool->board->max_children_reached), 1);
    atomic_store(&fake->release, 1);
    for (int i = 0; i < 6; i++) {
        client_reply reply;
        client_read(fds[i], &reply);
        ck_assert_int_eq(reply.status, WIRE_REQUEST_COMPLETE);
    }
    BENCH_UNTIL(slot_pid(0) + slot_pid(1) + slot_pid(2) + slot_pid(3) == 0);
    ck_assert(has_logged("has been killed by the process management after"));
    (void)client_pid(client_connect(pool), 0); /* and again */
    bench_expect_calm(pool, "server reached max_children");
    bench_stop(pool);
}
END_TEST

START_TEST(idle_ondemand_pool_leaves_and_says_so)
{
    fpd_message message;
    static fpd_message_buffer buffer;

    pool = bench_create(1);
    pool->plan->pm = FPD_PM_ONDEMAND;
    pool->plan->process_idle_timeout = 1;
    pool->plan->pool_idle_timeout = 1;
    bench_start(pool);
    int kept = client_connect(pool);
    (void)client_pid(kept, 1);
    ck_assert_int_eq(fpd_channel_receive(pool->master, &message, &buffer, 0), APR_SUCCESS);
    ck_assert_uint_eq(message.type, FPD_MESSAGE_IDLE);
    client_expect_end(kept);
    bench_tell(pool, FPD_MESSAGE_LEAVE);
    bench_expect_end(pool);
    bench_stop(pool);
}
END_TEST

/* ---- phases ------------------------------------------------------------------------------- */

START_TEST(drain_finishes_what_is_there_and_closes_the_idle)
{
    client_reply reply;

    pool = bench_create(1);
    bench_start(pool);
    int idle = client_connect(pool);
    (void)client_pid(idle, 1);
    int running = client_connect(pool);
    client_send(running, "/wait", 1);
    BENCH_UNTIL(atomic_load(&fake->requests_seen) == 2);
    int waiting = client_connect(pool);
    client_send(waiting, "/pid", 1);
    int fresh = client_connect(pool);
    BENCH_UNTIL(atomic_load(&pool->board->connections) == 4);
    bench_tell(pool, FPD_MESSAGE_DRAIN);
    client_expect_end(idle);
    client_send(fresh, "/pid", 1);
    atomic_store(&fake->release, 1);
    client_read(running, &reply);
    ck_assert_int_eq(reply.status, WIRE_REQUEST_COMPLETE);
    client_read(waiting, &reply);
    ck_assert_int_eq(reply.status, WIRE_REQUEST_COMPLETE);
    client_read(fresh, &reply);
    ck_assert_int_eq(reply.status, WIRE_REQUEST_COMPLETE);
    client_expect_end(running);
    client_expect_end(waiting);
    client_expect_end(fresh);
    bench_expect_end(pool);
    bench_expect_calm(pool, NULL);
    bench_stop(pool);
}
END_TEST

START_TEST(drain_serves_a_whole_request_and_refuses_half_of_one)
{
    uint8_t bytes[1024];
    client_reply reply;

    pool = bench_create(1);
    bench_start(pool);
    int whole = client_connect(pool);
    int half = client_connect(pool);
    (void)client_pid(whole, 1);
    (void)client_pid(half, 1);
    int last = client_connect(pool);
    (void)client_pid(last, 1); /* has the lane now */
    size_t length = client_request(bytes, "/pid", 1, NULL);
    kill(pool->pid, SIGSTOP); /* everything below arrives "at the same time" */
    ck_assert_int_eq(send(whole, bytes, length, 0), (ssize_t)length);
    ck_assert_int_eq(send(half, bytes, WIRE_BEGIN_SIZE - 4, 0), WIRE_BEGIN_SIZE - 4);
    bench_tell(pool, FPD_MESSAGE_DRAIN);
    kill(pool->pid, SIGCONT);
    client_read(whole, &reply);
    ck_assert_int_eq(reply.status, WIRE_REQUEST_COMPLETE);
    client_expect_end(whole);
    client_expect_end(half);
    client_expect_end(last);
    ck_assert_int_eq(send(last, "x", 1, MSG_NOSIGNAL), -1);
    bench_expect_end(pool);
    bench_stop(pool);
}
END_TEST

START_TEST(drain_gives_up_after_process_control_timeout)
{
    pool = bench_create(1);
    pool->plan->process_control_timeout = 1;
    bench_start(pool);
    int running = client_connect(pool);
    client_send(running, "/wait", 0);
    BENCH_UNTIL(atomic_load(&fake->requests_seen) == 1);
    bench_tell(pool, FPD_MESSAGE_DRAIN);
    client_reply reply;
    client_read(running, &reply);
    ck_assert_ptr_nonnull(strstr(reply.out, "Status: 502"));
    bench_expect_end(pool);
    bench_stop(pool);
}
END_TEST

START_TEST(stop_ends_all_and_refuses_the_waiting)
{
    client_reply reply;

    pool = bench_create(1);
    bench_start(pool);
    int running = client_connect(pool);
    client_send(running, "/wait", 0);
    BENCH_UNTIL(atomic_load(&fake->requests_seen) == 1);
    int waiting = client_connect(pool);
    client_send(waiting, "/pid", 0);
    BENCH_UNTIL(atomic_load(&pool->board->queue_length) == 1);
    bench_tell(pool, FPD_MESSAGE_STOP);
    client_read(waiting, &reply);
    ck_assert_int_eq(reply.status, WIRE_OVERLOADED);
    client_read(running, &reply);
    ck_assert_ptr_nonnull(strstr(reply.out, "Status: 502"));
    bench_expect_end(pool);
    bench_stop(pool);
}
END_TEST

START_TEST(death_of_the_master_drains)
{
    pool = bench_create(1);
    bench_start(pool);
    int running = client_connect(pool);
    client_send(running, "/wait", 0);
    BENCH_UNTIL(atomic_load(&fake->requests_seen) == 1);
    close(pool->master);
    pool->master = -1;
    close(pool->listener); /* the test's own; refused as soon as the pool process has left it too */
    BENCH_UNTIL(({
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int result = connect(fd, (struct sockaddr *)&pool->address, sizeof(pool->address));
        close(fd);
        result != 0 && errno == ECONNREFUSED;
    }));
    pool->listener = -1;
    atomic_store(&fake->release, 1);
    client_reply reply;
    client_read(running, &reply);
    ck_assert_int_eq(reply.status, WIRE_REQUEST_COMPLETE);
    bench_expect_end(pool);
    bench_stop(pool);
}
END_TEST

START_TEST(answer_mode_says_503_with_the_reason)
{
    uint8_t bytes[1024];
    client_reply reply;

    pool = bench_create(1);
    pool->refusal = "the user 'nosuch' does not exist";
    bench_start(pool);
    reply = ask("/pid", 1);
    ck_assert_int_eq(reply.status, WIRE_OVERLOADED);
    ck_assert_ptr_nonnull(strstr(reply.out, "Status: 503"));
    ck_assert_ptr_nonnull(strstr(reply.error, "the user 'nosuch' does not exist"));
    int ours = client_connect(pool);
    size_t length = client_request(bytes, "/pid", 1, WIRE_PARAM_PEER);
    for (size_t i = 0; i < length; i++) { /* the head comes byte by byte */
        ck_assert_int_eq(send(ours, bytes + i, 1, 0), 1);
    }
    client_read(ours, &reply);
    ck_assert_int_eq(reply.status, WIRE_OVERLOADED);
    ck_assert_uint_eq(reply.out_length, 0);
    int slow = client_connect(pool); /* never sends the rest of its head: answered all the same */
    ck_assert_int_eq(send(slow, bytes, WIRE_BEGIN_SIZE, 0), WIRE_BEGIN_SIZE);
    client_read(slow, &reply);
    ck_assert_ptr_nonnull(strstr(reply.out, "Status: 503"));
    ck_assert_int_eq(slot_pid(0), 0);
    bench_tell(pool, FPD_MESSAGE_DRAIN);
    bench_expect_end(pool);
    bench_stop(pool);
}
END_TEST

START_TEST(output_of_workers_reaches_the_log_line_by_line)
{
    pool = bench_create(1);
    pool->plan->catch_workers_output = 1;
    bench_start(pool);
    int fd = client_connect(pool);
    client_send(fd, "/speak", 0);
    BENCH_UNTIL(has_logged(" said into stderr: \"first line\""));
    BENCH_UNTIL(has_logged(" said into stderr: \"second\""));
    bench_expect_calm(pool, "said into stderr");
    bench_stop(pool);
}
END_TEST

static Suite *pool_suite(void)
{
    Suite *suite = suite_create("pool");
    TCase *cases = tcase_create("pool");

    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, death_when_claimed_gives_the_request_to_another);
    tcase_add_test(cases, death_when_running_is_a_502_with_the_cause_and_no_second_execution);
    tcase_add_test(cases, death_when_sending_closes_and_nothing_else);
    tcase_add_test(cases, death_when_done_leaves_the_response_whole);
    tcase_add_test(cases, death_when_idle_keeps_the_lane_open);
    tcase_add_test(cases, stopped_when_claimed_loses_the_request_to_another);
    tcase_add_test(cases, all_die_and_the_waiting_are_served_by_the_next);
    tcase_add_test(cases, workers_that_die_at_once_make_503_not_a_hang);
    tcase_add_test(cases, request_that_runs_too_long_is_a_504);
    tcase_add_test(cases, max_requests_replaces_the_worker_and_keeps_connections);
    tcase_add_test(cases, descriptors_run_out_and_come_back);
    tcase_add_test(cases, kept_connections_give_way_when_descriptors_run_out);
    tcase_add_test(cases, ondemand_forks_after_the_queue_and_retires_idle_workers);
    tcase_add_test(cases, idle_ondemand_pool_leaves_and_says_so);
    tcase_add_test(cases, drain_finishes_what_is_there_and_closes_the_idle);
    tcase_add_test(cases, drain_serves_a_whole_request_and_refuses_half_of_one);
    tcase_add_test(cases, drain_gives_up_after_process_control_timeout);
    tcase_add_test(cases, stop_ends_all_and_refuses_the_waiting);
    tcase_add_test(cases, death_of_the_master_drains);
    tcase_add_test(cases, answer_mode_says_503_with_the_reason);
    tcase_add_test(cases, output_of_workers_reaches_the_log_line_by_line);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(pool_suite)
