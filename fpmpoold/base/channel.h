/* channel.h - messages over SOCK_SEQPACKET pairs: master <-> pool process <-> worker.
 *
 * One message is one packet: fpd_message_header, then `length` bytes of body, with at most
 * FPD_CHANNEL_FDS descriptors (SCM_RIGHTS, received with CLOEXEC). EOF means that the other side
 * died. A receiver treats the bytes as untrusted: sizes are checked here, meaning by the caller.
 */
#ifndef FPD_CHANNEL_H
#define FPD_CHANNEL_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "apr_errno.h"
#include "apr_pools.h"
#include "base/board.h"

#define FPD_CHANNEL_FDS      8
#define FPD_CHANNEL_BODY_MAX 66560 /* one whole FastCGI record and room for a struct */

/* Pool process -> worker, with sigqueue: end the request whose request_started (board.h) is the
 * signal's value. A worker that runs a request reads no messages. */
#define FPD_CHANNEL_END_SIGNAL (SIGRTMIN + 5)

typedef enum fpd_message_type {
    /* master -> pool process */
    FPD_MESSAGE_DRAIN = 1, /* leave the listener, finish what is running, exit 0. With an fd: hand
                              queue and kept connections over to the next generation, which has
                              the other end (pool/handover.h). Without: close idle connections
                              without a race, finish what is queued too */
    FPD_MESSAGE_STOP,      /* end workers now (TERM, then KILL), exit 0 */
    FPD_MESSAGE_REOPEN,    /* new log files; fds: access log, slow log as in fpd_message_reopen */
    FPD_MESSAGE_LEAVE,     /* body none: answer to IDLE, the pool process may exit */
    FPD_MESSAGE_RECEIVE,   /* one fd: what another process of this pool hands over comes there */
    FPD_MESSAGE_GRANT,     /* body fpd_message_count: so many workers more may be forked */
    FPD_MESSAGE_RECLAIM,   /* no body: retire a worker soon and give its permit back */
    /* pool process -> master */
    FPD_MESSAGE_READY = 32, /* listener is polled, first workers are forked */
    FPD_MESSAGE_FAILED,     /* body: reason text; the process exits after it */
    FPD_MESSAGE_IDLE,       /* ondemand pool without work: would exit (lifecycle.md 3) */
    FPD_MESSAGE_WANT,       /* process.max; body fpd_message_want, replaces the one before */
    FPD_MESSAGE_GIVE_BACK,  /* body fpd_message_count: so many workers are gone, or were not made */
    FPD_MESSAGE_CRASHED,    /* no body: a worker died of SIGSEGV or SIGBUS */
    /* pool process -> worker */
    FPD_MESSAGE_ASSIGN = 64, /* body fpd_message_assign + leftover bytes; one fd */
    FPD_MESSAGE_RETIRE,      /* the slot was CLAIMED for this: exit 0 now */
    FPD_MESSAGE_LOGS,        /* body fpd_message_reopen; fds */
    FPD_MESSAGE_TRACE,       /* on the tracer's own channel: body fpd_message_trace; fd: slow log */
    /* worker -> pool process */
    FPD_MESSAGE_READY_WORKER = 96, /* first message of a worker: it is IDLE_NO_LANE now */
    FPD_MESSAGE_RETURN,    /* body fpd_message_return + leftover bytes; no fd: the pool process
                              uses its own duplicate. Sent for every connection that does not
                              stay as the worker's lane */
    FPD_MESSAGE_REFUSED,   /* body fpd_message_refused: ASSIGN arrived too late, fd dropped, lane
                              closed; the slot stays CLAIMED by the pool process */
    FPD_MESSAGE_AVAILABLE, /* no body: became IDLE_NO_LANE because work is queued (no connection
                             to return), or its lane was dropped */
    FPD_MESSAGE_TRACED,    /* on the tracer's own channel, one for each TRACE: body
                              fpd_message_traced */
    /* one generation -> the next (pool/handover.h) */
    FPD_MESSAGE_CONNECTION = 128, /* body fpd_message_connection + leftover bytes; one fd */
    FPD_MESSAGE_SOURCE,           /* body fpd_connection_id {number, 0}; one fd: what a still older
                                     generation hands over comes there */
    FPD_MESSAGE_COUNTS,           /* body fpd_message_counts */
    /* and back */
    FPD_MESSAGE_TAKEN /* body fpd_connection_id: that CONNECTION or SOURCE has a new owner */
} fpd_message_type;

typedef struct fpd_message_header {
    uint32_t type;
    uint32_t length;
} fpd_message_header;

/* A connection of the pool process: its index in the table and the generation of that entry. */
typedef struct fpd_connection_id {
    uint32_t index;
    uint32_t generation;
} fpd_connection_id;

typedef struct fpd_message_assign {
    uint64_t claimed_word; /* the slot's word when CLAIMED: compare-and-swap it to RUNNING */
    int64_t ready_at;      /* fpd_monotonic_now when the request was first seen whole enough */
    fpd_connection_id connection;
    uint32_t leftover; /* bytes behind this struct, already read from the connection */
    uint32_t padding;
} fpd_message_assign;

typedef enum fpd_return_kind {
    FPD_RETURN_KEEP = 1, /* at a clean point, kept: watch it again (leftover bytes follow) */
    FPD_RETURN_LINGER,   /* response complete, not kept, input may be unread: shutdown(SHUT_WR),
                            drain within bounds, close */
    FPD_RETURN_CLOSE     /* end of file or broken: close it */
} fpd_return_kind;

typedef struct fpd_message_return {
    fpd_connection_id connection;
    uint32_t kind;     /* fpd_return_kind */
    uint32_t leftover; /* bytes behind this struct (KEEP only), fewer than a whole head */
} fpd_message_return;

typedef struct fpd_message_refused {
    uint64_t claimed_word;
    fpd_connection_id connection;
} fpd_message_refused;

typedef struct fpd_message_connection {
    fpd_connection_id connection;
    int64_t ready_at;   /* it waits for a worker since then (fpd_monotonic_now); 0: for a request */
    uint32_t leftover;  /* bytes behind this struct, already read from the connection */
    uint32_t is_fresh;  /* no request of it was given to a worker or answered yet */
    uint32_t is_status; /* of pm.status_listen */
    uint32_t padding;
} fpd_message_connection;

/* What has to be added to the counters of the next generation; of the last two the greater one
 * counts. */
typedef struct fpd_message_counts {
    uint64_t requests;
    uint64_t lane_hits;
    uint64_t accepted;
    uint64_t refused;
    uint32_t max_children_reached;
    uint32_t slow_requests;
    uint32_t max_active;
    uint32_t max_queue_length;
} fpd_message_counts;

typedef struct fpd_message_reopen {
    uint32_t has_access_log; /* then the first fd */
    uint32_t has_slow_log;   /* then the next fd */
} fpd_message_reopen;

/* Where is the script? Asked of the tracer of a worker (worker/slow_log.h), one at a time. */
typedef struct fpd_message_trace {
    int64_t request; /* request_started of the slot: this request and no other */
    char time[24];   /* for the entry: "23-Nov-2026 03:02:51", local time, NUL at the end */
} fpd_message_trace;

typedef enum fpd_trace_outcome {
    FPD_TRACE_WRITTEN = 1, /* the entry is in the file, if write_error is 0 */
    FPD_TRACE_TOO_LATE     /* the script had ended: nothing was written */
} fpd_trace_outcome;

typedef struct fpd_message_traced {
    uint32_t outcome;    /* fpd_trace_outcome */
    int32_t read_error;  /* errno: the entry says that the dump failed; 0: frames were read */
    int32_t write_error; /* errno: the entry was lost, whole or in part; 0: it was written */
    uint32_t padding;
    fpd_slot_view view; /* the request as it was when it was traced */
} fpd_message_traced;

typedef struct fpd_message_want {
    uint32_t count;     /* workers more than were granted */
    uint32_t is_urgent; /* requests wait for them */
} fpd_message_want;

typedef struct fpd_message_count {
    uint32_t count;
} fpd_message_count;

/* What arrived. body points into the caller's buffer. Descriptors belong to the receiver, who
 * closes them, wanted or not. */
typedef struct fpd_message {
    uint32_t type;
    size_t length;
    const void *body;
    int fds[FPD_CHANNEL_FDS];
    int fd_count;
} fpd_message;

typedef struct fpd_message_buffer {
    uint8_t bytes[sizeof(fpd_message_header) + FPD_CHANNEL_BODY_MAX];
} __attribute__((aligned(8))) fpd_message_buffer;

/* A pair of connected, close-on-exec, blocking sockets. Both belong to the caller. */
apr_status_t fpd_channel_pair(int fds[2]);

/* Sends one message; body in up to two parts (either may be NULL/0). flags: 0 or MSG_DONTWAIT.
 * Returns APR_SUCCESS, APR_EAGAIN (would block), APR_EPIPE and other errno values. Never raises
 * SIGPIPE. The descriptors stay the caller's. */
apr_status_t fpd_channel_send(int channel, fpd_message_type type, const void *body, size_t length,
                              const void *more, size_t more_length, const int *fds, int fd_count,
                              int flags);

/* Receives one message. flags as above. APR_EOF when the other side is gone, APR_EAGAIN,
 * APR_EGENERAL for a malformed or cut packet (its descriptors are closed). */
apr_status_t fpd_channel_receive(int channel, fpd_message *message, fpd_message_buffer *buffer,
                                 int flags);

#endif
