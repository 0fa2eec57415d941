/* fpmp_handler.h - the content handler `fpmpool` (specification: apache.md 1.1 and 1.5). */
#ifndef FPMP_HANDLER_H
#define FPMP_HANDLER_H

#include <httpd.h>

/* Handler hook: DECLINED unless r->handler is `fpmpool` or an alias of it; otherwise runs the
 * script and returns OK, or the status of what went wrong (nothing was sent then). */
int fpmp_handler_run(request_rec *r);

/* child_init hook: makes the table of connections of this child. */
void fpmp_handler_child_init(apr_pool_t *child, server_rec *main);

#endif
