/* takeover.c - the receiving side: takes connections of older generations into the table.
 *
 * Runs in the pool process. It acknowledges a connection before it touches it, and reads no message
 * for which there is no room. What it reads comes from another process of the tenant.
 */
#include "pool/takeover.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "pool/connections.h"
#include "pool/farewell.h"
#include "pool/handover.h"
#include "pool/listener.h"

#define MESSAGES_AT_ONCE 32
#define RETRY_TIME       INT64_C(100000) /* a full table is looked at again */
#define CLOSED_AT_ONCE   16

typedef struct source {
    fpd_pool *pool;
    int fd; /* -1: none */
    fpd_loop_id watch;
    int is_passed; /* sent on, not acknowledged yet */
} source;

typedef struct fpd_takeover {
    source sources[FPD_TAKEOVER_SOURCES];
    fpd_loop_timer *retry;
} fpd_takeover;

static void on_source(void *context, uint32_t events);

/* ---- sources ------------------------------------------------------------------------------ */

static void forget(source *from)
{
    fpd_loop_remove(from->pool->loop, from->watch);
    close(from->fd);
    from->fd = -1;
    from->watch = 0;
    from->is_passed = 0;
    fpd_pool_wake(from->pool);
}

static void watch(source *from)
{
    if (fpd_loop_add(from->pool->loop, from->fd, EPOLLIN, on_source, from, &from->watch) !=
        APR_SUCCESS) {
        forget(from);
    }
}

void fpd_takeover_begin(fpd_pool *pool, int fd)
{
    source *from = NULL;

    for (uint32_t i = 0; i < FPD_TAKEOVER_SOURCES && from == NULL; i++) {
        from = pool->takeover->sources[i].fd < 0 ? &pool->takeover->sources[i] : NULL;
    }
    if (from == NULL || pool->setup.refusal != NULL ||
        (pool->phase != FPD_POOL_SERVING && !fpd_handover_has_next(pool))) {
        close(fd);
        return;
    }
    from->fd = fd;
    watch(from);
}

int fpd_takeover_is_open(const fpd_pool *pool)
{
    for (uint32_t i = 0; i < FPD_TAKEOVER_SOURCES; i++) {
        if (pool->takeover->sources[i].fd >= 0) {
            return 1;
        }
    }
    return 0;
}

void fpd_takeover_close_all(fpd_pool *pool)
{
    for (uint32_t i = 0; i < FPD_TAKEOVER_SOURCES; i++) {
        if (pool->takeover->sources[i].fd >= 0) {
            forget(&pool->takeover->sources[i]);
        }
    }
}

int fpd_takeover_let_go(fpd_pool *pool, uint32_t number)
{
    source *from = &pool->takeover->sources[number];

    if (from->fd < 0 || from->is_passed) {
        return -1;
    }
    fpd_loop_remove(pool->loop, from->watch);
    from->watch = 0;
    from->is_passed = 1;
    return from->fd;
}

void fpd_takeover_resume(fpd_pool *pool, uint32_t number)
{
    pool->takeover->sources[number].is_passed = 0;
    watch(&pool->takeover->sources[number]);
}

int fpd_takeover_forget(fpd_pool *pool, uint32_t number)
{
    if (number >= FPD_TAKEOVER_SOURCES || !pool->takeover->sources[number].is_passed) {
        return 0;
    }
    forget(&pool->takeover->sources[number]);
    return 1;
}

/* ---- what comes --------------------------------------------------------------------------- */

static int get_option(int fd, int option)
{
    int value = -1;
    socklen_t size = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}

static int is_connection(int fd, int *is_tcp)
{
    int domain = get_option(fd, SO_DOMAIN);

    *is_tcp = domain == AF_INET || domain == AF_INET6;
    return (*is_tcp || domain == AF_UNIX) && get_option(fd, SO_TYPE) == SOCK_STREAM &&
           get_option(fd, SO_ACCEPTCONN) == 0;
}

static int acknowledge(const source *from, const fpd_connection_id *id)
{
    apr_status_t status = fpd_channel_send(from->fd, FPD_MESSAGE_TAKEN, id, sizeof(*id), NULL, 0,
                                           NULL, 0, MSG_DONTWAIT);

    /* a giver that is gone, or has given up on us, does not take back: it is ours alone */
    return !APR_STATUS_IS_EAGAIN(status) && status != ENOBUFS && status != ENOMEM;
}

/* Returns 1 when the descriptor has become the table's. */
static int take_connection(source *from, const fpd_message *message)
{
    const char *bytes = message->body;
    fpd_pool *pool = from->pool;
    fpd_message_connection about;
    fpd_connection *connection;
    int flags;
    int is_tcp;

    if (message->length < sizeof(about) || message->fd_count != 1) {
        return 0;
    }
    memcpy(&about, bytes, sizeof(about));
    if (about.leftover != message->length - sizeof(about) ||
        about.leftover > FPD_CHANNEL_BODY_MAX - sizeof(fpd_message_assign) ||
        !is_connection(message->fds[0], &is_tcp)) {
        return 0;
    }
    flags = fcntl(message->fds[0], F_GETFL);
    if (flags < 0 || fcntl(message->fds[0], F_SETFL, flags | O_NONBLOCK) != 0) {
        return 0;
    }
    connection = fpd_connections_adopt(pool, message->fds[0], is_tcp, about.is_fresh != 0);
    if (connection == NULL) {
        return 0;
    }
    if (!acknowledge(from, &about.connection)) {
        connection->state = FPD_CONNECTION_PASSED; /* still the giver's */
        fpd_connections_close(connection);
        forget(from);
        return 1;
    }
    connection->is_status = about.is_status != 0;
    fpd_connections_set_leftover(connection, bytes + sizeof(about), about.leftover);
    connection->is_admitted = about.ready_at > 0;
    connection->ready_at =
        about.ready_at < fpd_loop_now(pool->loop) ? about.ready_at : fpd_loop_now(pool->loop);
    if (is_tcp && !fpd_listener_allows(pool, connection->fd)) {
        fpd_connections_close(connection);
    } else {
        fpd_connections_reread(connection);
    }
    return 1;
}

/* Returns 1 when the descriptor has become ours. */
static int take_source(source *from, const fpd_message *message)
{
    fpd_connection_id id;

    if (message->length != sizeof(id) || message->fd_count != 1 ||
        get_option(message->fds[0], SO_DOMAIN) != AF_UNIX ||
        get_option(message->fds[0], SO_TYPE) != SOCK_SEQPACKET) {
        return 0;
    }
    memcpy(&id, message->body, sizeof(id));
    if (!acknowledge(from, &id)) {
        return 0;
    }
    fpd_takeover_begin(from->pool, message->fds[0]);
    return 1;
}

static void raise_to(_Atomic uint32_t *greatest, uint32_t value)
{
    if (value > atomic_load(greatest)) {
        atomic_store(greatest, value);
    }
}

static int take_counts(const source *from, const fpd_message *message)
{
    fpd_board *board = from->pool->board;
    fpd_message_counts counts;

    if (message->length != sizeof(counts) || message->fd_count != 0) {
        return 0;
    }
    memcpy(&counts, message->body, sizeof(counts));
    atomic_fetch_add(&board->retired_requests, counts.requests);
    atomic_fetch_add(&board->retired_lane_hits, counts.lane_hits);
    atomic_fetch_add(&board->accepted, counts.accepted);
    atomic_fetch_add(&board->refused, counts.refused);
    atomic_fetch_add(&board->max_children_reached, counts.max_children_reached);
    atomic_fetch_add(&board->slow_requests, counts.slow_requests);
    raise_to(&board->max_active, counts.max_active);
    raise_to(&board->max_queue_length, counts.max_queue_length);
    return 1;
}

static int take_message(source *from, fpd_message *message)
{
    int is_taken = 0;

    switch (message->type) {
    case FPD_MESSAGE_CONNECTION:
        is_taken = take_connection(from, message);
        break;
    case FPD_MESSAGE_SOURCE:
        is_taken = take_source(from, message);
        break;
    case FPD_MESSAGE_COUNTS:
        is_taken = take_counts(from, message);
        break;
    default:
        break;
    }
    for (int i = 0; i < message->fd_count && !is_taken; i++) {
        close(message->fds[i]);
    }
    return is_taken;
}

static void pause_reading(source *from)
{
    fpd_pool *pool = from->pool;

    fpd_loop_remove(pool->loop, from->watch);
    from->watch = 0;
    fpd_loop_timer_set(pool->takeover->retry, fpd_loop_now(pool->loop) + RETRY_TIME);
    fpd_farewell_oldest(pool, CLOSED_AT_ONCE);
}

static void read_again(void *context)
{
    fpd_pool *pool = context;

    for (uint32_t i = 0; i < FPD_TAKEOVER_SOURCES; i++) {
        source *from = &pool->takeover->sources[i];
        if (from->fd >= 0 && from->watch == 0 && !from->is_passed) {
            watch(from);
        }
    }
}

static void on_source(void *context, uint32_t events)
{
    source *from = context;
    fpd_pool *pool = from->pool;
    fpd_message message;
    apr_status_t status;

    (void)events;
    for (int i = 0; i < MESSAGES_AT_ONCE && from->fd >= 0; i++) {
        if (!fpd_listener_has_room(pool)) {
            pause_reading(from);
            return;
        }
        status = fpd_channel_receive(from->fd, &message, pool->buffer, MSG_DONTWAIT);
        if (APR_STATUS_IS_EAGAIN(status)) {
            return;
        }
        if (status == APR_SUCCESS && take_message(from, &message)) {
            continue;
        }
        if (status != APR_EOF) {
            fpd_log(FPD_LOG_WARNING,
                    "the generation before this one hands over what is not understood: it closes "
                    "its idle connections itself; nothing needs to be done after a change of the "
                    "interpreter host");
        }
        if (from->fd >= 0) {
            forget(from);
        }
    }
}

void fpd_takeover_create(fpd_pool *pool)
{
    fpd_takeover *self = apr_pcalloc(pool->memory, sizeof(*self));

    for (uint32_t i = 0; i < FPD_TAKEOVER_SOURCES; i++) {
        self->sources[i].pool = pool;
        self->sources[i].fd = -1;
    }
    self->retry = fpd_loop_timer_create(pool->loop, read_again, pool);
    pool->takeover = self;
}
