/* fpmp_status.h - the figures of all pools on mod_status's pages (specification: apache.md 1.8).
 *
 * Without mod_status the figures are kept all the same.
 */
#ifndef FPMP_STATUS_H
#define FPMP_STATUS_H

/* Adds this module's part to mod_status. */
void fpmp_status_register(void);

#endif
