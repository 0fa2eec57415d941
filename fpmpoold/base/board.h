/* board.h - the sealed shared memory of one pool: slots, counters (design section 2, dispatch.md
 * 1).
 *
 * The master creates, sizes and seals it and maps it read-only; the pool process and its workers
 * map it read-write. No locks. Each field has one writer, named first in its comment: P  the pool
 * process            W  the worker that owns the slot PW both, by compare-and-swap   M  the master,
 * before anyone else sees it Whoever reads what another process writes takes a snapshot
 * (fpd_board_read_slot) and checks ranges: tenants can write every byte of it.
 *
 * Becoming idle and queueing work meet here. A worker: store IDLE, fence, read queue_length; if it
 * is not 0, compare-and-swap IDLE -> IDLE_NO_LANE, return the lane, tell the pool process. The pool
 * process: raise queue_length, fence, scan the slots. Both fences are needed: without either one a
 * worker can go to sleep on its lane while a request waits (lost wake-up). All operations on `word`
 * and `queue_length` are memory_order_seq_cst, which is the fence.
 */
#ifndef FPD_BOARD_H
#define FPD_BOARD_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "apr_pools.h"

#define FPD_BOARD_MAGIC   0x66706d62u
#define FPD_BOARD_VERSION 1

typedef enum fpd_slot_state {
    FPD_SLOT_FREE = 0,     /* no worker */
    FPD_SLOT_STARTING,     /* forked, not yet ready */
    FPD_SLOT_IDLE,         /* waits on {channel, lane} */
    FPD_SLOT_IDLE_NO_LANE, /* waits on {channel} only */
    FPD_SLOT_CLAIMED,      /* the pool process has it: a descriptor is on its way, or nothing yet */
    FPD_SLOT_RUNNING,      /* reads and executes */
    FPD_SLOT_SENDING,      /* response bytes may be out */
    FPD_SLOT_DONE          /* response complete; shutdown functions, clean-up */
} fpd_slot_state;

/* What the status page calls the state of a busy worker; W, plain information. */
typedef enum fpd_slot_stage {
    FPD_STAGE_IDLE = 0,
    FPD_STAGE_READING_HEADERS,
    FPD_STAGE_INFO, /* "Getting request information" */
    FPD_STAGE_RUNNING,
    FPD_STAGE_ENDING, /* was told to end (request_terminate_timeout), and does */
    FPD_STAGE_FINISHING
} fpd_slot_stage;

/* word: state in the low 8 bits, sequence above; every transition adds 1 to the sequence. */
#define FPD_SLOT_STATE(word)       ((fpd_slot_state)((word)&0xff))
#define FPD_SLOT_WORD(word, state) (((((word) >> 8) + 1) << 8) | (uint64_t)(state))

#define FPD_SLOT_URI_SIZE    1024
#define FPD_SLOT_QUERY_SIZE  1024
#define FPD_SLOT_SCRIPT_SIZE 512
#define FPD_SLOT_USER_SIZE   64
#define FPD_SLOT_METHOD_SIZE 16

typedef struct fpd_slot {
    _Atomic uint64_t word;      /* PW */
    _Atomic int32_t pid;        /* P: 0 when FREE */
    _Atomic uint32_t retire;    /* P: not 0: exit instead of becoming idle */
    _Atomic int64_t started_at; /* P: wall clock, microseconds */
    /* The request; W writes before PHP runs (RUNNING), the pool process reads after the worker's
     * death and for time limits. */
    _Atomic uint32_t request_id;       /* W: 0 until BEGIN was read; FastCGI id of the request */
    _Atomic uint32_t keep;             /* W: FCGI_KEEP_CONN of the request */
    _Atomic uint32_t peer;             /* W: FPMPOOL_PEER of the request */
    _Atomic uint32_t stage;            /* W: fpd_slot_stage */
    _Atomic uint32_t lane_index;       /* W: index of the connection that is served, or the lane */
    _Atomic uint32_t has_lane;         /* W: holds a lane while IDLE */
    _Atomic int64_t request_started;   /* W: CLOCK_MONOTONIC microseconds; 0: none yet */
    _Atomic int64_t idle_since;        /* W: CLOCK_MONOTONIC microseconds */
    _Atomic int64_t last_duration;     /* W: microseconds, of the last finished request */
    _Atomic uint64_t requests;         /* W: requests begun */
    _Atomic uint64_t lane_hits;        /* W: of these, begun on the lane */
    _Atomic int64_t content_length;    /* W: of the body, 0 if none */
    _Atomic uint32_t last_cpu_centi;   /* W: CPU of the last request in hundredths of a percent */
    _Atomic uint64_t last_memory;      /* W: peak memory of the last request, bytes */
    _Atomic uint32_t text_sequence;    /* W: odd while the texts below are being written */
    char method[FPD_SLOT_METHOD_SIZE]; /* W: all texts end with NUL, cut to size */
    char uri[FPD_SLOT_URI_SIZE];       /* W */
    char query[FPD_SLOT_QUERY_SIZE];   /* W */
    char user[FPD_SLOT_USER_SIZE];     /* W */
    char script[FPD_SLOT_SCRIPT_SIZE]; /* W */
} __attribute__((aligned(128))) fpd_slot;

typedef struct fpd_board {
    uint32_t magic;      /* M */
    uint32_t version;    /* M */
    uint32_t slot_count; /* M: pm.max_children */
    uint32_t slot_size;  /* M: sizeof(fpd_slot) */
    char pool_name[64];  /* M: cut */
    int64_t started_at;  /* M: wall clock seconds, of this generation */
    _Atomic uint32_t queue_length
        __attribute__((aligned(64)));      /* P: requests that wait for a worker */
    _Atomic uint32_t log_generation;       /* P: raised after new log descriptors were sent */
    _Atomic uint32_t max_queue_length;     /* P */
    _Atomic uint32_t queue_limit;          /* P: effective queue.max */
    _Atomic uint64_t accepted;             /* P: connections accepted */
    _Atomic uint64_t answered;             /* P: requests answered without a worker */
    _Atomic uint64_t refused;              /* P: OVERLOADED answers */
    _Atomic uint32_t max_children_reached; /* P */
    _Atomic uint32_t max_active;           /* P */
    _Atomic uint32_t slow_requests;        /* P */
    _Atomic uint32_t connections;          /* P: open connections */
    _Atomic uint32_t debt;                 /* PW: workers that shall end instead of becoming idle;
                                              each takes 1 off when it does */
    _Atomic uint64_t retired_requests;     /* P: requests begun by workers that are gone */
    _Atomic uint64_t retired_lane_hits;    /* P */
    fpd_slot slots[] __attribute__((aligned(128)));
} fpd_board;

/* Bytes of a board with slot_count slots. */
size_t fpd_board_size(uint32_t slot_count);

/* M: creates, fills and seals (SHRINK, GROW, SEAL) the memfd; *fd is close-on-exec and belongs to
 * the caller. */
apr_status_t fpd_board_create(int *fd, const char *pool_name, uint32_t slot_count);

/* Maps it; checks seals (size cannot change), magic, version and size. writable: P and W. The
 * mapping ends with pool. */
apr_status_t fpd_board_map(fpd_board **board, int fd, int writable, apr_pool_t *pool);

/* The same for a reader outside of the pool's family, which knows how many slots were made. What
 * the board says of itself is a tenant's word by then and is not looked at. */
apr_status_t fpd_board_map_known(const fpd_board **board, int fd, uint32_t slot_count,
                                 apr_pool_t *pool);

/* Compare-and-swap *expected -> FPD_SLOT_WORD(*expected, state). Returns 1 and stores the new word
 * in *expected; 0 and the word found there. */
int fpd_slot_move(fpd_slot *slot, uint64_t *expected, fpd_slot_state state);

/* A consistent copy for status pages; every text ends with NUL, numbers are in range. */
typedef struct fpd_slot_view {
    fpd_slot_state state;
    fpd_slot_stage stage;
    int32_t pid;
    int64_t started_at;
    int64_t request_started;
    int64_t last_duration;
    uint64_t requests;
    uint64_t lane_hits;
    int64_t content_length;
    uint32_t last_cpu_centi;
    uint64_t last_memory;
    char method[FPD_SLOT_METHOD_SIZE];
    char uri[FPD_SLOT_URI_SIZE];
    char query[FPD_SLOT_QUERY_SIZE];
    char user[FPD_SLOT_USER_SIZE];
    char script[FPD_SLOT_SCRIPT_SIZE];
} fpd_slot_view;

void fpd_board_read_slot(const fpd_board *board, uint32_t index, fpd_slot_view *view);

/* For log messages, as php-fpm does: what is not printable ASCII in the texts becomes '.'. A view
 * that another process sent is good for it too: every text ends within its size. */
void fpd_board_make_printable(fpd_slot_view *view);

/* php-fpm's name of a stage (spec/php-fpm.md 3.8). */
const char *fpd_board_stage_text(fpd_slot_stage stage);

/* Sums over slots, and the pool's counters, in one snapshot. */
typedef struct fpd_board_view {
    uint32_t idle;
    uint32_t active;
    uint32_t total;
    uint32_t max_active;
    uint32_t max_children_reached;
    uint32_t slow_requests;
    uint32_t queue_length;
    uint32_t max_queue_length;
    uint32_t queue_limit;
    uint32_t connections;
    uint64_t requests; /* begun since start: php-fpm's "accepted conn" */
    uint64_t lane_hits;
    uint64_t refused;
    int64_t started_at;
} fpd_board_view;

void fpd_board_read(const fpd_board *board, fpd_board_view *view);
/* For a reader outside of the pool's family: slot_count as it was when the board was mapped. The
 * board's own count is a tenant's to change, and would lead beyond the mapping. */
void fpd_board_read_within(const fpd_board *board, uint32_t slot_count, fpd_board_view *view);

#endif
