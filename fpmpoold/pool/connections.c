/* connections.c - the table of connections: epoll, peeking at heads, deadlines, clean ends.
 *
 * Runs in the pool process. It reads a request only to look at its first record; it must not write
 * to a connection that a worker has, and must not close a descriptor that is still in epoll.
 */
#include "pool/connections.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "apr_strings.h"
#include "base/log.h"
#include "pool/answer.h"
#include "pool/dispatch.h"
#include "pool/farewell.h"
#include "pool/listener.h"
#include "wire/wire.h"

#define CHUNK        256u
#define CHUNKS_MAX   4096u
#define LINGER_TIME  (2 * INT64_C(1000000))
#define LINGER_BYTES (1024u * 1024u)
#define NEVER        (INT64_C(1) << 60) /* microseconds */
#define RECORDS_MAX  64                 /* management records answered at one wake-up */

typedef struct deadline_list {
    fpd_connection *first;
    fpd_connection *last;
    int64_t duration;
    fpd_loop_timer *timer;
    fpd_pool *pool;
} deadline_list;

typedef struct fpd_connections {
    fpd_connection *chunks[CHUNKS_MAX];
    uint32_t bound; /* entries that ever existed */
    uint32_t used;
    uint32_t lingering;
    fpd_connection *first_free;
    deadline_list heads;
    deadline_list lingers;
    deadline_list idles;
} fpd_connections;

static void on_event(void *context, uint32_t events);
static void read_head(fpd_connection *connection, uint32_t events);

/* ---- deadlines ---------------------------------------------------------------------------- */

/* Each list has one duration, so its order of insertion is its order in time. */
static deadline_list *list_of(fpd_connections *table, fpd_deadline_kind kind)
{
    switch (kind) {
    case FPD_DEADLINE_HEAD:
        return &table->heads;
    case FPD_DEADLINE_LINGER:
        return &table->lingers;
    case FPD_DEADLINE_IDLE:
        return &table->idles;
    default:
        return NULL;
    }
}

static void arm(deadline_list *list)
{
    if (list->first != NULL && list->duration != NEVER && !fpd_loop_timer_is_set(list->timer)) {
        fpd_loop_timer_set(list->timer, list->first->deadline);
    }
}

static void clear_deadline(fpd_connection *connection)
{
    deadline_list *list = list_of(connection->pool->connections, connection->deadline_kind);

    if (list == NULL) {
        return;
    }
    if (connection->deadline_previous != NULL) {
        connection->deadline_previous->deadline_next = connection->deadline_next;
    } else {
        list->first = connection->deadline_next;
    }
    if (connection->deadline_next != NULL) {
        connection->deadline_next->deadline_previous = connection->deadline_previous;
    } else {
        list->last = connection->deadline_previous;
    }
    connection->deadline_kind = FPD_DEADLINE_NONE;
}

void fpd_connections_set_deadline(fpd_connection *connection, fpd_deadline_kind kind)
{
    deadline_list *list = list_of(connection->pool->connections, kind);

    clear_deadline(connection);
    if (list == NULL || list->duration <= 0) {
        return;
    }
    connection->deadline_kind = kind;
    connection->deadline = fpd_loop_now(connection->pool->loop) + list->duration;
    connection->deadline_next = NULL;
    connection->deadline_previous = list->last;
    if (list->last != NULL) {
        list->last->deadline_next = connection;
    } else {
        list->first = connection;
    }
    list->last = connection;
    arm(list);
}

static void expire(void *context)
{
    deadline_list *list = context;
    int64_t now = fpd_loop_now(list->pool->loop);

    while (list->first != NULL && list->first->deadline <= now) {
        fpd_connection *late = list->first;
        clear_deadline(late);
        if (late->state == FPD_CONNECTION_ANSWERED) {
            fpd_answer_expire(late);
        } else if (late->state == FPD_CONNECTION_LINGERING) {
            fpd_connections_close(late);
        } else {
            fpd_connections_linger(late);
        }
    }
    arm(list);
}

static void start_list(deadline_list *list, fpd_pool *pool, int64_t duration)
{
    list->pool = pool;
    list->duration = duration;
    list->timer = fpd_loop_timer_create(pool->loop, expire, list);
}

/* ---- the table ---------------------------------------------------------------------------- */

apr_status_t fpd_connections_create(fpd_pool *pool)
{
    fpd_connections *table = apr_pcalloc(pool->memory, sizeof(*table));

    pool->connections = table;
    start_list(&table->heads, pool, pool->plan->request_head_timeout * INT64_C(1000000));
    start_list(&table->lingers, pool, LINGER_TIME);
    start_list(&table->idles, pool, NEVER);
    return APR_SUCCESS;
}

fpd_connection *fpd_connections_at(fpd_pool *pool, uint32_t index)
{
    fpd_connections *table = pool->connections;

    return index < table->bound ? &table->chunks[index / CHUNK][index % CHUNK] : NULL;
}

uint32_t fpd_connections_bound(const fpd_pool *pool)
{
    return pool->connections->bound;
}

uint32_t fpd_connections_count(const fpd_pool *pool)
{
    return pool->connections->used - pool->connections->lingering;
}

uint32_t fpd_connections_descriptors(const fpd_pool *pool)
{
    return pool->connections->used;
}

fpd_connection *fpd_connections_find(fpd_pool *pool, fpd_connection_id id)
{
    fpd_connection *found = fpd_connections_at(pool, id.index);

    if (found == NULL || found->state == FPD_CONNECTION_FREE ||
        found->generation != id.generation) {
        return NULL;
    }
    return found;
}

fpd_connection_id fpd_connections_id(const fpd_connection *connection)
{
    return (fpd_connection_id){.index = connection->index, .generation = connection->generation};
}

static fpd_connection *take_entry(fpd_pool *pool)
{
    fpd_connections *table = pool->connections;
    fpd_connection *entry = table->first_free;

    if (entry != NULL) {
        table->first_free = entry->next_free;
        return entry;
    }
    if (table->bound == CHUNK * CHUNKS_MAX) {
        return NULL;
    }
    if (table->bound % CHUNK == 0) {
        table->chunks[table->bound / CHUNK] =
            apr_pcalloc(pool->memory, CHUNK * sizeof(fpd_connection));
    }
    entry = &table->chunks[table->bound / CHUNK][table->bound % CHUNK];
    entry->pool = pool;
    entry->index = table->bound++;
    entry->generation = 1;
    return entry;
}

fpd_connection *fpd_connections_adopt(fpd_pool *pool, int fd, int is_tcp, int is_fresh)
{
    fpd_connection *entry = take_entry(pool);

    if (entry == NULL) {
        return NULL;
    }
    entry->fd = fd;
    entry->state = FPD_CONNECTION_HELD;
    entry->watch = 0;
    entry->is_fresh = is_fresh;
    entry->is_admitted = 0;
    entry->is_closing = 0;
    entry->is_tcp = is_tcp;
    entry->is_status = 0;
    entry->refusal = NULL;
    entry->looks = 0;
    entry->claimed_word = 0;
    pool->connections->used++;
    atomic_store(&pool->board->connections, fpd_connections_count(pool));
    return entry;
}

void fpd_connections_add(fpd_pool *pool, int fd, int is_tcp, int is_status)
{
    fpd_connection *entry = fpd_connections_adopt(pool, fd, is_tcp, 1);

    if (entry == NULL) {
        close(fd);
        return;
    }
    entry->is_status = is_status;
    if (!is_status) {
        atomic_fetch_add(&pool->board->accepted, 1);
    }
    read_head(entry, 0);
}

static void free_memory(fpd_connection *connection)
{
    connection->leftover = NULL;
    connection->leftover_length = 0;
    connection->reply = NULL;
    connection->reply_length = 0;
    if (connection->memory != NULL) {
        apr_pool_destroy(connection->memory);
        connection->memory = NULL;
    }
}

void fpd_connections_hold(fpd_connection *connection)
{
    fpd_pool *pool = connection->pool;

    if (connection->watch != 0) {
        fpd_loop_remove(pool->loop, connection->watch);
        connection->watch = 0;
    }
    clear_deadline(connection);
    if (connection->state == FPD_CONNECTION_QUEUED) {
        fpd_dispatch_forget(connection);
    } else if (connection->state == FPD_CONNECTION_LINGERING) {
        pool->connections->lingering--;
    }
    connection->state = FPD_CONNECTION_HELD;
}

void fpd_connections_close(fpd_connection *connection)
{
    fpd_pool *pool = connection->pool;
    fpd_connections *table = pool->connections;
    int is_passed = connection->state == FPD_CONNECTION_PASSED;

    fpd_connections_hold(connection);
    if (!is_passed) {
        /* a worker, or the generation that handed it over, may still be about to close its
         * duplicate: the client must not wait for that */
        (void)shutdown(connection->fd, SHUT_RDWR);
    }
    close(connection->fd);
    free_memory(connection);
    connection->fd = -1;
    connection->state = FPD_CONNECTION_FREE;
    if (++connection->generation == 0) {
        connection->generation = 1;
    }
    connection->next_free = table->first_free;
    table->first_free = connection;
    table->used--;
    atomic_store(&pool->board->connections, fpd_connections_count(pool));
    fpd_listener_descriptor_freed(pool);
    fpd_pool_wake(pool);
}

int fpd_connections_register(fpd_connection *connection, fpd_connection_state state,
                             uint32_t events)
{
    fpd_loop *loop = connection->pool->loop;
    apr_status_t status;

    if (connection->watch != 0) {
        status = fpd_loop_modify(loop, connection->watch, events | EPOLLET);
    } else {
        status = fpd_loop_add(loop, connection->fd, events | EPOLLET, on_event, connection,
                              &connection->watch);
    }
    if (status != APR_SUCCESS) {
        fpd_log_errno(FPD_LOG_ERROR, status, "cannot watch a connection; it is closed");
        fpd_connections_close(connection);
        return 0;
    }
    connection->state = state;
    return 1;
}

void fpd_connections_watch(fpd_connection *connection)
{
    if (connection->state == FPD_CONNECTION_WORKER) {
        connection->state = FPD_CONNECTION_HELD;
    }
    if (connection->pool->phase == FPD_POOL_STOPPING && !connection->pool->is_giving) {
        fpd_connections_linger(connection);
        return;
    }
    if (!fpd_connections_register(connection, FPD_CONNECTION_WATCHED, EPOLLIN | EPOLLRDHUP)) {
        return;
    }
    /* an idle kept connection may stay as long as it likes; a begun head may not */
    fpd_connections_set_deadline(connection, connection->is_fresh || connection->leftover_length > 0
                                                 ? FPD_DEADLINE_HEAD
                                                 : FPD_DEADLINE_IDLE);
    fpd_pool_wake(connection->pool); /* when the pool drains, it does not stay */
}

fpd_connection *fpd_connections_oldest_idle(fpd_pool *pool)
{
    return pool->connections->idles.first;
}

/* ---- bytes -------------------------------------------------------------------------------- */

apr_pool_t *fpd_connections_memory(fpd_connection *connection)
{
    if (connection->memory == NULL) {
        (void)apr_pool_create(&connection->memory, connection->pool->memory);
    }
    return connection->memory;
}

void fpd_connections_set_leftover(fpd_connection *connection, const void *bytes, size_t length)
{
    fpd_connections_drop_leftover(connection);
    if (length > 0) {
        connection->leftover = apr_pmemdup(fpd_connections_memory(connection), bytes, length);
        connection->leftover_length = length;
    }
}

void fpd_connections_drop_leftover(fpd_connection *connection)
{
    if (connection->reply == NULL) {
        free_memory(connection);
    }
    connection->leftover = NULL;
    connection->leftover_length = 0;
}

ssize_t fpd_connections_peek(fpd_connection *connection, uint8_t *to, size_t size)
{
    size_t kept = connection->leftover_length < size ? connection->leftover_length : size;
    ssize_t got;

    if (kept > 0) {
        memcpy(to, connection->leftover, kept);
    }
    if (kept == size) {
        return (ssize_t)kept;
    }
    do {
        got = recv(connection->fd, to + kept, size - kept, MSG_PEEK | MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (kept > 0) {
        return (ssize_t)kept + (got > 0 ? got : 0);
    }
    return got;
}

int fpd_connections_consume(fpd_connection *connection, size_t length)
{
    size_t kept = connection->leftover_length < length ? connection->leftover_length : length;

    connection->leftover += kept;
    connection->leftover_length -= kept;
    length -= kept;
    if (connection->leftover_length == 0) {
        fpd_connections_drop_leftover(connection);
    }
    while (length > 0) {
        size_t part = length < FPD_POOL_PEEK_SIZE ? length : FPD_POOL_PEEK_SIZE;
        ssize_t got = recv(connection->fd, connection->pool->peek, part, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return 0;
        }
        length -= (size_t)got;
    }
    return 1;
}

/* ---- heads -------------------------------------------------------------------------------- */

/* Looks at the first record. Most requests begin with BEGIN_REQUEST: 16 bytes tell, and a large
 * body behind them is not copied. */
static ssize_t look(fpd_connection *connection, wire_peek *peek)
{
    fpd_pool *pool = connection->pool;
    uint32_t most = pool->slot_count + fpd_queue_limit(pool->queue);
    ssize_t length = fpd_connections_peek(connection, pool->peek, WIRE_BEGIN_SIZE);

    if (length <= 0) {
        return length;
    }
    wire_peek_head(peek, pool->peek, (size_t)length, most, most);
    if (peek->kind == WIRE_PEEK_MORE && length == WIRE_BEGIN_SIZE) {
        length = fpd_connections_peek(connection, pool->peek, FPD_POOL_PEEK_SIZE);
        if (length > 0) {
            wire_peek_head(peek, pool->peek, (size_t)length, most, most);
        }
    }
    return length;
}

static int reply_at_once(fpd_connection *connection, const wire_peek *peek)
{
    ssize_t sent =
        send(connection->fd, peek->reply, peek->reply_length, MSG_DONTWAIT | MSG_NOSIGNAL);

    return sent == (ssize_t)peek->reply_length;
}

/* Nothing whole is here. Waits, unless no more can come. */
static void wait_for_more(fpd_connection *connection, uint32_t events, int has_some)
{
    if (connection->is_closing || (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        fpd_connections_close(connection);
        return;
    }
    if (connection->state != FPD_CONNECTION_WATCHED) {
        fpd_connections_watch(connection);
    } else if (has_some && connection->deadline_kind == FPD_DEADLINE_IDLE) {
        fpd_connections_set_deadline(connection, FPD_DEADLINE_HEAD);
    }
}

static void read_head(fpd_connection *connection, uint32_t events)
{
    for (int i = 0; i < RECORDS_MAX; i++) {
        wire_peek peek;
        ssize_t length = look(connection, &peek);
        if (length < 0 && errno == EAGAIN) {
            wait_for_more(connection, events, 0);
            return;
        }
        if (length <= 0) {
            fpd_connections_close(connection);
            return;
        }
        switch (peek.kind) {
        case WIRE_PEEK_MORE:
            wait_for_more(connection, events, 1);
            return;
        case WIRE_PEEK_BEGIN:
            connection->request_id = peek.request_id;
            if (!connection->is_admitted) {
                connection->ready_at = fpd_loop_now(connection->pool->loop);
            }
            fpd_dispatch_request(connection);
            return;
        case WIRE_PEEK_ANSWER:
            if (!reply_at_once(connection, &peek)) {
                fpd_connections_close(connection);
                return;
            }
            /* fall through */
        case WIRE_PEEK_SKIP:
            if (peek.consume == 0 || !fpd_connections_consume(connection, peek.consume)) {
                fpd_connections_close(connection);
                return;
            }
            break;
        default:
            fpd_log(FPD_LOG_DEBUG, "closed a connection that does not speak FastCGI: %s",
                    wire_error_text(peek.error));
            fpd_connections_linger(connection);
            return;
        }
    }
    /* a client that sends nothing but management records gets its turn again after the others */
    fpd_connections_hold(connection);
    fpd_connections_watch(connection);
}

void fpd_connections_reread(fpd_connection *connection)
{
    read_head(connection, 0);
}

/* ---- ends --------------------------------------------------------------------------------- */

static void drain_input(fpd_connection *connection)
{
    while (connection->linger_left > 0) {
        size_t part = connection->linger_left < FPD_POOL_PEEK_SIZE ? connection->linger_left
                                                                   : FPD_POOL_PEEK_SIZE;
        ssize_t got = recv(connection->fd, connection->pool->peek, part, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 && errno == EAGAIN) {
            return;
        }
        if (got <= 0) {
            break;
        }
        connection->linger_left -= (size_t)got;
    }
    fpd_connections_close(connection);
}

void fpd_connections_linger(fpd_connection *connection)
{
    fpd_pool *pool = connection->pool;
    uint32_t generation = connection->generation;

    fpd_connections_hold(connection);
    free_memory(connection);
    (void)shutdown(connection->fd, SHUT_WR);
    connection->linger_left = LINGER_BYTES;
    drain_input(connection);
    if (connection->generation != generation) {
        return; /* the client was gone already */
    }
    if (!fpd_connections_register(connection, FPD_CONNECTION_LINGERING, EPOLLIN | EPOLLRDHUP)) {
        return;
    }
    pool->connections->lingering++;
    atomic_store(&pool->board->connections, fpd_connections_count(pool));
    fpd_connections_set_deadline(connection, FPD_DEADLINE_LINGER);
    fpd_pool_wake(pool);
}

static void on_event(void *context, uint32_t events)
{
    fpd_connection *connection = context;

    switch (connection->state) {
    case FPD_CONNECTION_WATCHED:
        if (connection->is_closing) {
            fpd_farewell_say(connection);
        } else {
            read_head(connection, events);
        }
        break;
    case FPD_CONNECTION_QUEUED:
        if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
            fpd_connections_close(connection); /* the client is gone: out of the queue */
        } else {
            fpd_dispatch_look_again(connection);
        }
        break;
    case FPD_CONNECTION_ANSWERED:
        fpd_answer_continue(connection, events);
        break;
    case FPD_CONNECTION_LINGERING:
        drain_input(connection);
        break;
    default:
        break; /* not in epoll in the other states */
    }
}
