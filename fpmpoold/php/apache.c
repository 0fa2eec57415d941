/* apache.c - what a script tells httpd: notes and variables, for logs and filters.
 *
 * Runs in workers, inside a request. Its memory is PHP's and ends with the request.
 */
#include "php/apache.h"

#include "SAPI.h"
#include "ext/standard/url.h"
#include "php/current.h"
#include "wire/wire.h"

#define TOLD_MAX (64 * 1024) /* bytes of all lines */

struct fpd_apache {
    HashTable notes;
    smart_str lines;
};

static struct fpd_apache *told_by(fpd_sapi_request *request)
{
    if (request->apache == NULL) {
        request->apache = ecalloc(1, sizeof(*request->apache));
        zend_hash_init(&request->apache->notes, 8, NULL, ZVAL_PTR_DTOR, 0);
    }
    return request->apache;
}

/* "Fpmpool-Note: NAME=VALUE", both URL-encoded. 0: there is no room for it. */
static int tell(fpd_sapi_request *request, const char *header, const zend_string *name,
                const zend_string *value)
{
    smart_str *lines = &told_by(request)->lines;
    zend_string *safe_name = php_raw_url_encode(ZSTR_VAL(name), ZSTR_LEN(name));
    zend_string *safe_value = php_raw_url_encode(ZSTR_VAL(value), ZSTR_LEN(value));
    size_t used = lines->s != NULL ? ZSTR_LEN(lines->s) : 0;
    int has_room = used + strlen(header) + ZSTR_LEN(safe_name) + ZSTR_LEN(safe_value) +
                       sizeof(": =\r\n") - 1 <=
                   TOLD_MAX;

    if (has_room) {
        smart_str_append_printf(lines, "%s: %s=%s\r\n", header, ZSTR_VAL(safe_name),
                                ZSTR_VAL(safe_value));
    } else {
        php_error_docref(NULL, E_WARNING, "the notes of this request are longer than %d bytes",
                         TOLD_MAX);
    }
    zend_string_release(safe_name);
    zend_string_release(safe_value);
    return has_room;
}

/* Returns the note's value, as the script set it before, and sets it. */
PHP_FUNCTION(apache_note)
{
    fpd_sapi_request *request = fpd_current_request();
    zend_string *name;
    zend_string *value = NULL;
    zval *earlier;

    ZEND_PARSE_PARAMETERS_START(1, 2)
    Z_PARAM_STR(name)
    Z_PARAM_OPTIONAL
    Z_PARAM_STR_OR_NULL(value)
    ZEND_PARSE_PARAMETERS_END();
    if (request == NULL) {
        RETURN_FALSE;
    }
    earlier = zend_hash_find(&told_by(request)->notes, name);
    if (earlier != NULL) {
        ZVAL_COPY(return_value, earlier);
    } else {
        ZVAL_FALSE(return_value);
    }
    if (value != NULL && tell(request, WIRE_HEADER_NOTE, name, value)) {
        zval copy;
        ZVAL_STR_COPY(&copy, value);
        zend_hash_update(&request->apache->notes, name, &copy);
    }
}

PHP_FUNCTION(apache_getenv)
{
    const fpd_sapi_request *request = fpd_current_request();
    const char *value = NULL;
    bool walks_to_top = false;
    size_t value_length = 0;
    zend_string *name;

    ZEND_PARSE_PARAMETERS_START(1, 2)
    Z_PARAM_STR(name)
    Z_PARAM_OPTIONAL
    Z_PARAM_BOOL(walks_to_top)
    ZEND_PARSE_PARAMETERS_END();
    if (request != NULL) {
        value = fpd_params_find(request->params, ZSTR_VAL(name), ZSTR_LEN(name), &value_length);
    }
    if (value == NULL) {
        RETURN_FALSE;
    }
    RETURN_STRINGL(value, value_length);
}

PHP_FUNCTION(apache_setenv)
{
    fpd_sapi_request *request = fpd_current_request();
    bool walks_to_top = false;
    zend_string *name;
    zend_string *value;

    ZEND_PARSE_PARAMETERS_START(2, 3)
    Z_PARAM_STR(name)
    Z_PARAM_STR(value)
    Z_PARAM_OPTIONAL
    Z_PARAM_BOOL(walks_to_top)
    ZEND_PARSE_PARAMETERS_END();
    RETURN_BOOL(request != NULL && tell(request, WIRE_HEADER_ENV, name, value) &&
                fpd_params_set(request->params, ZSTR_VAL(name), ZSTR_VAL(value)) != NULL);
}

static void add_header(zval *headers, const sapi_header_struct *header)
{
    const char *colon = memchr(header->header, ':', header->header_len);
    const char *value;

    if (colon == NULL) {
        return;
    }
    for (value = colon + 1; *value == ' '; value++) {
    }
    add_assoc_stringl_ex(headers, header->header, (size_t)(colon - header->header), value,
                         header->header_len - (size_t)(value - header->header));
}

PHP_FUNCTION(apache_response_headers)
{
    zend_llist_position position;
    const sapi_header_struct *header;

    ZEND_PARSE_PARAMETERS_NONE();
    array_init(return_value);
    header = zend_llist_get_first_ex(&SG(sapi_headers).headers, &position);
    for (; header != NULL; header = zend_llist_get_next_ex(&SG(sapi_headers).headers, &position)) {
        add_header(return_value, header);
    }
}

/* The Link headers set so far, as a header block of their own; NULL: there are none. */
static zend_string *make_hints(void)
{
    static const char start[] = "Status: 103 Early Hints\r\n";
    zend_llist_position position;
    const sapi_header_struct *header;
    smart_str block = {NULL, 0};

    header = zend_llist_get_first_ex(&SG(sapi_headers).headers, &position);
    for (; header != NULL; header = zend_llist_get_next_ex(&SG(sapi_headers).headers, &position)) {
        if (header->header_len > 5 && strncasecmp(header->header, "Link:", 5) == 0) {
            if (block.s == NULL) {
                smart_str_appendl(&block, start, sizeof(start) - 1);
            }
            smart_str_appendl(&block, header->header, header->header_len);
            smart_str_appendl(&block, "\r\n", 2);
        }
    }
    if (block.s == NULL) {
        return NULL;
    }
    smart_str_appendl(&block, "\r\n", 2);
    smart_str_0(&block);
    return block.s;
}

/* Sends them ahead of the response as 103 Early Hints. Other front ends would take the block for
 * the response itself. */
PHP_FUNCTION(fpmpool_send_early_hints)
{
    fpd_sapi_request *request = fpd_current_request();
    zend_string *hints;

    ZEND_PARSE_PARAMETERS_NONE();
    if (request == NULL || !request->is_own_module || fpd_current_is_finished() ||
        SG(headers_sent) || SG(request_info).no_headers) {
        RETURN_FALSE;
    }
    hints = make_hints();
    if (hints == NULL) {
        RETURN_FALSE;
    }
    RETVAL_BOOL(request->io->write_output(request->io_context, ZSTR_VAL(hints), ZSTR_LEN(hints)) &&
                request->io->flush(request->io_context));
    zend_string_release(hints);
}

void fpd_apache_append(smart_str *block, const fpd_sapi_request *request)
{
    if (request->is_own_module && request->apache != NULL && request->apache->lines.s != NULL) {
        smart_str_append_smart_str(block, &request->apache->lines);
    }
}
