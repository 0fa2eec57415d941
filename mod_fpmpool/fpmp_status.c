/* fpmp_status.c - the figures of all pools on mod_status's pages.
 *
 * Runs in a child. Knows how figures look; counting is fpmp_counters.c's. A pool that nobody has
 * asked yet is not listed: there may be thousands.
 */
#include "fpmp_status.h"
#include "fpmp_conf.h"
#include "fpmp_health.h"
#include "fpmp_names.h"
#include "fpmp_share.h"

#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <mod_status.h>
#include <apr_optional_hooks.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

APLOG_USE_MODULE(fpmpool);

/* ---- the page -------------------------------------------------------------------------------- */

typedef struct row {
    const fpmp_pool *pool;
    const fpmp_server *server;
    fpmp_count count;
    unsigned in_flight;
    unsigned waiting; /* in httpd for the pool; 0 for all but its first server */
    int is_up;
} row;

static int compare_rows(const void *left, const void *right)
{
    const row *one = left;
    const row *other = right;
    int order = strcmp(one->pool->name, other->pool->name);
    return order ? order : one->server->index - other->server->index;
}

static void add_row(apr_array_header_t *rows, const fpmp_share *share, const fpmp_record *record,
                    row one)
{
    fpmp_counters_read(&record->counters, &one.count);
    one.in_flight = fpmp_share_sum(share, record->in_flight);
    if (one.count.requests || one.in_flight || one.waiting) {
        one.is_up = fpmp_health_state_of(atomic_load(&record->health)) == FPMP_HEALTH_UP;
        *(row *)apr_array_push(rows) = one;
    }
}

static unsigned count_waiting(const fpmp_share *share, fpmp_pool_record *record)
{
    return fpmp_share_sum(share, fpmp_share_waiting(share, record));
}

/* Those that expressions name, and that have an entry now. */
static void collect_names(const fpmp_global *global, apr_pool_t *memory, apr_array_header_t *rows)
{
    char name[FPMP_POOL_NAME_MAX + 1];
    for (int i = 0; fpmp_share_read_name(global->share, i, name); i++) {
        if (*name) {
            fpmp_pool *pool = apr_pcalloc(memory, sizeof(*pool));
            fpmp_server *server = apr_pcalloc(memory, sizeof(*server));
            if (fpmp_names_describe(global->socket_dir, &global->defaults,
                                    apr_pstrdup(memory, name),
                                    apr_palloc(memory, sizeof(fpmp_names_label)), pool, server)) {
                add_row(rows, global->share, fpmp_share_named_server(global->share, i),
                        (row){.pool = pool,
                              .server = server,
                              .waiting = count_waiting(global->share,
                                                       fpmp_share_named_pool(global->share, i))});
            }
        }
    }
}

/* Every server that was ever asked, in the order of the pools' names. */
static apr_array_header_t *collect(const fpmp_global *global, apr_pool_t *memory)
{
    apr_array_header_t *rows = apr_array_make(memory, 16, sizeof(row));
    for (apr_hash_index_t *at = apr_hash_first(memory, global->pools); at; at = apr_hash_next(at)) {
        const fpmp_pool *pool = apr_hash_this_val(at);
        for (int i = 0; i < pool->server_count; i++) {
            const fpmp_server *server = &pool->servers[i];
            add_row(rows, global->share, global->records->servers[server->index],
                    (row){.pool = pool,
                          .server = server,
                          .waiting = i ? 0
                                       : count_waiting(global->share,
                                                       global->records->pools[pool->index])});
        }
    }
    collect_names(global, memory, rows);
    qsort(rows->elts, (size_t)rows->nelts, sizeof(row), compare_rows);
    return rows;
}

/* The servers of a pool that has several are NAME/1, NAME/2 and so on. */
static const char *name_row(request_rec *r, const row *one)
{
    const fpmp_pool *pool = one->pool;
    return pool->server_count > 1
               ? apr_psprintf(r->pool, "%s/%d", pool->name, (int)(one->server - pool->servers) + 1)
               : pool->name;
}

/* "QueueFull" of queue-full: as mod_status names its fields. */
static const char *name_field(apr_pool_t *memory, const char *state)
{
    char *name = apr_pstrdup(memory, state);
    char *to = name;
    for (const char *from = state; *from; from++) {
        if (*from != '-') {
            int is_first = from == state || from[-1] == '-';
            *to++ = is_first ? (char)apr_toupper(*from) : *from;
        }
    }
    *to = '\0';
    return name;
}

static void print_fields(request_rec *r, const row *one)
{
    const char *name = name_row(r, one);
    const fpmp_count *count = &one->count;
    ap_rprintf(r, "FpmPool_%s_Server: %s\n", name, one->server->address.label);
    ap_rprintf(r, "FpmPool_%s_Up: %d\n", name, one->is_up);
    ap_rprintf(r, "FpmPool_%s_InFlight: %u\n", name, one->in_flight);
    if (one->server == one->pool->servers) {
        ap_rprintf(r, "FpmPool_%s_Waiting: %u\n", one->pool->name, one->waiting);
    }
    ap_rprintf(r, "FpmPool_%s_Requests: %" APR_UINT64_T_FMT "\n", name, count->requests);
    for (int i = 0; fpmp_counters_state_name(i); i++) {
        ap_rprintf(r, "FpmPool_%s_%s: %" APR_UINT64_T_FMT "\n", name,
                   name_field(r->pool, fpmp_counters_state_name(i)), count->states[i]);
    }
    ap_rprintf(r, "FpmPool_%s_Bytes: %" APR_UINT64_T_FMT "\n", name, count->bytes);
    ap_rprintf(r, "FpmPool_%s_Microseconds: %" APR_UINT64_T_FMT "\n", name, count->microseconds);
}

/* "timeout 3, lost 1": what was not `ok`, state by state. */
static void print_failures(request_rec *r, const fpmp_count *count)
{
    const char *before = "";
    for (int i = 1; fpmp_counters_state_name(i); i++) {
        if (count->states[i]) {
            ap_rprintf(r, "%s%s %" APR_UINT64_T_FMT, before, fpmp_counters_state_name(i),
                       count->states[i]);
            before = ", ";
        }
    }
}

static void print_row(request_rec *r, const row *one, int has_tables)
{
    const fpmp_count *count = &one->count;
    const char *cell = has_tables ? "</td><td>" : " | ";
    ap_rprintf(
        r, "%s%s%s%s%s%s%u%s%s%" APR_UINT64_T_FMT "%s%" APR_UINT64_T_FMT "%s%.1f%s",
        has_tables ? "<tr><td>" : "", ap_escape_html(r->pool, name_row(r, one)), cell,
        ap_escape_html(r->pool, one->server->address.label), one->is_up ? "" : " (down)", cell,
        one->in_flight, one->waiting ? apr_psprintf(r->pool, " (%u more wait)", one->waiting) : "",
        cell, count->requests, cell, count->bytes / 1024, cell,
        count->requests ? (double)count->microseconds / 1000.0 / (double)count->requests : 0, cell);
    print_failures(r, count);
    ap_rputs(has_tables ? "</td></tr>\n" : "\n", r);
}

static void print_html(request_rec *r, const apr_array_header_t *rows, int has_tables)
{
    ap_rputs("<hr />\n<h2>FpmPool</h2>\n", r);
    ap_rputs(has_tables ? "<table border=\"0\"><tr><th>Pool</th><th>Server</th><th>In flight</th>"
                          "<th>Requests</th><th>KiB</th><th>ms each</th><th>Not ok</th></tr>\n"
                        : "<pre>pool | server | in flight | requests | KiB | ms each | not ok\n",
             r);
    for (int i = 0; i < rows->nelts; i++) {
        print_row(r, &APR_ARRAY_IDX(rows, i, row), has_tables);
    }
    ap_rputs(has_tables ? "</table>\n" : "</pre>\n", r);
}

static int show(request_rec *r, int flags)
{
    const fpmp_global *global = fpmp_conf_global(r->server);
    if (!global->share) {
        return DECLINED;
    }
    const apr_array_header_t *rows = collect(global, r->pool);
    if (flags & AP_STATUS_SHORT) {
        for (int i = 0; i < rows->nelts; i++) {
            print_fields(r, &APR_ARRAY_IDX(rows, i, row));
        }
    } else {
        print_html(r, rows, !(flags & AP_STATUS_NOTABLE));
    }
    return OK;
}

void fpmp_status_register(void)
{
    APR_OPTIONAL_HOOK(ap, status_hook, show, NULL, NULL, APR_HOOK_MIDDLE);
}
