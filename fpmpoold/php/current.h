/* current.h - the request that PHP works on now. Only for php/; sapi.c owns it. */
#ifndef FPD_CURRENT_H
#define FPD_CURRENT_H

#include "php/sapi.h"

/* NULL between requests, and in the pool process. */
fpd_sapi_request *fpd_current_request(void);

/* NULL before fpd_sapi_start_worker. */
const fpd_board *fpd_current_board(void);
const fpd_plan_pool *fpd_current_plan(void);

/* Was the response ended, or is it about to be? Then later output goes nowhere. Only in a request.
 */
int fpd_current_is_finished(void);

/* Ends the response, once; tells PHP when the client is gone (may leave by bailout). */
void fpd_current_finish(void);

/* The request has run for too long (terminate.h): logs it and answers for it, once. Returns 0 when
 * that is not to be done now: it was, or what runs has no limit. */
int fpd_current_time_out(void);

/* A message for the error log, and for the STDERR stream when fastcgi.logging is on. */
void fpd_current_log(fpd_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
