/* fpmp_status.h - the figures of all pools on mod_status's pages (specification: apache.md 1.8).
 *
 * Hooks of httpd, but for the first function. Without mod_status the figures are kept all the same.
 */
#ifndef FPMP_STATUS_H
#define FPMP_STATUS_H

#include <httpd.h>
#include <ap_mpm.h>

/* Adds this module's part to mod_status. */
void fpmp_status_register(void);

/* post_config: makes the shared memory. httpd starts without it too, and says so. */
int fpmp_status_prepare(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *main);
/* child_init */
void fpmp_status_child_init(apr_pool_t *child, server_rec *main);
/* child_status: a child has ended, perhaps by a signal. */
void fpmp_status_child_status(server_rec *main, pid_t pid, ap_generation_t generation, int slot,
                              mpm_child_status status);

#endif
