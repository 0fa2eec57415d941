/* fpmp_conn.h - connections to FastCGI servers: opening them with a deadline, and keeping idle
 * ones.
 *
 * Each httpd child has one table. Kept connections are reused last-in first-out, so that few stay
 * hot and the rest grow old and are closed. All functions may be called by any thread of the child,
 * also by HTTP/2 workers; a lock exists only under a threaded MPM.
 */
#ifndef FPMP_CONN_H
#define FPMP_CONN_H

#include "fpmp_hosts.h"

/* Most idle connections that a child keeps for one server. */
#define FPMP_KEPT_MAX 128

typedef struct fpmp_connections fpmp_connections;

/* A connection belongs to whoever took or opened it until keep or discard. */
typedef struct fpmp_conn {
    int fd; /* CLOEXEC; use MSG_DONTWAIT: whether it blocks is not defined */
    const fpmp_server *server;
    uint32_t version;      /* of the server's addresses when it was opened */
    unsigned served;       /* requests that it has answered; 0: fresh */
    apr_time_t kept_since; /* private: */
    struct fpmp_conn *newer;
    struct fpmp_conn *older;
} fpmp_conn;

/* names: addresses of servers that are names; NULL: none is. A table for servers with index
 * 0..server_count-1. When the pool `child` ends, what is kept is closed and nothing is kept any
 * more; the table itself stays valid until the process ends. */
apr_status_t fpmp_conn_create(fpmp_connections **table, apr_pool_t *child, const fpmp_hosts *names,
                              int server_count, int is_threaded);

/* The kept connection that was used last, or NULL. Those kept longer than `keep`, and those to
 * addresses that the server had before, are closed. */
fpmp_conn *fpmp_conn_take(fpmp_connections *table, const fpmp_server *server,
                          apr_interval_time_t keep, apr_time_t now);

#define FPMP_CONN_OTHER_OWNER (APR_OS_START_USERERR + 1)

/* A new connection, or the error of connect(); FPMP_CONN_OTHER_OWNER; APR_TIMEUP when it was not
 * accepted within `limit` (also: its listen queue stayed full). Of several addresses each is the
 * first in turn, those that failed a moment ago behind the others, and the next follows one that
 * fails; all have `limit` together. */
apr_status_t fpmp_conn_open(fpmp_connections *table, const fpmp_server *server,
                            apr_interval_time_t limit, fpmp_conn **connection);

/* user= of a server: the owner of its socket is checked, and *name is made for connect(): just that
 * socket, wherever its path leads a moment later. APR_SUCCESS, or why not; *pin must be closed
 * after connect(). -1: the server has no user=, and *name is not filled. */
apr_status_t fpmp_conn_pin(const fpmp_server *server, struct sockaddr_un *name, int *pin);

/* Keeps a connection that stands between two requests; `keep` 0 or a full table close one. */
void fpmp_conn_keep(fpmp_connections *table, fpmp_conn *connection, apr_interval_time_t keep,
                    apr_time_t now);

/* Closes all that are kept for this server, which nobody uses any more. */
void fpmp_conn_forget(fpmp_connections *table, const fpmp_server *server);

/* Has the server not closed this kept connection? Costs a system call; says nothing about what
 * happens after it. */
int fpmp_conn_is_alive(const fpmp_conn *connection);

/* Has a server on another host vanished? Since the last bytes were sent its kernel has acknowledged
 * nothing, although they were sent at least three times. Never true for a host that is slow, nor
 * on a unix socket. */
int fpmp_conn_has_vanished(int fd);

/* Closes it. */
void fpmp_conn_discard(fpmp_connections *table, fpmp_conn *connection);

#endif
