/* fpmp_share.h - what the httpd children share about servers: one record for each (pool, server) in
 * anonymous shared memory that is inherited over fork.
 *
 * A count of requests under way lies in the row of its child and is summed up when it is wanted:
 * who dies leaves a row, which the parent clears, and no count drifts. Over a restart records are
 * found again by the names of pool and server, so that old children and new ones count together.
 * Needs APR only.
 */
#ifndef FPMP_SHARE_H
#define FPMP_SHARE_H

#include "fpmp_pool.h"

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#define FPMP_NO_ROW (-1)

typedef struct fpmp_share fpmp_share;

/* What the log has heard about something that goes wrong again and again. */
typedef struct fpmp_complaint {
    _Atomic(uint64_t) said;       /* ms: when it heard of it last; 0: nothing is wrong */
    _Atomic(uint32_t) suppressed; /* lines that it was spared since then */
} fpmp_complaint;

/* Fields are written by any child at any time; a writer's unit is the whole field. */
typedef struct fpmp_record {
    uint64_t key;               /* of pool and server; 0: free. Written by the parent only */
    uint32_t generation;        /* configuration that uses it. Written by the parent only */
    _Atomic(uint32_t) turn;     /* of the pool whose first server this is: for roundrobin */
    _Atomic(uint64_t) health;   /* fpmp_health.h; 0: up */
    _Atomic(uint64_t) answered; /* ms: when it answered a request last, within 100 ms */
    fpmp_complaint failure;     /* it could not be reached, or refused */
    fpmp_complaint limit;       /* all servers of the pool whose first this is are at their max= */
    _Atomic(uint32_t) lost_script; /* hash of the script whose request was lost last; 0: none */
    _Atomic(uint32_t) in_flight[]; /* requests under way, by row */
} fpmp_record;

/* Makes the shared memory, or finds it again: *share is what an earlier call left there, NULL at
 * first. `process` lives as long as httpd. rows: how many children may be there at once. keys: one
 * of fpmp_share_key for each server; (*records)[i], allocated in pconf, becomes the record of
 * keys[i], with its old values if there was one. */
apr_status_t fpmp_share_open(fpmp_share **share, apr_pool_t *process, apr_pool_t *pconf, int rows,
                             const uint64_t *keys, int count, fpmp_record ***records);

uint64_t fpmp_share_key(const char *pool, const char *server);

/* A child takes a row, with all counts 0; FPMP_NO_ROW: none is free, it counts nothing. */
int fpmp_share_enter(fpmp_share *share, pid_t child);

/* The parent clears the row of a child that is gone. */
void fpmp_share_leave(fpmp_share *share, pid_t child);

/* A request begins (1) or ends (-1) at a server. */
void fpmp_share_count(fpmp_record *record, int row, int difference);

/* Requests under way at a server, of all children. */
unsigned fpmp_share_in_flight(const fpmp_share *share, const fpmp_record *record);

/* Is one more of these worth a log line now: the first, or 10 s after the last one? *suppressed:
 * how many were not, since that one. */
int fpmp_share_complain(fpmp_complaint *about, apr_time_t now, unsigned *suppressed);

/* It is well again. Returns 1, to one caller, if the log had heard of it. */
int fpmp_share_calm(fpmp_complaint *about);

/* Remembers when a server answered. */
void fpmp_share_note_answer(fpmp_record *record, apr_time_t now);

/* Counts up with each configuration that opened it: a child whose number is an old one belongs to
 * an old configuration. */
unsigned fpmp_share_generation(const fpmp_share *share);

/* The lease of those who check: one child has it, until `until` (ms) or as long as it renews it.
 * Returns 1 if `child` has it now; 0: *until is when it ends. */
int fpmp_share_lease(fpmp_share *share, pid_t child, uint64_t now, uint64_t *until);
void fpmp_share_end_lease(fpmp_share *share, pid_t child);

#endif
