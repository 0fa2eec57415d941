/* fpmp_relay.c - one request on one connection: bytes out, bytes in, until its end.
 *
 * Runs in an httpd child for each attempt of a request. A loop of three steps: send what can be
 * sent, wait for the server and the client, receive. Small requests cost writev, poll and read.
 * Must not block on anything but poll and httpd's own output; logs nothing but its bytes, at
 * trace7.
 */
#include "fpmp_relay.h"
#include "fpmp_client.h"
#include "fpmp_clock.h"
#include "fpmp_conn.h"
#include "fpmp_notes.h"

#include <http_log.h>
#include <apr_strings.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

APLOG_USE_MODULE(fpmpool);

#define GOING           ((fpmp_relay_result)-1)
#define DRY_WAIT        1   /* ms that a server may pause within a page before it is flushed */
#define TICK            500 /* ms between looks at what no poll shows: see choose_wait */
#define BLIND_TICK      20  /* ms between reads of a body that cannot be polled */
#define FALSE_WAKES_MAX 8
#define DISCARD_MOST    (1024 * 1024)
#define STREAM_LIMIT    (1024 * 1024) /* of management records that nobody asked for */

/* ---- send ------------------------------------------------------------------------------------ */

static int has_output(const fpmp_relay *relay)
{
    return !relay->is_send_broken && relay->out_at < relay->out_count;
}

/* Is there a next piece of the body that need not be waited for? */
static int has_input(const fpmp_relay *relay)
{
    return !relay->is_send_broken && !relay->waits_for_client && !relay->body->is_end_sent;
}

/* Puts the next piece of the body behind what is not written yet (the head, or nothing). */
static fpmp_relay_result fill(fpmp_relay *relay)
{
    const uint8_t *bytes = NULL;
    apr_size_t length = 0;
    switch (fpmp_body_next(relay->body, &bytes, &length)) {
    case FPMP_FILL_READY:
        if (relay->out_at == relay->out_count) {
            relay->out_at = relay->out_count = 0;
        }
        relay->out[relay->out_count].iov_base = (void *)(uintptr_t)bytes;
        relay->out[relay->out_count++].iov_len = length;
        relay->false_wakes = 0;
        relay->client_progress = fpmp_clock_now();
        break;
    case FPMP_FILL_WAIT:
        relay->waits_for_client = 1;
        relay->false_wakes++;
        break;
    case FPMP_FILL_END:
        break;
    case FPMP_FILL_ERROR:
        return FPMP_RELAY_CLIENT_BODY;
    }
    return GOING;
}

static void advance(fpmp_relay *relay, size_t written)
{
    while (relay->out_at < relay->out_count && written >= relay->out[relay->out_at].iov_len) {
        written -= relay->out[relay->out_at++].iov_len;
    }
    if (written) {
        struct iovec *part = &relay->out[relay->out_at];
        part->iov_base = (char *)part->iov_base + written;
        part->iov_len -= written;
    }
}

/* LogLevel fpmpool:trace7: every byte, passwords and all. */
static void trace(const fpmp_relay *relay, const char *label, const void *bytes, size_t length)
{
    if (APLOG_R_IS_LEVEL(relay->r, APLOG_TRACE7)) {
        label = apr_pstrcat(relay->r->pool, label, relay->server->address.label, NULL);
        ap_log_rdata(APLOG_MARK, APLOG_TRACE7, relay->r, label, bytes, length,
                     AP_LOG_DATA_SHOW_OFFSET);
    }
}

static void trace_written(const fpmp_relay *relay, size_t written)
{
    for (int i = relay->out_at; written && i < relay->out_count; i++) {
        size_t part = relay->out[i].iov_len < written ? relay->out[i].iov_len : written;
        trace(relay, "FPMP0093: bytes to ", relay->out[i].iov_base, part);
        written -= part;
    }
}

static void write_out(fpmp_relay *relay)
{
    struct msghdr message = {.msg_iov = relay->out + relay->out_at,
                             .msg_iovlen = (size_t)(relay->out_count - relay->out_at)};
    ssize_t written = sendmsg(relay->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (written >= 0) {
        trace_written(relay, (size_t)written);
        advance(relay, (size_t)written);
        relay->is_touched = 1;
        /* The client's time starts when its next bytes are wanted. */
        relay->progress = relay->client_progress = fpmp_clock_now();
        relay->is_progress_now = 1;
    } else if (errno != EAGAIN && errno != EINTR) {
        /* Perhaps it has answered before it closed: that is read first. */
        relay->is_send_broken = 1;
        relay->waits_for_client = 0;
    }
}

static fpmp_relay_result send_some(fpmp_relay *relay)
{
    fpmp_relay_result result = GOING;
    if (!has_output(relay) && has_input(relay)) {
        result = fill(relay);
    }
    if (result == GOING && has_output(relay)) {
        write_out(relay);
    }
    return result;
}

/* ---- wait ------------------------------------------------------------------------------------ */

/* Has the script of a client that is gone had its time? */
static int is_unwanted(const fpmp_relay *relay, apr_time_t now)
{
    return relay->client_left && now - relay->client_left >= relay->conf->abort_within;
}

/* Is FpmPoolTimeout total= over? */
static int is_too_long(const fpmp_relay *relay, apr_time_t now)
{
    return relay->timeouts.total > 0 && now - relay->course->start >= relay->timeouts.total;
}

static apr_interval_time_t time_of_step(const fpmp_relay *relay, apr_time_t now)
{
    /* A server that waits for the body, as we do, is not late. */
    if (relay->waits_for_client && !has_output(relay)) {
        return relay->client_progress + relay->r->server->timeout - now;
    }
    return relay->progress + (relay->first_byte ? relay->timeouts.idle : relay->timeouts.first) -
           now;
}

static apr_interval_time_t time_left(const fpmp_relay *relay, apr_time_t now)
{
    apr_interval_time_t left = time_of_step(relay, now);
    apr_interval_time_t total = relay->course->start + relay->timeouts.total - now;
    left = relay->timeouts.total > 0 && total < left ? total : left;
    total = relay->client_left + relay->conf->abort_within - now;
    return relay->client_left && total < left ? total : left;
}

static fpmp_relay_result run_out(fpmp_relay *relay)
{
    apr_time_t now = fpmp_clock_now();
    if (is_too_long(relay, now)) {
        return FPMP_RELAY_TOO_LONG;
    }
    if (is_unwanted(relay, now)) {
        return FPMP_RELAY_CLIENT_GONE;
    }
    if (relay->waits_for_client && !has_output(relay)) {
        fpmp_body_time_out(relay->body);
        return FPMP_RELAY_CLIENT_BODY;
    }
    return FPMP_RELAY_TIMEOUT;
}

/* Is there something that should go to the client if the server pauses? */
static int may_flush(const fpmp_relay *relay)
{
    return relay->conf->flush == FPMP_FLUSH_AUTO && fpmp_response_may_flush(&relay->response);
}

static int is_blind(const fpmp_relay *relay)
{
    return relay->client < 0 || relay->false_wakes > FALSE_WAKES_MAX;
}

/* Not shown by poll: the end of an HTTP/2 stream, and a time limit of an input filter
 * (mod_reqtimeout), which counts only when the filter is asked for bytes; a host that vanished.
 * Milliseconds to wait, and whether their end is an ordinary moment (1) or the time limit (0). */
static int choose_wait(const fpmp_relay *relay, apr_interval_time_t left, int *is_ordinary)
{
    apr_interval_time_t wait = (left + 999) / 1000;
    int most = may_flush(relay) ? DRY_WAIT : -1;
    if (most < 0 && relay->waits_for_client) {
        most = is_blind(relay) ? BLIND_TICK : TICK;
    } else if (most < 0 && (relay->r->connection->master || !relay->server->address.path)) {
        most = TICK;
    }
    *is_ordinary = most >= 0 && most < wait;
    return *is_ordinary ? most : (int)wait;
}

static fpmp_relay_result from_response(fpmp_response_result result)
{
    switch (result) {
    case FPMP_RESPONSE_GOOD:
        return GOING;
    case FPMP_RESPONSE_BAD_HEADER:
        return FPMP_RELAY_BAD_HEADER;
    case FPMP_RESPONSE_LARGE_HEADER:
        return FPMP_RELAY_LARGE_HEADER;
    case FPMP_RESPONSE_SHORT:
        return FPMP_RELAY_SHORT;
    case FPMP_RESPONSE_FILTER:
        return FPMP_RELAY_FILTER;
    case FPMP_RESPONSE_CLIENT_GONE:
        break;
    }
    return FPMP_RELAY_CLIENT_GONE;
}

static fpmp_relay_result lose(fpmp_relay *relay, apr_status_t error)
{
    relay->error = error;
    /* Closed before a byte of the request was written, or before the server said that it starts.
     * Anything else may have been executed. */
    if (!relay->first_byte && (!relay->is_touched || relay->awaits_ack)) {
        return FPMP_RELAY_NOT_TAKEN;
    }
    return FPMP_RELAY_LOST;
}

/* A host that does not acknowledge what was sent on an open connection is as far away as one that
 * does not accept a connection: the same limit counts. Before its end nothing is asked. */
static int is_out_of_reach(const fpmp_relay *relay)
{
    return !relay->server->address.path &&
           fpmp_clock_now() - relay->progress >= relay->timeouts.connect &&
           fpmp_conn_has_vanished(relay->fd);
}

/* The server pauses: what it wrote may be an event stream, or the start of a long page. */
static fpmp_relay_result pause_relay(fpmp_relay *relay)
{
    fpmp_stderr_flush(&relay->log);
    if (relay->r->connection->aborted && !relay->client_left) {
        return FPMP_RELAY_CLIENT_GONE;
    }
    if (is_out_of_reach(relay)) {
        return lose(relay, ETIMEDOUT);
    }
    if (relay->waits_for_client) {
        relay->waits_for_client = 0;
        relay->false_wakes -= !is_blind(relay); /* it was none */
    }
    return may_flush(relay) ? from_response(fpmp_response_flush(&relay->response)) : GOING;
}

static fpmp_relay_result look_at_client(fpmp_relay *relay, short events)
{
    if (!events) {
        return GOING;
    }
    if (relay->waits_for_client && (events & POLLIN)) {
        relay->waits_for_client = 0;
        return GOING;
    }
    return fpmp_client_has_left(events) ? FPMP_RELAY_CLIENT_GONE : GOING;
}

static fpmp_relay_result await(fpmp_relay *relay)
{
    apr_time_t now = relay->is_progress_now ? relay->progress : fpmp_clock_now();
    relay->is_progress_now = 0;
    if (is_too_long(relay, now)) {
        return FPMP_RELAY_TOO_LONG;
    }
    if (is_unwanted(relay, now)) {
        return FPMP_RELAY_CLIENT_GONE;
    }
    relay->is_readable = relay->is_more_likely;
    if (relay->is_readable) {
        return GOING;
    }
    /* A limit that has passed while a slow client was written to is no reason not to look. */
    apr_interval_time_t left = time_left(relay, now);
    int is_ordinary = 0;
    int wait = choose_wait(relay, left > 0 ? left : 0, &is_ordinary);
    int polls_client = !is_blind(relay);
    struct pollfd polled[2] = {{.fd = relay->fd, .events = POLLIN},
                               {.fd = relay->client, .events = POLLRDHUP}};
    if (has_output(relay) || has_input(relay)) {
        polled[0].events |= POLLOUT;
    }
    if (relay->waits_for_client) {
        polled[1].events |= POLLIN;
    }
    int ready = poll(polled, polls_client ? 2 : 1, wait);
    if (ready == 0) {
        return is_ordinary ? pause_relay(relay) : run_out(relay);
    }
    if (ready < 0) {
        return GOING; /* EINTR */
    }
    relay->is_readable = polled[0].revents & (POLLIN | POLLHUP | POLLERR) ? 1 : 0;
    return polls_client ? look_at_client(relay, polled[1].revents) : GOING;
}

/* ---- receive --------------------------------------------------------------------------------- */

static fpmp_relay_result judge_end(fpmp_relay *relay, const wire_event *event)
{
    relay->has_ended = 1;
    relay->app_status = event->app_status;
    if (event->protocol_status == WIRE_REQUEST_COMPLETE || relay->response.has_header) {
        fpmp_relay_result result = from_response(fpmp_response_check_end(&relay->response));
        if (result == FPMP_RELAY_BAD_HEADER && !relay->response.header_used) {
            return FPMP_RELAY_NO_ANSWER;
        }
        return result == GOING ? FPMP_RELAY_DONE : result;
    }
    switch (event->protocol_status) {
    case WIRE_OVERLOADED:
        return FPMP_RELAY_OVERLOADED;
    case WIRE_CANT_MPX_CONN:
        return FPMP_RELAY_CANT_MPX;
    case WIRE_UNKNOWN_ROLE:
        return FPMP_RELAY_UNKNOWN_ROLE;
    default:
        return FPMP_RELAY_NO_ANSWER;
    }
}

static fpmp_relay_result end_request(fpmp_relay *relay, const wire_event *end_event,
                                     const uint8_t *cursor, const uint8_t *end)
{
    wire_event event;
    int has_more = wire_decode(&relay->decoder, &cursor, end, &event) != WIRE_EVENT_MORE;
    fpmp_relay_result result = judge_end(relay, end_event);
    relay->is_clean = result == FPMP_RELAY_DONE && !has_more &&
                      wire_decoder_is_clean(&relay->decoder) && relay->body->is_end_sent &&
                      !relay->is_send_broken && relay->out_at == relay->out_count;
    return result;
}

/* A body that nobody wants is read on for a while, so that the connection can be kept. */
static fpmp_relay_result discard(fpmp_relay *relay, size_t length)
{
    relay->discarded += (apr_off_t)length;
    return relay->discarded > DISCARD_MOST ? FPMP_RELAY_DONE : GOING;
}

/* Only our daemon is believed; a record that is longer than any of its own is none. */
static void add_values(fpmp_relay *relay, const wire_event *event)
{
    apr_size_t room = sizeof(relay->values) - relay->values_used;
    apr_size_t piece = event->length < room ? event->length : room;
    if (relay->server->type == FPMP_TYPE_FPMPOOL) {
        memcpy(relay->values + relay->values_used, event->data, piece);
        relay->values_used += piece;
    }
}

static fpmp_relay_result take_facts(fpmp_relay *relay)
{
    wire_facts_read(&relay->facts, relay->values, relay->values_used);
    relay->values_used = 0;
    relay->log.worker = relay->facts.worker;
    switch (relay->facts.failure) {
    case WIRE_FAILURE_DIED:
        return FPMP_RELAY_DIED;
    case WIRE_FAILURE_TIMEOUT:
        return FPMP_RELAY_TERMINATED;
    default:
        return GOING;
    }
}

/* Is it an answer that another server shall give in its place? */
static int has_bad_status(fpmp_relay *relay)
{
    const fpmp_response *response = &relay->response;
    if (!relay->avoids_statuses || relay->client_left || !response->has_header ||
        response->is_passed) {
        return 0;
    }
    int status = response->status != OK ? response->status : relay->r->status;
    relay->bad_status = fpmp_pool_is_bad_status(relay->pool, status) ? status : 0;
    return relay->bad_status != 0;
}

static fpmp_relay_result decode(fpmp_relay *relay, const uint8_t *cursor, const uint8_t *end)
{
    fpmp_relay_result result = GOING;
    wire_event event;
    while (result == GOING) {
        switch (wire_decode(&relay->decoder, &cursor, end, &event)) {
        case WIRE_EVENT_MORE:
            return GOING;
        case WIRE_EVENT_STDOUT:
            relay->has_output = 1;
            result = from_response(
                fpmp_response_feed(&relay->response, (const char *)event.data, event.length));
            result = result == GOING && has_bad_status(relay) ? FPMP_RELAY_BAD_STATUS : result;
            if (result == GOING && relay->response.is_discarding && !relay->client_left) {
                result = discard(relay, event.length);
            }
            break;
        case WIRE_EVENT_STDERR:
            fpmp_stderr_feed(&relay->log, (const char *)event.data, event.length);
            break;
        case WIRE_EVENT_VALUES:
            add_values(relay, &event);
            break;
        case WIRE_EVENT_VALUES_END:
            result = take_facts(relay);
            break;
        case WIRE_EVENT_END:
            return end_request(relay, &event, cursor, end);
        case WIRE_EVENT_ERROR:
            relay->protocol_error = event.error;
            return FPMP_RELAY_PROTOCOL;
        default: /* ends of streams; other management records mean nothing here */
            break;
        }
    }
    return result;
}

static fpmp_relay_result receive_some(fpmp_relay *relay)
{
    apr_size_t room = 0;
    char *block = fpmp_response_room(&relay->response, &room);
    ssize_t got = recv(relay->fd, block, room, MSG_DONTWAIT);
    relay->is_more_likely = got == (ssize_t)room;
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return GOING;
    }
    if (got <= 0) {
        return lose(relay, got < 0 ? errno : APR_EOF);
    }
    trace(relay, "FPMP0094: bytes from ", block, (size_t)got);
    relay->progress = fpmp_clock_now();
    if (!relay->first_byte) {
        relay->first_byte = relay->progress;
    }
    fpmp_response_received(&relay->response, (apr_size_t)got);
    const uint8_t *bytes = (const uint8_t *)block;
    fpmp_relay_result result = decode(relay, bytes, bytes + got);
    if (relay->response.has_header && !relay->is_noted) {
        fpmp_notes_answer(relay);
    }
    if (result == GOING) {
        result = from_response(relay->conf->flush == FPMP_FLUSH_ON
                                   ? fpmp_response_flush(&relay->response)
                                   : fpmp_response_pass_much(&relay->response));
    }
    return result;
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* The first piece of the body goes out with the head. */
static fpmp_relay_result open_relay(fpmp_relay *relay)
{
    fpmp_response_open(&relay->response, relay->r, relay->conf, relay->pool, relay->server);
    fpmp_stderr_open(&relay->log, relay->r, relay->conf, relay->pool);
    wire_facts_init(&relay->facts);
    wire_decoder_init(&relay->decoder, WIRE_CLIENT, STREAM_LIMIT);
    wire_decoder_open(&relay->decoder, FPMP_REQUEST_ID);
    relay->out[0] = relay->head;
    relay->out_count = 1;
    relay->client = fpmp_client_descriptor(relay->r->connection);
    relay->progress = relay->client_progress = relay->began;
    return fill(relay);
}

/* FpmPoolOnAbort finish: the client is gone, and the script shall not learn it. Not where its body
 * is still missing, nor in HTTP/2: httpd gives up the memory of a connection's requests some
 * seconds after its end, whether they are over or not. */
static fpmp_relay_result outlive(fpmp_relay *relay)
{
    int is_complete = relay->body->kind != FPMP_BODY_PARTIAL || relay->body->is_end_sent;
    if (!relay->conf->abort_within || relay->client_left || !is_complete ||
        relay->r->connection->master) {
        return FPMP_RELAY_CLIENT_GONE;
    }
    relay->client_left = fpmp_clock_now();
    relay->client = -1;
    fpmp_response_abandon(&relay->response);
    return GOING;
}

fpmp_relay_result fpmp_relay_run(fpmp_relay *relay)
{
    fpmp_relay_result result = open_relay(relay);
    while (result == GOING) {
        result = send_some(relay);
        if (result == GOING) {
            result = await(relay);
        }
        if (result == GOING && relay->is_readable) {
            result = receive_some(relay);
        }
        if (result == FPMP_RELAY_CLIENT_GONE) {
            result = outlive(relay);
        }
    }
    fpmp_stderr_flush(&relay->log);
    return result;
}
