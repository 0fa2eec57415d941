/* fpmp_cgi.h - a request's CGI variables (specification: apache.md 1.2). */
#ifndef FPMP_CGI_H
#define FPMP_CGI_H

#include <httpd.h>

/* Puts into r->subprocess_env what ap_add_common_vars() and ap_add_cgi_vars() would, for about half
 * of their price, except httpd's own PATH and LD_LIBRARY_PATH: what was there under one of these
 * names stays. Returns 1; or 0, and nothing was done, for a request that is left to those two: a
 * subrequest, one with path info, one in a place with CGIVar or QualifyRedirectURL. */
int fpmp_cgi_add(request_rec *r);

#endif
