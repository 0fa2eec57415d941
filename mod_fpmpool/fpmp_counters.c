/* fpmp_counters.c - what the requests of all children add up to.
 *
 * Owns the shared memory; runs in the parent and in every thread of its children. Plain atomics, no
 * locks. Must not know requests or httpd; a child that is killed leaves no wrong figure behind.
 */
#include "fpmp_counters.h"

#include <apr_general.h>
#include <apr_shm.h>
#include <apr_strings.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define RETAINED_KEY "fpmpool-counters"
#define KEY_SIZE     256 /* pool and address; what is longer shares a cell with its like */
#define SPARE        16  /* cells for servers that a graceful restart adds */
#define NO_ROW       (-1)

static const char *const states[FPMP_COUNTERS_STATES + 1] = {
    "ok",  "down",  "full",   "overload", "timeout", "died",  "lost", "invalid",
    "cut", "abort", "client", "refused",  "filter",  "other", NULL};

typedef struct cell {
    _Atomic uint64_t in_flight;
    _Atomic uint64_t states[FPMP_COUNTERS_STATES];
    _Atomic uint64_t bytes;
    _Atomic uint64_t microseconds;
} __attribute__((aligned(64))) cell;

/* Stays in the parent over restarts; what it points to is shared with all children. */
typedef struct retained {
    apr_pool_t *pool; /* of the segment */
    _Atomic int *owners;
    cell *cells; /* rows * width */
    char (*keys)[KEY_SIZE];
    int rows;
    int width;
    int used; /* keys */
} retained;

struct fpmp_counters {
    retained *shared;
    int *columns; /* of each server index */
    int server_count;
    int row; /* of this child */
};

const char *fpmp_counters_state_name(int state)
{
    return state >= 0 && state < FPMP_COUNTERS_STATES ? states[state] : NULL;
}

static int find_state(const char *name)
{
    for (int i = 0; name && i < FPMP_COUNTERS_STATES - 1; i++) {
        if (!strcmp(states[i], name)) {
            return i;
        }
    }
    return FPMP_COUNTERS_STATES - 1;
}

static cell *cell_at(const retained *shared, int row, int column)
{
    return &shared->cells[(size_t)row * (size_t)shared->width + (size_t)column];
}

static void add(_Atomic uint64_t *to, uint64_t number)
{
    atomic_fetch_add_explicit(to, number, memory_order_relaxed);
}

/* ---- the parent ------------------------------------------------------------------------------ */

static apr_status_t make_segment(retained *shared, apr_pool_t *process, int rows, int width)
{
    apr_shm_t *segment = NULL;
    apr_size_t owners = APR_ALIGN((apr_size_t)rows * sizeof(int), sizeof(cell));
    apr_size_t cells = (apr_size_t)rows * (apr_size_t)width * sizeof(cell);
    memset(shared, 0, sizeof(*shared));
    apr_status_t status = apr_pool_create(&shared->pool, process);
    if (status == APR_SUCCESS) {
        status = apr_shm_create(&segment, sizeof(cell) + owners + cells, NULL, shared->pool);
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    uintptr_t start = APR_ALIGN((uintptr_t)apr_shm_baseaddr_get(segment), sizeof(cell));
    shared->owners = (_Atomic int *)start; /* new anonymous memory is zero */
    shared->cells = (cell *)(start + owners);
    shared->keys = apr_pcalloc(shared->pool, (apr_size_t)width * KEY_SIZE);
    shared->rows = rows;
    shared->width = width;
    return APR_SUCCESS;
}

static void add_cell(cell *to, const cell *from)
{
    for (int i = 0; i < FPMP_COUNTERS_STATES; i++) {
        add(&to->states[i], atomic_load(&from->states[i]));
    }
    add(&to->bytes, atomic_load(&from->bytes));
    add(&to->microseconds, atomic_load(&from->microseconds));
}

/* The old segment was too small. Children that still run count on in it, seen by nobody. */
static void copy_totals(retained *to, const retained *from)
{
    memcpy(to->keys, from->keys, (size_t)from->used * KEY_SIZE);
    to->used = from->used;
    for (int row = 0; row < from->rows; row++) {
        for (int column = 0; column < from->used; column++) {
            add_cell(cell_at(to, 0, column), cell_at(from, row, column));
        }
    }
}

/* Room for `more` servers beside those that have ever been there. */
static apr_status_t make_room(retained *shared, apr_pool_t *process, int rows, int more)
{
    if (shared->pool && rows <= shared->rows && shared->used + more <= shared->width) {
        return APR_SUCCESS;
    }
    retained larger;
    apr_status_t status = make_segment(&larger, process, rows, shared->used + more + SPARE);
    if (status != APR_SUCCESS) {
        return status;
    }
    if (shared->pool) {
        copy_totals(&larger, shared);
        apr_pool_destroy(shared->pool);
    }
    *shared = larger;
    return APR_SUCCESS;
}

apr_status_t fpmp_counters_create(fpmp_counters **result, apr_pool_t *process, apr_pool_t *config,
                                  int rows, int server_count)
{
    void *found = NULL;
    apr_pool_userdata_get(&found, RETAINED_KEY, process);
    retained *shared = found;
    if (!shared) {
        shared = apr_pcalloc(process, sizeof(*shared));
        /* Not _setn: the key lies in this module, which a restart may load elsewhere. */
        apr_pool_userdata_set(shared, RETAINED_KEY, NULL, process);
    }
    apr_status_t status = make_room(shared, process, rows, server_count);
    if (status != APR_SUCCESS) {
        return status;
    }
    fpmp_counters *counters = apr_pcalloc(config, sizeof(*counters));
    counters->shared = shared;
    counters->columns = apr_pcalloc(config, (apr_size_t)server_count * sizeof(int));
    counters->server_count = server_count;
    counters->row = NO_ROW;
    *result = counters;
    return APR_SUCCESS;
}

void fpmp_counters_name(fpmp_counters *counters, const fpmp_server *server, const char *pool_name)
{
    retained *shared = counters->shared;
    char key[KEY_SIZE];
    int column = 0;
    apr_snprintf(key, sizeof(key), "%s %s", pool_name, server->address.label);
    while (column < shared->used && strcmp(shared->keys[column], key)) {
        column++;
    }
    if (column == shared->used) {
        memcpy(shared->keys[shared->used++], key, sizeof(key));
    }
    counters->columns[server->index] = column;
}

static void forget_in_flight(const retained *shared, int row)
{
    for (int column = 0; column < shared->used; column++) {
        atomic_store(&cell_at(shared, row, column)->in_flight, 0);
    }
}

void fpmp_counters_leave(fpmp_counters *counters, int pid)
{
    const retained *shared = counters->shared;
    for (int row = 0; row < shared->rows; row++) {
        if (atomic_load(&shared->owners[row]) == pid) {
            forget_in_flight(shared, row);
            atomic_store(&shared->owners[row], 0);
        }
    }
}

/* ---- a child --------------------------------------------------------------------------------- */

static apr_status_t give_row_back(void *data)
{
    fpmp_counters_leave(data, (int)getpid());
    return APR_SUCCESS;
}

void fpmp_counters_enter(fpmp_counters *counters, apr_pool_t *child)
{
    const retained *shared = counters->shared;
    for (int row = 0; row < shared->rows; row++) {
        int nobody = 0;
        if (atomic_compare_exchange_strong(&shared->owners[row], &nobody, (int)getpid())) {
            forget_in_flight(shared, row);
            counters->row = row;
            apr_pool_cleanup_register(child, counters, give_row_back, apr_pool_cleanup_null);
            return;
        }
    }
}

static cell *own_cell(const fpmp_counters *counters, const fpmp_server *server)
{
    if (!counters || counters->row == NO_ROW || server->index >= counters->server_count) {
        return NULL;
    }
    return cell_at(counters->shared, counters->row, counters->columns[server->index]);
}

void fpmp_counters_begin(fpmp_counters *counters, const fpmp_server *server)
{
    cell *own = own_cell(counters, server);
    if (own) {
        add(&own->in_flight, 1);
    }
}

void fpmp_counters_cancel(fpmp_counters *counters, const fpmp_server *server)
{
    cell *own = own_cell(counters, server);
    if (own) {
        add(&own->in_flight, (uint64_t)-1);
    }
}

void fpmp_counters_end(fpmp_counters *counters, const fpmp_server *server, const char *state,
                       uint64_t bytes, uint64_t microseconds)
{
    cell *own = own_cell(counters, server);
    if (own) {
        add(&own->in_flight, (uint64_t)-1);
        add(&own->states[find_state(state)], 1);
        add(&own->bytes, bytes);
        add(&own->microseconds, microseconds);
    }
}

/* ---- readers --------------------------------------------------------------------------------- */

void fpmp_counters_read(const fpmp_counters *counters, const fpmp_server *server, fpmp_count *count)
{
    const retained *shared = counters->shared;
    memset(count, 0, sizeof(*count));
    for (int row = 0; row < shared->rows; row++) {
        const cell *one = cell_at(shared, row, counters->columns[server->index]);
        for (int i = 0; i < FPMP_COUNTERS_STATES; i++) {
            uint64_t number = atomic_load_explicit(&one->states[i], memory_order_relaxed);
            count->states[i] += number;
            count->requests += number;
        }
        count->in_flight += atomic_load_explicit(&one->in_flight, memory_order_relaxed);
        count->bytes += atomic_load_explicit(&one->bytes, memory_order_relaxed);
        count->microseconds += atomic_load_explicit(&one->microseconds, memory_order_relaxed);
    }
}
