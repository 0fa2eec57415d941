/* response.c - writing a response to a connection.
 *
 * Runs in workers. A small response is one buffer and one write, END_REQUEST included. Large output
 * goes out in full records with writev, straight from PHP's memory. After a failure everything is
 * dropped quietly; the caller learns it from the return values.
 */
#include "worker/response.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/loop.h"
#include "base/peer.h"

/* A full record, END_REQUEST and a few records from aside. */
#define BUFFER_SIZE  (WIRE_HEADER_SIZE + FPD_RESPONSE_RECORD + 512)
#define RECORDS_ONCE 8 /* full records of one writev */
#define LOOK_TIME                                                                                  \
    (INT64_C(5) * 1000000) /* microseconds between looks at a client that takes nothing */

void fpd_response_create(fpd_response *response, int64_t timeout, fpd_response_begin_fn *on_begin,
                         void *context, apr_pool_t *pool)
{
    memset(response, 0, sizeof(*response));
    response->fd = -1;
    response->buffer = apr_palloc(pool, BUFFER_SIZE);
    response->timeout = timeout;
    response->on_begin = on_begin;
    response->context = context;
}

void fpd_response_open(fpd_response *response, int fd, uint16_t id)
{
    response->fd = fd;
    response->id = id;
    response->used = 0;
    response->open_type = 0;
    response->has_begun = 0;
    response->has_ended = 0;
    response->is_broken = 0;
    response->body_sent = 0;
}

/* ---- sending ----------------------------------------------------------------------------- */

static int give_up(fpd_response *response)
{
    response->is_broken = 1;
    response->used = 0;
    response->open_type = 0;
    return 0;
}

static int wait_writable(fpd_response *response)
{
    struct pollfd wait = {.fd = response->fd, .events = POLLOUT};
    int64_t end = fpd_monotonic_now() + response->timeout;
    int64_t left = response->timeout;
    int result = 0;

    while (left > 0 && result <= 0) {
        if (response->end_flag != NULL && *response->end_flag) {
            return 0;
        }
        result = poll(&wait, 1, (int)((left < LOOK_TIME ? left : LOOK_TIME) / 1000) + 1);
        if ((result < 0 && errno != EINTR) ||
            (result == 0 && fpd_peer_has_vanished(response->fd))) {
            return 0;
        }
        left = end - fpd_monotonic_now();
    }
    return result > 0 && (wait.revents & (POLLERR | POLLNVAL)) == 0;
}

/* Drops `done` bytes from the front of the vector. */
static void advance(struct iovec **parts, size_t *count, size_t done)
{
    while (*count > 0 && done >= (*parts)->iov_len) {
        done -= (*parts)->iov_len;
        (*parts)++;
        (*count)--;
    }
    if (*count > 0) {
        (*parts)->iov_base = (uint8_t *)(*parts)->iov_base + done;
        (*parts)->iov_len -= done;
    }
}

static int send_parts(fpd_response *response, struct iovec *parts, size_t count)
{
    if (response->is_broken) {
        return 0;
    }
    if (!response->has_begun) {
        response->has_begun = 1;
        if (response->on_begin != NULL) {
            response->on_begin(response->context);
        }
    }
    while (count > 0) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
        ssize_t sent = count == 1 ? send(response->fd, parts->iov_base, parts->iov_len,
                                         MSG_NOSIGNAL | MSG_DONTWAIT)
                                  : sendmsg(response->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            advance(&parts, &count, (size_t)sent);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (!wait_writable(response)) {
                return give_up(response);
            }
        } else if (errno != EINTR) {
            return give_up(response);
        }
    }
    return 1;
}

/* ---- records ----------------------------------------------------------------------------- */

/* Completes the open record: its length, and padding to a multiple of 8 bytes. */
static void close_record(fpd_response *response)
{
    size_t length = response->used - response->record - WIRE_HEADER_SIZE;
    uint8_t padding = wire_padding(length);

    if (response->open_type == 0) {
        return;
    }
    wire_header_write(response->buffer + response->record, response->open_type, response->id,
                      (uint16_t)length, padding);
    memset(response->buffer + response->used, 0, padding);
    response->used += padding;
    response->open_type = 0;
}

static void open_record(fpd_response *response, int type)
{
    if (response->open_type != type) {
        close_record(response);
        response->record = response->used;
        response->used += WIRE_HEADER_SIZE;
        response->open_type = type;
    }
}

int fpd_response_flush(fpd_response *response)
{
    struct iovec part;

    close_record(response);
    if (response->used == 0) {
        return !response->is_broken;
    }
    part.iov_base = response->buffer;
    part.iov_len = response->used;
    response->used = 0;
    return send_parts(response, &part, 1);
}

/* Room for `length` more bytes of records beside what the end needs. */
static int make_room(fpd_response *response, size_t length)
{
    size_t reserve = 2 * WIRE_HEADER_SIZE + WIRE_END_SIZE;

    return response->used + length + reserve <= BUFFER_SIZE || fpd_response_flush(response);
}

/* What does not fit goes out at once: the buffer, then full records straight from `data`. Returns
 * how many bytes of data were sent, -1 when the client is gone. */
static ssize_t send_large(fpd_response *response, int type, const char *data, size_t length)
{
    uint8_t headers[RECORDS_ONCE][WIRE_HEADER_SIZE];
    struct iovec parts[2 * RECORDS_ONCE + 1];
    size_t count = 0;
    size_t done = 0;

    close_record(response);
    if (response->used > 0) {
        parts[count++] = (struct iovec){response->buffer, response->used};
        response->used = 0;
    }
    for (int i = 0; i < RECORDS_ONCE && length - done >= FPD_RESPONSE_RECORD; i++) {
        wire_header_write(headers[i], type, response->id, FPD_RESPONSE_RECORD, 0);
        parts[count++] = (struct iovec){headers[i], WIRE_HEADER_SIZE};
        parts[count++] = (struct iovec){(void *)(uintptr_t)(data + done), FPD_RESPONSE_RECORD};
        done += FPD_RESPONSE_RECORD;
    }
    return send_parts(response, parts, count) ? (ssize_t)done : -1;
}

/* Content that the open record, or a new one, can still take. */
static size_t room_for(const fpd_response *response, int type)
{
    size_t content =
        response->open_type == type ? response->used - response->record - WIRE_HEADER_SIZE : 0;
    size_t header = response->open_type == type ? 0 : 2 * WIRE_HEADER_SIZE;
    size_t limit = WIRE_HEADER_SIZE + FPD_RESPONSE_RECORD;
    size_t room = response->used + header < limit ? limit - response->used - header : 0;

    return content + room > FPD_RESPONSE_RECORD ? FPD_RESPONSE_RECORD - content : room;
}

int fpd_response_write(fpd_response *response, int type, const char *data, size_t length)
{
    if (response->is_broken || response->has_ended) {
        return !response->is_broken;
    }
    response->body_sent += type == WIRE_STDOUT ? length : 0;
    while (length > 0) {
        size_t room = room_for(response, type);
        if (length <= room) {
            open_record(response, type);
            memcpy(response->buffer + response->used, data, length);
            response->used += length;
            return 1;
        }
        if (length >= FPD_RESPONSE_RECORD || room == 0) {
            ssize_t done = send_large(response, type, data, length);
            if (done < 0) {
                return 0;
            }
            data += done;
            length -= (size_t)done;
            continue;
        }
        open_record(response, type);
        memcpy(response->buffer + response->used, data, room);
        response->used += room;
        data += room;
        length -= room;
        if (!fpd_response_flush(response)) {
            return 0;
        }
    }
    return 1;
}

int fpd_response_add_records(fpd_response *response, const uint8_t *records, size_t length)
{
    if (response->is_broken || response->has_ended) {
        return !response->is_broken;
    }
    close_record(response);
    if (!make_room(response, length)) {
        return 0;
    }
    memcpy(response->buffer + response->used, records, length);
    response->used += length;
    return 1;
}

int fpd_response_drop(fpd_response *response)
{
    if (response->has_begun || response->is_broken) {
        return 0;
    }
    response->used = 0;
    response->open_type = 0;
    response->body_sent = 0;
    return 1;
}

void fpd_response_acknowledge(fpd_response *response)
{
    uint8_t record[WIRE_HEADER_SIZE];
    ssize_t sent = 0;

    wire_header_write(record, WIRE_STDERR, response->id, 0, 0);
    if (response->used == 0 && !response->has_begun) {
        sent = send(response->fd, record, sizeof(record), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    if (sent < (ssize_t)sizeof(record)) { /* not whole: nobody else may write behind it */
        sent = sent < 0 ? 0 : sent;
        fpd_response_add_records(response, record + sent, sizeof(record) - (size_t)sent);
        fpd_response_flush(response);
    }
}

int fpd_response_end(fpd_response *response, uint32_t app_status, int protocol_status)
{
    uint8_t record[WIRE_END_SIZE];

    if (response->has_ended) {
        return !response->is_broken;
    }
    wire_end_write(record, response->id, app_status, protocol_status);
    fpd_response_add_records(response, record, sizeof(record));
    response->has_ended = 1;
    return fpd_response_flush(response);
}
