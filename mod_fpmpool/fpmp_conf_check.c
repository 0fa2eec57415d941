/* fpmp_conf_check.c - what is wrong with the configuration as a whole.
 *
 * Runs in the parent after the configuration was read, also for `httpd -t`: every mistake is
 * reported with file, line and cure. Registers the pools that are used without a definition. Must
 * not refuse a configuration because a server is not running (yet).
 */
#include "fpmp_conf.h"

#include <http_core.h>
#include <http_log.h>
#include <apr_file_info.h>
#include <apr_strings.h>

APLOG_USE_MODULE(fpmpool);

static int is_config_test(void)
{
    return ap_state_query(AP_SQ_RUN_MODE) == AP_SQ_RM_CONFIG_TEST;
}

/* A socket that is not there is no mistake: the daemon may start later. `httpd -t` mentions it,
 * because it may also be a misspelt name. */
static void mention_missing(const fpmp_pool *pool, server_rec *main, apr_pool_t *ptemp)
{
    apr_finfo_t info;
    if (is_config_test() &&
        apr_stat(&info, pool->server.address.path, APR_FINFO_TYPE, ptemp) != APR_SUCCESS) {
        ap_log_error(
            APLOG_MARK, APLOG_WARNING | APLOG_STARTUP, 0, main,
            "FPMP0001: %s:%d: FpmPool %s: there is no <FpmPoolDefine %s>, and no socket %s "
            "yet: start that pool, or correct the name",
            pool->file, pool->line, pool->name, pool->name, pool->server.address.path);
    }
}

static int imply_pool(const fpmp_use *use, fpmp_global *global, server_rec *main, apr_pool_t *pconf,
                      apr_pool_t *ptemp)
{
    fpmp_pool *pool = apr_pcalloc(pconf, sizeof(*pool));
    pool->name = use->name;
    pool->file = use->file;
    pool->line = use->line;
    pool->is_implied = 1;
    pool->server.type = FPMP_TYPE_FPMPOOL;
    pool->server.reuses = 1;
    const char *wrong =
        fpmp_address_imply(&pool->server.address, global->socket_dir, use->name, pconf);
    if (wrong) {
        ap_log_error(APLOG_MARK, APLOG_EMERG | APLOG_STARTUP, 0, main,
                     "FPMP0002: %s:%d: FpmPool %s: %s (FpmPoolSocketDir)", use->file, use->line,
                     use->name, wrong);
        return 0;
    }
    apr_hash_set(global->pools, pool->name, APR_HASH_KEY_STRING, pool);
    mention_missing(pool, main, ptemp);
    return 1;
}

/* A name service that does not answer now must not keep httpd from starting: children ask again. */
static void resolve_pool(fpmp_pool *pool, server_rec *main, apr_pool_t *ptemp)
{
    apr_status_t status = fpmp_address_resolve(&pool->server.address, ptemp);
    if (status != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING | APLOG_STARTUP, status, main,
                     "FPMP0003: %s:%d: pool %s: the host of %s is not known now; it is looked up "
                     "again for each request: correct it, or use an address",
                     pool->file, pool->line, pool->name, pool->server.address.label);
    }
}

int fpmp_conf_check(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *main)
{
    fpmp_global *global = fpmp_conf_global(main);
    int is_good = 1;
    (void)plog;
    for (server_rec *server = main; server; server = server->next) {
        const fpmp_server_conf *conf = ap_get_module_config(server->module_config, &fpmpool_module);
        for (int i = 0; i < conf->uses->nelts; i++) {
            const fpmp_use *use = &APR_ARRAY_IDX(conf->uses, i, const fpmp_use);
            if (!apr_hash_get(global->pools, use->name, APR_HASH_KEY_STRING)) {
                is_good &= imply_pool(use, global, main, pconf, ptemp);
            }
        }
    }
    global->server_count = 0;
    for (apr_hash_index_t *at = apr_hash_first(ptemp, global->pools); at; at = apr_hash_next(at)) {
        fpmp_pool *pool = apr_hash_this_val(at);
        resolve_pool(pool, main, ptemp);
        pool->server.index = global->server_count++;
    }
    return is_good ? OK : HTTP_INTERNAL_SERVER_ERROR;
}
