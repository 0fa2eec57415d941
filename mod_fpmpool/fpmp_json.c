/* fpmp_json.c - the figures for programs.
 *
 * Runs in an httpd child for each page of figures. Pure: a snapshot to text.
 */
#include "fpmp_json.h"

#define NUMBER "%" APR_UINT64_T_FMT

void fpmp_json_time(fpmp_text *text, apr_time_t wall)
{
    apr_time_exp_t of;
    (void)apr_time_exp_gmt(&of, wall);
    fpmp_text_format(text, "%04d-%02d-%02dT%02d:%02d:%02dZ", of.tm_year + 1900, of.tm_mon + 1,
                     of.tm_mday, of.tm_hour, of.tm_min, of.tm_sec);
}

static void put_member(fpmp_text *text, const char *name, const char *value)
{
    fpmp_text_format(text, "\"%s\":", name);
    if (value) {
        fpmp_text_json(text, value);
    } else {
        fpmp_text_put(text, "null");
    }
}

/* The time of day of something that was some seconds ago. */
static void put_moment(fpmp_text *text, const char *name, apr_time_t wall, uint64_t ago)
{
    fpmp_text_format(text, ",\"%s\":", name);
    if (ago == FPMP_NEVER) {
        fpmp_text_put(text, "null");
        return;
    }
    fpmp_text_put(text, "\"");
    fpmp_json_time(text, wall - apr_time_from_sec((apr_time_t)ago));
    fpmp_text_put(text, "\"");
}

static void put_times(fpmp_text *text, const fpmp_latency_counts *recent)
{
    fpmp_text_format(
        text, ",\"recent_microseconds\":{\"p50\":" NUMBER ",\"p90\":" NUMBER ",\"p99\":" NUMBER "}",
        fpmp_latency_quantile(recent, 0.5), fpmp_latency_quantile(recent, 0.9),
        fpmp_latency_quantile(recent, 0.99));
}

static void put_counts(fpmp_text *text, const fpmp_count *count)
{
    fpmp_text_format(text, ",\"requests\":" NUMBER ",\"states\":{", count->requests);
    for (int i = 0; fpmp_counters_state_name(i); i++) {
        fpmp_text_format(text, "%s\"%s\":" NUMBER, i ? "," : "", fpmp_counters_state_name(i),
                         count->states[i]);
    }
    fpmp_text_format(text, "},\"bytes\":" NUMBER ",\"microseconds\":" NUMBER, count->bytes,
                     count->microseconds);
}

static const char *health_name(fpmp_health_state health)
{
    return health == FPMP_HEALTH_UP ? "up" : health == FPMP_HEALTH_DOWN ? "down" : "trying";
}

static void put_server(fpmp_text *text, const fpmp_seen_server *server, apr_time_t wall)
{
    fpmp_text_put(text, "{");
    put_member(text, "name", server->name);
    fpmp_text_put(text, ",");
    put_member(text, "address", server->address);
    fpmp_text_put(text, ",");
    put_member(text, "type", server->type);
    fpmp_text_format(text, ",\"health\":\"%s\",\"mode\":\"%s\"", health_name(server->health),
                     fpmp_admin_mode_name(server->mode));
    put_moment(text, "since", wall, server->changed);
    fpmp_text_put(text, ",");
    put_member(text, "last_failure", server->reason);
    put_moment(text, "last_failure_at", wall, server->reason ? server->failed : FPMP_NEVER);
    fpmp_text_format(text,
                     ",\"weight\":%d,\"weight_configured\":%d,\"max\":%u,\"group\":%d,\"backup\":%s"
                     ",\"in_flight\":%u",
                     server->weight, server->weight_configured, server->max, server->group,
                     server->is_backup ? "true" : "false", server->in_flight);
    put_counts(text, &server->count);
    put_times(text, &server->recent);
    fpmp_text_put(text, "}");
}

static void put_minutes(fpmp_text *text, const fpmp_minute_counts *minutes)
{
    fpmp_text_put(text, ",\"minutes\":[");
    for (int i = 0; i < FPMP_HISTORY_MINUTES; i++) {
        fpmp_text_format(text, "%s[" NUMBER "," NUMBER "," NUMBER "]", i ? "," : "",
                         minutes[i].requests, minutes[i].errors, minutes[i].microseconds);
    }
    fpmp_text_put(text, "]");
}

static void put_pool(fpmp_text *text, const fpmp_seen_pool *pool, apr_time_t wall)
{
    fpmp_text_put(text, "{");
    put_member(text, "name", pool->name);
    fpmp_text_format(text, ",\"state\":\"%s\",", fpmp_seen_state_name(pool->state));
    put_member(text, "balance", pool->balance);
    fpmp_text_format(text,
                     ",\"usable\":%d,\"in_flight\":" NUMBER ",\"waiting\":%u,\"limit_requests\":%u,"
                     "\"limit_queue\":%u",
                     pool->usable, pool->in_flight, pool->waiting, pool->limit_requests,
                     pool->limit_queue);
    put_times(text, &pool->recent);
    put_minutes(text, pool->minutes);
    fpmp_text_put(text, ",\"servers\":[");
    for (int i = 0; i < pool->server_count; i++) {
        fpmp_text_put(text, i ? "," : "");
        put_server(text, &pool->servers[i], wall);
    }
    fpmp_text_put(text, "]}");
}

void fpmp_json_show(fpmp_text *text, const fpmp_snapshot *snapshot, const char *nonce)
{
    fpmp_text_put(text, "{\"time\":\"");
    fpmp_json_time(text, snapshot->wall);
    fpmp_text_format(text, "\",\"uptime\":" NUMBER ",\"pools_of_all\":%d,", snapshot->up_for,
                     snapshot->of_all);
    if (nonce) {
        put_member(text, "nonce", nonce);
        fpmp_text_put(text, ",");
    }
    fpmp_text_put(text, "\"pools\":[");
    for (int i = 0; i < snapshot->pool_count; i++) {
        fpmp_text_put(text, i ? ",\n" : "\n");
        put_pool(text, &snapshot->pools[i], snapshot->wall);
    }
    fpmp_text_put(text, "\n]}\n");
}
