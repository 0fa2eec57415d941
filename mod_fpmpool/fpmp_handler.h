/* fpmp_handler.h - the content handler `fpmpool` (specification: apache.md 1.1 and 1.5). */
#ifndef FPMP_HANDLER_H
#define FPMP_HANDLER_H

#include <httpd.h>
#include <ap_mpm.h>

/* Handler hook: DECLINED unless r->handler is `fpmpool` or an alias of it; otherwise runs the
 * script and returns OK, or the status of what went wrong (nothing was sent then). */
int fpmp_handler_run(request_rec *r);

/* post_config hook: makes the shared memory of servers, or finds that of the last configuration. */
int fpmp_handler_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                             server_rec *main);

/* child_status hook, in the parent: what a child that has gone counted there is cleared. */
void fpmp_handler_child_status(server_rec *main, pid_t child, ap_generation_t generation, int slot,
                               mpm_child_status status);

/* child_init hook: makes the table of connections of this child. */
void fpmp_handler_child_init(apr_pool_t *child, server_rec *main);

#endif
