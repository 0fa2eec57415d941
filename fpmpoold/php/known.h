/* known.h - what this PHP knows, for the reader of configuration files (lifecycle.md 6). Only for
 * php/.
 */
#ifndef FPD_KNOWN_H
#define FPD_KNOWN_H

#include <stdio.h>

/* After PHP's start: every constant and every setting of php.ini and -d as {'c' or 's', name, NUL,
 * value, NUL}, then "e". Values as texts; what has no text (arrays) or a NUL in it is left out.
 * Returns 0 when it could not be written. */
int fpd_known_write(FILE *to);

#endif
