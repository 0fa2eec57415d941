/* current.h - the request that PHP works on now. Only for php/; sapi.c owns it. */
#ifndef FPD_CURRENT_H
#define FPD_CURRENT_H

#include "php/sapi.h"

/* NULL between requests, and in the pool process. */
fpd_sapi_request *fpd_current_request(void);

/* NULL before fpd_sapi_start_worker. */
const fpd_board *fpd_current_board(void);
const fpd_plan_pool *fpd_current_plan(void);

/* Was the response ended? Then later output goes nowhere. */
int fpd_current_is_finished(void);

/* Ends the response, once; tells PHP when the client is gone (may leave by bailout). */
void fpd_current_finish(void);

/* A message for the error log, and for the STDERR stream when fastcgi.logging is on. */
void fpd_current_log(fpd_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
