/* params.h - the parameters of one request: an ordered set of names and values.
 *
 * The bytes of the PARAMS stream are decoded in place, once, when it has ended. Names are unique:
 * a duplicate replaces the value and keeps the place (php-fpm's rule). Strings end with NUL (and
 * may hold one). Everything is valid until fpd_params_reset; the memory is kept for the next
 * request.
 */
#ifndef FPD_PARAMS_H
#define FPD_PARAMS_H

#include <stddef.h>
#include <stdint.h>

#include "apr_errno.h"

#define FPD_PARAMS_BUCKETS   128
#define FPD_PARAMS_COUNT_MAX 16384

typedef struct fpd_param {
    const char *name;
    char *value; /* NULL: removed */
    uint32_t name_length;
    uint32_t value_length;
    uint16_t next; /* private: index + 1 in the bucket's chain */
} fpd_param;

typedef struct fpd_params_extra fpd_params_extra;

/* Zeroed memory is an empty set. */
typedef struct fpd_params {
    fpd_param *list;
    uint32_t count; /* entries in list, removed ones included */
    uint32_t capacity;
    uint8_t *raw; /* the PARAMS stream */
    size_t raw_length;
    size_t raw_size;
    fpd_params_extra *extra; /* private: strings that were set later */
    uint16_t buckets[FPD_PARAMS_BUCKETS];
} fpd_params;

/* Empties the set. */
void fpd_params_reset(fpd_params *params);
/* Gives all memory back. */
void fpd_params_destroy(fpd_params *params);

/* Adds a piece of the PARAMS stream. APR_ENOMEM when there is no memory; the limit is the
 * caller's. */
apr_status_t fpd_params_append(fpd_params *params, const uint8_t *data, size_t length);
/* Decodes what was appended. APR_EGENERAL when it ends inside a pair, APR_ENOMEM, APR_ENOSPC above
 * FPD_PARAMS_COUNT_MAX. Once per reset. */
apr_status_t fpd_params_decode(fpd_params *params);

/* The value of a name, or NULL. */
char *fpd_params_get(const fpd_params *params, const char *name);
/* The same for a name that does not end with NUL; *value_length may be NULL. */
char *fpd_params_find(const fpd_params *params, const char *name, size_t length,
                      size_t *value_length);

/* Sets name (copied) to a copy of value and returns that copy; value NULL removes the name. A new
 * name goes to the end. value may be a string of this set. Returns NULL without memory or above the
 * count. */
char *fpd_params_set(fpd_params *params, const char *name, const char *value);

#endif
