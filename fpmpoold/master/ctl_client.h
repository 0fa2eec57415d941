/* ctl_client.h - `fpmpoold --ctl`: asks the daemon and prints what it says.
 */
#ifndef FPD_CTL_CLIENT_H
#define FPD_CTL_CLIENT_H

#include "apr_pools.h"
#include "master/control_line.h"

/* Blocks until the daemon has said how it went: results on stdout, failures on stderr. Returns the
 * exit code: 0; 1: refused or failed; 69: nobody answers at `path`, or only somebody who does not
 * let us in. is_json: status as JSON. */
int fpd_ctl_client_run(const char *path, const fpd_control_request *request, int is_json,
                       apr_pool_t *pool);

#endif
