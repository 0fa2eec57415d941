/* parse.h - configuration files to sections (spec/php-fpm.md 1.1, 1.4, 1.7).
 *
 * Private to conf/: parse.c fills these, check.c turns them into plans, dump.c prints them.
 */
#ifndef FPD_PARSE_H
#define FPD_PARSE_H

#include <stdarg.h>

#include "conf/conf.h"

/* One pool section as written: lists with every line, in file order, values not yet resolved. */
typedef struct fpd_conf_section {
    fpd_plan_pool *plan;
    const char *listen_mode;    /* as written, for -tt */
    apr_array_header_t *env;    /* fpd_plan_pair */
    apr_array_header_t *values; /* fpd_plan_pair: php_(admin_)value and flag */
} fpd_conf_section;

/* A load in progress. */
typedef struct fpd_parse {
    const fpd_conf_options *options;
    fpd_conf *conf;
    apr_array_header_t *messages;
    apr_pool_t *pool;
    int error_count;
    int errors_before_line; /* error_count when the current line began */
    /* where the reader is; the current section goes through includes (php-fpm's rule) */
    const char *file;
    int line;
    int depth;
    fpd_conf_section *section; /* NULL: global */
} fpd_parse;

/* Reads options->file and all it includes into parse->conf; findings go to messages. */
void fpd_parse_file(fpd_parse *parse);

/* Adds a finding; ERROR and ALERT count. `where` puts "[file:line] " in front. */
void fpd_parse_say(fpd_parse *parse, fpd_conf_severity severity, int where, const char *key,
                   const char *format, ...) __attribute__((format(printf, 5, 6)));

/* What relative paths are below: the pool's prefix, else -p, else what was compiled in
 * (is_variable: FPD_LOCALSTATEDIR, for pid and error_log; else FPD_PREFIX). */
const char *fpd_parse_prefix(const fpd_parse *parse, const char *pool_prefix, int is_variable);

/* path, or prefix/path when it does not begin with "/"; NULL stays NULL. */
const char *fpd_parse_expand(const fpd_parse *parse, const char *path, const char *pool_prefix,
                             int is_variable);

#endif
