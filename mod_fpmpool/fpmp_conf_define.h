/* fpmp_conf_define.h - <FpmPoolDefine>, and the words that other directives share with it.
 *
 * Functions that return a text return NULL, or what is wrong for httpd's "Syntax error" line; it
 * lives in cmd->pool.
 */
#ifndef FPMP_CONF_DEFINE_H
#define FPMP_CONF_DEFINE_H

#include "fpmp_conf.h"

/* Directive handlers of <FpmPoolDefine NAME> and of an FpmPoolServer outside of it. */
const char *fpmp_conf_define_pool(cmd_parms *cmd, void *dir_conf, const char *arguments);
const char *fpmp_conf_refuse_server(cmd_parms *cmd, void *dir_conf, const char *arguments);

/* Index of `text` in a list that ends with NULL, any case; -1: not there. */
int fpmp_conf_read_choice(const char *text, const char *const *choices);

/* connect= first= idle= total= keep= into *timeouts. */
const char *fpmp_conf_read_timeouts(cmd_parms *cmd, const char *arguments, fpmp_timeouts *timeouts);

/* Can this be a pool's name? */
const char *fpmp_conf_check_name(cmd_parms *cmd, const char *name);

#endif
