/* connections.h - every open connection of the pool process (dispatch.md 2).
 *
 * The table owns the descriptors: the pool process keeps its duplicate of a connection while a
 * worker has one. An entry is named by index and generation; entries never move in memory. A
 * descriptor leaves epoll before it is passed or closed.
 */
#ifndef FPD_CONNECTIONS_H
#define FPD_CONNECTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "base/channel.h"
#include "base/loop.h"
#include "pool/pool.h"

typedef enum fpd_connection_state {
    FPD_CONNECTION_FREE = 0,
    FPD_CONNECTION_HELD,     /* out of epoll, between two of the states below */
    FPD_CONNECTION_WATCHED,  /* waits for the first bytes of a request */
    FPD_CONNECTION_QUEUED,   /* waits for a worker; watched for hang-up */
    FPD_CONNECTION_WORKER,   /* a worker has it, or has it as its lane */
    FPD_CONNECTION_ANSWERED, /* the pool process answers it itself (answer.h) */
    FPD_CONNECTION_PASSED,   /* sent to the next generation, which has not acknowledged it yet
                                (handover.h): not read, not written, closed without shutdown */
    FPD_CONNECTION_LINGERING /* we said the last word; input is thrown away until its end */
} fpd_connection_state;

typedef enum fpd_deadline_kind {
    FPD_DEADLINE_NONE = 0,
    FPD_DEADLINE_HEAD,   /* request_head_timeout */
    FPD_DEADLINE_LINGER, /* a constant */
    FPD_DEADLINE_IDLE    /* none: the list of idle kept connections, oldest first */
} fpd_deadline_kind;

typedef struct fpd_connection {
    fpd_pool *pool;
    uint32_t index;
    uint32_t generation;
    fpd_connection_state state;
    int fd;
    fpd_loop_id watch;     /* 0: not in epoll */
    uint32_t slot;         /* WORKER: whose */
    uint16_t request_id;   /* of the last BEGIN that was seen here */
    uint64_t claimed_word; /* WORKER: of the ASSIGN that carried request_id */
    int64_t ready_at;      /* when that BEGIN was seen */
    int is_admitted;       /* waited in the queue when it was handed over: ready_at counts on */
    int is_fresh;          /* no request of it was given to a worker or answered yet */
    int is_closing;        /* its reading side is shut (farewell.h): never wait for more */
    int is_tcp;
    int is_status;     /* came by pm.status_listen: it must never reach a worker (answer.h) */
    int looks;         /* times that its whole head was looked at while it waited */
    uint8_t *leftover; /* already read from the socket, before what is still in it */
    size_t leftover_length;
    uint8_t *reply; /* ANSWERED: what is left to write */
    size_t reply_length;
    int keeps_after_reply;
    const char *refusal; /* ANSWERED, head not whole yet: 503 with this reason */
    size_t linger_left;  /* bytes that lingering still reads */
    apr_pool_t *memory;  /* of leftover, reply and refusal; NULL until needed */
    fpd_deadline_kind deadline_kind;
    int64_t deadline;
    struct fpd_connection *deadline_previous, *deadline_next;
    struct fpd_connection *next_free;
} fpd_connection;

apr_status_t fpd_connections_create(fpd_pool *pool);

/* Takes an accepted descriptor (non-blocking, close-on-exec) into the table, state HELD, and looks
 * at it at once. is_status: of pm.status_listen. */
void fpd_connections_add(fpd_pool *pool, int fd, int is_tcp, int is_status);

/* Takes one that another generation had, state HELD, without looking at it: not counted as
 * accepted, at a clean point. NULL (fd untouched) when the table is full. */
fpd_connection *fpd_connections_adopt(fpd_pool *pool, int fd, int is_tcp, int is_fresh);

/* The connection of that name, or NULL if it is gone. */
fpd_connection *fpd_connections_find(fpd_pool *pool, fpd_connection_id id);
fpd_connection_id fpd_connections_id(const fpd_connection *connection);
/* The entry at index whatever its state, or NULL: for going through all of them, up to
 * fpd_connections_bound(). */
fpd_connection *fpd_connections_at(fpd_pool *pool, uint32_t index);
uint32_t fpd_connections_bound(const fpd_pool *pool);
/* Open connections; those that linger do not count (nobody waits for them). */
uint32_t fpd_connections_count(const fpd_pool *pool);
/* Descriptors that the table holds. */
uint32_t fpd_connections_descriptors(const fpd_pool *pool);

/* HELD or WORKER -> WATCHED: waits for a request. While the pool process drains, its next
 * step says farewell to it (farewell.h). */
void fpd_connections_watch(fpd_connection *connection);
/* HELD -> as its first bytes say: for bytes that no event announces. */
void fpd_connections_reread(fpd_connection *connection);
/* Any -> HELD: out of epoll, out of the queue, no deadline. */
void fpd_connections_hold(fpd_connection *connection);
/* HELD -> `state`, in epoll for `events` (EPOLLET is added, hang-up always comes). On failure the
 * connection is closed and 0 returned. */
int fpd_connections_register(fpd_connection *connection, fpd_connection_state state,
                             uint32_t events);
/* The kept connection that has been idle for longest, or NULL. */
fpd_connection *fpd_connections_oldest_idle(fpd_pool *pool);
/* Ends our side, throws input away within bounds, closes. */
void fpd_connections_linger(fpd_connection *connection);
/* Closes at once, also for processes that have a duplicate; a PASSED one only for us. */
void fpd_connections_close(fpd_connection *connection);

void fpd_connections_set_deadline(fpd_connection *connection, fpd_deadline_kind kind);

/* Memory that lives until the connection's next request or its end. */
apr_pool_t *fpd_connections_memory(fpd_connection *connection);

/* Keeps a copy of bytes that were read and belong to the next request. */
void fpd_connections_set_leftover(fpd_connection *connection, const void *bytes, size_t length);
void fpd_connections_drop_leftover(fpd_connection *connection);

/* Leftover and what is in the socket, without taking it out. Returns the bytes at `to`; 0 at the
 * end of input, -1 with errno (EAGAIN: nothing there yet). */
ssize_t fpd_connections_peek(fpd_connection *connection, uint8_t *to, size_t size);
/* Takes out what was peeked. Returns 1, or 0 when the socket does not give it. */
int fpd_connections_consume(fpd_connection *connection, size_t length);

#endif
