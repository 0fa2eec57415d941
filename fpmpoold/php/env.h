/* env.h - $_SERVER, $_ENV, getenv() and the process environment (spec/php-fpm.md 1.7, 4.6).
 *
 * Only for php/.
 */
#ifndef FPD_ENV_H
#define FPD_ENV_H

#include "base/plan_format.h"
#include "php.h"

/* Once, after module start-up: PHP reads request parameters and environment through us. */
void fpd_env_install(void);

/* The pool's environment: clear_env, env[], USER and HOME. Returns an errno. */
int fpd_env_apply(const fpd_plan_pool *plan);

/* Callback of the SAPI: adds everything that $_SERVER holds. */
void fpd_env_register_server(zval *variables);

#endif
