/* fpmp_conf_define.h - <FpmPoolDefine>, and the words that other directives share with it.
 *
 * Functions that return a text return NULL, or what is wrong for httpd's "Syntax error" line; it
 * lives in cmd->pool.
 */
#ifndef FPMP_CONF_DEFINE_H
#define FPMP_CONF_DEFINE_H

#include "fpmp_conf.h"

#define KIBIBYTE ((apr_size_t)1024)
#define MEBIBYTE (1024 * KIBIBYTE)

/* Directive handlers of <FpmPoolDefine NAME>, and of its members outside of it. */
const char *fpmp_conf_define_pool(cmd_parms *cmd, void *dir_conf, const char *arguments);
const char *fpmp_conf_refuse_member(cmd_parms *cmd, void *dir_conf, const char *arguments);

/* One member of a definition (fpmp_conf_member.c). */
const char *fpmp_conf_read_member(cmd_parms *cmd, ap_directive_t *member, fpmp_pool *pool);

/* What a pool has that says nothing else (fpmp_conf_health.c, as the next three). defaults: of
 * <FpmPoolDefine "*">; NULL: of that itself.
 */
void fpmp_conf_init_pool(fpmp_pool *pool, const fpmp_pool *defaults);

/* FpmPoolAllDown, FpmPoolHealth and FpmPoolCheck of a definition. */
const char *fpmp_conf_read_all_down(cmd_parms *cmd, const char *arguments, fpmp_pool *pool);
const char *fpmp_conf_read_health(cmd_parms *cmd, const char *arguments, fpmp_pool *pool);
const char *fpmp_conf_read_check(cmd_parms *cmd, const char *arguments, fpmp_pool *pool);

/* Index of `text` in a list that ends with NULL, any case; -1: not there. */
int fpmp_conf_read_choice(const char *text, const char *const *choices);

/* connect= first= idle= total= keep= into *timeouts. */
const char *fpmp_conf_read_timeouts(cmd_parms *cmd, const char *arguments, fpmp_timeouts *timeouts);

/* off, safe or idempotent, then attempts= within= body=, into *retry. */
const char *fpmp_conf_read_retry(cmd_parms *cmd, const char *arguments, fpmp_retry *retry);

/* within=TIME, more than 0. */
const char *fpmp_conf_read_within(cmd_parms *cmd, const char *word, apr_interval_time_t *time);

/* requests= queue= wait= perip= status= retry-after= into *limit. */
const char *fpmp_conf_read_limit(cmd_parms *cmd, const char *arguments, fpmp_limit *limit);

/* A number of bytes with K or M behind it, from least to most. */
const char *fpmp_conf_read_size(apr_pool_t *pool, const char *text, apr_size_t least,
                                apr_size_t most, apr_size_t *size);

/* The value `text` of the option `word`: a number, or a time up to a day, of at least `least`. */
const char *fpmp_conf_read_number(cmd_parms *cmd, const char *word, const char *text, int least,
                                  int most, int *number);
const char *fpmp_conf_read_time(cmd_parms *cmd, const char *word, const char *text,
                                apr_interval_time_t least, apr_interval_time_t *time);

/* Does the word begin with that name (any case, the = included)? */
int fpmp_conf_is_option(const char *word, const char *name);

/* Can this be a pool's name? */
const char *fpmp_conf_check_name(cmd_parms *cmd, const char *name);

#endif
