/* fpmp_ini.c - php_value and its relatives: reading, merging, and the form they are sent in.
 *
 * Directive handlers run while a configuration or an .htaccess file is read, the rest in children
 * for each request. What a setting means is PHP's business: names are not checked against a list.
 * Must not let an .htaccess file say more than AllowOverride Options lets it say under mod_php.
 */
#include "fpmp_ini.h"

#include "fpmp_conf.h"

#include "wire/wire.h"

#include <http_log.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

APLOG_USE_MODULE(fpmpool);

#define NAME_MAX_LENGTH 128

typedef struct entry {
    const char *name;
    const char *value;
    char level; /* enum wire_ini_level */
} entry;

/* ---- reading --------------------------------------------------------------------------------- */

static int is_name(const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < length; i++) {
        if (!apr_isalnum(name[i]) && !strchr("._-", name[i])) {
            return 0;
        }
    }
    return length > 0 && length <= NAME_MAX_LENGTH;
}

/* PHP changes these only for a whole process, so a request cannot. */
static int is_of_process(const char *name)
{
    return !strcmp(name, "disable_functions") || !strcmp(name, "disable_classes") ||
           !strcmp(name, "extension") || !strcmp(name, "zend_extension") ||
           (!strncmp(name, "opcache.", 8) && strcmp(name, "opcache.enable") != 0);
}

/* While mod_php is loaded too, it hears of the directive after us. What only has its name
 * (named/mod_php_names.c) has no directives. */
static const char *pass_on(void)
{
    static const char *const names[] = {"mod_php.c", "mod_php7.c", "mod_php5.c"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const module *mod_php = ap_find_linked_module(names[i]);
        if (mod_php && mod_php->cmds) {
            return DECLINE_CMD;
        }
    }
    return NULL;
}

static const char *add(cmd_parms *cmd, fpmp_dir_conf *conf, const char *name, const char *value)
{
    int is_admin = cmd->info != NULL;
    if (!is_name(name)) {
        return apr_psprintf(cmd->pool, "%s: \"%s\" is not the name of a PHP setting",
                            cmd->cmd->name, name);
    }
    if (strpbrk(value, "\r\n")) {
        return apr_psprintf(cmd->pool, "%s %s: the value must be one line", cmd->cmd->name, name);
    }
    if (is_of_process(name)) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, cmd->server,
                     "FPMP0006: %s:%d: %s %s has no effect: PHP takes this setting for a whole "
                     "pool only: write php_admin_value[%s] into the pool's file",
                     cmd->directive->filename, cmd->directive->line_num, cmd->cmd->name, name,
                     name);
        return pass_on();
    }
    if (!conf->ini) {
        conf->ini = apr_hash_make(cmd->pool);
    }
    const entry *earlier = apr_hash_get(conf->ini, name, APR_HASH_KEY_STRING);
    if (earlier && earlier->level == WIRE_INI_ADMIN && !is_admin) {
        return pass_on();
    }
    entry *setting = apr_palloc(cmd->pool, sizeof(*setting));
    setting->name = name;
    setting->value = value;
    setting->level = is_admin                                    ? WIRE_INI_ADMIN
                     : cmd->override & (RSRC_CONF | ACCESS_CONF) ? WIRE_INI_SERVER
                                                                 : WIRE_INI_HTACCESS;
    apr_hash_set(conf->ini, setting->name, APR_HASH_KEY_STRING, setting);
    return pass_on();
}

const char *fpmp_ini_set_value(cmd_parms *cmd, void *dir_conf, const char *name, const char *value)
{
    return add(cmd, dir_conf, name, strcasecmp(value, "none") ? value : "");
}

const char *fpmp_ini_set_flag(cmd_parms *cmd, void *dir_conf, const char *name, const char *flag)
{
    int is_on = !strcasecmp(flag, "on") || !strcmp(flag, "1");
    return add(cmd, dir_conf, name, is_on ? "1" : "0");
}

const char *fpmp_ini_refuse_directory(cmd_parms *cmd, void *dir_conf, const char *directory)
{
    (void)dir_conf;
    return pass_on() ? DECLINE_CMD
                     : apr_psprintf(cmd->pool,
                                    "PHPINIDir is mod_php's: remove it, and start fpmpoold with "
                                    "-c %s instead",
                                    directory);
}

/* ---- merging --------------------------------------------------------------------------------- */

static void *merge_entry(apr_pool_t *pool, const void *name, apr_ssize_t length, const void *inner,
                         const void *outer, const void *data)
{
    const entry *over = inner;
    const entry *under = outer;
    (void)pool;
    (void)name;
    (void)length;
    (void)data;
    return (void *)(under->level == WIRE_INI_ADMIN && over->level != WIRE_INI_ADMIN ? under : over);
}

fpmp_ini *fpmp_ini_merge(apr_pool_t *pool, fpmp_ini *outer, fpmp_ini *inner)
{
    if (!outer || !inner) {
        return inner ? inner : outer;
    }
    return apr_hash_merge(pool, inner, outer, merge_entry, NULL);
}

static int is_true(const char *value)
{
    return atoi(value) || !strcasecmp(value, "on") || !strcasecmp(value, "yes") ||
           !strcasecmp(value, "true");
}

int fpmp_ini_is_on(fpmp_ini *ini, const char *name)
{
    const entry *found = ini ? apr_hash_get(ini, name, APR_HASH_KEY_STRING) : NULL;
    return found && is_true(found->value);
}

int fpmp_ini_is_engine_off(fpmp_ini *ini)
{
    const entry *engine = ini ? apr_hash_get(ini, "engine", APR_HASH_KEY_STRING) : NULL;
    return engine && !is_true(engine->value);
}

/* ---- sending --------------------------------------------------------------------------------- */

const char *fpmp_ini_encode(apr_pool_t *pool, fpmp_ini *ini)
{
    const char *text = NULL;
    for (apr_hash_index_t *at = ini ? apr_hash_first(pool, ini) : NULL; at;
         at = apr_hash_next(at)) {
        const entry *setting = apr_hash_this_val(at);
        const char level[2] = {setting->level, '\0'};
        text = apr_pstrcat(pool, text ? text : "", level, setting->name, "=", setting->value, "\n",
                           NULL);
    }
    return text;
}

/* In double quotes, with what they would interpret escaped. */
static const char *quote(apr_pool_t *pool, const char *value)
{
    char *quoted = apr_palloc(pool, 2 * strlen(value) + 3);
    char *to = quoted;
    *to++ = '"';
    for (; *value; value++) {
        if (strchr("\"\\$", *value)) {
            *to++ = '\\';
        }
        *to++ = *value;
    }
    *to++ = '"';
    *to = '\0';
    return quoted;
}

const char *fpmp_ini_write_lines(apr_pool_t *pool, fpmp_ini *ini, int is_admin, int *left_out)
{
    const char *text = NULL;
    for (apr_hash_index_t *at = ini ? apr_hash_first(pool, ini) : NULL; at;
         at = apr_hash_next(at)) {
        const entry *setting = apr_hash_this_val(at);
        if (setting->level == WIRE_INI_HTACCESS) {
            *left_out = 1;
        } else if ((setting->level == WIRE_INI_ADMIN) == (is_admin != 0)) {
            text = apr_pstrcat(pool, text ? text : "", setting->name, "=",
                               quote(pool, setting->value), "\n", NULL);
        }
    }
    return text;
}
