/* fpmp_status.c - the figures of all pools on mod_status's pages.
 *
 * Runs in a child. Has mod_status's two forms of a page; the figures are fpmp_snapshot.c's. A pool
 * that nobody has asked yet is not listed: there may be thousands.
 */
#include "fpmp_status.h"

#include "fpmp_auto.h"
#include "fpmp_clock.h"
#include "fpmp_snapshot.h"

#include <http_protocol.h>
#include <mod_status.h>
#include <apr_optional_hooks.h>
#include <apr_strings.h>

static void write_out(void *to, const char *bytes, apr_size_t length)
{
    if (length) {
        (void)ap_rwrite(bytes, (int)length, to);
    }
}

/* The servers of a pool that has several are NAME/1, NAME/2 and so on. */
static const char *name_row(request_rec *r, const fpmp_seen_pool *pool, int server)
{
    return pool->server_count > 1 ? apr_psprintf(r->pool, "%s/%d", pool->name, server + 1)
                                  : pool->name;
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

static void print_row(request_rec *r, const fpmp_seen_pool *pool, int at, int has_tables)
{
    const fpmp_seen_server *server = &pool->servers[at];
    const fpmp_count *count = &server->count;
    const char *cell = has_tables ? "</td><td>" : " | ";
    unsigned waiting = at ? 0 : pool->waiting;
    ap_rprintf(
        r, "%s%s%s%s%s%s%u%s%s%" APR_UINT64_T_FMT "%s%" APR_UINT64_T_FMT "%s%.1f%s",
        has_tables ? "<tr><td>" : "", ap_escape_html(r->pool, name_row(r, pool, at)), cell,
        ap_escape_html(r->pool, server->address), server->health == FPMP_HEALTH_UP ? "" : " (down)",
        cell, server->in_flight, waiting ? apr_psprintf(r->pool, " (%u more wait)", waiting) : "",
        cell, count->requests, cell, count->bytes / 1024, cell,
        count->requests ? (double)count->microseconds / 1000.0 / (double)count->requests : 0, cell);
    print_failures(r, count);
    ap_rputs(has_tables ? "</td></tr>\n" : "\n", r);
}

static void print_html(request_rec *r, const fpmp_snapshot *snapshot, int has_tables)
{
    ap_rputs("<hr />\n<h2>FpmPool</h2>\n", r);
    ap_rputs(has_tables ? "<table border=\"0\"><tr><th>Pool</th><th>Server</th><th>In flight</th>"
                          "<th>Requests</th><th>KiB</th><th>ms each</th><th>Not ok</th></tr>\n"
                        : "<pre>pool | server | in flight | requests | KiB | ms each | not ok\n",
             r);
    for (int i = 0; i < snapshot->pool_count; i++) {
        for (int at = 0; at < snapshot->pools[i].server_count; at++) {
            print_row(r, &snapshot->pools[i], at, has_tables);
        }
    }
    ap_rputs(has_tables ? "</table>\n" : "</pre>\n", r);
}

static int show(request_rec *r, int flags)
{
    const fpmp_global *global = fpmp_conf_global(r->server);
    const fpmp_query query = {.name = "", .sort = FPMP_SORT_NAME, .leaves_unasked = 1};
    fpmp_text text = {write_out, r};
    if (!global->share) {
        return DECLINED;
    }
    fpmp_snapshot *snapshot = fpmp_snapshot_take(global, &query, fpmp_clock_now(), r->pool);
    fpmp_seen_arrange(snapshot, &query);
    if (flags & AP_STATUS_SHORT) {
        fpmp_auto_show(&text, snapshot);
    } else {
        print_html(r, snapshot, !(flags & AP_STATUS_NOTABLE));
    }
    return OK;
}

void fpmp_status_register(void)
{
    APR_OPTIONAL_HOOK(ap, status_hook, show, NULL, NULL, APR_HOOK_MIDDLE);
}
