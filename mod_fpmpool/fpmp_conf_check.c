/* fpmp_conf_check.c - what is wrong with the configuration as a whole.
 *
 * Runs in the parent after the configuration was read, also for `httpd -t`: every mistake is
 * reported with file, line and cure. Registers the pools that are used without a definition. Must
 * not refuse a configuration because a server is not running (yet).
 */
#include "fpmp_conf.h"
#include "fpmp_conf_define.h"

#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <apr_file_info.h>
#include <apr_strings.h>
#include <string.h>

APLOG_USE_MODULE(fpmpool);

static int is_config_test(void)
{
    return ap_state_query(AP_SQ_RUN_MODE) == AP_SQ_RM_CONFIG_TEST;
}

static int is_there(const char *path, apr_pool_t *memory)
{
    apr_finfo_t info;
    return apr_stat(&info, path, APR_FINFO_TYPE, memory) == APR_SUCCESS;
}

/* A pool whose name differs in nothing but capital letters, or NULL. */
static const fpmp_pool *find_namesake(const fpmp_pool *pool, const fpmp_global *global,
                                      apr_pool_t *memory)
{
    for (apr_hash_index_t *at = apr_hash_first(memory, global->pools); at; at = apr_hash_next(at)) {
        const fpmp_pool *other = apr_hash_this_val(at);
        if (other != pool && !other->is_implied && !strcasecmp(other->name, pool->name)) {
            return other;
        }
    }
    return NULL;
}

/* The directory of its socket if that does not exist, else NULL. */
static const char *find_lost_directory(const fpmp_server *server, apr_pool_t *memory)
{
    const char *path = server->address.path;
    const char *slash = path ? strrchr(path, '/') : NULL;
    if (!slash || slash == path) {
        return NULL;
    }
    const char *directory = apr_pstrmemdup(memory, path, (apr_size_t)(slash - path));
    return is_there(directory, memory) ? NULL : directory;
}

/* A socket that is not there is no mistake: the daemon may start later. `httpd -t` mentions it,
 * because it may also be a misspelt name. */
static void mention_missing(const fpmp_pool *pool, const fpmp_global *global, server_rec *main,
                            apr_pool_t *ptemp)
{
    if (!is_config_test() || is_there(pool->servers[0].address.path, ptemp)) {
        return;
    }
    const fpmp_pool *namesake = find_namesake(pool, global, ptemp);
    const char *hint = namesake
                           ? apr_psprintf(ptemp, " (%s of %s:%d is another: capital letters count)",
                                          namesake->name, namesake->file, namesake->line)
                           : "";
    ap_log_error(
        APLOG_MARK, APLOG_WARNING | APLOG_STARTUP, 0, main,
        "FPMP0001: %s:%d: FpmPool %s: there is no <FpmPoolDefine %s>%s, and no socket %s "
        "yet%s: start that pool, or correct the name",
        pool->file, pool->line, pool->name, pool->name, hint, pool->servers[0].address.path,
        find_lost_directory(&pool->servers[0], ptemp) ? ", nor its directory (FpmPoolSocketDir)"
                                                      : "");
}

/* Nobody can make a socket in a directory that does not exist. */
static void mention_directory(const fpmp_pool *pool, const fpmp_server *server, server_rec *main,
                              apr_pool_t *ptemp)
{
    const char *directory = find_lost_directory(server, ptemp);
    if (directory) {
        ap_log_error(APLOG_MARK, APLOG_WARNING | APLOG_STARTUP, 0, main,
                     "FPMP0007: %s:%d: pool %s: there is no directory %s for its socket: start "
                     "the daemon that makes it, or correct the path",
                     pool->file, pool->line, pool->name, directory);
    }
}

/* ---- lines that have no effect --------------------------------------------------------------- */

/* Does any line of these or of the sections in them bring requests to this module? */
static int has_handler(const ap_directive_t *lines)
{
    static const char *const naming[] = {"SetHandler", "AddHandler", "ForceType", "AddType"};
    for (const ap_directive_t *at = lines; at; at = at->next) {
        for (size_t i = 0; i < sizeof(naming) / sizeof(naming[0]); i++) {
            const char *name = strstr(at->args, "fpmpool");
            if (!strcasecmp(at->directive, naming[i]) && name && name[strlen("fpmpool")] != '-') {
                return 1;
            }
        }
        if (!strcasecmp(at->directive, "FpmPoolHandlerAlias") || has_handler(at->first_child)) {
            return 1;
        }
    }
    return 0;
}

/* ---- a manager for everybody ----------------------------------------------------------------- */

static int is_guard(const ap_directive_t *line)
{
    int is_require =
        !strncasecmp(line->directive, "Require", 7) || !strncasecmp(line->directive, "<Require", 8);
    return is_require && strcasecmp(line->args, "all granted") != 0;
}

static int sets_manager(const ap_directive_t *line)
{
    return !strcasecmp(line->directive, "SetHandler") && strstr(line->args, "fpmpool-manager");
}

/* Another section may say it for the same place, so that it is no reason not to start. */
static void mention_open(const ap_directive_t *lines, int is_guarded, server_rec *main)
{
    for (const ap_directive_t *at = lines; at; at = at->next) {
        is_guarded |= is_guard(at);
    }
    for (const ap_directive_t *at = lines; at; at = at->next) {
        if (sets_manager(at) && !is_guarded) {
            ap_log_error(APLOG_MARK, APLOG_WARNING | APLOG_STARTUP, 0, main,
                         "FPMP0133: %s:%d: nothing here says who may use fpmpool-manager, so that "
                         "everybody can take servers out: add Require (unless another section of "
                         "this place has it)",
                         at->filename, at->line_num);
        }
        mention_open(at->first_child, is_guarded, main);
    }
}

/* ---- lines that count for nothing ------------------------------------------------------------ */

static const fpmp_use *find_earlier(const apr_array_header_t *uses, int before)
{
    const fpmp_use *use = &APR_ARRAY_IDX(uses, before, const fpmp_use);
    for (int i = before - 1; i >= 0; i--) {
        const fpmp_use *earlier = &APR_ARRAY_IDX(uses, i, const fpmp_use);
        if (earlier->place == use->place && use->kind == FPMP_USE_FIRST &&
            earlier->kind == FPMP_USE_FIRST) {
            return earlier;
        }
    }
    return NULL;
}

/* Does an expression read %{env:X}, reqenv('X') or a note? */
static int reads_variable(const char *text)
{
    static const char *const words[] = {"env:", "env(", "note:", "note("};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        for (const char *at = ap_strcasestr(text, words[i]); at;
             at = ap_strcasestr(at + 1, words[i])) {
            if (at < text + 2 || strncasecmp(at - 2, "os", 2)) {
                return 1;
            }
        }
    }
    return 0;
}

/* Such an expression gives the choice away, unless no tenant has .htaccess files. */
static void mention_variables(const apr_array_header_t *uses, server_rec *main)
{
    for (int i = 0; i < uses->nelts; i++) {
        const fpmp_use *use = &APR_ARRAY_IDX(uses, i, const fpmp_use);
        if (use->is_expression && reads_variable(use->name)) {
            ap_log_error(APLOG_MARK, APLOG_WARNING | APLOG_STARTUP, 0, main,
                         "FPMP0105: %s:%d: FpmPool \"expr=%s\" reads a variable or a note, which "
                         ".htaccess files can set where AllowOverride has FileInfo: who writes "
                         "them chooses the pool: take another source, or AllowOverride None",
                         use->file, use->line, use->name);
        }
    }
}

/* httpd's rule is that the last line counts: no reason not to start. */
static void mention_useless(server_rec *main)
{
    int is_used = 0;
    for (server_rec *server = main; server; server = server->next) {
        const fpmp_server_conf *conf = ap_get_module_config(server->module_config, &fpmpool_module);
        for (int i = 0; i < conf->uses->nelts; i++) {
            const fpmp_use *use = &APR_ARRAY_IDX(conf->uses, i, const fpmp_use);
            const fpmp_use *earlier = find_earlier(conf->uses, i);
            if (earlier) {
                ap_log_error(APLOG_MARK, APLOG_WARNING | APLOG_STARTUP, 0, main,
                             "FPMP0008: %s:%d: FpmPool %s replaces FpmPool %s of %s:%d, which is "
                             "of the same section: remove one of both",
                             use->file, use->line, use->name, earlier->name, earlier->file,
                             earlier->line);
            }
        }
        mention_variables(conf->uses, main);
        const fpmp_use *first =
            conf->uses->nelts && !is_used ? &APR_ARRAY_IDX(conf->uses, 0, const fpmp_use) : NULL;
        is_used |= conf->uses->nelts > 0;
        if (first && !has_handler(ap_conftree)) {
            ap_log_error(APLOG_MARK, APLOG_WARNING | APLOG_STARTUP, 0, main,
                         "FPMP0009: %s:%d: FpmPool %s: no line of the configuration sets the "
                         "handler, so httpd shows the source of scripts: add SetHandler fpmpool in "
                         "a <FilesMatch> (unless .htaccess files do it)",
                         first->file, first->line, first->name);
        }
    }
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int imply_pool(const fpmp_use *use, fpmp_global *global, server_rec *main, apr_pool_t *pconf,
                      apr_pool_t *ptemp)
{
    fpmp_pool *pool = apr_pcalloc(pconf, sizeof(*pool));
    fpmp_conf_init_pool(pool, &global->defaults);
    pool->name = use->name;
    pool->file = use->file;
    pool->line = use->line;
    pool->is_implied = 1;
    fpmp_server *server = apr_pcalloc(pconf, sizeof(*server));
    server->type = FPMP_TYPE_FPMPOOL;
    server->reuses = 1;
    server->weight = 1;
    pool->servers = server;
    pool->server_count = 1;
    const char *wrong = fpmp_address_imply(&server->address, global->socket_dir, use->name, pconf);
    server->name = server->address.label;
    if (wrong) {
        ap_log_error(APLOG_MARK, APLOG_EMERG | APLOG_STARTUP, 0, main,
                     "FPMP0002: %s:%d: FpmPool %s: %s (FpmPoolSocketDir)", use->file, use->line,
                     use->name, wrong);
        return 0;
    }
    apr_hash_set(global->pools, pool->name, APR_HASH_KEY_STRING, pool);
    mention_missing(pool, global, main, ptemp);
    return 1;
}

/* A name service that does not answer now must not keep httpd from starting: one of them asks
 * again. */
static void resolve_server(const fpmp_pool *pool, fpmp_server *server, server_rec *main,
                           apr_pool_t *ptemp)
{
    apr_status_t status = fpmp_address_resolve(&server->address, ptemp);
    if (status != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING | APLOG_STARTUP, status, main,
                     "FPMP0003: %s:%d: pool %s: the host of %s is not known now; it is looked up "
                     "again%s: correct it, or use an address",
                     pool->file, pool->line, pool->name, server->address.label,
                     server->resolve ? "" : " at the next restart (resolve=0)");
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
            if (use->is_expression) {
                global->max_names = global->name_limit ? global->name_limit : FPMP_NAMES_DEFAULT;
            } else if (!apr_hash_get(global->pools, use->name, APR_HASH_KEY_STRING)) {
                is_good &= imply_pool(use, global, main, pconf, ptemp);
            }
        }
    }
    global->pool_count = 0;
    global->server_count = 0;
    global->name_count = 0;
    for (apr_hash_index_t *at = apr_hash_first(ptemp, global->pools); at; at = apr_hash_next(at)) {
        fpmp_pool *pool = apr_hash_this_val(at);
        pool->index = global->pool_count++;
        for (int i = 0; i < pool->server_count; i++) {
            fpmp_server *server = &pool->servers[i];
            resolve_server(pool, server, main, ptemp);
            server->index = global->server_count++;
            if (server->resolve && server->address.host && !server->is_number) {
                server->name_place = ++global->name_count;
            }
            if (is_config_test() && !pool->is_implied) {
                mention_directory(pool, server, main, ptemp);
            }
        }
    }
    if (is_config_test()) {
        mention_useless(main);
        mention_open(ap_conftree, 0, main);
    }
    return is_good ? OK : HTTP_INTERNAL_SERVER_ERROR;
}
