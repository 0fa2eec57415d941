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
#include <limits.h>
#include <stdlib.h>
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

const char *fpmp_conf_read_size(apr_pool_t *pool, const char *text, apr_size_t least,
                                apr_size_t most, apr_size_t *size)
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

const char *fpmp_conf_read_number(cmd_parms *cmd, const char *word, const char *text, int least,
                                  int most, int *number)
{
    size_t length = strlen(text);
    int value = length > 0 && length < 10 && strspn(text, "0123456789") == length ? atoi(text) : -1;
    if (value < least || value > most) {
        return apr_psprintf(cmd->pool, "\"%s\": a number from %d to %d is needed", word, least,
                            most);
    }
    *number = value;
    return NULL;
}

const char *fpmp_conf_read_time(cmd_parms *cmd, const char *word, const char *text,
                                apr_interval_time_t least, apr_interval_time_t *time)
{
    apr_interval_time_t value = 0;
    if (!apr_isdigit(*text) || ap_timeout_parameter_parse(text, &value, "s") != APR_SUCCESS ||
        value < least || value > apr_time_from_sec(86400)) {
        return apr_psprintf(cmd->pool, "\"%s\": a time from %dms to 86400s is needed (2s, 500ms)",
                            word, (int)apr_time_as_msec(least));
    }
    *time = value;
    return NULL;
}

int fpmp_conf_is_option(const char *word, const char *name)
{
    return !strncasecmp(word, name, strlen(name));
}

/* ---- pools ----------------------------------------------------------------------------------- */

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
    int is_default = !strcmp(name, "*");
    wrong = is_default ? NULL : fpmp_conf_check_name(cmd, name);
    if (wrong) {
        return wrong;
    }
    fpmp_global *global = fpmp_conf_global(cmd->server);
    const fpmp_pool *earlier = is_default && global->defaults.name
                                   ? &global->defaults
                                   : apr_hash_get(global->pools, name, APR_HASH_KEY_STRING);
    if (earlier) {
        return apr_psprintf(cmd->pool,
                            "pool \"%s\" is already defined at %s:%d: remove one of both", name,
                            earlier->file, earlier->line);
    }
    if (is_default && apr_hash_count(global->pools)) {
        return "<FpmPoolDefine \"*\"> must stand before all other pools: move it up";
    }
    fpmp_pool *pool = apr_pcalloc(cmd->pool, sizeof(*pool));
    fpmp_conf_init_pool(pool, &global->defaults);
    pool->name = name;
    pool->file = cmd->directive->filename;
    pool->line = cmd->directive->line_num;
    for (ap_directive_t *member = cmd->directive->first_child; member; member = member->next) {
        wrong = fpmp_conf_read_member(cmd, member, pool);
        if (wrong) {
            cmd->err_directive = member;
            return wrong;
        }
    }
    if (is_default && pool->server_count) {
        return "pool \"*\" is what all pools have in common: FpmPoolServer belongs into another";
    }
    if (is_default) {
        global->defaults = *pool;
        return NULL;
    }
    if (!pool->server_count) {
        return apr_psprintf(cmd->pool,
                            "pool \"%s\" has no server: add FpmPoolServer unix:/path or "
                            "tcp://host:port",
                            name);
    }
    apr_hash_set(global->pools, name, APR_HASH_KEY_STRING, pool);
    return NULL;
}

const char *fpmp_conf_refuse_member(cmd_parms *cmd, void *dir_conf, const char *arguments)
{
    (void)dir_conf;
    (void)arguments;
    return apr_psprintf(cmd->pool, "%s is allowed only inside of <FpmPoolDefine NAME>",
                        cmd->directive->directive);
}
