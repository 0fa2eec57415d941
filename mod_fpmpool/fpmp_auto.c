/* fpmp_auto.c - the figures as `key: value` lines.
 *
 * Runs in an httpd child for each page of figures. Pure: a snapshot to text.
 */
#include "fpmp_auto.h"

#include <apr_lib.h>

/* The name of a line up to its field. */
static void put_key(fpmp_text *text, const fpmp_seen_pool *pool, int server)
{
    fpmp_text_put(text, "FpmPool_");
    fpmp_text_line(text, pool->name);
    if (pool->server_count > 1) {
        fpmp_text_format(text, "/%d", server + 1);
    }
    fpmp_text_put(text, "_");
}

typedef struct place {
    fpmp_text *text;
    const fpmp_seen_pool *pool;
    int server;
} place;

static void put_number(const place *at, const char *field, uint64_t number)
{
    put_key(at->text, at->pool, at->server);
    fpmp_text_format(at->text, "%s: %" APR_UINT64_T_FMT "\n", field, number);
}

static void put_text(const place *at, const char *field, const char *value)
{
    put_key(at->text, at->pool, at->server);
    fpmp_text_format(at->text, "%s: ", field);
    fpmp_text_line(at->text, value);
    fpmp_text_put(at->text, "\n");
}

/* "QueueFull" of queue-full: as mod_status names its fields. */
static void put_field(fpmp_text *text, const char *state)
{
    int is_first = 1;
    for (const char *at = state; *at; at++) {
        if (*at != '-') {
            fpmp_text_format(text, "%c", is_first ? apr_toupper(*at) : *at);
        }
        is_first = *at == '-';
    }
}

static void put_states(const place *at, const fpmp_count *count)
{
    for (int i = 0; fpmp_counters_state_name(i); i++) {
        put_key(at->text, at->pool, at->server);
        put_field(at->text, fpmp_counters_state_name(i));
        fpmp_text_format(at->text, ": %" APR_UINT64_T_FMT "\n", count->states[i]);
    }
}

/* Of the pool: beside its first server, without a number. */
static void put_waiting(const place *at)
{
    fpmp_text_put(at->text, "FpmPool_");
    fpmp_text_line(at->text, at->pool->name);
    fpmp_text_format(at->text, "_Waiting: %u\n", at->pool->waiting);
}

static void put_times(const place *at, const fpmp_latency_counts *recent)
{
    put_number(at, "P50Microseconds", fpmp_latency_quantile(recent, 0.5));
    put_number(at, "P90Microseconds", fpmp_latency_quantile(recent, 0.9));
    put_number(at, "P99Microseconds", fpmp_latency_quantile(recent, 0.99));
}

static void put_server(const place *at)
{
    const fpmp_seen_server *server = &at->pool->servers[at->server];
    const fpmp_count *count = &server->count;
    put_text(at, "Server", server->address);
    put_number(at, "Up", server->health == FPMP_HEALTH_UP);
    put_text(at, "Mode", fpmp_admin_mode_name(server->mode));
    put_number(at, "Weight", (uint64_t)server->weight);
    put_number(at, "InFlight", server->in_flight);
    if (!at->server) {
        put_waiting(at);
    }
    put_number(at, "Requests", count->requests);
    put_states(at, count);
    put_number(at, "Bytes", count->bytes);
    put_number(at, "Microseconds", count->microseconds);
    put_times(at, &server->recent);
}

void fpmp_auto_show(fpmp_text *text, const fpmp_snapshot *snapshot)
{
    for (int i = 0; i < snapshot->pool_count; i++) {
        place at = {.text = text, .pool = &snapshot->pools[i]};
        for (; at.server < at.pool->server_count; at.server++) {
            put_server(&at);
        }
    }
}
