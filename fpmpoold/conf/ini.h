/* ini.h - one physical line of a php-fpm configuration file (spec/php-fpm.md 1.1, 1.2).
 *
 * php-fpm hands every line alone to Zend's ini parser; this reads the same language without libphp:
 * quotes, ${NAME}, literal words (on, off, ...), PHP's E_* constants and integer expressions.
 */
#ifndef FPD_INI_H
#define FPD_INI_H

#include "apr_pools.h"

typedef enum fpd_ini_kind {
    FPD_INI_NOTHING, /* empty or comment */
    FPD_INI_SECTION, /* name */
    FPD_INI_ENTRY,   /* name = value */
    FPD_INI_ARRAY,   /* name[key] = value; key may be empty */
    FPD_INI_ERROR    /* error says what is wrong with the line */
} fpd_ini_kind;

typedef struct fpd_ini_line {
    fpd_ini_kind kind;
    const char *name;
    const char *key;
    const char *value; /* NULL: no "=" or the empty '' (php-fpm's NULL value) */
    const char *error;
} fpd_ini_line;

/* Value of ${name}: from the -d and php.ini settings the caller knows, else the environment; NULL
 * is the empty text. */
typedef const char *fpd_ini_variable_fn(void *context, const char *name);

/* Reads one line (without its line end); all texts from pool. */
void fpd_ini_read(fpd_ini_line *line, const char *text, fpd_ini_variable_fn *variable,
                  void *context, apr_pool_t *pool);

#endif
