/* fpmp_share.c - what the httpd children share about pools and servers.
 *
 * Made by the parent before it forks, used by every thread of every child, cleared by the parent
 * for children that are gone. No locks: whoever is killed must not stop the others. Must not log
 * and must not know requests.
 */
#include "fpmp_share_private.h"

#include <apr_general.h>
#include <apr_hash.h>
#include <apr_shm.h>
#include <stddef.h>
#include <string.h>

#define SPARE_RECORDS  64 /* for what later configurations add */
#define COMPLAIN_EVERY 10000
#define ANSWERED_STEP  100
#define POOL_CELLS     3 /* columns of a pool: in flight, waiting, places */

#define LEASE_BITS 40
#define LEASE_MASK ((UINT64_C(1) << LEASE_BITS) - 1)

static apr_size_t round_up(apr_size_t size)
{
    return (size + FPMP_SHARE_LINE - 1) / FPMP_SHARE_LINE * FPMP_SHARE_LINE;
}

/* FNV-1a; pool names have no NUL, so the one between both keeps them apart. */
static uint64_t hash(uint64_t before, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        before = (before ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
    }
    return before;
}

uint64_t fpmp_share_key(const char *pool, const char *server)
{
    uint64_t key =
        hash(hash(UINT64_C(14695981039346656037), pool, strlen(pool) + 1), server, strlen(server));
    return key ? key : 1;
}

apr_size_t fpmp_share_size(const fpmp_share *share)
{
    return share->slots_start + (apr_size_t)share->rows * share->slot_row;
}

/* ---- the parent ------------------------------------------------------------------------------ */

static apr_size_t end_of(const fpmp_share_table *in)
{
    return in->start + (apr_size_t)in->count * in->size;
}

static fpmp_share_table plan(apr_size_t start, apr_size_t fixed, apr_size_t columns, int rows,
                             int count, apr_size_t tail)
{
    apr_size_t cells = (apr_size_t)rows * columns * sizeof(fpmp_cell);
    return (fpmp_share_table){.start = start,
                              .fixed = fixed,
                              .size = round_up(fixed + cells) + round_up(tail),
                              .tail = round_up(tail),
                              .columns = columns,
                              .count = count};
}

static void *tail_of(const fpmp_share_table *in, const fpmp_share_head *record)
{
    return (char *)(uintptr_t)record + in->size - in->tail;
}

fpmp_history *fpmp_share_history(const fpmp_share *share, const fpmp_pool_record *pool)
{
    const char *at = (const char *)pool;
    const char *base = (const char *)share;
    return at >= base + share->pools.start && at < base + end_of(&share->pools)
               ? tail_of(&share->pools, &pool->head)
               : NULL;
}

static int with_spare(int count)
{
    return count + count / 2 + SPARE_RECORDS;
}

/* Where everything lies. */
static void lay_out(fpmp_share *head, const fpmp_share_keys *keys)
{
    static const apr_size_t of_pool = offsetof(fpmp_pool_record, in_flight);
    static const apr_size_t of_server = offsetof(fpmp_record, in_flight);
    int rows = head->rows;
    fpmp_share_names *names = &head->names;
    names->count = keys->names;
    head->pools = plan(round_up(sizeof(*head) + (apr_size_t)rows * sizeof(int32_t)), of_pool,
                       POOL_CELLS, rows, with_spare(keys->pool_count), sizeof(fpmp_history));
    head->servers =
        plan(end_of(&head->pools), of_server, 1, rows, with_spare(keys->server_count), 0);
    names->pools = plan(end_of(&head->servers), of_pool, POOL_CELLS + 1, rows, names->count, 0);
    names->servers = plan(end_of(&names->pools), of_server, 1, rows, names->count, 0);
    names->keys = end_of(&names->servers);
    names->used = round_up(names->keys + (apr_size_t)names->count * sizeof(uint64_t));
    names->text = round_up(names->used + (apr_size_t)names->count * sizeof(uint64_t));
    head->slots = keys->slots;
    head->slots_start = round_up(names->text + (apr_size_t)names->count * FPMP_SHARE_TEXT);
    head->slot_row = round_up(sizeof(fpmp_slot_row) + (apr_size_t)head->slots * sizeof(fpmp_slot));
}

/* What is not used yet is not touched: untouched pages cost nothing. */
static apr_status_t make(fpmp_share **share, apr_pool_t *process, int rows,
                         const fpmp_share_keys *keys)
{
    fpmp_share head = {.rows = rows};
    lay_out(&head, keys);
    apr_status_t status = apr_generate_random_bytes(head.secret, sizeof(head.secret));
    if (status != APR_SUCCESS) {
        return status;
    }
    status = apr_shm_create(&head.memory, fpmp_share_size(&head) + FPMP_SHARE_LINE, NULL, process);
    if (status != APR_SUCCESS) {
        return status;
    }
    uintptr_t base = round_up((uintptr_t)apr_shm_baseaddr_get(head.memory));
    *share = (fpmp_share *)base; /* new anonymous memory is zero */
    memcpy(*share, &head, sizeof(head));
    return APR_SUCCESS;
}

static apr_hash_t *index_records(const fpmp_share *share, const fpmp_share_table *in,
                                 apr_pool_t *scratch)
{
    apr_hash_t *found = apr_hash_make(scratch);
    for (int i = 0; i < in->count; i++) {
        fpmp_share_head *record = fpmp_share_record_at(share, in, i);
        if (record->key) {
            apr_hash_set(found, &record->key, sizeof(record->key), record);
        }
    }
    return found;
}

static int is_idle(const fpmp_share *share, const fpmp_share_table *in, fpmp_share_head *record)
{
    fpmp_cell *cells = fpmp_share_cells(in, record);
    unsigned total = 0;
    for (apr_size_t i = 0; i < in->columns; i++) {
        total += fpmp_share_sum(share, cells + i * (apr_size_t)share->rows);
    }
    return total == 0;
}

/* Whose name is in the configuration no more, nor at work for old children. */
static int is_free(const fpmp_share *share, const fpmp_share_table *in, fpmp_share_head *record)
{
    return !record->key ||
           (record->generation + 1 < share->generation && is_idle(share, in, record));
}

/* The next free one, emptied but for its cells. *at goes on from call to call. */
static fpmp_share_head *take_free(const fpmp_share *share, const fpmp_share_table *in, int *at)
{
    while (*at < in->count) {
        fpmp_share_head *record = fpmp_share_record_at(share, in, (*at)++);
        if (is_free(share, in, record)) {
            memset(record, 0, in->fixed);
            memset(tail_of(in, record), 0, in->tail);
            return record;
        }
    }
    return NULL;
}

/* records[i] becomes that of keys[i]. Returns 0 if there is not room for all. */
static int take_all(const fpmp_share *share, const fpmp_share_table *in, const uint64_t *keys,
                    int count, fpmp_share_head **records, apr_pool_t *scratch)
{
    apr_hash_t *found = index_records(share, in, scratch);
    int at = 0;
    /* First those that are there: a new one must not take the record of one that comes later. */
    for (int i = 0; i < count; i++) {
        records[i] = apr_hash_get(found, &keys[i], sizeof(keys[i]));
        if (records[i]) {
            records[i]->generation = share->generation;
        }
    }
    for (int i = 0; i < count; i++) {
        records[i] = records[i] ? records[i] : take_free(share, in, &at);
        if (!records[i]) {
            return 0;
        }
        records[i]->key = keys[i];
        records[i]->generation = share->generation;
    }
    return 1;
}

static int take(fpmp_share *share, const fpmp_share_keys *keys, fpmp_records *records,
                apr_pool_t *scratch)
{
    atomic_fetch_add(&share->generation, 1);
    return share->names.count == keys->names &&
           take_all(share, &share->pools, keys->pools, keys->pool_count,
                    (fpmp_share_head **)(void *)records->pools, scratch) &&
           take_all(share, &share->servers, keys->servers, keys->server_count,
                    (fpmp_share_head **)(void *)records->servers, scratch);
}

/* What the old memory knew of those that are in the new one. */
static void copy(const fpmp_share *to, const fpmp_share_table *in, const fpmp_share *from,
                 const fpmp_share_table *out_of, apr_pool_t *scratch)
{
    apr_hash_t *known = index_records(from, out_of, scratch);
    for (int i = 0; i < in->count; i++) {
        fpmp_share_head *record = fpmp_share_record_at(to, in, i);
        const fpmp_share_head *old = apr_hash_get(known, &record->key, sizeof(record->key));
        if (record->key && old) {
            uint32_t generation = record->generation;
            memcpy(record, old, in->fixed);
            memcpy(tail_of(in, record), tail_of(out_of, old), in->tail);
            record->generation = generation;
        }
    }
}

/* Many new names: the children that are still there keep the old memory, and what they count in it
 * from now on is seen by nobody. */
static apr_status_t make_larger(fpmp_share **share, apr_pool_t *process,
                                const fpmp_share_keys *keys, fpmp_records *records,
                                apr_pool_t *scratch)
{
    fpmp_share *old = *share;
    apr_status_t status = make(share, process, old->rows, keys);
    if (status != APR_SUCCESS) {
        return status;
    }
    (void)take(*share, keys, records, scratch);
    copy(*share, &(*share)->pools, old, &old->pools, scratch);
    copy(*share, &(*share)->servers, old, &old->servers, scratch);
    fpmp_share_copy_names(*share, old);
    return apr_shm_destroy(old->memory);
}

apr_status_t fpmp_share_open(fpmp_share **share, apr_pool_t *process, apr_pool_t *pconf, int rows,
                             const fpmp_share_keys *keys, fpmp_records *records)
{
    apr_size_t more = (apr_size_t)keys->places + 1;
    records->pools = apr_pcalloc(pconf, ((apr_size_t)keys->pool_count + more) * sizeof(void *));
    records->servers = apr_pcalloc(pconf, ((apr_size_t)keys->server_count + more) * sizeof(void *));
    apr_pool_t *scratch = NULL;
    apr_status_t status = apr_pool_create(&scratch, pconf);
    if (status == APR_SUCCESS && !*share) {
        status = make(share, process, rows, keys);
    }
    if (status == APR_SUCCESS && !take(*share, keys, records, scratch)) {
        status = make_larger(share, process, keys, records, scratch);
    }
    if (scratch) {
        apr_pool_destroy(scratch);
    }
    return status;
}

void fpmp_share_clear_row(const fpmp_share *share, const fpmp_share_table *in, int count, int row)
{
    for (int i = 0; i < count; i++) {
        fpmp_cell *cells = fpmp_share_cells(in, fpmp_share_record_at(share, in, i));
        for (apr_size_t column = 0; column < in->columns; column++) {
            fpmp_cell *cell = &cells[column * (apr_size_t)share->rows + (apr_size_t)row];
            if (atomic_load(cell)) {
                atomic_store(cell, 0);
            }
        }
    }
}

void fpmp_share_leave(fpmp_share *share, pid_t child)
{
    for (int row = 0; row < share->rows; row++) {
        if (atomic_load(&share->owner[row]) == child) {
            fpmp_share_clear_row(share, &share->pools, share->pools.count, row);
            fpmp_share_clear_row(share, &share->servers, share->servers.count, row);
            fpmp_share_leave_names(share, child, row);
            fpmp_share_leave_slots(share, row);
            atomic_store(&share->owner[row], 0);
        }
    }
    fpmp_share_end_lease(share, child);
}

/* ---- a child --------------------------------------------------------------------------------- */

static void raise_used(fpmp_share *share, int used)
{
    int before = atomic_load(&share->used_rows);
    while (before < used && !atomic_compare_exchange_weak(&share->used_rows, &before, used)) {
    }
}

int fpmp_share_enter(fpmp_share *share, pid_t child)
{
    fpmp_share_leave(share, child); /* of another process that had this id */
    for (int row = 0; row < share->rows; row++) {
        int32_t nobody = 0;
        if (atomic_compare_exchange_strong(&share->owner[row], &nobody, (int32_t)child)) {
            raise_used(share, row + 1);
            return row;
        }
    }
    return FPMP_NO_ROW;
}

fpmp_cell *fpmp_share_places(const fpmp_share *share, fpmp_pool_record *pool)
{
    return pool->in_flight + (ptrdiff_t)2 * share->rows;
}

const unsigned char *fpmp_share_secret(const fpmp_share *share)
{
    return share->secret;
}

fpmp_cell *fpmp_share_waiting(const fpmp_share *share, fpmp_pool_record *pool)
{
    return pool->in_flight + share->rows;
}

void fpmp_share_count(fpmp_cell *cells, int row, int difference)
{
    if (row != FPMP_NO_ROW) {
        atomic_fetch_add(&cells[row], (uint16_t)difference);
    }
}

unsigned fpmp_share_sum(const fpmp_share *share, const fpmp_cell *cells)
{
    int used = atomic_load(&share->used_rows);
    unsigned total = 0;
    for (int row = 0; row < used; row++) {
        total += atomic_load(&cells[row]);
    }
    return total;
}

/* ---- what the log should hear ---------------------------------------------------------------- */

static uint64_t milliseconds(apr_time_t now)
{
    uint64_t time = (uint64_t)now / 1000;
    return time ? time : 1;
}

fpmp_complaint *fpmp_share_complaint(fpmp_share *share, int which)
{
    return &share->complaints[which];
}

int fpmp_share_complain(fpmp_complaint *about, apr_time_t now, unsigned *suppressed)
{
    uint64_t time = milliseconds(now);
    uint64_t before = atomic_load(&about->said);
    if ((!before || time >= before + COMPLAIN_EVERY) &&
        atomic_compare_exchange_strong(&about->said, &before, time)) {
        *suppressed = atomic_exchange(&about->suppressed, 0);
        return 1;
    }
    atomic_fetch_add(&about->suppressed, 1);
    *suppressed = 0;
    return 0;
}

int fpmp_share_calm(fpmp_complaint *about)
{
    if (!atomic_load_explicit(&about->said, memory_order_relaxed)) {
        return 0;
    }
    atomic_store(&about->suppressed, 0);
    return atomic_exchange(&about->said, 0) != 0;
}

void fpmp_share_end(const fpmp_share *share, const fpmp_pool_record *pool, fpmp_record *server,
                    const char *state, uint64_t bytes, uint64_t microseconds, apr_time_t now)
{
    int number = fpmp_counters_add(&server->counters, state, bytes, microseconds);
    fpmp_latency_add(&server->latency, microseconds, now);
    fpmp_history *history = fpmp_share_history(share, pool);
    if (history) {
        fpmp_history_add(history, fpmp_counters_is_failure(number), microseconds, now);
    }
}

void fpmp_share_note_answer(fpmp_record *record, apr_time_t now)
{
    uint64_t time = milliseconds(now);
    uint64_t answered = atomic_load_explicit(&record->answered, memory_order_relaxed);
    if (time > answered + ANSWERED_STEP) {
        atomic_store_explicit(&record->answered, time, memory_order_relaxed);
    }
}

void fpmp_share_note_rise(fpmp_record *record, apr_time_t now)
{
    atomic_store(&record->risen, milliseconds(now));
}

unsigned fpmp_share_generation(const fpmp_share *share)
{
    return atomic_load(&share->generation);
}

/* ---- who checks ------------------------------------------------------------------------------ */

int fpmp_share_lease(fpmp_share *share, pid_t child, uint64_t now, uint64_t *until)
{
    uint64_t mine = (uint64_t)child << LEASE_BITS;
    uint64_t before = atomic_load(&share->lease);
    if (before >> LEASE_BITS != (uint64_t)child && (before & LEASE_MASK) > now) {
        *until = before & LEASE_MASK;
        return 0;
    }
    return atomic_compare_exchange_strong(&share->lease, &before, mine | (*until & LEASE_MASK));
}

void fpmp_share_end_lease(fpmp_share *share, pid_t child)
{
    uint64_t before = atomic_load(&share->lease);
    if (before >> LEASE_BITS == (uint64_t)child) {
        (void)atomic_compare_exchange_strong(&share->lease, &before, 0);
    }
}
