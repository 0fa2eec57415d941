/* fpmp_conf.c - the directives of mod_fpmpool: how they are read, and how sections merge.
 *
 * Runs in the parent while the configuration is read; the merge also runs in children, for each
 * request with sections. Directive handlers refuse what they can see alone; fpmp_conf_define.c
 * reads pools, fpmp_conf_select.c which one serves, fpmp_conf_check.c sees the whole. Must not keep
 * anything outside of httpd's configuration pools.
 */
#include "fpmp_conf.h"
#include "fpmp_conf_define.h"
#include "fpmp_conf_select.h"
#include "fpmp_limit.h"

#include <httpd.h>
#include <http_config.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define SOCKET_DIR_DEFAULT  "/run/fpmpool"
#define RETRY_AFTER_DEFAULT 5
#define BODY_MEMORY_DEFAULT (64 * KIBIBYTE)
#define MAX_PARAMS_DEFAULT  (512 * KIBIBYTE)
#define MAX_HEADER_DEFAULT  (256 * KIBIBYTE)
#define BUFFER_FILE_DEFAULT (1024 * MEBIBYTE)

#define EVERYWHERE (RSRC_CONF | ACCESS_CONF) /* but not in .htaccess */

/* ---- create and merge ------------------------------------------------------------------------ */

void *fpmp_conf_dir_create(apr_pool_t *pool, char *path)
{
    fpmp_dir_conf *conf = apr_pcalloc(pool, sizeof(*conf));
    (void)path;
    conf->retry_after = RETRY_AFTER_DEFAULT;
    conf->checks_script = 1;
    conf->authorization = FPMP_AUTHORIZATION_ON;
    conf->body_mode = FPMP_BODY_AUTO;
    conf->body_memory = BODY_MEMORY_DEFAULT;
    conf->flush = FPMP_FLUSH_AUTO;
    conf->stderr_level = FPMP_STDERR_AUTO;
    conf->max_params = MAX_PARAMS_DEFAULT;
    conf->max_header = MAX_HEADER_DEFAULT;
    conf->fails_over = FPMP_FAILOVER_DOWN | FPMP_FAILOVER_OVERLOAD;
    return conf;
}

void *fpmp_conf_dir_merge(apr_pool_t *pool, void *outer_conf, void *inner_conf)
{
    const fpmp_dir_conf *outer = outer_conf;
    const fpmp_dir_conf *inner = inner_conf;
    fpmp_dir_conf *merged = apr_pmemdup(pool, outer, sizeof(*outer));
#define MERGE(field)                                                                               \
    if (inner->field##_set) {                                                                      \
        merged->field = inner->field;                                                              \
        merged->field##_set = 1;                                                                   \
    }
    fpmp_conf_select_merge(merged, inner);
    MERGE(retry_after)
    MERGE(checks_script)
    MERGE(authorization)
    MERGE(flush)
    MERGE(max_params)
    MERGE(max_header)
    MERGE(aliases)
    MERGE(serves_source)
    MERGE(server_timing)
    MERGE(send_roots)
    MERGE(overridden)
    MERGE(resolves_root)
    MERGE(stderr_level)
    MERGE(abort_within)
    MERGE(fails_over)
#undef MERGE
    if (inner->body_set) {
        merged->body_mode = inner->body_mode;
        merged->body_memory = inner->body_memory;
        merged->body_set = 1;
    }
    merged->ini = fpmp_ini_merge(pool, outer->ini, inner->ini);
    merged->setenvif = fpmp_setenvif_merge(pool, outer->setenvif, inner->setenvif);
    if (inner->buffer_set) {
        merged->buffer_memory = inner->buffer_memory;
        merged->buffer_file = inner->buffer_file;
        merged->buffer_set = 1;
    }
    fpmp_pool_overlay(&merged->server_timeouts, &inner->server_timeouts);
    fpmp_pool_overlay(&merged->section_timeouts, &inner->section_timeouts);
    fpmp_limit_overlay(&merged->server_limit, &inner->server_limit);
    fpmp_limit_overlay(&merged->section_limit, &inner->section_limit);
    if (inner->server_retry.is_set) {
        merged->server_retry = inner->server_retry;
    }
    if (inner->section_retry.is_set) {
        merged->section_retry = inner->section_retry;
    }
    return merged;
}

void *fpmp_conf_server_create(apr_pool_t *pool, server_rec *server)
{
    fpmp_server_conf *conf = apr_pcalloc(pool, sizeof(*conf));
    conf->uses = apr_array_make(pool, 4, sizeof(fpmp_use));
    conf->limits = apr_array_make(pool, 1, sizeof(fpmp_use));
    if (!server->is_virtual) {
        conf->global = apr_pcalloc(pool, sizeof(*conf->global));
        conf->global->pools = apr_hash_make(pool);
        conf->global->socket_dir = SOCKET_DIR_DEFAULT;
        fpmp_conf_init_pool(&conf->global->defaults, NULL);
    }
    return conf;
}

void *fpmp_conf_server_merge(apr_pool_t *pool, void *outer_conf, void *inner_conf)
{
    const fpmp_server_conf *outer = outer_conf;
    const fpmp_server_conf *inner = inner_conf;
    fpmp_server_conf *merged = apr_palloc(pool, sizeof(*merged));
    merged->global = outer->global;
    merged->uses = inner->uses;
    merged->limits = inner->limits;
    merged->constants = NULL;
    return merged;
}

int fpmp_conf_overrides(const fpmp_dir_conf *conf, int status)
{
    for (int i = 0; conf->overridden && i < conf->overridden->nelts; i++) {
        int named = APR_ARRAY_IDX(conf->overridden, i, int);
        if (!named || named == status) {
            return 1;
        }
    }
    return 0;
}

fpmp_dir_conf *fpmp_conf_dir(const request_rec *r)
{
    return ap_get_module_config(r->per_dir_config, &fpmpool_module);
}

fpmp_global *fpmp_conf_global(const server_rec *server)
{
    const fpmp_server_conf *conf = ap_get_module_config(server->module_config, &fpmpool_module);
    return conf->global;
}

/* ---- values ---------------------------------------------------------------------------------- */

static const char *set_socket_dir(cmd_parms *cmd, void *dir_conf, const char *directory)
{
    (void)dir_conf;
    const char *wrong = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    if (wrong) {
        return wrong;
    }
    if (directory[0] != '/') {
        return apr_psprintf(cmd->pool, "FpmPoolSocketDir: \"%s\" does not begin with /", directory);
    }
    size_t length = strlen(directory);
    while (length > 1 && directory[length - 1] == '/') {
        length--;
    }
    fpmp_conf_global(cmd->server)->socket_dir = apr_pstrmemdup(cmd->pool, directory, length);
    return NULL;
}

/* ---- sections -------------------------------------------------------------------------------- */

static fpmp_server_conf *server_of(const cmd_parms *cmd)
{
    return ap_get_module_config(cmd->server->module_config, &fpmpool_module);
}

static const char *set_failover(cmd_parms *cmd, void *dir_conf, const char *word)
{
    fpmp_dir_conf *conf = dir_conf;
    char *rest = NULL;
    if (strncasecmp(word, "on=", 3)) {
        return apr_psprintf(cmd->pool, "FpmPoolFailover: \"%s\": known is on=down,overload", word);
    }
    conf->fails_over = 0;
    conf->fails_over_set = 1;
    for (char *on = apr_strtok(apr_pstrdup(cmd->pool, word + 3), ",", &rest); on;
         on = apr_strtok(NULL, ",", &rest)) {
        if (!strcasecmp(on, "down")) {
            conf->fails_over |= FPMP_FAILOVER_DOWN;
        } else if (!strcasecmp(on, "overload")) {
            conf->fails_over |= FPMP_FAILOVER_OVERLOAD;
        } else {
            return apr_psprintf(cmd->pool,
                                "FpmPoolFailover: on=%s: known are down, overload or both with a "
                                "comma",
                                on);
        }
    }
    return conf->fails_over ? NULL : "FpmPoolFailover: on= needs down, overload or both";
}

static const char *set_retry(cmd_parms *cmd, void *dir_conf, const char *arguments)
{
    fpmp_dir_conf *conf = dir_conf;
    return fpmp_conf_read_retry(cmd, arguments,
                                cmd->path ? &conf->section_retry : &conf->server_retry);
}

static const char *set_timeout(cmd_parms *cmd, void *dir_conf, const char *arguments)
{
    fpmp_dir_conf *conf = dir_conf;
    if (!cmd->path) {
        return fpmp_conf_read_timeouts(cmd, arguments, &conf->server_timeouts);
    }
    (void)fpmp_conf_note_line(server_of(cmd)->limits, cmd, conf);
    return fpmp_conf_read_timeouts(cmd, arguments, &conf->section_timeouts);
}

static const char *set_limit(cmd_parms *cmd, void *dir_conf, const char *arguments)
{
    fpmp_dir_conf *conf = dir_conf;
    return fpmp_conf_read_limit(cmd, arguments,
                                cmd->path ? &conf->section_limit : &conf->server_limit);
}

static const char *set_retry_after(cmd_parms *cmd, void *dir_conf, const char *text)
{
    fpmp_dir_conf *conf = dir_conf;
    apr_size_t seconds = 0;
    if (fpmp_conf_read_size(cmd->pool, text, 0, 86400, &seconds) ||
        !apr_isdigit(text[strlen(text) - 1])) {
        return "FpmPoolRetryAfter takes seconds from 0 (no header) to 86400";
    }
    conf->retry_after = (int)seconds;
    conf->retry_after_set = 1;
    return NULL;
}

static const char *set_check_script(cmd_parms *cmd, void *dir_conf, int flag)
{
    fpmp_dir_conf *conf = dir_conf;
    (void)cmd;
    conf->checks_script = flag;
    conf->checks_script_set = 1;
    return NULL;
}

static const char *set_server_timing(cmd_parms *cmd, void *dir_conf, int flag)
{
    fpmp_dir_conf *conf = dir_conf;
    (void)cmd;
    conf->server_timing = flag;
    conf->server_timing_set = 1;
    return NULL;
}

static const char *set_authorization(cmd_parms *cmd, void *dir_conf, const char *text)
{
    static const char *const choices[] = {"Off", "On", "Always", NULL};
    fpmp_dir_conf *conf = dir_conf;
    int choice = fpmp_conf_read_choice(text, choices);
    if (choice < 0) {
        return apr_psprintf(cmd->pool, "FpmPoolPassAuthorization: \"%s\" is not Off, On or Always",
                            text);
    }
    conf->authorization = (fpmp_authorization)choice;
    conf->authorization_set = 1;
    return NULL;
}

static const char *set_body(cmd_parms *cmd, void *dir_conf, const char *mode, const char *option)
{
    static const char *const choices[] = {"auto", "stream", "buffer", NULL};
    fpmp_dir_conf *conf = dir_conf;
    int choice = fpmp_conf_read_choice(mode, choices);
    if (choice < 0) {
        return apr_psprintf(cmd->pool, "FpmPoolBody: \"%s\" is not auto, stream or buffer", mode);
    }
    if (option) {
        if (strncasecmp(option, "memory=", 7)) {
            return apr_psprintf(cmd->pool, "FpmPoolBody: \"%s\": known is memory=", option);
        }
        const char *wrong = fpmp_conf_read_size(cmd->pool, option + 7, 4 * KIBIBYTE, 64 * MEBIBYTE,
                                                &conf->body_memory);
        if (wrong) {
            return apr_pstrcat(cmd->pool, "FpmPoolBody: memory=: ", wrong, NULL);
        }
    }
    conf->body_mode = (fpmp_body_mode)choice;
    conf->body_set = 1;
    return NULL;
}

static const char *set_flush(cmd_parms *cmd, void *dir_conf, const char *text)
{
    static const char *const choices[] = {"auto", "on", "off", NULL};
    fpmp_dir_conf *conf = dir_conf;
    int choice = fpmp_conf_read_choice(text, choices);
    if (choice < 0) {
        return apr_psprintf(cmd->pool, "FpmPoolFlush: \"%s\" is not auto, on or off", text);
    }
    conf->flush = (fpmp_flush_mode)choice;
    conf->flush_set = 1;
    return NULL;
}

static const char *set_stderr(cmd_parms *cmd, void *dir_conf, const char *text)
{
    static const char *const choices[] = {"emerg",  "alert", "crit",  "error", "warn",
                                          "notice", "info",  "debug", NULL};
    fpmp_dir_conf *conf = dir_conf;
    int level = fpmp_conf_read_choice(text, choices); /* in the order of APLOG_EMERG.. */
    if (!strcasecmp(text, "auto")) {
        level = FPMP_STDERR_AUTO;
    } else if (!strcasecmp(text, "off")) {
        level = FPMP_STDERR_OFF;
    } else if (level < 0) {
        return apr_psprintf(cmd->pool,
                            "FpmPoolStderr: \"%s\" is not auto, off or a level of LogLevel "
                            "(emerg, alert, crit, error, warn, notice, info, debug)",
                            text);
    }
    conf->stderr_level = level;
    conf->stderr_level_set = 1;
    return NULL;
}

static const char *set_on_abort(cmd_parms *cmd, void *dir_conf, const char *text,
                                const char *option)
{
    static const char *const choices[] = {"tell", "finish", NULL};
    fpmp_dir_conf *conf = dir_conf;
    int choice = fpmp_conf_read_choice(text, choices);
    if (choice < 0) {
        return apr_psprintf(cmd->pool, "FpmPoolOnAbort: \"%s\" is not tell or finish", text);
    }
    if (option && (!choice || strncasecmp(option, "within=", 7))) {
        return apr_psprintf(cmd->pool, "FpmPoolOnAbort: \"%s\": known is finish within=TIME",
                            option);
    }
    conf->abort_within = choice ? FPMP_ABORT_WITHIN_DEFAULT : 0;
    conf->abort_within_set = 1;
    return option ? fpmp_conf_read_within(cmd, option, &conf->abort_within) : NULL;
}

static const char *set_resolve_root(cmd_parms *cmd, void *dir_conf, const char *text)
{
    static const char *const choices[] = {"auto", "on", "off", NULL};
    fpmp_dir_conf *conf = dir_conf;
    int choice = fpmp_conf_read_choice(text, choices);
    if (choice < 0) {
        return apr_psprintf(cmd->pool, "FpmPoolResolveRoot: \"%s\" is not auto, on or off", text);
    }
    conf->resolves_root = (fpmp_resolve_mode)choice;
    conf->resolves_root_set = 1;
    return NULL;
}

static const char *set_max_params(cmd_parms *cmd, void *dir_conf, const char *text)
{
    fpmp_dir_conf *conf = dir_conf;
    conf->max_params_set = 1;
    const char *wrong =
        fpmp_conf_read_size(cmd->pool, text, 4 * KIBIBYTE, 64 * MEBIBYTE, &conf->max_params);
    return wrong ? apr_pstrcat(cmd->pool, "FpmPoolMaxParams: ", wrong, NULL) : NULL;
}

static const char *set_max_header(cmd_parms *cmd, void *dir_conf, const char *text)
{
    fpmp_dir_conf *conf = dir_conf;
    conf->max_header_set = 1;
    const char *wrong =
        fpmp_conf_read_size(cmd->pool, text, 1 * KIBIBYTE, 64 * MEBIBYTE, &conf->max_header);
    return wrong ? apr_pstrcat(cmd->pool, "FpmPoolMaxHeader: ", wrong, NULL) : NULL;
}

static const char *add_alias(cmd_parms *cmd, void *dir_conf, const char *name)
{
    fpmp_dir_conf *conf = dir_conf;
    if (!conf->aliases) {
        conf->aliases = apr_array_make(cmd->pool, 2, sizeof(const char *));
    }
    conf->aliases_set = 1;
    if (strcasecmp(name, "none")) {
        *(const char **)apr_array_push(conf->aliases) = name;
    }
    return NULL;
}

static const char *set_engine_off(cmd_parms *cmd, void *dir_conf, const char *text)
{
    static const char *const choices[] = {"refuse", "decline", NULL};
    fpmp_dir_conf *conf = dir_conf;
    int choice = fpmp_conf_read_choice(text, choices);
    if (choice < 0) {
        return apr_psprintf(cmd->pool, "FpmPoolEngineOff: \"%s\" is not refuse or decline", text);
    }
    conf->serves_source = choice;
    conf->serves_source_set = 1;
    return NULL;
}

static const char *set_buffer(cmd_parms *cmd, void *dir_conf, const char *size, const char *option)
{
    fpmp_dir_conf *conf = dir_conf;
    conf->buffer_set = 1;
    conf->buffer_memory = 0;
    conf->buffer_file = BUFFER_FILE_DEFAULT;
    if (!strcasecmp(size, "off")) {
        return option ? "FpmPoolBuffer off takes no option: remove it" : NULL;
    }
    const char *wrong =
        fpmp_conf_read_size(cmd->pool, size, 4 * KIBIBYTE, 64 * MEBIBYTE, &conf->buffer_memory);
    if (wrong) {
        return apr_pstrcat(cmd->pool, "FpmPoolBuffer: ", wrong, "; off is the other choice", NULL);
    }
    if (!option) {
        return NULL;
    }
    if (strncasecmp(option, "file=", 5)) {
        return apr_psprintf(cmd->pool, "FpmPoolBuffer: \"%s\": known is file=", option);
    }
    wrong = fpmp_conf_read_size(cmd->pool, option + 5, 0, 16384 * MEBIBYTE, &conf->buffer_file);
    return wrong ? apr_pstrcat(cmd->pool, "FpmPoolBuffer: file=: ", wrong, NULL) : NULL;
}

static const char *add_send_root(cmd_parms *cmd, void *dir_conf, const char *word)
{
    fpmp_dir_conf *conf = dir_conf;
    int is_off = !strcasecmp(word, "off");
    if (conf->send_roots_set && (is_off || !conf->send_roots)) {
        return "FpmPoolSendfile: off does not go with directories: remove one of both";
    }
    conf->send_roots_set = 1;
    if (is_off) {
        return NULL;
    }
    if (strcasecmp(word, "on") && word[0] != '/') {
        return apr_psprintf(cmd->pool,
                            "FpmPoolSendfile: \"%s\" is neither on nor off nor a directory: a "
                            "directory begins with /",
                            word);
    }
    if (!conf->send_roots) {
        conf->send_roots = apr_array_make(cmd->pool, 2, sizeof(const char *));
    }
    *(const char **)apr_array_push(conf->send_roots) = word[0] == '/' ? word : "";
    return NULL;
}

static const char *add_overridden(cmd_parms *cmd, void *dir_conf, const char *word)
{
    fpmp_dir_conf *conf = dir_conf;
    int is_off = !strcasecmp(word, "off");
    int is_all = !strcasecmp(word, "on");
    int status = is_all ? 0 : atoi(word);
    if (conf->overridden_set && (is_off || !conf->overridden)) {
        return "FpmPoolErrorOverride: off does not go with statuses: remove one of both";
    }
    conf->overridden_set = 1;
    if (is_off) {
        return NULL;
    }
    if (!is_all &&
        (strlen(word) != 3 || strspn(word, "0123456789") != 3 || !ap_is_HTTP_ERROR(status))) {
        return apr_psprintf(cmd->pool,
                            "FpmPoolErrorOverride: \"%s\" is neither on nor off nor a status from "
                            "400 to 599",
                            word);
    }
    if (!conf->overridden) {
        conf->overridden = apr_array_make(cmd->pool, 2, sizeof(int));
    }
    *(int *)apr_array_push(conf->overridden) = status;
    return NULL;
}

static const char *add_setenvif(cmd_parms *cmd, void *dir_conf, const char *condition,
                                const char *name, const char *value)
{
    fpmp_dir_conf *conf = dir_conf;
    return fpmp_setenvif_add(cmd, &conf->setenvif, condition, name, value);
}

static char is_admin; /* its address says so: cmd->info of the php_admin_ forms */

const command_rec fpmp_conf_directives[] = {
    AP_INIT_RAW_ARGS("<FpmPoolDefine", fpmp_conf_define_pool, NULL, RSRC_CONF,
                     "NAME: a pool; contains FpmPoolServer and how it is used"),
    AP_INIT_RAW_ARGS("FpmPoolServer", fpmp_conf_refuse_member, NULL, RSRC_CONF,
                     "unix:/path|tcp://host:port [type=fpmpool|fpm|generic] [reuse=on|off] "
                     "[weight=1] [max=N] [group=0] [backup] [name=NAME] [user=NAME]"),
    AP_INIT_TAKE1("FpmPoolSocketDir", set_socket_dir, NULL, RSRC_CONF,
                  "directory with the socket NAME.sock of each pool without a definition"),
    AP_INIT_RAW_ARGS("FpmPoolBalance", fpmp_conf_refuse_member, NULL, RSRC_CONF,
                     "least|roundrobin|first|hash EXPR|sticky COOKIE [strict]"),
    AP_INIT_RAW_ARGS("FpmPoolHealth", fpmp_conf_refuse_member, NULL, RSRC_CONF,
                     "[fails=3] [rate=50] [window=10s] [retry=1s..60s] [status=500,502]"),
    AP_INIT_RAW_ARGS("FpmPoolCheck", fpmp_conf_refuse_member, NULL, RSRC_CONF,
                     "off|connect|ping|script=/PATH [interval=2s fast=500ms down=2s timeout=1s "
                     "rise=2 fall=3 expect=EXPR]"),
    AP_INIT_RAW_ARGS("FpmPoolAllDown", fpmp_conf_refuse_member, NULL, RSRC_CONF,
                     "try|refuse: is one of its servers asked when all are down?"),
    AP_INIT_TAKE1("FpmPoolMaxPools", fpmp_conf_set_max_pools, NULL, RSRC_CONF,
                  "how many pools that expressions name can be in use at a time"),
    AP_INIT_TAKE_ARGV("FpmPool", fpmp_conf_set_pool, NULL, EVERYWHERE | OR_FILEINFO,
                      "name of the pool that runs the scripts here, or \"expr=EXPRESSION\", then "
                      "its fallbacks; or none"),
    AP_INIT_ITERATE("FpmPoolSelectable", fpmp_conf_add_selectable, NULL, EVERYWHERE,
                    "none, or names of pools of which .htaccess files may choose one by FpmPool"),
    AP_INIT_TAKE1("FpmPoolFailover", set_failover, NULL, EVERYWHERE,
                  "on=down, on=overload or on=down,overload: when the fallbacks of FpmPool serve"),
    AP_INIT_RAW_ARGS("FpmPoolRetry", set_retry, NULL, EVERYWHERE,
                     "off|safe|idempotent [attempts=2] [within=2s] [body=64K]"),
    AP_INIT_RAW_ARGS("FpmPoolTimeout", set_timeout, NULL, EVERYWHERE,
                     "connect=1s first=60s idle=60s total=0 keep=30s: time limits of a request"),
    AP_INIT_RAW_ARGS("FpmPoolLimit", set_limit, NULL, EVERYWHERE,
                     "[requests=N] [queue=M] [wait=5s] [perip=K] [status=503] [retry-after=5]: how "
                     "many requests of a pool are let in, over all children"),
    AP_INIT_TAKE1("FpmPoolRetryAfter", set_retry_after, NULL, EVERYWHERE,
                  "seconds for the Retry-After header of a 503"),
    AP_INIT_FLAG("FpmPoolCheckScript", set_check_script, NULL, EVERYWHERE,
                 "On: a script that httpd cannot find is httpd's 404"),
    AP_INIT_FLAG("FpmPoolServerTiming", set_server_timing, NULL, EVERYWHERE,
                 "On: a Server-Timing header tells visitors where the time went"),
    AP_INIT_TAKE1("FpmPoolPassAuthorization", set_authorization, NULL, EVERYWHERE,
                  "Off, On (unless httpd authenticated the user itself) or Always"),
    AP_INIT_TAKE12("FpmPoolBody", set_body, NULL, EVERYWHERE,
                   "auto, stream or buffer, then memory=SIZE"),
    AP_INIT_TAKE1("FpmPoolFlush", set_flush, NULL, EVERYWHERE, "auto, on or off"),
    AP_INIT_TAKE1(
        "FpmPoolStderr", set_stderr, NULL, EVERYWHERE,
        "auto, off or a level: what PHP writes to its error stream, in httpd's error log"),
    AP_INIT_TAKE12("FpmPoolOnAbort", set_on_abort, NULL, EVERYWHERE,
                   "tell, or finish [within=60s]: what a script whose client went away learns"),
    AP_INIT_TAKE1("FpmPoolResolveRoot", set_resolve_root, NULL, EVERYWHERE,
                  "auto, on or off: scripts get the document root without symbolic links"),
    AP_INIT_TAKE1("FpmPoolMaxParams", set_max_params, NULL, EVERYWHERE,
                  "largest size of a request's parameters"),
    AP_INIT_TAKE1("FpmPoolMaxHeader", set_max_header, NULL, EVERYWHERE,
                  "largest size of a response's header block"),
    AP_INIT_TAKE12("FpmPoolBuffer", set_buffer, NULL, EVERYWHERE,
                   "off, or SIZE of memory for a response whose client is slow, then file=SIZE"),
    AP_INIT_ITERATE(
        "FpmPoolSendfile", add_send_root, NULL, EVERYWHERE,
        "off, on (below the document root) or directories: files that X-Sendfile may name"),
    AP_INIT_ITERATE("FpmPoolErrorOverride", add_overridden, NULL, EVERYWHERE,
                    "off, on or statuses: errors of scripts that become httpd's own pages"),
    AP_INIT_ITERATE("FpmPoolHandlerAlias", add_alias, NULL, EVERYWHERE,
                    "other handler names that mean fpmpool, or none"),
    AP_INIT_TAKE1("FpmPoolEngineOff", set_engine_off, NULL, EVERYWHERE,
                  "where php_flag engine is off: refuse (403) or decline (the source is served)"),
    AP_INIT_TAKE23("FpmPoolSetEnvIf", add_setenvif, NULL, OR_FILEINFO,
                   "CONDITION NAME|!NAME [VALUE]: variables of scripts by rule, evaluated last"),
    AP_INIT_TAKE2("php_value", fpmp_ini_set_value, NULL, OR_OPTIONS, "NAME VALUE of a PHP setting"),
    AP_INIT_TAKE2("php_flag", fpmp_ini_set_flag, NULL, OR_OPTIONS, "NAME on|off of a PHP setting"),
    AP_INIT_TAKE2("php_admin_value", fpmp_ini_set_value, (void *)&is_admin, EVERYWHERE,
                  "NAME VALUE of a PHP setting that scripts cannot change"),
    AP_INIT_TAKE2("php_admin_flag", fpmp_ini_set_flag, (void *)&is_admin, EVERYWHERE,
                  "NAME on|off of a PHP setting that scripts cannot change"),
    AP_INIT_TAKE1("PHPINIDir", fpmp_ini_refuse_directory, NULL, RSRC_CONF,
                  "of mod_php: fpmpoold -c takes its place"),
    {NULL, {NULL}, NULL, 0, RAW_ARGS, NULL}};
