/* conf.c - the door of conf/: load (parse, then check) and dump.
 *
 * Runs in the master, or in the child that tests a configuration.
 */
#include "conf/conf.h"

#include <string.h>
#include <syslog.h>

#include "apr_strings.h"
#include "base/log.h"
#include "conf/check.h"
#include "conf/keys.h"
#include "conf/parse.h"

void fpd_conf_preset(fpd_conf_global *global)
{
    memset(global, 0, sizeof(*global));
    global->error_log = "log/php-fpm.log";
    global->syslog_ident = "php-fpm";
    global->syslog_facility = LOG_DAEMON;
    global->log_buffering = 1;
    global->log_level = FPD_PLAN_UNSET;
    global->log_limit = 1024;
    global->process_control_timeout = 30;
    global->process_priority = FPD_PLAN_UNSET;
    global->daemonize = 1;
    global->systemd_interval = -1;
}

static fpd_conf *make_conf(const fpd_conf_options *options, apr_pool_t *pool)
{
    fpd_conf *conf = apr_pcalloc(pool, sizeof(*conf));

    conf->file = options->file;
    conf->pools = apr_array_make(pool, 4, sizeof(fpd_plan_pool *));
    conf->sections = apr_array_make(pool, 4, sizeof(fpd_conf_section *));
    fpd_conf_preset(&conf->global);
    return conf;
}

int fpd_conf_log_level(const fpd_conf_global *global)
{
    return global->log_level == FPD_PLAN_UNSET ? FPD_LOG_NOTICE : global->log_level;
}

apr_status_t fpd_conf_load(fpd_conf **loaded, apr_array_header_t **messages,
                           const fpd_conf_options *options, apr_pool_t *pool)
{
    fpd_parse parse = {.options = options,
                       .conf = make_conf(options, pool),
                       .messages = apr_array_make(pool, 8, sizeof(fpd_conf_message)),
                       .pool = pool};

    *messages = parse.messages;
    fpd_parse_file(&parse);
    if (parse.error_count > 0) {
        fpd_parse_say(&parse, FPD_CONF_ERROR, 0, NULL, "failed to load configuration file '%s'",
                      options->file);
        return APR_EGENERAL;
    }
    fpd_check_all(&parse);
    if (parse.error_count > 0) {
        fpd_parse_say(&parse, FPD_CONF_ERROR, 0, NULL, "failed to post process the configuration");
        return APR_EGENERAL;
    }
    *loaded = parse.conf;
    return APR_SUCCESS;
}

apr_status_t fpd_conf_find_control(const char **path, const char **reason,
                                   const fpd_conf_options *options, apr_pool_t *pool)
{
    fpd_parse parse = {.options = options,
                       .conf = make_conf(options, pool),
                       .messages = apr_array_make(pool, 8, sizeof(fpd_conf_message)),
                       .pool = pool};

    fpd_parse_file(&parse);
    if (parse.file == NULL) { /* nothing was opened */
        *reason = APR_ARRAY_IDX(parse.messages, 0, fpd_conf_message).text;
        return APR_EGENERAL;
    }
    fpd_check_places(&parse);
    *path = parse.conf->global.control_socket;
    return APR_SUCCESS;
}

/* ---- dump --------------------------------------------------------------------------------- */

static void dump_line(apr_array_header_t *lines, apr_pool_t *pool, const char *name,
                      const char *value)
{
    APR_ARRAY_PUSH(lines, const char *) = apr_psprintf(pool, "\t%s = %s", name, value);
}

static void dump_keys(apr_array_header_t *lines, fpd_key_scope scope, const void *structure,
                      const fpd_conf_section *section, apr_pool_t *pool)
{
    for (size_t i = 0; i < fpd_keys_count; i++) {
        const fpd_key *key = &fpd_keys[i];
        const char *value;
        if (key->scope != scope || key->is_ours || strcmp(key->name, "apparmor_hat") == 0) {
            continue;
        }
        value = fpd_keys_print(key, structure, pool);
        if (key->type == FPD_KEY_MODE && section->listen_mode != NULL) {
            value = section->listen_mode; /* as written: 660 is not 0660 in a dump */
        }
        dump_line(lines, pool, key->name, value);
        if (section != NULL && strcmp(key->name, "access.format") == 0) {
            const apr_array_header_t *paths = section->plan->suppress_paths;
            for (int p = paths->nelts - 1; p >= 0; p--) {
                dump_line(lines, pool, "access.suppress_path[]",
                          APR_ARRAY_IDX(paths, p, const char *));
            }
        }
    }
}

static void dump_pairs(apr_array_header_t *lines, const char *name, const apr_array_header_t *pairs,
                       int is_admin, apr_pool_t *pool)
{
    for (int i = pairs->nelts - 1; i >= 0; i--) {
        const fpd_plan_pair *pair = &APR_ARRAY_IDX(pairs, i, fpd_plan_pair);
        if (pair->is_admin == is_admin) {
            dump_line(lines, pool, apr_psprintf(pool, "%s[%s]", name, pair->key), pair->value);
        }
    }
}

apr_array_header_t *fpd_conf_dump(const fpd_conf *conf, apr_pool_t *pool)
{
    apr_array_header_t *lines = apr_array_make(pool, 64, sizeof(const char *));

    APR_ARRAY_PUSH(lines, const char *) = "[global]";
    dump_keys(lines, FPD_KEY_GLOBAL, &conf->global, NULL, pool);
    APR_ARRAY_PUSH(lines, const char *) = " ";
    for (int i = 0; i < conf->sections->nelts; i++) {
        const fpd_conf_section *section = APR_ARRAY_IDX(conf->sections, i, fpd_conf_section *);
        APR_ARRAY_PUSH(lines, const char *) = apr_psprintf(pool, "[%s]", section->plan->name);
        dump_keys(lines, FPD_KEY_POOL, section->plan, section, pool);
        dump_pairs(lines, "env", section->env, 0, pool);
        dump_pairs(lines, "php_value", section->values, 0, pool);
        dump_pairs(lines, "php_admin_value", section->values, 1, pool);
        APR_ARRAY_PUSH(lines, const char *) = " ";
    }
    return lines;
}
