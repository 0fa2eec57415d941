/* fpmp_conf.c - the directives of mod_fpmpool: how they are read, and how sections merge.
 *
 * Runs in the parent while the configuration is read; the merge also runs in children, for each
 * request with sections. Directive handlers refuse what they can see alone; fpmp_conf_check.c sees
 * the whole. Must not keep anything outside of httpd's configuration pools.
 */
#include "fpmp_conf.h"

#include <httpd.h>
#include <http_config.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <limits.h>
#include <string.h>

#define KIBIBYTE ((apr_size_t)1024)
#define MEBIBYTE (1024 * KIBIBYTE)

#define SOCKET_DIR_DEFAULT  "/run/fpmpool"
#define RETRY_AFTER_DEFAULT 5
#define BODY_MEMORY_DEFAULT (64 * KIBIBYTE)
#define MAX_PARAMS_DEFAULT  (512 * KIBIBYTE)
#define MAX_HEADER_DEFAULT  (256 * KIBIBYTE)

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
    conf->max_params = MAX_PARAMS_DEFAULT;
    conf->max_header = MAX_HEADER_DEFAULT;
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
    MERGE(pool)
    MERGE(retry_after)
    MERGE(checks_script)
    MERGE(authorization)
    MERGE(flush)
    MERGE(max_params)
    MERGE(max_header)
    MERGE(aliases)
    MERGE(serves_source)
#undef MERGE
    if (inner->body_set) {
        merged->body_mode = inner->body_mode;
        merged->body_memory = inner->body_memory;
        merged->body_set = 1;
    }
    merged->ini = fpmp_ini_merge(pool, outer->ini, inner->ini);
    fpmp_pool_overlay(&merged->server_timeouts, &inner->server_timeouts);
    fpmp_pool_overlay(&merged->section_timeouts, &inner->section_timeouts);
    return merged;
}

void *fpmp_conf_server_create(apr_pool_t *pool, server_rec *server)
{
    fpmp_server_conf *conf = apr_pcalloc(pool, sizeof(*conf));
    conf->uses = apr_array_make(pool, 4, sizeof(fpmp_use));
    if (!server->is_virtual) {
        conf->global = apr_pcalloc(pool, sizeof(*conf->global));
        conf->global->pools = apr_hash_make(pool);
        conf->global->socket_dir = SOCKET_DIR_DEFAULT;
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
    return merged;
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

/* A number of bytes with K or M behind it. NULL, or what is wrong. */
static const char *read_size(apr_pool_t *pool, const char *text, apr_size_t least, apr_size_t most,
                             apr_size_t *size)
{
    char *rest = NULL;
    apr_int64_t number = apr_isdigit(*text) ? apr_strtoi64(text, &rest, 10) : -1;
    apr_size_t unit = 1;
    if (number >= 0 && (*rest == 'k' || *rest == 'K')) {
        unit = KIBIBYTE;
        rest++;
    } else if (number >= 0 && (*rest == 'm' || *rest == 'M')) {
        unit = MEBIBYTE;
        rest++;
    }
    if (number < 0 || *rest || number > INT_MAX || (apr_size_t)number * unit < least ||
        (apr_size_t)number * unit > most) {
        return apr_psprintf(pool,
                            "\"%s\" is not a size from %" APR_SIZE_T_FMT " to %" APR_SIZE_T_FMT
                            " bytes (K and M may follow the number)",
                            text, least, most);
    }
    *size = (apr_size_t)number * unit;
    return NULL;
}

static const char *set_time(cmd_parms *cmd, const char *word, const char *value,
                            fpmp_timeouts *timeouts)
{
    apr_interval_time_t time = 0;
    if (!apr_isdigit(*value) || ap_timeout_parameter_parse(value, &time, "s") != APR_SUCCESS ||
        time < 0 || time > apr_time_from_sec(86400)) {
        return apr_psprintf(cmd->pool,
                            "%s: \"%s\" is not a time from 0 to 86400s (1s, 500ms, 2min)",
                            cmd->directive->directive, word);
    }
    if (time == 0 && strncasecmp(word, "keep=", 5)) {
        return apr_psprintf(cmd->pool, "%s: \"%s\" must be longer than 0",
                            cmd->directive->directive, word);
    }
    if (!strncasecmp(word, "connect=", 8)) {
        timeouts->connect = time;
        timeouts->connect_set = 1;
    } else if (!strncasecmp(word, "first=", 6)) {
        timeouts->first = time;
        timeouts->first_set = 1;
    } else if (!strncasecmp(word, "idle=", 5)) {
        timeouts->idle = time;
        timeouts->idle_set = 1;
    } else if (!strncasecmp(word, "keep=", 5)) {
        timeouts->keep = time;
        timeouts->keep_set = 1;
    } else {
        return apr_psprintf(cmd->pool, "%s: \"%s\": known are connect= first= idle= keep=",
                            cmd->directive->directive, word);
    }
    return NULL;
}

static const char *read_timeouts(cmd_parms *cmd, const char *arguments, fpmp_timeouts *timeouts)
{
    if (!*arguments) {
        return apr_psprintf(
            cmd->pool, "%s needs one of connect= first= idle= keep=", cmd->directive->directive);
    }
    while (*arguments) {
        const char *word = ap_getword_conf(cmd->pool, &arguments);
        const char *equals = strchr(word, '=');
        const char *wrong = set_time(cmd, word, equals ? equals + 1 : "", timeouts);
        if (wrong) {
            return wrong;
        }
    }
    return NULL;
}

/* Index of `text` in a list that ends with NULL, any case; -1: not there. */
static int read_choice(const char *text, const char *const *choices)
{
    for (int i = 0; choices[i]; i++) {
        if (!strcasecmp(text, choices[i])) {
            return i;
        }
    }
    return -1;
}

/* ---- pools ----------------------------------------------------------------------------------- */

static const char *set_server_type(cmd_parms *cmd, const char *value, fpmp_pool *pool)
{
    static const char *const types[] = {"fpmpool", "fpm", "generic", NULL};
    int type = read_choice(value, types);
    if (type < 0) {
        return apr_psprintf(cmd->pool, "FpmPoolServer: type=%s: known are fpmpool, fpm, generic",
                            value);
    }
    pool->server.type = (fpmp_server_type)type;
    return NULL;
}

static const char *read_server(cmd_parms *cmd, const char *arguments, fpmp_pool *pool)
{
    static const char *const switches[] = {"off", "on", NULL};
    int reuses = -1;
    if (pool->server.address.label) {
        return apr_psprintf(cmd->pool,
                            "a second FpmPoolServer in pool \"%s\": a pool has exactly one server",
                            pool->name);
    }
    const char *address = ap_getword_conf(cmd->pool, &arguments);
    const char *wrong = fpmp_address_parse(&pool->server.address, address, cmd->pool);
    if (wrong) {
        return apr_pstrcat(cmd->pool, "FpmPoolServer: ", wrong, NULL);
    }
    while (*arguments) {
        const char *word = ap_getword_conf(cmd->pool, &arguments);
        if (!strncasecmp(word, "type=", 5)) {
            wrong = set_server_type(cmd, word + 5, pool);
            if (wrong) {
                return wrong;
            }
        } else if (!strncasecmp(word, "reuse=", 6)) {
            reuses = read_choice(word + 6, switches);
            if (reuses < 0) {
                return "FpmPoolServer: reuse= is on or off";
            }
        } else {
            return apr_psprintf(cmd->pool,
                                "FpmPoolServer: \"%s\": known are type= and reuse=", word);
        }
    }
    pool->server.reuses = reuses >= 0 ? reuses : pool->server.type == FPMP_TYPE_FPMPOOL;
    return NULL;
}

static const char *read_member(cmd_parms *cmd, const ap_directive_t *member, fpmp_pool *pool)
{
    if (!strcasecmp(member->directive, "FpmPoolServer")) {
        return read_server(cmd, member->args, pool);
    }
    if (!strcasecmp(member->directive, "FpmPoolTimeout")) {
        return read_timeouts(cmd, member->args, &pool->timeouts);
    }
    return apr_psprintf(cmd->pool,
                        "%s is not allowed in <FpmPoolDefine>: only FpmPoolServer and "
                        "FpmPoolTimeout are",
                        member->directive);
}

static const char *check_name(cmd_parms *cmd, const char *name)
{
    if (fpmp_address_is_pool_name(name)) {
        return NULL;
    }
    return apr_psprintf(cmd->pool,
                        "\"%s\" cannot be a pool's name: 1 to %d letters, digits, dots, "
                        "underscores and hyphens, not beginning with a dot",
                        name, FPMP_POOL_NAME_MAX);
}

/* <FpmPoolDefine NAME>: reads its members itself, so that they can mean nothing elsewhere. */
static const char *define_pool(cmd_parms *cmd, void *dir_conf, const char *arguments)
{
    (void)dir_conf;
    const char *wrong = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    if (wrong) {
        return wrong;
    }
    size_t length = strlen(arguments);
    if (!length || arguments[length - 1] != '>') {
        return "<FpmPoolDefine> has no closing >";
    }
    arguments = apr_pstrmemdup(cmd->pool, arguments, length - 1);
    const char *name = ap_getword_conf(cmd->pool, &arguments);
    if (*arguments) {
        return "<FpmPoolDefine NAME> takes exactly one name";
    }
    wrong = check_name(cmd, name);
    if (wrong) {
        return wrong;
    }
    fpmp_global *global = fpmp_conf_global(cmd->server);
    const fpmp_pool *earlier = apr_hash_get(global->pools, name, APR_HASH_KEY_STRING);
    if (earlier) {
        return apr_psprintf(cmd->pool,
                            "pool \"%s\" is already defined at %s:%d: remove one of both", name,
                            earlier->file, earlier->line);
    }
    fpmp_pool *pool = apr_pcalloc(cmd->pool, sizeof(*pool));
    pool->name = name;
    pool->file = cmd->directive->filename;
    pool->line = cmd->directive->line_num;
    for (const ap_directive_t *member = cmd->directive->first_child; member;
         member = member->next) {
        wrong = read_member(cmd, member, pool);
        if (wrong) {
            cmd->err_directive = member;
            return wrong;
        }
    }
    if (!pool->server.address.label) {
        return apr_psprintf(cmd->pool,
                            "pool \"%s\" has no server: add FpmPoolServer unix:/path or "
                            "tcp://host:port",
                            name);
    }
    apr_hash_set(global->pools, name, APR_HASH_KEY_STRING, pool);
    return NULL;
}

static const char *refuse_server(cmd_parms *cmd, void *dir_conf, const char *arguments)
{
    (void)cmd;
    (void)dir_conf;
    (void)arguments;
    return "FpmPoolServer is allowed only inside of <FpmPoolDefine NAME>";
}

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

static const char *set_pool(cmd_parms *cmd, void *dir_conf, const char *name)
{
    fpmp_dir_conf *conf = dir_conf;
    conf->pool_set = 1;
    if (!strcasecmp(name, "none")) {
        conf->pool = NULL;
        return NULL;
    }
    const char *wrong = check_name(cmd, name);
    if (wrong) {
        return wrong;
    }
    fpmp_server_conf *server = ap_get_module_config(cmd->server->module_config, &fpmpool_module);
    fpmp_use *use = apr_array_push(server->uses);
    use->name = name;
    use->file = cmd->directive->filename;
    use->line = cmd->directive->line_num;
    conf->pool = name;
    return NULL;
}

static const char *set_timeout(cmd_parms *cmd, void *dir_conf, const char *arguments)
{
    fpmp_dir_conf *conf = dir_conf;
    return read_timeouts(cmd, arguments,
                         cmd->path ? &conf->section_timeouts : &conf->server_timeouts);
}

static const char *set_retry_after(cmd_parms *cmd, void *dir_conf, const char *text)
{
    fpmp_dir_conf *conf = dir_conf;
    apr_size_t seconds = 0;
    if (read_size(cmd->pool, text, 0, 86400, &seconds) || !apr_isdigit(text[strlen(text) - 1])) {
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

static const char *set_authorization(cmd_parms *cmd, void *dir_conf, const char *text)
{
    static const char *const choices[] = {"Off", "On", "Always", NULL};
    fpmp_dir_conf *conf = dir_conf;
    int choice = read_choice(text, choices);
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
    int choice = read_choice(mode, choices);
    if (choice < 0) {
        return apr_psprintf(cmd->pool, "FpmPoolBody: \"%s\" is not auto, stream or buffer", mode);
    }
    if (option) {
        if (strncasecmp(option, "memory=", 7)) {
            return apr_psprintf(cmd->pool, "FpmPoolBody: \"%s\": known is memory=", option);
        }
        const char *wrong =
            read_size(cmd->pool, option + 7, 4 * KIBIBYTE, 64 * MEBIBYTE, &conf->body_memory);
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
    int choice = read_choice(text, choices);
    if (choice < 0) {
        return apr_psprintf(cmd->pool, "FpmPoolFlush: \"%s\" is not auto, on or off", text);
    }
    conf->flush = (fpmp_flush_mode)choice;
    conf->flush_set = 1;
    return NULL;
}

static const char *set_max_params(cmd_parms *cmd, void *dir_conf, const char *text)
{
    fpmp_dir_conf *conf = dir_conf;
    conf->max_params_set = 1;
    const char *wrong = read_size(cmd->pool, text, 4 * KIBIBYTE, 64 * MEBIBYTE, &conf->max_params);
    return wrong ? apr_pstrcat(cmd->pool, "FpmPoolMaxParams: ", wrong, NULL) : NULL;
}

static const char *set_max_header(cmd_parms *cmd, void *dir_conf, const char *text)
{
    fpmp_dir_conf *conf = dir_conf;
    conf->max_header_set = 1;
    const char *wrong = read_size(cmd->pool, text, 1 * KIBIBYTE, 64 * MEBIBYTE, &conf->max_header);
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
    int choice = read_choice(text, choices);
    if (choice < 0) {
        return apr_psprintf(cmd->pool, "FpmPoolEngineOff: \"%s\" is not refuse or decline", text);
    }
    conf->serves_source = choice;
    conf->serves_source_set = 1;
    return NULL;
}

static char is_admin; /* its address says so: cmd->info of the php_admin_ forms */

const command_rec fpmp_conf_directives[] = {
    AP_INIT_RAW_ARGS("<FpmPoolDefine", define_pool, NULL, RSRC_CONF,
                     "NAME: a pool; contains FpmPoolServer and FpmPoolTimeout"),
    AP_INIT_RAW_ARGS("FpmPoolServer", refuse_server, NULL, RSRC_CONF,
                     "unix:/path|tcp://host:port [type=fpmpool|fpm|generic] [reuse=on|off]"),
    AP_INIT_TAKE1("FpmPoolSocketDir", set_socket_dir, NULL, RSRC_CONF,
                  "directory with the socket NAME.sock of each pool without a definition"),
    AP_INIT_TAKE1("FpmPool", set_pool, NULL, EVERYWHERE,
                  "name of the pool that runs the scripts here, or none"),
    AP_INIT_RAW_ARGS("FpmPoolTimeout", set_timeout, NULL, EVERYWHERE,
                     "connect=1s first=60s idle=60s keep=30s"),
    AP_INIT_TAKE1("FpmPoolRetryAfter", set_retry_after, NULL, EVERYWHERE,
                  "seconds for the Retry-After header of a 503"),
    AP_INIT_FLAG("FpmPoolCheckScript", set_check_script, NULL, EVERYWHERE,
                 "On: a script that httpd cannot find is httpd's 404"),
    AP_INIT_TAKE1("FpmPoolPassAuthorization", set_authorization, NULL, EVERYWHERE,
                  "Off, On (unless httpd authenticated the user itself) or Always"),
    AP_INIT_TAKE12("FpmPoolBody", set_body, NULL, EVERYWHERE,
                   "auto, stream or buffer, then memory=SIZE"),
    AP_INIT_TAKE1("FpmPoolFlush", set_flush, NULL, EVERYWHERE, "auto, on or off"),
    AP_INIT_TAKE1("FpmPoolMaxParams", set_max_params, NULL, EVERYWHERE,
                  "largest size of a request's parameters"),
    AP_INIT_TAKE1("FpmPoolMaxHeader", set_max_header, NULL, EVERYWHERE,
                  "largest size of a response's header block"),
    AP_INIT_ITERATE("FpmPoolHandlerAlias", add_alias, NULL, EVERYWHERE,
                    "other handler names that mean fpmpool, or none"),
    AP_INIT_TAKE1("FpmPoolEngineOff", set_engine_off, NULL, EVERYWHERE,
                  "where php_flag engine is off: refuse (403) or decline (the source is served)"),
    AP_INIT_TAKE2("php_value", fpmp_ini_set_value, NULL, OR_OPTIONS, "NAME VALUE of a PHP setting"),
    AP_INIT_TAKE2("php_flag", fpmp_ini_set_flag, NULL, OR_OPTIONS, "NAME on|off of a PHP setting"),
    AP_INIT_TAKE2("php_admin_value", fpmp_ini_set_value, (void *)&is_admin, EVERYWHERE,
                  "NAME VALUE of a PHP setting that scripts cannot change"),
    AP_INIT_TAKE2("php_admin_flag", fpmp_ini_set_flag, (void *)&is_admin, EVERYWHERE,
                  "NAME on|off of a PHP setting that scripts cannot change"),
    AP_INIT_TAKE1("PHPINIDir", fpmp_ini_refuse_directory, NULL, RSRC_CONF,
                  "of mod_php: fpmpoold -c takes its place"),
    {NULL, {NULL}, NULL, 0, RAW_ARGS, NULL}};
