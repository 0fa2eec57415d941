/* fpmp_ini.h - mod_php's php_value, php_flag, php_admin_value and php_admin_flag (specification:
 * apache.md 3), for pools behind this module.
 *
 * A table of settings belongs to the section's configuration and is constant once it was read;
 * NULL is the empty table.
 */
#ifndef FPMP_INI_H
#define FPMP_INI_H

#include "fpmp_pool.h"

#include <httpd.h>
#include <http_config.h>
#include <apr_hash.h>

typedef apr_hash_t fpmp_ini; /* name -> private entry */

/* The directive handlers; cmd->info: 1 for the php_admin_ forms. They fill conf->ini. */
const char *fpmp_ini_set_value(cmd_parms *cmd, void *dir_conf, const char *name, const char *value);
const char *fpmp_ini_set_flag(cmd_parms *cmd, void *dir_conf, const char *name, const char *flag);
/* PHPINIDir belongs to mod_php: says what takes its place. */
const char *fpmp_ini_refuse_directory(cmd_parms *cmd, void *dir_conf, const char *directory);

/* mod_php's rule: the inner value counts unless the outer one is an administrator's and it is not.
 * Owned by pool, or one of both when the other is empty. */
fpmp_ini *fpmp_ini_merge(apr_pool_t *pool, fpmp_ini *outer, fpmp_ini *inner);

/* Is it set, and to a true value? For those that are mod_php's own: last_modified, xbithack. */
int fpmp_ini_is_on(fpmp_ini *ini, const char *name);

/* php_flag engine off. */
int fpmp_ini_is_engine_off(fpmp_ini *ini);

/* WIRE_PARAM_INI's text for our daemon; NULL for the empty table. Owned by pool. */
const char *fpmp_ini_encode(apr_pool_t *pool, fpmp_ini *ini);

/* php.ini lines for PHP_VALUE (is_admin 0) or PHP_ADMIN_VALUE of php-fpm; NULL: nothing to send.
 * Settings of .htaccess files are left out, because php-fpm would set for them what only the
 * system may; *left_out is set to 1 then. Owned by pool. */
const char *fpmp_ini_write_lines(apr_pool_t *pool, fpmp_ini *ini, int is_admin, int *left_out);

#endif
