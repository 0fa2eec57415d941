/* fpmp_conf_dump.c - `httpd -t -D DUMP_FPMPOOLS`: what the configuration means.
 *
 * Runs in the parent for a test of the configuration, after fpmp_conf_check. Prints only.
 */
#include "fpmp_conf_dump.h"
#include "fpmp_conf.h"
#include "fpmp_expect.h"
#include "fpmp_limit.h"
#include "fpmp_select.h"

#include <http_config.h>
#include <http_core.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

static const char *const type_names[] = {"fpmpool", "fpm", "generic"};
static const char *const balance_names[] = {"least", "roundrobin", "first", "hash", "sticky"};

static int compare_pools(const void *left, const void *right)
{
    return strcmp((*(const fpmp_pool *const *)left)->name,
                  (*(const fpmp_pool *const *)right)->name);
}

static apr_array_header_t *sort_pools(const fpmp_global *global, apr_pool_t *memory)
{
    apr_array_header_t *pools = apr_array_make(memory, 16, sizeof(const fpmp_pool *));
    for (apr_hash_index_t *at = apr_hash_first(memory, global->pools); at; at = apr_hash_next(at)) {
        *(const fpmp_pool **)apr_array_push(pools) = apr_hash_this_val(at);
    }
    qsort(pools->elts, (size_t)pools->nelts, sizeof(const fpmp_pool *), compare_pools);
    return pools;
}

/* "500ms", "30s": the largest unit that keeps it whole. */
static const char *describe_time(apr_pool_t *memory, apr_interval_time_t time)
{
    return time % APR_USEC_PER_SEC
               ? apr_psprintf(memory, "%" APR_TIME_T_FMT "ms", time / 1000)
               : apr_psprintf(memory, "%" APR_TIME_T_FMT "s", time / APR_USEC_PER_SEC);
}

static const char *describe_timeouts(apr_pool_t *memory, const fpmp_timeouts *timeouts)
{
    return apr_psprintf(memory, "connect=%s first=%s idle=%s total=%s keep=%s",
                        describe_time(memory, timeouts->connect),
                        describe_time(memory, timeouts->first),
                        describe_time(memory, timeouts->idle),
                        timeouts->total ? describe_time(memory, timeouts->total) : "0",
                        timeouts->keep ? describe_time(memory, timeouts->keep) : "0");
}

/* Only what is set. */
static const char *describe_set(apr_pool_t *memory, const fpmp_timeouts *timeouts)
{
    const struct {
        unsigned is_set;
        const char *name;
        apr_interval_time_t value;
    } all[] = {{timeouts->connect_set, " connect=", timeouts->connect},
               {timeouts->first_set, " first=", timeouts->first},
               {timeouts->idle_set, " idle=", timeouts->idle},
               {timeouts->total_set, " total=", timeouts->total},
               {timeouts->keep_set, " keep=", timeouts->keep}};
    const char *text = "";
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i].is_set) {
            text = apr_pstrcat(memory, text, all[i].name,
                               all[i].value ? describe_time(memory, all[i].value) : "0", NULL);
        }
    }
    return text;
}

/* What is limited; "": nothing is. */
static const char *describe_limit(apr_pool_t *memory, const fpmp_limit *limit)
{
    if (!fpmp_limit_is_set(limit)) {
        return "";
    }
    return apr_psprintf(memory,
                        "            requests=%u queue=%u wait=%s perip=%u status=%d "
                        "retry-after=%d\n",
                        limit->requests, limit->queue, describe_time(memory, limit->wait),
                        limit->per_address, limit->status, limit->retry_after);
}

static const char *name_server(const server_rec *server, const server_rec *main, apr_pool_t *memory)
{
    if (server == main) {
        return "server";
    }
    const char *name = server->server_hostname ? server->server_hostname : "_default_";
    unsigned port = server->addrs ? server->addrs->host_port : 0;
    return port ? apr_psprintf(memory, "virtual host %s:%u", name, port)
                : apr_psprintf(memory, "virtual host %s", name);
}

/* Lines that select this pool, and the time limits that hold there; of sections within each other
 * only the one with the line. */
static int print_uses(apr_file_t *out, const fpmp_pool *pool, server_rec *main, apr_pool_t *memory)
{
    const fpmp_global *global = fpmp_conf_global(main);
    static const char *const kinds[] = {"", ", as a fallback", ", if .htaccess chooses it"};
    int count = 0;
    for (const server_rec *server = main; server; server = server->next) {
        const fpmp_server_conf *conf = ap_get_module_config(server->module_config, &fpmpool_module);
        const fpmp_dir_conf *defaults =
            ap_get_module_config(server->lookup_defaults, &fpmpool_module);
        for (int i = 0; i < conf->uses->nelts; i++) {
            const fpmp_use *use = &APR_ARRAY_IDX(conf->uses, i, const fpmp_use);
            if (use->is_expression || strcmp(use->name, pool->name)) {
                continue;
            }
            fpmp_timeouts here = fpmp_select_timeouts(&use->place->section_timeouts, pool,
                                                      &defaults->server_timeouts);
            fpmp_limit limit =
                fpmp_limit_resolve(&use->place->section_limit, pool, &defaults->server_limit,
                                   &global->defaults.limit, defaults->retry_after);
            apr_file_printf(out, "        %s%s%s%s (%s:%d)\n            %s\n%s",
                            name_server(server, main, memory), use->section ? ", " : "",
                            use->section ? use->section : "", kinds[use->kind], use->file,
                            use->line, describe_timeouts(memory, &here),
                            describe_limit(memory, &limit));
            count++;
        }
    }
    return count;
}

/* Lines whose pool is known only when a request is there. */
static void print_expressions(apr_file_t *out, server_rec *main, apr_pool_t *memory)
{
    for (const server_rec *server = main; server; server = server->next) {
        const fpmp_server_conf *conf = ap_get_module_config(server->module_config, &fpmpool_module);
        for (int i = 0; i < conf->uses->nelts; i++) {
            const fpmp_use *use = &APR_ARRAY_IDX(conf->uses, i, const fpmp_use);
            if (use->is_expression) {
                apr_file_printf(out, "    \"expr=%s\"%s\n        %s%s%s (%s:%d)\n", use->name,
                                use->kind == FPMP_USE_FALLBACK ? ", as a fallback" : "",
                                name_server(server, main, memory), use->section ? ", " : "",
                                use->section ? use->section : "", use->file, use->line);
            }
        }
    }
}

/* What is as usual is left out. */
static void print_server(apr_file_t *out, const fpmp_server *server, apr_pool_t *memory)
{
    apr_file_printf(out, "        %s type=%s reuse=%s", server->address.label,
                    type_names[server->type], server->reuses ? "on" : "off");
    if (server->name != server->address.label) {
        apr_file_printf(out, " name=%s", server->name);
    }
    if (server->weight > 1) {
        apr_file_printf(out, " weight=%d", server->weight);
    }
    if (server->max) {
        apr_file_printf(out, " max=%u", server->max);
    }
    if (server->group) {
        apr_file_printf(out, " group=%d", server->group);
    }
    if (server->slowstart) {
        apr_file_printf(out, " slowstart=%s",
                        describe_time(memory, apr_time_from_msec(server->slowstart)));
    }
    if (server->local_root) {
        apr_file_printf(out, " docroot=%s%s:%s%s", *server->local_root ? "" : "/",
                        server->local_root, *server->remote_root ? "" : "/", server->remote_root);
    }
    if (server->is_backup) {
        apr_file_printf(out, " backup");
    }
    apr_file_printf(out, "%s%s\n", server->owner ? " user=" : "",
                    server->owner ? server->owner : "");
}

static void print_check(apr_file_t *out, const fpmp_check *check, apr_pool_t *memory)
{
    static const char *const kinds[] = {"connect", "ping", "script="};
    apr_file_printf(out, "        check=%s%s interval=%s%s%s%s\n", kinds[check->kind],
                    check->script ? check->script : "", describe_time(memory, check->interval),
                    check->expectation ? " expect=\"" : "",
                    check->expectation ? fpmp_expect_text(check->expectation) : "",
                    check->expectation ? "\"" : "");
}

static void print_pool(apr_file_t *out, const fpmp_pool *pool, server_rec *main, apr_pool_t *memory)
{
    apr_file_printf(out, "    %s (%s:%d)%s\n", pool->name, pool->file, pool->line,
                    pool->is_implied ? ", not defined: its socket in FpmPoolSocketDir" : "");
    for (int i = 0; i < pool->server_count; i++) {
        print_server(out, &pool->servers[i], memory);
    }
    if (pool->server_count > 1) {
        apr_file_printf(out, "        balance=%s\n", balance_names[pool->balance]);
    }
    for (int i = 0; i < pool->health.check_count; i++) {
        print_check(out, &pool->checks[i], memory);
    }
    if (!print_uses(out, pool, main, memory)) {
        apr_file_printf(out, "        used nowhere\n");
    }
}

/* Two lines of one section are one place. */
static int is_first_of_place(const apr_array_header_t *limits, int index)
{
    for (int i = 0; i < index; i++) {
        if (APR_ARRAY_IDX(limits, i, fpmp_use).place ==
            APR_ARRAY_IDX(limits, index, fpmp_use).place) {
            return 0;
        }
    }
    return 1;
}

/* FpmPoolTimeout of sections, with or without an FpmPool line: on top of what is said above. */
static void print_limits(apr_file_t *out, server_rec *main, apr_pool_t *memory)
{
    int count = 0;
    for (const server_rec *server = main; server; server = server->next) {
        const fpmp_server_conf *conf = ap_get_module_config(server->module_config, &fpmpool_module);
        for (int i = 0; i < conf->limits->nelts; i++) {
            const fpmp_use *line = &APR_ARRAY_IDX(conf->limits, i, const fpmp_use);
            if (!is_first_of_place(conf->limits, i)) {
                continue;
            }
            apr_file_printf(out, "%s        %s%s%s (%s:%d)\n           %s\n",
                            count++ ? "" : "    time limits of sections\n",
                            name_server(server, main, memory), line->section ? ", " : "",
                            line->section ? line->section : "", line->file, line->line,
                            describe_set(memory, &line->place->section_timeouts));
        }
    }
}

void fpmp_conf_dump(apr_pool_t *pconf, server_rec *main)
{
    const fpmp_global *global = fpmp_conf_global(main);
    apr_file_t *out = NULL;
    if (!ap_exists_config_define("DUMP_FPMPOOLS") ||
        apr_file_open_stdout(&out, pconf) != APR_SUCCESS) {
        return;
    }
    apr_file_printf(out, "FpmPool configuration:\n    FpmPoolSocketDir %s\n", global->socket_dir);
    if (global->max_names) {
        apr_file_printf(out, "    FpmPoolMaxPools %d\n", global->max_names);
    }
    if (global->defaults.name) {
        apr_file_printf(out, "    * (%s:%d): what all pools have that say nothing else\n",
                        global->defaults.file, global->defaults.line);
    }
    const apr_array_header_t *pools = sort_pools(global, pconf);
    for (int i = 0; i < pools->nelts; i++) {
        print_pool(out, APR_ARRAY_IDX(pools, i, const fpmp_pool *), main, pconf);
    }
    print_expressions(out, main, pconf);
    print_limits(out, main, pconf);
}
