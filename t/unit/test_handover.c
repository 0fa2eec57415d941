/* test_handover.c - what one generation of a pool hands over to the next: two or three whole pool
 * processes, the test is the master.
 */
#include "handover_bench.h"

/* The next generation of the same pool: same clients' address, board and channel of its own. The
 * caller stops it, and `before` last. */
static bench *make_next(const bench *before)
{
    bench *self = apr_pmemdup(before->memory, before, sizeof(*before));
    int fd;

    self->plan = apr_pmemdup(before->memory, before->plan, sizeof(*before->plan));
    self->log_length = 0;
    self->log_text[0] = '\0';
    ck_assert_int_eq(fpd_board_create(&fd, "test", (uint32_t)self->plan->max_children),
                     APR_SUCCESS);
    ck_assert_int_eq(fpd_board_map(&self->board, fd, 1, self->memory), APR_SUCCESS);
    close(fd);
    return self;
}

static void stop_two(void)
{
    bench_expect_calm(first, NULL);
    bench_expect_calm(second, NULL);
    bench_stop_generation(second);
    bench_stop(first);
}

static int is_worker_of(const bench *self, int pid)
{
    for (uint32_t i = 0; i < self->board->slot_count; i++) {
        if (atomic_load(&self->board->slots[i].pid) == pid) {
            return 1;
        }
    }
    return 0;
}

/* The next request on that very connection is served by a worker of that generation. */
static void expect_served_by(const bench *self, int fd)
{
    int pid = client_pid(fd, 1);

    ck_assert_msg(is_worker_of(self, pid), "process %d is not of the generation meant", pid);
}

static void start_second(void)
{
    second = make_next(first);
    bench_start(second);
}

/* ---- two generations ---------------------------------------------------------------------- */

START_TEST(idle_connections_go_on_in_the_next_generation)
{
    int fds[150]; /* more than are in flight at once */
    fpd_board_view view;

    start_first(2);
    for (int i = 0; i < 150; i++) {
        fds[i] = make_kept();
    }
    int silent = client_connect(first); /* no byte yet */
    BENCH_UNTIL(atomic_load(&first->board->connections) == 151);
    start_second();
    hand_over(first, second);
    bench_expect_end(first);
    BENCH_UNTIL(atomic_load(&second->board->connections) == 151);
    for (int i = 0; i < 150; i++) {
        expect_served_by(second, fds[i]);
    }
    expect_served_by(second, silent);
    /* one page for both */
    fpd_board_read(second->board, &view);
    ck_assert_uint_eq(view.requests, 301);
    ck_assert_uint_eq(atomic_load(&second->board->accepted), 151);
    for (int i = 0; i < 150; i++) {
        close(fds[i]);
    }
    close(silent);
    BENCH_UNTIL(atomic_load(&second->board->connections) == 0);
    stop_two();
}
END_TEST

START_TEST(the_queue_keeps_its_order_and_its_waiting_time)
{
    int fds[6];
    int64_t since;

    start_first(1);
    int running = client_connect(first);
    occupy(running);
    for (int i = 0; i < 6; i++) {
        char name[3] = {'/', (char)('a' + i), '\0'};
        fds[i] = client_connect(first);
        client_send(fds[i], name, 1);
        BENCH_UNTIL(atomic_load(&first->board->queue_length) == (uint32_t)i + 1);
    }
    since = fpd_monotonic_now();
    start_second();
    BENCH_UNTIL(fpd_monotonic_now() - since > 300000);
    hand_over(first, second);
    for (int i = 0; i < 6; i++) {
        expect_answer(fds[i]);
    }
    ck_assert_msg(memcmp(fake->names, "wabcdef", 7) == 0, "order %.7s", fake->names);
    for (int i = 1; i <= 6; i++) {
        ck_assert_int_ge(atomic_load(&fake->waited[i]), 300000);
    }
    ck_assert_uint_eq(atomic_load(&first->board->queue_length), 0);
    ck_assert_int_eq(kill(first->pid, 0), 0); /* its request runs on */
    atomic_store(&fake->release, 1);
    expect_answer(running);
    expect_served_by(second, running); /* and then its connection follows */
    bench_expect_end(first);
    stop_two();
}
END_TEST

START_TEST(who_waited_longer_is_before_who_came_to_the_next_generation)
{
    start_first(1);
    int running = client_connect(first);
    occupy(running);
    int early = client_connect(first);
    client_send(early, "/early", 1);
    BENCH_UNTIL(atomic_load(&first->board->queue_length) == 1);
    kill(first->pid, SIGSTOP);
    start_second();
    int second_running = client_connect(second);
    occupy(second_running);
    int late = client_connect(second);
    client_send(late, "/late", 1);
    BENCH_UNTIL(atomic_load(&second->board->queue_length) == 1);
    hand_over(first, second);
    kill(first->pid, SIGCONT);
    BENCH_UNTIL(atomic_load(&second->board->queue_length) == 2);
    atomic_store(&fake->release, 1);
    expect_answer(early);
    expect_answer(late);
    expect_answer(running);
    expect_answer(second_running);
    ck_assert_msg(memcmp(fake->names, "wwel", 4) == 0, "order %.4s", fake->names);
    bench_expect_end(first);
    stop_two();
}
END_TEST

START_TEST(a_queue_that_is_full_there_still_takes_who_waited_here)
{
    int fds[5];

    start_first(1);
    int running = client_connect(first);
    occupy(running);
    for (int i = 0; i < 5; i++) {
        fds[i] = client_connect(first);
        client_send(fds[i], "/pid", 1);
    }
    BENCH_UNTIL(atomic_load(&first->board->queue_length) == 5);
    first->plan->queue_max = 1; /* of the second */
    kill(first->pid, SIGSTOP);  /* it polls the listener too */
    start_second();
    int second_running = client_connect(second);
    occupy(second_running);
    hand_over(first, second);
    kill(first->pid, SIGCONT);
    BENCH_UNTIL(atomic_load(&second->board->queue_length) == 5);
    atomic_store(&fake->release, 1);
    for (int i = 0; i < 5; i++) {
        expect_answer(fds[i]);
    }
    expect_answer(running);
    expect_answer(second_running);
    bench_expect_end(first);
    stop_two();
}
END_TEST

START_TEST(half_a_head_is_completed_in_the_next_generation)
{
    uint8_t bytes[1024];
    uint8_t two[2048];

    start_first(1);
    size_t length = client_request(bytes, "/pid", 1, NULL);
    int in_socket = client_connect(first);
    ck_assert_int_eq(send(in_socket, bytes, 9, 0), 9);
    /* a whole request and the beginning of one, which a worker has read with it */
    int read_already = client_connect(first);
    memcpy(two, bytes, length);
    memcpy(two + length, bytes, 11);
    ck_assert_int_eq(send(read_already, two, length + 11, 0), (ssize_t)length + 11);
    expect_answer(read_already);
    /* the same, while the first generation drains */
    int later = client_connect(first);
    size_t wait_length = client_request(two, "/wait", 1, NULL);
    memcpy(two + wait_length, bytes, 13);
    ck_assert_int_eq(send(later, two, wait_length + 13, 0), (ssize_t)wait_length + 13);
    BENCH_UNTIL(atomic_load(&fake->requests_seen) == 2);
    BENCH_UNTIL(atomic_load(&first->board->connections) == 3);
    start_second();
    hand_over(first, second);
    ck_assert_int_eq(send(in_socket, bytes + 9, length - 9, 0), (ssize_t)length - 9);
    expect_answer(in_socket);
    ck_assert_int_eq(send(read_already, bytes + 11, length - 11, 0), (ssize_t)length - 11);
    expect_answer(read_already);
    atomic_store(&fake->release, 1);
    expect_answer(later);
    ck_assert_int_eq(send(later, bytes + 13, length - 13, 0), (ssize_t)length - 13);
    expect_answer(later);
    expect_served_by(second, in_socket);
    expect_served_by(second, read_already);
    expect_served_by(second, later);
    bench_expect_end(first);
    stop_two();
}
END_TEST

START_TEST(a_stop_at_once_ends_what_runs_and_still_hands_over_the_rest)
{
    client_reply reply;

    start_first(2);
    int idle[3] = {make_kept(), make_kept(), make_kept()};
    int running[2] = {client_connect(first), client_connect(first)};
    occupy(running[0]);
    occupy(running[1]);
    int waiting = client_connect(first);
    client_send(waiting, "/pid", 1);
    BENCH_UNTIL(atomic_load(&first->board->queue_length) == 1);
    start_second();
    hand_over(first, second);
    bench_tell(first, FPD_MESSAGE_STOP);
    for (int i = 0; i < 2; i++) {
        client_read(running[i], &reply);
        ck_assert_ptr_nonnull(strstr(reply.out, "Status: 502"));
    }
    expect_answer(waiting);
    bench_expect_end(first);
    for (int i = 0; i < 3; i++) {
        expect_served_by(second, idle[i]);
    }
    stop_two();
}
END_TEST

/* ---- three ---------------------------------------------------------------------------------*/

START_TEST(a_chain_of_three_needs_no_relay)
{
    start_first(1);
    int idle = make_kept();
    int running = client_connect(first);
    occupy(running);
    int waiting = client_connect(first);
    client_send(waiting, "/wait", 1);
    BENCH_UNTIL(atomic_load(&first->board->queue_length) == 1);
    start_second();
    hand_over(first, second);
    BENCH_UNTIL(atomic_load(&fake->requests_seen) == 3); /* the waiting one runs in the second */
    bench *third = make_next(second);
    bench_start(third);
    hand_over(second, third);
    expect_served_by(third, idle);
    atomic_store(&fake->release, 1);
    expect_answer(running);
    expect_answer(waiting);
    expect_served_by(third, running);
    expect_served_by(third, waiting);
    bench_expect_end(first);
    bench_expect_end(second);
    bench_expect_calm(third, NULL);
    bench_stop_generation(third);
    stop_two();
}
END_TEST

START_TEST(the_middle_of_three_may_end_before_the_oldest)
{
    start_first(1);
    int running = client_connect(first);
    occupy(running);
    start_second();
    hand_over(first, second);
    BENCH_UNTIL(atomic_load(&second->board->accepted) == 1); /* COUNTS came: it has the source */
    bench *third = make_next(second);
    bench_start(third);
    hand_over(second, third);
    bench_expect_end(second);
    ck_assert_int_eq(kill(first->pid, 0), 0);
    atomic_store(&fake->release, 1);
    expect_answer(running);
    expect_served_by(third, running);
    bench_expect_end(first);
    bench_expect_calm(third, NULL);
    bench_stop_generation(third);
    stop_two();
}
END_TEST

/* ---- limits ------------------------------------------------------------------------------- */

/* A process of that user which has as many descriptors in flight as the limit allows, until the
 * pipe `release` is closed. */
static pid_t fill_user(uid_t uid, rlim_t limit, const int *release)
{
    int ready[2];
    int ends[2];
    char byte;
    pid_t pid;

    ck_assert_int_eq(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        struct rlimit files = {.rlim_cur = limit, .rlim_max = limit};
        apr_status_t status = APR_SUCCESS;
        close(release[1]);
        setrlimit(RLIMIT_NOFILE, &files);
        if ((geteuid() == 0 && setresuid(uid, uid, uid) != 0) ||
            fpd_channel_pair(ends) != APR_SUCCESS) {
            _exit(72);
        }
        while (status == APR_SUCCESS) {
            status = fpd_channel_send(ends[0], FPD_MESSAGE_RECEIVE, NULL, 0, NULL, 0, &ready[0], 1,
                                      MSG_DONTWAIT);
        }
        _exit(status == ETOOMANYREFS && write(ready[1], "r", 1) == 1 &&
                      read(release[0], &byte, 1) == 0
                  ? 0
                  : 73);
    }
    close(ready[1]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

START_TEST(a_full_table_waits_and_loses_nobody)
{
    enum { COUNT = 60 };
    int fds[COUNT];

    start_first(1);
    int running = client_connect(first);
    occupy(running);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = client_connect(first);
        client_send(fds[i], "/pid", 0);
        BENCH_UNTIL(atomic_load(&first->board->queue_length) == (uint32_t)i + 1);
    }
    kill(first->pid, SIGSTOP);
    second = make_next(first);
    second->file_limit = 64; /* of which 32 are for connections */
    bench_start(second);
    int second_running = client_connect(second);
    occupy(second_running);
    hand_over(first, second);
    kill(first->pid, SIGCONT);
    BENCH_UNTIL(atomic_load(&second->board->connections) == 32);
    atomic_store(&fake->release, 1);
    for (int i = 0; i < COUNT; i++) {
        expect_answer(fds[i]);
        client_expect_end(fds[i]);
    }
    expect_answer(running);
    expect_answer(second_running);
    bench_expect_end(first);
    stop_two();
}
END_TEST

START_TEST(too_many_descriptors_in_flight_are_waited_for)
{
    enum { COUNT = 10, LIMIT = 64 };
    /* The kernel counts descriptors in flight of all processes of a user. */
    const uid_t nobody_else = 100000 + (uid_t)getpid();
    int fds[COUNT];
    int release[2];
    int64_t since;
    int status;
    pid_t other;

    ck_assert_int_eq(pipe(release), 0);
    first = bench_create(1);
    first->file_limit = LIMIT;
    first->uid = nobody_else;
    bench_start(first);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = make_kept();
    }
    start_second();
    other = fill_user(nobody_else, LIMIT, release);
    hand_over(first, second);
    since = fpd_monotonic_now();
    BENCH_UNTIL(fpd_monotonic_now() - since > 500000);
    ck_assert_uint_eq(atomic_load(&second->board->connections), 0);
    close(release[0]);
    close(release[1]);
    ck_assert_int_eq(waitpid(other, &status, 0), other);
    ck_assert_int_eq(status, 0);
    for (int i = 0; i < COUNT; i++) {
        expect_served_by(second, fds[i]);
    }
    bench_expect_end(first);
    stop_two();
}
END_TEST

START_TEST(who_drains_without_a_successor_gives_back_what_is_not_read)
{
    start_first(1);
    int running = client_connect(first);
    occupy(running);
    int waiting = client_connect(first);
    client_send(waiting, "/pid", 1);
    BENCH_UNTIL(atomic_load(&first->board->queue_length) == 1);
    start_second();
    kill(second->pid, SIGSTOP);
    bench_tell(second, FPD_MESSAGE_DRAIN);
    hand_over(first, second);
    kill(second->pid, SIGCONT);
    bench_expect_end(second);
    atomic_store(&fake->release, 1);
    expect_answer(running);
    client_expect_end(running);
    expect_answer(waiting);
    client_expect_end(waiting);
    bench_expect_end(first);
    stop_two();
}
END_TEST

static Suite *handover_suite(void)
{
    Suite *suite = suite_create("handover");
    TCase *cases = tcase_create("handover");

    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, idle_connections_go_on_in_the_next_generation);
    tcase_add_test(cases, the_queue_keeps_its_order_and_its_waiting_time);
    tcase_add_test(cases, who_waited_longer_is_before_who_came_to_the_next_generation);
    tcase_add_test(cases, a_queue_that_is_full_there_still_takes_who_waited_here);
    tcase_add_test(cases, half_a_head_is_completed_in_the_next_generation);
    tcase_add_test(cases, a_stop_at_once_ends_what_runs_and_still_hands_over_the_rest);
    tcase_add_test(cases, a_chain_of_three_needs_no_relay);
    tcase_add_test(cases, the_middle_of_three_may_end_before_the_oldest);
    tcase_add_test(cases, a_full_table_waits_and_loses_nobody);
    tcase_add_test(cases, too_many_descriptors_in_flight_are_waited_for);
    tcase_add_test(cases, who_drains_without_a_successor_gives_back_what_is_not_read);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(handover_suite)
