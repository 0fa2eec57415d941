/* fpmp_verdict.c - what an attempt says about its server.
 *
 * Runs in an httpd child after each attempt. Translates what happened into what fpmp_health knows,
 * and logs changes. Must not decide about the request.
 */
#include "fpmp_verdict.h"

#include "fpmp_balance.h"
#include "fpmp_clock.h"
#include "fpmp_failure.h"

#include <http_log.h>
#include <errno.h>

APLOG_USE_MODULE(fpmpool);

static fpmp_record *record_of(const fpmp_task *task)
{
    return fpmp_balance_record(task->global, task->server);
}

static void report(fpmp_task *task, fpmp_health_event event, const char *reason)
{
    fpmp_health_change change =
        fpmp_health_report(&record_of(task)->health, event, &task->pool->health,
                           fpmp_health_time(task->began), fpmp_health_time(fpmp_clock_now()));
    if (change == FPMP_HEALTH_WENT_DOWN) {
        fpmp_failure_log_down(task->r->server, task->pool, task->server, reason);
    }
    int had_failed = event == FPMP_HEALTH_ANSWERED && fpmp_share_calm(&record_of(task)->failure);
    if (change == FPMP_HEALTH_CAME_UP || had_failed) {
        ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, task->r, "FPMP0057: pool %s (%s) answers again",
                      task->pool->name, task->server->address.label);
    }
}

/* A script that crashes closes its connection too: the same one counts once, however often it
 * does. */
static int is_another_loss(const fpmp_task *task)
{
    const char *script = task->r->filename ? task->r->filename : "";
    uint32_t hash = (uint32_t)fpmp_share_key("", script) | 1;
    return atomic_exchange(&record_of(task)->lost_script, hash) != hash;
}

void fpmp_verdict_on_attempt(fpmp_task *task, fpmp_relay_result result)
{
    switch (result) {
    case FPMP_RELAY_NOT_TAKEN:
        report(task, FPMP_HEALTH_FAILED, "it closes connections before it takes the request");
        break;
    case FPMP_RELAY_LOST:
        if (is_another_loss(task)) {
            report(task, FPMP_HEALTH_FAILED, "it closes connections without an answer");
        }
        break;
    case FPMP_RELAY_PROTOCOL:
        report(task, FPMP_HEALTH_FAILED, "what it sends is not FastCGI");
        break;
    case FPMP_RELAY_CANT_MPX:
    case FPMP_RELAY_UNKNOWN_ROLE:
        report(task, FPMP_HEALTH_FAILED, "it refuses the request by FastCGI");
        break;
    case FPMP_RELAY_TIMEOUT:
    case FPMP_RELAY_TOO_LONG:
        report(task, FPMP_HEALTH_LATE, NULL);
        break;
    case FPMP_RELAY_OVERLOADED:
        break; /* busy is neither dead nor well */
    case FPMP_RELAY_CLIENT_GONE:
    case FPMP_RELAY_CLIENT_BODY:
        if (!task->relay.first_byte) {
            break;
        }
        report(task, FPMP_HEALTH_ANSWERED, NULL);
        break;
    default:
        fpmp_share_note_answer(record_of(task), fpmp_clock_now());
        report(task, FPMP_HEALTH_ANSWERED, NULL);
        break;
    }
}

/* What is wrong here is no fault of the server's. */
static int is_own_lack(apr_status_t error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

void fpmp_verdict_no_connection(fpmp_task *task, apr_status_t error)
{
    int is_local = task->server->address.path != NULL;
    int is_gone = is_local && (error == ENOENT || error == ECONNREFUSED);
    int is_full = is_local && APR_STATUS_IS_TIMEUP(error);
    if (!is_full && !is_own_lack(error)) { /* busy is not dead */
        report(task, is_gone ? FPMP_HEALTH_GONE : FPMP_HEALTH_FAILED, "no connection to it");
    }
}
