/* fpmp_setenvif.h - FpmPoolSetEnvIf: variables by rule, evaluated last (specification:
 * apache.md 1.2).
 *
 * The grammar is ProxyFCGISetEnvIf's: a condition, NAME or !NAME, a value in which $0 to $9 are
 * what the condition's regular expression has matched.
 */
#ifndef FPMP_SETENVIF_H
#define FPMP_SETENVIF_H

#include <httpd.h>
#include <http_config.h>

/* Rules in the order of the configuration; NULL: none. */
typedef apr_array_header_t fpmp_setenvif;

/* Does this name change what a server does? Only directives made for it may set such a variable. */
int fpmp_setenvif_is_reserved(const char *name);

/* Adds a rule to *rules. value: NULL for !NAME, and for the empty value. Returns NULL, or what is
 * wrong and what to do. */
const char *fpmp_setenvif_add(cmd_parms *cmd, fpmp_setenvif **rules, const char *condition,
                              const char *name, const char *value);

/* The outer section's rules, then the inner one's. Changes neither. */
fpmp_setenvif *fpmp_setenvif_merge(apr_pool_t *pool, fpmp_setenvif *outer, fpmp_setenvif *inner);

/* Applies the rules to r->subprocess_env. Returns OK, or 500 if one could not be evaluated
 * (logged): a request is not run with half of its variables. */
int fpmp_setenvif_apply(request_rec *r, const fpmp_setenvif *rules);

#endif
