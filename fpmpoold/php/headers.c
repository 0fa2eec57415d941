/* headers.c - the response's header block as a CGI gateway expects it (spec/php-fpm.md 4.8).
 *
 * Runs in workers, once per response.
 */
#include "SAPI.h"
#include "http_status_codes.h"
#include "php.h"
#include "php/apache.h"
#include "php/current.h"
#include "php/functions.h"
#include "php/module.h"
#include "zend_smart_str.h"

#define STATUS_LINE_MAX 1023 /* bytes; gateways have limits of their own for a header line */

static const char *reason_of(int code)
{
    for (const http_response_status_code_pair *pair = http_status_map; pair->code != 0; pair++) {
        if (pair->code == code) {
            return pair->str;
        }
    }
    return NULL;
}

static int is_status(const sapi_header_struct *header)
{
    return header->header_len > 7 && strncasecmp(header->header, "Status:", 7) == 0;
}

/* 304 says nothing about the type of what the client has. */
static int is_dropped(const sapi_header_struct *header, int code)
{
    return code == 304 && header->header_len > 13 &&
           strncasecmp(header->header, "Content-Type:", 13) == 0;
}

static int has_status(sapi_headers_struct *headers)
{
    zend_llist_position position;
    sapi_header_struct *header = zend_llist_get_first_ex(&headers->headers, &position);

    while (header != NULL) {
        if (is_status(header)) {
            return 1;
        }
        header = zend_llist_get_next_ex(&headers->headers, &position);
    }
    return 0;
}

/* A line that a script made, cut. */
static void append_line(smart_str *block, const char *start, const char *rest)
{
    size_t start_length = strlen(start);
    size_t length = strnlen(rest, STATUS_LINE_MAX - start_length);

    smart_str_appendl(block, start, start_length);
    smart_str_appendl(block, rest, length);
    smart_str_appendl(block, "\r\n", 2);
}

/* The status line, if there has to be one. Returns whether it was written, so that the script's own
 * Status headers are left out. */
static int append_status(smart_str *block, sapi_headers_struct *headers)
{
    const fpd_functions_settings *settings = fpd_functions_settings_now();
    const char *line = headers->http_status_line;
    int code = headers->http_response_code;
    const char *reason;

    if (code == 200 && !settings->nph) {
        return 0;
    }
    if (line != NULL && settings->rfc2616_headers) {
        append_line(block, "", line);
        return 1;
    }
    reason = line != NULL ? strchr(line, ' ') : NULL;
    if (reason != NULL && reason - line >= 5 && strncasecmp(line, "HTTP/", 5) == 0) {
        append_line(block, "Status:", reason);
        return 1;
    }
    if (has_status(headers)) {
        return 0;
    }
    reason = reason_of(code);
    smart_str_append_printf(block, "Status: %d%s%s\r\n", code, reason != NULL ? " " : "",
                            reason != NULL ? reason : "");
    return 1;
}

static void append_headers(smart_str *block, sapi_headers_struct *headers, int is_status_written)
{
    zend_llist_position position;
    sapi_header_struct *header = zend_llist_get_first_ex(&headers->headers, &position);

    for (; header != NULL; header = zend_llist_get_next_ex(&headers->headers, &position)) {
        if (header->header_len == 0 || is_dropped(header, headers->http_response_code)) {
            continue;
        }
        if (is_status(header)) {
            if (is_status_written) {
                continue;
            }
            is_status_written = 1;
        }
        smart_str_appendl(block, header->header, header->header_len);
        smart_str_appendl(block, "\r\n", 2);
    }
}

static void keep_copy(fpd_sapi_request *request, const smart_str *block)
{
    size_t length = ZSTR_LEN(block->s);

    if (request->headers_kept != NULL && !request->is_timed_out) {
        length = length < FPD_SAPI_HEADERS_KEPT ? length : FPD_SAPI_HEADERS_KEPT;
        memcpy(request->headers_kept, ZSTR_VAL(block->s), length);
        request->headers_kept_length = length;
    }
}

int fpd_module_send_headers(sapi_headers_struct *headers)
{
    fpd_sapi_request *request = fpd_current_request();
    smart_str block = {NULL, 0};

    if (request == NULL || SG(request_info).no_headers) {
        return SAPI_HEADER_SENT_SUCCESSFULLY;
    }
    append_headers(&block, headers, append_status(&block, headers));
    smart_str_appendl(&block, "\r\n", 2);
    keep_copy(request, &block);
    ZSTR_LEN(block.s) -= 2; /* the lines for our module are no header that %{}o shows */
    fpd_apache_append(&block, request);
    smart_str_appendl(&block, "\r\n", 2);
    /* Not through the callback for output: an aborted connection shows at the next write. */
    if (!fpd_current_is_finished()) {
        request->io->write_output(request->io_context, ZSTR_VAL(block.s), ZSTR_LEN(block.s));
    }
    smart_str_free(&block);
    return SAPI_HEADER_SENT_SUCCESSFULLY;
}
