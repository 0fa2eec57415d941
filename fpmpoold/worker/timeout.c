/* timeout.c - ends the response of a request that ran for too long.
 *
 * Runs in workers, called by php/ at an interrupt of the script. The pool process answers the same
 * (pool/answer.c) when a worker had to be killed.
 */
#include "worker/timeout.h"

#include <string.h>

#include "worker/exchange.h"
#include "worker/facts.h"

static const char headers[] = "Status: 504 Gateway Timeout\r\n"
                              "Expires: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
                              "Cache-Control: no-cache, no-store, must-revalidate, max-age=0\r\n"
                              "Content-Type: text/plain;charset=UTF-8\r\n\r\n";
static const char body[] = "The application took too long to answer.\n";

int fpd_timeout_drop(void *context)
{
    fpd_exchange *exchange = context;

    return fpd_response_drop(&exchange->response);
}

static void write_page(fpd_exchange *exchange)
{
    if (exchange->headers_kept != NULL) {
        memcpy(exchange->headers_kept, headers, sizeof(headers) - 1);
        exchange->sapi.headers_kept_length = sizeof(headers) - 1;
    }
    fpd_facts_tell_timeout(exchange);
    fpd_response_write(&exchange->response, WIRE_STDOUT, headers, sizeof(headers) - 1);
    if (exchange->sapi.method == NULL || strcmp(exchange->sapi.method, "HEAD") != 0) {
        fpd_response_write(&exchange->response, WIRE_STDOUT, body, sizeof(body) - 1);
    }
}

void fpd_timeout_end(void *context, int is_dropped)
{
    fpd_exchange *exchange = context;

    atomic_store_explicit(&exchange->slot->stage, FPD_STAGE_ENDING, memory_order_relaxed);
    if (exchange->response.has_ended) {
        return; /* track_finished: what ran was the rest of a script whose response is complete */
    }
    exchange->sapi.status = 504;
    if (is_dropped) {
        write_page(exchange);
    } else {
        fpd_response_flush(&exchange->response);
        exchange->response.has_ended = 1;
        exchange->request.keep = 0;
    }
    exchange->sapi.is_finished_early = 1;
    (void)fpd_exchange_finish(exchange);
}
