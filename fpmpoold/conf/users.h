/* users.h - who a pool runs as (spec/php-fpm.md 1.6), and findings that concern one pool.
 *
 * Private to conf/.
 */
#ifndef FPD_USERS_H
#define FPD_USERS_H

#include "conf/parse.h"

/* A finding with php-fpm's "[pool NAME] " in front. */
void fpd_users_say(fpd_parse *parse, fpd_conf_severity severity, const fpd_plan_pool *plan,
                   const char *key, const char *format, ...) __attribute__((format(printf, 5, 6)));

/* This pool cannot serve, the others can: an error that does not fail the load. The first reason is
 * kept as the plan's failure; reason must live in parse->pool. */
void fpd_users_fail(fpd_parse *parse, fpd_plan_pool *plan, const char *key, const char *reason);

/* Only digits, and at least one? */
int fpd_users_is_number(const char *text);

/* Fills uid, gid, user_name and user_home from user and group, with php-fpm's rules for root and
 * for other users. */
void fpd_users_resolve(fpd_parse *parse, fpd_plan_pool *plan);

#endif
