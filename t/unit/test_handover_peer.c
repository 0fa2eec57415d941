/* test_handover_peer.c - a generation whose other side is the test itself: one that dies, stops in
 * the middle, says nonsense or offers what is no connection.
 */
#include "handover_bench.h"

/* ---- the test is the next generation ------------------------------------------------------ */

static fpd_message_buffer buffer;

/* The next CONNECTION of the hand-over; COUNTS are skipped. Its descriptor, or -1 at the end. */
static int receive_connection(int source, fpd_message_connection *about)
{
    fpd_message message;

    for (;;) {
        if (fpd_channel_receive(source, &message, &buffer, 0) != APR_SUCCESS) {
            return -1;
        }
        if (message.type == FPD_MESSAGE_CONNECTION) {
            ck_assert_int_eq(message.fd_count, 1);
            ck_assert_uint_ge(message.length, sizeof(*about));
            memcpy(about, message.body, sizeof(*about));
            return message.fds[0];
        }
        ck_assert_uint_eq(message.type, FPD_MESSAGE_COUNTS);
    }
}

static void acknowledge(int source, const fpd_connection_id *id)
{
    ck_assert_int_eq(
        fpd_channel_send(source, FPD_MESSAGE_TAKEN, id, sizeof(*id), NULL, 0, NULL, 0, 0),
        APR_SUCCESS);
}

START_TEST(what_was_not_acknowledged_is_taken_back_when_the_next_generation_dies)
{
    fpd_message_connection about;
    int fds[4];

    start_first(1);
    int idle = make_kept();
    int running = client_connect(first);
    occupy(running);
    for (int i = 0; i < 4; i++) {
        fds[i] = client_connect(first);
        client_send(fds[i], "/pid", 1);
        BENCH_UNTIL(atomic_load(&first->board->queue_length) == (uint32_t)i + 1);
    }
    int source = hand_over(first, NULL);
    /* two are read, one of them acknowledged: that is ours, whatever happens next */
    int ours = receive_connection(source, &about);
    ck_assert_int_gt(about.ready_at, 0);
    acknowledge(source, &about.connection);
    close(receive_connection(source, &about));
    close(source);
    client_expect_end(idle);
    ck_assert_int_eq(send(ours, "from us", 7, MSG_NOSIGNAL), 7);
    atomic_store(&fake->release, 1);
    expect_answer(running);
    for (int i = 1; i < 4; i++) {
        expect_answer(fds[i]); /* by a worker that was forked for it: the other one retired */
    }
    client_expect_end(running);
    bench_expect_end(first);
    char text[16];
    ck_assert_int_eq(recv(fds[0], text, sizeof(text), 0), 7); /* nobody else wrote to it */
    ck_assert_int_eq(send(fds[0], "still open", 10, MSG_NOSIGNAL), 10);
    ck_assert_int_eq(atomic_load(&fake->requests_seen), 5);
    bench_expect_calm(first, NULL);
    bench_stop(first);
}
END_TEST

/* The acknowledgement arrives while this side still sends, so that the end is seen by sending. */
START_TEST(an_acknowledgement_counts_when_sending_finds_the_next_generation_dead)
{
    enum { COUNT = 60 };
    fpd_message_connection about;
    int fds[COUNT];
    char text[16];

    start_first(1);
    int running = client_connect(first);
    occupy(running);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = client_connect(first);
        client_send(fds[i], "/pid", 1);
        BENCH_UNTIL(atomic_load(&first->board->queue_length) == (uint32_t)i + 1);
    }
    int source = hand_over(first, NULL);
    int ours = receive_connection(source, &about);
    acknowledge(source, &about.connection);
    close(source);
    atomic_store(&fake->release, 1);
    expect_answer(running);
    for (int i = 1; i < COUNT; i++) {
        expect_answer(fds[i]);
    }
    bench_expect_end(first);
    ck_assert_int_eq(send(ours, "from us", 7, MSG_NOSIGNAL), 7);
    ck_assert_int_eq(recv(fds[0], text, sizeof(text), 0), 7);
    ck_assert_int_eq(atomic_load(&fake->requests_seen), COUNT);
    bench_expect_calm(first, NULL);
    bench_stop(first);
}
END_TEST

START_TEST(without_progress_this_generation_serves_on_but_for_what_is_on_its_way)
{
    enum { COUNT = 70 };
    fpd_message_connection about;
    int fds[COUNT];

    start_first(1);
    int running = client_connect(first);
    occupy(running);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = client_connect(first);
        client_send(fds[i], "/pid", 1);
        BENCH_UNTIL(atomic_load(&first->board->queue_length) == (uint32_t)i + 1);
    }
    int source = hand_over(first, NULL); /* and nobody reads it */
    BENCH_UNTIL(atomic_load(&first->board->queue_length) == COUNT - 64);
    atomic_store(&fake->release, 1);
    for (int i = 64; i < COUNT; i++) {
        expect_answer(fds[i]);
    }
    ck_assert_int_eq(atomic_load(&fake->requests_seen), 1 + COUNT - 64);
    int ours = receive_connection(source, &about); /* a slow one, not a dead one */
    acknowledge(source, &about.connection);
    ck_assert_int_eq(send(ours, "from us", 7, MSG_NOSIGNAL), 7);
    close(source);
    for (int i = 1; i < 64; i++) {
        expect_answer(fds[i]);
    }
    ck_assert_int_eq(atomic_load(&fake->requests_seen), COUNT);
    bench_expect_end(first);
    bench_expect_calm(first, NULL);
    bench_stop(first);
}
END_TEST

START_TEST(nonsense_from_the_next_generation_ends_the_hand_over)
{
    fpd_connection_id id = {.index = 77, .generation = 3};
    fpd_message_connection about;
    char text[16];

    start_first(1);
    int running = client_connect(first);
    occupy(running);
    int waiting = client_connect(first);
    client_send(waiting, "/pid", 1);
    BENCH_UNTIL(atomic_load(&first->board->queue_length) == 1);
    int source = hand_over(first, NULL);
    int ours = receive_connection(source, &about);
    acknowledge(source, &id);
    ck_assert_int_eq(receive_connection(source, &about), -1);
    close(source);
    atomic_store(&fake->release, 1);
    expect_answer(running);
    client_expect_end(running); /* no next generation any more */
    bench_expect_end(first);
    /* we have read what was sent before, so nobody else may have it */
    ck_assert_int_eq(send(ours, "from us", 7, MSG_NOSIGNAL), 7);
    ck_assert_int_eq(recv(waiting, text, sizeof(text), 0), 7);
    ck_assert_int_eq(atomic_load(&fake->requests_seen), 1);
    bench_stop(first);
}
END_TEST

/* ---- the test is the old generation ------------------------------------------------------- */

/* Sends a CONNECTION; expects TAKEN, or the end of the hand-over. */
static int offer(int target, const void *body, size_t length, const int *fds, int fd_count)
{
    fpd_message message;

    ck_assert_int_eq(
        fpd_channel_send(target, FPD_MESSAGE_CONNECTION, body, length, NULL, 0, fds, fd_count, 0),
        APR_SUCCESS);
    return fpd_channel_receive(target, &message, &buffer, 0) == APR_SUCCESS &&
           message.type == FPD_MESSAGE_TAKEN;
}

START_TEST(what_is_no_connection_is_not_taken)
{
    fpd_message_connection good = {.connection = {.index = 5, .generation = 9}};
    fpd_message_connection long_leftover = good;
    int stream[2], packets[2], pipes[2];

    start_first(1);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, stream), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, packets), 0);
    ck_assert_int_eq(pipe(pipes), 0);
    long_leftover.leftover = 1;
    struct {
        const void *body;
        size_t length;
        int fds[2];
        int fd_count;
    } bad[] = {
        {&good, sizeof(good), {0}, 0},
        {&good, sizeof(good), {stream[0], stream[1]}, 2},
        {&good, sizeof(good) - 1, {stream[0]}, 1},
        {&good, 0, {stream[0]}, 1},
        {&long_leftover, sizeof(good), {stream[0]}, 1},
        {&good, sizeof(good), {packets[0]}, 1},
        {&good, sizeof(good), {pipes[0]}, 1},
        {&good, sizeof(good), {first->listener}, 1},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int target = hand_over(NULL, first);
        ck_assert_msg(!offer(target, bad[i].body, bad[i].length, bad[i].fds, bad[i].fd_count),
                      "number %zu was taken", i);
        close(target);
    }
    ck_assert_uint_eq(atomic_load(&first->board->connections), 0);
    int target = hand_over(NULL, first);
    ck_assert(offer(target, &good, sizeof(good), stream, 1)); /* blocking until now */
    ck_assert_int_ne(fcntl(stream[0], F_GETFL) & O_NONBLOCK, 0);
    close(stream[0]);
    (void)client_pid(stream[1], 1);
    bench_expect_calm(first, "hands over what is not understood");
    bench_stop(first);
}
END_TEST

START_TEST(leftover_bytes_and_counts_of_an_older_generation_are_taken)
{
    uint8_t request[1024];
    struct {
        fpd_message_connection about;
        uint8_t leftover[20];
    } whole = {.about = {.connection = {.index = 1, .generation = 1}, .leftover = 20}};
    fpd_message_counts counts = {.requests = 1000, .accepted = 10, .max_active = 7};
    fpd_board_view view;
    int stream[2];

    start_first(1);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, stream), 0);
    size_t length = client_request(request, "/pid", 1, NULL);
    memcpy(whole.leftover, request, 20);
    int target = hand_over(NULL, first);
    ck_assert_int_eq(
        fpd_channel_send(target, FPD_MESSAGE_COUNTS, &counts, sizeof(counts), NULL, 0, NULL, 0, 0),
        APR_SUCCESS);
    ck_assert(offer(target, &whole, sizeof(whole.about) + 20, stream, 1));
    close(stream[0]);
    ck_assert_int_eq(send(stream[1], request + 20, length - 20, 0), (ssize_t)length - 20);
    expect_answer(stream[1]);
    BENCH_UNTIL(atomic_load(&first->board->slots[0].requests) == 1);
    fpd_board_read(first->board, &view);
    ck_assert_uint_eq(view.requests, 1001);
    ck_assert_uint_eq(view.max_active, 7);
    ck_assert_uint_eq(atomic_load(&first->board->accepted), 10);
    close(target);
    bench_expect_calm(first, NULL);
    bench_stop(first);
}
END_TEST

static Suite *handover_peer_suite(void)
{
    Suite *suite = suite_create("handover_peer");
    TCase *cases = tcase_create("handover_peer");

    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, what_was_not_acknowledged_is_taken_back_when_the_next_generation_dies);
    tcase_add_loop_test(
        cases, an_acknowledgement_counts_when_sending_finds_the_next_generation_dead, 0, 10);
    tcase_add_test(cases, without_progress_this_generation_serves_on_but_for_what_is_on_its_way);
    tcase_add_test(cases, nonsense_from_the_next_generation_ends_the_hand_over);
    tcase_add_test(cases, what_is_no_connection_is_not_taken);
    tcase_add_test(cases, leftover_bytes_and_counts_of_an_older_generation_are_taken);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(handover_peer_suite)
