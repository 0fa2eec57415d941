/* fpmp_response.c - a script's answer on its way to the client.
 *
 * Runs in an httpd child for each request. Owns the receive blocks and what is held back. Decides
 * nothing about connections; must not trust a byte of the header block, and must not end a response
 * as complete that is not.
 */
#include "fpmp_response.h"
#include "fpmp_answer.h"
#include "fpmp_header.h"
#include "fpmp_sendfile.h"
#include "fpmp_spool.h"

#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <util_filter.h>
#include <apr_strings.h>
#include <string.h>

APLOG_USE_MODULE(fpmpool);

#define BLOCK_FIRST (64 * 1024 - 256)  /* with the allocator's own words still 64 KiB */
#define BLOCK_LARGE (128 * 1024 - 256) /* half of what a unix socket holds */
#define ROOM_LEAST  (8 * 1024)
#define HELD_MOST   (64 * 1024)
#define DETAIL_MOST 80
#define HINTS_MOST  8 /* 103 answers before one response */

void fpmp_response_open(fpmp_response *response, request_rec *r, const fpmp_dir_conf *conf,
                        const fpmp_pool *pool, const fpmp_server *server)
{
    memset(response, 0, sizeof(*response));
    response->r = r;
    response->conf = conf;
    response->pool = pool;
    response->server = server;
    response->left = -1;
    response->status = OK;
    response->holds_all = conf->buffer_memory > 0;
    response->held = apr_brigade_create(r->pool, r->connection->bucket_alloc);
}

/* ---- receive blocks -------------------------------------------------------------------------- */

static void release_block(fpmp_response *response)
{
    if (response->block_owner) {
        apr_bucket_destroy(response->block_owner);
        response->block_owner = NULL;
        response->block = NULL;
    }
}

char *fpmp_response_room(fpmp_response *response, apr_size_t *room)
{
    if (!response->block || response->block_size - response->block_used < ROOM_LEAST) {
        apr_bucket_alloc_t *list = response->r->connection->bucket_alloc;
        /* Who has filled one block is likely to fill a large one. */
        response->block_size = response->block ? BLOCK_LARGE : BLOCK_FIRST;
        release_block(response);
        response->block = apr_bucket_alloc(response->block_size, list);
        response->block_owner =
            apr_bucket_heap_create(response->block, response->block_size, apr_bucket_free, list);
        response->block_used = 0;
    }
    *room = response->block_size - response->block_used;
    return response->block + response->block_used;
}

void fpmp_response_received(fpmp_response *response, apr_size_t length)
{
    response->block_used += length;
}

/* A bucket that shares the block: no byte is copied. */
static void hold(fpmp_response *response, const char *bytes, apr_size_t length)
{
    apr_bucket *piece = NULL;
    apr_bucket_copy(response->block_owner, &piece);
    piece->start = bytes - response->block;
    piece->length = length;
    APR_BRIGADE_INSERT_TAIL(response->held, piece);
    response->held_length += length;
    response->is_dirty = 1;
}

static void add_data(fpmp_response *response, const char *bytes, apr_size_t length)
{
    if (response->is_discarding || !length) {
        return;
    }
    if (response->left >= 0) {
        apr_size_t wanted =
            response->left < (apr_off_t)length ? (apr_size_t)response->left : length;
        response->surplus += (apr_off_t)(length - wanted);
        response->left -= (apr_off_t)wanted;
        length = wanted;
    }
    if (length) {
        hold(response, bytes, length);
    }
}

/* ---- header block ---------------------------------------------------------------------------- */

/* The first bytes for the log, which escapes them; a NUL must not end them. */
static const char *quote(apr_pool_t *pool, const char *bytes, apr_size_t length)
{
    char *text = apr_palloc(pool, 2 * DETAIL_MOST + 1);
    char *next = text;
    for (apr_size_t i = 0; i < length && i < DETAIL_MOST; i++) {
        if (bytes[i]) {
            *next++ = bytes[i];
        } else {
            *next++ = '^';
            *next++ = '@';
        }
    }
    *next = '\0';
    return text;
}

static fpmp_response_result refuse(fpmp_response *response, const char *bytes, apr_size_t length)
{
    response->detail = quote(response->r->pool, bytes, length);
    return FPMP_RESPONSE_BAD_HEADER;
}

static void apply_location(fpmp_response *response, const fpmp_answer *answer)
{
    request_rec *r = response->r;
    if (!answer->location || r->status != HTTP_OK) {
        return;
    }
    if (answer->location[0] == '/') {
        response->redirect = answer->location;
        response->is_discarding = 1;
    } else {
        r->status = HTTP_MOVED_TEMPORARILY;
        r->status_line = NULL;
    }
}

/* The script wants httpd to send a file, or another path of the server, in place of its body. */
static void substitute(fpmp_response *response, fpmp_answer *answer)
{
    request_rec *r = response->r;
    response->is_discarding = 1;
    if (answer->uri) {
        response->status = fpmp_sendfile_check_uri(r, response->pool, answer->uri);
        response->redirect = response->status == OK ? answer->uri : NULL;
        return;
    }
    apr_finfo_t info;
    response->status =
        fpmp_sendfile_open(r, response->conf, response->pool, answer->file, &response->file, &info);
    if (response->status != OK) {
        return;
    }
    response->holds_all = 1; /* in one brigade with the end: httpd's ranges need that */
    response->file_length = info.size;
    answer->length = info.size;
    apr_table_setn(r->headers_out, "Accept-Ranges", "bytes");
    if (!answer->has_modified) {
        ap_update_mtime(r, info.mtime);
        ap_set_last_modified(r);
        answer->has_modified = 1;
    }
}

/* FpmPoolErrorOverride: an error becomes httpd's own, unless this is the page for one. */
static void override_error(fpmp_response *response)
{
    request_rec *r = response->r;
    if (!ap_is_HTTP_ERROR(r->status) || r->prev || r->main ||
        !fpmp_conf_overrides(response->conf, r->status)) {
        return;
    }
    response->status = r->status;
    r->status = HTTP_OK; /* else httpd takes it for an error within an error */
    r->status_line = NULL;
}

/* php_flag last_modified on. For the client only: nothing that a script did not say makes a 304. */
static void set_time_of_file(fpmp_response *response, const fpmp_answer *answer)
{
    request_rec *r = response->r;
    if (response->conf->ini && !answer->has_modified && r->finfo.filetype == APR_REG &&
        fpmp_ini_is_on(response->conf->ini, "last_modified")) {
        ap_update_mtime(r, r->finfo.mtime);
        ap_set_last_modified(r);
    }
}

static void settle(fpmp_response *response, fpmp_answer *answer)
{
    request_rec *r = response->r;
    response->has_header = 1;
    response->is_dirty = 1;
    if (!answer->has_type) {
        ap_set_content_type(r, NULL); /* not the handler's name that AddType gave */
    }
    if ((answer->file || answer->uri) && r->status == HTTP_OK) {
        substitute(response, answer);
    } else {
        apply_location(response, answer);
    }
    override_error(response);
    if (!answer->has_status && response->status == OK && r->status == HTTP_OK &&
        r->method_number == M_GET && !r->main && (answer->has_modified || answer->has_etag)) {
        response->status = fpmp_answer_meets_conditions(r, answer);
    }
    set_time_of_file(response, answer);
    if (r->header_only || AP_STATUS_IS_HEADER_ONLY(r->status) || response->status != OK) {
        response->is_discarding = 1;
    }
    if (answer->length < 0 || response->status != OK || response->redirect ||
        AP_STATUS_IS_HEADER_ONLY(r->status)) {
        return;
    }
    ap_set_content_length(r, answer->length);
    if (!response->is_discarding) {
        response->left = answer->length;
    }
}

/* Mostly there is nothing to copy: NULL. */
static const apr_table_t *copy_filled(apr_pool_t *pool, const apr_table_t *table)
{
    return apr_is_empty_table(table) ? NULL : apr_table_copy(pool, table);
}

static void remember(fpmp_response *response)
{
    request_rec *r = response->r;
    response->is_applied = 1;
    response->status_before = r->status;
    response->status_line_before = r->status_line;
    response->headers_before = copy_filled(r->pool, r->headers_out);
    response->err_headers_before = copy_filled(r->pool, r->err_headers_out);
}

static fpmp_response_result apply(fpmp_response *response, const char *bytes, apr_size_t length)
{
    fpmp_answer answer;
    if (length > response->conf->max_header) {
        return FPMP_RESPONSE_LARGE_HEADER;
    }
    if (fpmp_answer_is_interim(bytes, length)) {
        if (response->hints_sent++ < HINTS_MOST) {
            fpmp_answer_send_hints(response->r, bytes, length);
        }
        return FPMP_RESPONSE_GOOD;
    }
    remember(response);
    const char *wrong = fpmp_answer_apply(&answer, response->r, response->conf, response->pool,
                                          response->server, bytes, length);
    if (wrong) {
        return refuse(response, wrong, (apr_size_t)(bytes + length - wrong));
    }
    settle(response, &answer);
    return FPMP_RESPONSE_GOOD;
}

static void keep_header_piece(fpmp_response *response, const char *bytes, apr_size_t length)
{
    apr_size_t need = response->header_used + length;
    if (need > response->header_size) {
        char *larger = apr_palloc(response->r->pool, 2 * need);
        if (response->header_used) {
            memcpy(larger, response->header, response->header_used);
        }
        response->header = larger;
        response->header_size = 2 * need;
    }
    memcpy(response->header + response->header_used, bytes, length);
    response->header_used = need;
}

/* Takes bytes up to the end of a header block; *rest: how many are left behind it. */
static fpmp_response_result feed_header(fpmp_response *response, const char *bytes,
                                        apr_size_t length, apr_size_t *rest)
{
    const char *header = bytes;
    apr_size_t used = length;
    *rest = 0;
    if (response->header_used) {
        keep_header_piece(response, bytes, length);
        header = response->header;
        used = response->header_used;
    }
    apr_size_t end = fpmp_header_length(header, used, response->header_searched);
    if (!end) {
        if (used > response->conf->max_header) {
            return FPMP_RESPONSE_LARGE_HEADER;
        }
        if (!response->header_used) {
            keep_header_piece(response, bytes, length);
        }
        response->header_searched = used;
        return FPMP_RESPONSE_GOOD;
    }
    *rest = used - end;
    fpmp_response_result result = apply(response, header, end);
    if (result == FPMP_RESPONSE_GOOD) {
        response->header_used = response->header_searched = 0;
    }
    return result;
}

fpmp_response_result fpmp_response_feed(fpmp_response *response, const char *bytes,
                                        apr_size_t length)
{
    fpmp_response_result result = FPMP_RESPONSE_GOOD;
    while (result == FPMP_RESPONSE_GOOD && !response->has_header && length) {
        apr_size_t rest = 0;
        result = feed_header(response, bytes, length, &rest);
        bytes += length - rest;
        length = rest;
    }
    if (result == FPMP_RESPONSE_GOOD) {
        add_data(response, bytes, length);
    }
    return result;
}

/* ---- to the client --------------------------------------------------------------------------- */

static int is_end_of_client(apr_status_t status)
{
    return APR_STATUS_IS_ECONNABORTED(status) || APR_STATUS_IS_ECONNRESET(status) ||
           APR_STATUS_IS_EPIPE(status) || APR_STATUS_IS_TIMEUP(status);
}

/* What was stored, or is sent in place of the body, goes before what is held. */
static void insert_file(fpmp_response *response)
{
    request_rec *r = response->r;
    apr_bucket_brigade *stored = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    apr_brigade_insert_file(stored, response->file, 0, response->file_length, r->pool);
    APR_BRIGADE_PREPEND(response->held, stored);
    response->file_length = 0;
}

static fpmp_response_result pass(fpmp_response *response)
{
    request_rec *r = response->r;
    if (response->file_length) {
        insert_file(response);
    }
    response->is_passed = 1;
    response->is_dirty = 0;
    response->held_length = 0;
    apr_status_t status = ap_pass_brigade(r->output_filters, response->held);
    apr_brigade_cleanup(response->held);
    if (r->connection->aborted || is_end_of_client(status)) {
        return FPMP_RESPONSE_CLIENT_GONE;
    }
    response->filter_error = status;
    return status == APR_SUCCESS ? FPMP_RESPONSE_GOOD : FPMP_RESPONSE_FILTER;
}

/* Moves what is held into the file. */
static apr_status_t store(fpmp_response *response)
{
    apr_status_t status = APR_SUCCESS;
    if (!response->file) {
        status = fpmp_spool_open(&response->file, response->r->pool);
    }
    for (apr_bucket *at = APR_BRIGADE_FIRST(response->held);
         status == APR_SUCCESS && at != APR_BRIGADE_SENTINEL(response->held);
         at = APR_BUCKET_NEXT(at)) {
        const char *bytes = NULL;
        apr_size_t length = 0;
        status = apr_bucket_read(at, &bytes, &length, APR_BLOCK_READ);
        if (status == APR_SUCCESS) {
            status = apr_file_write_full(response->file, bytes, length, NULL);
        }
    }
    if (status == APR_SUCCESS) {
        apr_brigade_cleanup(response->held);
        response->file_length += (apr_off_t)response->held_length;
        response->held_length = 0;
    }
    return status;
}

/* FpmPoolBuffer: more than its memory goes into a file; what does not fit there either goes to the
 * client at its own speed, as without it. */
static fpmp_response_result keep_back(fpmp_response *response)
{
    const fpmp_dir_conf *conf = response->conf;
    if (response->held_length < conf->buffer_memory) {
        return FPMP_RESPONSE_GOOD;
    }
    if (response->file_length + (apr_off_t)response->held_length <= (apr_off_t)conf->buffer_file) {
        apr_status_t status = store(response);
        if (status == APR_SUCCESS) {
            return FPMP_RESPONSE_GOOD;
        }
        ap_log_rerror(
            APLOG_MARK, APLOG_WARNING, status, response->r,
            "FPMP0023: pool %s: the response could not be stored in a temporary file, and "
            "its worker waits for the client: free space there, or set TMPDIR for httpd",
            response->pool->name);
    }
    response->holds_all = 0;
    return pass(response);
}

static int may_pass(const fpmp_response *response)
{
    return response->has_header && response->status == OK && !response->redirect &&
           !response->is_abandoned;
}

int fpmp_response_may_flush(const fpmp_response *response)
{
    return may_pass(response) && response->is_dirty && !response->holds_all;
}

fpmp_response_result fpmp_response_pass_much(fpmp_response *response)
{
    if (!may_pass(response)) {
        return FPMP_RESPONSE_GOOD;
    }
    if (response->holds_all) {
        return keep_back(response);
    }
    return response->held_length >= HELD_MOST ? pass(response) : FPMP_RESPONSE_GOOD;
}

fpmp_response_result fpmp_response_flush(fpmp_response *response)
{
    if (!fpmp_response_may_flush(response)) {
        return fpmp_response_pass_much(response);
    }
    APR_BRIGADE_INSERT_TAIL(response->held,
                            apr_bucket_flush_create(response->r->connection->bucket_alloc));
    return pass(response);
}

void fpmp_response_abandon(fpmp_response *response)
{
    response->is_abandoned = 1;
    response->is_discarding = 1;
    response->left = -1;
    response->held_length = 0;
    apr_brigade_cleanup(response->held);
}

fpmp_response_result fpmp_response_check_end(const fpmp_response *response)
{
    if (!response->has_header) {
        return FPMP_RESPONSE_BAD_HEADER;
    }
    return response->left > 0 ? FPMP_RESPONSE_SHORT : FPMP_RESPONSE_GOOD;
}

fpmp_response_result fpmp_response_finish(fpmp_response *response)
{
    APR_BRIGADE_INSERT_TAIL(response->held,
                            apr_bucket_eos_create(response->r->connection->bucket_alloc));
    return pass(response);
}

static void restore(apr_table_t *table, const apr_table_t *before)
{
    apr_table_clear(table);
    const apr_array_header_t *list = before ? apr_table_elts(before) : NULL;
    for (int i = 0; list && i < list->nelts; i++) {
        const apr_table_entry_t *entry = &APR_ARRAY_IDX(list, i, const apr_table_entry_t);
        apr_table_addn(table, entry->key, entry->val);
    }
}

void fpmp_response_take_back(fpmp_response *response)
{
    request_rec *r = response->r;
    apr_brigade_cleanup(response->held);
    if (response->header_used && !response->detail) {
        (void)refuse(response, response->header, response->header_used);
    }
    if (response->is_applied) {
        response->is_applied = 0;
        restore(r->headers_out, response->headers_before);
        restore(r->err_headers_out, response->err_headers_before);
        r->status = response->status_before;
        r->status_line = response->status_line_before;
        ap_set_content_type(r, NULL);
    }
}

void fpmp_response_break(fpmp_response *response)
{
    request_rec *r = response->r;
    apr_bucket_alloc_t *list = r->connection->bucket_alloc;
    APR_BRIGADE_INSERT_TAIL(response->held,
                            ap_bucket_error_create(HTTP_BAD_GATEWAY, NULL, r->pool, list));
    APR_BRIGADE_INSERT_TAIL(response->held, apr_bucket_eos_create(list));
    r->connection->keepalive = AP_CONN_CLOSE;
    (void)pass(response); /* the client may be gone: there is nothing more to say */
    r->connection->keepalive = AP_CONN_CLOSE;
}

void fpmp_response_close(fpmp_response *response)
{
    release_block(response);
}
