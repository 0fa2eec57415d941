/* commands.c - status, ready, reload, drain, restart, opcache-reset: from request to outcome.
 *
 * Runs in the master. A command never blocks: what takes a while is a job, which ends with the
 * events of its pools.
 */
#include "master/commands.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "apr_strings.h"
#include "base/loop.h"

#define SECOND        1000000
#define JOB_PATIENCE  120 /* seconds until the new generations must be ready */
#define DRAIN_RESERVE 30  /* seconds beyond what running requests may take */
#define ROW_MAX       2048

void fpd_commands_init(fpd_commands *commands, fpd_pools *pools, const char *config_file,
                       fpd_commands_reload_fn *reload, void *context)
{
    memset(commands, 0, sizeof(*commands));
    commands->pools = pools;
    commands->config_file = config_file;
    commands->reload = reload;
    commands->context = context;
    commands->started_at = fpd_monotonic_now();
    fpd_jobs_init(&commands->jobs, (uint64_t)commands->started_at);
}

/* ---- status ------------------------------------------------------------------------------- */

/* A line of tab-separated fields; control characters in a text do not break it. */
typedef struct row {
    char text[ROW_MAX];
    size_t length;
} row;

static void put_text(row *to, const char *text)
{
    if (to->length > 0 && to->length < sizeof(to->text) - 2) {
        to->text[to->length++] = '\t';
    }
    for (; *text != '\0' && to->length < sizeof(to->text) - 2; text++) {
        int is_control = (unsigned char)*text < ' ' || *text == 0x7f;
        to->text[to->length++] = is_control ? '?' : *text;
    }
}

static void put_number(row *to, uint64_t number)
{
    char digits[24];

    snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);
    put_text(to, digits);
}

static const char *end_row(row *from, const char *word, apr_pool_t *pool)
{
    return apr_psprintf(pool, "%s %.*s\n", word, (int)from->length, from->text);
}

static const char *describe_pool(const fpd_pool_report *report, apr_pool_t *pool)
{
    const fpd_board_view *board = &report->board;
    row line = {.length = 0};

    put_text(&line, report->name);
    put_text(&line, report->state);
    put_number(&line, (uint64_t)report->pid);
    put_number(&line, (uint64_t)(report->up / SECOND));
    put_number(&line, board->active);
    put_number(&line, board->idle);
    put_number(&line, report->max_children);
    put_number(&line, board->queue_length);
    put_number(&line, board->max_queue_length);
    put_number(&line, board->requests);
    put_number(&line, board->slow_requests);
    put_number(&line, board->refused);
    put_number(&line, board->connections);
    put_number(&line, report->generations);
    put_number(&line, report->draining);
    put_text(&line, report->address);
    put_text(&line, report->reason[0] != '\0' ? report->reason : report->failure);
    return end_row(&line, "pool", pool);
}

static const char *name_state(const fpd_commands *commands)
{
    fpd_pools_counts counts = fpd_pools_count(commands->pools);

    if (commands->is_ending) {
        return "ending";
    }
    if (fpd_jobs_has_reload(&commands->jobs)) {
        return "reloading";
    }
    return counts.starting > 0 ? "starting" : "serving";
}

static const char *describe_daemon(const fpd_commands *commands, int pools, int serving,
                                   apr_pool_t *pool)
{
    fpd_pools_sums sums = fpd_pools_sum(commands->pools);
    row line = {.length = 0};

    put_number(&line, (uint64_t)getpid());
    put_text(&line, FPD_VERSION);
    put_text(&line, name_state(commands));
    put_number(&line, (uint64_t)((fpd_monotonic_now() - commands->started_at) / SECOND));
    put_text(&line, commands->config_file);
    put_number(&line, sums.active);
    put_number(&line, sums.idle);
    put_number(&line, sums.requests);
    put_number(&line, sums.slow_requests);
    put_number(&line, (uint64_t)pools);
    put_number(&line, (uint64_t)serving);
    return end_row(&line, "daemon", pool);
}

static const char *refuse(apr_pool_t *pool, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static const char *refuse(apr_pool_t *pool, const char *format, ...)
{
    va_list arguments;
    char *text;

    va_start(arguments, format);
    text = apr_pvsprintf(pool, format, arguments);
    va_end(arguments);
    return apr_pstrcat(pool, "failed ", text, "\n", NULL);
}

static const char *say_status(const fpd_commands *commands, const char *name, apr_pool_t *pool)
{
    apr_array_header_t *names = fpd_pools_names(commands->pools, pool);
    apr_array_header_t *lines = apr_array_make(pool, names->nelts + 2, sizeof(const char *));
    int serving = 0;

    APR_ARRAY_PUSH(lines, const char *) = ""; /* the daemon's, when it is known */
    for (int i = 0; i < names->nelts; i++) {
        fpd_pool_report report;
        if (!fpd_pools_describe(commands->pools, APR_ARRAY_IDX(names, i, const char *), &report)) {
            continue;
        }
        serving += report.is_serving;
        if (name[0] == '\0' || strcmp(report.name, name) == 0) {
            APR_ARRAY_PUSH(lines, const char *) = describe_pool(&report, pool);
        }
    }
    if (name[0] != '\0' && lines->nelts == 1) {
        return refuse(pool, "no pool '%s': fpmpoold --ctl status lists them", name);
    }
    APR_ARRAY_IDX(lines, 0, const char *) = describe_daemon(commands, names->nelts, serving, pool);
    APR_ARRAY_PUSH(lines, const char *) = "done \n";
    return apr_array_pstrcat(pool, lines, '\0');
}

/* For who sends requests here or waits with it. A pool that changes its generation serves. */
static const char *say_ready(const fpd_commands *commands, const char *name, apr_pool_t *pool)
{
    apr_array_header_t *names = fpd_pools_names(commands->pools, pool);
    int asked = 0;

    if (commands->is_ending) {
        return refuse(pool, "the daemon is ending");
    }
    for (int i = 0; i < names->nelts; i++) {
        fpd_pool_report report;
        if (!fpd_pools_describe(commands->pools, APR_ARRAY_IDX(names, i, const char *), &report) ||
            (name[0] != '\0' && strcmp(report.name, name) != 0)) {
            continue;
        }
        if (!report.is_serving) {
            return refuse(pool, "pool '%s' is %s%s%s", report.name, report.state,
                          report.failure[0] != '\0' ? ": " : "", report.failure);
        }
        asked++;
    }
    if (asked == 0) {
        return refuse(pool, "no pool '%s': fpmpoold --ctl status lists them", name);
    }
    return "done \n";
}

/* ---- jobs --------------------------------------------------------------------------------- */

static void restart(fpd_commands *commands, const char *name, apr_pool_t *pool)
{
    apr_array_header_t *names;

    if (name[0] != '\0') {
        fpd_pools_restart(commands->pools, name);
        return;
    }
    names = fpd_pools_names(commands->pools, pool);
    for (int i = 0; i < names->nelts; i++) {
        fpd_pools_restart(commands->pools, APR_ARRAY_IDX(names, i, const char *));
    }
}

/* A pool that a reload is for may be new. */
static int is_known(const fpd_commands *commands, const fpd_control_request *request)
{
    fpd_pool_report report;

    return request->pool[0] == '\0' || request->verb == FPD_CONTROL_RELOAD ||
           fpd_pools_describe(commands->pools, request->pool, &report);
}

static const char *begin_job(fpd_commands *commands, const fpd_control_request *request,
                             uint64_t *number, int64_t *until, apr_pool_t *pool)
{
    int patience =
        request->verb == FPD_CONTROL_DRAIN ? commands->patience + DRAIN_RESERVE : JOB_PATIENCE;
    fpd_job *job;

    if (commands->is_ending) {
        return refuse(pool, "the daemon is ending");
    }
    if (!is_known(commands, request)) {
        return refuse(pool, "no pool '%s': fpmpoold --ctl status lists them", request->pool);
    }
    job = fpd_jobs_add(&commands->jobs, request->verb, request->pool,
                       fpd_monotonic_now() + (int64_t)patience * SECOND);
    if (job == NULL) {
        return refuse(pool, "%d commands are under way: try again when some have ended",
                      FPD_JOBS_KEPT);
    }
    *number = job->number;
    *until = job->give_up_at;
    switch (request->verb) {
    case FPD_CONTROL_RELOAD:
        commands->reload(commands->context);
        break;
    case FPD_CONTROL_DRAIN:
        fpd_pools_drain(commands->pools, request->pool);
        break;
    default: /* RESTART, OPCACHE_RESET: a new generation begins with an empty OPcache */
        restart(commands, request->pool, pool);
        break;
    }
    return apr_psprintf(pool, "job %" APR_UINT64_T_FMT " %d\n", *number, patience);
}

const char *fpd_commands_take(fpd_commands *commands, const fpd_control_request *request,
                              uint64_t *job, int64_t *until, apr_pool_t *pool)
{
    const fpd_job *asked;

    *job = 0;
    switch (request->verb) {
    case FPD_CONTROL_STATUS:
        return say_status(commands, request->pool, pool);
    case FPD_CONTROL_READY:
        return say_ready(commands, request->pool, pool);
    case FPD_CONTROL_OUTCOME:
        asked = fpd_jobs_find(&commands->jobs, request->job);
        if (asked == NULL) {
            return fpd_commands_outcome(commands, request->job, pool);
        }
        *job = asked->number;
        *until = asked->give_up_at;
        return "";
    default:
        return begin_job(commands, request, job, until, pool);
    }
}

static const char *note_lines(const fpd_job *job, apr_pool_t *pool)
{
    const char *lines = "";
    const char *from = job->note;
    const char *end;

    while ((end = strchr(from, '\n')) != NULL) {
        lines = apr_pstrcat(pool, lines, "text ",
                            apr_pstrmemdup(pool, from, (apr_size_t)(end + 1 - from)), NULL);
        from = end + 1;
    }
    return lines;
}

const char *fpd_commands_outcome(fpd_commands *commands, uint64_t number, apr_pool_t *pool)
{
    const fpd_job *job = fpd_jobs_find(&commands->jobs, number);

    if (job == NULL) {
        return refuse(pool,
                      "this daemon does not know the command any more: see fpmpoold --ctl status "
                      "and its log");
    }
    if (!fpd_job_has_ended(job)) {
        return NULL;
    }
    return apr_pstrcat(pool, note_lines(job, pool),
                       job->state == FPD_JOB_DONE ? "done " : "failed ", job->outcome, "\n", NULL);
}

/* ---- reloads ------------------------------------------------------------------------------ */

int fpd_commands_begin_test(fpd_commands *commands, int is_whole)
{
    const char *pool;

    if (!fpd_jobs_begin_test(&commands->jobs, is_whole, &pool)) {
        return 0;
    }
    (void)apr_cpystrn(commands->test_pool, pool, sizeof(commands->test_pool));
    return 1;
}

void fpd_commands_note(fpd_commands *commands, const char *format, ...)
{
    va_list arguments;
    char line[512];

    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    for (int i = 0; i < FPD_JOBS_KEPT; i++) {
        if (commands->jobs.jobs[i].state == FPD_JOB_TESTING) {
            fpd_job_note(&commands->jobs.jobs[i], "%s", line);
        }
    }
}

void fpd_commands_end_test(fpd_commands *commands, const char *failure)
{
    for (int i = 0; i < FPD_JOBS_KEPT; i++) {
        fpd_job *job = &commands->jobs.jobs[i];
        if (job->state != FPD_JOB_TESTING) {
            continue;
        }
        if (failure != NULL) {
            fpd_job_end(job, 0, "%s", failure);
        } else {
            job->state = FPD_JOB_RUNNING;
        }
    }
}

/* ---- over an exec ------------------------------------------------------------------------- */

void fpd_commands_save(const fpd_commands *commands, fpd_state *state)
{
    state->started_at = commands->started_at;
    state->last_job = (int64_t)commands->jobs.last_number;
    for (int i = 0; i < FPD_JOBS_KEPT; i++) {
        const fpd_job *job = &commands->jobs.jobs[i];
        fpd_state_job *saved;
        if (job->state == FPD_JOB_FREE) {
            continue;
        }
        saved = fpd_state_add_job(state);
        saved->number = (int64_t)job->number;
        saved->state = (int32_t)job->state;
        saved->verb = (int32_t)job->verb;
        saved->give_up_at = job->give_up_at;
        saved->pool = job->pool;
        saved->note = job->note;
        saved->outcome = job->outcome;
    }
}

static void resume_job(fpd_job *job, const fpd_state_job *saved)
{
    job->number = (uint64_t)saved->number;
    job->state = (fpd_job_state)saved->state;
    job->verb = (fpd_control_verb)saved->verb;
    job->give_up_at = saved->give_up_at;
    apr_cpystrn(job->pool, saved->pool != NULL ? saved->pool : "", sizeof(job->pool));
    apr_cpystrn(job->note, saved->note != NULL ? saved->note : "", sizeof(job->note));
    apr_cpystrn(job->outcome, saved->outcome != NULL ? saved->outcome : "", sizeof(job->outcome));
}

void fpd_commands_resume(fpd_commands *commands, const fpd_state *state)
{
    if (state->last_job == 0) { /* of a version that had no jobs */
        return;
    }
    commands->started_at = state->started_at;
    commands->jobs.last_number = (uint64_t)state->last_job;
    for (int i = 0; i < state->jobs->nelts && i < FPD_JOBS_KEPT; i++) {
        const fpd_state_job *saved = &APR_ARRAY_IDX(state->jobs, i, fpd_state_job);
        if (saved->state <= FPD_JOB_FAILED && saved->verb < FPD_CONTROL_OUTCOME) {
            resume_job(&commands->jobs.jobs[i], saved);
        }
    }
}

/* ---- outcomes ----------------------------------------------------------------------------- */

static void end_for_all(fpd_commands *commands, fpd_job *job)
{
    apr_pool_t *scratch;
    apr_array_header_t *names;
    int failed = 0;

    if (apr_pool_create(&scratch, NULL) != APR_SUCCESS) {
        return;
    }
    names = fpd_pools_names(commands->pools, scratch);
    for (int i = 0; i < names->nelts; i++) {
        fpd_pool_report report;
        if (fpd_pools_describe(commands->pools, APR_ARRAY_IDX(names, i, const char *), &report) &&
            report.failure[0] != '\0') {
            failed++;
            fpd_job_note(job, "pool '%s': %s%s", report.name, report.failure,
                         report.is_serving ? " (it serves on as it was)" : "");
        }
    }
    if (failed > 0) {
        fpd_job_end(job, 0, "%d of %d pools did not change; the log says more", failed,
                    names->nelts);
    } else {
        fpd_job_end(job, 1,
                    names->nelts == 1 ? "%d pool has a new generation"
                                      : "%d pools have new generations",
                    names->nelts);
    }
    apr_pool_destroy(scratch);
}

static void end_drain(fpd_job *job, const fpd_pool_report *report)
{
    if (!report->is_drained) {
        fpd_job_end(job, 0, "pool '%s' was replaced meanwhile", job->pool);
    } else if (strcmp(report->state, "drained") == 0) {
        fpd_job_end(job, 1, "pool '%s' is drained and answers 503 until `restart %s` or a reload",
                    job->pool, job->pool);
    }
}

static void end_for_one(fpd_commands *commands, fpd_job *job)
{
    fpd_pool_report report;

    if (!fpd_pools_describe(commands->pools, job->pool, &report)) {
        fpd_job_end(job, job->verb == FPD_CONTROL_RELOAD,
                    "pool '%s' is gone from the configuration and was stopped", job->pool);
    } else if (report.is_changing) {
        return;
    } else if (job->verb == FPD_CONTROL_DRAIN && report.failure[0] != '\0' && !report.is_drained) {
        fpd_job_end(job, 0, "pool '%s': %s", job->pool, report.failure);
    } else if (job->verb == FPD_CONTROL_DRAIN) {
        end_drain(job, &report);
    } else if (report.failure[0] != '\0') {
        fpd_job_end(job, 0, "pool '%s': %s%s", job->pool, report.failure,
                    report.is_serving ? " (it serves on as it was)" : "");
    } else if (report.pid == 0) {
        fpd_job_end(job, 1, "pool '%s' is asleep, the next request starts a new generation",
                    job->pool);
    } else {
        fpd_job_end(job, 1, "pool '%s' has a new generation%s, pid %d", job->pool,
                    job->verb == FPD_CONTROL_OPCACHE_RESET ? " with an empty OPcache" : "",
                    (int)report.pid);
    }
}

static void check_job(fpd_commands *commands, fpd_job *job)
{
    if (job->state == FPD_JOB_FREE || fpd_job_has_ended(job)) {
        return;
    }
    if (job->state == FPD_JOB_RUNNING && job->pool[0] != '\0') {
        end_for_one(commands, job);
    } else if (job->state == FPD_JOB_RUNNING && fpd_pools_changing(commands->pools) == 0) {
        end_for_all(commands, job);
    }
    if (!fpd_job_has_ended(job) && commands->is_ending) {
        fpd_job_end(job, 0, "the daemon is ending");
    } else if (!fpd_job_has_ended(job) && fpd_monotonic_now() >= job->give_up_at) {
        fpd_job_end(job, 0,
                    "it goes on, but takes too long to be waited for: see fpmpoold --ctl status "
                    "and the log");
    }
}

void fpd_commands_check(fpd_commands *commands)
{
    for (int i = 0; i < FPD_JOBS_KEPT; i++) {
        check_job(commands, &commands->jobs.jobs[i]);
    }
}
