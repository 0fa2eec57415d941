/* fpmp_exchange.c - a request's attempts: a connection to a server, the request over it, and
 * whether another server gets it afterwards.
 *
 * Runs in an httpd child for each request. fpmp_route says which server is next, fpmp_verdict what
 * an attempt says about its server. Must not send anything to the client.
 */
#include "fpmp_exchange.h"

#include "fpmp_balance.h"
#include "fpmp_clock.h"
#include "fpmp_env.h"
#include "fpmp_failure.h"
#include "fpmp_notes.h"
#include "fpmp_route.h"
#include "fpmp_verdict.h"

#include <http_log.h>
#include <errno.h>
#include <string.h>

APLOG_USE_MODULE(fpmpool);

#define ENCODED_ACK 4 /* in fpmp_task.encoding */

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

/* ---- connections ----------------------------------------------------------------------------- */

static void note_no_connection(fpmp_task *task, apr_status_t error)
{
    int is_local = task->server->address.path != NULL;
    int is_full = APR_STATUS_IS_TIMEUP(error) && is_local;
    unsigned suppressed = 0;
    task->has_failed = 1;
    task->was_overload = is_full;
    task->was_lost = 0;
    task->status = HTTP_SERVICE_UNAVAILABLE;
    task->state = is_full ? "full" : "down";
    fpmp_record *record = fpmp_balance_record(task->global, task->server);
    int is_worth = fpmp_share_complain(&record->failure, fpmp_clock_now(), &suppressed);
    fpmp_failure_log_connect(task->r, task->pool, task->server, error, is_worth, suppressed);
    fpmp_verdict_no_connection(task, error);
}

static int open_connection(fpmp_task *task)
{
    apr_time_t before = fpmp_clock_now();
    apr_status_t error = fpmp_conn_open(task->global->connections, task->server,
                                        task->timeouts.connect, &task->connection);
    task->course.connecting = fpmp_clock_now() - before;
    if (error != APR_SUCCESS) {
        task->course.attempts++;
        note_no_connection(task, error);
    }
    return error == APR_SUCCESS;
}

static fpmp_conn *take_alive(fpmp_task *task)
{
    apr_time_t now = fpmp_clock_now();
    fpmp_conn *connection = NULL;
    while ((connection = fpmp_conn_take(task->global->connections, task->server,
                                        task->timeouts.keep, now))) {
        if (fpmp_conn_is_alive(connection)) {
            break;
        }
        fpmp_conn_discard(task->global->connections, connection);
    }
    return connection;
}

/* On a unix socket the first write tells whether the server has closed; over TCP it does not, and
 * a request that was written may have been executed: look before. */
static fpmp_conn *take_kept(fpmp_task *task)
{
    if (!task->server->address.path) {
        return take_alive(task);
    }
    return fpmp_conn_take(task->global->connections, task->server, task->timeouts.keep,
                          task->began);
}

static void drop_connection(fpmp_task *task)
{
    fpmp_conn_discard(task->global->connections, task->connection);
    task->connection = NULL;
}

static void release(fpmp_task *task)
{
    if (task->server) {
        fpmp_admit_release(task->global, task->pool, task->server);
        task->server = NULL;
    }
}

/* For its server; its place in the pool stays for the next one. */
static void end_attempt(fpmp_task *task, int is_clean)
{
    if (task->connection && is_clean && task->keeps) {
        task->connection->served++;
        fpmp_conn_keep(task->global->connections, task->connection, task->timeouts.keep,
                       fpmp_clock_now());
        task->connection = NULL;
    } else if (task->connection) {
        drop_connection(task);
    }
    release(task);
}

void fpmp_exchange_give_back(fpmp_task *task, int is_clean)
{
    end_attempt(task, is_clean);
    fpmp_admit_leave(&task->admission);
}

/* ---- may it go on? --------------------------------------------------------------------------- */

/* After an attempt that was certainly not taken. */
static int may_go_on(const fpmp_task *task)
{
    return !task->relay.client_left && task->retry.level != FPMP_RETRY_OFF &&
           task->servers_asked < task->retry.attempts &&
           fpmp_clock_now() - task->first_try < task->retry.within &&
           fpmp_body_can_rewind(&task->body);
}

/* May it be executed a second time? */
static int may_lose(const fpmp_task *task)
{
    return task->retry.level == FPMP_RETRY_IDEMPOTENT && is_idempotent(task->r);
}

/* Could another attempt follow the one that is about to be made? */
static int has_others(const fpmp_task *task)
{
    return task->retry.level != FPMP_RETRY_OFF && task->servers_asked + 1 < task->retry.attempts &&
           (task->pool->server_count > 1 || task->pool_at + 1 < task->pool_count);
}

static int may_repeat(const fpmp_task *task, fpmp_relay_result result)
{
    switch (result) {
    case FPMP_RELAY_NOT_TAKEN:
    case FPMP_RELAY_OVERLOADED:
    case FPMP_RELAY_CANT_MPX:
    case FPMP_RELAY_UNKNOWN_ROLE:
        return may_go_on(task);
    case FPMP_RELAY_DIED:
    case FPMP_RELAY_LOST:
        return may_lose(task) && !task->relay.has_output && may_go_on(task);
    case FPMP_RELAY_PROTOCOL:
    case FPMP_RELAY_BAD_STATUS:
        return may_lose(task) && !task->relay.response.is_passed && may_go_on(task);
    default:
        return 0;
    }
}

/* There was no connection to the server. Returns 1 if the request may look for another one; else it
 * ends here, and is counted here. */
static int leave_server(fpmp_task *task)
{
    release(task);
    if (!may_go_on(task)) {
        return 0;
    }
    fpmp_route_count(task, 0, task->began, fpmp_clock_now());
    return 1;
}

/* ---- before the attempt ---------------------------------------------------------------------- */

/* A server and a connection to it. OK, or the status for the client. */
static int obtain(fpmp_task *task, int wants_fresh)
{
    for (;;) {
        int status = task->server ? OK : fpmp_route_pick(task);
        if (status != OK) {
            return status;
        }
        int has_body = task->body.kind != FPMP_BODY_NONE;
        task->keeps = task->server->reuses && task->timeouts.keep > 0 &&
                      fpmp_select_may_reuse(task->server, is_idempotent(task->r), has_body,
                                            !fpmp_body_is_repeatable(&task->body));
        /* Who takes none must not leave one: they would pile up. */
        task->connection = task->keeps && !wants_fresh ? take_kept(task) : NULL;
        if (task->connection || open_connection(task)) {
            return OK;
        }
        wants_fresh = 0;
        if (!leave_server(task)) {
            return task->status;
        }
    }
}

/* Picks servers until one accepts a connection. */
static int find_alive(fpmp_task *task)
{
    for (;;) {
        int status = fpmp_route_pick(task);
        if (status != OK) {
            return status;
        }
        task->keeps = task->server->reuses && task->timeouts.keep > 0;
        task->connection = task->keeps ? take_alive(task) : NULL;
        if (task->connection || open_connection(task)) {
            return OK;
        }
        if (!leave_server(task)) {
            return task->status;
        }
    }
}

int fpmp_exchange_probe(fpmp_task *task)
{
    if (!task->r->expecting_100 && !task->admission.is_limited) {
        return OK;
    }
    task->is_looking = 1;
    int status = task->r->expecting_100 ? find_alive(task) : fpmp_route_pick(task);
    task->is_looking = 0;
    if (status != OK) {
        return status;
    }
    end_attempt(task, 1);
    /* The request itself starts anew: its time begins when the body is there. */
    fpmp_route_restart(task);
    return OK;
}

static void pause_admission(void *data)
{
    fpmp_admit_pause(data);
}

int fpmp_exchange_read_body(fpmp_task *task)
{
    int can_stream = 1;
    for (int i = 0; i < task->pool_count; i++) {
        for (int at = 0; at < task->pools[i]->server_count; at++) {
            can_stream &= task->pools[i]->servers[at].type == FPMP_TYPE_FPMPOOL;
        }
    }
    task->body.on_wait = pause_admission;
    task->body.on_wait_data = &task->admission;
    task->body.keep_most = task->retry.level == FPMP_RETRY_OFF ? 0 : task->retry.body;
    return fpmp_body_prepare(&task->body, task->conf, task->pool, can_stream);
}

/* Before another attempt it must be certain that this one was not executed. */
static int needs_ack(const fpmp_task *task)
{
    if (task->server->type != FPMP_TYPE_FPMPOOL || !task->server->address.path) {
        return 0;
    }
    if ((task->encoding & ENCODED_ACK) || (!is_idempotent(task->r) && task->connection->served)) {
        return 1; /* to ask once more than needed is cheaper than to encode again */
    }
    return has_others(task) && !may_lose(task);
}

/* What httpd and FpmPoolSetEnvIf put into the environment for the first attempt shall not look like
 * the request's own in the next one. */
static void reset_variables(fpmp_task *task)
{
    request_rec *r = task->r;
    if (task->encoding && task->variables) {
        r->subprocess_env = apr_table_copy(r->pool, task->variables);
    } else if (!task->encoding && (task->pool->server_count > 1 || task->pool_count > 1)) {
        task->variables = apr_table_copy(r->pool, r->subprocess_env);
    }
}

static int encode(fpmp_task *task)
{
    request_rec *r = task->r;
    const fpmp_server *server = task->server;
    int resolves = task->conf->resolves_root == FPMP_RESOLVE_ON ||
                   (task->conf->resolves_root == FPMP_RESOLVE_AUTO && server->address.path);
    task->awaits_ack = needs_ack(task);
    int root = server->local_root ? server->index + 1 : 0;
    int encoding = 1 | (task->keeps ? 2 : 0) | (task->awaits_ack ? ENCODED_ACK : 0) |
                   (resolves ? 8 : 0) | (int)server->type << 4 | root << 8;
    if (encoding == task->encoding) {
        return OK;
    }
    reset_variables(task);
    fpmp_env_facts facts = {.keeps_connection = task->keeps,
                            .has_body = task->body.kind != FPMP_BODY_NONE,
                            .body_length = task->body.length,
                            .wants_ack = task->awaits_ack,
                            .roots = resolves ? task->global->roots : NULL};
    task->encoding = encoding;
    return fpmp_env_encode(r, task->conf, task->pool, server, &facts, &task->head);
}

/* ---- attempts -------------------------------------------------------------------------------- */

static fpmp_relay_result send_request(fpmp_task *task)
{
    task->course.attempts++;
    task->began = fpmp_clock_now();
    memset(&task->relay, 0, sizeof(task->relay));
    task->relay.r = task->r;
    task->relay.conf = task->conf;
    task->relay.pool = task->pool;
    task->relay.server = task->server;
    task->relay.course = &task->course;
    task->relay.timeouts = task->timeouts;
    task->relay.began = task->began;
    task->relay.body = &task->body;
    task->relay.head = task->head;
    task->relay.fd = task->connection->fd;
    task->relay.awaits_ack = task->awaits_ack;
    task->relay.avoids_statuses = task->pool->bad_statuses && has_others(task) && may_lose(task);
    return fpmp_relay_run(&task->relay);
}

/* Forgets the attempt. */
static void start_over(fpmp_task *task)
{
    fpmp_response_take_back(&task->relay.response);
    fpmp_response_close(&task->relay.response);
    fpmp_body_rewind(&task->body);
    task->relay.is_noted = 0;
}

/* Was it only the kept connection that had ended? Such a server gets it once more on a fresh one.
 */
static int is_stale(const fpmp_task *task, fpmp_relay_result result)
{
    return task->connection->served &&
           (result == FPMP_RELAY_NOT_TAKEN || result == FPMP_RELAY_OVERLOADED);
}

/* Its server has failed. Returns 1 if the request is on its way to the next one. */
static int go_on(fpmp_task *task, fpmp_relay_result result)
{
    const fpmp_server *failed = task->server;
    const fpmp_pool *pool = task->pool;
    task->servers_asked++;
    fpmp_verdict_on_attempt(task, result);
    if (!may_repeat(task, result)) {
        return 0;
    }
    task->has_failed = 1;
    task->was_overload = result == FPMP_RELAY_OVERLOADED;
    /* Its server may have it once more, if there is no other: it was not busy. */
    task->was_lost = result == FPMP_RELAY_LOST || result == FPMP_RELAY_PROTOCOL ||
                     result == FPMP_RELAY_DIED || result == FPMP_RELAY_NOT_TAKEN ||
                     result == FPMP_RELAY_BAD_STATUS;
    task->status = HTTP_BAD_GATEWAY;
    task->state = "lost";
    const char *what = fpmp_failure_find(result)->state;
    apr_time_t began = task->began;
    end_attempt(task, 0);
    fpmp_response_take_back(&task->relay.response);
    if (fpmp_route_pick(task) != OK) {
        fpmp_notes_begin(task->r, &task->course, pool, failed);
        return 0;
    }
    fpmp_balance_end(task->global, task->pools, task->pool_count, failed, what, 0, began,
                     fpmp_clock_now());
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, task->r,
                  "FPMP0087: pool %s (%s): %s: the request goes on to %s of pool %s", pool->name,
                  failed->address.label, what, task->server->address.label, task->pool->name);
    start_over(task);
    return 1;
}

int fpmp_exchange_run(fpmp_task *task, fpmp_relay_result *result)
{
    int wants_fresh = 0;
    for (;;) {
        int status = obtain(task, wants_fresh);
        if (status != OK) {
            return status;
        }
        status = encode(task);
        if (status != OK) {
            task->state = "refused";
            fpmp_exchange_give_back(task, 1);
            return status;
        }
        *result = send_request(task);
        wants_fresh = is_stale(task, *result);
        if (wants_fresh) {
            ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, task->r,
                          "FPMP0055: pool %s: a kept connection was closed before the request was "
                          "taken: once more on a fresh one",
                          task->pool->name);
            drop_connection(task);
            start_over(task);
        } else if (!go_on(task, *result)) {
            return OK;
        }
    }
}
