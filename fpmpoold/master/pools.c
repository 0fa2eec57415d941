/* pools.c - what the events of hosts mean for their pool: take over, drain, back off, sleep.
 *
 * Runs in the master. It decides; children.c does. Nothing a pool sends can do more than end that
 * pool's own process.
 */
#include "master/pools.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apr_strings.h"
#include "base/log.h"
#include "master/hosts.h"
#include "master/listen.h"
#include "master/logs.h"

#define SECOND          1000000
#define HEALTHY_AFTER   (60 * (int64_t)SECOND) /* back-off starts anew after this */
#define BACKOFF_LONGEST (30 * (int64_t)SECOND)
#define ANSWER_FROM     (1 * (int64_t)SECOND) /* a longer back-off is bridged by answer mode */
#define CHECK_EVERY     (SECOND / 4)

typedef struct pool_record {
    apr_pool_t *pool; /* owns the record and its texts */
    fpd_pools *pools;
    const char *name;
    const char *address;
    fpd_plan_pool *plan;
    int listener;       /* -1: not bound */
    fpd_child *current; /* serves */
    fpd_child *next;    /* takes over when READY */
    char reason[512];   /* why the last start failed; "": it did not */
    int64_t backoff;    /* before the next start, microseconds */
    fpd_loop_timer *retry;
    fpd_loop_id sleep_id; /* set: no process, the master polls the listener */
    unsigned child_count; /* processes alive */
    int is_removed;       /* stopped for good; freed with its last child */
    int is_settled;       /* was ready or failed once since its start */
} pool_record;

struct fpd_pools {
    apr_pool_t *pool;
    fpd_loop *loop;
    const char *const *host_directories;
    fpd_pools_change_fn *on_change;
    void *context;
    apr_hash_t *records;  /* name -> pool_record */
    apr_hash_t *children; /* pid -> fpd_child, every host alive */
    fpd_loop_timer *check;
    int is_finishing;
};

static void start_host(pool_record *record);

static void give_reason(pool_record *record, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void give_reason(pool_record *record, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(record->reason, sizeof(record->reason), format, arguments);
    va_end(arguments);
}

static void settle(pool_record *record)
{
    record->is_settled = 1;
    record->pools->on_change(record->pools->context);
}

/* ---- ends of children --------------------------------------------------------------------- */

static void check_limits(void *context)
{
    fpd_pools *pools = context;
    int64_t now = fpd_monotonic_now();
    int is_waiting = 0;

    for (apr_hash_index_t *i = apr_hash_first(NULL, pools->children); i != NULL;
         i = apr_hash_next(i)) {
        fpd_child *child = apr_hash_this_val(i);
        fpd_children_check(child, now);
        is_waiting |= child->stop_by != 0;
    }
    if (is_waiting) {
        fpd_loop_timer_set(pools->check, now + CHECK_EVERY);
    }
}

static void watch_limits(fpd_pools *pools)
{
    if (!fpd_loop_timer_is_set(pools->check)) {
        fpd_loop_timer_set(pools->check, fpd_monotonic_now() + CHECK_EVERY);
    }
}

static void stop_child(fpd_child *child)
{
    pool_record *record = child->owner;

    fpd_children_stop(child);
    watch_limits(record->pools);
}

static void drain_child(fpd_child *child, int patience)
{
    pool_record *record = child->owner;

    fpd_children_drain(child, patience);
    watch_limits(record->pools);
}

static void retire(pool_record *record, fpd_child *child)
{
    if (child != NULL) {
        drain_child(child, child->is_answering ? 1 : record->plan->process_control_timeout);
    }
}

/* ---- starts ------------------------------------------------------------------------------- */

static void wake(void *context, uint32_t events)
{
    pool_record *record = context;

    (void)events;
    fpd_loop_remove(record->pools->loop, record->sleep_id);
    record->sleep_id = 0;
    fpd_log(FPD_LOG_DEBUG, "[pool %s] a connection waits, starting the pool again", record->name);
    start_host(record);
}

static void fall_asleep(pool_record *record)
{
    apr_status_t status = fpd_loop_add(record->pools->loop, record->listener, EPOLLIN, wake, record,
                                       &record->sleep_id);

    if (status != APR_SUCCESS) {
        fpd_log_errno(FPD_LOG_ERROR, status, "[pool %s] cannot watch the listening socket",
                      record->name);
        start_host(record);
    }
}

static void on_message(fpd_child *child, const fpd_message *message)
{
    pool_record *record = child->owner;

    switch (message->type) {
    case FPD_MESSAGE_READY:
        if (child != record->next || child->state != FPD_CHILD_STARTING) {
            return;
        }
        child->state = FPD_CHILD_READY;
        record->next = NULL;
        retire(record, record->current);
        record->current = child;
        if (!child->is_answering) {
            record->reason[0] = '\0';
        }
        settle(record);
        break;
    case FPD_MESSAGE_FAILED:
        give_reason(record, "%.*s", (int)message->length, (const char *)message->body);
        fpd_log(FPD_LOG_ERROR, "[pool %s] cannot start: %s", record->name, record->reason);
        break;
    case FPD_MESSAGE_IDLE:
        if (child == record->current && child->state == FPD_CHILD_READY && record->next == NULL &&
            !record->pools->is_finishing) {
            child->state = FPD_CHILD_LEAVING;
            fpd_children_tell(child, FPD_MESSAGE_LEAVE);
        }
        break;
    default:
        fpd_log(FPD_LOG_WARNING, "[pool %s] unknown message %u from pool process %d", record->name,
                message->type, (int)child->pid);
    }
}

static int start_child(pool_record *record, const char *version, const char *reason)
{
    fpd_pools *pools = record->pools;
    const char *step = "find the interpreter host";
    char program[PATH_MAX];
    apr_status_t status = APR_ENOENT;

    if (fpd_hosts_find(program, sizeof(program), pools->host_directories, version)) {
        status = fpd_children_start(&record->next, program, record->plan, reason, record->listener,
                                    pools->loop, on_message, record, &step, pools->pool);
    }
    if (status != APR_SUCCESS) {
        record->next = NULL;
        fpd_log_errno(FPD_LOG_ERROR, status, "[pool %s] cannot start the pool process: %s",
                      record->name, step);
        return 0;
    }
    record->child_count++;
    apr_hash_set(pools->children, &record->next->pid, sizeof(pid_t), record->next);
    fpd_log(FPD_LOG_DEBUG, "[pool %s] pool process %d started", record->name,
            (int)record->next->pid);
    return 1;
}

/* Somebody must answer while the pool itself cannot; any PHP version's host can do that. */
static void start_answering(pool_record *record)
{
    if (record->current == NULL && record->next == NULL && record->listener >= 0) {
        (void)start_child(record, NULL, record->reason);
    }
}

static void try_again(void *context)
{
    start_host(context);
}

/* The last start did not last: at once the first time, then later each time. */
static void back_off(pool_record *record)
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

static int bind_listener(pool_record *record)
{
    if (record->listener >= 0) {
        return 1;
    }
    if (fpd_listen_open(&record->listener, record->plan, record->pool) == APR_SUCCESS) {
        return 1;
    }
    record->listener = -1;
    give_reason(record, "the address '%s' cannot be bound", record->plan->listen);
    return 0;
}

/* A configuration that names a missing user or interpreter cannot be cured by waiting: answer until
 * the next reload. */
static int is_hopeless(pool_record *record)
{
    const fpd_plan_pool *plan = record->plan;
    const char *version = plan->php != NULL ? plan->php : fpd_hosts_default_version();
    char path[PATH_MAX];

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

static void start_host(pool_record *record)
{
    if (record->pools->is_finishing) {
        return;
    }
    if (record->next != NULL) {
        if (!record->next->is_answering) {
            return;
        }
        stop_child(record->next);
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

int fpd_pools_start(fpd_pools *pools, fpd_plan_pool *plan)
{
    apr_pool_t *pool;
    pool_record *record;

    if (apr_pool_create(&pool, pools->pool) != APR_SUCCESS) {
        return 0;
    }
    record = apr_pcalloc(pool, sizeof(*record));
    record->pool = pool;
    record->pools = pools;
    record->name = apr_pstrdup(pool, plan->name);
    record->address = apr_pstrdup(pool, plan->listen);
    record->plan = plan;
    record->listener = -1;
    record->retry = fpd_loop_timer_create(pools->loop, try_again, record);
    apr_hash_set(pools->records, record->name, APR_HASH_KEY_STRING, record);
    start_host(record);
    return record->listener >= 0;
}

static void close_listener(pool_record *record)
{
    fpd_loop_remove(record->pools->loop, record->sleep_id);
    record->sleep_id = 0;
    if (record->listener >= 0) {
        close(record->listener);
        record->listener = -1;
        fpd_listen_unlink(record->address);
    }
}

void fpd_pools_replace(fpd_pools *pools, fpd_plan_pool *plan, int has_new_listener)
{
    pool_record *record = apr_hash_get(pools->records, plan->name, APR_HASH_KEY_STRING);

    record->plan = plan;
    record->backoff = 0;
    record->is_settled = 0;
    fpd_loop_timer_cancel(record->retry);
    if (has_new_listener) {
        int fd;
        if (fpd_listen_open(&fd, plan, record->pool) != APR_SUCCESS) {
            fpd_log(FPD_LOG_ERROR, "[pool %s] the new address cannot be bound, '%s' serves on",
                    record->name, record->address);
            settle(record);
            return;
        }
        close_listener(record); /* the old generation holds its own until it drains */
        record->listener = fd;
        record->address = apr_pstrdup(record->pool, plan->listen);
    } else if (record->listener >= 0) {
        (void)fpd_listen_adjust(record->listener, plan); /* logs what it could not do */
    }
    if (record->next != NULL) {
        stop_child(record->next);
        record->next = NULL;
    }
    if (record->sleep_id != 0) { /* asleep: the next connection starts the new plan */
        settle(record);
        return;
    }
    if (is_hopeless(record)) {
        retire(record, record->current);
        record->current = NULL;
    }
    start_host(record);
}

void fpd_pools_keep(fpd_pools *pools, fpd_plan_pool *plan)
{
    pool_record *record = apr_hash_get(pools->records, plan->name, APR_HASH_KEY_STRING);

    record->plan = plan;
}

static void free_if_gone(pool_record *record)
{
    if (record->is_removed && record->child_count == 0) {
        apr_pool_destroy(record->pool);
    }
}

void fpd_pools_stop(fpd_pools *pools, const char *name)
{
    pool_record *record = apr_hash_get(pools->records, name, APR_HASH_KEY_STRING);

    apr_hash_set(pools->records, name, APR_HASH_KEY_STRING, NULL);
    fpd_loop_timer_cancel(record->retry);
    close_listener(record);
    retire(record, record->current);
    if (record->next != NULL) {
        stop_child(record->next);
    }
    record->current = record->next = NULL;
    record->is_removed = 1;
    free_if_gone(record);
}

apr_array_header_t *fpd_pools_list(const fpd_pools *pools, apr_pool_t *scratch)
{
    apr_array_header_t *plans = apr_array_make(scratch, 8, sizeof(fpd_plan_pool *));

    for (apr_hash_index_t *i = apr_hash_first(scratch, pools->records); i != NULL;
         i = apr_hash_next(i)) {
        pool_record *record = apr_hash_this_val(i);
        APR_ARRAY_PUSH(plans, fpd_plan_pool *) = record->plan;
    }
    return plans;
}

/* ---- reaping ------------------------------------------------------------------------------ */

static void say_end(const fpd_child *child, const pool_record *record, int wait_status)
{
    double age = (double)(fpd_monotonic_now() - child->started_at) / SECOND;
    int is_expected = child->state >= FPD_CHILD_LEAVING;
    fpd_log_level level = is_expected ? FPD_LOG_DEBUG : FPD_LOG_WARNING;

    if (WIFSIGNALED(wait_status)) {
        fpd_log(level,
                "[pool %s] pool process %d exited on signal %d (%s) after %.6f seconds "
                "from start",
                record->name, (int)child->pid, WTERMSIG(wait_status),
                strsignal(WTERMSIG(wait_status)), age);
    } else {
        fpd_log(level,
                "[pool %s] pool process %d exited with code %d after %.6f seconds from start",
                record->name, (int)child->pid, WEXITSTATUS(wait_status), age);
    }
}

static void take_end(pool_record *record, fpd_child *child)
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
        fall_asleep(record);
        return;
    }
    if (child->is_answering && fpd_loop_timer_is_set(record->retry)) {
        return;
    }
    if (age > HEALTHY_AFTER) {
        record->backoff = 0;
    }
    if (was_next && record->current != NULL) {
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
    pool_record *record;

    if (child == NULL) {
        return 0;
    }
    record = child->owner;
    apr_hash_set(pools->children, &child->pid, sizeof(pid_t), NULL);
    /* what it said last explains its end: read before the line about it */
    (void)fpd_logs_take_datagrams(&child->source, child->log_fd);
    (void)fpd_logs_take_output(&child->source, child->output_fd);
    say_end(child, record, wait_status);
    take_end(record, child);
    fpd_children_destroy(child);
    record->child_count--;
    free_if_gone(record);
    pools->on_change(pools->context);
    return 1;
}

/* ---- all pools ---------------------------------------------------------------------------- */

fpd_pools *fpd_pools_create(fpd_loop *loop, const char *const *host_directories,
                            fpd_pools_change_fn *on_change, void *context, apr_pool_t *pool)
{
    fpd_pools *pools = apr_pcalloc(pool, sizeof(*pools));

    pools->pool = pool;
    pools->loop = loop;
    pools->host_directories = host_directories;
    pools->on_change = on_change;
    pools->context = context;
    pools->records = apr_hash_make(pool);
    pools->children = apr_hash_make(pool);
    pools->check = fpd_loop_timer_create(loop, check_limits, pools);
    return pools;
}

void fpd_pools_finish(fpd_pools *pools, int is_graceful, int patience)
{
    pools->is_finishing = 1;
    for (apr_hash_index_t *i = apr_hash_first(NULL, pools->records); i != NULL;
         i = apr_hash_next(i)) {
        pool_record *record = apr_hash_this_val(i);
        fpd_loop_timer_cancel(record->retry);
    }
    for (apr_hash_index_t *i = apr_hash_first(NULL, pools->children); i != NULL;
         i = apr_hash_next(i)) {
        fpd_child *child = apr_hash_this_val(i);
        if (child->state == FPD_CHILD_LEAVING) {
            continue;
        }
        if (!is_graceful || patience <= 0) {
            stop_child(child);
        } else if (child->is_answering || child->state == FPD_CHILD_STARTING) {
            stop_child(child); /* it runs no request */
        } else {
            drain_child(child, patience);
        }
    }
    watch_limits(pools);
}

void fpd_pools_unlink_all(fpd_pools *pools)
{
    for (apr_hash_index_t *i = apr_hash_first(NULL, pools->records); i != NULL;
         i = apr_hash_next(i)) {
        close_listener(apr_hash_this_val(i));
    }
}

static int reopen_logs(pool_record *record)
{
    fpd_logs_pair logs;
    int is_good = fpd_logs_open_pair(&logs, record->plan);

    if (record->current != NULL && (logs.access_log >= 0 || logs.slow_log >= 0)) {
        fpd_children_tell_logs(record->current, logs.access_log, logs.slow_log);
    }
    fpd_logs_close_pair(&logs);
    return is_good;
}

int fpd_pools_reopen_logs(fpd_pools *pools, int *has_failed)
{
    int count = 0;

    *has_failed = 0;
    for (apr_hash_index_t *i = apr_hash_first(NULL, pools->records); i != NULL;
         i = apr_hash_next(i)) {
        pool_record *record = apr_hash_this_val(i);
        if (record->plan->access_log != NULL) {
            count++;
        }
        if (!reopen_logs(record)) {
            *has_failed = 1;
        }
    }
    return count > 0;
}

fpd_pools_counts fpd_pools_count(const fpd_pools *pools)
{
    fpd_pools_counts counts = {.children = apr_hash_count(pools->children)};

    for (apr_hash_index_t *i = apr_hash_first(NULL, pools->records); i != NULL;
         i = apr_hash_next(i)) {
        const pool_record *record = apr_hash_this_val(i);
        counts.starting += !record->is_settled;
        counts.serving += record->reason[0] == '\0';
    }
    return counts;
}
