/* fpmp_metrics.c - the figures for collectors, as OpenMetrics 1.0.
 *
 * Runs in an httpd child for each collection. Pure: a snapshot to text. All samples of a family
 * stand together, as the format wants it.
 */
#include "fpmp_metrics.h"

#include <apr_strings.h>
#include <string.h>

typedef struct place {
    fpmp_text *text;
    const fpmp_seen_pool *pool;
    const fpmp_seen_server *server;
} place;

/* ---- lines ----------------------------------------------------------------------------------- */

static void put_family(fpmp_text *text, const char *name, const char *type, const char *unit,
                       const char *help)
{
    fpmp_text_format(text, "# TYPE %s %s\n", name, type);
    if (unit) {
        fpmp_text_format(text, "# UNIT %s %s\n", name, unit);
    }
    fpmp_text_format(text, "# HELP %s %s\n", name, help);
}

/* NAME{pool="...",server="..." */
static void open_sample(const place *at, const char *name)
{
    fpmp_text_format(at->text, "%s{pool=", name);
    fpmp_text_label(at->text, at->pool->name);
    if (at->server) {
        fpmp_text_put(at->text, ",server=");
        fpmp_text_label(at->text, at->server->name);
    }
}

static void put_integer(const place *at, const char *name, uint64_t number)
{
    open_sample(at, name);
    fpmp_text_format(at->text, "} %" APR_UINT64_T_FMT "\n", number);
}

/* Microseconds as seconds, without rounding. */
static void put_seconds(fpmp_text *text, uint64_t microseconds)
{
    fpmp_text_format(text, "%" APR_UINT64_T_FMT ".%06u", microseconds / 1000000,
                     (unsigned)(microseconds % 1000000));
}

/* ---- families -------------------------------------------------------------------------------- */

typedef void sample_fn(const place *at, const char *name);

static void for_servers(fpmp_text *text, const fpmp_snapshot *snapshot, const char *name,
                        sample_fn *put)
{
    for (int i = 0; i < snapshot->pool_count; i++) {
        place at = {.text = text, .pool = &snapshot->pools[i]};
        for (int j = 0; j < at.pool->server_count; j++) {
            at.server = &at.pool->servers[j];
            put(&at, name);
        }
    }
}

static void for_pools(fpmp_text *text, const fpmp_snapshot *snapshot, const char *name,
                      sample_fn *put)
{
    for (int i = 0; i < snapshot->pool_count; i++) {
        place at = {.text = text, .pool = &snapshot->pools[i]};
        put(&at, name);
    }
}

static void put_up(const place *at, const char *name)
{
    put_integer(at, name, at->server->health == FPMP_HEALTH_UP);
}

static void put_mode(const place *at, const char *name)
{
    for (int mode = FPMP_ADMIN_READY; mode <= FPMP_ADMIN_DOWN; mode++) {
        open_sample(at, name);
        fpmp_text_format(at->text, ",%s=\"%s\"} %d\n", name,
                         fpmp_admin_mode_name((fpmp_admin_mode)mode),
                         (int)at->server->mode == mode);
    }
}

static void put_weight(const place *at, const char *name)
{
    put_integer(at, name, (uint64_t)at->server->weight);
}

static void put_in_flight(const place *at, const char *name)
{
    put_integer(at, name, at->server->in_flight);
}

static void put_max(const place *at, const char *name)
{
    if (at->server->max) {
        put_integer(at, name, at->server->max);
    }
}

/* States that never came are left out, but `ok`: a rate of errors needs both. */
static void put_requests(const place *at, const char *name)
{
    const uint64_t *states = at->server->count.states;
    for (int i = 0; fpmp_counters_state_name(i); i++) {
        const char *state = fpmp_counters_state_name(i);
        if (states[i] || !strcmp(state, "ok")) {
            open_sample(at, name);
            fpmp_text_format(at->text, ",state=\"%s\"} %" APR_UINT64_T_FMT "\n", state, states[i]);
        }
    }
}

static void put_bytes(const place *at, const char *name)
{
    put_integer(at, name, at->server->count.bytes);
}

static void put_bound(fpmp_text *text, uint64_t microseconds)
{
    /* As OpenMetrics writes such numbers: 0.002, 0.01, 1.0, 50.0. */
    unsigned milliseconds = (unsigned)(microseconds / 1000);
    int digits = milliseconds % 100 == 0 ? 1 : milliseconds % 10 == 0 ? 2 : 3;
    unsigned part = milliseconds % 1000;
    part = digits == 1 ? part / 100 : digits == 2 ? part / 10 : part;
    fpmp_text_format(text, "%u.%0*u", milliseconds / 1000, digits, part);
}

static void put_bucket(const place *at, const char *name, uint64_t bound, uint64_t count)
{
    char bucket[64];
    (void)apr_snprintf(bucket, sizeof(bucket), "%s_bucket", name);
    open_sample(at, bucket);
    fpmp_text_put(at->text, ",le=\"");
    if (bound == UINT64_MAX) {
        fpmp_text_put(at->text, "+Inf");
    } else {
        put_bound(at->text, bound);
    }
    fpmp_text_format(at->text, "\"} %" APR_UINT64_T_FMT "\n", count);
}

/* A server that nobody has asked has none: there may be thousands. */
static void put_durations(const place *at, const char *name)
{
    uint64_t total = 0;
    if (!at->server->count.requests) {
        return;
    }
    for (int i = 0; i < FPMP_LATENCY_COARSE; i++) {
        total += at->server->ever.buckets[i];
        put_bucket(at, name, fpmp_latency_coarse_bound(i), total);
    }
    char part[64];
    (void)apr_snprintf(part, sizeof(part), "%s_count", name);
    put_integer(at, part, total);
    (void)apr_snprintf(part, sizeof(part), "%s_sum", name);
    open_sample(at, part);
    fpmp_text_put(at->text, "} ");
    put_seconds(at->text, at->server->count.microseconds);
    fpmp_text_put(at->text, "\n");
}

static void put_waiting(const place *at, const char *name)
{
    put_integer(at, name, at->pool->waiting);
}

static void put_limit(const place *at, const char *name)
{
    if (at->pool->limit_requests) {
        put_integer(at, name, at->pool->limit_requests);
    }
}

static void put_queue(const place *at, const char *name)
{
    if (at->pool->limit_requests) {
        put_integer(at, name, at->pool->limit_queue);
    }
}

/* ---- the whole ------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    const char *sample; /* name of its samples */
    const char *type;
    const char *unit;
    const char *help;
    int is_of_pools;
    sample_fn *put;
} families[] = {
    {"fpmpool_server_up", "fpmpool_server_up", "gauge", NULL,
     "1 if the server counts as up for live requests and checks.", 0, put_up},
    {"fpmpool_server_mode", "fpmpool_server_mode", "stateset", NULL,
     "What an operator has said of the server.", 0, put_mode},
    {"fpmpool_server_weight", "fpmpool_server_weight", "gauge", NULL,
     "Its share beside others, as it is in force.", 0, put_weight},
    {"fpmpool_server_in_flight", "fpmpool_server_in_flight", "gauge", NULL, "Requests under way.",
     0, put_in_flight},
    {"fpmpool_server_max", "fpmpool_server_max", "gauge", NULL,
     "Most requests at a time (max=), if there is a limit.", 0, put_max},
    {"fpmpool_requests", "fpmpool_requests_total", "counter", NULL,
     "Requests that have ended at the server, by the note fpmpool-state.", 0, put_requests},
    {"fpmpool_response_bytes", "fpmpool_response_bytes_total", "counter", "bytes",
     "Bytes of bodies that were sent to clients.", 0, put_bytes},
    {"fpmpool_request_duration_seconds", "fpmpool_request_duration_seconds", "histogram", "seconds",
     "From the start of a request to its end.", 0, put_durations},
    {"fpmpool_waiting", "fpmpool_waiting", "gauge", NULL,
     "Requests that wait in httpd for a place in the pool.", 1, put_waiting},
    {"fpmpool_limit_requests", "fpmpool_limit_requests", "gauge", NULL,
     "Most requests of the pool at a time, where its definition has FpmPoolLimit.", 1, put_limit},
    {"fpmpool_limit_queue", "fpmpool_limit_queue", "gauge", NULL,
     "Most requests that may wait, where its definition has FpmPoolLimit.", 1, put_queue},
};

void fpmp_metrics_show(fpmp_text *text, const fpmp_snapshot *snapshot)
{
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        put_family(text, families[i].name, families[i].type, families[i].unit, families[i].help);
        (families[i].is_of_pools ? for_pools : for_servers)(text, snapshot, families[i].sample,
                                                            families[i].put);
    }
    fpmp_text_put(text, "# EOF\n");
}
