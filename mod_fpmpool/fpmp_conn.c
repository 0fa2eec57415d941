/* fpmp_conn.c - connections to FastCGI servers: opening them with a deadline, and keeping idle
 * ones.
 *
 * Owns the table of one httpd child. Runs in any thread of the child. Must not log and must not
 * know requests; never holds its lock over a system call that can block.
 */
#include "fpmp_conn.h"
#include "fpmp_clock.h"

#include <apr_errno.h>
#include <apr_thread_mutex.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define BAD_FOR apr_time_from_sec(10) /* an address that failed is tried behind the others */

typedef struct shelf {
    fpmp_conn *newest;
    fpmp_conn *oldest;
    int count;
    uint32_t version; /* of the addresses of those that lie there */
    unsigned turn;    /* which of several addresses is the first */
    unsigned bad;     /* bit i: address i has failed */
    uint32_t bad_version;
    apr_time_t bad_until;
} shelf;

struct fpmp_connections {
    apr_pool_t *pool;         /* lives as long as the process: see fpmp_conn_create */
    apr_thread_mutex_t *lock; /* NULL: only one thread */
    const fpmp_hosts *names;
    fpmp_conn *spare; /* structs for reuse, linked by `older` */
    int shelf_count;
    int reached; /* highest shelf that was ever used, plus 1 */
    int swept;   /* shelf that was looked at last for old connections */
    int is_over; /* the child ends: nothing is kept any more */
    shelf shelves[];
};

static void lock_table(fpmp_connections *table)
{
    if (table->lock) {
        apr_thread_mutex_lock(table->lock);
    }
}

static void unlock_table(fpmp_connections *table)
{
    if (table->lock) {
        apr_thread_mutex_unlock(table->lock);
    }
}

/* ---- the shelves (call with the lock held) --------------------------------------------------- */

static void unlink_conn(shelf *from, fpmp_conn *connection)
{
    if (connection->newer) {
        connection->newer->older = connection->older;
    } else {
        from->newest = connection->older;
    }
    if (connection->older) {
        connection->older->newer = connection->newer;
    } else {
        from->oldest = connection->newer;
    }
    connection->newer = connection->older = NULL;
    from->count--;
}

static void push_newest(shelf *to, fpmp_conn *connection)
{
    connection->newer = NULL;
    connection->older = to->newest;
    if (to->newest) {
        to->newest->newer = connection;
    } else {
        to->oldest = connection;
    }
    to->newest = connection;
    to->count++;
}

static void drop(fpmp_connections *table, fpmp_conn *connection)
{
    close(connection->fd);
    connection->fd = -1;
    connection->older = table->spare;
    table->spare = connection;
}

static void drop_old(fpmp_connections *table, shelf *from, apr_time_t before)
{
    while (from->oldest && from->oldest->kept_since < before) {
        fpmp_conn *old = from->oldest;
        unlink_conn(from, old);
        drop(table, old);
    }
}

static void empty_shelf(fpmp_connections *table, shelf *from)
{
    while (from->newest) {
        fpmp_conn *kept = from->newest;
        unlink_conn(from, kept);
        drop(table, kept);
    }
}

/* The server has other addresses now: what leads to the old ones ends. */
static void drop_others(fpmp_connections *table, shelf *from, uint32_t version)
{
    if (from->version != version) {
        from->version = version;
        empty_shelf(table, from);
    }
}

/* Each kept connection also moves a slow sweep over the other servers' shelves, so that a server
 * without traffic does not hold descriptors for ever. */
static void sweep_another(fpmp_connections *table, apr_time_t before)
{
    table->swept = (table->swept + 1) % table->reached;
    drop_old(table, &table->shelves[table->swept], before);
}

/* ---- the table ------------------------------------------------------------------------------- */

static apr_status_t close_kept(void *data)
{
    fpmp_connections *table = data;
    lock_table(table);
    table->is_over = 1;
    for (int i = 0; i < table->shelf_count; i++) {
        empty_shelf(table, &table->shelves[i]);
    }
    unlock_table(table);
    return APR_SUCCESS;
}

/* Not in memory of `child`: mod_http2 waits only some seconds for the end of its workers' requests,
 * and then one may come back with its connection to a child whose pool is gone. */
apr_status_t fpmp_conn_create(fpmp_connections **result, apr_pool_t *child, const fpmp_hosts *names,
                              int server_count, int is_threaded)
{
    apr_pool_t *pool = NULL;
    apr_status_t status = apr_pool_create_unmanaged_ex(&pool, NULL, NULL);
    if (status != APR_SUCCESS) {
        return status;
    }
    fpmp_connections *table =
        apr_pcalloc(pool, sizeof(*table) + (size_t)server_count * sizeof(shelf));
    table->pool = pool;
    table->names = names;
    table->shelf_count = server_count;
    if (is_threaded) {
        status = apr_thread_mutex_create(&table->lock, APR_THREAD_MUTEX_DEFAULT, pool);
    }
    if (status != APR_SUCCESS) {
        apr_pool_destroy(pool);
        return status;
    }
    apr_pool_pre_cleanup_register(child, table, close_kept);
    *result = table;
    return APR_SUCCESS;
}

/* ---- take, keep, discard --------------------------------------------------------------------- */

fpmp_conn *fpmp_conn_take(fpmp_connections *table, const fpmp_server *server,
                          apr_interval_time_t keep, apr_time_t now)
{
    shelf *from = &table->shelves[server->index];
    uint32_t version = fpmp_hosts_version(table->names, server);
    lock_table(table);
    drop_others(table, from, version);
    drop_old(table, from, now - keep);
    fpmp_conn *connection = from->newest;
    if (connection) {
        unlink_conn(from, connection);
    }
    unlock_table(table);
    return connection;
}

void fpmp_conn_keep(fpmp_connections *table, fpmp_conn *connection, apr_interval_time_t keep,
                    apr_time_t now)
{
    shelf *to = &table->shelves[connection->server->index];
    if (keep <= 0) {
        fpmp_conn_discard(table, connection);
        return;
    }
    uint32_t version = fpmp_hosts_version(table->names, connection->server);
    lock_table(table);
    drop_others(table, to, version);
    if (table->is_over || connection->version != version) {
        drop(table, connection);
        unlock_table(table);
        return;
    }
    connection->kept_since = now;
    if (table->reached <= connection->server->index) {
        table->reached = connection->server->index + 1;
    }
    push_newest(to, connection);
    if (to->count > FPMP_KEPT_MAX) {
        fpmp_conn *old = to->oldest;
        unlink_conn(to, old);
        drop(table, old);
    }
    drop_old(table, to, now - keep);
    sweep_another(table, now - keep);
    unlock_table(table);
}

void fpmp_conn_discard(fpmp_connections *table, fpmp_conn *connection)
{
    lock_table(table);
    drop(table, connection);
    unlock_table(table);
}

void fpmp_conn_forget(fpmp_connections *table, const fpmp_server *server)
{
    lock_table(table);
    empty_shelf(table, &table->shelves[server->index]);
    unlock_table(table);
}

int fpmp_conn_is_alive(const fpmp_conn *connection)
{
    char byte;
    return recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static fpmp_conn *make_conn(fpmp_connections *table, const fpmp_server *server, int fd)
{
    lock_table(table);
    fpmp_conn *connection = table->spare;
    if (connection) {
        table->spare = connection->older;
    } else {
        connection = apr_palloc(table->pool, sizeof(*connection));
    }
    unlock_table(table);
    connection->fd = fd;
    connection->server = server;
    connection->served = 0;
    connection->kept_since = 0;
    connection->newer = connection->older = NULL;
    return connection;
}

/* ---- hosts that vanish ----------------------------------------------------------------------- */

#define KEEPALIVE_IDLE     30 /* seconds without traffic before the first question */
#define KEEPALIVE_INTERVAL 5
#define KEEPALIVE_COUNT    4
#define REPEATED_MOST      2

static void set_option(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof(value)); /* it serves without, too */
}

/* A script may compute for an hour, and nobody would say that its host is gone. */
static void prepare_tcp(int fd)
{
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

int fpmp_conn_has_vanished(int fd)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_unacked > 0 &&
           info.tcpi_retransmits >= REPEATED_MOST;
}

/* ---- connect --------------------------------------------------------------------------------- */

/* A full listen queue of a unix socket answers EAGAIN and cannot be polled; a blocking connect with
 * a send time limit is woken as soon as there is room. */
static int wait_for_room(int fd, const struct sockaddr *name, socklen_t length,
                         apr_interval_time_t limit)
{
    apr_time_t end = fpmp_clock_now() + limit;
    if (fcntl(fd, F_SETFL, 0)) {
        return errno;
    }
    do {
        apr_interval_time_t left = end - fpmp_clock_now();
        if (left <= 0) {
            return APR_TIMEUP; /* and 0 would mean: for ever */
        }
        struct timeval time = {.tv_sec = left / APR_USEC_PER_SEC,
                               .tv_usec = left % APR_USEC_PER_SEC};
        if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time))) {
            return errno;
        }
        if (connect(fd, name, length) == 0) {
            return 0;
        }
    } while (errno == EINTR); /* a signal, as a graceful restart sends it, is no answer */
    return errno == EAGAIN ? APR_TIMEUP : errno;
}

static int wait_for_handshake(int fd, apr_interval_time_t limit)
{
    apr_time_t end = fpmp_clock_now() + limit;
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    for (;;) {
        apr_interval_time_t left = end - fpmp_clock_now();
        if (left <= 0) {
            return APR_TIMEUP;
        }
        int ready = poll(&wait, 1, (int)((left + 999) / 1000));
        if (ready > 0) {
            break;
        }
        if (ready < 0 && errno != EINTR) {
            return errno;
        }
    }
    int error = 0;
    socklen_t length = sizeof(error);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) ? errno : error;
}

static int connect_within(int fd, const struct sockaddr *name, socklen_t length,
                          apr_interval_time_t limit)
{
    if (connect(fd, name, length) == 0) {
        return 0;
    }
    if (errno == EAGAIN && name->sa_family == AF_UNIX) {
        return wait_for_room(fd, name, length, limit);
    }
    return errno == EINPROGRESS || errno == EINTR ? wait_for_handshake(fd, limit) : errno;
}

/* The credentials of a connection tell who called listen(): the daemon's master, whatever the pool.
 * So the file counts, and it must be the one that is connected to. */
apr_status_t fpmp_conn_pin(const fpmp_server *server, struct sockaddr_un *name, int *pin)
{
    struct stat about;
    *pin = -1;
    if (!server->owner) {
        return APR_SUCCESS;
    }
    int fd = open(server->address.path, O_PATH | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    int error = fstat(fd, &about) ? errno : 0;
    if (error || about.st_uid != server->owner_id) {
        close(fd);
        return error ? error : FPMP_CONN_OTHER_OWNER;
    }
    name->sun_family = AF_UNIX;
    (void)snprintf(name->sun_path, sizeof(name->sun_path), "/proc/self/fd/%d", fd);
    *pin = fd;
    return APR_SUCCESS;
}

static apr_status_t open_socket(const fpmp_server *server, const fpmp_socket *to,
                                apr_interval_time_t limit, int *opened)
{
    const struct sockaddr *name = &to->any;
    socklen_t length = to->any.sa_family == AF_INET6 ? sizeof(to->six) : sizeof(to->four);
    if (server->address.path) {
        name = (const struct sockaddr *)&server->address.socket;
        length = server->address.socket_length;
    }
    int fd = socket(name->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return errno;
    }
    int pin = -1;
    struct sockaddr_un pinned;
    apr_status_t status = fpmp_conn_pin(server, &pinned, &pin);
    if (pin >= 0) {
        name = (const struct sockaddr *)&pinned;
        length = sizeof(pinned);
    }
    status = status == APR_SUCCESS ? connect_within(fd, name, length, limit) : status;
    if (pin >= 0) {
        close(pin);
    }
    if (status != APR_SUCCESS) {
        close(fd);
        return status;
    }
    if (!server->address.path) {
        prepare_tcp(fd);
    }
    *opened = fd;
    return APR_SUCCESS;
}

/* ---- several addresses ----------------------------------------------------------------------- */

/* The order in which they are tried: in turn, those that failed lately at the end. */
static void put_in_turn(fpmp_connections *table, const fpmp_server *server,
                        const fpmp_addresses *found, apr_time_t now, int *order)
{
    shelf *of = &table->shelves[server->index];
    int count = 0;
    lock_table(table);
    if (of->bad_version != found->version || now >= of->bad_until) {
        of->bad = 0;
    }
    for (int is_bad = 0; is_bad < 2; is_bad++) {
        for (int i = 0; i < found->count; i++) {
            int at = (int)((of->turn + (unsigned)i) % (unsigned)found->count);
            if (((of->bad >> at) & 1) == (unsigned)is_bad) {
                order[count++] = at;
            }
        }
    }
    of->turn++;
    unlock_table(table);
}

static void note_bad(fpmp_connections *table, const fpmp_server *server,
                     const fpmp_addresses *found, int at, apr_time_t now)
{
    shelf *of = &table->shelves[server->index];
    lock_table(table);
    of->bad |= 1U << at;
    of->bad_version = found->version;
    of->bad_until = now + BAD_FOR;
    unlock_table(table);
}

static apr_status_t open_one_of(fpmp_connections *table, const fpmp_server *server,
                                const fpmp_addresses *found, apr_interval_time_t limit, int *fd)
{
    int order[FPMP_ADDRESSES_MAX];
    apr_time_t now = fpmp_clock_now();
    apr_time_t end = now + limit;
    apr_status_t status = APR_EGENERAL;
    put_in_turn(table, server, found, now, order);
    for (int i = 0; i < found->count; i++) {
        apr_interval_time_t left = end - fpmp_clock_now();
        status = left > 0
                     ? open_socket(server, &found->sockets[order[i]], left / (found->count - i), fd)
                     : APR_TIMEUP;
        if (status == APR_SUCCESS || left <= 0) {
            break;
        }
        note_bad(table, server, found, order[i], fpmp_clock_now());
    }
    return status;
}

apr_status_t fpmp_conn_open(fpmp_connections *table, const fpmp_server *server,
                            apr_interval_time_t limit, fpmp_conn **connection)
{
    fpmp_addresses found = {.version = 0};
    int fd = -1;
    apr_status_t status = APR_SUCCESS;
    if (!server->address.path) {
        fpmp_hosts_get(table->names, server, &found);
    }
    if (server->address.path || found.count == 1) {
        status = open_socket(server, &found.sockets[0], limit, &fd);
    } else if (found.count) {
        status = open_one_of(table, server, &found, limit, &fd);
    } else {
        status = APR_OS_START_EAIERR - EAI_NONAME; /* nobody has found its host yet */
    }
    if (status == APR_SUCCESS) {
        *connection = make_conn(table, server, fd);
        (*connection)->version = found.version;
    }
    return status;
}
