/* listener.c - takes connections from the listening sockets into the table.
 *
 * Runs in the pool process. Besides the pool's own socket there may be that of pm.status_listen,
 * whose connections never reach a worker. When descriptors run out a listener leaves epoll (a
 * level-triggered listener would spin), asks for idle kept connections to be closed, and comes back
 * when there is room.
 */
#include "pool/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "apr_strings.h"
#include "base/log.h"
#include "base/peer.h"
#include "pool/connections.h"
#include "pool/farewell.h"

#define ACCEPTS_AT_ONCE 32
#define RETRY_TIME      INT64_C(1000000)
#define RESERVED        64 /* descriptors for logs, channels of starting workers and the like */
#define CLOSED_AT_ONCE  16
#define MOST_ALLOWED    256

typedef struct fpd_listener {
    fpd_pool *pool;
    int fd; /* -1: left */
    int is_tcp;
    int is_status;     /* of pm.status_listen */
    fpd_loop_id watch; /* 0: not polled */
    fpd_loop_timer *retry;
    int is_short_reported;
    int burst;                 /* connections that the next wake-up tries to take */
    uint32_t descriptor_limit; /* connections that the table may hold */
    int has_allowed;           /* listen.allowed_clients is set; of use to TCP peers */
    struct in6_addr *allowed;  /* IPv4 as mapped addresses */
    int allowed_count;
} fpd_listener;

/* ---- allowed clients ---------------------------------------------------------------------- */

static int read_address(const char *text, struct in6_addr *address)
{
    struct in_addr v4;

    if (inet_pton(AF_INET6, text, address) == 1) {
        return 1;
    }
    if (inet_pton(AF_INET, text, &v4) != 1) {
        return 0;
    }
    memset(address, 0, sizeof(*address));
    address->s6_addr[10] = 0xff;
    address->s6_addr[11] = 0xff;
    memcpy(&address->s6_addr[12], &v4, sizeof(v4));
    return 1;
}

/* With a unix listener the list is of use only to TCP connections that are handed over, so nothing
 * is said about it: php-fpm does not look at it either. */
static void read_allowed(fpd_listener *listener, const char *list, apr_pool_t *memory)
{
    char *rest = apr_pstrdup(memory, list);
    char *item;

    listener->has_allowed = 1;
    listener->allowed = apr_pcalloc(memory, MOST_ALLOWED * sizeof(*listener->allowed));
    while ((item = strsep(&rest, ",")) != NULL) {
        if (listener->allowed_count == MOST_ALLOWED) {
            fpd_log(FPD_LOG_ERROR,
                    "listen.allowed_clients has more than %d addresses, the rest is "
                    "ignored",
                    MOST_ALLOWED);
            break;
        }
        if (read_address(item, &listener->allowed[listener->allowed_count])) {
            listener->allowed_count++;
        } else if (listener->is_tcp) {
            fpd_log(FPD_LOG_ERROR, "Wrong IP address '%s' in listen.allowed_clients", item);
        }
    }
    if (listener->allowed_count == 0 && listener->is_tcp) {
        fpd_log(FPD_LOG_ERROR, "There are no allowed addresses");
    }
}

static int is_allowed(const fpd_listener *listener, const struct sockaddr_storage *peer)
{
    char text[INET6_ADDRSTRLEN] = "unknown";
    struct in6_addr address;

    if (!listener->has_allowed) {
        return 1;
    }
    memset(&address, 0, sizeof(address));
    if (peer->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)peer;
        address = v6->sin6_addr;
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
    } else {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)peer;
        (void)inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
        (void)read_address(text, &address);
    }
    for (int i = 0; i < listener->allowed_count; i++) {
        if (memcmp(&listener->allowed[i], &address, sizeof(address)) == 0) {
            return 1;
        }
    }
    fpd_log(FPD_LOG_ERROR, "Connection disallowed: IP address '%s' has been dropped.", text);
    return 0;
}

int fpd_listener_allows(const fpd_pool *pool, int fd)
{
    struct sockaddr_storage peer;
    socklen_t size = sizeof(peer);

    return !pool->listener->has_allowed || (getpeername(fd, (struct sockaddr *)&peer, &size) == 0 &&
                                            is_allowed(pool->listener, &peer));
}

int fpd_listener_has_room(const fpd_pool *pool)
{
    return fpd_connections_descriptors(pool) < pool->listener->descriptor_limit;
}

/* ---- accepting ---------------------------------------------------------------------------- */

static void pause_accepting(fpd_listener *listener, int error)
{
    fpd_pool *pool = listener->pool;

    fpd_loop_remove(pool->loop, listener->watch);
    listener->watch = 0;
    if (!listener->is_short_reported) {
        listener->is_short_reported = 1;
        fpd_log_errno(
            FPD_LOG_WARNING, error,
            "no descriptor left for a new connection (%u are open): accepting waits until "
            "one is closed; raise the limit of open files (LimitNOFILE, ulimit -n)",
            fpd_connections_descriptors(pool));
    }
    fpd_loop_timer_set(listener->retry, fpd_loop_now(pool->loop) + RETRY_TIME);
    fpd_farewell_oldest(pool, CLOSED_AT_ONCE);
}

static void accept_some(void *context, uint32_t events)
{
    fpd_listener *listener = context;
    fpd_pool *pool = listener->pool;

    (void)events;
    /* level-triggered: what is left over wakes again. Mostly one connection has come, and a second
     * accept would be a wasted system call; in a storm the burst doubles. */
    for (int i = 0; i < listener->burst && listener->watch != 0; i++) {
        struct sockaddr_storage peer;
        socklen_t size = sizeof(peer);
        int on = 1;
        int fd;
        if (!fpd_listener_has_room(pool)) {
            pause_accepting(listener, EMFILE);
            return;
        }
        fd = accept4(listener->fd, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                pause_accepting(listener, errno);
            } else if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO) {
                continue;
            } else if (errno != EAGAIN) {
                fpd_log_errno(FPD_LOG_ERROR, errno, "accept failed");
            }
            listener->burst = i > 0 ? i : 1;
            return;
        }
        if (listener->is_tcp && !is_allowed(listener, &peer)) {
            close(fd);
            continue;
        }
        if (listener->is_tcp) {
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        }
        fpd_connections_add(pool, fd, listener->is_tcp, listener->is_status);
    }
    listener->burst = listener->burst * 2 < ACCEPTS_AT_ONCE ? listener->burst * 2 : ACCEPTS_AT_ONCE;
}

static apr_status_t start(fpd_listener *listener)
{
    fpd_loop_timer_cancel(listener->retry);
    return fpd_loop_add(listener->pool->loop, listener->fd, EPOLLIN, accept_some, listener,
                        &listener->watch);
}

static void try_again(void *context)
{
    fpd_listener *listener = context;

    if (listener->fd >= 0 && listener->watch == 0) {
        (void)start(listener);
    }
}

apr_status_t fpd_listener_start(fpd_pool *pool)
{
    apr_status_t status = start(pool->listener);

    if (status == APR_SUCCESS && pool->status_listener != NULL) {
        status = start(pool->status_listener);
    }
    return status;
}

void fpd_listener_take_rest(fpd_pool *pool)
{
    fpd_listener *listener = pool->listener;

    do {
        listener->burst = ACCEPTS_AT_ONCE;
        if (listener->watch != 0) {
            accept_some(listener, 0);
        }
    } while (listener->watch != 0 && listener->burst == ACCEPTS_AT_ONCE);
}

static void leave(fpd_listener *listener)
{
    if (listener == NULL || listener->fd < 0) {
        return;
    }
    fpd_loop_remove(listener->pool->loop, listener->watch);
    fpd_loop_timer_cancel(listener->retry);
    listener->watch = 0;
    close(listener->fd);
    listener->fd = -1;
}

void fpd_listener_leave(fpd_pool *pool)
{
    leave(pool->listener);
    leave(pool->status_listener);
    pool->setup.listener = pool->setup.status_listener = -1;
}

static void accept_again(fpd_listener *listener)
{
    if (listener == NULL || listener->watch != 0 || !fpd_loop_timer_is_set(listener->retry)) {
        return;
    }
    /* from the timer, so that a table that is being emptied is not refilled half-way */
    fpd_loop_timer_set(listener->retry, fpd_loop_now(listener->pool->loop));
}

void fpd_listener_descriptor_freed(fpd_pool *pool)
{
    accept_again(pool->listener);
    accept_again(pool->status_listener);
}

/* ---- making ------------------------------------------------------------------------------- */

static apr_status_t make(fpd_listener **made, fpd_pool *pool, int fd, uint32_t descriptor_limit)
{
    fpd_listener *listener = apr_pcalloc(pool->memory, sizeof(*listener));
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);

    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        return errno;
    }
    listener->pool = pool;
    listener->fd = fd;
    listener->burst = 1;
    listener->is_tcp = address.ss_family == AF_INET || address.ss_family == AF_INET6;
    if (listener->is_tcp) {
        fpd_peer_watch(fd);
    }
    listener->is_status = fd == pool->setup.status_listener;
    listener->retry = fpd_loop_timer_create(pool->loop, try_again, listener);
    listener->descriptor_limit = descriptor_limit;
    if (pool->plan->listen_allowed_clients != NULL) {
        read_allowed(listener, pool->plan->listen_allowed_clients, pool->memory);
    }
    *made = listener;
    return APR_SUCCESS;
}

apr_status_t fpd_listener_create(fpd_pool *pool)
{
    rlim_t reserved = RESERVED + 3 * (rlim_t)pool->slot_count;
    struct rlimit limit;
    uint32_t most;
    apr_status_t status;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return errno;
    }
    if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > UINT32_MAX) {
        most = UINT32_MAX;
    } else if (limit.rlim_cur > 2 * reserved) {
        most = (uint32_t)(limit.rlim_cur - reserved);
    } else {
        most = (uint32_t)(limit.rlim_cur / 2);
    }
    status = make(&pool->listener, pool, pool->setup.listener, most);
    if (status == APR_SUCCESS && pool->setup.status_listener >= 0) {
        status = make(&pool->status_listener, pool, pool->setup.status_listener, most);
    }
    return status;
}
