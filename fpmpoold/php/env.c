/* env.c - the environment of a pool and of a request.
 *
 * The pool's part runs in the pool process after libphp's start, the request's part in workers. A
 * request's parameters come newest first, after the process environment, as php-fpm has them.
 */
#include "php/env.h"

#include <errno.h>
#include <stdlib.h>

#include "SAPI.h"
#include "php/current.h"
#include "php/functions.h"
#include "php_variables.h"

/* PHP's own import, which ours calls first. */
static void (*import_process_environment)(zval *variables);

static void register_filtered(const char *name, char *value, size_t length, int kind,
                              zval *variables)
{
    size_t filtered_length;
    char *filtered = value;

    if (sapi_module.input_filter(kind, name, &filtered, length, &filtered_length)) {
        php_register_variable_safe(name, filtered, filtered_length, variables);
    }
}

/* A client's Proxy header must not look like the HTTP_PROXY variable (httpoxy). */
static int is_hidden(const fpd_param *param)
{
    return param->value == NULL || strcmp(param->name, "HTTP_PROXY") == 0;
}

/* To the first NUL: the same value that the path rules and getenv() see. */
static size_t shown_length(const fpd_param *param)
{
    return strnlen(param->value, param->value_length);
}

static void register_params(zval *variables, int kind)
{
    const fpd_params *params = fpd_current_request()->params;

    for (uint32_t i = params->count; i > 0; i--) {
        const fpd_param *param = &params->list[i - 1];
        if (!is_hidden(param)) {
            register_filtered(param->name, param->value, shown_length(param), kind, variables);
        }
    }
}

static int is_tracked(const zval *variables, int which)
{
    const zval *tracked = &PG(http_globals)[which];

    return Z_TYPE_P(tracked) == IS_ARRAY && Z_ARR_P(variables) == Z_ARR_P(tracked);
}

/* One of $_ENV and $_SERVER was made already: the other begins as its copy, as in php-fpm. */
static int copy_tracked(zval *variables, int which)
{
    const zval *tracked = &PG(http_globals)[which];

    if (Z_TYPE_P(tracked) != IS_ARRAY || is_tracked(variables, which) ||
        zend_hash_num_elements(Z_ARRVAL_P(tracked)) == 0) {
        return 0;
    }
    zend_hash_copy(Z_ARRVAL_P(variables), Z_ARRVAL_P(tracked), zval_add_ref);
    return 1;
}

static void import_environment(zval *variables)
{
    if (fpd_current_request() == NULL) {
        import_process_environment(variables);
        return;
    }
    if (copy_tracked(variables, TRACK_VARS_ENV) || copy_tracked(variables, TRACK_VARS_SERVER)) {
        return;
    }
    import_process_environment(variables);
    register_params(variables, is_tracked(variables, TRACK_VARS_ENV) ? PARSE_ENV : PARSE_SERVER);
}

/* For getenv() without a name. Not through the input filter: ext/filter takes what it is given into
 * $_SERVER. */
static void load_environment(zval *variables)
{
    const fpd_sapi_request *request = fpd_current_request();

    import_process_environment(variables);
    for (uint32_t i = request != NULL ? request->params->count : 0; i > 0; i--) {
        const fpd_param *param = &request->params->list[i - 1];
        if (!is_hidden(param)) {
            php_register_variable_safe(param->name, param->value, shown_length(param), variables);
        }
    }
}

void fpd_env_install(void)
{
    import_process_environment = php_import_environment_variables;
    php_import_environment_variables = import_environment;
    php_load_environment_variables = load_environment;
}

void fpd_env_register_server(zval *variables)
{
    const fpd_sapi_request *request = fpd_current_request();
    const char *info = NULL;
    const char *name;
    char *self;

    php_import_environment_variables(variables);
    if (request == NULL) {
        return; /* php -i */
    }
    name = request->request_uri;
    if (request->self != NULL) {
        name = request->self;
    } else if (fpd_functions_settings_now()->fix_pathinfo) {
        name = fpd_params_get(request->params, "SCRIPT_NAME");
        info = fpd_params_get(request->params, "PATH_INFO");
    }
    spprintf(&self, 0, "%s%s", name != NULL ? name : "", info != NULL ? info : "");
    register_filtered("PHP_SELF", self, strlen(self), PARSE_SERVER, variables);
    efree(self);
}

int fpd_env_apply(const fpd_plan_pool *plan)
{
    int has_user = 0;
    int has_home = 0;

    if (plan->clear_env && clearenv() != 0) {
        return ENOMEM;
    }
    /* The first of two equal keys wins, as in php-fpm. */
    for (int i = plan->env->nelts; i > 0; i--) {
        const fpd_plan_pair *pair = &APR_ARRAY_IDX(plan->env, i - 1, fpd_plan_pair);
        has_user |= strcmp(pair->key, "USER") == 0;
        has_home |= strcmp(pair->key, "HOME") == 0;
        if (setenv(pair->key, pair->value, 1) != 0) {
            return errno;
        }
    }
    if (!has_user && plan->user_name != NULL && setenv("USER", plan->user_name, 1) != 0) {
        return errno;
    }
    if (!has_home && plan->user_home != NULL && setenv("HOME", plan->user_home, 1) != 0) {
        return errno;
    }
    return 0;
}
