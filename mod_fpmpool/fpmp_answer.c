/* fpmp_answer.c - what the header block of a script's answer says, applied to httpd's request.
 *
 * Runs in an httpd child for each answer. Knows which header goes where; must not trust a byte of
 * the block, and sends nothing but early hints.
 */
#include "fpmp_answer.h"
#include "fpmp_header.h"

#include "wire/wire.h"

#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <apr_date.h>
#include <apr_escape.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

APLOG_USE_MODULE(fpmpool);

#define EARLY_HINTS 103

/* Of the connection between httpd and its client, or core's own. */
static const char *const not_passed[] = {
    "Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade", "Trailer", "Date", "Server", NULL};

static int is_one_of(const fpmp_header_line *line, const char *const *names)
{
    for (; *names; names++) {
        if (fpmp_header_is(line, *names)) {
            return 1;
        }
    }
    return 0;
}

static void set_modified(request_rec *r, const char *value, fpmp_answer *answer)
{
    apr_time_t time = apr_date_parse_http(value);
    if (time != APR_DATE_BAD) {
        ap_update_mtime(r, time);
        ap_set_last_modified(r);
        answer->has_modified = 1;
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
                      fpmp_answer *answer)
{
    int status = fpmp_header_status(line);
    if (status < 200) {
        return 0;
    }
    r->status = status;
    r->status_line = choose_status_line(r, value, line->value_length > 4);
    answer->has_status = 1;
    return 1;
}

/* A name that httpd keeps in headers_out, where one value replaces another. */
static int set_own(request_rec *r, const fpmp_pool *pool, const fpmp_header_line *line,
                   const char *value, fpmp_answer *answer)
{
    if (fpmp_header_is(line, "Content-Type")) {
        ap_set_content_type_ex(r, value, 0);
        answer->has_type = 1;
    } else if (fpmp_header_is(line, "Content-Length")) {
        answer->length = fpmp_header_number(line);
        if (answer->length < 0) {
            ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                          "FPMP0030: pool %s: the script's Content-Length \"%s\" is no number and "
                          "was dropped",
                          pool->name, ap_escape_logitem(r->pool, value));
        }
    } else if (fpmp_header_is(line, "Location")) {
        answer->location = value;
        apr_table_setn(r->headers_out, "Location", value);
    } else if (fpmp_header_is(line, "ETag")) {
        answer->has_etag = 1;
        apr_table_setn(r->headers_out, "ETag", value);
    } else if (fpmp_header_is(line, "Content-Range")) {
        apr_table_setn(r->headers_out, "Content-Range", value);
    } else if (fpmp_header_is(line, "Last-Modified")) {
        set_modified(r, value, answer);
    } else {
        return 0;
    }
    return 1;
}

/* Headers that mean "send something else in place of my body"; they are none without
 * FpmPoolSendfile. */
static int set_substitute(const fpmp_dir_conf *conf, const fpmp_header_line *line,
                          const char *value, fpmp_answer *answer)
{
    static const char *const of_files[] = {"X-Sendfile", "X-LIGHTTPD-send-file", NULL};
    if (!conf->send_roots) {
        return 0;
    }
    if (is_one_of(line, of_files)) {
        answer->file = value;
        return 1;
    }
    if (fpmp_header_is(line, "X-Accel-Redirect")) {
        answer->uri = value;
        return 1;
    }
    return 0;
}

/* What a script told with apache_note() or apache_setenv(). This module's own notes stay its own.
 */
static int take_told(request_rec *r, const fpmp_server *server, const fpmp_header_line *line,
                     const char *value)
{
    int is_note = fpmp_header_is(line, WIRE_HEADER_NOTE);
    if (server->type != FPMP_TYPE_FPMPOOL || (!is_note && !fpmp_header_is(line, WIRE_HEADER_ENV))) {
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
static int apply_line(request_rec *r, const fpmp_dir_conf *conf, const fpmp_pool *pool,
                      const fpmp_server *server, const fpmp_header_line *line, fpmp_answer *answer)
{
    const char *value = apr_pstrmemdup(r->pool, line->value, line->value_length);
    if (fpmp_header_is(line, "Status")) {
        return set_status(r, line, value, answer);
    }
    if (set_own(r, pool, line, value, answer) || is_one_of(line, not_passed) ||
        take_told(r, server, line, value) || set_substitute(conf, line, value, answer)) {
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

const char *fpmp_answer_apply(fpmp_answer *answer, request_rec *r, const fpmp_dir_conf *conf,
                              const fpmp_pool *pool, const fpmp_server *server, const char *bytes,
                              apr_size_t length)
{
    static const fpmp_answer nothing = {.length = -1};
    const char *end = bytes + length;
    fpmp_header_line line;
    *answer = nothing;
    for (;;) {
        const char *start = bytes;
        int result = fpmp_header_next(&bytes, end, &line);
        if (!result) {
            return NULL;
        }
        if (result < 0 || !apply_line(r, conf, pool, server, &line, answer)) {
            return start;
        }
    }
}

/* Only validators that the script gave count: httpd takes a missing modification time for "now" and
 * would answer 304 to any recent If-Modified-Since. */
int fpmp_answer_meets_conditions(request_rec *r, const fpmp_answer *answer)
{
    if (answer->has_modified) {
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

/* ---- early hints ----------------------------------------------------------------------------- */

/* Mostly not: then the lines need not be taken apart twice. */
static int may_have_status(const char *bytes, const char *end)
{
    while (bytes && bytes < end && *bytes != 'S' && *bytes != 's') {
        bytes = memchr(bytes, '\n', (size_t)(end - bytes));
        bytes = bytes ? bytes + 1 : NULL;
    }
    return bytes && bytes < end;
}

int fpmp_answer_is_interim(const char *bytes, apr_size_t length)
{
    const char *end = bytes + length;
    fpmp_header_line line;
    if (!may_have_status(bytes, end)) {
        return 0;
    }
    while (fpmp_header_next(&bytes, end, &line) > 0) {
        if (fpmp_header_is(&line, "Status")) {
            return fpmp_header_status(&line) == EARLY_HINTS;
        }
    }
    return 0;
}

void fpmp_answer_send_hints(request_rec *r, const char *bytes, apr_size_t length)
{
    static const char *const of_answers[] = {"Status", "Content-Type", "Content-Length", NULL};
    const char *end = bytes + length;
    fpmp_header_line line;
    if (r->main || r->proto_num < HTTP_VERSION(1, 1)) {
        return;
    }
    /* httpd sends what is in headers_out, and empties it. */
    apr_table_t *headers = r->headers_out;
    const char *status_line = r->status_line;
    int status = r->status;
    r->headers_out = apr_table_make(r->pool, 4);
    while (fpmp_header_next(&bytes, end, &line) > 0) {
        if (!is_one_of(&line, of_answers) && !is_one_of(&line, not_passed)) {
            apr_table_addn(r->headers_out, apr_pstrmemdup(r->pool, line.name, line.name_length),
                           apr_pstrmemdup(r->pool, line.value, line.value_length));
        }
    }
    r->status = EARLY_HINTS;
    r->status_line = NULL;
    ap_send_interim_response(r, 1);
    r->headers_out = headers;
    r->status = status;
    r->status_line = status_line;
}
