/* fpmp_share.h - what the httpd children share: one record for each pool and one for each (pool,
 * server), in anonymous shared memory that is inherited over fork.
 *
 * What is under way is counted in cells of 2 bytes, one for each child, and summed up when it is
 * wanted: who dies leaves a row of cells, which the parent clears, and no count drifts. Everything
 * else is written by any child at any time; a writer's unit is the whole field. Over a restart
 * records are found again by their names, so that old children and new ones count together.
 * Needs APR only.
 */
#ifndef FPMP_SHARE_H
#define FPMP_SHARE_H

#include "fpmp_admin.h"
#include "fpmp_counters.h"
#include "fpmp_limit.h"
#include "fpmp_latency.h"
#include "fpmp_pool.h"
#include "fpmp_trouble.h"

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#define FPMP_NO_ROW     (-1)
#define FPMP_SHARE_LINE 64 /* bytes of a cache line: what is written often has its own */

typedef struct fpmp_share fpmp_share;

/* What one child has under way. */
typedef _Atomic(uint16_t) fpmp_cell;

/* What the log has heard about something that goes wrong again and again. */
typedef struct fpmp_complaint {
    _Atomic(uint64_t) said;       /* ms: when it heard of it last; 0: nothing is wrong */
    _Atomic(uint32_t) suppressed; /* lines that it was spared since then */
} fpmp_complaint;

/* Whose record it is. Written by the parent only. */
typedef struct fpmp_share_head {
    uint64_t key;        /* fpmp_share_key; 0: free */
    uint32_t generation; /* configuration that uses it */
} fpmp_share_head;

/* A server of a pool. */
typedef struct fpmp_record {
    fpmp_share_head head;
    _Atomic(uint64_t) health;      /* fpmp_health.h; 0: up */
    _Atomic(uint64_t) window;      /* fpmp_health_window; 0: nothing failed lately */
    _Atomic(uint64_t) risen;       /* ms: when it came up last; 0: it was never down */
    _Atomic(uint64_t) answered;    /* ms: when it answered a request last, within 100 ms */
    _Atomic(uint64_t) changed;     /* ms: when it went down or came back last; 0: never */
    _Atomic(uint32_t) admin;       /* fpmp_admin.h; 0: nothing was said */
    fpmp_complaint failure;        /* it could not be reached, or refused */
    _Atomic(uint32_t) lost_script; /* hash of the script whose request was lost last; 0: none */
    fpmp_trouble trouble;          /* why it failed last */
    fpmp_counters counters __attribute__((aligned(FPMP_SHARE_LINE)));
    fpmp_latency latency;
    fpmp_cell in_flight[]; /* requests that it has, by row */
} fpmp_record;

/* A pool. */
typedef struct fpmp_pool_record {
    fpmp_share_head head;
    fpmp_complaint limit;                       /* all its servers are at their max= */
    _Atomic(uint32_t) turn;                     /* for roundrobin */
    fpmp_complaint refused[FPMP_LIMIT_REASONS]; /* requests, by fpmp_limit_answer */
    _Atomic(uint64_t) ticket;                   /* that the last one who waited got */
    /* Requests that are in it, by row, with those that wait; behind them fpmp_share_waiting and
     * fpmp_share_places. */
    fpmp_cell in_flight[] __attribute__((aligned(FPMP_SHARE_LINE)));
} fpmp_pool_record;

/* A request that waits, or whose client's address is counted (fpmp_queue.h). */
typedef struct fpmp_slot {
    _Atomic(uint64_t) pool;    /* which: fpmp_share_id; 0: the slot is free */
    _Atomic(uint64_t) address; /* hash; 0: not counted */
    _Atomic(uint64_t) ticket;  /* its turn; 0: it does not wait */
    _Atomic(uint32_t) wakes;   /* futex that it sleeps on */
} fpmp_slot;

/* The records of a configuration, by the index of fpmp_pool and fpmp_server. */
typedef struct fpmp_records {
    fpmp_pool_record **pools;
    fpmp_record **servers;
} fpmp_records;

/* Their names, as fpmp_share_key makes them. */
typedef struct fpmp_share_keys {
    const uint64_t *pools;
    int pool_count;
    const uint64_t *servers;
    int server_count;
    int names;  /* entries for names that are found at run time: fpmp_share_hold */
    int places; /* more of them in both lists of fpmp_records, NULL at first */
    int slots;  /* of each child: fpmp_share_claim */
} fpmp_share_keys;

/* What the log hears of that belongs to no pool. */
enum {
    FPMP_SHARE_NO_EXPRESSION, /* FpmPool "expr=...": it cannot be evaluated */
    FPMP_SHARE_NO_NAME,       /* it gives what is no name */
    FPMP_SHARE_NO_POOL,       /* it gives a name without a pool */
    FPMP_SHARE_NO_ENTRY,      /* there is no entry for it */
    FPMP_SHARE_COMPLAINTS
};

/* Makes the shared memory, or finds it again: *share is what an earlier call left there, NULL at
 * first. `process` lives as long as httpd. rows: how many children may be there at once.
 * *records, allocated in pconf, becomes those of `keys`, with their old values if there were any.
 */
apr_status_t fpmp_share_open(fpmp_share **share, apr_pool_t *process, apr_pool_t *pconf, int rows,
                             const fpmp_share_keys *keys, fpmp_records *records);

/* server: "" for the pool itself. */
uint64_t fpmp_share_key(const char *pool, const char *server);

/* Bytes of it. */
apr_size_t fpmp_share_size(const fpmp_share *share);

/* A child takes a row, with all counts 0; FPMP_NO_ROW: none is free, it counts nothing. */
int fpmp_share_enter(fpmp_share *share, pid_t child);

/* The parent clears the row of a child that is gone. */
void fpmp_share_leave(fpmp_share *share, pid_t child);

/* The cells of the requests that wait in the module for their turn at a pool. */
fpmp_cell *fpmp_share_waiting(const fpmp_share *share, fpmp_pool_record *pool);

/* Those of the requests that have one of the places of FpmPoolLimit requests=. */
fpmp_cell *fpmp_share_places(const fpmp_share *share, fpmp_pool_record *pool);

/* What tells the record of a pool from the others of the same memory; not 0. */
static inline uint64_t fpmp_share_id(const fpmp_share *share, const fpmp_pool_record *pool)
{
    return (uintptr_t)pool - (uintptr_t)share;
}

/* ---- what requests have that wait: fpmp_share_slots.c ---- */

/* A free slot of this child, for a pool of that id; NULL: there is none. */
fpmp_slot *fpmp_share_claim(const fpmp_share *share, int row, uint64_t pool);
void fpmp_share_unclaim(fpmp_slot *slot);

/* Visits the slots of all children that may be in use. */
void fpmp_share_each_slot(const fpmp_share *share, void (*visit)(fpmp_slot *slot, void *data),
                          void *data);

/* 16 bytes, chosen at random when httpd was started. */
const unsigned char *fpmp_share_secret(const fpmp_share *share);

/* Something begins (1) or ends (-1): cells of any record, row of this child. */
void fpmp_share_count(fpmp_cell *cells, int row, int difference);

/* The last hour of a pool; NULL: it is one that is found at run time, of which there may be many.
 */
fpmp_history *fpmp_share_history(const fpmp_share *share, const fpmp_pool_record *pool);

/* What is under way in all children. */
unsigned fpmp_share_sum(const fpmp_share *share, const fpmp_cell *cells);

/* ---- names that are found at run time: fpmp_share_names.c ----
 * A table of as many entries as fpmp_share_keys said. An entry that no child holds goes to another
 * name when all are taken, the one that was not wanted for longest first. */

/* Holds the entry of a name for this child, so that it stays; makes one if there is none. hint: the
 * entry that it had last, or -1. Returns the entry; -1: others hold all, or row is FPMP_NO_ROW. */
int fpmp_share_hold(fpmp_share *share, const char *name, int row, pid_t child, uint64_t now,
                    int hint);

/* Is that still its entry? (It is not if two children made one at the same moment.) */
int fpmp_share_is_of(const fpmp_share *share, int entry, const char *name);

void fpmp_share_let_go(fpmp_share *share, int entry, int row);

fpmp_pool_record *fpmp_share_named_pool(const fpmp_share *share, int entry);
fpmp_record *fpmp_share_named_server(const fpmp_share *share, int entry);

/* The name of entry 0, 1, ... as it is at this moment, in name[FPMP_POOL_NAME_MAX + 1]; "": it has
 * none. Returns 0 behind the last. */
int fpmp_share_read_name(const fpmp_share *share, int entry, char *name);

/* ---- what the log should hear ---- */

/* FPMP_SHARE_NO_... */
fpmp_complaint *fpmp_share_complaint(fpmp_share *share, int which);

/* Is one more of these worth a log line now: the first, or 10 s after the last one? *suppressed:
 * how many were not, since that one. */
int fpmp_share_complain(fpmp_complaint *about, apr_time_t now, unsigned *suppressed);

/* It is well again. Returns 1, to one caller, if the log had heard of it. */
int fpmp_share_calm(fpmp_complaint *about);

/* A request, or an attempt of one, has ended at a server: counts it. state: a value of the note
 * fpmpool-state, or NULL. */
void fpmp_share_end(const fpmp_share *share, const fpmp_pool_record *pool, fpmp_record *server,
                    const char *state, uint64_t bytes, uint64_t microseconds, apr_time_t now);

/* Remembers when a server answered. */
void fpmp_share_note_answer(fpmp_record *record, apr_time_t now);

/* Remembers when a server came up (its weight then grows, see fpmp_server.slowstart). */
void fpmp_share_note_rise(fpmp_record *record, apr_time_t now);

/* Counts up with each configuration that opened it: a child whose number is an old one belongs to
 * an old configuration. */
unsigned fpmp_share_generation(const fpmp_share *share);

/* The lease of those who check: one child has it, until `until` (ms) or as long as it renews it.
 * Returns 1 if `child` has it now; 0: *until is when it ends. */
int fpmp_share_lease(fpmp_share *share, pid_t child, uint64_t now, uint64_t *until);
void fpmp_share_end_lease(fpmp_share *share, pid_t child);

#endif
