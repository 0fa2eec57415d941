/* parse.c - reads files line by line into sections; every finding is kept, not just the first.
 *
 * Runs in the master at start and in the child that tests a configuration for a reload. It opens
 * configuration files only.
 */
#include "conf/parse.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apr_strings.h"
#include "conf/ini.h"
#include "conf/keys.h"

#ifndef FPD_PREFIX
#define FPD_PREFIX "/usr"
#endif
#ifndef FPD_LOCALSTATEDIR
#define FPD_LOCALSTATEDIR "/var"
#endif

#define INCLUDE_DEPTH_MAX 4 /* nested levels below the main file */
#define POOLS_MAX         100000

void fpd_parse_say(fpd_parse *parse, fpd_conf_severity severity, int where, const char *key,
                   const char *format, ...)
{
    fpd_conf_message *message = apr_array_push(parse->messages);
    va_list arguments;
    const char *text;

    va_start(arguments, format);
    text = apr_pvsprintf(parse->pool, format, arguments);
    va_end(arguments);
    message->severity = severity;
    message->key = key;
    message->file = where ? parse->file : NULL;
    message->line = where ? parse->line : 0;
    message->text =
        where ? apr_psprintf(parse->pool, "[%s:%d] %s", parse->file, parse->line, text) : text;
    if (severity >= FPD_CONF_ERROR) {
        parse->error_count++;
    }
}

const char *fpd_parse_prefix(const fpd_parse *parse, const char *pool_prefix, int is_variable)
{
    if (pool_prefix != NULL && *pool_prefix != '\0') {
        return pool_prefix;
    }
    if (parse->options->prefix != NULL) {
        return parse->options->prefix;
    }
    return is_variable ? FPD_LOCALSTATEDIR : FPD_PREFIX;
}

const char *fpd_parse_expand(const fpd_parse *parse, const char *path, const char *pool_prefix,
                             int is_variable)
{
    if (path == NULL || *path == '/') {
        return path;
    }
    return apr_psprintf(parse->pool, "%s/%s", fpd_parse_prefix(parse, pool_prefix, is_variable),
                        path);
}

/* ---- sections ----------------------------------------------------------------------------- */

static fpd_conf_section *find_section(const fpd_parse *parse, const char *name)
{
    for (int i = 0; i < parse->conf->sections->nelts; i++) {
        fpd_conf_section *section = APR_ARRAY_IDX(parse->conf->sections, i, fpd_conf_section *);
        if (strcasecmp(section->plan->name, name) == 0) {
            return section;
        }
    }
    return NULL;
}

static void open_section(fpd_parse *parse, const char *name)
{
    fpd_conf_section *section;

    if (strcasecmp(name, "global") == 0) {
        parse->section = NULL;
        return;
    }
    parse->section = find_section(parse, name);
    if (parse->section != NULL) {
        return;
    }
    if (*name == '\0' || parse->conf->sections->nelts >= POOLS_MAX) {
        fpd_parse_say(parse, FPD_CONF_ERROR, 1, NULL,
                      *name == '\0' ? "a pool section needs a name" : "too many pools");
    }
    section = apr_pcalloc(parse->pool, sizeof(*section));
    section->plan = fpd_plan_pool_create(parse->pool);
    section->plan->name = name;
    section->plan->config_file = parse->file;
    section->plan->config_line = parse->line;
    section->plan->request_slowlog_trace_depth = 0; /* not set; check.c has the default */
    section->env = apr_array_make(parse->pool, 4, sizeof(fpd_plan_pair));
    section->values = apr_array_make(parse->pool, 4, sizeof(fpd_plan_pair));
    APR_ARRAY_PUSH(parse->conf->sections, fpd_conf_section *) = section;
    parse->section = section;
}

/* ---- entries ------------------------------------------------------------------------------ */

/* Replaces "$pool" everywhere; NULL when there is no pool to name. */
static const char *replace_pool(const fpd_parse *parse, const char *value)
{
    const char *found = strstr(value, "$pool");

    if (found == NULL) {
        return value;
    }
    if (parse->section == NULL) {
        return NULL;
    }
    return apr_pstrcat(parse->pool, apr_pstrmemdup(parse->pool, value, (apr_size_t)(found - value)),
                       parse->section->plan->name, replace_pool(parse, found + strlen("$pool")),
                       NULL);
}

static void set_scalar(fpd_parse *parse, const char *name, const char *value)
{
    fpd_key_scope scope = parse->section != NULL ? FPD_KEY_POOL : FPD_KEY_GLOBAL;
    const fpd_key *key = fpd_keys_find(scope, name);
    const char *reason;
    void *structure;

    if (key == NULL) {
        fpd_parse_say(parse, FPD_CONF_ERROR, 1, name, "unknown entry '%s'", name);
        return;
    }
    value = replace_pool(parse, value);
    if (value == NULL) {
        reason = "Can't use '$pool' when the pool is not defined";
    } else {
        structure =
            scope == FPD_KEY_POOL ? (void *)parse->section->plan : (void *)&parse->conf->global;
        reason = fpd_keys_store(key, structure, value);
        if (key->type == FPD_KEY_MODE && scope == FPD_KEY_POOL) {
            parse->section->listen_mode = value;
        }
    }
    if (reason != NULL) {
        fpd_parse_say(parse, FPD_CONF_ERROR, 1, key->name,
                      "unable to parse value for entry '%s': %s", name, reason);
    } else if (!key->is_in_effect) {
        fpd_parse_say(parse, FPD_CONF_NOTICE, 1, key->name,
                      "'%s' is accepted but has no effect yet in this version", key->name);
    }
}

static void add_pair(apr_array_header_t *list, const char *key, const char *value, int is_admin)
{
    fpd_plan_pair *pair = apr_array_push(list);

    pair->key = key;
    pair->value = value;
    pair->is_admin = is_admin;
}

static void add_suppressed_path(fpd_parse *parse, const fpd_ini_statement *line, const char *value)
{
    if (*line->key != '\0') {
        fpd_parse_say(parse, FPD_CONF_ERROR, 1, line->name,
                      "Keys provided to field 'access.suppress_path' are ignored");
    } else if (*value != '/') {
        fpd_parse_say(parse, FPD_CONF_ERROR, 1, line->name,
                      "Values provided to field 'access.suppress_path' must begin with '/'");
    } else {
        APR_ARRAY_PUSH(parse->section->plan->suppress_paths, const char *) = value;
    }
}

/* "1" or "0", or NULL for what is no boolean. */
static const char *flag_value(const char *value)
{
    static const char *const yes[] = {"1", "yes", "true", "on"};
    static const char *const no[] = {"0", "no", "none", "false", "off", ""};

    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        if (strcmp(value, yes[i]) == 0) {
            return "1";
        }
    }
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        if (strcmp(value, no[i]) == 0) {
            return "0";
        }
    }
    return NULL;
}

static void add_php_setting(fpd_parse *parse, const fpd_ini_statement *line, const char *value)
{
    int is_admin = strncmp(line->name, "php_admin_", strlen("php_admin_")) == 0;
    int is_flag = strcmp(line->name + strlen(line->name) - strlen("flag"), "flag") == 0;

    if (is_flag) {
        value = flag_value(value);
        if (value == NULL) {
            fpd_parse_say(parse, FPD_CONF_ERROR, 1, line->name,
                          "error while parsing '%s[%s]' : invalid boolean value", line->name,
                          line->key);
            return;
        }
    }
    add_pair(parse->section->values, line->key, value, is_admin);
}

static void set_array(fpd_parse *parse, const fpd_ini_statement *line)
{
    static const char *const php_settings[] = {"php_value", "php_flag", "php_admin_value",
                                               "php_admin_flag"};
    const char *value;
    int is_suppress = strcmp(line->name, "access.suppress_path") == 0;

    if (!is_suppress && *line->key == '\0') {
        fpd_parse_say(parse, FPD_CONF_ERROR, 1, line->name, "You must provide a key for field '%s'",
                      line->name);
        return;
    }
    if (parse->section == NULL) {
        fpd_parse_say(parse, FPD_CONF_ERROR, 1, line->name,
                      "Array are not allowed in the global section");
        return;
    }
    value = replace_pool(parse, line->value);
    if (is_suppress) {
        add_suppressed_path(parse, line, value);
        return;
    }
    if (strcmp(line->name, "env") == 0) {
        if (*value == '\0') {
            fpd_parse_say(parse, FPD_CONF_ERROR, 1, line->name, "empty value");
            return;
        }
        add_pair(parse->section->env, line->key, value, 0);
        return;
    }
    for (size_t i = 0; i < sizeof(php_settings) / sizeof(php_settings[0]); i++) {
        if (strcmp(line->name, php_settings[i]) == 0) {
            add_php_setting(parse, line, value);
            return;
        }
    }
    fpd_parse_say(parse, FPD_CONF_ERROR, 1, line->name, "unknown directive '%s'", line->name);
}

/* ---- files -------------------------------------------------------------------------------- */

static void read_file(fpd_parse *parse, const char *path);

static void include_files(fpd_parse *parse, const char *pattern)
{
    const char *expanded = fpd_parse_expand(parse, pattern, NULL, 0);
    const char *file = parse->file;
    int line = parse->line;
    glob_t found;
    int result;

    if (*pattern == '\0') {
        return;
    }
    result = glob(expanded, GLOB_ERR | GLOB_MARK, NULL, &found);
    if (result == GLOB_NOMATCH) {
        fpd_parse_say(parse, FPD_CONF_WARNING, 0, "include",
                      "Nothing matches the include pattern '%s' from %s at line %d.", expanded,
                      file, line);
        globfree(&found);
        return;
    }
    if (result != 0) {
        fpd_parse_say(parse, FPD_CONF_ERROR, 0, "include",
                      "Unable to globalize '%s' (ret=%d) from %s at line %d.", expanded, result,
                      file, line);
        return;
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const char *path = found.gl_pathv[i];
        int errors = parse->error_count;
        if (path[strlen(path) - 1] == '/') {
            continue;
        }
        read_file(parse, apr_pstrdup(parse->pool, path));
        parse->file = file;
        parse->line = line;
        if (parse->error_count > errors) {
            fpd_parse_say(parse, FPD_CONF_ERROR, 0, "include",
                          "Unable to include %s from %s at line %d", path, file, line);
        }
    }
    globfree(&found);
}

static const char *find_define(const fpd_parse *parse, const char *name)
{
    const apr_array_header_t *defines = parse->options->defines;
    size_t length = strlen(name);

    for (int i = defines != NULL ? defines->nelts - 1 : -1; i >= 0; i--) {
        const char *define = APR_ARRAY_IDX(defines, i, const char *);
        if (strncmp(define, name, length) == 0 && define[length] == '=') {
            return define + length + 1;
        }
    }
    return NULL;
}

/* What PHP knows; NULL if it knows no such name, or cannot be asked. */
static const char *ask_php(fpd_parse *parse, fpd_conf_question question, const char *name)
{
    const fpd_conf_options *options = parse->options;
    const char *value = NULL;
    const char *reason = NULL;

    if (options->ask == NULL) {
        return NULL;
    }
    if (options->ask(options->ask_context, question, name, &value, &reason) != APR_SUCCESS) {
        fpd_parse_say(parse, FPD_CONF_WARNING, 1, NULL, "PHP cannot be asked for '%s': %s", name,
                      reason);
    }
    return value;
}

/* ${NAME}: -d and php.ini come before the environment. */
static const char *find_variable(void *context, const char *name)
{
    fpd_parse *parse = context;
    const char *value = find_define(parse, name);

    if (value == NULL) {
        value = ask_php(parse, FPD_CONF_SETTING, name);
    }
    return value != NULL ? value : getenv(name);
}

/* PHP's constants are written in capitals; no other word is worth a question. */
static const char *find_constant(void *context, const char *word)
{
    if (word[strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] != '\0') {
        return NULL;
    }
    return ask_php(context, FPD_CONF_CONSTANT, word);
}

/* What is wrong with a line is said once: its other statements are not looked at. */
static void take_statement(void *context, const fpd_ini_statement *statement)
{
    fpd_parse *parse = context;

    if (parse->error_count > parse->errors_before_line) {
        return;
    }
    switch (statement->kind) {
    case FPD_INI_SECTION:
        open_section(parse, statement->name);
        break;
    case FPD_INI_LABEL:
        fpd_parse_say(parse, FPD_CONF_ERROR, 1, statement->name,
                      "value is NULL for a ZEND_INI_PARSER_ENTRY (write '%s = VALUE')",
                      statement->name);
        break;
    case FPD_INI_ARRAY:
        set_array(parse, statement);
        break;
    case FPD_INI_ENTRY:
        if (strcmp(statement->name, "include") == 0) {
            include_files(parse, statement->value);
        } else {
            set_scalar(parse, statement->name, statement->value);
        }
        break;
    }
}

static void read_line(fpd_parse *parse, const char *text, size_t length)
{
    const fpd_ini_reader reader = {find_variable, find_constant, take_statement, parse};
    const char *error;

    parse->errors_before_line = parse->error_count;
    error = fpd_ini_read(&reader, text, length, parse->pool);
    if (error != NULL) {
        fpd_parse_say(parse, FPD_CONF_ERROR, 1, NULL, "%s", error);
    }
}

static void read_lines(fpd_parse *parse, FILE *stream)
{
    char *text = NULL;
    size_t capacity = 0;
    ssize_t length;

    while ((length = getline(&text, &capacity, stream)) >= 0) {
        if (length > 0 && text[length - 1] == '\n') {
            text[--length] = '\0';
        }
        parse->line++;
        read_line(parse, text, (size_t)length);
    }
    if (ferror(stream)) {
        fpd_parse_say(parse, FPD_CONF_ERROR, 0, NULL, "failed to read configuration file '%s'",
                      parse->file);
    }
    free(text);
}

static void read_file(fpd_parse *parse, const char *path)
{
    FILE *stream;

    if (parse->depth > INCLUDE_DEPTH_MAX) {
        fpd_parse_say(parse, FPD_CONF_ERROR, 0, "include",
                      "failed to include more than 5 files recursively");
        return;
    }
    stream = fopen(path, "re");
    if (stream == NULL) {
        char reason[256];
        int error = errno;
        apr_strerror(error, reason, sizeof(reason));
        fpd_parse_say(parse, FPD_CONF_ERROR, 0, NULL,
                      "failed to open configuration file '%s': %s (%d)", path, reason, error);
        return;
    }
    parse->file = path;
    parse->line = 0;
    parse->depth++;
    read_lines(parse, stream);
    parse->depth--;
    fclose(stream);
}

void fpd_parse_file(fpd_parse *parse)
{
    read_file(parse, parse->options->file);
}
