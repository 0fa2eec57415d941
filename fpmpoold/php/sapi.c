/* sapi.c - running one request in PHP: the SAPI "fpm-fcgi" between libphp and a worker.
 *
 * Runs in workers; the SAPI structure itself is started by start.c. Owns the current request, the
 * only thing that PHP's callbacks can find. Does no I/O on the connection: that is the callbacks'.
 */
#include "php/sapi.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "SAPI.h"
#include "php.h"
#include "php/current.h"
#include "php/cwd.h"
#include "php/env.h"
#include "php/functions.h"
#include "php/ini.h"
#include "php/module.h"
#include "php/script.h"
#include "php/terminate.h"
#include "php/time_limit.h"
#include "php_main.h"
#include "php_output.h"
#include "zend_signal.h"
#include "zend_stream.h"

#define BODY_NOT_OPENED (-1)
#define BODY_FAILED     (-2)

/* One request at a time in one process. */
static struct {
    fpd_sapi_request *request;
    const fpd_board *board;
    const fpd_plan_pool *plan;
    int is_finished;  /* the response was ended */
    int is_returned;  /* the script has */
    int is_started;   /* php_request_startup succeeded */
    int has_messages; /* something was written to the STDERR stream */
    int body_file;    /* of REQUEST_BODY_FILE, or BODY_... */
} current;

fpd_sapi_request *fpd_current_request(void)
{
    return current.request;
}

const fpd_board *fpd_current_board(void)
{
    return current.board;
}

const fpd_plan_pool *fpd_current_plan(void)
{
    return current.plan;
}

int fpd_current_is_finished(void)
{
    return current.is_finished || current.request->is_timed_out;
}

/* ---- callbacks of PHP -------------------------------------------------------------------- */

/* Several messages of one request are joined in the STDERR stream, which has them whatever their
 * level is. */
static void tell_front_end(const char *message)
{
    fpd_sapi_request *request = current.request;

    if (fpd_functions_settings_now()->logging && !current.is_finished) {
        if (current.has_messages) {
            request->io->write_error(request->io_context, "; ", 2);
        }
        current.has_messages = 1;
        request->io->write_error(request->io_context, message, strlen(message));
    }
}

void fpd_current_log(fpd_log_level level, const char *format, ...)
{
    va_list arguments;
    char *message;

    va_start(arguments, format);
    vspprintf(&message, 0, format, arguments);
    va_end(arguments);
    tell_front_end(message);
    if (level >= (fpd_log_level)current.plan->log_level) {
        current.request->io->write_log(current.request->io_context, level, message);
    }
    efree(message);
}

/* What the response says about its cost, as far as it is known at its end. */
static void measure(fpd_sapi_request *request)
{
    request->memory_peak = zend_memory_peak_usage(1);
    request->exit_status = EG(exit_status);
    if (request->is_own_module) {
        request->cpu_used = fpd_time_limit_measure();
    }
}

void fpd_current_finish(void)
{
    if (!current.is_finished) {
        current.is_finished = 1;
        measure(current.request);
        if (!current.request->io->finish(current.request->io_context)) {
            php_handle_aborted_connection();
        }
    }
}

/* Without track_finished there is no limit for what follows the response or the script. */
static int has_limit(void)
{
    return current.plan->request_terminate_track_finished ||
           !(current.request->is_finished_early || current.is_returned);
}

int fpd_current_time_out(void)
{
    fpd_sapi_request *request = current.request;
    int limit = current.plan->request_terminate_timeout;
    int is_dropped;

    if (request == NULL || request->is_timed_out || !has_limit()) {
        return 0;
    }
    request->is_timed_out = 1;
    is_dropped = !current.is_finished && request->io->drop_response(request->io_context);
    fpd_current_log(FPD_LOG_ERROR,
                    "fpmpool: pool %s: child %d ran into request_terminate_timeout (%d s) while it "
                    "ran %s",
                    current.plan->name, (int)getpid(), limit,
                    request->script != NULL ? request->script : "");
    /* fatal for error_get_last(), but without the bailout that leaves destructors out */
    zend_error_at(E_ERROR | E_DONT_BAIL, zend_get_executed_filename_ex(),
                  zend_get_executed_lineno(),
                  "Execution timed out: request_terminate_timeout is %d second%s", limit,
                  limit == 1 ? "" : "s");
    current.is_finished = 1;
    request->io->time_out(request->io_context, is_dropped);
    fpd_terminate_watch(0, -1); /* its clean-up is not to be disturbed */
    return 1;
}

size_t fpd_module_write(const char *text, size_t length)
{
    if (current.request == NULL) {
        ssize_t written = write(STDOUT_FILENO, text, length);
        return written < 0 ? 0 : (size_t)written;
    }
    /* What comes after fastcgi_finish_request goes nowhere, and the script runs on. */
    if (!fpd_current_is_finished() &&
        !current.request->io->write_output(current.request->io_context, text, length)) {
        php_handle_aborted_connection();
    }
    return length;
}

void fpd_module_flush(void *context)
{
    (void)context;
    if (current.request != NULL && !fpd_current_is_finished() &&
        !current.request->io->flush(current.request->io_context)) {
        php_handle_aborted_connection();
    }
}

char *fpd_module_getenv(const char *name, size_t length)
{
    return current.request == NULL ? NULL
                                   : fpd_params_find(current.request->params, name, length, NULL);
}

char *fpd_module_read_cookies(void)
{
    return current.request == NULL ? NULL : fpd_params_get(current.request->params, "HTTP_COOKIE");
}

/* A front end may leave the body in a file. */
static int open_body_file(void)
{
    const char *path;

    if (current.body_file != BODY_NOT_OPENED) {
        return current.body_file;
    }
    path = fpd_params_get(current.request->params, "REQUEST_BODY_FILE");
    if (path == NULL || *path == '\0') {
        return BODY_NOT_OPENED;
    }
    current.body_file = open(path, O_RDONLY | O_CLOEXEC);
    if (current.body_file < 0) {
        php_error(E_WARNING, "REQUEST_BODY_FILE: open('%s') failed: %s (%d)", path, strerror(errno),
                  errno);
        current.body_file = BODY_FAILED;
    }
    return current.body_file;
}

static size_t read_body_file(char *buffer, size_t size)
{
    size_t length = 0;

    while (length < size) {
        ssize_t got = read(current.body_file, buffer + length, size - length);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            break;
        }
        length += (size_t)got;
    }
    return length;
}

/* How much of the body PHP may still have. A length that was told is the limit, and PHP has
 * compared it with post_max_size. A body that ends with its stream (a negative length says nothing
 * either) is cut when what is to become $_POST and $_FILES exceeds post_max_size. */
static size_t allowed_body(const fpd_sapi_request *request, size_t size)
{
    int64_t limit = INT64_MAX;
    int64_t left;

    if (!request->is_body_streamed && request->content_length >= 0) {
        limit = request->content_length;
    } else if (SG(post_max_size) > 0 && request->method != NULL &&
               strcmp(request->method, "POST") == 0) {
        limit = SG(post_max_size) < INT64_MAX ? SG(post_max_size) + 1 : INT64_MAX;
    }
    left = limit - SG(read_post_bytes);
    return left <= 0 ? 0 : (uint64_t)left < size ? (size_t)left : size;
}

/* Behind shutdown functions and output PHP reads what is left of the body, to throw it away. The
 * response would wait for it, however slow the client is; worker/ does better with the rest. */
static int is_read_for_nothing(void)
{
    return current.is_returned && !(OG(flags) & PHP_OUTPUT_ACTIVATED);
}

size_t fpd_module_read_post(char *buffer, size_t size)
{
    fpd_sapi_request *request = current.request;

    if (request == NULL || is_read_for_nothing()) {
        return 0;
    }
    size = allowed_body(request, size);
    if (size == 0) {
        return 0;
    }
    switch (open_body_file()) {
    case BODY_NOT_OPENED:
        return request->io->read_body(request->io_context, buffer, size);
    case BODY_FAILED:
        return 0;
    default:
        return read_body_file(buffer, size);
    }
}

void fpd_module_log(const char *message, int priority)
{
    (void)priority;
    if (current.request == NULL) {
        fprintf(stderr, "NOTICE: PHP message: %s\n", message);
    } else {
        char *text;
        spprintf(&text, 0, "PHP message: %s", message);
        tell_front_end(text);
        /* php-fpm's log_level does not stop what PHP says */
        current.request->io->write_log(current.request->io_context, FPD_LOG_NOTICE, text);
        efree(text);
    }
}

int fpd_module_activate(void)
{
    if (current.request != NULL) {
        fpd_ini_activate(current.request, current.plan);
    }
    return SUCCESS;
}

int fpd_module_deactivate(void)
{
    if (current.request != NULL && current.is_started) {
        if (current.request->status == 0) { /* else time_out has set it */
            current.request->status = SG(sapi_headers).http_response_code;
        }
        current.request->memory_peak = zend_memory_peak_usage(1);
        fpd_current_finish();
    }
    return SUCCESS;
}

/* ---- a request --------------------------------------------------------------------------- */

apr_status_t fpd_sapi_start_worker(const fpd_board *board, const fpd_plan_pool *plan)
{
    int error;

    current.board = board;
    current.plan = plan;
    /* The dispositions are the worker's own by now; PHP need not set them anew for each request. */
    zend_signal_startup();
    SIGG(reset) = 0;
    SIGG(check) = 0;
    error = fpd_time_limit_start();
    return error != 0 ? error : fpd_terminate_start();
}

void fpd_sapi_watch(int64_t started, int connection)
{
    fpd_terminate_watch(started, connection);
}

const volatile sig_atomic_t *fpd_sapi_end_flag(void)
{
    return fpd_terminate_flag();
}

static int probe(void *context, fpd_script_question question, const char *path)
{
    (void)context;
    if (question == FPD_SCRIPT_RESOLVES) {
        char real[MAXPATHLEN];
        return tsrm_realpath(path, real) != NULL;
    } else {
        struct stat about;
        return stat(path, &about) == 0 && S_ISREG(about.st_mode);
    }
}

void fpd_sapi_prepare(fpd_sapi_request *request)
{
    const fpd_functions_settings *settings = fpd_functions_settings_now();
    fpd_script_rules rules = {
        .fix_pathinfo = settings->fix_pathinfo,
        .discard_path = settings->discard_path,
        .doc_root = PG(doc_root),
        .is_own_module = request->is_own_module,
        .probe = probe,
    };
    const char *length;
    fpd_script script;

    fpd_script_resolve(&script, request->params, &rules);
    request->is_script_named = script.is_named;
    request->script = script.path;
    request->request_uri = script.request_uri;
    request->method = fpd_params_get(request->params, "REQUEST_METHOD");
    request->query = fpd_params_get(request->params, "QUERY_STRING");
    length = fpd_params_get(request->params, "CONTENT_LENGTH");
    request->content_length = length != NULL ? atoll(length) : 0;
    request->is_body_streamed |= length == NULL || length[0] == '\0';
}

static void fill_request_info(fpd_sapi_request *request)
{
    sapi_request_info *info = &SG(request_info);
    const char *type = fpd_params_get(request->params, "CONTENT_TYPE");

    memset(info, 0, sizeof(*info));
    SG(server_context) = request;
    SG(sapi_headers).http_response_code = 200;
    SG(options) |= SAPI_OPTION_NO_CHDIR;
    info->request_method = request->method;
    info->query_string = (char *)request->query;
    info->request_uri = (char *)request->request_uri;
    info->content_type = type != NULL ? type : "";
    info->content_length = request->content_length;
    info->path_translated = request->script != NULL ? estrdup(request->script) : NULL;
    info->proto_num = 1000;
    php_handle_auth_data(fpd_params_get(request->params, "HTTP_AUTHORIZATION"));
    if (info->auth_user != NULL) {
        strlcpy(request->user, info->auth_user, sizeof(request->user));
    }
}

void fpd_sapi_read_user(fpd_sapi_request *request)
{
    const char *header = fpd_params_get(request->params, "HTTP_AUTHORIZATION");
    sapi_request_info *info = &SG(request_info);

    if (header == NULL) {
        return;
    }
    php_handle_auth_data(header);
    if (info->auth_user != NULL) {
        strlcpy(request->user, info->auth_user, sizeof(request->user));
        efree(info->auth_user);
    }
    if (info->auth_password != NULL) {
        efree(info->auth_password);
    }
    if (info->auth_digest != NULL) {
        efree(info->auth_digest);
    }
    memset(info, 0, sizeof(*info));
}

static void answer(int status, const char *text)
{
    SG(sapi_headers).http_response_code = status;
    PUTS(text);
}

static void execute(fpd_sapi_request *request)
{
    const char *path = SG(request_info).path_translated;
    zend_file_handle file;

    if (path == NULL) {
        fpd_current_log(FPD_LOG_DEBUG, "Primary script unknown");
        answer(404, "File not found.\n");
        return;
    }
    if (!fpd_script_is_allowed(path, current.plan->limit_extensions)) {
        fpd_current_log(FPD_LOG_NOTICE,
                        "Access to the script '%s' has been denied (see security.limit_extensions)",
                        path);
        answer(403, "Access denied.\n");
        return;
    }
    errno = 0;
    if (php_fopen_primary_script(&file) == FAILURE) {
        int error = errno;
        fpd_current_log(FPD_LOG_ERROR, "Unable to open primary script: %s (%s)", request->script,
                        strerror(error));
        if (error == EACCES) {
            answer(403, "Access denied.\n");
        } else {
            answer(404, "No input file specified.\n");
        }
        return;
    }
    fpd_cwd_enter(ZSTR_VAL(file.filename));
    EG(exit_status) = 0;
    php_execute_script(&file);
    if (!file.in_list) {
        zend_destroy_file_handle(&file);
    }
}

/* A script that failed before any output gets the administrator's header, e.g. "HTTP/1.1 550". */
static void mark_failure(void)
{
    const char *line = fpd_functions_settings_now()->error_header;

    if (EG(exit_status) == 255 && !current.request->is_timed_out && line != NULL && *line != '\0' &&
        !SG(headers_sent)) {
        sapi_header_line header = {.line = line, .line_len = strlen(line)};
        sapi_header_op(SAPI_HEADER_REPLACE, &header);
    }
}

static void run_script(fpd_sapi_request *request)
{
    EG(exit_status) = 0;
    if (request->method == NULL) {
        return;
    }
    zend_try
    {
        if (request->is_body_cut) {
            SG(sapi_headers).http_response_code = 400; /* for access.log */
        } else if (!*fpd_terminate_flag()) {           /* else its body took all the time */
            execute(request);
        }
    }
    zend_end_try();
    if (*fpd_terminate_flag()) { /* and it did not get to the virtual machine */
        (void)fpd_current_time_out();
    }
    zend_try
    {
        mark_failure();
    }
    zend_end_try();
    current.is_returned = 1;
}

/* The parts outside of PHP's own guards. */
static void start_request(fpd_sapi_request *request)
{
    zend_first_try
    {
        fill_request_info(request);
        fpd_ini_begin(request, current.plan);
        fpd_time_limit_begin();
        current.is_started = php_request_startup() == SUCCESS;
        if (current.plan->extended_info) { /* PHP forgets it with each request */
            CG(compiler_options) |= ZEND_COMPILE_EXTENDED_INFO;
        }
    }
    zend_end_try();
}

static void end_request(const fpd_sapi_request *request)
{
    zend_first_try
    {
        if (SG(request_info).path_translated != NULL) {
            efree(SG(request_info).path_translated);
            SG(request_info).path_translated = NULL;
        }
        php_request_shutdown(NULL);
    }
    zend_end_try();
    SG(server_context) = NULL;
    if (current.body_file >= 0) {
        close(current.body_file);
    }
    fpd_time_limit_end(request->is_finished_early);
}

int fpd_sapi_run(fpd_sapi_request *request)
{
    current.request = request;
    current.is_finished = 0;
    current.is_returned = 0;
    current.is_started = 0;
    current.has_messages = 0;
    current.body_file = BODY_NOT_OPENED;
    start_request(request);
    if (!current.is_started) {
        request->status = 500;
        current.is_finished = 1;
        request->io->finish(request->io_context);
        current.request = NULL;
        return -1;
    }
    fpd_time_limit_execute(SG(read_post_bytes) > 0);
    request->io->set_stage(request->io_context, FPD_STAGE_RUNNING);
    run_script(request);
    if (!request->is_finished_early) {
        request->io->set_stage(request->io_context, FPD_STAGE_FINISHING);
    }
    end_request(request);
    if (!current.is_finished) {
        current.is_finished = 1;
        request->io->finish(request->io_context);
    }
    current.request = NULL;
    return 0;
}

const char *fpd_sapi_powered_by(void)
{
    return PG(expose_php) ? SAPI_PHP_VERSION_HEADER : NULL;
}

int64_t fpd_sapi_cpu_used(void)
{
    return fpd_time_limit_cpu();
}
