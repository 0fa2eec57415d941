/* test_dispatch.c - the pool process with fake workers: lanes, queue, deaths in each slot state. */
#include "pool_bench.h"

static bench *pool;

static fpd_slot_state slot_state(uint32_t slot)
{
    return FPD_SLOT_STATE(atomic_load(&pool->board->slots[slot].word));
}

static int is_idle(uint32_t slot)
{
    return slot_state(slot) == FPD_SLOT_IDLE || slot_state(slot) == FPD_SLOT_IDLE_NO_LANE;
}

START_TEST(one_worker_serves_fifty_kept_connections_in_any_order)
{
    int fds[50];
    int left[50];
    int remaining = 150;
    int worker = 0;

    pool = bench_create(1);
    bench_start(pool);
    for (int i = 0; i < 50; i++) {
        fds[i] = client_connect(pool);
        left[i] = 3;
    }
    srand(7);
    while (remaining > 0) {
        int i = rand() % 50;
        int pid;
        if (left[i] == 0) {
            continue;
        }
        pid = client_pid(fds[i], 1);
        ck_assert(worker == 0 || pid == worker);
        worker = pid;
        left[i]--;
        remaining--;
    }
    ck_assert_uint_eq(atomic_load(&pool->board->connections), 50);
    ck_assert_uint_eq(atomic_load(&pool->board->accepted), 50);
    ck_assert_uint_eq(atomic_load(&pool->board->slots[0].requests), 150);
    for (int i = 0; i < 50; i++) {
        close(fds[i]);
    }
    BENCH_UNTIL(atomic_load(&pool->board->connections) == 0);
    bench_expect_calm(pool, NULL);
    bench_stop(pool);
}
END_TEST

START_TEST(lane_serves_the_next_request_without_the_pool_process)
{
    int fd;

    pool = bench_create(2);
    bench_start(pool);
    fd = client_connect(pool);
    int pid = client_pid(fd, 1);
    for (int i = 0; i < 10; i++) {
        BENCH_UNTIL(slot_state(0) == FPD_SLOT_IDLE || slot_state(1) == FPD_SLOT_IDLE);
        ck_assert_int_eq(client_pid(fd, 1), pid);
    }
    uint64_t hits = atomic_load(&pool->board->slots[0].lane_hits) +
                    atomic_load(&pool->board->slots[1].lane_hits);
    ck_assert_uint_eq(hits, 10);
    close(fd);
    bench_stop(pool);
}
END_TEST

START_TEST(worker_without_a_lane_is_preferred)
{
    int first, second;

    pool = bench_create(2);
    bench_start(pool);
    BENCH_UNTIL(is_idle(0) && is_idle(1));
    first = client_connect(pool);
    second = client_connect(pool);
    int pid = client_pid(first, 1);
    ck_assert_int_ne(client_pid(second, 1), pid);
    ck_assert_int_eq(client_pid(first, 1), pid);
    close(first);
    close(second);
    bench_stop(pool);
}
END_TEST

START_TEST(pipelined_pair_is_served_in_order)
{
    uint8_t bytes[2048];
    client_reply reply;
    int fd;

    pool = bench_create(1);
    bench_start(pool);
    fd = client_connect(pool);
    size_t length = client_request(bytes, "/pid", 1, NULL);
    length += client_request(bytes + length, "/pid", 1, NULL);
    /* and half of a third: it goes back as leftover */
    size_t third = client_request(bytes + length, "/pid", 1, NULL);
    ck_assert_int_eq(send(fd, bytes, length + third / 2, 0), (ssize_t)(length + third / 2));
    for (int i = 0; i < 2; i++) {
        client_read(fd, &reply);
        ck_assert_int_eq(reply.status, WIRE_REQUEST_COMPLETE);
    }
    ck_assert_int_eq(send(fd, bytes + length + third / 2, third - third / 2, 0),
                     (ssize_t)(third - third / 2));
    client_read(fd, &reply);
    ck_assert_int_eq(reply.status, WIRE_REQUEST_COMPLETE);
    ck_assert_int_eq(client_pid(fd, 0), atoi(reply.body));
    client_expect_end(fd);
    bench_stop(pool);
}
END_TEST

START_TEST(lane_that_is_taken_back_has_no_bytes_of_an_earlier_request)
{
    uint8_t bytes[1024];
    client_reply reply;

    pool = bench_create(1);
    bench_start(pool);
    int fd = client_connect(pool);
    size_t length = client_request(bytes, "/pid", 1, NULL);
    length += client_request(bytes + length, "/pid", 1, NULL);
    size_t cut = length - 20; /* in the second: the worker returns its beginning */
    ck_assert_int_eq(send(fd, bytes, cut, 0), (ssize_t)cut);
    client_read(fd, &reply);
    ck_assert_int_eq(send(fd, bytes + cut, length - cut, 0), (ssize_t)(length - cut));
    client_read(fd, &reply); /* assigned with the beginning, and a lane now */
    BENCH_UNTIL(slot_state(0) == FPD_SLOT_IDLE);
    (void)client_pid(client_connect(pool), 1);
    for (int i = 0; i < 3; i++) {
        (void)client_pid(fd, 1);
    }
    bench_stop(pool);
}
END_TEST

/* CPU time that the pool process uses in one second, microseconds. */
static int64_t cpu_of_a_second(void)
{
    struct timespec before, after;
    clockid_t clock;
    int64_t start = fpd_monotonic_now();

    ck_assert_int_eq(clock_getcpuclockid(pool->pid, &clock), 0);
    clock_gettime(clock, &before);
    BENCH_UNTIL(fpd_monotonic_now() - start >= 1000000);
    clock_gettime(clock, &after);
    return (after.tv_sec - before.tv_sec) * INT64_C(1000000) +
           (after.tv_nsec - before.tv_nsec) / 1000;
}

START_TEST(cut_heads_cost_no_worker_and_no_cpu)
{
    uint8_t bytes[1024];
    int fds[60];

    pool = bench_create(1);
    bench_start(pool);
    size_t length = client_request(bytes, "/pid", 0, NULL);
    for (int i = 0; i < 60; i++) {
        fds[i] = client_connect(pool);
        ssize_t part = i % 3 == 0 ? 0 : i % 3 == 1 ? 1 : 15;
        ck_assert_int_eq(send(fds[i], bytes, (size_t)part, 0), part);
    }
    BENCH_UNTIL(atomic_load(&pool->board->connections) == 60);
    BENCH_UNTIL(is_idle(0));
    BENCH_UNTIL(cpu_of_a_second() < 10000); /* the first second may still see them come */
    for (int i = 0; i < 60; i++) {          /* the rest comes: all are served */
        size_t part = i % 3 == 0 ? 0 : i % 3 == 1 ? 1 : 15;
        client_reply reply;
        ck_assert_int_eq(send(fds[i], bytes + part, length - part, 0), (ssize_t)(length - part));
        client_read(fds[i], &reply);
        ck_assert_int_eq(reply.status, WIRE_REQUEST_COMPLETE);
        client_expect_end(fds[i]);
    }
    bench_stop(pool);
}
END_TEST

START_TEST(head_that_does_not_come_is_closed)
{
    int fds[3];

    pool = bench_create(1);
    pool->plan->request_head_timeout = 1;
    bench_start(pool);
    for (int i = 0; i < 3; i++) {
        fds[i] = client_connect(pool);
        ck_assert_int_eq(send(fds[i], "\1\1\0\1\0\10\0\0\0\1\1\0\0\0\0", (size_t)i * 7, 0), i * 7);
    }
    int kept = client_connect(pool);
    (void)client_pid(kept, 1);
    (void)client_pid(client_connect(pool), 1); /* takes the lane: `kept` is idle in the pool */
    for (int i = 0; i < 3; i++) {
        client_expect_end(fds[i]);
    }
    (void)client_pid(kept, 1); /* an idle kept connection has no limit */
    bench_stop(pool);
}
END_TEST

START_TEST(garbage_is_closed_and_harms_nobody)
{
    pool = bench_create(1);
    bench_start(pool);
    int good = client_connect(pool);
    (void)client_pid(good, 1);
    for (int i = 0; i < 20; i++) {
        int fd = client_connect(pool);
        ck_assert_int_eq(send(fd, "GET / HTTP/1.0\r\nHost: x\r\n\r\n", 27, 0), 27);
        client_expect_end(fd);
    }
    (void)client_pid(good, 1);
    BENCH_UNTIL(atomic_load(&pool->board->connections) == 1);
    bench_expect_calm(pool, NULL);
    bench_stop(pool);
}
END_TEST

START_TEST(management_records_are_answered_without_a_worker)
{
    uint8_t asked[64];
    uint8_t *end = wire_pair_write(asked + WIRE_HEADER_SIZE, "FCGI_MPXS_CONNS", 15, "", 0);
    size_t length = (size_t)(end - asked);
    uint8_t reply[64];

    pool = bench_create(1);
    bench_start(pool);
    wire_header_write(asked, WIRE_GET_VALUES, 0, (uint16_t)(length - WIRE_HEADER_SIZE), 0);
    int fd = client_connect(pool);
    ck_assert_int_eq(send(fd, asked, length, 0), (ssize_t)length);
    ssize_t got = recv(fd, reply, sizeof(reply), 0);
    ck_assert_int_gt(got, WIRE_HEADER_SIZE);
    ck_assert_int_eq(reply[1], WIRE_GET_VALUES_RESULT);
    ck_assert_int_eq(atomic_load(&fake->requests_seen), 0);
    (void)client_pid(fd, 0);
    bench_stop(pool);
}
END_TEST

/* ---- the queue ---------------------------------------------------------------------------- */

START_TEST(busy_pool_queues_and_loses_no_wake_up)
{
    int fds[20];

    pool = bench_create(2);
    bench_start(pool);
    BENCH_UNTIL(is_idle(0) && is_idle(1));
    for (int i = 0; i < 20; i++) {
        fds[i] = client_connect(pool);
        client_send(fds[i], "/wait", i % 2);
    }
    BENCH_UNTIL(atomic_load(&pool->board->queue_length) == 18);
    atomic_store(&fake->release, 1);
    for (int i = 0; i < 20; i++) {
        client_reply reply;
        client_read(fds[i], &reply);
        ck_assert_int_eq(reply.status, WIRE_REQUEST_COMPLETE);
    }
    BENCH_UNTIL(atomic_load(&pool->board->queue_length) == 0);
    ck_assert_uint_eq(atomic_load(&pool->board->max_queue_length), 18);
    ck_assert_uint_eq(atomic_load(&pool->board->max_active), 2);
    for (int i = 1; i < 20; i += 2) {
        (void)client_pid(fds[i], 1); /* kept ones serve on */
    }
    bench_stop(pool);
}
END_TEST

START_TEST(hammering_two_workers_with_many_lanes_loses_nothing)
{
    enum { CLIENTS = 8, ROUNDS = 400 };
    pid_t clients[CLIENTS];

    pool = bench_create(2);
    bench_start(pool);
    for (int c = 0; c < CLIENTS; c++) {
        clients[c] = fork();
        if (clients[c] == 0) {
            int fd = client_connect(pool);
            for (int i = 0; i < ROUNDS; i++) {
                int keep = (i + c) % 5 != 0;
                (void)client_pid(fd, keep);
                if (!keep) {
                    close(fd);
                    fd = client_connect(pool);
                }
            }
            _exit(0);
        }
    }
    for (int c = 0; c < CLIENTS; c++) {
        int status;
        ck_assert_int_eq(waitpid(clients[c], &status, 0), clients[c]);
        ck_assert_int_eq(status, 0);
    }
    ck_assert_int_eq(atomic_load(&fake->requests_seen), CLIENTS * ROUNDS);
    BENCH_UNTIL(atomic_load(&pool->board->connections) == 0);
    bench_expect_calm(pool, NULL);
    bench_stop(pool);
}
END_TEST

START_TEST(client_that_leaves_leaves_the_queue)
{
    pool = bench_create(1);
    bench_start(pool);
    int busy = client_connect(pool);
    client_send(busy, "/wait", 0);
    BENCH_UNTIL(atomic_load(&fake->requests_seen) == 1);
    int gone = client_connect(pool);
    client_send(gone, "/pid", 0);
    int half = client_connect(pool);
    client_send(half, "/pid", 0);
    ck_assert_int_eq(shutdown(half, SHUT_WR), 0); /* a half-close is no abort */
    BENCH_UNTIL(atomic_load(&pool->board->queue_length) == 2);
    close(gone);
    BENCH_UNTIL(atomic_load(&pool->board->queue_length) == 1);
    atomic_store(&fake->release, 1);
    client_reply reply;
    client_read(half, &reply);
    ck_assert_int_eq(reply.status, WIRE_REQUEST_COMPLETE);
    ck_assert_int_eq(atomic_load(&fake->requests_seen), 2);
    bench_stop(pool);
}
END_TEST

START_TEST(full_queue_is_answered_503_and_bare_for_our_module)
{
    uint8_t bytes[1024];
    client_reply reply;
    int fds[3];

    pool = bench_create(1);
    pool->plan->queue_max = 2;
    bench_start(pool);
    for (int i = 0; i < 3; i++) {
        fds[i] = client_connect(pool);
        client_send(fds[i], "/wait", 0);
        BENCH_UNTIL(i > 0 || atomic_load(&fake->requests_seen) == 1);
    }
    BENCH_UNTIL(atomic_load(&pool->board->queue_length) == 2);
    int foreign = client_connect(pool);
    client_send(foreign, "/pid", 1);
    client_read(foreign, &reply);
    ck_assert_int_eq(reply.status, WIRE_OVERLOADED);
    ck_assert_ptr_nonnull(strstr(reply.out, "Status: 503"));
    ck_assert_ptr_nonnull(strstr(reply.out, "Retry-After: "));
    ck_assert_ptr_nonnull(strstr(reply.error, "the queue is full: 2 requests wait"));
    client_expect_end(foreign);
    int ours = client_connect(pool);
    size_t length = client_request(bytes, "/pid", 1, WIRE_PARAM_PEER);
    ck_assert_int_eq(send(ours, bytes, length, 0), (ssize_t)length);
    client_read(ours, &reply);
    ck_assert_int_eq(reply.status, WIRE_OVERLOADED);
    ck_assert_uint_eq(reply.out_length + reply.error_length, 0);
    client_expect_end(ours);
    ck_assert_uint_eq(atomic_load(&pool->board->refused), 2);
    atomic_store(&fake->release, 1);
    for (int i = 0; i < 3; i++) {
        client_read(fds[i], &reply);
        ck_assert_int_eq(reply.status, WIRE_REQUEST_COMPLETE);
    }
    bench_stop(pool);
}
END_TEST

START_TEST(waiting_too_long_is_answered_503)
{
    client_reply reply;

    pool = bench_create(1);
    pool->plan->queue_timeout = 1;
    bench_start(pool);
    int busy = client_connect(pool);
    client_send(busy, "/wait", 0);
    BENCH_UNTIL(atomic_load(&fake->requests_seen) == 1);
    int late = client_connect(pool);
    client_send(late, "/pid", 0);
    client_read(late, &reply);
    ck_assert_int_eq(reply.status, WIRE_OVERLOADED);
    ck_assert_ptr_nonnull(strstr(reply.error, "queue.timeout"));
    atomic_store(&fake->release, 1);
    client_read(busy, &reply);
    ck_assert_int_eq(reply.status, WIRE_REQUEST_COMPLETE);
    bench_stop(pool);
}
END_TEST

START_TEST(ping_and_status_are_answered_while_all_are_busy)
{
    uint8_t bytes[1024];
    client_reply reply;

    pool = bench_create(1);
    bench_start(pool);
    int busy = client_connect(pool);
    client_send(busy, "/wait", 0);
    BENCH_UNTIL(atomic_load(&fake->requests_seen) == 1);
    int fd = client_connect(pool);
    for (int i = 0; i < 3; i++) { /* on one kept connection, in two pieces */
        size_t length = client_request(bytes, i == 1 ? "/status" : "/ping", 1, NULL);
        ck_assert_int_eq(send(fd, bytes, WIRE_BEGIN_SIZE, 0), WIRE_BEGIN_SIZE);
        BENCH_UNTIL(atomic_load(&pool->board->queue_length) == 1);
        ck_assert_int_eq(send(fd, bytes + WIRE_BEGIN_SIZE, length - WIRE_BEGIN_SIZE, 0),
                         (ssize_t)(length - WIRE_BEGIN_SIZE));
        client_read(fd, &reply);
        ck_assert_int_eq(reply.status, WIRE_REQUEST_COMPLETE);
        if (i == 1) {
            ck_assert_ptr_nonnull(strstr(reply.body, "active processes:     1\n"));
        } else {
            ck_assert_str_eq(reply.body, "pong");
        }
        ck_assert_uint_eq(atomic_load(&pool->board->queue_length), 0);
    }
    ck_assert_uint_eq(atomic_load(&pool->board->answered), 3);
    atomic_store(&fake->release, 1);
    client_read(busy, &reply);
    (void)client_pid(fd, 0);
    bench_stop(pool);
}
END_TEST

static Suite *dispatch_suite(void)
{
    Suite *suite = suite_create("dispatch");
    TCase *cases = tcase_create("dispatch");

    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, one_worker_serves_fifty_kept_connections_in_any_order);
    tcase_add_test(cases, lane_serves_the_next_request_without_the_pool_process);
    tcase_add_test(cases, worker_without_a_lane_is_preferred);
    tcase_add_test(cases, pipelined_pair_is_served_in_order);
    tcase_add_test(cases, lane_that_is_taken_back_has_no_bytes_of_an_earlier_request);
    tcase_add_test(cases, cut_heads_cost_no_worker_and_no_cpu);
    tcase_add_test(cases, head_that_does_not_come_is_closed);
    tcase_add_test(cases, garbage_is_closed_and_harms_nobody);
    tcase_add_test(cases, management_records_are_answered_without_a_worker);
    tcase_add_test(cases, busy_pool_queues_and_loses_no_wake_up);
    tcase_add_test(cases, hammering_two_workers_with_many_lanes_loses_nothing);
    tcase_add_test(cases, client_that_leaves_leaves_the_queue);
    tcase_add_test(cases, full_queue_is_answered_503_and_bare_for_our_module);
    tcase_add_test(cases, waiting_too_long_is_answered_503);
    tcase_add_test(cases, ping_and_status_are_answered_while_all_are_busy);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(dispatch_suite)
