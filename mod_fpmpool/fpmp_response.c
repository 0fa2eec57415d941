/* fpmp_response.c - a script's answer on its way to the client.
 *
 * Runs in an httpd child for each request. Owns the receive blocks and what is held back. Decides
 * nothing about connections; must not trust a byte of the header block, and must not end a response
 * as complete that is not.
 */
#include "fpmp_response.h"
#include "fpmp_header.h"

#include "wire/wire.h"

#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <util_filter.h>
#include <apr_date.h>
#include <apr_escape.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

APLOG_USE_MODULE(fpmpool);

#define BLOCK_FIRST (64 * 1024 - 256)  /* with the allocator's own words still 64 KiB */
#define BLOCK_LARGE (128 * 1024 - 256) /* half of what a unix socket holds */
#define ROOM_LEAST  (8 * 1024)
#define HELD_MOST   (64 * 1024)
#define DETAIL_MOST 80

/* What the lines of a header block have said, until all are read. */
typedef struct header_facts {
    int has_status;
    int has_type;
    int has_modified;
    int has_etag;
    const char *location;
    apr_off_t length; /* -1: none */
} header_facts;

void fpmp_response_open(fpmp_response *response, request_rec *r, const fpmp_dir_conf *conf,
                        const fpmp_pool *pool)
{
    memset(response, 0, sizeof(*response));
    response->r = r;
    response->conf = conf;
    response->pool = pool;
    response->left = -1;
    response->status = OK;
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

static int is_one_of(const fpmp_header_line *line, const char *const *names)
{
    for (; *names; names++) {
        if (fpmp_header_is(line, *names)) {
            return 1;
        }
    }
    return 0;
}

static void set_modified(request_rec *r, const char *value, header_facts *facts)
{
    apr_time_t time = apr_date_parse_http(value);
    if (time != APR_DATE_BAD) {
        ap_update_mtime(r, time);
        ap_set_last_modified(r);
        facts->has_modified = 1;
    }
}

/* The words that go with a status: the script's, or httpd's own; it has none for an unusual number,
 * which must not become a 500 for that. */
static const char *choose_status_line(request_rec *r, const char *value, int has_words)
{
    const char *known = ap_get_status_line(r->status);
    return has_words || atoi(known) != r->status ? value : NULL;
}

static int set_status(request_rec *r, const fpmp_header_line *line, const char *value,
                      header_facts *facts)
{
    int status = fpmp_header_status(line);
    if (status < 200) {
        return 0;
    }
    r->status = status;
    r->status_line = choose_status_line(r, value, line->value_length > 4);
    facts->has_status = 1;
    return 1;
}

/* A name that httpd keeps in headers_out, where one value replaces another. */
static int set_own(fpmp_response *response, const fpmp_header_line *line, const char *value,
                   header_facts *facts)
{
    request_rec *r = response->r;
    if (fpmp_header_is(line, "Content-Type")) {
        ap_set_content_type_ex(r, value, 0);
        facts->has_type = 1;
    } else if (fpmp_header_is(line, "Content-Length")) {
        facts->length = fpmp_header_number(line);
        if (facts->length < 0) {
            ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                          "FPMP0030: pool %s: the script's Content-Length \"%s\" is no number and "
                          "was dropped",
                          response->pool->name, ap_escape_logitem(r->pool, value));
        }
    } else if (fpmp_header_is(line, "Location")) {
        facts->location = value;
        apr_table_setn(r->headers_out, "Location", value);
    } else if (fpmp_header_is(line, "ETag")) {
        facts->has_etag = 1;
        apr_table_setn(r->headers_out, "ETag", value);
    } else if (fpmp_header_is(line, "Content-Range")) {
        apr_table_setn(r->headers_out, "Content-Range", value);
    } else if (fpmp_header_is(line, "Last-Modified")) {
        set_modified(r, value, facts);
    } else {
        return 0;
    }
    return 1;
}

/* What a script told with apache_note() or apache_setenv(). This module's own notes stay its own.
 */
static int take_told(fpmp_response *response, const fpmp_header_line *line, const char *value)
{
    request_rec *r = response->r;
    int is_note = fpmp_header_is(line, WIRE_HEADER_NOTE);
    if (response->pool->server.type != FPMP_TYPE_FPMPOOL ||
        (!is_note && !fpmp_header_is(line, WIRE_HEADER_ENV))) {
        return 0;
    }
    const char *equals = strchr(value, '=');
    const char *name =
        equals ? apr_punescape_url(r->pool,
                                   apr_pstrmemdup(r->pool, value, (apr_size_t)(equals - value)),
                                   NULL, NULL, 0)
               : NULL;
    const char *text = equals ? apr_punescape_url(r->pool, equals + 1, NULL, NULL, 0) : NULL;
    if (name && *name && text && (!is_note || strncasecmp(name, "fpmpool-", 8) != 0)) {
        apr_table_setn(is_note ? r->notes : r->subprocess_env, name, text);
    }
    return 1;
}

/* Returns 0 for a line that makes the whole answer invalid. */
static int apply_line(fpmp_response *response, const fpmp_header_line *line, header_facts *facts)
{
    /* Of the connection between httpd and its client, or core's own. */
    static const char *const dropped[] = {"Connection", "Keep-Alive", "Transfer-Encoding",
                                          "Upgrade",    "Trailer",    "Date",
                                          "Server",     NULL};
    request_rec *r = response->r;
    const char *value = apr_pstrmemdup(r->pool, line->value, line->value_length);
    if (fpmp_header_is(line, "Status")) {
        return set_status(r, line, value, facts);
    }
    if (set_own(response, line, value, facts) || is_one_of(line, dropped) ||
        take_told(response, line, value)) {
        return 1;
    }
    /* err_headers_out, so that it survives a 304 or an ErrorDocument. */
    const char *name = apr_pstrmemdup(r->pool, line->name, line->name_length);
    if (fpmp_header_is(line, "Set-Cookie")) {
        apr_table_addn(r->err_headers_out, name, value);
    } else {
        apr_table_mergen(r->err_headers_out, name, value);
    }
    return 1;
}

/* Only validators that the script gave count: httpd takes a missing modification time for "now" and
 * would answer 304 to any recent If-Modified-Since. */
static int meets_conditions(request_rec *r, const header_facts *facts)
{
    if (facts->has_modified) {
        return ap_meets_conditions(r);
    }
    const char *since = apr_table_get(r->headers_in, "If-Modified-Since");
    const char *unless = apr_table_get(r->headers_in, "If-Unmodified-Since");
    apr_table_unset(r->headers_in, "If-Modified-Since");
    apr_table_unset(r->headers_in, "If-Unmodified-Since");
    int status = ap_meets_conditions(r);
    if (since) {
        apr_table_setn(r->headers_in, "If-Modified-Since", since);
    }
    if (unless) {
        apr_table_setn(r->headers_in, "If-Unmodified-Since", unless);
    }
    return status;
}

static void apply_location(fpmp_response *response, const header_facts *facts)
{
    request_rec *r = response->r;
    if (!facts->location || r->status != HTTP_OK) {
        return;
    }
    if (facts->location[0] == '/') {
        response->redirect = facts->location;
        response->is_discarding = 1;
    } else {
        r->status = HTTP_MOVED_TEMPORARILY;
        r->status_line = NULL;
    }
}

static void settle(fpmp_response *response, const header_facts *facts)
{
    request_rec *r = response->r;
    response->has_header = 1;
    response->is_dirty = 1;
    if (!facts->has_type) {
        ap_set_content_type(r, NULL); /* not the handler's name that AddType gave */
    }
    apply_location(response, facts);
    if (!facts->has_status && r->status == HTTP_OK && r->method_number == M_GET && !r->main &&
        (facts->has_modified || facts->has_etag)) {
        response->status = meets_conditions(r, facts);
    }
    if (r->header_only || AP_STATUS_IS_HEADER_ONLY(r->status) || response->status != OK) {
        response->is_discarding = 1;
    }
    if (facts->length < 0 || response->status != OK || response->redirect ||
        AP_STATUS_IS_HEADER_ONLY(r->status)) {
        return;
    }
    ap_set_content_length(r, facts->length);
    if (!response->is_discarding) {
        response->left = facts->length;
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
    header_facts facts = {.length = -1};
    fpmp_header_line line;
    const char *cursor = bytes;
    if (length > response->conf->max_header) {
        return FPMP_RESPONSE_LARGE_HEADER;
    }
    remember(response);
    for (;;) {
        const char *start = cursor;
        int result = fpmp_header_next(&cursor, bytes + length, &line);
        if (!result) {
            break;
        }
        if (result < 0 || !apply_line(response, &line, &facts)) {
            return refuse(response, start, (apr_size_t)(bytes + length - start));
        }
    }
    settle(response, &facts);
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

fpmp_response_result fpmp_response_feed(fpmp_response *response, const char *bytes,
                                        apr_size_t length)
{
    if (response->has_header) {
        add_data(response, bytes, length);
        return FPMP_RESPONSE_GOOD;
    }
    const char *header = bytes;
    apr_size_t used = length;
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
    fpmp_response_result result = apply(response, header, end);
    if (result == FPMP_RESPONSE_GOOD) {
        apr_size_t rest = used - end;
        add_data(response, bytes + length - rest, rest);
    }
    return result;
}

/* ---- to the client --------------------------------------------------------------------------- */

static int is_end_of_client(apr_status_t status)
{
    return APR_STATUS_IS_ECONNABORTED(status) || APR_STATUS_IS_ECONNRESET(status) ||
           APR_STATUS_IS_EPIPE(status) || APR_STATUS_IS_TIMEUP(status);
}

static fpmp_response_result pass(fpmp_response *response)
{
    request_rec *r = response->r;
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

static int may_pass(const fpmp_response *response)
{
    return response->has_header && response->status == OK && !response->redirect;
}

fpmp_response_result fpmp_response_pass_much(fpmp_response *response)
{
    return may_pass(response) && response->held_length >= HELD_MOST ? pass(response)
                                                                    : FPMP_RESPONSE_GOOD;
}

fpmp_response_result fpmp_response_flush(fpmp_response *response)
{
    if (!may_pass(response) || !response->is_dirty) {
        return FPMP_RESPONSE_GOOD;
    }
    APR_BRIGADE_INSERT_TAIL(response->held,
                            apr_bucket_flush_create(response->r->connection->bucket_alloc));
    return pass(response);
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
