/* ini.h - ini settings of a pool and of a request (spec/php-fpm.md 1.7, 4.6). Only for php/. */
#ifndef FPD_INI_H
#define FPD_INI_H

#include "apr_pools.h"
#include "base/plan_format.h"
#include "php/sapi.h"

/* The pool's -d defines and php_(admin_)values as ini text for sapi_module.ini_entries, so that
 * settings of module start-up take effect too. From malloc; NULL without memory. disable_functions
 * and disable_classes are left out. */
char *fpd_ini_entries(const fpd_plan_pool *plan);

/* During module start-up, before PHP disables functions: adds the pool's disable_functions and
 * disable_classes to php.ini's. */
void fpd_ini_add_disabled(const fpd_plan_pool *plan);

/* After module start-up: locks php_admin_values and logs keys that PHP does not know. */
void fpd_ini_lock(const fpd_plan_pool *plan);

/* Before php_request_startup: PHP_VALUE and PHP_ADMIN_VALUE of the request. PHP undoes everything
 * at the end of the request. */
void fpd_ini_begin(const fpd_sapi_request *request, const fpd_plan_pool *plan);

/* Inside php_request_startup: [HOST=] and [PATH=] of php.ini, .user.ini files. */
void fpd_ini_activate(const fpd_sapi_request *request, const fpd_plan_pool *plan);

#endif
