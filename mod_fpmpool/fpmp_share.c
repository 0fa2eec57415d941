/* fpmp_share.c - what the httpd children share about servers.
 *
 * Made by the parent before it forks, used by every thread of every child, cleared by the parent
 * for children that are gone. No locks: whoever is killed must not stop the others. Must not log
 * and must not know requests.
 */
#include "fpmp_share.h"

#include <apr_shm.h>
#include <apr_strings.h>
#include <string.h>

#define SPARE_RECORDS  64 /* for servers that later configurations add */
#define COMPLAIN_EVERY 10000
#define ANSWERED_STEP  100
#define LINE           64 /* bytes of a cache line */

struct fpmp_share {
    apr_shm_t *memory; /* of the parent; children only look at what is mapped */
    int rows;
    int record_count;
    _Atomic(uint32_t) generation;
    apr_size_t record_size;
    _Atomic(int) used_rows;   /* highest row that was ever used, plus 1 */
    _Atomic(uint64_t) lease;  /* pid in the upper 24 bits, end in ms in the lower 40 */
    _Atomic(int32_t) owner[]; /* pid of the child that has the row; 0: nobody */
};

#define LEASE_BITS 40
#define LEASE_MASK ((UINT64_C(1) << LEASE_BITS) - 1)

static apr_size_t round_up(apr_size_t size)
{
    return (size + LINE - 1) / LINE * LINE;
}

static apr_size_t head_size(int rows)
{
    return round_up(sizeof(fpmp_share) + (apr_size_t)rows * sizeof(int32_t));
}

static fpmp_record *record_at(const fpmp_share *share, int index)
{
    char *first = (char *)(uintptr_t)share + head_size(share->rows);
    return (fpmp_record *)(void *)(first + (apr_size_t)index * share->record_size);
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

/* ---- the parent ------------------------------------------------------------------------------ */

static apr_status_t make(fpmp_share **share, apr_pool_t *process, int rows, int count)
{
    apr_size_t record_size =
        round_up(sizeof(fpmp_record) + (apr_size_t)rows * sizeof(_Atomic(uint32_t)));
    apr_size_t size = head_size(rows) + (apr_size_t)count * record_size;
    apr_shm_t *memory = NULL;
    apr_status_t status = apr_shm_create(&memory, size, NULL, process);
    if (status != APR_SUCCESS) {
        return status;
    }
    fpmp_share *made = apr_shm_baseaddr_get(memory);
    memset(made, 0, size);
    made->memory = memory;
    made->rows = rows;
    made->record_count = count;
    made->record_size = record_size;
    *share = made;
    return APR_SUCCESS;
}

static fpmp_record *find(const fpmp_share *share, uint64_t key)
{
    for (int i = 0; i < share->record_count; i++) {
        if (record_at(share, i)->key == key) {
            return record_at(share, i);
        }
    }
    return NULL;
}

/* A record whose server is in the configuration no more, nor at work for old children. */
static int is_free(const fpmp_share *share, const fpmp_record *record)
{
    return !record->key ||
           (record->generation + 1 < share->generation && fpmp_share_in_flight(share, record) == 0);
}

static fpmp_record *take(fpmp_share *share, uint64_t key)
{
    fpmp_record *record = find(share, key);
    for (int i = 0; !record && i < share->record_count; i++) {
        if (is_free(share, record_at(share, i))) {
            record = record_at(share, i);
            memset(record, 0, share->record_size);
        }
    }
    if (record) {
        record->key = key;
        record->generation = share->generation;
    }
    return record;
}

static int take_all(fpmp_share *share, const uint64_t *keys, int count, fpmp_record **records)
{
    atomic_fetch_add(&share->generation, 1);
    /* First those that are there: a new one must not take the record of one that comes later. */
    for (int i = 0; i < count; i++) {
        fpmp_record *found = find(share, keys[i]);
        if (found) {
            found->generation = share->generation;
        }
    }
    for (int i = 0; i < count; i++) {
        records[i] = take(share, keys[i]);
        if (!records[i]) {
            return 0;
        }
    }
    return 1;
}

apr_status_t fpmp_share_open(fpmp_share **share, apr_pool_t *process, apr_pool_t *pconf, int rows,
                             const uint64_t *keys, int count, fpmp_record ***records)
{
    *records = apr_pcalloc(pconf, ((apr_size_t)count + 1) * sizeof(fpmp_record *));
    if (*share && take_all(*share, keys, count, *records)) {
        return APR_SUCCESS;
    }
    /* The first start, or many new servers: the children that are still there keep the old one. */
    fpmp_share *old = *share;
    apr_status_t status = make(share, process, old ? old->rows : rows, 2 * count + SPARE_RECORDS);
    if (status != APR_SUCCESS) {
        return status;
    }
    (void)take_all(*share, keys, count, *records);
    return old ? apr_shm_destroy(old->memory) : APR_SUCCESS;
}

void fpmp_share_leave(fpmp_share *share, pid_t child)
{
    for (int row = 0; row < share->rows; row++) {
        if (atomic_load(&share->owner[row]) != child) {
            continue;
        }
        for (int i = 0; i < share->record_count; i++) {
            atomic_store(&record_at(share, i)->in_flight[row], 0);
        }
        atomic_store(&share->owner[row], 0);
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

void fpmp_share_count(fpmp_record *record, int row, int difference)
{
    if (row != FPMP_NO_ROW) {
        atomic_fetch_add(&record->in_flight[row], (uint32_t)difference);
    }
}

unsigned fpmp_share_in_flight(const fpmp_share *share, const fpmp_record *record)
{
    int used = atomic_load(&share->used_rows);
    unsigned total = 0;
    for (int row = 0; row < used; row++) {
        total += atomic_load(&record->in_flight[row]);
    }
    return total;
}

/* ---- what the log should hear ---------------------------------------------------------------- */

static uint64_t milliseconds(apr_time_t now)
{
    uint64_t time = (uint64_t)now / 1000;
    return time ? time : 1;
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

void fpmp_share_note_answer(fpmp_record *record, apr_time_t now)
{
    uint64_t time = milliseconds(now);
    uint64_t answered = atomic_load_explicit(&record->answered, memory_order_relaxed);
    if (time > answered + ANSWERED_STEP) {
        atomic_store_explicit(&record->answered, time, memory_order_relaxed);
    }
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
