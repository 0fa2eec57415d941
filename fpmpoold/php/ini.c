/* ini.c - ini settings of a pool and of a request.
 *
 * The pool's are part of libphp's start in the pool process; a request's are applied in the worker
 * with PHP's own bookkeeping, which undoes them at the request's end. What the pool's administrator
 * fixed (php_admin_value) wins over everything a request brings.
 */
#include "php/ini.h"

#include <stdlib.h>
#include <string.h>

#include "SAPI.h"
#include "base/log.h"
#include "php.h"
#include "php/current.h"
#include "php_ini.h"
#include "wire/wire.h"
#include "zend_ini_scanner.h"

#define USER_INI_CACHE_MAX 1024 /* directories; more start the cache anew */

static int is_list_of_disabled(const char *key)
{
    return strcmp(key, "disable_functions") == 0 || strcmp(key, "disable_classes") == 0;
}

/* Loads a module; not an ini entry that can be looked up later. */
static int is_loader(const char *key)
{
    return strcmp(key, "extension") == 0 || strcmp(key, "zend_extension") == 0;
}

/* ---- text for start-up ------------------------------------------------------------------- */

typedef struct text {
    char *bytes;
    size_t length;
    size_t size;
    int has_failed;
} text;

static void append(text *to, const char *from, size_t length)
{
    if (to->length + length + 1 > to->size) {
        size_t size = (to->length + length + 1) * 2;
        char *bytes = realloc(to->bytes, size);
        if (bytes == NULL) {
            to->has_failed = 1;
            return;
        }
        to->bytes = bytes;
        to->size = size;
    }
    memcpy(to->bytes + to->length, from, length);
    to->length += length;
    to->bytes[to->length] = '\0';
}

/* key="value" with what double quotes would interpret escaped. */
static void append_entry(text *to, const char *key, const char *value)
{
    append(to, key, strlen(key));
    append(to, "=\"", 2);
    for (; *value != '\0'; value++) {
        if (strchr("\"\\$", *value) != NULL) {
            append(to, "\\", 1);
        }
        append(to, value, 1);
    }
    append(to, "\"\n", 2);
}

/* -d key=value: PHP's own rule is to quote a value unless it begins with a letter, a digit or a
 * quote. */
static void append_define(text *to, const char *define)
{
    const char *value = strchr(define, '=');

    if (value == NULL) {
        append(to, define, strlen(define));
        append(to, "=1\n", 3);
        return;
    }
    value++;
    append(to, define, (size_t)(value - define));
    if (*value != '\0' && strchr("\"'", *value) == NULL && !isalnum((unsigned char)*value)) {
        append(to, "\"", 1);
        append(to, value, strlen(value));
        append(to, "\"", 1);
    } else {
        append(to, value, strlen(value));
    }
    append(to, "\n", 1);
}

/* Of two equal keys the first wins, as in php-fpm; ini text works the other way round. */
static void append_values(text *to, const fpd_plan_pool *plan, int is_admin)
{
    for (int i = plan->php_values->nelts; i > 0; i--) {
        const fpd_plan_pair *pair = &APR_ARRAY_IDX(plan->php_values, i - 1, fpd_plan_pair);
        if (!pair->is_admin == !is_admin && !is_list_of_disabled(pair->key)) {
            append_entry(to, pair->key, pair->value);
        }
    }
}

char *fpd_ini_entries(const fpd_plan_pool *plan)
{
    text entries = {NULL, 0, 0, 0};

    append(&entries, "", 0);
    for (int i = 0; i < plan->defines->nelts; i++) {
        append_define(&entries, APR_ARRAY_IDX(plan->defines, i, const char *));
    }
    append_values(&entries, plan, 0);
    append_values(&entries, plan, 1);
    if (entries.has_failed) {
        free(entries.bytes);
        return NULL;
    }
    return entries.bytes;
}

/* ---- after start-up ---------------------------------------------------------------------- */

static zend_ini_entry *find_entry(const char *key)
{
    return zend_hash_str_find_ptr(EG(ini_directives), key, strlen(key));
}

static void add_disabled(const char *key, const char *more)
{
    zend_ini_entry *entry = find_entry(key);
    size_t old_length;
    zend_string *joined;

    if (entry == NULL || *more == '\0') {
        return;
    }
    old_length = entry->value != NULL ? ZSTR_LEN(entry->value) : 0;
    joined = zend_string_alloc(old_length + 1 + strlen(more), 1);
    if (old_length > 0) {
        memcpy(ZSTR_VAL(joined), ZSTR_VAL(entry->value), old_length);
        ZSTR_VAL(joined)[old_length++] = ',';
    }
    memcpy(ZSTR_VAL(joined) + old_length, more, strlen(more) + 1);
    ZSTR_LEN(joined) = old_length + strlen(more);
    GC_MAKE_PERSISTENT_LOCAL(joined);
    if (entry->value != NULL) {
        zend_string_release(entry->value);
    }
    entry->value = joined;
}

void fpd_ini_add_disabled(const fpd_plan_pool *plan)
{
    for (int i = 0; i < plan->php_values->nelts; i++) {
        const fpd_plan_pair *pair = &APR_ARRAY_IDX(plan->php_values, i, fpd_plan_pair);
        if (is_list_of_disabled(pair->key)) {
            add_disabled(pair->key, pair->value);
        }
    }
}

void fpd_ini_lock(const fpd_plan_pool *plan)
{
    for (int i = 0; i < plan->php_values->nelts; i++) {
        const fpd_plan_pair *pair = &APR_ARRAY_IDX(plan->php_values, i, fpd_plan_pair);
        zend_ini_entry *entry = find_entry(pair->key);
        if (entry != NULL) {
            if (pair->is_admin) {
                entry->modifiable = ZEND_INI_SYSTEM;
            }
        } else if (!is_loader(pair->key)) {
            fpd_log(FPD_LOG_ERROR, "Unable to set %s '%s'",
                    pair->is_admin ? "php_admin_value" : "php_value", pair->key);
        }
    }
}

/* ---- a request --------------------------------------------------------------------------- */

static const fpd_plan_pair *find_admin(const fpd_plan_pool *plan, const char *key)
{
    for (int i = 0; i < plan->php_values->nelts; i++) {
        const fpd_plan_pair *pair = &APR_ARRAY_IDX(plan->php_values, i, fpd_plan_pair);
        if (pair->is_admin && strcmp(pair->key, key) == 0) {
            return pair;
        }
    }
    return NULL;
}

/* Is this a setting that works for the whole process, or for all pool members through OPcache? */
static int is_refused(const char *key)
{
    return is_list_of_disabled(key) || is_loader(key) ||
           (strncmp(key, "opcache.", 8) == 0 && strcmp(key, "opcache.enable") != 0);
}

typedef struct given {
    const fpd_plan_pool *plan;
    int mode; /* ZEND_INI_USER or ZEND_INI_SYSTEM */
} given;

/* One entry of PHP_VALUE or PHP_ADMIN_VALUE. */
static void apply_given(zval *key, zval *value, zval *index, int type, void *context)
{
    const given *from = context;

    (void)index;
    if (type != ZEND_INI_PARSER_ENTRY) {
        fpd_current_log(FPD_LOG_ERROR,
                        "Passing INI directive through FastCGI: only classic entries are allowed");
        return;
    }
    if (key == NULL || Z_TYPE_P(key) != IS_STRING || Z_STRLEN_P(key) == 0) {
        fpd_current_log(FPD_LOG_ERROR, "Passing INI directive through FastCGI: empty key");
        return;
    }
    if (value == NULL || Z_TYPE_P(value) != IS_STRING) {
        fpd_current_log(FPD_LOG_ERROR,
                        "Passing INI directive through FastCGI: empty value for key '%s'",
                        Z_STRVAL_P(key));
        return;
    }
    if (is_refused(Z_STRVAL_P(key)) || find_admin(from->plan, Z_STRVAL_P(key)) != NULL ||
        zend_alter_ini_entry_ex(Z_STR_P(key), Z_STR_P(value), from->mode, ZEND_INI_STAGE_HTACCESS,
                                1) == FAILURE) {
        fpd_current_log(FPD_LOG_ERROR, "Passing INI directive through FastCGI: unable to set '%s'",
                        Z_STRVAL_P(key));
        return;
    }
    if (from->mode == ZEND_INI_SYSTEM) {
        zend_ini_entry *entry = find_entry(Z_STRVAL_P(key));
        if (entry != NULL) {
            entry->modifiable = 0;
        }
    }
}

static void apply_text(const fpd_sapi_request *request, const fpd_plan_pool *plan, const char *name,
                       int mode)
{
    const char *value = fpd_params_get(request->params, name);
    given from = {plan, mode};
    char *lines;

    if (value == NULL) {
        return;
    }
    spprintf(&lines, 0, "%s\n", value);
    zend_parse_ini_string(lines, 1, ZEND_INI_SCANNER_NORMAL, apply_given, &from);
    efree(lines);
}

/* As mod_php does before the request starts: php_value may change what PHP allows per directory,
 * and from an .htaccess file only narrow what narrows (open_basedir). */
static void apply_setting(const fpd_plan_pool *plan, char level, const char *name, size_t length,
                          const char *value, size_t value_length)
{
    int is_admin = level == WIRE_INI_ADMIN;
    int stage = level == WIRE_INI_HTACCESS ? ZEND_INI_STAGE_HTACCESS : ZEND_INI_STAGE_ACTIVATE;
    zend_string *key = zend_string_init(name, length, 0);
    zend_string *new_value = zend_string_init(value, value_length, 0);
    zend_ini_entry *entry = find_entry(ZSTR_VAL(key));

    if (entry != NULL && !is_refused(ZSTR_VAL(key)) && find_admin(plan, ZSTR_VAL(key)) == NULL &&
        zend_alter_ini_entry_ex(key, new_value, is_admin ? ZEND_INI_SYSTEM : ZEND_INI_PERDIR, stage,
                                0) == SUCCESS &&
        is_admin) {
        entry->modifiable = 0;
    }
    zend_string_release(new_value);
    zend_string_release(key);
}

/* FPMPOOL_INI of our module. */
static void apply_settings(const char *lines, const fpd_plan_pool *plan)
{
    while (*lines != '\0') {
        const char *end = strchr(lines, '\n');
        const char *equals = strchr(lines, '=');
        if (end == NULL || equals == NULL || equals > end || equals == lines) {
            fpd_current_log(FPD_LOG_ERROR, "FPMPOOL_INI is not well-formed, the rest is ignored");
            return;
        }
        apply_setting(plan, lines[0], lines + 1, (size_t)(equals - lines) - 1, equals + 1,
                      (size_t)(end - equals) - 1);
        lines = end + 1;
    }
}

void fpd_ini_begin(const fpd_sapi_request *request, const fpd_plan_pool *plan)
{
    if (request->settings != NULL) {
        apply_settings(request->settings, plan);
    }
    apply_text(request, plan, "PHP_VALUE", ZEND_INI_USER);
    apply_text(request, plan, "PHP_ADMIN_VALUE", ZEND_INI_SYSTEM);
}

/* ---- .user.ini --------------------------------------------------------------------------- */

typedef struct user_ini {
    time_t expires;
    HashTable values;
} user_ini;

/* What the .user.ini files of a directory said; lives as long as the worker. */
static HashTable *user_ini_cache;

static void free_user_ini(zval *item)
{
    user_ini *cached = Z_PTR_P(item);

    zend_hash_destroy(&cached->values);
    free(cached);
}

static user_ini *find_user_ini(const char *directory, size_t length)
{
    user_ini *cached;

    if (user_ini_cache == NULL) {
        user_ini_cache = malloc(sizeof(*user_ini_cache));
        if (user_ini_cache == NULL) {
            return NULL;
        }
        zend_hash_init(user_ini_cache, 8, NULL, free_user_ini, 1);
    }
    cached = zend_hash_str_find_ptr(user_ini_cache, directory, length);
    if (cached != NULL) {
        return cached;
    }
    cached = calloc(1, sizeof(*cached));
    if (cached == NULL) {
        return NULL;
    }
    if (zend_hash_num_elements(user_ini_cache) >= USER_INI_CACHE_MAX) {
        zend_hash_clean(user_ini_cache);
    }
    zend_hash_init(&cached->values, 8, NULL, (dtor_func_t)config_zval_dtor, 1);
    zend_hash_str_update_ptr(user_ini_cache, directory, length, cached);
    return cached;
}

/* Reads the files from the document root down to the directory; outside of the document root only
 * the directory's own. directory ends with a slash. */
static void read_user_ini(user_ini *cached, char *directory, const char *root)
{
    size_t root_length = root != NULL ? strlen(root) : 0;
    char *slash = directory + strlen(directory) - 1;

    zend_hash_clean(&cached->values);
    while (root_length > 0 && root[root_length - 1] == '/') {
        root_length--;
    }
    if (root_length > 0 && strncmp(directory, root, root_length) == 0 &&
        directory[root_length] == '/') {
        slash = directory + root_length;
    }
    while (slash != NULL) {
        *slash = '\0';
        php_parse_user_ini_file(directory, PG(user_ini_filename), &cached->values);
        *slash = '/';
        slash = strchr(slash + 1, '/');
    }
}

static void activate_user_ini(const fpd_sapi_request *request, char *directory, size_t length)
{
    user_ini *cached = find_user_ini(directory, length);
    time_t now = (time_t)sapi_get_request_time();

    if (cached == NULL) {
        return;
    }
    if (now > cached->expires) {
        read_user_ini(cached, directory, fpd_params_get(request->params, "DOCUMENT_ROOT"));
        cached->expires = now + PG(user_ini_cache_ttl);
    }
    php_ini_activate_config(&cached->values, PHP_INI_PERDIR, PHP_INI_STAGE_HTACCESS);
}

static void activate_directory(const fpd_sapi_request *request)
{
    /* Where no document root is told, php-fpm reads no .user.ini. */
    int has_user_ini = PG(user_ini_filename) != NULL && *PG(user_ini_filename) != '\0' &&
                       fpd_params_get(request->params, "DOCUMENT_ROOT") != NULL;
    const char *slash = strrchr(request->script, '/');
    size_t length = slash == NULL ? 0 : (size_t)(slash - request->script) + 1;
    char *directory;

    if (length == 0 || (!has_user_ini && !php_ini_has_per_dir_config())) {
        return;
    }
    directory = estrndup(request->script, length);
    if (php_ini_has_per_dir_config()) {
        php_ini_activate_per_dir_config(directory, length);
    }
    if (has_user_ini) {
        activate_user_ini(request, directory, length);
    }
    efree(directory);
}

/* php.ini's sections may have changed what the pool fixed. And OPcache folds ini_get() of settings
 * that only the system may change: values of one request must not look like that, or they end up in
 * code that all workers share. */
static void protect_values(const fpd_plan_pool *plan)
{
    zend_ini_entry *entry;

    if (EG(modified_ini_directives) == NULL) {
        return;
    }
    for (int i = plan->php_values->nelts; i > 0; i--) {
        const fpd_plan_pair *pair = &APR_ARRAY_IDX(plan->php_values, i - 1, fpd_plan_pair);
        entry = pair->is_admin ? find_entry(pair->key) : NULL;
        if (entry != NULL && entry->modified && !is_refused(pair->key)) {
            zend_string *value = zend_string_init(pair->value, strlen(pair->value), 0);
            zend_alter_ini_entry_ex(entry->name, value, ZEND_INI_SYSTEM, ZEND_INI_STAGE_HTACCESS,
                                    1);
            zend_string_release(value);
        }
    }
    ZEND_HASH_FOREACH_PTR(EG(modified_ini_directives), entry)
    {
        if (entry->modifiable == ZEND_INI_SYSTEM) {
            entry->modifiable = 0;
        }
    }
    ZEND_HASH_FOREACH_END();
}

void fpd_ini_activate(const fpd_sapi_request *request, const fpd_plan_pool *plan)
{
    if (request->script == NULL) {
        return;
    }
    if (php_ini_has_per_host_config()) {
        const char *server_name = fpd_params_get(request->params, "SERVER_NAME");
        if (server_name != NULL) {
            char *host = estrdup(server_name);
            zend_str_tolower(host, strlen(host));
            php_ini_activate_per_host_config(host, strlen(host));
            efree(host);
        }
    }
    activate_directory(request);
    protect_values(plan);
}
