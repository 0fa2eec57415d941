/* fpmp_handler.c - a request from its first check to its last log line.
 *
 * Runs in an httpd child. Ties the parts together: checks, pool, body, environment, connection,
 * relay; decides what a failure means and logs it once. Must not send anything to the client itself
 * when it returns a status: ErrorDocument and caches depend on that.
 */
#include "fpmp_handler.h"

#include "fpmp_clock.h"
#include "fpmp_conf.h"
#include "fpmp_conn.h"
#include "fpmp_counters.h"
#include "fpmp_env.h"
#include "fpmp_failure.h"
#include "fpmp_notes.h"
#include "fpmp_relay.h"
#include "fpmp_select.h"

#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <ap_mpm.h>
#include <apr_strings.h>
#include <string.h>

APLOG_USE_MODULE(fpmpool);

#define HANDLER_NAME  "fpmpool"
#define ATTEMPTS_MOST 2 /* one on a kept connection, one on a fresh one */

/* One request on its way; lives on the handler's stack. */
typedef struct fpmp_task {
    request_rec *r;
    const fpmp_dir_conf *conf;
    const fpmp_pool *pool;
    const fpmp_server *server;
    fpmp_timeouts timeouts;
    fpmp_connections *connections;
    fpmp_body body;
    struct iovec head;
    fpmp_conn *connection; /* NULL: none at the moment */
    fpmp_course course;
    int keeps;        /* shall its connection be kept afterwards? */
    int awaits_ack;   /* the server was asked to say when it starts */
    fpmp_relay relay; /* of the last attempt */
} fpmp_task;

/* ---- may it run? ----------------------------------------------------------------------------- */

static int is_ours(const request_rec *r, const fpmp_dir_conf *conf)
{
    if (!r->handler) {
        return 0;
    }
    if (!strcmp(r->handler, HANDLER_NAME)) {
        return 1;
    }
    for (int i = 0; conf->aliases && i < conf->aliases->nelts; i++) {
        if (!strcmp(r->handler, APR_ARRAY_IDX(conf->aliases, i, const char *))) {
            return 1;
        }
    }
    return 0;
}

/* mod_php then leaves the request to httpd, which sends the source. */
static int check_engine(request_rec *r, const fpmp_dir_conf *conf)
{
    if (!fpmp_ini_is_engine_off(conf->ini)) {
        return OK;
    }
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "FPMP0048: php_flag engine is off here: %s",
                  r->filename);
    return conf->serves_source ? DECLINED : HTTP_FORBIDDEN;
}

static int check_pool(request_rec *r, const fpmp_dir_conf *conf)
{
    if (conf->pool) {
        return OK;
    }
    if (conf->pool_set) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                      "FPMP0050: scripts are switched off here (FpmPool none): %s", r->filename);
        return HTTP_FORBIDDEN;
    }
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                  "FPMP0051: the handler fpmpool is set for %s, but no pool: add FpmPool NAME to "
                  "this server, virtual host or directory",
                  r->filename);
    return HTTP_INTERNAL_SERVER_ERROR;
}

static int check_file(request_rec *r)
{
    if (r->finfo.filetype == APR_NOFILE) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "FPMP0052: script not found: %s", r->filename);
        return HTTP_NOT_FOUND;
    }
    if (r->finfo.filetype != APR_REG) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "FPMP0053: not a file that can be run: %s",
                      r->filename);
        return HTTP_FORBIDDEN;
    }
    return OK;
}

static int check_request(request_rec *r, const fpmp_dir_conf *conf)
{
    int status = check_engine(r, conf);
    if (status != OK) {
        return status;
    }
    if (r->used_path_info == AP_REQ_REJECT_PATH_INFO && r->path_info && *r->path_info) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "FPMP0054: AcceptPathInfo is off: %s%s",
                      r->filename, r->path_info);
        return HTTP_NOT_FOUND;
    }
    status = conf->checks_script ? check_file(r) : OK;
    return status == OK ? check_pool(r, conf) : status;
}

/* ---- notes for logs -------------------------------------------------------------------------- */

static void note_end(const fpmp_task *task, const char *state)
{
    fpmp_notes_end(task->r, &task->relay, &task->course, state);
}

/* ---- connections ----------------------------------------------------------------------------- */

static int refuse(const fpmp_task *task, int status, const char *state)
{
    note_end(task, state);
    if (status == HTTP_SERVICE_UNAVAILABLE && task->conf->retry_after > 0) {
        apr_table_setn(task->r->err_headers_out, "Retry-After",
                       apr_itoa(task->r->pool, task->conf->retry_after));
    }
    return status;
}

static int open_connection(fpmp_task *task)
{
    apr_time_t before = fpmp_clock_now();
    apr_status_t error = fpmp_conn_open(task->connections, task->server, task->timeouts.connect,
                                        task->r->pool, &task->connection);
    task->course.connecting = fpmp_clock_now() - before;
    if (error == APR_SUCCESS) {
        return OK;
    }
    unsigned suppressed = 0;
    int is_worth = fpmp_conn_note_failure(task->connections, task->server, before, &suppressed);
    fpmp_failure_log_connect(task->r, task->pool, task->server, error, is_worth, suppressed);
    return refuse(task, HTTP_SERVICE_UNAVAILABLE, APR_STATUS_IS_TIMEUP(error) ? "full" : "down");
}

static void give_back(fpmp_task *task, int is_clean)
{
    if (is_clean && task->keeps) {
        task->connection->served++;
        fpmp_conn_keep(task->connections, task->connection, task->timeouts.keep, fpmp_clock_now());
    } else {
        fpmp_conn_discard(task->connections, task->connection);
    }
    task->connection = NULL;
}

static fpmp_conn *take_alive(fpmp_task *task)
{
    apr_time_t now = fpmp_clock_now();
    fpmp_conn *connection = NULL;
    while (
        (connection = fpmp_conn_take(task->connections, task->server, task->timeouts.keep, now))) {
        if (fpmp_conn_is_alive(connection)) {
            break;
        }
        fpmp_conn_discard(task->connections, connection);
    }
    return connection;
}

/* On a unix socket the first write tells whether the server has closed; over TCP it does not, and
 * a request that was written may have been executed: look before. */
static fpmp_conn *take_connection(fpmp_task *task)
{
    if (!task->server->address.path) {
        return take_alive(task);
    }
    return fpmp_conn_take(task->connections, task->server, task->timeouts.keep, fpmp_clock_now());
}

/* A client that waits for "100 Continue" shall not upload to a pool that is not there. */
static int probe(fpmp_task *task)
{
    task->connection = take_alive(task);
    int status = task->connection ? OK : open_connection(task);
    if (status == OK) {
        give_back(task, 1);
    }
    return status;
}

/* ---- the request ----------------------------------------------------------------------------- */

static int is_idempotent(const request_rec *r)
{
    switch (r->method_number) {
    case M_GET: /* and HEAD */
    case M_OPTIONS:
    case M_PUT:
    case M_DELETE:
    case M_PROPFIND:
    case M_REPORT:
        return 1;
    default:
        return 0;
    }
}

static int prepare(fpmp_task *task)
{
    fpmp_body_open(&task->body, task->r);
    if (task->body.kind != FPMP_BODY_NONE && task->r->expecting_100) {
        int status = probe(task);
        if (status != OK) {
            return status;
        }
    }
    int status = fpmp_body_prepare(&task->body, task->conf, task->pool,
                                   task->server->type == FPMP_TYPE_FPMPOOL);
    if (status != OK) {
        task->r->connection->keepalive = AP_CONN_CLOSE;
        return refuse(task, status, "client");
    }
    int has_body = task->body.kind != FPMP_BODY_NONE;
    if (fpmp_select_may_reuse(task->server, is_idempotent(task->r), has_body,
                              !fpmp_body_is_repeatable(&task->body))) {
        task->connection = take_connection(task);
    } else {
        task->keeps = 0; /* it takes none, so it must not leave one: they would pile up */
    }
    /* Before a second attempt it must be certain that the first one was not executed. */
    task->awaits_ack =
        task->connection && !is_idempotent(task->r) && task->server->type == FPMP_TYPE_FPMPOOL;
    int resolves = task->conf->resolves_root == FPMP_RESOLVE_ON ||
                   (task->conf->resolves_root == FPMP_RESOLVE_AUTO && task->server->address.path);
    fpmp_env_facts facts = {.keeps_connection = task->keeps,
                            .has_body = has_body,
                            .body_length = task->body.length,
                            .wants_ack = task->awaits_ack,
                            .roots = resolves ? fpmp_conf_global(task->r->server)->roots : NULL};
    status = fpmp_env_encode(task->r, task->conf, task->pool, task->server, &facts, &task->head);
    return status == OK ? OK : refuse(task, status, "refused");
}

/* One attempt; OK: *result says what came of it. */
static int attempt(fpmp_task *task, fpmp_relay_result *result)
{
    int is_kept = task->connection != NULL;
    task->course.attempts++;
    if (!is_kept) {
        int status = open_connection(task);
        if (status != OK) {
            return status;
        }
    }
    memset(&task->relay, 0, sizeof(task->relay));
    task->relay.r = task->r;
    task->relay.conf = task->conf;
    task->relay.pool = task->pool;
    task->relay.server = task->server;
    task->relay.course = &task->course;
    task->relay.timeouts = task->timeouts;
    task->relay.body = &task->body;
    task->relay.head = task->head;
    task->relay.fd = task->connection->fd;
    task->relay.may_be_stale = is_kept && task->course.attempts < ATTEMPTS_MOST;
    task->relay.awaits_ack = task->awaits_ack;
    *result = fpmp_relay_run(&task->relay);
    return OK;
}

static int exchange(fpmp_task *task, fpmp_relay_result *result)
{
    for (;;) {
        int status = attempt(task, result);
        if (status != OK || *result != FPMP_RELAY_STALE) {
            return status;
        }
        ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, task->r,
                      "FPMP0055: pool %s: a kept connection was closed before the request was "
                      "taken: once more on a fresh one",
                      task->pool->name);
        fpmp_response_close(&task->relay.response);
        give_back(task, 0);
        fpmp_body_rewind(&task->body);
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

/* CGI's local redirect: httpd serves another path in place of the answer (RFC 3875 6.2.2). */
static int redirect(const fpmp_task *task)
{
    request_rec *r = task->r;
    r->method = "GET";
    r->method_number = M_GET;
    static const char *const of_body[] = {"Content-Length", "Transfer-Encoding", "Content-Type",
                                          "Expect"};
    for (size_t i = 0; i < sizeof(of_body) / sizeof(of_body[0]); i++) {
        apr_table_unset(r->headers_in, of_body[i]);
    }
    note_end(task, "ok");
    ap_internal_redirect_handler(task->relay.response.redirect, r);
    return OK;
}

static int leave_client(const fpmp_task *task)
{
    ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, task->r,
                  "FPMP0056: pool %s: the client went away before the end of the response",
                  task->pool->name);
    task->r->connection->aborted = 1;
    note_end(task, "abort");
    return OK;
}

static int leave_filter(const fpmp_task *task)
{
    request_rec *r = task->r;
    ap_log_rerror(APLOG_MARK, APLOG_ERR, task->relay.response.filter_error, r,
                  "FPMP0074: pool %s: an output filter of httpd failed; the response is not "
                  "complete: %s",
                  task->pool->name, r->filename);
    r->connection->keepalive = AP_CONN_CLOSE;
    note_end(task, "filter");
    return AP_FILTER_ERROR;
}

/* Such an answer may have come for a worker that is dead; its connection is about to be closed, and
 * a request that is written meanwhile would be lost. */
static int may_end_connection(int status)
{
    return status == HTTP_BAD_GATEWAY || status == HTTP_SERVICE_UNAVAILABLE ||
           status == HTTP_GATEWAY_TIME_OUT;
}

static int succeed(fpmp_task *task)
{
    fpmp_response *response = &task->relay.response;
    if (fpmp_conn_note_success(task->connections, task->server)) {
        ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, task->r, "FPMP0057: pool %s (%s) answers again",
                      task->pool->name, task->server->address.label);
    }
    if (task->relay.app_status) {
        ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, task->r,
                      "FPMP0075: pool %s: the script ended with exit status %u: %s",
                      task->pool->name, task->relay.app_status, task->r->filename);
    }
    /* Before the client gets the last bytes: it may be slow, and others wait for connections. */
    int answered = response->status != OK ? response->status : task->r->status;
    give_back(task, task->relay.is_clean && !may_end_connection(answered));
    if (response->surplus) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, task->r,
                      "FPMP0058: pool %s: the script sent %" APR_OFF_T_FMT
                      " bytes more than its Content-Length; they were dropped: %s",
                      task->pool->name, response->surplus, task->r->filename);
    }
    if (response->redirect) {
        return redirect(task);
    }
    if (response->status != OK) {
        note_end(task, "ok");
        return response->status;
    }
    switch (fpmp_response_finish(response)) {
    case FPMP_RESPONSE_CLIENT_GONE:
        return leave_client(task);
    case FPMP_RESPONSE_FILTER:
        return leave_filter(task);
    default:
        note_end(task, "ok");
        return OK;
    }
}

static int fail(fpmp_task *task, fpmp_relay_result result)
{
    fpmp_relay *relay = &task->relay;
    give_back(task, 0);
    if (result == FPMP_RELAY_CLIENT_GONE) {
        return leave_client(task);
    }
    if (result == FPMP_RELAY_FILTER) {
        return leave_filter(task);
    }
    const fpmp_failure *failure = fpmp_failure_find(result);
    int is_worth = 1;
    unsigned suppressed = 0;
    if (result == FPMP_RELAY_OVERLOADED) {
        is_worth =
            fpmp_conn_note_failure(task->connections, task->server, fpmp_clock_now(), &suppressed);
    }
    int was_passed = relay->response.is_passed;
    if (was_passed) {
        fpmp_response_break(&relay->response);
    } else {
        fpmp_response_take_back(&relay->response);
    }
    if (result == FPMP_RELAY_CLIENT_BODY) {
        int status = refuse(task, task->body.status, "client");
        task->r->connection->keepalive = AP_CONN_CLOSE;
        return was_passed ? OK : status;
    }
    fpmp_failure_log(relay, task->server, failure, was_passed, is_worth, suppressed);
    if (was_passed) {
        note_end(task, "cut");
        return OK;
    }
    return refuse(task, failure->status, failure->state);
}

static int run(fpmp_task *task)
{
    int status = prepare(task);
    if (status != OK) {
        if (task->connection) {
            give_back(task, 1);
        }
        return status;
    }
    fpmp_relay_result result = FPMP_RELAY_LOST;
    status = exchange(task, &result);
    if (status != OK) {
        return status;
    }
    status = result == FPMP_RELAY_DONE ? succeed(task) : fail(task, result);
    fpmp_response_close(&task->relay.response);
    return status;
}

int fpmp_handler_run(request_rec *r)
{
    const fpmp_dir_conf *conf = fpmp_conf_dir(r);
    if (!is_ours(r, conf)) {
        return DECLINED;
    }
    int status = check_request(r, conf);
    if (status != OK) {
        return status;
    }
    const fpmp_global *global = fpmp_conf_global(r->server);
    fpmp_task task;
    memset(&task, 0, sizeof(task));
    task.r = r;
    task.conf = conf;
    task.pool = fpmp_select_pool(global->pools, conf->pool);
    task.connections = global->connections;
    if (!task.pool || !task.connections) {
        ap_log_rerror(APLOG_MARK, APLOG_CRIT, 0, r,
                      "FPMP0059: pool %s was not set up in this process: restart httpd",
                      conf->pool);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    task.server = fpmp_select_server(task.pool);
    task.timeouts =
        fpmp_select_timeouts(&conf->section_timeouts, task.pool, &conf->server_timeouts);
    task.keeps = task.server->reuses && task.timeouts.keep > 0;
    task.course.start = fpmp_clock_now();
    fpmp_notes_begin(r, task.pool, task.server);
    fpmp_counters_begin(global->counters, task.server);
    status = run(&task);
    fpmp_counters_end(global->counters, task.server, apr_table_get(r->notes, "fpmpool-state"),
                      (uint64_t)r->bytes_sent, (uint64_t)(fpmp_clock_now() - task.course.start));
    return status;
}

void fpmp_handler_child_init(apr_pool_t *child, server_rec *main)
{
    fpmp_global *global = fpmp_conf_global(main);
    int is_threaded = 0;
    apr_status_t status = ap_mpm_query(AP_MPMQ_IS_THREADED, &is_threaded);
    status = status == APR_SUCCESS
                 ? fpmp_conn_create(&global->connections, child, global->server_count,
                                    is_threaded != AP_MPMQ_NOT_SUPPORTED)
                 : status;
    if (status == APR_SUCCESS) {
        status = fpmp_root_create(&global->roots, is_threaded != AP_MPMQ_NOT_SUPPORTED);
    }
    if (status != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, status, main,
                     "FPMP0005: this process cannot keep connections and will answer 500");
    }
}
