/* pools.c - what the events of hosts mean for their pool: take over, drain, back off, sleep.
 *
 * Runs in the master. It decides; children.c does. Nothing a pool sends can do more than end that
 * pool's own process.
 */
#include "master/pools_private.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apr_strings.h"
#include "base/log.h"
#include "base/shortage.h"
#include "master/hosts.h"
#include "master/listen.h"
#include "master/logs.h"

#define SECOND          1000000
#define HEALTHY_AFTER   (60 * (int64_t)SECOND) /* back-off starts anew after this */
#define BACKOFF_LONGEST (30 * (int64_t)SECOND)
#define ANSWER_FROM     (1 * (int64_t)SECOND) /* a longer back-off is bridged by answer mode */

static void give_reason(fpd_pool_record *record, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void give_reason(fpd_pool_record *record, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(record->reason, sizeof(record->reason), format, arguments);
    va_end(arguments);
}

/* The plan that this pool follows from now on; the caller's memory may go away. */
static int take_plan(fpd_pool_record *record, const fpd_plan_pool *plan)
{
    apr_pool_t *pool;
    fpd_plan_pool *copy;

    if (apr_pool_create(&pool, record->pool) != APR_SUCCESS) {
        return 0;
    }
    copy = fpd_plan_pool_copy(plan, pool);
    if (copy == NULL) {
        apr_pool_destroy(pool);
        return 0;
    }
    if (record->plan_pool != NULL) {
        apr_pool_destroy(record->plan_pool);
    }
    record->plan_pool = pool;
    record->plan = copy;
    record->address = copy->listen;
    return 1;
}

static void settle(fpd_pool_record *record)
{
    record->is_settled = 1;
    if (record->next == NULL || record->next->is_answering) {
        fpd_pools_end_change(record, record->reason);
    }
    record->pools->on_change(record->pools->context);
}

/* ---- starts ------------------------------------------------------------------------------- */

static void wake(void *context, uint32_t events)
{
    fpd_pool_record *record = context;

    (void)events;
    fpd_loop_remove(record->pools->loop, record->sleep_id);
    record->sleep_id = 0;
    fpd_pools_status_rouse(record);
    fpd_log(FPD_LOG_DEBUG, "[pool %s] a connection waits, starting the pool again", record->name);
    fpd_pools_start_host(record);
}

void fpd_pools_fall_asleep(fpd_pool_record *record)
{
    apr_status_t status = APR_SUCCESS;

    if (record->sleep_id == 0) {
        status = fpd_loop_add(record->pools->loop, record->listener, EPOLLIN, wake, record,
                              &record->sleep_id);
    }
    if (status != APR_SUCCESS) {
        fpd_log_errno(FPD_LOG_ERROR, status, "[pool %s] cannot watch the listening socket",
                      record->name);
        fpd_pools_start_host(record);
        return;
    }
    fpd_pools_status_sleep(record, wake);
}

void fpd_pools_take_message(fpd_child *child, const fpd_message *message)
{
    fpd_pool_record *record = child->owner;

    switch (message->type) {
    case FPD_MESSAGE_READY:
        if (child != record->next || child->state != FPD_CHILD_STARTING) {
            return;
        }
        child->state = FPD_CHILD_READY;
        record->next = NULL;
        fpd_pools_retire(record, record->current, child);
        record->current = child;
        record->has_crashed = 0;
        if (!child->is_answering) {
            record->reason[0] = '\0';
        }
        settle(record);
        break;
    case FPD_MESSAGE_FAILED:
        give_reason(record, "%.*s", (int)message->length, (const char *)message->body);
        if (fpd_logs_has_room(&child->source)) {
            fpd_log(FPD_LOG_ERROR, "[pool %s] cannot start: %s", record->name, record->reason);
        }
        break;
    case FPD_MESSAGE_IDLE:
        if (child == record->current && child->state == FPD_CHILD_READY && record->next == NULL &&
            !record->pools->is_finishing) {
            fpd_children_leave(child);
            fpd_pools_watch_limits(record->pools);
        }
        break;
    case FPD_MESSAGE_WANT:
        fpd_pools_take_want(child, message);
        break;
    case FPD_MESSAGE_GIVE_BACK:
        fpd_pools_take_permits_back(child, message);
        break;
    case FPD_MESSAGE_CRASHED:
        record->has_crashed = record->has_crashed || child == record->current;
        record->pools->on_crash(record->pools->context);
        break;
    default:
        if (fpd_logs_has_room(&child->source)) {
            fpd_log(FPD_LOG_WARNING, "[pool %s] unknown message %u from pool process %d",
                    record->name, message->type, (int)child->pid);
        }
    }
}

static int start_child(fpd_pool_record *record, const char *version, const char *reason)
{
    fpd_pools *pools = record->pools;
    fpd_child_sockets sockets = {record->listener, record->status_listener};
    const char *step = "find the interpreter host";
    char shortage[FPD_SHORTAGE_MAX];
    char program[PATH_MAX];
    apr_status_t status = APR_ENOENT;

    if (fpd_hosts_find(program, sizeof(program), pools->host_directories, version)) {
        status =
            fpd_children_start(&record->next, program, record->plan, reason, sockets, pools->loop,
                               fpd_pools_take_message, record, &step, pools->pool);
    }
    if (status != APR_SUCCESS) {
        record->next = NULL;
        give_reason(record, "%s: %s", step, fpd_shortage_describe(shortage, status));
        fpd_log(FPD_LOG_ERROR, "[pool %s] cannot start the pool process: %s", record->name,
                record->reason);
        return 0;
    }
    record->child_count++;
    apr_hash_set(pools->children, &record->next->pid, sizeof(pid_t), record->next);
    fpd_pools_permit_child(record->next);
    fpd_log(FPD_LOG_DEBUG, "[pool %s] pool process %d started", record->name,
            (int)record->next->pid);
    return 1;
}

/* Somebody must answer while the pool itself cannot; any PHP version's host can do that. */
static void start_answering(fpd_pool_record *record)
{
    int is_wanted =
        record->current == NULL || (record->is_drained && !record->current->is_answering);

    if (is_wanted && record->next == NULL && record->listener >= 0) {
        (void)start_child(record, NULL, record->reason);
    }
}

static void try_again(void *context)
{
    fpd_pools_start_host(context);
}

/* The last start did not last: at once the first time, then later each time. */
static void back_off(fpd_pool_record *record)
{
    int64_t delay = record->backoff;

    record->backoff = delay == 0 ? SECOND / 10 : delay * 2;
    if (record->backoff > BACKOFF_LONGEST) {
        record->backoff = BACKOFF_LONGEST;
    }
    fpd_loop_timer_set(record->retry, fpd_monotonic_now() + delay);
    if (delay > ANSWER_FROM) {
        start_answering(record);
    }
    if (record->reason[0] != '\0') {
        settle(record);
    }
}

static int bind_listener(fpd_pool_record *record)
{
    if (record->listener < 0 && fpd_listeners_open(record->pools->listeners, &record->listener,
                                                   record->plan, record->pool) != APR_SUCCESS) {
        record->listener = -1;
        give_reason(record, "the address '%s' cannot be bound", record->plan->listen);
    }
    fpd_pools_status_open(record);
    return record->listener >= 0;
}

/* A configuration that names a missing user or interpreter cannot be cured by waiting, nor can what
 * an operator did: answer until the next reload. */
static int is_hopeless(fpd_pool_record *record)
{
    const fpd_plan_pool *plan = record->plan;
    const char *version = plan->php != NULL ? plan->php : fpd_hosts_default_version();
    char path[PATH_MAX];

    if (record->is_drained) {
        give_reason(record, "drained by the operator");
        return 1;
    }
    if (plan->failure != NULL) {
        give_reason(record, "%s", plan->failure);
        return 1;
    }
    if (!fpd_hosts_find(path, sizeof(path), record->pools->host_directories, version)) {
        give_reason(record,
                    "no interpreter host for php = %s (fpmpool-php%s) was found: install it or "
                    "change 'php'",
                    version, version);
        fpd_log(FPD_LOG_ERROR, "[pool %s] %s", record->name, record->reason);
        return 1;
    }
    return 0;
}

void fpd_pools_start_host(fpd_pool_record *record)
{
    if (record->pools->is_finishing) {
        return;
    }
    if (record->next != NULL) {
        if (!record->next->is_answering) {
            return;
        }
        fpd_pools_stop_child(record->next);
        record->next = NULL;
    }
    if (!bind_listener(record)) {
        back_off(record);
        return;
    }
    if (is_hopeless(record)) {
        start_answering(record);
        settle(record);
        return;
    }
    if (!start_child(record, record->plan->php, NULL)) {
        back_off(record);
    }
}

/* ---- what reload asks --------------------------------------------------------------------- */

fpd_pool_record *fpd_pools_make_record(fpd_pools *pools, const fpd_plan_pool *plan)
{
    apr_pool_t *pool;
    fpd_pool_record *record;

    if (apr_pool_create(&pool, pools->pool) != APR_SUCCESS) {
        return NULL;
    }
    record = apr_pcalloc(pool, sizeof(*record));
    record->pool = pool;
    record->pools = pools;
    record->name = apr_pstrdup(pool, plan->name);
    record->listener = record->status_listener = -1;
    if (!take_plan(record, plan)) {
        apr_pool_destroy(pool);
        return NULL;
    }
    record->retry = fpd_loop_timer_create(pools->loop, try_again, record);
    return record;
}

int fpd_pools_start(fpd_pools *pools, const fpd_plan_pool *plan)
{
    fpd_pool_record *record = fpd_pools_make_record(pools, plan);

    if (record == NULL) {
        return 0;
    }
    apr_hash_set(pools->records, record->name, APR_HASH_KEY_STRING, record);
    fpd_pools_begin_change(record);
    fpd_pools_start_host(record);
    return record->listener >= 0;
}

static void give_main_listener_up(fpd_pool_record *record)
{
    fpd_loop_remove(record->pools->loop, record->sleep_id);
    record->sleep_id = 0;
    if (record->listener >= 0) {
        fpd_listeners_spare(record->pools->listeners, record->address, record->listener);
        record->listener = -1;
    }
}

void fpd_pools_give_listener_up(fpd_pool_record *record)
{
    give_main_listener_up(record);
    fpd_pools_status_give_up(record);
}

static int is_same_text(const char *left, const char *right)
{
    return left == right || (left != NULL && right != NULL && strcmp(left, right) == 0);
}

void fpd_pools_release(fpd_pools *pools, const fpd_plan_pool *plan)
{
    fpd_pool_record *record = apr_hash_get(pools->records, plan->name, APR_HASH_KEY_STRING);

    if (!is_same_text(record->address, plan->listen)) {
        record->was_asleep = record->sleep_id != 0;
        give_main_listener_up(record);
    }
    if (!is_same_text(record->plan->status_listen, plan->status_listen)) {
        fpd_pools_status_give_up(record);
    }
}

void fpd_pools_close_spares(fpd_pools *pools)
{
    fpd_listeners_close_spares(pools->listeners);
}

/* The old plan goes on, with what was given up for the new one. */
static void stay(fpd_pool_record *record, int gave_listener_up)
{
    if (bind_listener(record) &&
        ((gave_listener_up && record->was_asleep) || record->sleep_id != 0)) {
        fpd_pools_fall_asleep(record);
    }
}

/* 1: the pool has the listener of the new plan. Else it has its old one back, where possible. */
static int change_listener(fpd_pool_record *record, const fpd_plan_pool *plan)
{
    fpd_listeners *listeners = record->pools->listeners;

    if (fpd_listeners_open(listeners, &record->listener, plan, record->pool) == APR_SUCCESS) {
        return 1;
    }
    record->listener = -1;
    fpd_log(FPD_LOG_ERROR, "[pool %s] the new address cannot be bound, '%s' serves on",
            record->name, record->address);
    stay(record, 1);
    return 0;
}

/* Does the pool serve, or is it ready to when a connection comes? */
static int is_serving(const fpd_pool_record *record)
{
    return record->sleep_id != 0 || (record->current != NULL && !record->current->is_answering);
}

void fpd_pools_replace(fpd_pools *pools, const fpd_plan_pool *plan, int has_new_listener)
{
    fpd_pool_record *record = apr_hash_get(pools->records, plan->name, APR_HASH_KEY_STRING);

    fpd_pools_begin_change(record);
    if (plan->failure != NULL && (is_serving(record) || (has_new_listener && record->was_asleep))) {
        fpd_log(FPD_LOG_ERROR, "[pool %s] %s: the pool serves on as it is", record->name,
                plan->failure);
        fpd_pools_end_change(record, plan->failure);
        stay(record, has_new_listener);
        return;
    }
    if ((has_new_listener && !change_listener(record, plan)) || !take_plan(record, plan)) {
        fpd_pools_end_change(record, "the new address cannot be bound, see the log");
        return;
    }
    record->is_drained = 0;
    record->backoff = 0;
    record->is_settled = 0;
    fpd_loop_timer_cancel(record->retry);
    if (!has_new_listener && record->listener >= 0) {
        fpd_listeners_adjust(pools->listeners, record->listener, record->plan);
    }
    fpd_pools_status_adjust(record);
    fpd_pools_status_open(record);
    fpd_pools_drop_next(record);
    fpd_pools_begin_change(record); /* again: what was dropped may have said READY */
    if (has_new_listener && record->was_asleep) {
        fpd_pools_fall_asleep(record);
    }
    if (record->sleep_id != 0) { /* the next connection starts the new plan */
        fpd_pools_status_sleep(record, wake);
        settle(record);
        return;
    }
    fpd_pools_start_host(record);
}

void fpd_pools_keep(fpd_pools *pools, const fpd_plan_pool *plan)
{
    (void)take_plan(apr_hash_get(pools->records, plan->name, APR_HASH_KEY_STRING), plan);
}

static void free_if_gone(fpd_pool_record *record)
{
    if (record->is_removed && record->child_count == 0) {
        apr_pool_destroy(record->pool);
    }
}

void fpd_pools_stop(fpd_pools *pools, const char *name)
{
    fpd_pool_record *record = apr_hash_get(pools->records, name, APR_HASH_KEY_STRING);

    apr_hash_set(pools->records, name, APR_HASH_KEY_STRING, NULL);
    fpd_loop_timer_cancel(record->retry);
    fpd_pools_end_change(record, "");
    fpd_pools_give_listener_up(record);
    fpd_pools_drop_next(record);
    fpd_pools_retire(record, record->current, NULL);
    record->current = NULL;
    record->is_removed = 1;
    free_if_gone(record);
}

/* ---- reaping ------------------------------------------------------------------------------ */

static void take_end(fpd_pool_record *record, fpd_child *child)
{
    int was_current = record->current == child;
    int was_next = record->next == child;
    int was_leaving = child->state == FPD_CHILD_LEAVING;
    int64_t age = fpd_monotonic_now() - child->started_at;

    if (was_current) {
        record->current = NULL;
    }
    if (was_next) {
        record->next = NULL;
    }
    if ((!was_current && !was_next) || record->pools->is_finishing) {
        return; /* a drained generation */
    }
    if (was_leaving) {
        if (record->next == NULL) { /* else a reload came meanwhile, and that one will serve */
            fpd_pools_fall_asleep(record);
        }
        return;
    }
    if (child->is_answering && fpd_loop_timer_is_set(record->retry)) {
        return;
    }
    if (age > HEALTHY_AFTER) {
        record->backoff = 0;
    }
    if (was_next && record->current != NULL && !record->current->is_answering) {
        fpd_log(FPD_LOG_ERROR, "[pool %s] the new generation did not start, the old one serves on",
                record->name);
    }
    if (record->reason[0] == '\0') {
        give_reason(record, "the pool process ended unexpectedly");
    }
    back_off(record);
}

int fpd_pools_reap(fpd_pools *pools, pid_t pid, int wait_status)
{
    fpd_child *child = apr_hash_get(pools->children, &pid, sizeof(pid));
    fpd_pool_record *record;

    if (child == NULL) {
        return 0;
    }
    record = child->owner;
    pools->may_have_orphans |= !WIFEXITED(wait_status) || WEXITSTATUS(wait_status) != 0;
    apr_hash_set(pools->children, &child->pid, sizeof(pid_t), NULL);
    /* what it said last explains its end: read before the line about it */
    (void)fpd_logs_take_datagrams(&child->source, child->log_fd);
    (void)fpd_logs_take_output(&child->source, child->output_fd);
    fpd_children_say_end(child, wait_status);
    fpd_pools_forget_permits(child);
    take_end(record, child);
    fpd_pools_keep_counts(pools, child);
    fpd_children_destroy(child);
    record->child_count--;
    free_if_gone(record);
    pools->on_change(pools->context);
    return 1;
}
