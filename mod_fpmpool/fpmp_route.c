/* fpmp_route.c - which pool, and which of its servers, a request goes to next.
 *
 * Runs in an httpd child for each request. Counts it as under way in its pool and server, and in
 * their figures when it ends. Must not open connections, nor send anything to anybody.
 */
#include "fpmp_route.h"

#include "fpmp_balance.h"
#include "fpmp_choice.h"
#include "fpmp_failure.h"
#include "fpmp_notes.h"

#include <httpd.h>

/* ---- figures --------------------------------------------------------------------------------- */

/* The server at which the request's end counts: each one's attempts are its own. */
void fpmp_route_count(fpmp_task *task, uint64_t bytes, apr_time_t began, apr_time_t end)
{
    if (task->in_count) {
        fpmp_balance_end(task->global, task->pools, task->pool_count, task->in_count, task->state,
                         bytes, began, end);
        task->in_count = NULL;
    }
}

static void move_to_pool(fpmp_task *task, fpmp_pool_record *to)
{
    if (task->in_pool) {
        fpmp_share_count(task->in_pool->in_flight, task->global->row, -1);
    }
    if (to) {
        fpmp_share_count(to->in_flight, task->global->row, 1);
    }
    task->in_pool = to;
}

static void release_pools(fpmp_task *task)
{
    for (int i = 0; i < task->pool_count; i++) {
        fpmp_choice_release(task->global, task->pools[i]);
    }
}

void fpmp_route_close(fpmp_task *task)
{
    fpmp_route_count(task, (uint64_t)task->r->bytes_sent,
                     task->servers_asked > 1 ? task->began : task->course.start, task->course.end);
    move_to_pool(task, NULL);
    fpmp_admit_leave(&task->admission);
    release_pools(task);
}

/* ---- pools ----------------------------------------------------------------------------------- */

static void enter_pool(fpmp_task *task, int at)
{
    task->pool_at = at;
    task->pool = task->pools[at];
    move_to_pool(task, fpmp_balance_pool_record(task->global, task->pool));
    task->tried = 0;
    task->was_overload = 0;
    task->was_lost = 0;
    task->timeouts = fpmp_select_timeouts(&task->conf->section_timeouts, task->pool,
                                          &task->conf->server_timeouts);
    task->retry =
        fpmp_select_retry(&task->conf->section_retry, task->pool, &task->conf->server_retry);
    fpmp_balance_wish(task->r, task->pool, &task->wish);
    task->wish.takes_down = task->asks_down && !task->pool->refuses_down;
    fpmp_admit_turn_to(&task->admission, task->r, task->conf, task->global, task->pool,
                       task->timeouts.total);
}

/* What it means for a request that one of its pools is not to be had. OK: the others may serve. */
static int judge_choice(fpmp_task *task, fpmp_choice_result result, int is_fallback)
{
    int is_busy = result == FPMP_CHOICE_BUSY;
    if (result == FPMP_CHOICE_NONE) {
        return is_fallback ? OK : HTTP_FORBIDDEN;
    }
    if (result == FPMP_CHOICE_WRONG) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    task->state = is_busy ? "full" : "down";
    return task->conf->fails_over & (is_busy ? FPMP_FAILOVER_OVERLOAD : FPMP_FAILOVER_DOWN)
               ? OK
               : HTTP_SERVICE_UNAVAILABLE;
}

static int find_pools(fpmp_task *task)
{
    const apr_array_header_t *choices = fpmp_conf_choices(task->conf);
    int status = OK;
    for (int i = 0; status == OK && i < choices->nelts; i++) {
        const fpmp_choice *choice = &APR_ARRAY_IDX(choices, i, fpmp_choice);
        fpmp_choice_result result =
            fpmp_choice_find(task->r, task->global, choice, &task->pools[task->pool_count]);
        if (result == FPMP_CHOICE_POOL) {
            task->pool_count++;
        } else if (i == 0 || !task->pool_count || result == FPMP_CHOICE_WRONG) {
            status = judge_choice(task, result, i > 0);
        }
    }
    return status == OK && !task->pool_count ? HTTP_SERVICE_UNAVAILABLE : status;
}

int fpmp_route_open(fpmp_task *task)
{
    int status = find_pools(task);
    if (status == OK) {
        enter_pool(task, 0);
        fpmp_notes_begin(task->r, &task->course, task->pool, &task->pool->servers[0]);
        task->in_count = &task->pool->servers[0]; /* if there is never one */
    } else {
        release_pools(task);
    }
    return status;
}

/* Nobody is left in this pool, or it lets nobody in (why: what fpmp_admit_take said). Returns 1 if
 * there is somebody to look at elsewhere. */
static int leave_pool(fpmp_task *task, int why)
{
    int is_refused = why == FPMP_ADMIT_REFUSED;
    int is_busy = is_refused || why == FPMP_SELECT_FULL;
    int when = is_busy || task->was_overload ? FPMP_FAILOVER_OVERLOAD : FPMP_FAILOVER_DOWN;
    if (is_refused && task->admission.answer == FPMP_LIMIT_PER_ADDRESS) {
        return 0; /* the pool is well: a fallback would only get what is too much */
    }
    if (task->pool_at + 1 < task->pool_count && (task->conf->fails_over & when)) {
        enter_pool(task, task->pool_at + 1);
        return 1;
    }
    if (task->was_lost && !task->came_back && !is_refused) {
        task->came_back = 1;
        task->tried = 0;
        return 1;
    }
    /* All are down and nobody was asked: rather one that is down than nobody. */
    if (!task->has_failed && !task->asks_down && !is_busy) {
        task->asks_down = 1;
        enter_pool(task, 0);
        return 1;
    }
    return 0;
}

static int refuse_all(fpmp_task *task, int why)
{
    fpmp_pool_record *record = fpmp_balance_pool_record(task->global, task->pool);
    const fpmp_admission *admission = &task->admission;
    if (task->has_failed) {
        return task->status;
    }
    task->status = HTTP_SERVICE_UNAVAILABLE;
    task->state = why == FPMP_SELECT_FULL ? "full" : "down";
    if (why == FPMP_SELECT_FULL) {
        fpmp_failure_log_limit(task->r, task->pool, &record->limit);
    } else if (why == FPMP_ADMIT_REFUSED) {
        task->status = admission->limit.status;
        task->is_refused = 1;
        task->state = fpmp_limit_state(admission->answer);
        fpmp_failure_log_refusal(task->r, task->pool, &admission->limit, admission->answer,
                                 &record->refused[admission->answer]);
    }
    return task->status;
}

/* The cookie of FpmPoolBalance sticky goes out with the answer of the server that it names. */
static void tie(fpmp_task *task, int index)
{
    request_rec *r = task->r;
    if (task->headers) {
        r->err_headers_out = apr_table_copy(r->pool, task->headers);
    } else if (task->pool->balance == FPMP_BALANCE_STICKY) {
        task->headers = apr_table_copy(r->pool, r->err_headers_out);
    }
    fpmp_balance_tie(r, task->pool, &task->wish, index);
}

int fpmp_route_pick(fpmp_task *task)
{
    for (;;) {
        task->wish.avoids_trials = task->has_failed || task->is_looking;
        int index = fpmp_admit_take(&task->admission, task->r, task->global, &task->wish,
                                    task->tried, &task->began);
        if (task->admission.is_limited) {
            task->course.waiting = task->admission.waited;
        }
        if (index >= 0) {
            task->server = &task->pool->servers[index];
            task->tried |= UINT64_C(1) << index;
            task->first_try = task->first_try ? task->first_try : task->began;
            tie(task, index);
            fpmp_notes_begin(task->r, &task->course, task->pool, task->server);
            task->in_count = task->server;
            return OK;
        }
        if (index == FPMP_ADMIT_GONE) {
            return FPMP_TASK_GONE;
        }
        if (!leave_pool(task, index)) {
            return refuse_all(task, index);
        }
    }
}

void fpmp_route_restart(fpmp_task *task)
{
    task->has_failed = 0;
    task->first_try = 0;
    task->asks_down = 0;
    enter_pool(task, 0);
}
