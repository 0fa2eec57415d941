/* queue.h - who waits for a worker, in order of arrival (design rule 4).
 *
 * Pure: no sockets, no clock. Entries are indexes of the connection table; each index waits at most
 * once. Times are microseconds of one clock that the caller chooses.
 */
#ifndef FPD_QUEUE_H
#define FPD_QUEUE_H

#include <stdint.h>

#include "apr_pools.h"

typedef struct fpd_queue fpd_queue;

#define FPD_QUEUE_NONE UINT32_MAX

/* limit: most entries that fpd_queue_push lets in; 0: none at all. Owned by pool. */
fpd_queue *fpd_queue_create(uint32_t limit, apr_pool_t *pool);

/* Appends index, waiting since `since`. Returns 0 when the queue is full (nothing changed). An
 * index that waits already stays where it is (1). */
int fpd_queue_push(fpd_queue *queue, uint32_t index, int64_t since);

/* Puts index behind everyone who has waited for as long or longer, whatever the limit: it was let
 * in by the generation before. */
void fpd_queue_insert(fpd_queue *queue, uint32_t index, int64_t since);

/* Puts index at the head, whatever the limit: it had left the queue and its worker never began. */
void fpd_queue_push_first(fpd_queue *queue, uint32_t index, int64_t since);

/* The head, or FPD_QUEUE_NONE. */
uint32_t fpd_queue_first(const fpd_queue *queue);
/* Takes the head out and returns it, or FPD_QUEUE_NONE. */
uint32_t fpd_queue_pop(fpd_queue *queue);
/* Takes index out, wherever it is. Returns 1 if it was waiting. */
int fpd_queue_remove(fpd_queue *queue, uint32_t index);

uint32_t fpd_queue_length(const fpd_queue *queue);
uint32_t fpd_queue_limit(const fpd_queue *queue);
int fpd_queue_is_full(const fpd_queue *queue);

/* The head if it has waited for `timeout` or longer at `now`, else FPD_QUEUE_NONE. timeout 0:
 * nobody ever waits too long. */
uint32_t fpd_queue_expired(const fpd_queue *queue, int64_t now, int64_t timeout);
/* When the head will have waited for `timeout`; 0: empty queue or no timeout. */
int64_t fpd_queue_next_expiry(const fpd_queue *queue, int64_t timeout);

#endif
