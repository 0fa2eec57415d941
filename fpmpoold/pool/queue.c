/* queue.c - a doubly linked list over an array that is indexed by connection.
 *
 * Pure; runs in the pool process. Every operation but insert takes constant time (the array
 * grows by doubling). It must not know what a connection is.
 */
#include "pool/queue.h"

#include <string.h>

typedef struct entry {
    uint32_t previous;
    uint32_t next;
    int64_t since;
    int is_waiting;
} entry;

struct fpd_queue {
    apr_pool_t *pool;
    entry *entries;
    uint32_t capacity;
    uint32_t first;
    uint32_t last;
    uint32_t length;
    uint32_t limit;
};

fpd_queue *fpd_queue_create(uint32_t limit, apr_pool_t *pool)
{
    fpd_queue *queue = apr_pcalloc(pool, sizeof(*queue));

    queue->pool = pool;
    queue->first = FPD_QUEUE_NONE;
    queue->last = FPD_QUEUE_NONE;
    queue->limit = limit;
    return queue;
}

static entry *entry_of(fpd_queue *queue, uint32_t index)
{
    if (index >= queue->capacity) {
        uint32_t capacity = queue->capacity > 0 ? queue->capacity : 64;
        entry *grown;
        while (capacity <= index) {
            capacity *= 2;
        }
        grown = apr_pcalloc(queue->pool, capacity * sizeof(*grown));
        if (queue->capacity > 0) {
            memcpy(grown, queue->entries, queue->capacity * sizeof(*grown));
        }
        queue->entries = grown;
        queue->capacity = capacity;
    }
    return &queue->entries[index];
}

/* Behind `previous`, or at the head if that is FPD_QUEUE_NONE. */
static void link_behind(fpd_queue *queue, uint32_t previous, uint32_t index, int64_t since)
{
    entry *added = &queue->entries[index];
    uint32_t *from = previous == FPD_QUEUE_NONE ? &queue->first : &queue->entries[previous].next;

    added->is_waiting = 1;
    added->since = since;
    added->previous = previous;
    added->next = *from;
    *from = index;
    if (added->next == FPD_QUEUE_NONE) {
        queue->last = index;
    } else {
        queue->entries[added->next].previous = index;
    }
    queue->length++;
}

int fpd_queue_push(fpd_queue *queue, uint32_t index, int64_t since)
{
    if (entry_of(queue, index)->is_waiting) {
        return 1;
    }
    if (fpd_queue_is_full(queue)) {
        return 0;
    }
    link_behind(queue, queue->last, index, since);
    return 1;
}

void fpd_queue_push_first(fpd_queue *queue, uint32_t index, int64_t since)
{
    if (!entry_of(queue, index)->is_waiting) {
        link_behind(queue, FPD_QUEUE_NONE, index, since);
    }
}

/* From the end: few have come since. */
void fpd_queue_insert(fpd_queue *queue, uint32_t index, int64_t since)
{
    uint32_t previous = queue->last;

    if (entry_of(queue, index)->is_waiting) {
        return;
    }
    while (previous != FPD_QUEUE_NONE && queue->entries[previous].since > since) {
        previous = queue->entries[previous].previous;
    }
    link_behind(queue, previous, index, since);
}

uint32_t fpd_queue_first(const fpd_queue *queue)
{
    return queue->first;
}

uint32_t fpd_queue_pop(fpd_queue *queue)
{
    uint32_t index = queue->first;

    if (index != FPD_QUEUE_NONE) {
        (void)fpd_queue_remove(queue, index);
    }
    return index;
}

int fpd_queue_remove(fpd_queue *queue, uint32_t index)
{
    entry *removed;

    if (index >= queue->capacity || !queue->entries[index].is_waiting) {
        return 0;
    }
    removed = &queue->entries[index];
    if (removed->previous == FPD_QUEUE_NONE) {
        queue->first = removed->next;
    } else {
        queue->entries[removed->previous].next = removed->next;
    }
    if (removed->next == FPD_QUEUE_NONE) {
        queue->last = removed->previous;
    } else {
        queue->entries[removed->next].previous = removed->previous;
    }
    removed->is_waiting = 0;
    queue->length--;
    return 1;
}

uint32_t fpd_queue_length(const fpd_queue *queue)
{
    return queue->length;
}

uint32_t fpd_queue_limit(const fpd_queue *queue)
{
    return queue->limit;
}

int fpd_queue_is_full(const fpd_queue *queue)
{
    return queue->length >= queue->limit;
}

uint32_t fpd_queue_expired(const fpd_queue *queue, int64_t now, int64_t timeout)
{
    int64_t expiry = fpd_queue_next_expiry(queue, timeout);

    return expiry != 0 && now >= expiry ? queue->first : FPD_QUEUE_NONE;
}

int64_t fpd_queue_next_expiry(const fpd_queue *queue, int64_t timeout)
{
    if (timeout <= 0 || queue->first == FPD_QUEUE_NONE) {
        return 0;
    }
    return queue->entries[queue->first].since + timeout;
}
