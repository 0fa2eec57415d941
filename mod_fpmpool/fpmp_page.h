/* fpmp_page.h - the content handlers `fpmpool-status` and `fpmpool-manager` (specification:
 * apache.md 1.8 and 2.2). Where they are reachable is the configuration's business: `Require`.
 */
#ifndef FPMP_PAGE_H
#define FPMP_PAGE_H

#include <httpd.h>

/* Handler hook: DECLINED unless r->handler is one of both. */
int fpmp_page_run(request_rec *r);

/* post_config hook: what the pages need for the life of httpd. */
int fpmp_page_prepare(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *main);

/* A short answer for a person or a program, with that status. */
int fpmp_page_answer(request_rec *r, int status, const char *sentence);

#endif
