/* ini.h - one physical line of a php-fpm configuration file (spec/php-fpm.md 1.1, 1.2).
 *
 * php-fpm hands every line alone to Zend's ini parser; this reads the same language without libphp:
 * quotes, ${NAME}, literal words (on, off, ...), constants, integer expressions. A line may hold
 * more than one statement ("[www] pm = static").
 */
#ifndef FPD_INI_H
#define FPD_INI_H

#include <stddef.h>

#include "apr_pools.h"

typedef enum fpd_ini_kind {
    FPD_INI_SECTION, /* [name] */
    FPD_INI_LABEL,   /* name alone, without "=" */
    FPD_INI_ENTRY,   /* name = value */
    FPD_INI_ARRAY    /* name[key] = value; key may be empty */
} fpd_ini_kind;

typedef struct fpd_ini_statement {
    fpd_ini_kind kind;
    const char *name;
    const char *key;   /* ARRAY only */
    const char *value; /* ENTRY and ARRAY only */
} fpd_ini_statement;

/* What the caller knows. variable: the value of ${name}, NULL for the empty text; constant: the
 * value of PHP's constant of that name, NULL if there is none; statement: takes each in turn. */
typedef struct fpd_ini_reader {
    const char *(*variable)(void *context, const char *name);
    const char *(*constant)(void *context, const char *name);
    void (*statement)(void *context, const fpd_ini_statement *statement);
    void *context;
} fpd_ini_reader;

/* Reads one line (text of `length` bytes without its line end, NUL-terminated). Returns NULL, or
 * what is wrong with it ("syntax error, ..."); the statements before the error have been given. All
 * texts from pool. */
const char *fpd_ini_read(const fpd_ini_reader *reader, const char *text, size_t length,
                         apr_pool_t *pool);

#endif
