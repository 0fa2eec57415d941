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
#include <apr_strings.h>
#include <errno.h>
#include <string.h>

APLOG_USE_MODULE(fpmpool);

static fpmp_record *record_of(const fpmp_task *task)
{
    return fpmp_balance_record(task->global, task->server);
}

static void log_change(fpmp_task *task, fpmp_health_change change, const char *reason)
{
    if (change == FPMP_HEALTH_WENT_DOWN || change == FPMP_HEALTH_CAME_UP) {
        atomic_store(&record_of(task)->changed, fpmp_health_time(fpmp_clock_now()));
    }
    if (change == FPMP_HEALTH_WENT_DOWN) {
        atomic_store(&record_of(task)->window, 0); /* of the time before */
        fpmp_failure_log_down(task->r->server, task->pool, task->server, reason);
    } else if (change == FPMP_HEALTH_CAME_UP) {
        fpmp_share_note_rise(record_of(task), fpmp_clock_now());
    }
}

/* Too many failures of a window take it out even if answers stand between them. weight: 0 for an
 * answer. What a server does that is down has its own rules. */
static void count(fpmp_task *task, unsigned weight)
{
    uint64_t now = fpmp_health_time(fpmp_clock_now());
    const fpmp_health_rules *rules = &task->pool->health;
    int is_up = fpmp_health_state_of(atomic_load(&record_of(task)->health)) == FPMP_HEALTH_UP;
    if (is_up && fpmp_health_note(&record_of(task)->window, weight, rules, now)) {
        fpmp_health_change change = fpmp_health_report(&record_of(task)->health, FPMP_HEALTH_OFTEN,
                                                       rules, fpmp_health_time(task->began), now);
        log_change(
            task, change,
            apr_psprintf(task->r->pool, "more than %u %% of its requests fail", rules->rate));
    }
}

static void report(fpmp_task *task, fpmp_health_event event, const char *reason)
{
    fpmp_health_change change =
        fpmp_health_report(&record_of(task)->health, event, &task->pool->health,
                           fpmp_health_time(task->began), fpmp_health_time(fpmp_clock_now()));
    log_change(task, change, reason);
    if (reason) {
        fpmp_trouble_note(&record_of(task)->trouble, reason, fpmp_health_time(fpmp_clock_now()));
    }
    int had_failed = event == FPMP_HEALTH_ANSWERED && fpmp_share_calm(&record_of(task)->failure);
    if (change == FPMP_HEALTH_CAME_UP || had_failed) {
        ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, task->r, "FPMP0057: pool %s (%s) answers again",
                      task->pool->name, task->server->address.label);
    }
}

static void report_failure(fpmp_task *task, fpmp_health_event event, const char *reason)
{
    report(task, event, reason);
    /* Where nobody listens the next daemon may be there in a moment: not for a share of failures.
     */
    if (event != FPMP_HEALTH_GONE) {
        count(task, 1);
    }
}

static void report_answer(fpmp_task *task)
{
    report(task, FPMP_HEALTH_ANSWERED, NULL);
    count(task, 0);
}

/* Is it another script, or page, than the last one of which this was said? */
static int is_another(const fpmp_task *task, const char *name)
{
    uint32_t hash = (uint32_t)fpmp_share_key("", name ? name : "") | 1;
    return atomic_exchange(&record_of(task)->lost_script, hash) != hash;
}

/* What the client asked for, before any rewriting. */
static const char *page_of(const request_rec *r)
{
    while (r->prev || r->main) {
        r = r->prev ? r->prev : r->main;
    }
    return r->unparsed_uri;
}

/* One that answered somebody else meanwhile, or has begun this answer, is busy, or has a slow
 * script. If it answered nobody, one and the same page counts once: it may be slow and the only one
 * that is asked for. Where nobody else could be asked nothing would be better for it. */
static void report_timeout(fpmp_task *task)
{
    uint64_t began = fpmp_health_time(task->began);
    int has_others = task->pool->server_count > 1 || task->pool_count > 1;
    int is_mute = has_others && !task->relay.first_byte &&
                  atomic_load(&record_of(task)->answered) < began &&
                  is_another(task, page_of(task->r));
    report(task, is_mute ? FPMP_HEALTH_MUTE : FPMP_HEALTH_LATE,
           "it answers nobody within the time limits");
    if (is_mute && !task->pool->health.check_count) {
        count(task, 2);
    }
}

/* The status of an answer may say that the server is not well (FpmPoolHealth status=). */
static void report_status(fpmp_task *task)
{
    const fpmp_response *response = &task->relay.response;
    int status = task->relay.bad_status   ? task->relay.bad_status
                 : response->status != OK ? response->status
                                          : task->r->status;
    if (fpmp_pool_is_bad_status(task->pool, status)) {
        report_failure(task, FPMP_HEALTH_FAILED,
                       apr_psprintf(task->r->pool, "it answers with status %d", status));
    } else {
        report_answer(task);
    }
}

void fpmp_verdict_on_attempt(fpmp_task *task, fpmp_relay_result result)
{
    switch (result) {
    case FPMP_RELAY_NOT_TAKEN:
        /* A local daemon that ends: the next one may be there in a moment. */
        report_failure(task, task->server->address.path ? FPMP_HEALTH_GONE : FPMP_HEALTH_FAILED,
                       "it closes connections before it takes the request");
        break;
    case FPMP_RELAY_LOST:
        /* A script that crashes closes its connection too: the same one counts once, however often
         * it does. */
        if (is_another(task, task->r->filename)) {
            report_failure(task, FPMP_HEALTH_FAILED, "it closes connections without an answer");
        }
        break;
    case FPMP_RELAY_PROTOCOL:
        report_failure(task, FPMP_HEALTH_FAILED, "what it sends is not FastCGI");
        break;
    case FPMP_RELAY_CANT_MPX:
    case FPMP_RELAY_UNKNOWN_ROLE:
        report_failure(task, FPMP_HEALTH_FAILED, "it refuses the request by FastCGI");
        break;
    case FPMP_RELAY_TIMEOUT:
    case FPMP_RELAY_TOO_LONG:
        report_timeout(task);
        break;
    case FPMP_RELAY_OVERLOADED:
        break; /* busy is neither dead nor well */
    case FPMP_RELAY_CLIENT_GONE:
    case FPMP_RELAY_CLIENT_BODY:
        if (task->relay.first_byte) {
            report_answer(task);
        }
        break;
    case FPMP_RELAY_DONE:
    case FPMP_RELAY_BAD_STATUS:
        fpmp_share_note_answer(record_of(task), fpmp_clock_now());
        report_status(task);
        break;
    default:
        fpmp_share_note_answer(record_of(task), fpmp_clock_now());
        report_answer(task);
        break;
    }
}

/* What is wrong here is no fault of the server's. */
static int is_own_lack(apr_status_t error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

/* A local socket is looked at again soon whatever is wrong with it: that costs no request, and
 * while its daemon starts it may not be listened at, or not be allowed to httpd's user, for a
 * moment. */
void fpmp_verdict_no_connection(fpmp_task *task, apr_status_t error)
{
    int is_local = task->server->address.path != NULL;
    int is_full = is_local && APR_STATUS_IS_TIMEUP(error);
    if (!is_full && !is_own_lack(error)) { /* busy is not dead */
        report_failure(task, is_local ? FPMP_HEALTH_GONE : FPMP_HEALTH_FAILED,
                       "no connection to it");
        char why[FPMP_TROUBLE_SIZE] = "no connection to it: ";
        size_t length = strlen(why);
        (void)apr_strerror(error, why + length, sizeof(why) - length);
        fpmp_trouble_note(&record_of(task)->trouble, why, fpmp_health_time(fpmp_clock_now()));
    }
}
