/* handover.c - the giving side: sends connections to the next generation and waits for TAKEN.
 *
 * Runs in the pool process while it drains. It must not touch a connection between sending it and
 * taking it back, nor one that a worker has; which phase this is belongs to pool.c.
 */
#include "pool/handover.h"

#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "pool/connections.h"
#include "pool/dispatch.h"
#include "pool/takeover.h"

#define RETRY_TIME INT64_C(50000)         /* for instance with too many descriptors in flight */
#define STALL_TIME (3 * INT64_C(1000000)) /* without progress: this generation serves on */

typedef struct fpd_handover {
    int fd; /* -1: no next generation */
    fpd_loop_id watch;
    int is_blocked; /* until EPOLLOUT or the timer */
    uint32_t unacknowledged;
    uint32_t next_index;   /* of the connection table, where the next look begins */
    int64_t progress_at;   /* something was sent or acknowledged */
    fpd_loop_timer *timer; /* a retry, or the end of patience */
    fpd_message_counts told;
} fpd_handover;

/* ---- counters ----------------------------------------------------------------------------- */

static fpd_message_counts count(const fpd_pool *pool)
{
    const fpd_board *board = pool->board;
    fpd_board_view view;

    fpd_board_read(board, &view);
    return (fpd_message_counts){.requests = view.requests,
                                .lane_hits = view.lane_hits,
                                .accepted = atomic_load(&board->accepted),
                                .refused = view.refused,
                                .max_children_reached = view.max_children_reached,
                                .slow_requests = view.slow_requests,
                                .max_active = view.max_active,
                                .max_queue_length = view.max_queue_length};
}

static void tell_counts(fpd_pool *pool)
{
    fpd_handover *self = pool->handover;
    fpd_message_counts now = count(pool);
    fpd_message_counts news = now;

    news.requests -= self->told.requests;
    news.lane_hits -= self->told.lane_hits;
    news.accepted -= self->told.accepted;
    news.refused -= self->told.refused;
    news.max_children_reached -= self->told.max_children_reached;
    news.slow_requests -= self->told.slow_requests;
    if (fpd_channel_send(self->fd, FPD_MESSAGE_COUNTS, &news, sizeof(news), NULL, 0, NULL, 0,
                         MSG_DONTWAIT) == APR_SUCCESS) {
        self->told = now;
    }
}

/* ---- acknowledgements --------------------------------------------------------------------- */

static void note_progress(fpd_pool *pool)
{
    pool->handover->progress_at = fpd_loop_now(pool->loop);
    pool->is_giving = 1;
}

static int take_acknowledgement(fpd_pool *pool, const fpd_message *message)
{
    fpd_connection_id id;
    fpd_connection *connection;

    if (message->type != FPD_MESSAGE_TAKEN || message->length != sizeof(id) ||
        message->fd_count != 0) {
        return 0;
    }
    memcpy(&id, message->body, sizeof(id));
    if (id.generation == 0) {
        if (!fpd_takeover_forget(pool, id.index)) {
            return 0;
        }
    } else {
        connection = fpd_connections_find(pool, id);
        if (connection == NULL || connection->state != FPD_CONNECTION_PASSED) {
            return 0;
        }
        fpd_connections_close(connection);
    }
    pool->handover->unacknowledged--;
    note_progress(pool);
    return 1;
}

/* Until there are no more: APR_EAGAIN, or why there will never be another one. */
static apr_status_t read_acknowledgements(fpd_pool *pool)
{
    fpd_message message;
    apr_status_t status;

    while ((status = fpd_channel_receive(pool->handover->fd, &message, pool->buffer,
                                         MSG_DONTWAIT)) == APR_SUCCESS) {
        int is_good = take_acknowledgement(pool, &message);
        while (message.fd_count > 0) {
            close(message.fds[--message.fd_count]);
        }
        if (!is_good) {
            return APR_EGENERAL;
        }
    }
    return status;
}

/* ---- the end of the next generation, or of this hand-over --------------------------------- */

/* is_gone: its end is closed, so nobody has touched what was not acknowledged and nobody will.
 * Otherwise it talks nonsense, but may still read what was sent: that is not ours any more. */
static void settle_passed(fpd_pool *pool, int is_gone)
{
    for (uint32_t i = 0; i < fpd_connections_bound(pool); i++) {
        fpd_connection *connection = fpd_connections_at(pool, i);
        if (connection->state != FPD_CONNECTION_PASSED) {
            continue;
        }
        if (is_gone) {
            fpd_connections_hold(connection);
            fpd_connections_reread(connection);
        } else {
            fpd_connections_close(connection);
        }
    }
}

static void lose_next(fpd_pool *pool, int is_gone)
{
    fpd_handover *self = pool->handover;

    fpd_loop_remove(pool->loop, self->watch);
    fpd_loop_timer_cancel(self->timer);
    close(self->fd);
    self->fd = -1;
    self->watch = 0;
    self->unacknowledged = 0;
    pool->is_giving = 0;
    fpd_log(FPD_LOG_DEBUG, "the next generation takes nothing more over");
    fpd_takeover_close_all(pool); /* its givers serve on too */
    settle_passed(pool, is_gone);
    fpd_dispatch_run(pool);
    fpd_pool_wake(pool);
}

/* ---- sending ------------------------------------------------------------------------------ */

/* Returns 1 if it is on its way, 0 if not now. That the next generation is gone is decided by
 * reading alone (on_next): it may have acknowledged something before. */
static int send_one(fpd_pool *pool, fpd_message_type type, const void *body, size_t length,
                    const void *more, size_t more_length, int fd)
{
    fpd_handover *self = pool->handover;
    apr_status_t status =
        fpd_channel_send(self->fd, type, body, length, more, more_length, &fd, 1, MSG_DONTWAIT);

    if (status == APR_SUCCESS) {
        self->unacknowledged++;
        note_progress(pool);
        return 1;
    }
    self->is_blocked = 1;
    if (!APR_STATUS_IS_EAGAIN(status) ||
        fpd_loop_modify(pool->loop, self->watch, EPOLLIN | EPOLLOUT) != APR_SUCCESS) {
        fpd_loop_timer_set(self->timer, fpd_loop_now(pool->loop) + RETRY_TIME);
    }
    return 0;
}

static void pass(fpd_connection *connection)
{
    fpd_pool *pool = connection->pool;
    int was_queued = connection->state == FPD_CONNECTION_QUEUED;
    fpd_message_connection message = {.connection = fpd_connections_id(connection),
                                      .ready_at = was_queued ? connection->ready_at : 0,
                                      .leftover = (uint32_t)connection->leftover_length,
                                      .is_fresh = (uint32_t)connection->is_fresh,
                                      .is_status = (uint32_t)connection->is_status};

    fpd_connections_hold(connection);
    if (send_one(pool, FPD_MESSAGE_CONNECTION, &message, sizeof(message), connection->leftover,
                 connection->leftover_length, connection->fd)) {
        connection->state = FPD_CONNECTION_PASSED;
        connection->is_admitted = was_queued; /* should it come back */
    } else if (was_queued) {
        fpd_dispatch_requeue(connection);
    } else {
        fpd_connections_watch(connection);
    }
}

static void pass_source(fpd_pool *pool, uint32_t number)
{
    fpd_connection_id id = {.index = number, .generation = 0};
    int fd = fpd_takeover_let_go(pool, number);

    if (fd >= 0 && !send_one(pool, FPD_MESSAGE_SOURCE, &id, sizeof(id), NULL, 0, fd)) {
        fpd_takeover_resume(pool, number);
    }
}

static int can_send(const fpd_handover *self)
{
    return self->fd >= 0 && !self->is_blocked && self->unacknowledged < FPD_HANDOVER_WINDOW;
}

static void pass_all(fpd_pool *pool)
{
    fpd_handover *self = pool->handover;
    uint32_t bound = fpd_connections_bound(pool);

    for (uint32_t i = 0; i < FPD_TAKEOVER_SOURCES && can_send(self); i++) {
        pass_source(pool, i);
    }
    while (can_send(self) && fpd_queue_length(pool->queue) > 0) {
        pass(fpd_connections_at(pool, fpd_queue_first(pool->queue)));
    }
    for (uint32_t i = 0; i < bound && can_send(self); i++) {
        fpd_connection *connection = fpd_connections_at(pool, self->next_index++ % bound);
        if (connection->state == FPD_CONNECTION_WATCHED && !connection->is_closing) {
            pass(connection);
        }
    }
}

void fpd_handover_run(fpd_pool *pool)
{
    fpd_handover *self = pool->handover;

    pass_all(pool);
    if (self->fd >= 0 && (self->unacknowledged > 0 || self->is_blocked) && pool->is_giving &&
        !fpd_loop_timer_is_set(self->timer)) {
        fpd_loop_timer_set(self->timer, self->progress_at + STALL_TIME);
    }
}

/* ---- events ------------------------------------------------------------------------------- */

static void on_time(void *context)
{
    fpd_pool *pool = context;
    fpd_handover *self = pool->handover;

    self->is_blocked = 0;
    fpd_handover_run(pool);
    if (self->fd >= 0 && pool->is_giving && (self->unacknowledged > 0 || self->is_blocked) &&
        fpd_loop_now(pool->loop) - self->progress_at >= STALL_TIME) {
        fpd_log(FPD_LOG_DEBUG, "the next generation takes nothing over at present");
        pool->is_giving = 0;
        fpd_dispatch_run(pool);
        fpd_pool_wake(pool);
    }
}

static void on_next(void *context, uint32_t events)
{
    fpd_pool *pool = context;
    fpd_handover *self = pool->handover;
    apr_status_t status;

    if ((events & EPOLLOUT) != 0) {
        self->is_blocked = 0;
        (void)fpd_loop_modify(pool->loop, self->watch, EPOLLIN);
    }
    status = read_acknowledgements(pool);
    if (!APR_STATUS_IS_EAGAIN(status)) {
        lose_next(pool, status == APR_EOF);
    }
    fpd_pool_wake(pool);
}

void fpd_handover_begin(fpd_pool *pool, int fd)
{
    fpd_handover *self = pool->handover;

    if (self->fd >= 0 ||
        fpd_loop_add(pool->loop, fd, EPOLLIN, on_next, pool, &self->watch) != APR_SUCCESS) {
        close(fd);
        return;
    }
    self->fd = fd;
    self->is_blocked = 0;
    note_progress(pool);
    tell_counts(pool);
    fpd_pool_wake(pool);
}

int fpd_handover_has_next(const fpd_pool *pool)
{
    return pool->handover->fd >= 0;
}

void fpd_handover_end(fpd_pool *pool)
{
    if (pool->handover->fd >= 0) {
        tell_counts(pool);
    }
}

void fpd_handover_create(fpd_pool *pool)
{
    fpd_handover *self = apr_pcalloc(pool->memory, sizeof(*self));

    self->fd = -1;
    self->timer = fpd_loop_timer_create(pool->loop, on_time, pool);
    pool->handover = self;
}
