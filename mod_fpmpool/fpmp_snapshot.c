/* fpmp_snapshot.c - takes the figures of this moment from shared memory.
 *
 * Runs in an httpd child for each page of figures. Reads only; while it reads, requests go on.
 */
#include "fpmp_snapshot.h"

#include "fpmp_balance.h"
#include "fpmp_names.h"

#include <httpd.h>
#include <apr_strings.h>
#include <string.h>

static const char *balance_name(fpmp_balance balance)
{
    static const char *const names[] = {"least", "roundrobin", "first", "hash", "sticky"};
    return names[balance];
}

static const char *type_name(fpmp_server_type type)
{
    static const char *const names[] = {"fpmpool", "fpm", "generic"};
    return names[type];
}

/* Whole seconds since a moment that shared memory has in milliseconds; 0 is none. */
static uint64_t since(uint64_t moment, apr_time_t now)
{
    uint64_t time = fpmp_health_time(now);
    return !moment ? FPMP_NEVER : moment < time ? (time - moment) / 1000 : 0;
}

static void look_at_trouble(fpmp_seen_server *seen, const fpmp_record *record, apr_time_t now,
                            apr_pool_t *memory)
{
    char reason[FPMP_TROUBLE_SIZE];
    uint64_t when = 0;
    if (fpmp_trouble_read(&record->trouble, reason, &when)) {
        seen->reason = apr_pstrdup(memory, reason);
        seen->failed = since(when, now);
    }
}

static void look_at_server(fpmp_seen_server *seen, const fpmp_share *share,
                           const fpmp_server *server, const fpmp_record *record, apr_time_t now,
                           apr_pool_t *memory)
{
    fpmp_admin admin = atomic_load(&record->admin);
    *seen = (fpmp_seen_server){.name = server->name,
                               .address = server->address.label,
                               .type = type_name(server->type),
                               .weight = fpmp_admin_weight(admin, server->weight),
                               .weight_configured = server->weight,
                               .max = server->max,
                               .group = server->group,
                               .is_backup = server->is_backup,
                               .health = fpmp_health_state_of(atomic_load(&record->health)),
                               .mode = fpmp_admin_mode_of(admin),
                               .changed = since(atomic_load(&record->changed), now),
                               .in_flight = fpmp_share_sum(share, record->in_flight)};
    look_at_trouble(seen, record, now, memory);
    fpmp_counters_read(&record->counters, &seen->count);
    fpmp_latency_read_ever(&record->latency, &seen->ever);
    fpmp_latency_read_recent(&record->latency, now, &seen->recent);
}

/* All but its servers. */
static void look_at_pool(fpmp_seen_pool *seen, const fpmp_share *share, const fpmp_pool *pool,
                         fpmp_pool_record *record, apr_time_t now, apr_pool_t *memory)
{
    *seen = (fpmp_seen_pool){.name = pool->name,
                             .balance = balance_name(pool->balance),
                             .file = pool->file,
                             .line = pool->line,
                             .is_implied = pool->is_implied,
                             .is_found = pool->is_found,
                             .limit_requests = pool->limit.requests_set ? pool->limit.requests : 0,
                             .limit_queue = pool->limit.queue_set ? pool->limit.queue : 0,
                             .server_count = pool->server_count};
    seen->servers = apr_palloc(memory, (size_t)pool->server_count * sizeof(*seen->servers));
    seen->waiting = fpmp_share_sum(share, fpmp_share_waiting(share, record));
    const fpmp_history *history = fpmp_share_history(share, record);
    if (history) {
        fpmp_history_read(history, now, seen->minutes);
    }
}

static int is_wanted(const char *pool, const fpmp_query *query)
{
    return (!query->pool || !strcmp(query->pool, pool)) && strstr(pool, query->name);
}

static void take_configured(apr_array_header_t *pools, const fpmp_global *global,
                            const fpmp_query *query, apr_time_t now)
{
    apr_pool_t *memory = pools->pool;
    for (apr_hash_index_t *at = apr_hash_first(memory, global->pools); at; at = apr_hash_next(at)) {
        const fpmp_pool *pool = apr_hash_this_val(at);
        if (!is_wanted(pool->name, query)) {
            continue;
        }
        fpmp_seen_pool *seen = apr_array_push(pools);
        look_at_pool(seen, global->share, pool, fpmp_balance_pool_record(global, pool), now,
                     memory);
        for (int i = 0; i < pool->server_count; i++) {
            look_at_server(&seen->servers[i], global->share, &pool->servers[i],
                           fpmp_balance_record(global, &pool->servers[i]), now, memory);
        }
        fpmp_seen_sum(seen);
    }
}

/* Those that expressions name, and that have an entry now. Returns how many there are. */
static int take_found(apr_array_header_t *pools, const fpmp_global *global, const fpmp_query *query,
                      apr_time_t now)
{
    char name[FPMP_POOL_NAME_MAX + 1];
    apr_pool_t *memory = pools->pool;
    int count = 0;
    for (int i = 0; fpmp_share_read_name(global->share, i, name); i++) {
        fpmp_pool pool;
        fpmp_server *server = apr_palloc(memory, sizeof(*server));
        count += *name != '\0';
        if (*name && is_wanted(name, query) &&
            fpmp_names_describe(global->socket_dir, &global->defaults, apr_pstrdup(memory, name),
                                apr_palloc(memory, sizeof(fpmp_names_label)), &pool, server)) {
            fpmp_seen_pool *seen = apr_array_push(pools);
            look_at_pool(seen, global->share, &pool, fpmp_share_named_pool(global->share, i), now,
                         memory);
            look_at_server(seen->servers, global->share, server,
                           fpmp_share_named_server(global->share, i), now, memory);
            fpmp_seen_sum(seen);
        }
    }
    return count;
}

fpmp_snapshot *fpmp_snapshot_take(const fpmp_global *global, const fpmp_query *query,
                                  apr_time_t now, apr_pool_t *memory)
{
    fpmp_snapshot *snapshot = apr_pcalloc(memory, sizeof(*snapshot));
    apr_array_header_t *pools = apr_array_make(memory, 16, sizeof(fpmp_seen_pool));
    take_configured(pools, global, query, now);
    snapshot->of_all = (int)apr_hash_count(global->pools) + take_found(pools, global, query, now);
    snapshot->pools = (fpmp_seen_pool *)(void *)pools->elts;
    snapshot->pool_count = pools->nelts;
    return snapshot;
}
