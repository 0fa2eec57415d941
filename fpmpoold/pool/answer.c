/* answer.c - writes FastCGI responses from the pool process itself.
 *
 * Runs in the pool process; it is the only file here that writes responses. It must not block, run
 * PHP, or write to a connection that a living worker has.
 */
#include "pool/answer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "apr_strings.h"
#include "base/log.h"
#include "pool/head.h"
#include "wire/wire.h"
#include "worker/status_format.h"

#define RETRY_AFTER   5           /* seconds */
#define HEAD_USUAL    (16 * 1024) /* first look at a head: most fit */
#define CONTENT_SPLIT 65528       /* of one STDOUT record: a multiple of 8, no padding */
#define TEXT_MAX      1024        /* of a reason or a cause */
#define SMALL_REPLY   (3 * TEXT_MAX)
#define NEVER_CACHE                                                                                \
    "Expires: Thu, 01 Jan 1970 00:00:00 GMT\r\n"                                                   \
    "Cache-Control: no-cache, no-store, must-revalidate, max-age=0\r\n"

/* ---- writing ------------------------------------------------------------------------------ */

static uint8_t *put_record(uint8_t *to, int type, uint16_t request_id, const char *content,
                           size_t length)
{
    while (length > 0) {
        size_t part = length < CONTENT_SPLIT ? length : CONTENT_SPLIT;
        uint8_t padding = wire_padding(part);
        wire_header_write(to, type, request_id, (uint16_t)part, padding);
        memcpy(to + WIRE_HEADER_SIZE, content, part);
        memset(to + WIRE_HEADER_SIZE + part, 0, padding);
        to += WIRE_HEADER_SIZE + part + padding;
        content += part;
        length -= part;
    }
    return to;
}

static void finish_reply(fpd_connection *connection)
{
    connection->reply = NULL;
    if (connection->keeps_after_reply && !connection->is_closing) {
        fpd_connections_hold(connection);
        if (connection->leftover_length > 0) {
            fpd_connections_reread(connection);
        } else {
            fpd_connections_drop_leftover(connection);
            fpd_connections_watch(connection);
        }
    } else {
        fpd_connections_linger(connection);
    }
}

static void write_rest(fpd_connection *connection)
{
    while (connection->reply_length > 0) {
        ssize_t sent = send(connection->fd, connection->reply, connection->reply_length,
                            MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0 && errno == EAGAIN) {
            if (connection->state != FPD_CONNECTION_ANSWERED &&
                fpd_connections_register(connection, FPD_CONNECTION_ANSWERED, EPOLLOUT)) {
                fpd_connections_set_deadline(connection, FPD_DEADLINE_HEAD);
            }
            return;
        }
        if (sent < 0) {
            fpd_connections_close(connection);
            return;
        }
        connection->reply += sent;
        connection->reply_length -= (size_t)sent;
    }
    finish_reply(connection);
}

/* bytes must live in the connection's memory, or be sent now: small replies fit the socket. */
static void write_reply(fpd_connection *connection, const uint8_t *bytes, size_t length, int keeps)
{
    fpd_connections_hold(connection);
    connection->is_fresh = 0;
    connection->keeps_after_reply = keeps;
    connection->reply = apr_pmemdup(fpd_connections_memory(connection), bytes, length);
    connection->reply_length = length;
    write_rest(connection);
}

static void write_error(fpd_connection *connection, uint16_t request_id, const char *headers,
                        const char *body, const char *cause, const wire_facts *facts,
                        int protocol_status)
{
    char text[SMALL_REPLY];
    char note[TEXT_MAX];
    uint8_t reply[3 * SMALL_REPLY];
    uint8_t *end = reply;
    int note_length =
        snprintf(note, sizeof(note), "fpmpool: pool %s: %s", connection->pool->plan->name, cause);
    int length = snprintf(text, sizeof(text),
                          "%s" NEVER_CACHE "Content-Type: text/plain;charset=UTF-8\r\n\r\n%s",
                          headers, body);

    if (note_length >= (int)sizeof(note)) {
        note_length = (int)sizeof(note) - 1;
    }
    end = put_record(end, WIRE_STDERR, request_id, note, (size_t)note_length);
    if (facts != NULL) {
        end = wire_facts_write(end, facts);
    }
    end = put_record(end, WIRE_STDOUT, request_id, text, (size_t)length);
    end = wire_end_write(end, request_id, 0, protocol_status);
    write_reply(connection, reply, (size_t)(end - reply), 0);
}

void fpd_answer_not_taken(fpd_connection *connection, uint16_t request_id)
{
    uint8_t reply[WIRE_END_SIZE];

    (void)wire_end_write(reply, request_id, 0, WIRE_OVERLOADED);
    atomic_fetch_add(&connection->pool->board->refused, 1);
    write_reply(connection, reply, sizeof(reply), 0);
}

void fpd_answer_failed(fpd_connection *connection, uint16_t request_id, fpd_answer_failure failure,
                       const char *cause, wire_facts *facts)
{
    fpd_connections_drop_leftover(connection);
    if (facts != NULL) {
        facts->failure = failure == FPD_ANSWER_TIMED_OUT ? WIRE_FAILURE_TIMEOUT : WIRE_FAILURE_DIED;
    }
    if (failure == FPD_ANSWER_TIMED_OUT) {
        write_error(connection, request_id, "Status: 504 Gateway Timeout\r\n",
                    "The application took too long to answer.\n", cause, facts,
                    WIRE_REQUEST_COMPLETE);
    } else {
        write_error(connection, request_id, "Status: 502 Bad Gateway\r\n",
                    "The application ended before it answered.\n", cause, facts,
                    WIRE_REQUEST_COMPLETE);
    }
}

/* ---- refusals ----------------------------------------------------------------------------- */

/* Looks at the head in two steps, so that a large body behind a usual head is not copied. Returns
 * the bytes looked at, 0 at the end of input, -1 when nothing is there. */
static ssize_t look(fpd_connection *connection, fpd_head *head)
{
    fpd_pool *pool = connection->pool;
    ssize_t length = fpd_connections_peek(connection, pool->peek, HEAD_USUAL);

    memset(head, 0, sizeof(*head));
    if (length <= 0) {
        return length;
    }
    (void)fpd_head_read(head, pool->peek, (size_t)length, pool->params, FPD_POOL_PARAMS_SIZE);
    if (length == HEAD_USUAL && head->progress == FPD_HEAD_BEGUN) {
        length = fpd_connections_peek(connection, pool->peek, FPD_POOL_PEEK_SIZE);
        (void)fpd_head_read(head, pool->peek, length > 0 ? (size_t)length : 0, pool->params,
                            FPD_POOL_PARAMS_SIZE);
    }
    return length;
}

static void write_refusal(fpd_connection *connection, const fpd_head *head)
{
    char headers[64];
    uint16_t request_id = head->request_id != 0 ? head->request_id : connection->request_id;

    if (head->is_peer) {
        fpd_answer_not_taken(connection, request_id);
        return;
    }
    atomic_fetch_add(&connection->pool->board->refused, 1);
    (void)snprintf(headers, sizeof(headers),
                   "Status: 503 Service Unavailable\r\nRetry-After: %d\r\n", RETRY_AFTER);
    write_error(connection, request_id, headers,
                "The application cannot answer now. Please try again in a moment.\n",
                connection->refusal, NULL, WIRE_OVERLOADED);
}

static void try_refusal(fpd_connection *connection, uint32_t events)
{
    fpd_head head;
    ssize_t length = look(connection, &head);
    int is_all = length == 0 || length == FPD_POOL_PEEK_SIZE || connection->is_closing ||
                 (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;

    if (is_all || head.progress >= FPD_HEAD_WHOLE) {
        write_refusal(connection, &head);
        return;
    }
    if (connection->state != FPD_CONNECTION_ANSWERED &&
        fpd_connections_register(connection, FPD_CONNECTION_ANSWERED, EPOLLIN | EPOLLRDHUP)) {
        fpd_connections_set_deadline(connection, FPD_DEADLINE_LINGER);
    }
}

void fpd_answer_refuse(fpd_connection *connection, const char *reason)
{
    fpd_connections_hold(connection);
    connection->refusal = apr_pstrndup(fpd_connections_memory(connection), reason, TEXT_MAX);
    try_refusal(connection, 0);
}

/* ---- ping and status ---------------------------------------------------------------------- */

/* lines: the headers, in the order in which a worker sends them. */
static void answer_page(fpd_connection *connection, const fpd_head *head, const char *lines,
                        const char *body, size_t body_length)
{
    apr_pool_t *memory = fpd_connections_memory(connection);
    int is_head_only = fpd_head_equals(&head->method, "HEAD");
    const char *headers = apr_pstrcat(memory, lines, "\r\n", NULL);
    size_t headers_length = strlen(headers);
    size_t length = headers_length + (is_head_only ? 0 : body_length);
    char *content = apr_palloc(memory, length);
    size_t records = length / CONTENT_SPLIT + 1;
    uint8_t *reply = apr_palloc(memory, length + records * (WIRE_HEADER_SIZE + 8) + WIRE_END_SIZE);
    uint8_t *end;

    memcpy(content, headers, headers_length);
    memcpy(content + headers_length, body, length - headers_length);
    end = put_record(reply, WIRE_STDOUT, head->request_id, content, length);
    end = wire_end_write(end, head->request_id, 0, WIRE_REQUEST_COMPLETE);
    write_reply(connection, reply, (size_t)(end - reply),
                head->keep && head->progress == FPD_HEAD_REQUEST);
}

static void answer_status(fpd_connection *connection, const fpd_head *head)
{
    fpd_pool *pool = connection->pool;
    apr_pool_t *memory = fpd_connections_memory(connection);
    char *query = head->query_string.bytes == NULL
                      ? NULL
                      : apr_pstrmemdup(memory, head->query_string.bytes, head->query_string.length);
    size_t size = fpd_status_format_size(pool->board, query);
    char *body = apr_palloc(memory, size);
    const char *type = NULL;
    size_t length = fpd_status_format_write(body, size, pool->board, pool->plan, query, &type);

    if (fpd_head_equals(&head->method, "HEAD")) {
        type = "text/html; charset=UTF-8"; /* as php-fpm: no body is made, no format chosen */
    }
    answer_page(connection, head,
                apr_pstrcat(memory, NEVER_CACHE, fpd_status_format_header_name(type), ": ", type,
                            "\r\n", NULL),
                body, length);
}

typedef enum page { PAGE_NONE, PAGE_PING, PAGE_STATUS } page;

static page find_page(const fpd_plan_pool *plan, const fpd_head *head)
{
    if (!head->has_file) {
        return PAGE_NONE;
    }
    if (fpd_head_equals(&head->script_name, plan->ping_path)) {
        return PAGE_PING;
    }
    return fpd_head_equals(&head->script_name, plan->status_path) ? PAGE_STATUS : PAGE_NONE;
}

static void give_page(fpd_connection *connection, const fpd_head *head, page wanted)
{
    const fpd_plan_pool *plan = connection->pool->plan;

    if (!connection->is_status) { /* php-fpm's figures are without those too */
        atomic_fetch_add(&connection->pool->board->answered, 1); /* a status page counts itself */
    }
    if (wanted == PAGE_PING) {
        answer_page(connection, head, "Content-type: text/plain;charset=UTF-8\r\n" NEVER_CACHE,
                    plan->ping_response, strlen(plan->ping_response));
    } else {
        answer_status(connection, head);
    }
}

fpd_answer_match fpd_answer_try(fpd_connection *connection)
{
    const fpd_plan_pool *plan = connection->pool->plan;
    fpd_head head;
    ssize_t length;
    page wanted;

    if (plan->ping_path == NULL && plan->status_path == NULL) {
        return FPD_ANSWER_NOT_OURS;
    }
    length = look(connection, &head);
    if (length <= 0 || head.progress < FPD_HEAD_WHOLE) {
        return FPD_ANSWER_INCOMPLETE;
    }
    wanted = find_page(plan, &head);
    if (head.progress == FPD_HEAD_BROKEN || head.role != WIRE_RESPONDER || wanted == PAGE_NONE) {
        return FPD_ANSWER_NOT_OURS; /* what is broken is for a worker to say */
    }
    fpd_connections_hold(connection);
    if (head.progress == FPD_HEAD_REQUEST &&
        (head.consumed > (size_t)length || !fpd_connections_consume(connection, head.consumed))) {
        head.progress = FPD_HEAD_WHOLE; /* not to its last byte: answered, but not kept */
    }
    give_page(connection, &head, wanted);
    return FPD_ANSWER_GIVEN;
}

/* ---- pm.status_listen --------------------------------------------------------------------- */

static void write_not_found(fpd_connection *connection, const fpd_head *head)
{
    static const char note[] = "Primary script unknown";
    static const char text[] = "Status: 404 Not Found\r\nContent-type: text/html; charset=UTF-8\r\n"
                               "\r\nFile not found.\n";
    uint8_t reply[sizeof(note) + sizeof(text) + 2 * (WIRE_HEADER_SIZE + 8) + WIRE_END_SIZE];
    uint8_t *end = put_record(reply, WIRE_STDERR, head->request_id, note, sizeof(note) - 1);

    end = put_record(end, WIRE_STDOUT, head->request_id, text, sizeof(text) - 1);
    end = wire_end_write(end, head->request_id, 0, WIRE_REQUEST_COMPLETE);
    write_reply(connection, reply, (size_t)(end - reply), 0);
}

static void answer_whole_head(fpd_connection *connection, fpd_head *head)
{
    page wanted = find_page(connection->pool->plan, head);
    uint8_t reply[WIRE_END_SIZE];

    fpd_connections_hold(connection);
    head->keep = 0; /* who monitors comes seldom: no connection stays */
    if (head->role != WIRE_RESPONDER) {
        (void)wire_end_write(reply, head->request_id, 0, WIRE_UNKNOWN_ROLE);
        write_reply(connection, reply, sizeof(reply), 0);
    } else if (wanted == PAGE_NONE) {
        write_not_found(connection, head);
    } else {
        give_page(connection, head, wanted);
    }
}

static void try_page(fpd_connection *connection, uint32_t events)
{
    fpd_head head;
    ssize_t length = look(connection, &head);
    int is_all = length == 0 || length == FPD_POOL_PEEK_SIZE || connection->is_closing ||
                 (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;

    if (head.progress == FPD_HEAD_WHOLE || head.progress == FPD_HEAD_REQUEST) {
        answer_whole_head(connection, &head);
    } else if (is_all || head.progress == FPD_HEAD_BROKEN) {
        fpd_connections_linger(connection);
    } else if (connection->state != FPD_CONNECTION_ANSWERED &&
               fpd_connections_register(connection, FPD_CONNECTION_ANSWERED,
                                        EPOLLIN | EPOLLRDHUP)) {
        fpd_connections_set_deadline(connection, FPD_DEADLINE_HEAD);
    }
}

void fpd_answer_page_only(fpd_connection *connection)
{
    fpd_connections_hold(connection);
    try_page(connection, 0);
}

/* ---- events ------------------------------------------------------------------------------- */

void fpd_answer_continue(fpd_connection *connection, uint32_t events)
{
    if (connection->reply != NULL) {
        write_rest(connection);
    } else if (connection->refusal == NULL) {
        try_page(connection, events);
    } else {
        try_refusal(connection, events);
    }
}

void fpd_answer_expire(fpd_connection *connection)
{
    fpd_head head;

    if (connection->reply != NULL) {
        fpd_connections_close(connection); /* a client that does not read */
        return;
    }
    if (connection->refusal == NULL) {
        fpd_connections_linger(connection); /* a head that does not come */
        return;
    }
    (void)look(connection, &head); /* not whole in time: answered with what is known */
    fpd_connections_hold(connection);
    write_refusal(connection, &head);
}
