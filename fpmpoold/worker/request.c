/* request.c - reading requests from a connection.
 *
 * Runs in workers, between "readable" and the end of a body. One read takes a whole small request.
 * Never waits without a deadline, never parses bytes behind a request as anything else than the
 * next request's head.
 */
#include "worker/request.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/loop.h"

typedef enum fill_result { FILL_MORE, FILL_EOF, FILL_EMPTY, FILL_LATE, FILL_ERROR } fill_result;

void fpd_request_create(fpd_request *request, int64_t timeout, uint32_t max_connections,
                        fpd_request_reply_fn *reply, void *reply_context, apr_pool_t *pool)
{
    memset(request, 0, sizeof(*request));
    request->fd = -1;
    request->buffer = apr_palloc(pool, FPD_REQUEST_BUFFER);
    request->timeout = timeout;
    request->max_connections = max_connections;
    request->reply = reply;
    request->reply_context = reply_context;
}

void fpd_request_open(fpd_request *request, int fd, const void *leftover, size_t length)
{
    request->fd = fd;
    request->start = 0;
    request->end = length;
    request->is_at_eof = 0;
    request->is_broken = 0;
    if (length > 0) {
        memcpy(request->buffer, leftover, length);
    }
    wire_decoder_init(&request->decoder, WIRE_SERVER, FPD_REQUEST_HEAD_LIMIT);
}

/* ---- bytes ------------------------------------------------------------------------------- */

/* Makes room at the end; pointers into the buffer are void afterwards. */
static void compact(fpd_request *request)
{
    if (request->start == request->end) {
        request->start = 0;
        request->end = 0;
    } else if (request->start > 0) {
        memmove(request->buffer, request->buffer + request->start, request->end - request->start);
        request->end -= request->start;
        request->start = 0;
    }
}

static fill_result take(fpd_request *request)
{
    ssize_t got;

    compact(request);
    if (request->end == FPD_REQUEST_BUFFER) {
        return FILL_EMPTY;
    }
    do {
        got = recv(request->fd, request->buffer + request->end, FPD_REQUEST_BUFFER - request->end,
                   MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got > 0) {
        request->end += (size_t)got;
        return FILL_MORE;
    }
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return FILL_EMPTY;
    }
    request->is_at_eof = 1;
    request->is_broken |= got < 0;
    return got == 0 ? FILL_EOF : FILL_ERROR;
}

/* Reads at least one byte, or says why not; deadline in fpd_monotonic_now() units. */
static fill_result fill(fpd_request *request, int64_t deadline)
{
    if (request->is_at_eof) {
        return FILL_EOF;
    }
    for (;;) {
        struct pollfd wait = {.fd = request->fd, .events = POLLIN};
        fill_result result = take(request);
        int64_t left;

        if (result != FILL_EMPTY) {
            return result;
        }
        if (request->has_replied) { /* the client may wait for that before it goes on */
            request->has_replied = 0;
            request->reply(request->reply_context, NULL, 0, 1);
        }
        left = request->end_flag != NULL && *request->end_flag ? 0 : deadline - fpd_monotonic_now();
        if (left <= 0) {
            request->is_broken = 1;
            return FILL_LATE;
        }
        if (poll(&wait, 1, (int)(left / 1000) + 1) < 0 && errno != EINTR) {
            request->is_broken = 1;
            return FILL_ERROR;
        }
    }
}

/* ---- events ------------------------------------------------------------------------------ */

static void reply(fpd_request *request, const uint8_t *record, size_t length)
{
    request->has_replied = 1;
    request->reply(request->reply_context, record, length, 0);
}

static void answer_values(fpd_request *request)
{
    uint8_t record[WIRE_REPLY_MAX];
    size_t length = wire_values_answer(record, request->values, request->values_length,
                                       request->max_connections, request->max_connections);

    request->values_length = 0;
    if (length > 0) {
        reply(request, record, length);
    }
}

static void keep_values(fpd_request *request, const wire_event *event)
{
    size_t room = sizeof(request->values) - request->values_length;

    if (event->length <= room) {
        memcpy(request->values + request->values_length, event->data, event->length);
        request->values_length += event->length;
    }
}

/* Records that are not part of the request; returns 0 for those that are. */
static int handle_aside(fpd_request *request, const wire_event *event)
{
    uint8_t record[WIRE_END_SIZE];

    switch (event->kind) {
    case WIRE_EVENT_VALUES:
        keep_values(request, event);
        return 1;
    case WIRE_EVENT_VALUES_END:
        answer_values(request);
        return 1;
    case WIRE_EVENT_UNKNOWN:
        wire_unknown_write(record, event->unknown_type);
        reply(request, record, sizeof(record));
        return 1;
    case WIRE_EVENT_SECOND_BEGIN:
        wire_end_write(record, event->request_id, 0, WIRE_CANT_MPX_CONN);
        reply(request, record, sizeof(record));
        return 1;
    case WIRE_EVENT_DATA:
    case WIRE_EVENT_DATA_END:
        return 1;
    default:
        return 0;
    }
}

/* The next event of the request itself. */
static wire_event_kind next_event(fpd_request *request, wire_event *event)
{
    do {
        const uint8_t *cursor = request->buffer + request->start;
        wire_decode(&request->decoder, &cursor, request->buffer + request->end, event);
        request->start = (size_t)(cursor - request->buffer);
    } while (handle_aside(request, event));
    if (event->kind == WIRE_EVENT_ERROR) {
        request->error = event->error;
        request->is_broken = 1;
    }
    return event->kind;
}

/* ---- head -------------------------------------------------------------------------------- */

static void begin_request(fpd_request *request)
{
    request->id = 0;
    request->role = 0;
    request->has_begun = 0;
    request->keep = 0;
    request->is_peer = 0;
    request->is_ack_wanted = 0;
    request->is_body_streamed = 0;
    request->settings = NULL;
    request->self = NULL;
    request->body = NULL;
    request->body_left = 0;
    request->body_read = 0;
    request->has_body_ended = 0;
    request->is_aborted = 0;
    request->has_replied = 0;
    request->error = WIRE_OK;
    request->values_length = 0;
    fpd_params_reset(&request->params);
}

/* What is said to the daemon only is taken out of what the script sees. */
static int take_own(fpd_request *request, const char *name, const char *wanted)
{
    const char *value = fpd_params_get(&request->params, name);
    int is_wanted = value != NULL && strcmp(value, wanted) == 0;

    if (value != NULL) {
        fpd_params_set(&request->params, name, NULL);
    }
    return is_wanted;
}

static void drop_unknown_own(fpd_params *params)
{
    for (uint32_t i = 0; i < params->count; i++) {
        if (params->list[i].name_length > 8 && memcmp(params->list[i].name, "FPMPOOL_", 8) == 0) {
            params->list[i].value = NULL;
        }
    }
}

static fpd_request_head finish_head(fpd_request *request)
{
    apr_status_t status = fpd_params_decode(&request->params);

    if (status == APR_ENOMEM) {
        return FPD_HEAD_NO_MEMORY;
    }
    if (status != APR_SUCCESS) {
        request->error = status == APR_ENOSPC ? WIRE_ERROR_TOO_LARGE : WIRE_ERROR_PAIR;
        request->is_broken = 1;
        return FPD_HEAD_BAD;
    }
    request->is_peer = take_own(request, WIRE_PARAM_PEER, "1");
    request->is_ack_wanted = take_own(request, WIRE_PARAM_ACK, "1");
    request->is_body_streamed = take_own(request, WIRE_PARAM_BODY, "stream");
    request->settings = fpd_params_get(&request->params, WIRE_PARAM_INI);
    request->self = fpd_params_get(&request->params, WIRE_PARAM_SELF);
    drop_unknown_own(&request->params); /* out of sight, their bytes stay */
    return request->role >= WIRE_RESPONDER && request->role <= WIRE_FILTER ? FPD_HEAD_READY
                                                                           : FPD_HEAD_ROLE;
}

static apr_status_t note_begin(fpd_request *request, const wire_event *event)
{
    static const char *const roles[] = {"RESPONDER", "AUTHORIZER", "FILTER"};
    static const uint8_t name[] = "FCGI_ROLE";
    uint8_t pair[32];
    const char *role;
    uint8_t *end;

    request->has_begun = 1;
    request->id = event->request_id;
    request->role = event->role;
    request->keep = (event->flags & WIRE_KEEP_CONN) != 0;
    if (event->role < WIRE_RESPONDER || event->role > WIRE_FILTER) {
        return APR_SUCCESS;
    }
    role = roles[event->role - WIRE_RESPONDER];
    end = wire_pair_write(pair, (const char *)name, sizeof(name) - 1, role, strlen(role));
    return fpd_params_append(&request->params, pair, (size_t)(end - pair));
}

static fpd_request_head head_without_bytes(fill_result result, const fpd_request *request)
{
    if (result == FILL_LATE) {
        return FPD_HEAD_LATE;
    }
    return request->has_begun || request->decoder.partial_length > 0 ? FPD_HEAD_CUT
                                                                     : FPD_HEAD_CLOSED;
}

/* Whole records and no request among them: nothing to hold a worker for. */
static int is_between_requests(const fpd_request *request)
{
    return !request->has_begun && request->start == request->end &&
           wire_decoder_is_clean(&request->decoder);
}

fpd_request_head fpd_request_read_head(fpd_request *request)
{
    int has_looked = request->start < request->end; /* at bytes that came with the last request */
    int64_t deadline = 0;
    apr_status_t status = APR_SUCCESS;
    wire_event event;
    fill_result result;

    begin_request(request);
    for (;;) {
        switch (next_event(request, &event)) {
        case WIRE_EVENT_MORE:
            if (has_looked && is_between_requests(request)) {
                return FPD_HEAD_NONE;
            }
            has_looked = 1;
            if (deadline == 0) {
                deadline = fpd_monotonic_now() + request->timeout;
            }
            result = fill(request, deadline);
            if (result != FILL_MORE) {
                return head_without_bytes(result, request);
            }
            break;
        case WIRE_EVENT_BEGIN:
            status = note_begin(request, &event);
            break;
        case WIRE_EVENT_PARAMS:
            status = fpd_params_append(&request->params, event.data, event.length);
            break;
        case WIRE_EVENT_PARAMS_END:
            return finish_head(request);
        case WIRE_EVENT_ABORT:
            request->is_aborted = 1;
            return FPD_HEAD_ABORTED;
        default:
            return FPD_HEAD_BAD;
        }
        if (status != APR_SUCCESS) {
            return FPD_HEAD_NO_MEMORY;
        }
    }
}

/* ---- body -------------------------------------------------------------------------------- */

static void end_body(fpd_request *request)
{
    request->has_body_ended = 1;
    request->body_left = 0;
}

/* Moves to the next piece of the body in the buffer. Returns 1 when there is one or the body has
 * ended, 0 when more bytes are needed. */
static int next_piece(fpd_request *request)
{
    wire_event event;

    if (request->body_left > 0 || request->has_body_ended) {
        return 1;
    }
    switch (next_event(request, &event)) {
    case WIRE_EVENT_MORE:
        return 0;
    case WIRE_EVENT_STDIN:
        request->body = event.data;
        request->body_left = event.length;
        return 1;
    case WIRE_EVENT_ABORT:
        request->is_aborted = 1;
        request->keep = 0;
        end_body(request);
        return 1;
    default: /* the end, or bytes that are not FastCGI */
        end_body(request);
        return 1;
    }
}

/* Body bytes in the buffer, counted with a copy of the decoder. */
static int64_t count_body(const fpd_request *request, int *has_ended)
{
    wire_decoder decoder = request->decoder;
    const uint8_t *cursor = request->buffer + request->start;
    int64_t total = (int64_t)request->body_left;
    wire_event event;

    *has_ended = request->has_body_ended;
    while (!*has_ended) {
        switch (wire_decode(&decoder, &cursor, request->buffer + request->end, &event)) {
        case WIRE_EVENT_STDIN:
            total += (int64_t)event.length;
            break;
        case WIRE_EVENT_STDIN_END:
        case WIRE_EVENT_ABORT:
            *has_ended = 1;
            break;
        case WIRE_EVENT_MORE:
        case WIRE_EVENT_ERROR:
            return total;
        default:
            break;
        }
    }
    return total;
}

int fpd_request_is_cut(fpd_request *request, int64_t content_length)
{
    int has_ended;
    int64_t there;

    if (next_piece(request) && request->has_body_ended) {
        return 0;
    }
    if (request->body_left > 0 || take(request) != FILL_EOF) {
        return 0;
    }
    there = count_body(request, &has_ended);
    return !has_ended && (content_length < 0 || there < content_length);
}

size_t fpd_request_read_body(fpd_request *request, char *to, size_t size)
{
    size_t length = 0;

    while (length < size) {
        size_t piece;
        if (!next_piece(request)) {
            if (fill(request, fpd_monotonic_now() + request->timeout) != FILL_MORE) {
                request->is_aborted = 1;
                end_body(request);
                break;
            }
            continue;
        }
        if (request->has_body_ended) {
            break;
        }
        piece = size - length < request->body_left ? size - length : request->body_left;
        memcpy(to + length, request->body, piece);
        request->body += piece;
        request->body_left -= piece;
        length += piece;
    }
    request->body_read += length;
    return length;
}

/* ---- behind the request ------------------------------------------------------------------ */

/* An ABORT_REQUEST that comes when STDIN has ended stands where the next request would. */
static int drop_late_abort(fpd_request *request)
{
    wire_header header;

    if (request->end - request->start < WIRE_HEADER_SIZE) {
        return 0;
    }
    wire_header_read(&header, request->buffer + request->start);
    if (header.type != WIRE_ABORT_REQUEST || header.version != WIRE_VERSION ||
        header.request_id != request->id || header.content_length != 0 ||
        header.padding_length != 0) {
        return 0;
    }
    request->start += WIRE_HEADER_SIZE;
    return 1;
}

/* Only the padding of the last record: not a byte of what follows. */
static void skip_padding(fpd_request *request)
{
    const uint8_t *cursor = request->buffer + request->start;
    size_t there = request->end - request->start;
    size_t padding = request->decoder.padding_left;
    wire_event event;

    if (request->has_body_ended && padding > 0 && !wire_decoder_is_clean(&request->decoder)) {
        wire_decode(&request->decoder, &cursor, cursor + (padding < there ? padding : there),
                    &event);
        request->start = (size_t)(cursor - request->buffer);
    }
}

int fpd_request_was_aborted(fpd_request *request)
{
    if (request->is_aborted || request->is_at_eof || request->body_left > 0) {
        return request->is_aborted;
    }
    if (take(request) == FILL_MORE && !request->has_body_ended) {
        next_piece(request);
    }
    if (request->has_body_ended) {
        skip_padding(request);
        if (drop_late_abort(request)) {
            request->is_aborted = 1;
        }
    }
    return request->is_aborted;
}

int fpd_request_settle(fpd_request *request)
{
    size_t drained = 0;

    while (!request->has_body_ended && drained < FPD_REQUEST_DRAIN_MAX) {
        if (next_piece(request)) {
            drained += request->body_left;
            request->body_left = 0;
        } else if (request->is_at_eof || take(request) != FILL_MORE) {
            break;
        }
    }
    if (!request->has_body_ended || request->is_broken || !request->keep) {
        return 0;
    }
    skip_padding(request);
    while (drop_late_abort(request)) {
    }
    return wire_decoder_is_clean(&request->decoder) && !request->is_at_eof;
}

size_t fpd_request_leftover(const fpd_request *request, const uint8_t **bytes)
{
    *bytes = request->buffer + request->start;
    return request->end - request->start;
}
