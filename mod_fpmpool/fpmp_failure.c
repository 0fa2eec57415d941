/* fpmp_failure.c - what a failed request means: one table of statuses and log lines.
 *
 * Runs in an httpd child. Pure but for the log; decides nothing about connections or retries.
 */
#include "fpmp_failure.h"
#include "fpmp_clock.h"
#include "fpmp_conn.h"

#include <httpd.h>
#include <http_log.h>
#include <apr_strings.h>
#include <errno.h>

APLOG_USE_MODULE(fpmpool);

static const fpmp_failure failures[] = {
    {FPMP_RELAY_OVERLOADED, HTTP_SERVICE_UNAVAILABLE, APLOG_WARNING, "overload", "FPMP0060: ",
     "the pool refused the request (queue full, or it cannot start): see the daemon's log, raise "
     "pm.max_children or its queue limits"},
    {FPMP_RELAY_NOT_TAKEN, HTTP_BAD_GATEWAY, APLOG_ERR, "lost", "FPMP0088: ",
     "the server closed the connection before it took the request: see the daemon's log"},
    {FPMP_RELAY_CANT_MPX, HTTP_INTERNAL_SERVER_ERROR, APLOG_ERR, "invalid", "FPMP0061: ",
     "the server says that this connection serves another request (CANT_MPX_CONN): it does not "
     "support kept connections, set reuse=off"},
    {FPMP_RELAY_UNKNOWN_ROLE, HTTP_INTERNAL_SERVER_ERROR, APLOG_ERR, "invalid",
     "FPMP0062: ", "the server is not a FastCGI responder (UNKNOWN_ROLE): correct the address"},
    {FPMP_RELAY_TIMEOUT, HTTP_GATEWAY_TIME_OUT, APLOG_ERR, "timeout", "FPMP0063: ",
     "no byte of an answer in time: look into the slow log of the pool, or raise FpmPoolTimeout "
     "first= (idle= once it has begun)"},
    {FPMP_RELAY_TOO_LONG, HTTP_GATEWAY_TIME_OUT, APLOG_ERR, "timeout", "FPMP0076: ",
     "the answer was not complete in time: look into the slow log of the pool, or raise "
     "FpmPoolTimeout total="},
    {FPMP_RELAY_DIED, HTTP_BAD_GATEWAY, APLOG_ERR, "died", "FPMP0077: ",
     "the worker died before it answered: the message before this one and the daemon's log say of "
     "what"},
    {FPMP_RELAY_TERMINATED, HTTP_GATEWAY_TIME_OUT, APLOG_ERR, "timeout", "FPMP0078: ",
     "the pool's request_terminate_timeout ended the script: look into its slow log, or raise it"},
    {FPMP_RELAY_LOST, HTTP_BAD_GATEWAY, APLOG_ERR, "lost", "FPMP0064: ",
     "the server closed the connection before the end of the answer: see the daemon's log for a "
     "worker that died"},
    {FPMP_RELAY_NO_ANSWER, HTTP_BAD_GATEWAY, APLOG_ERR, "invalid",
     "FPMP0065: ", "the request ended without any answer: see the log of the pool"},
    {FPMP_RELAY_BAD_HEADER, HTTP_BAD_GATEWAY, APLOG_ERR, "invalid",
     "FPMP0066: ", "the header of the answer is malformed or incomplete: correct the script"},
    {FPMP_RELAY_LARGE_HEADER, HTTP_BAD_GATEWAY, APLOG_ERR, "invalid", "FPMP0067: ",
     "the header of the answer is larger than FpmPoolMaxHeader: raise it if that is meant"},
    {FPMP_RELAY_SHORT, HTTP_BAD_GATEWAY, APLOG_ERR, "cut",
     "FPMP0068: ", "the script sent fewer bytes than its Content-Length: correct the script"},
    {FPMP_RELAY_PROTOCOL, HTTP_BAD_GATEWAY, APLOG_ERR, "invalid",
     "FPMP0069: ", "what the server sent is not FastCGI: correct the address"},
    {FPMP_RELAY_BAD_STATUS, HTTP_BAD_GATEWAY, APLOG_WARNING, "invalid", "FPMP0121: ",
     "its answer has a status of FpmPoolHealth status=, and no other server is left: see its log"},
};

const fpmp_failure *fpmp_failure_find(fpmp_relay_result result)
{
    static const fpmp_failure other = {FPMP_RELAY_LOST, HTTP_BAD_GATEWAY,
                                       APLOG_ERR,       "lost",
                                       "FPMP0071: ",    "the request could not be completed"};
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        if (failures[i].result == result) {
            return &failures[i];
        }
    }
    return &other;
}

static const char *describe_suppressed(apr_pool_t *pool, unsigned suppressed)
{
    return suppressed ? apr_psprintf(pool, " (and %u times before, not logged)", suppressed) : "";
}

/* Who it was, if the daemon has said so. */
static const char *describe_worker(const fpmp_relay *relay)
{
    return relay->facts.worker >= 0
               ? apr_psprintf(relay->r->pool, ", worker %" APR_INT64_T_FMT, relay->facts.worker)
               : "";
}

/* What only this request knows: the malformed bytes, or the decoder's word. */
static const char *describe_detail(const fpmp_relay *relay, const fpmp_failure *failure)
{
    apr_pool_t *pool = relay->r->pool;
    if (failure->result == FPMP_RELAY_PROTOCOL) {
        return apr_psprintf(pool, " (%s)", wire_error_text(relay->protocol_error));
    }
    if (failure->result == FPMP_RELAY_BAD_HEADER && relay->response.detail) {
        return apr_psprintf(pool, ": \"%s\"", relay->response.detail);
    }
    return "";
}

void fpmp_failure_log(const fpmp_relay *relay, const fpmp_server *server,
                      const fpmp_failure *failure, int was_passed, int is_worth,
                      unsigned suppressed)
{
    request_rec *r = relay->r;
    int level = is_worth ? failure->level : APLOG_DEBUG;
    int was_lost = failure->result == FPMP_RELAY_LOST || failure->result == FPMP_RELAY_NOT_TAKEN;
    apr_status_t error = was_lost ? relay->error : APR_SUCCESS;
    if (!APLOG_R_IS_LEVEL(r, level)) {
        return;
    }
    ap_log_rerror(APLOG_MARK, level, error, r, "%spool %s (%s)%s, script %s: %s%s%s%s", failure->id,
                  relay->pool->name, server->address.label, describe_worker(relay), r->filename,
                  failure->text, describe_detail(relay, failure),
                  was_passed ? "; the response had begun, the client got it cut" : "",
                  describe_suppressed(r->pool, suppressed));
}

static const char *advise(apr_status_t error, const fpmp_server *server)
{
    if (error == ENOENT) {
        return "there is no such socket: start fpmpoold with this pool, or correct the path";
    }
    if (error == EACCES || error == EPERM) {
        return "httpd's user may not connect: set listen.owner, listen.group or listen.mode of the "
               "pool";
    }
    if (error == ECONNREFUSED) {
        return "nobody listens there: start fpmpoold with this pool";
    }
    if (error == EMFILE || error == ENFILE) {
        return "httpd has no descriptor left: raise its limit of open files";
    }
    return server->address.path ? "look at the socket and the daemon that should own it"
                                : "look at the host and its network";
}

void fpmp_failure_log_connect(request_rec *r, const fpmp_pool *pool, const fpmp_server *server,
                              apr_status_t error, int is_worth, unsigned suppressed)
{
    int is_full = APR_STATUS_IS_TIMEUP(error) && server->address.path;
    int level = is_full ? APLOG_WARNING : APLOG_ERR;
    level = is_worth ? level : APLOG_DEBUG;
    if (is_full) {
        ap_log_rerror(
            APLOG_MARK, level, 0, r,
            "FPMP0072: pool %s: the listen queue of %s is full: raise pm.max_children (or "
            "listen.backlog), or find what makes its requests slow (script %s)%s",
            pool->name, server->address.label, r->filename,
            describe_suppressed(r->pool, suppressed));
    } else if (error == FPMP_CONN_OTHER_OWNER) {
        ap_log_rerror(
            APLOG_MARK, level, 0, r,
            "FPMP0098: pool %s: the socket %s does not belong to %s, as its user= demands; "
            "nothing was sent: find out who put it there, or set listen.owner of the "
            "pool (script %s)%s",
            pool->name, server->address.label, server->owner, r->filename,
            describe_suppressed(r->pool, suppressed));
    } else {
        ap_log_rerror(APLOG_MARK, level, error, r,
                      "FPMP0073: pool %s: cannot connect to %s: %s (script %s)%s", pool->name,
                      server->address.label, advise(error, server), r->filename,
                      describe_suppressed(r->pool, suppressed));
    }
}

void fpmp_failure_log_limit(request_rec *r, const fpmp_pool *pool, fpmp_complaint *about)
{
    unsigned suppressed = 0;
    int is_worth = fpmp_share_complain(about, fpmp_clock_now(), &suppressed);
    ap_log_rerror(
        APLOG_MARK, is_worth ? APLOG_WARNING : APLOG_DEBUG, 0, r,
        "FPMP0089: pool %s: every server that is up has its max= of requests: raise max=, "
        "add servers, or find what makes the requests slow%s",
        pool->name, describe_suppressed(r->pool, suppressed));
}

/* What has happened, and the next step. */
static const char *describe_refusal(apr_pool_t *pool, const fpmp_limit *limit,
                                    fpmp_limit_answer answer)
{
    switch (answer) {
    case FPMP_LIMIT_QUEUE_FULL:
        return apr_psprintf(pool,
                            "%u requests wait already (FpmPoolLimit queue=): raise queue= or "
                            "requests=, or find what makes the requests slow",
                            limit->queue);
    case FPMP_LIMIT_QUEUE_TIMEOUT:
        return apr_psprintf(pool,
                            "it has waited for its turn for %" APR_TIME_T_FMT
                            " ms (FpmPoolLimit wait=): find what makes the requests slow, or raise "
                            "requests=",
                            apr_time_as_msec(limit->wait));
    case FPMP_LIMIT_PER_ADDRESS:
        return apr_psprintf(
            pool,
            "%u requests of this client's address are here already (FpmPoolLimit "
            "perip=): raise it if that is meant; behind a proxy, set up mod_remoteip",
            limit->per_address);
    default:
        return apr_psprintf(pool,
                            "%u requests are under way (FpmPoolLimit requests=): raise it, add "
                            "queue=, or find what makes the requests slow",
                            limit->requests);
    }
}

void fpmp_failure_log_refusal(request_rec *r, const fpmp_pool *pool, const fpmp_limit *limit,
                              fpmp_limit_answer answer, fpmp_complaint *about)
{
    static const char *const ids[FPMP_LIMIT_REASONS] = {[FPMP_LIMIT_REQUESTS] = "FPMP0110: ",
                                                        [FPMP_LIMIT_QUEUE_FULL] = "FPMP0111: ",
                                                        [FPMP_LIMIT_QUEUE_TIMEOUT] = "FPMP0112: ",
                                                        [FPMP_LIMIT_PER_ADDRESS] = "FPMP0113: "};
    unsigned suppressed = 0;
    int is_worth = fpmp_share_complain(about, fpmp_clock_now(), &suppressed);
    ap_log_rerror(APLOG_MARK, is_worth ? APLOG_WARNING : APLOG_DEBUG, 0, r,
                  "%spool %s: %s%s (script %s)", ids[answer], pool->name,
                  describe_refusal(r->pool, limit, answer),
                  describe_suppressed(r->pool, suppressed), r->filename);
}

/* A server without others is asked all the same: why it cannot answer has been said. */
void fpmp_failure_log_down(const server_rec *where, const fpmp_pool *pool,
                           const fpmp_server *server, const char *reason)
{
    int has_others = pool->server_count > 1;
    int level = has_others || pool->health.check_count ? APLOG_WARNING : APLOG_INFO;
    ap_log_error(APLOG_MARK, level, 0, where,
                 "FPMP0085: pool %s: %s counts as down: %s; %s until %s: look at that server",
                 pool->name, server->address.label, reason,
                 has_others ? "the others get its requests"
                            : "fallbacks get its requests, if FpmPool names any,",
                 pool->health.check_count ? "its checks succeed" : "a trial request succeeds");
}

void fpmp_failure_log_up(const server_rec *where, const fpmp_pool *pool, const fpmp_server *server,
                         unsigned rise)
{
    ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, where,
                 "FPMP0086: pool %s: %s is up again: %u checks in a row succeeded", pool->name,
                 server->address.label, rise);
}

void fpmp_failure_log_busy(const server_rec *where, const fpmp_pool *pool,
                           const fpmp_server *server, const char *reason)
{
    ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, where,
                 "FPMP0120: pool %s: a check of %s does not count: %s", pool->name,
                 server->address.label, reason);
}
