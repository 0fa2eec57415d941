/* fpmp_body.c - a request's body on its way from the client to the server.
 *
 * Runs in an httpd child for each request that has a body. Owns what it has read: memory of r->pool
 * and an unlinked file. Reads through the input filters only (limits, inflate and time limits are
 * theirs); must not hand a body on as complete that is not.
 */
#include "fpmp_body.h"
#include "fpmp_spool.h"

#include "wire/wire.h"

#include <http_log.h>
#include <http_protocol.h>
#include <util_filter.h>
#include <apr_buckets.h>
#include <apr_strings.h>
#include <string.h>

APLOG_USE_MODULE(fpmpool);

#define SPOOL_AUTO_MAX (1024 * 1024) /* FpmPoolBody auto: a larger one is streamed */
#define UNKNOWN_FIRST  (16 * 1024)   /* memory at first for a body without a length */
#define CHUNK_CONTENT  (FPMP_BODY_CHUNK - 2 * WIRE_HEADER_SIZE)

/* An ErrorDocument gets its request as a GET; the body belongs to the request that failed. */
static int is_error_document(const request_rec *r)
{
    return r->prev && ap_is_HTTP_ERROR(r->prev->status) && r->method_number == M_GET;
}

void fpmp_body_open(fpmp_body *body, request_rec *r)
{
    memset(body, 0, sizeof(*body));
    body->r = r;
    body->length = -1;
    if (r->main || is_error_document(r) || !ap_request_has_body(r)) {
        body->kind = FPMP_BODY_NONE;
        body->length = 0;
        body->is_at_end = 1;
        return;
    }
    body->kind = FPMP_BODY_PARTIAL;
    body->input = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    const char *length = apr_table_get(r->headers_in, "Content-Length");
    /* With a filter that changes the body the client's length says nothing. */
    if (length && !apr_table_get(r->headers_in, "Transfer-Encoding") &&
        r->input_filters == r->proto_input_filters) {
        apr_off_t number = 0;
        if (ap_parse_strict_length(&number, length)) {
            body->length = number;
        }
    }
}

/* ---- from the client ------------------------------------------------------------------------- */

static fpmp_body_fill fail(fpmp_body *body, apr_status_t error)
{
    body->status = ap_map_http_request_error(error, HTTP_BAD_REQUEST);
    int was_refused = error == AP_FILTER_ERROR; /* the filter has sent why */
    ap_log_rerror(APLOG_MARK, APLOG_INFO, was_refused ? APR_SUCCESS : error, body->r,
                  "FPMP0020: the request's body could not be read wholly%s (%" APR_OFF_T_FMT
                  " bytes came)",
                  was_refused ? ": an input filter of httpd refused it" : "", body->received);
    return FPMP_FILL_ERROR;
}

static fpmp_body_fill take_end(fpmp_body *body)
{
    body->is_at_end = 1;
    if (body->length >= 0 && body->received < body->length) {
        return fail(body, APR_EOF);
    }
    return FPMP_FILL_READY;
}

/* Copies the front bucket, or as much of it as there is room for. */
static apr_status_t take_bucket(fpmp_body *body, char *to, apr_size_t room, apr_size_t *got)
{
    apr_bucket *front = APR_BRIGADE_FIRST(body->input);
    const char *data = NULL;
    apr_size_t length = 0;
    apr_status_t status = apr_bucket_read(front, &data, &length, APR_BLOCK_READ);
    if (status != APR_SUCCESS) {
        return status;
    }
    if (length > room) {
        length = room;
        status = apr_bucket_split(front, length);
        if (status != APR_SUCCESS) {
            return status;
        }
    }
    memcpy(to, data, length);
    apr_bucket_delete(front);
    body->received += (apr_off_t)length;
    *got = length;
    return APR_SUCCESS;
}

/* Fills `to` as far as the client's bytes go. READY: something came, or the end. */
static fpmp_body_fill pull(fpmp_body *body, apr_read_type_e how, char *to, apr_size_t room,
                           apr_size_t *total)
{
    *total = 0;
    while (*total < room && !body->is_at_end) {
        if (APR_BRIGADE_EMPTY(body->input)) {
            apr_status_t status =
                ap_get_brigade(body->r->input_filters, body->input, AP_MODE_READBYTES, how,
                               (apr_off_t)(room - *total));
            int is_dry = how == APR_NONBLOCK_READ &&
                         (APR_STATUS_IS_EAGAIN(status) ||
                          (status == APR_SUCCESS && APR_BRIGADE_EMPTY(body->input)));
            if (is_dry) {
                return *total ? FPMP_FILL_READY : FPMP_FILL_WAIT;
            }
            if (status != APR_SUCCESS || APR_BRIGADE_EMPTY(body->input)) {
                return fail(body, status != APR_SUCCESS ? status : APR_EOF);
            }
        }
        apr_bucket *front = APR_BRIGADE_FIRST(body->input);
        if (APR_BUCKET_IS_EOS(front)) {
            return take_end(body);
        }
        if (APR_BUCKET_IS_METADATA(front)) {
            apr_bucket_delete(front);
            continue;
        }
        apr_size_t got = 0;
        apr_status_t status = take_bucket(body, to + *total, room - *total, &got);
        if (status != APR_SUCCESS) {
            return fail(body, status);
        }
        *total += got;
        if (body->length >= 0 && body->received >= body->length) {
            return take_end(body);
        }
    }
    return FPMP_FILL_READY;
}

void fpmp_body_time_out(fpmp_body *body)
{
    (void)fail(body, APR_TIMEUP);
}

/* ---- before the request is sent -------------------------------------------------------------- */

/* Room for a record header before the bytes and for the empty record behind them. */
static void make_memory(fpmp_body *body, apr_size_t size)
{
    char *room = apr_palloc(body->r->pool, size + 2 * WIRE_HEADER_SIZE);
    room += WIRE_HEADER_SIZE;
    if (body->memory_used) {
        memcpy(room, body->memory, body->memory_used);
    }
    body->memory = room;
    body->memory_size = size;
}

static fpmp_body_fill fill_memory(fpmp_body *body, apr_read_type_e how, apr_size_t most)
{
    fpmp_body_fill result = FPMP_FILL_READY;
    while (result == FPMP_FILL_READY && !body->is_at_end && body->memory_used < most) {
        apr_size_t got = 0;
        if (body->memory_used == body->memory_size) {
            make_memory(body, 2 * body->memory_size < most ? 2 * body->memory_size : most);
        }
        result = pull(body, how, body->memory + body->memory_used,
                      body->memory_size - body->memory_used, &got);
        body->memory_used += got;
    }
    return result;
}

/* A client that waits for "100 Continue" gets it from httpd only when its body is read in a way
 * that blocks: for the first byte. No server has the request yet, so that waiting holds no worker.
 */
static fpmp_body_fill await_first(fpmp_body *body, apr_size_t most)
{
    apr_size_t got = 0;
    fpmp_body_fill result = pull(body, APR_BLOCK_READ, body->memory + body->memory_used, 1, &got);
    body->memory_used += got;
    return result == FPMP_FILL_READY ? fill_memory(body, APR_NONBLOCK_READ, most) : result;
}

static int spool(fpmp_body *body, const fpmp_pool *pool)
{
    apr_status_t status = fpmp_spool_open(&body->file, body->r->pool);
    body->chunk = apr_palloc(body->r->pool, FPMP_BODY_CHUNK);
    while (status == APR_SUCCESS && !body->is_at_end) {
        apr_size_t got = 0;
        if (pull(body, APR_BLOCK_READ, (char *)body->chunk, FPMP_BODY_CHUNK, &got) ==
            FPMP_FILL_ERROR) {
            return body->status;
        }
        status = apr_file_write_full(body->file, body->chunk, got, NULL);
        body->file_length += (apr_off_t)got;
    }
    if (status != APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, status, body->r,
                      "FPMP0021: pool %s: the request's body could not be stored in a temporary "
                      "file: free space there, or set TMPDIR for httpd",
                      pool->name);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

static int must_be_whole(const fpmp_body *body, const fpmp_dir_conf *conf, int can_stream_unknown)
{
    if (body->length < 0 && !can_stream_unknown) {
        return 1;
    }
    if (conf->body_mode == FPMP_BODY_AUTO) {
        return body->length >= 0 && body->length <= SPOOL_AUTO_MAX;
    }
    return conf->body_mode == FPMP_BODY_BUFFER;
}

static void announce_wait(const fpmp_body *body)
{
    if (body->on_wait) {
        body->on_wait(body->on_wait_data);
    }
}

int fpmp_body_prepare(fpmp_body *body, const fpmp_dir_conf *conf, const fpmp_pool *pool,
                      int can_stream_unknown)
{
    if (body->kind == FPMP_BODY_NONE) {
        return OK;
    }
    apr_size_t most = conf->body_memory;
    apr_size_t first = UNKNOWN_FIRST;
    if (body->length >= 0) {
        first = body->length < (apr_off_t)most ? (apr_size_t)body->length : most;
    }
    make_memory(body, first < most ? first : most);
    most = body->length >= 0 ? body->memory_size : most;
    fpmp_body_fill result = fill_memory(body, APR_NONBLOCK_READ, most);
    if (result == FPMP_FILL_WAIT && body->r->expecting_100) {
        announce_wait(body);
        result = await_first(body, most);
    }
    if (result != FPMP_FILL_ERROR && !body->is_at_end) {
        if (!must_be_whole(body, conf, can_stream_unknown)) {
            return OK;
        }
        announce_wait(body);
        result = fill_memory(body, APR_BLOCK_READ, most);
    }
    if (result == FPMP_FILL_ERROR) {
        return body->status;
    }
    if (!body->is_at_end) {
        int status = spool(body, pool);
        if (status != OK) {
            return status;
        }
    }
    body->kind = FPMP_BODY_WHOLE;
    body->length = body->received;
    fpmp_body_rewind(body);
    return OK;
}

int fpmp_body_is_repeatable(const fpmp_body *body)
{
    return body->kind != FPMP_BODY_PARTIAL;
}

int fpmp_body_can_rewind(const fpmp_body *body)
{
    return body->received == (apr_off_t)body->memory_used + body->file_length;
}

void fpmp_body_rewind(fpmp_body *body)
{
    body->memory_sent = 0;
    body->file_sent = 0;
    body->is_end_sent = 0;
}

/* ---- to the server --------------------------------------------------------------------------- */

static void write_end(uint8_t *to)
{
    wire_header_write(to, WIRE_STDIN, FPMP_REQUEST_ID, 0, 0);
}

/* Memory has room for both records around the bytes: nothing is copied. */
static fpmp_body_fill next_small(fpmp_body *body, const uint8_t **bytes, apr_size_t *length)
{
    uint8_t *start = (uint8_t *)body->memory;
    *bytes = start;
    *length = WIRE_HEADER_SIZE;
    if (body->memory_used) {
        *bytes = start - WIRE_HEADER_SIZE;
        *length = body->memory_used + 2 * WIRE_HEADER_SIZE;
        wire_header_write(start - WIRE_HEADER_SIZE, WIRE_STDIN, FPMP_REQUEST_ID,
                          (uint16_t)body->memory_used, 0);
    }
    write_end(start + body->memory_used);
    body->is_end_sent = 1;
    return FPMP_FILL_READY;
}

static apr_size_t copy_memory(fpmp_body *body, uint8_t *to, apr_size_t room)
{
    apr_size_t length = body->memory_used - body->memory_sent;
    length = length < room ? length : room;
    if (length) {
        memcpy(to, body->memory + body->memory_sent, length);
        body->memory_sent += length;
    }
    return length;
}

static fpmp_body_fill copy_file(fpmp_body *body, uint8_t *to, apr_size_t room, apr_size_t *got)
{
    apr_off_t left = body->file_length - body->file_sent;
    apr_off_t offset = body->file_sent;
    *got = left < (apr_off_t)room ? (apr_size_t)left : room;
    apr_status_t status = apr_file_seek(body->file, APR_SET, &offset);
    if (status == APR_SUCCESS) {
        status = apr_file_read_full(body->file, to, *got, got);
    }
    if (status != APR_SUCCESS) {
        body->status = HTTP_INTERNAL_SERVER_ERROR;
        ap_log_rerror(APLOG_MARK, APLOG_ERR, status, body->r,
                      "FPMP0022: the stored request body could not be read back: look for disk "
                      "errors of the temporary directory");
        return FPMP_FILL_ERROR;
    }
    body->file_sent += (apr_off_t)*got;
    return FPMP_FILL_READY;
}

static int is_drained(const fpmp_body *body)
{
    return body->memory_sent == body->memory_used && body->file_sent == body->file_length &&
           body->is_at_end;
}

/* Bytes that were streamed may be wanted again. They are behind what memory has, if nothing was
 * left out before. */
static void remember(fpmp_body *body, const uint8_t *bytes, apr_size_t length)
{
    apr_size_t need = body->memory_used + length;
    if (need > body->keep_most || body->received != (apr_off_t)need) {
        return;
    }
    if (need > body->memory_size) {
        apr_size_t larger = 2 * body->memory_size;
        larger = larger < body->keep_most ? larger : body->keep_most;
        make_memory(body, larger > need ? larger : need);
    }
    memcpy(body->memory + body->memory_used, bytes, length);
    body->memory_used += length;
    body->memory_sent = body->memory_used;
}

static fpmp_body_fill next_chunk(fpmp_body *body, const uint8_t **bytes, apr_size_t *length)
{
    if (!body->chunk) {
        body->chunk = apr_palloc(body->r->pool, FPMP_BODY_CHUNK);
    }
    uint8_t *content = body->chunk + WIRE_HEADER_SIZE;
    fpmp_body_fill result = FPMP_FILL_READY;
    apr_size_t got = 0;
    apr_size_t used = copy_memory(body, content, CHUNK_CONTENT);
    if (used < CHUNK_CONTENT && body->file_sent < body->file_length) {
        result = copy_file(body, content + used, CHUNK_CONTENT - used, &got);
        used += got;
    }
    if (result == FPMP_FILL_READY && used < CHUNK_CONTENT && !body->is_at_end) {
        result = pull(body, APR_NONBLOCK_READ, (char *)content + used, CHUNK_CONTENT - used, &got);
        remember(body, content + used, got);
        used += got;
    }
    if (result == FPMP_FILL_ERROR || (result == FPMP_FILL_WAIT && !used)) {
        return result;
    }
    *bytes = used ? body->chunk : content;
    *length = used ? WIRE_HEADER_SIZE + used : 0;
    if (used) {
        wire_header_write(body->chunk, WIRE_STDIN, FPMP_REQUEST_ID, (uint16_t)used, 0);
    }
    if (is_drained(body)) {
        write_end(content + used);
        *length += WIRE_HEADER_SIZE;
        body->is_end_sent = 1;
    }
    return FPMP_FILL_READY;
}

fpmp_body_fill fpmp_body_next(fpmp_body *body, const uint8_t **bytes, apr_size_t *length)
{
    static const uint8_t empty[WIRE_HEADER_SIZE] = {
        WIRE_VERSION, WIRE_STDIN, 0, FPMP_REQUEST_ID, 0, 0, 0, 0};
    if (body->is_end_sent) {
        return FPMP_FILL_END;
    }
    if (body->kind == FPMP_BODY_NONE) {
        *bytes = empty;
        *length = sizeof(empty);
        body->is_end_sent = 1;
        return FPMP_FILL_READY;
    }
    if (body->kind == FPMP_BODY_WHOLE && !body->file && body->memory_used <= WIRE_CONTENT_MAX) {
        return next_small(body, bytes, length);
    }
    return next_chunk(body, bytes, length);
}
