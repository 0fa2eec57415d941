/* functions.c - what php-fpm adds to PHP, and the table of all our functions.
 *
 * Runs in workers, inside a request. Talks to the connection only through the request's callbacks.
 */
#include "php/functions.h"

#include <ctype.h>
#include <time.h>

#include "SAPI.h"
#include "base/loop.h"
#include "ext/standard/head.h"
#include "ext/standard/info.h"
#include "php/apache.h"
#include "php/current.h"
#include "php/terminate.h"
#include "php_main.h"
#include "php_output.h"

/* PHP's ini machinery writes it through the entries below. */
static fpd_functions_settings settings;

const fpd_functions_settings *fpd_functions_settings_now(void)
{
    return &settings;
}

#define SETTING_BOOL(name, value, access, field)                                                   \
    STD_PHP_INI_BOOLEAN(name, value, access, OnUpdateBool, field, fpd_functions_settings, settings)
#define SETTING_TEXT(name, field)                                                                  \
    STD_PHP_INI_ENTRY(name, NULL, PHP_INI_SYSTEM, OnUpdateString, field, fpd_functions_settings,   \
                      settings)

PHP_INI_BEGIN()
SETTING_BOOL("cgi.rfc2616_headers", "0", PHP_INI_ALL, rfc2616_headers)
SETTING_BOOL("cgi.nph", "0", PHP_INI_ALL, nph)
SETTING_BOOL("cgi.force_redirect", "1", PHP_INI_SYSTEM, force_redirect)
SETTING_TEXT("cgi.redirect_status_env", redirect_status_env)
SETTING_BOOL("cgi.fix_pathinfo", "1", PHP_INI_SYSTEM, fix_pathinfo)
SETTING_BOOL("cgi.discard_path", "0", PHP_INI_SYSTEM, discard_path)
SETTING_BOOL("fastcgi.logging", "1", PHP_INI_SYSTEM, logging)
SETTING_TEXT("fastcgi.error_header", error_header)
SETTING_TEXT("fpm.config", config)
PHP_INI_END()

/* Ends the response; the script goes on. */
PHP_FUNCTION(fastcgi_finish_request)
{
    fpd_sapi_request *request = fpd_current_request();

    ZEND_PARSE_PARAMETERS_NONE();
    if (request == NULL || fpd_current_is_finished()) {
        RETURN_FALSE;
    }
    php_output_end_all();
    php_header();
    request->is_finished_early = 1;
    fpd_current_finish();
    request->io->set_stage(request->io_context, FPD_STAGE_FINISHING);
    RETURN_TRUE;
}

/* "HTTP_ACCEPT_LANGUAGE" -> "Accept-Language": the first letter, and each behind an underscore,
 * stays as it is. */
static zend_string *header_name(const char *name, size_t length)
{
    zend_string *header = zend_string_alloc(length, 0);
    char *to = ZSTR_VAL(header);
    int is_start = 1;

    for (size_t i = 0; i < length; i++) {
        if (name[i] == '_' && i > 0) {
            to[i] = '-';
            is_start = 1;
        } else {
            to[i] = (char)(is_start ? name[i] : tolower((unsigned char)name[i]));
            is_start = 0;
        }
    }
    to[length] = '\0';
    return header;
}

static void add_header(zval *headers, const fpd_param *param)
{
    static const struct {
        const char *name;
        const char *header;
    } plain[] = {{"CONTENT_TYPE", "Content-Type"}, {"CONTENT_LENGTH", "Content-Length"}};

    if (param->name_length > 5 && memcmp(param->name, "HTTP_", 5) == 0) {
        zend_string *header = header_name(param->name + 5, param->name_length - 5);
        zval value;
        ZVAL_STRINGL(&value, param->value, param->value_length);
        zend_symtable_update(Z_ARRVAL_P(headers), header, &value);
        zend_string_release(header);
        return;
    }
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        if (strcmp(param->name, plain[i].name) == 0) {
            add_assoc_stringl(headers, plain[i].header, param->value, param->value_length);
        }
    }
}

PHP_FUNCTION(apache_request_headers)
{
    const fpd_sapi_request *request = fpd_current_request();

    ZEND_PARSE_PARAMETERS_NONE();
    array_init(return_value);
    if (request == NULL) {
        return;
    }
    for (uint32_t i = request->params->count; i > 0; i--) {
        const fpd_param *param = &request->params->list[i - 1];
        if (param->value != NULL) {
            add_header(return_value, param);
        }
    }
}

static void add_process(zval *processes, const fpd_slot_view *view)
{
    int is_idle = view->stage == FPD_STAGE_IDLE;
    zend_long since = (zend_long)time(NULL) - (zend_long)(view->started_at / 1000000);
    zval process;

    array_init(&process);
    add_assoc_long(&process, "pid", view->pid);
    add_assoc_string(&process, "state", fpd_board_stage_text(view->stage));
    add_assoc_long(&process, "start-time", (zend_long)(view->started_at / 1000000));
    add_assoc_long(&process, "start-since", since);
    add_assoc_long(&process, "requests", (zend_long)view->requests);
    add_assoc_long(&process, "request-duration",
                   is_idle ? view->last_duration : fpd_monotonic_now() - view->request_started);
    add_assoc_string(&process, "request-method", view->method);
    add_assoc_string(&process, "request-uri", view->uri);
    add_assoc_string(&process, "query-string", view->query);
    add_assoc_long(&process, "request-length", view->content_length);
    add_assoc_string(&process, "user", view->user[0] != '\0' ? view->user : "-");
    add_assoc_string(&process, "script", view->script[0] != '\0' ? view->script : "-");
    add_assoc_double(&process, "last-request-cpu", is_idle ? view->last_cpu_centi / 100.0 : 0);
    add_assoc_long(&process, "last-request-memory", is_idle ? (zend_long)view->last_memory : 0);
    add_next_index_zval(processes, &process);
}

PHP_FUNCTION(fpm_get_status)
{
    static const char *const managers[] = {"static", "dynamic", "ondemand"};
    const fpd_board *board = fpd_current_board();
    const fpd_plan_pool *plan = fpd_current_plan();
    fpd_board_view view;
    zval processes;

    ZEND_PARSE_PARAMETERS_NONE();
    if (board == NULL || plan == NULL) {
        RETURN_FALSE;
    }
    fpd_board_read(board, &view);
    array_init(return_value);
    add_assoc_string(return_value, "pool", plan->name);
    add_assoc_string(return_value, "process-manager",
                     plan->pm >= FPD_PM_STATIC && plan->pm <= FPD_PM_ONDEMAND
                         ? managers[plan->pm - FPD_PM_STATIC]
                         : "unknown");
    add_assoc_long(return_value, "start-time", view.started_at);
    add_assoc_long(return_value, "start-since", (zend_long)time(NULL) - view.started_at);
    add_assoc_long(return_value, "accepted-conn", (zend_long)view.requests);
    add_assoc_long(return_value, "listen-queue", view.queue_length);
    add_assoc_long(return_value, "max-listen-queue", view.max_queue_length);
    add_assoc_long(return_value, "listen-queue-len", view.queue_limit);
    add_assoc_long(return_value, "idle-processes", view.idle);
    add_assoc_long(return_value, "active-processes", view.active);
    add_assoc_long(return_value, "total-processes", view.total);
    add_assoc_long(return_value, "max-active-processes", view.max_active);
    add_assoc_long(return_value, "max-children-reached", view.max_children_reached);
    add_assoc_long(return_value, "slow-requests", view.slow_requests);
    array_init(&processes);
    for (uint32_t i = 0; i < board->slot_count; i++) {
        fpd_slot_view slot;
        fpd_board_read_slot(board, i, &slot);
        if (slot.state != FPD_SLOT_FREE) {
            add_process(&processes, &slot);
        }
    }
    add_assoc_zval(return_value, "procs", &processes);
}

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_finish, 0, 0, _IS_BOOL, 0)
ZEND_END_ARG_INFO()
ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_headers, 0, 0, IS_ARRAY, 0)
ZEND_END_ARG_INFO()
ZEND_BEGIN_ARG_WITH_RETURN_TYPE_MASK_EX(arginfo_status, 0, 0, MAY_BE_ARRAY | MAY_BE_FALSE)
ZEND_END_ARG_INFO()

/* Of mod_php: names, types and defaults are its own. */
ZEND_BEGIN_ARG_WITH_RETURN_TYPE_MASK_EX(arginfo_note, 0, 1, MAY_BE_STRING | MAY_BE_FALSE)
ZEND_ARG_TYPE_INFO(0, note_name, IS_STRING, 0)
ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, note_value, IS_STRING, 1, "null")
ZEND_END_ARG_INFO()
ZEND_BEGIN_ARG_WITH_RETURN_TYPE_MASK_EX(arginfo_getenv, 0, 1, MAY_BE_STRING | MAY_BE_FALSE)
ZEND_ARG_TYPE_INFO(0, variable, IS_STRING, 0)
ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, walk_to_top, _IS_BOOL, 0, "false")
ZEND_END_ARG_INFO()
ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_setenv, 0, 2, _IS_BOOL, 0)
ZEND_ARG_TYPE_INFO(0, variable, IS_STRING, 0)
ZEND_ARG_TYPE_INFO(0, value, IS_STRING, 0)
ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, walk_to_top, _IS_BOOL, 0, "false")
ZEND_END_ARG_INFO()

/* clang-format off */
static const zend_function_entry functions[] = {
    ZEND_FE(fastcgi_finish_request, arginfo_finish)
    ZEND_FE(apache_request_headers, arginfo_headers)
    ZEND_FALIAS(getallheaders, apache_request_headers, arginfo_headers)
    ZEND_FE(fpm_get_status, arginfo_status)
    ZEND_FE(apache_response_headers, arginfo_headers)
    ZEND_FE(apache_note, arginfo_note)
    ZEND_FE(apache_getenv, arginfo_getenv)
    ZEND_FE(apache_setenv, arginfo_setenv)
    ZEND_FE(fpmpool_send_early_hints, arginfo_finish)
    ZEND_FE_END
};
/* clang-format on */

static PHP_MINIT_FUNCTION(fpmpool)
{
    (void)type;
    fpd_terminate_install();
    REGISTER_INI_ENTRIES();
    return SUCCESS;
}

static PHP_MSHUTDOWN_FUNCTION(fpmpool)
{
    (void)type;
    UNREGISTER_INI_ENTRIES();
    return SUCCESS;
}

static PHP_MINFO_FUNCTION(fpmpool)
{
    php_info_print_table_start();
    php_info_print_table_row(2, "php-fpm", "active");
    php_info_print_table_end();
    DISPLAY_INI_ENTRIES();
}

static zend_module_entry module = {STANDARD_MODULE_HEADER,
                                   "cgi-fcgi",
                                   functions,
                                   PHP_MINIT(fpmpool),
                                   PHP_MSHUTDOWN(fpmpool),
                                   NULL,
                                   NULL,
                                   PHP_MINFO(fpmpool),
                                   PHP_VERSION,
                                   STANDARD_MODULE_PROPERTIES};

zend_module_entry *fpd_functions_module(void)
{
    return &module;
}
