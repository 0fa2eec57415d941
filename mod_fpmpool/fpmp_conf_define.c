/* fpmp_conf_define.c - <FpmPoolDefine>: what a pool is, and the words that other directives share
 * with it.
 *
 * Runs in the parent while the configuration is read. Refuses what it can see alone; must not keep
 * anything outside of httpd's configuration pools.
 */
#include "fpmp_conf_define.h"

#include <httpd.h>
#include <http_config.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <string.h>

int fpmp_conf_read_choice(const char *text, const char *const *choices)
{
    for (int i = 0; choices[i]; i++) {
        if (!strcasecmp(text, choices[i])) {
            return i;
        }
    }
    return -1;
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
    if (time == 0 && strncasecmp(word, "keep=", 5) && strncasecmp(word, "total=", 6)) {
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
    } else if (!strncasecmp(word, "total=", 6)) {
        timeouts->total = time;
        timeouts->total_set = 1;
    } else if (!strncasecmp(word, "keep=", 5)) {
        timeouts->keep = time;
        timeouts->keep_set = 1;
    } else {
        return apr_psprintf(cmd->pool, "%s: \"%s\": known are connect= first= idle= total= keep=",
                            cmd->directive->directive, word);
    }
    return NULL;
}

const char *fpmp_conf_read_timeouts(cmd_parms *cmd, const char *arguments, fpmp_timeouts *timeouts)
{
    if (!*arguments) {
        return apr_psprintf(cmd->pool, "%s needs one of connect= first= idle= total= keep=",
                            cmd->directive->directive);
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

/* ---- pools ----------------------------------------------------------------------------------- */

static const char *set_server_type(cmd_parms *cmd, const char *value, fpmp_pool *pool)
{
    static const char *const types[] = {"fpmpool", "fpm", "generic", NULL};
    int type = fpmp_conf_read_choice(value, types);
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
            reuses = fpmp_conf_read_choice(word + 6, switches);
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
        return fpmp_conf_read_timeouts(cmd, member->args, &pool->timeouts);
    }
    return apr_psprintf(cmd->pool,
                        "%s is not allowed in <FpmPoolDefine>: only FpmPoolServer and "
                        "FpmPoolTimeout are",
                        member->directive);
}

const char *fpmp_conf_check_name(cmd_parms *cmd, const char *name)
{
    if (fpmp_address_is_pool_name(name)) {
        return NULL;
    }
    return apr_psprintf(cmd->pool,
                        "\"%s\" cannot be a pool's name: 1 to %d letters, digits, dots, "
                        "underscores and hyphens, not beginning with a dot",
                        name, FPMP_POOL_NAME_MAX);
}

/* Reads its members itself, so that they can mean nothing elsewhere. */
const char *fpmp_conf_define_pool(cmd_parms *cmd, void *dir_conf, const char *arguments)
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
    wrong = fpmp_conf_check_name(cmd, name);
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

const char *fpmp_conf_refuse_server(cmd_parms *cmd, void *dir_conf, const char *arguments)
{
    (void)cmd;
    (void)dir_conf;
    (void)arguments;
    return "FpmPoolServer is allowed only inside of <FpmPoolDefine NAME>";
}
