/* timeout.h - what the client of a request gets that ran into request_terminate_timeout.
 *
 * Two of the callbacks of sapi.h; context is the exchange.
 */
#ifndef FPD_TIMEOUT_H
#define FPD_TIMEOUT_H

/* Drops what is buffered of the response. Returns 1 when nothing of it was sent. */
int fpd_timeout_drop(void *context);

/* 504 if is_dropped; else the response ends without END_REQUEST, so that nobody takes it for whole.
 * The connection goes, and the script's clean-up has no client any more. */
void fpd_timeout_end(void *context, int is_dropped);

#endif
