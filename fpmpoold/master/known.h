/* known.h - constants and php.ini settings that configuration files name (lifecycle.md 6).
 *
 * One short-lived child per load, `fpmpool-php --constants` as nobody, and only when a file uses a
 * name that may be one.
 */
#ifndef FPD_KNOWN_H
#define FPD_KNOWN_H

#include "apr_pools.h"
#include "conf/conf.h"

/* What is known after the first question. All from pool, and alive as long as it is. */
typedef struct fpd_known fpd_known;

/* options: -c, -n and -d for the child; they must live as long. Asks nothing yet. */
fpd_known *fpd_known_create(const fpd_conf_options *options, apr_pool_t *pool);

/* fpd_conf_ask_fn; context is a fpd_known. The first question waits for the child, at most 10 s;
 * when it failed every later question fails with the same reason. */
apr_status_t fpd_known_ask(void *context, fpd_conf_question question, const char *name,
                           const char **value, const char **reason);

#endif
