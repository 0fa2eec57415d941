/* bytes.h - reads numbers and texts from a block of bytes, with every length checked.
 *
 * For what travels between our own processes in memfds: plans and the verdict on a configuration.
 * A text is a uint32 length and its bytes; the length FPD_BYTES_NULL stands for NULL.
 */
#ifndef FPD_BYTES_H
#define FPD_BYTES_H

#include <stddef.h>
#include <stdint.h>

#include "apr_pools.h"

#define FPD_BYTES_NULL UINT32_MAX

/* Plain data; fill data, left and pool. */
typedef struct fpd_bytes {
    const char *data;
    size_t left;
    int is_broken;    /* sticks: every later read gives 0 or NULL */
    apr_pool_t *pool; /* of the texts that are taken */
} fpd_bytes;

/* The next `length` bytes, where they are; NULL when there are fewer. */
const char *fpd_bytes_take(fpd_bytes *in, size_t length);
/* In the byte order of this machine. */
uint32_t fpd_bytes_take_number(fpd_bytes *in);
/* A copy that ends with NUL, or NULL. A NUL inside breaks it. */
const char *fpd_bytes_take_text(fpd_bytes *in);

#endif
