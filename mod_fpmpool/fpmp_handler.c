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
#include "fpmp_exchange.h"
#include "fpmp_failure.h"
#include "fpmp_hosts.h"
#include "fpmp_lookup.h"
#include "fpmp_names.h"
#include "fpmp_notes.h"
#include "fpmp_probe.h"
#include "fpmp_root.h"
#include "fpmp_route.h"
#include "fpmp_share.h"

#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <ap_mpm.h>
#include <apr_strings.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

APLOG_USE_MODULE(fpmpool);

#define HANDLER_NAME "fpmpool"

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
    /* The handler is the type where nobody has set one. */
    return conf->ini && (r->finfo.protection & APR_UEXECUTE) && !strcmp(r->handler, "text/html") &&
           fpmp_ini_is_on(conf->ini, "xbithack");
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
    if (!fpmp_conf_is_selectable(conf)) {
        const fpmp_choice *choice = &APR_ARRAY_IDX(conf->tenant->choices, 0, fpmp_choice);
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "FPMP0106: %s:%d: FpmPool %s: this .htaccess file may not choose it: %s%s; "
                      "choose one of FpmPoolSelectable, or add the name there",
                      conf->tenant->file, conf->tenant->line, choice->text,
                      conf->selectable ? "FpmPoolSelectable has "
                                       : "there is no FpmPoolSelectable "
                                         "for this directory",
                      conf->selectable ? apr_array_pstrcat(r->pool, conf->selectable, ' ') : "");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (fpmp_conf_choices(conf)) {
        return OK;
    }
    if (conf->choices_set) {
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

static void note_end(fpmp_task *task, const char *state)
{
    task->state = state;
    fpmp_notes_end(task->r, &task->relay, &task->course, state);
}

/* As with mod_php %u of a log is the name that PHP got for its own login. httpd has not checked it:
 * it is set when nothing but logs can see it, no ErrorDocument's REMOTE_USER for instance. */
static void note_user(request_rec *r, const fpmp_dir_conf *conf)
{
    const char *login = r->user || conf->authorization == FPMP_AUTHORIZATION_OFF
                            ? NULL
                            : apr_table_get(r->headers_in, "Authorization");
    if (!login || strncasecmp(login, "Basic ", 6) != 0) {
        return;
    }
    const char *text = ap_pbase64decode(r->pool, login + 6);
    const char *colon = strchr(text, ':'); /* without one it is no login for PHP */
    if (colon) {
        r->user = apr_pstrmemdup(r->pool, text, (apr_size_t)(colon - text));
    }
}

static int refuse(fpmp_task *task, int status, const char *state)
{
    note_end(task, state);
    int seconds = status == HTTP_SERVICE_UNAVAILABLE ? task->conf->retry_after : 0;
    if (task->is_refused) {
        seconds = task->admission.limit.retry_after;
    }
    if (seconds > 0) {
        apr_table_setn(task->r->err_headers_out, "Retry-After", apr_itoa(task->r->pool, seconds));
    }
    return status;
}

/* is_at_end: FpmPoolOnAbort finish, and the script has. */
static int leave_client(fpmp_task *task, int is_at_end)
{
    request_rec *r = task->r;
    if (task->relay.client_left && !is_at_end) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                      "FPMP0097: pool %s: the client went away, and its script did not end within= "
                      "of FpmPoolOnAbort finish: it is told now: %s",
                      task->pool->name, r->filename);
    } else {
        ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r,
                      "FPMP0056: pool %s: the client went away before the end of the response%s",
                      task->pool->name, is_at_end ? "; its script ran to its end" : "");
    }
    r->connection->aborted = 1;
    note_end(task, "abort");
    return OK;
}

/* There was no answer: a status, or FPMP_TASK_GONE. */
static int end_unanswered(fpmp_task *task, int status)
{
    return status == FPMP_TASK_GONE ? leave_client(task, 0) : refuse(task, status, task->state);
}

/* ---- the request ----------------------------------------------------------------------------- */

/* Returns 1 if it is ready to be sent; else *status is what the handler returns. */
static int prepare(fpmp_task *task, int *status)
{
    fpmp_body_open(&task->body, task->r);
    *status = task->body.kind != FPMP_BODY_NONE ? fpmp_exchange_probe(task) : OK;
    if (*status != OK) {
        *status = end_unanswered(task, *status);
        return 0;
    }
    *status = fpmp_exchange_read_body(task);
    if (*status != OK) {
        task->r->connection->keepalive = AP_CONN_CLOSE;
        *status = refuse(task, *status, "client");
        return 0;
    }
    return 1;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* CGI's local redirect: httpd serves another path in place of the answer (RFC 3875 6.2.2). */
static int redirect(fpmp_task *task)
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

static int leave_filter(fpmp_task *task)
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
    if (task->relay.app_status) {
        ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, task->r,
                      "FPMP0075: pool %s: the script ended with exit status %u: %s",
                      task->pool->name, task->relay.app_status, task->r->filename);
    }
    /* Before the client gets the last bytes: it may be slow, and others wait for connections. */
    int answered = response->status != OK ? response->status : task->r->status;
    fpmp_exchange_give_back(task, task->relay.is_clean && !may_end_connection(answered));
    if (task->relay.client_left) {
        return leave_client(task, 1);
    }
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
        return leave_client(task, 0);
    case FPMP_RESPONSE_FILTER:
        return leave_filter(task);
    default:
        note_end(task, "ok");
        note_user(task->r, task->conf);
        return OK;
    }
}

static int fail(fpmp_task *task, fpmp_relay_result result)
{
    fpmp_relay *relay = &task->relay;
    fpmp_exchange_give_back(task, 0);
    if (result == FPMP_RELAY_CLIENT_GONE) {
        return leave_client(task, 0);
    }
    if (result == FPMP_RELAY_FILTER) {
        return leave_filter(task);
    }
    const fpmp_failure *failure = fpmp_failure_find(result);
    int is_worth = 1;
    unsigned suppressed = 0;
    if (result == FPMP_RELAY_OVERLOADED) {
        fpmp_record *record = task->global->records->servers[relay->server->index];
        is_worth = fpmp_share_complain(&record->failure, fpmp_clock_now(), &suppressed);
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
    fpmp_failure_log(relay, relay->server, failure, was_passed, is_worth, suppressed);
    if (was_passed) {
        note_end(task, "cut");
        return OK;
    }
    return refuse(task, relay->bad_status ? relay->bad_status : failure->status, failure->state);
}

static int run(fpmp_task *task)
{
    int status = OK;
    if (!prepare(task, &status)) {
        return status;
    }
    fpmp_relay_result result = FPMP_RELAY_LOST;
    status = fpmp_exchange_run(task, &result);
    if (status != OK) {
        return end_unanswered(task, status);
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
    fpmp_task task;
    memset(&task, 0, sizeof(task));
    task.r = r;
    task.conf = conf;
    task.global = fpmp_conf_global(r->server);
    task.course.start = fpmp_clock_now();
    task.course.waiting = -1;
    status = fpmp_route_open(&task);
    if (status == OK) {
        status = run(&task);
        fpmp_route_close(&task);
        return status;
    }
    return status == HTTP_SERVICE_UNAVAILABLE ? refuse(&task, status, task.state) : status;
}

/* ---- setting up ------------------------------------------------------------------------------ */

#define RETAINED_KEY "mod_fpmpool-share"

/* Besides the MPM's threads those of mod_http2 run requests (H2MaxWorkers, by default 1.5 of them).
 */
#define SLOTS_FOR 4

/* What outlives a configuration. */
typedef struct retained {
    fpmp_share *share;
} retained;

static retained *get_retained(void)
{
    retained *kept = ap_retained_data_get(RETAINED_KEY);
    return kept ? kept : ap_retained_data_create(RETAINED_KEY, sizeof(*kept));
}

/* For pools that expressions name; they have their places behind all others. */
static int count_places(const fpmp_global *global)
{
    return global->max_names < FPMP_NAMES_USED_MAX ? global->max_names : FPMP_NAMES_USED_MAX;
}

/* The names of everything, by index. */
static fpmp_share_keys list_keys(const fpmp_global *global, int threads, apr_pool_t *ptemp)
{
    uint64_t *pools = apr_pcalloc(ptemp, ((size_t)global->pool_count + 1) * sizeof(*pools));
    uint64_t *servers = apr_pcalloc(ptemp, ((size_t)global->server_count + 1) * sizeof(*servers));
    for (apr_hash_index_t *at = apr_hash_first(ptemp, global->pools); at; at = apr_hash_next(at)) {
        const fpmp_pool *pool = apr_hash_this_val(at);
        pools[pool->index] = fpmp_share_key(pool->name, "");
        for (int i = 0; i < pool->server_count; i++) {
            servers[pool->servers[i].index] = fpmp_share_key(pool->name, pool->servers[i].name);
        }
    }
    return (fpmp_share_keys){pools,
                             global->pool_count,
                             servers,
                             global->server_count,
                             global->max_names,
                             count_places(global),
                             SLOTS_FOR * (threads > 1 ? threads : 1)};
}

int fpmp_handler_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                             server_rec *main)
{
    (void)plog;
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK;
    }
    fpmp_global *global = fpmp_conf_global(main);
    retained *kept = get_retained();
    int children = 0;
    int threads = 0;
    apr_status_t status = ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &children);
    if (status == APR_SUCCESS) {
        status = ap_mpm_query(AP_MPMQ_HARD_LIMIT_THREADS, &threads);
    }
    if (status == APR_SUCCESS) {
        /* At a graceful restart the old children are still there. */
        fpmp_share_keys keys = list_keys(global, threads, ptemp);
        global->records = apr_palloc(pconf, sizeof(*global->records));
        status = fpmp_share_open(&kept->share, main->process->pool, pconf, 2 * children + 8, &keys,
                                 global->records);
    }
    if (status != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_EMERG | APLOG_STARTUP, status, main,
                     "FPMP0004: no shared memory for what the children know about servers: raise "
                     "the limits of shared memory of this system");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    global->share = kept->share;
    if (global->name_count) {
        status = fpmp_hosts_open(&global->hosts, pconf, global->name_count);
    }
    if (status != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_EMERG | APLOG_STARTUP, status, main,
                     "FPMP0124: no shared memory for the addresses of host names: raise the limits "
                     "of memory of this system");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

/* Its places are free. */
static void wake_all(const fpmp_global *global, const fpmp_share *share)
{
    for (int i = 0; global && global->records && i < global->pool_count; i++) {
        fpmp_queue_wake(share, global->records->pools[i]);
    }
}

void fpmp_handler_child_status(server_rec *main, pid_t child, ap_generation_t generation, int slot,
                               mpm_child_status status)
{
    const retained *kept = get_retained();
    (void)generation;
    (void)slot;
    if (status == MPM_CHILD_EXITED && kept->share) {
        fpmp_share_leave(kept->share, child);
        wake_all(fpmp_conf_global(main), kept->share);
    }
}

static apr_status_t create_names(fpmp_global *global, int is_threaded)
{
    fpmp_names_base base = {global->socket_dir, &global->defaults,    count_places(global),
                            global->pool_count, global->server_count, global->share,
                            global->records,    global->row,          global->connections};
    return fpmp_names_create(&global->names, &base, is_threaded);
}

void fpmp_handler_child_init(apr_pool_t *child, server_rec *main)
{
    fpmp_global *global = fpmp_conf_global(main);
    int is_threaded = 0;
    global->row = fpmp_share_enter(global->share, getpid());
    apr_status_t status = ap_mpm_query(AP_MPMQ_IS_THREADED, &is_threaded);
    status = status == APR_SUCCESS ? fpmp_conn_create(&global->connections, child, global->hosts,
                                                      global->server_count + count_places(global),
                                                      is_threaded != AP_MPMQ_NOT_SUPPORTED)
                                   : status;
    if (status == APR_SUCCESS && global->max_names) {
        status = create_names(global, is_threaded != AP_MPMQ_NOT_SUPPORTED);
    }
    if (status == APR_SUCCESS) {
        status = fpmp_root_create(&global->roots, is_threaded != AP_MPMQ_NOT_SUPPORTED);
    }
    if (status != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, status, main,
                     "FPMP0005: this process cannot keep connections and will answer 500");
    }
    status = fpmp_lookup_start(global, main, child);
    if (status != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, status, main,
                     "FPMP0125: this process cannot look up host names again: raise httpd's limits "
                     "of threads and descriptors");
    }
    status = fpmp_probe_start(global, main, child);
    if (status != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, status, main,
                     "FPMP0015: this process cannot check servers (FpmPoolCheck): raise httpd's "
                     "limits of threads and descriptors");
    }
}
