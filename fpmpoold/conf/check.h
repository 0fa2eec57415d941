/* check.h - what must hold between the keys, and users and groups (spec/php-fpm.md 1.6).
 *
 * Private to conf/. Fills what plans hold beyond single keys: defaults, resolved ids, final lists.
 */
#ifndef FPD_CHECK_H
#define FPD_CHECK_H

#include "conf/parse.h"

/* Checks the global section, then every pool, then pools against each other. Findings go to
 * parse->messages; good pools are appended to parse->conf->pools. */
void fpd_check_all(fpd_parse *parse);

/* Of that only: the whole paths of pid file and control socket. */
void fpd_check_places(fpd_parse *parse);

#endif
