/* handover_bench.h - two generations of a pool: whole pool processes between which connections are
 * handed over, while the test is the master.
 */
#ifndef HANDOVER_BENCH_H
#define HANDOVER_BENCH_H

#include "pool_bench.h"

static bench *first;
static bench *second;

/* What the master does when the next generation is ready. One end may be the test's own: from or to
 * is NULL, and the other end is returned. */
static int hand_over(const bench *from, const bench *to)
{
    int ends[2];

    ck_assert_int_eq(fpd_channel_pair(ends), APR_SUCCESS);
    if (to != NULL) {
        ck_assert_int_eq(
            fpd_channel_send(to->master, FPD_MESSAGE_RECEIVE, NULL, 0, NULL, 0, &ends[0], 1, 0),
            APR_SUCCESS);
        close(ends[0]);
    }
    if (from != NULL) {
        ck_assert_int_eq(
            fpd_channel_send(from->master, FPD_MESSAGE_DRAIN, NULL, 0, NULL, 0, &ends[1], 1, 0),
            APR_SUCCESS);
        close(ends[1]);
    }
    return to == NULL ? ends[0] : from == NULL ? ends[1] : -1;
}

/* A kept connection of the first generation that has served once. */
static int make_kept(void)
{
    int fd = client_connect(first);

    client_send(fd, "/pid", 1);
    client_reply reply;
    client_read(fd, &reply);
    ck_assert_int_eq(reply.status, WIRE_REQUEST_COMPLETE);
    return fd;
}

/* Clients are accepted by whoever polls the listener; a test that wants them with the first
 * generation starts the second one later. */
static void start_first(int max_children)
{
    first = bench_create(max_children);
    bench_start(first);
    second = NULL;
}

static void occupy(int fd)
{
    int seen = atomic_load(&fake->requests_seen);

    client_send(fd, "/wait", 1);
    BENCH_UNTIL(atomic_load(&fake->requests_seen) == seen + 1);
}

static void expect_answer(int fd)
{
    client_reply reply;

    client_read(fd, &reply);
    ck_assert_msg(reply.status == WIRE_REQUEST_COMPLETE && atoi(reply.body) > 0,
                  "status %d, closed %d, out '%s'", reply.status, reply.is_closed, reply.out);
}

#endif
