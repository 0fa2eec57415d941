/* shortage.h - words for what the system has no more of. */
#ifndef FPD_SHORTAGE_H
#define FPD_SHORTAGE_H

#include <stddef.h>

#define FPD_SHORTAGE_MAX 256

/* Writes php-fpm's "{strerror} ({errno})" to `to` (FPD_SHORTAGE_MAX bytes) and, where it is a limit
 * that can be raised, "; raise ..." behind it. error: an errno or apr_status_t of fork, open,
 * socketpair and the like. Returns to. */
const char *fpd_shortage_describe(char to[FPD_SHORTAGE_MAX], int error);

#endif
