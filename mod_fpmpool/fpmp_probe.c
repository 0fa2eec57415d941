/* fpmp_probe.c - active checks: one thread of one httpd child asks all servers in turn.
 *
 * Runs in a thread of its own in each child; who has the lease works. All checks are under way at
 * once in one poll loop, so that a silent server holds up no other. A thread rather than
 * mod_watchdog, which would wake up in each child ten times a second and may not be loaded. The
 * child waits for its end, but not for ever: one that a name server holds up is left behind, may
 * return when all pools and the shared memory are gone, and then touches its own memory only,
 * which is never freed. Must not touch the child's APR pools.
 */
#include "fpmp_probe.h"

#include "fpmp_clock.h"
#include "fpmp_failure.h"
#include "fpmp_health.h"
#include "fpmp_share.h"
#include "wire/wire.h"

#include <http_log.h>
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

APLOG_USE_MODULE(fpmpool);

#define LEASE_LEAST 500 /* ms */
#define ASLEEP_MOST 60000
#define BUSY_TIMES  10   /* time limits of checks without an answer to any request */
#define WAIT_MOST   1000 /* ms that the end of a child waits for the thread */

typedef enum stage { WAITING, CONNECTING, ASKED } stage;

/* A server and its check. Times are milliseconds of fpmp_health_time. */
typedef struct target {
    const fpmp_pool *pool;
    const fpmp_server *server;
    fpmp_record *record;
    stage stage;
    int fd;
    uint64_t due; /* the next check */
    uint64_t began;
    uint8_t answer[WIRE_HEADER_SIZE];
    size_t received;
} target;

typedef struct prober {
    server_rec *main;
    fpmp_share *share;
    unsigned generation;
    pid_t child;
    int wake;              /* eventfd: readable when the thread shall end */
    int ended;             /* eventfd: readable when it has */
    _Atomic(int) must_end; /* once set: `main`, `share` and all of a target but `fd` may be gone */
    pthread_t thread;
    uint64_t lease; /* how long one is taken for */
    uint32_t random;
    int count;
    target *targets;
    struct pollfd *polled; /* of each target, then `wake` */
} prober;

static uint64_t now_ms(void)
{
    return fpmp_health_time(fpmp_clock_now());
}

/* A tenth more or less, so that not all servers are asked at the same moment for ever. */
static uint64_t jitter(prober *of, uint64_t time)
{
    of->random = of->random * 1664525 + 1013904223;
    return time - time / 10 + (of->random >> 8) % (time / 5 + 1);
}

/* ---- one check ------------------------------------------------------------------------------- */

static void schedule(prober *of, target *at, uint64_t now)
{
    const fpmp_check *check = &at->pool->check;
    fpmp_health word = atomic_load(&at->record->health);
    apr_interval_time_t pause = check->interval;
    if (fpmp_health_is_changing(word)) {
        pause = check->fast;
    } else if (fpmp_health_state_of(word) != FPMP_HEALTH_UP) {
        pause = check->down;
    }
    at->due = now + jitter(of, (uint64_t)apr_time_as_msec(pause));
}

static void finish(prober *of, target *at, uint64_t now)
{
    if (at->fd >= 0) {
        close(at->fd);
    }
    at->fd = -1;
    at->stage = WAITING;
    schedule(of, at, now);
}

static void tell(prober *of, target *at, int is_good, const char *reason)
{
    uint64_t now = now_ms();
    fpmp_health_change change = fpmp_health_report(
        &at->record->health, is_good ? FPMP_HEALTH_CHECK_GOOD : FPMP_HEALTH_CHECK_BAD,
        &at->pool->health, at->began, now);
    if (change == FPMP_HEALTH_WENT_DOWN) {
        fpmp_failure_log_down(of->main, at->pool, at->server, reason);
    } else if (change == FPMP_HEALTH_CAME_UP) {
        (void)fpmp_share_calm(&at->record->failure);
        fpmp_failure_log_up(of->main, at->pool, at->server);
    }
    finish(of, at, now);
}

static void ask(prober *of, target *at)
{
    static const char name[] = "FCGI_MPXS_CONNS";
    uint8_t bytes[64];
    uint8_t *end = wire_pair_write(bytes + WIRE_HEADER_SIZE, name, sizeof(name) - 1, "", 0);
    size_t length = (size_t)(end - bytes);
    if (at->pool->check.kind == FPMP_CHECK_CONNECT) {
        tell(of, at, 1, NULL);
        return;
    }
    wire_header_write(bytes, WIRE_GET_VALUES, 0, (uint16_t)(length - WIRE_HEADER_SIZE), 0);
    if (send(at->fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)length) {
        tell(of, at, 0, "it closes the connection of a check");
        return;
    }
    at->stage = ASKED;
    at->received = 0;
}

/* The pool is in no tree of pools: with -X httpd destroys them all, whoever waits here. */
static int resolve(fpmp_address *address)
{
    apr_pool_t *scratch = NULL;
    apr_status_t status = apr_pool_create_unmanaged_ex(&scratch, NULL, NULL);
    if (status == APR_SUCCESS) {
        status = fpmp_address_resolve(address, scratch);
        apr_pool_destroy(scratch);
    }
    return status == APR_SUCCESS;
}

static void start(prober *of, target *at, uint64_t now)
{
    fpmp_address address = at->server->address;
    at->began = now;
    int is_known = resolve(&address);
    if (of->must_end) {
        return;
    }
    if (!is_known) {
        tell(of, at, 0, "its host is not known");
        return;
    }
    at->fd = socket(address.socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (at->fd < 0) {
        finish(of, at, now); /* a lack of this process says nothing of the server */
        return;
    }
    at->stage = CONNECTING;
    if (connect(at->fd, (const struct sockaddr *)&address.socket, address.socket_length) == 0) {
        ask(of, at);
    } else if (errno == EAGAIN) {
        finish(of, at, now); /* its listen queue is full: busy is not dead */
    } else if (errno != EINPROGRESS) {
        tell(of, at, 0, "no connection for a check");
    }
}

static void take_connection(prober *of, target *at)
{
    int error = 0;
    socklen_t length = sizeof(error);
    if (getsockopt(at->fd, SOL_SOCKET, SO_ERROR, &error, &length) || error) {
        tell(of, at, 0, "no connection for a check");
        return;
    }
    ask(of, at);
}

static void take_answer(prober *of, target *at)
{
    ssize_t got =
        recv(at->fd, at->answer + at->received, sizeof(at->answer) - at->received, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) {
        tell(of, at, 0, "it closes the connection of a check");
        return;
    }
    at->received += (size_t)got;
    if (at->received < sizeof(at->answer)) {
        return;
    }
    wire_header header;
    wire_header_read(&header, at->answer);
    int is_good = header.version == WIRE_VERSION &&
                  (header.type == WIRE_GET_VALUES_RESULT || header.type == WIRE_UNKNOWN_TYPE);
    tell(of, at, is_good, "what it answers a check is not FastCGI");
}

/* Other servers than ours answer a check only when a worker is free: as long as they answer
 * requests, or have some of ours and did not long ago, they are busy. */
static int is_busy(const prober *of, const target *at, uint64_t now)
{
    uint64_t answered = atomic_load(&at->record->answered);
    uint64_t patience = BUSY_TIMES * (uint64_t)apr_time_as_msec(at->pool->check.timeout);
    if (at->stage != ASKED || at->server->type == FPMP_TYPE_FPMPOOL) {
        return 0;
    }
    return answered >= at->began ||
           (now < answered + patience && fpmp_share_sum(of->share, at->record->in_flight) > 0);
}

static void expire(prober *of, target *at, uint64_t now)
{
    if (is_busy(of, at, now)) {
        finish(of, at, now);
    } else {
        tell(of, at, 0,
             at->stage == ASKED ? "no answer to a check in time" : "no connection for a check");
    }
}

/* ---- all of them ----------------------------------------------------------------------------- */

static uint64_t deadline_of(const target *at)
{
    return at->stage == WAITING ? at->due
                                : at->began + (uint64_t)apr_time_as_msec(at->pool->check.timeout);
}

/* Returns 0 when the thread shall end. */
static int begin_due(prober *of, uint64_t now)
{
    for (int i = 0; i < of->count && !of->must_end; i++) {
        target *at = &of->targets[i];
        if (now < deadline_of(at)) {
            continue;
        }
        if (at->stage == WAITING) {
            start(of, at, now);
        } else {
            expire(of, at, now);
        }
    }
    return !of->must_end;
}

static void drop_all(prober *of, uint64_t now)
{
    for (int i = 0; i < of->count; i++) {
        if (of->targets[i].stage != WAITING) {
            finish(of, &of->targets[i], now);
        }
    }
}

/* Sleeps until a check needs something, or until `end`. Returns 0 when the thread shall end. */
static int await(prober *of, uint64_t now, uint64_t end)
{
    for (int i = 0; i < of->count; i++) {
        const target *at = &of->targets[i];
        of->polled[i].fd = at->fd;
        of->polled[i].events = at->stage == CONNECTING ? POLLOUT : POLLIN;
        of->polled[i].revents = 0;
        end = deadline_of(at) < end ? deadline_of(at) : end;
    }
    of->polled[of->count] = (struct pollfd){.fd = of->wake, .events = POLLIN};
    int wait = end > now ? (int)(end - now) : 0;
    if (poll(of->polled, (nfds_t)of->count + 1, wait) <= 0) {
        return !of->must_end;
    }
    for (int i = 0; i < of->count; i++) {
        target *at = &of->targets[i];
        if (of->polled[i].revents && at->stage == CONNECTING) {
            take_connection(of, at);
        } else if (of->polled[i].revents && at->stage == ASKED) {
            take_answer(of, at);
        }
    }
    return !of->must_end;
}

static int sleep_until(prober *of, uint64_t now, uint64_t end)
{
    struct pollfd polled = {.fd = of->wake, .events = POLLIN};
    uint64_t time = end > now ? end - now : 0;
    (void)poll(&polled, 1, (int)(time < ASLEEP_MOST ? time : ASLEEP_MOST));
    return !of->must_end;
}

static void signal_event(int event)
{
    uint64_t one = 1;
    (void)!write(event, &one, sizeof(one)); /* can fail only when it is readable already */
}

static void *run(void *data)
{
    prober *of = data;
    int goes_on = 1;
    while (goes_on && fpmp_share_generation(of->share) == of->generation) {
        uint64_t now = now_ms();
        uint64_t until = now + of->lease;
        if (fpmp_share_lease(of->share, of->child, now, &until)) {
            goes_on = begin_due(of, now) && await(of, now, now + of->lease / 3);
        } else {
            drop_all(of, now);
            goes_on = sleep_until(of, now, until + jitter(of, 50));
        }
    }
    if (goes_on) { /* children of a newer configuration check now */
        drop_all(of, now_ms());
        fpmp_share_end_lease(of->share, of->child);
    }
    signal_event(of->ended);
    return NULL;
}

/* ---- start and end --------------------------------------------------------------------------- */

/* prefork runs this in a handler of SIGTERM, hence poll. */
static apr_status_t stop(void *data)
{
    prober *of = data;
    struct pollfd ended = {.fd = of->ended, .events = POLLIN};
    apr_time_t end = fpmp_clock_now() + apr_time_from_msec(WAIT_MOST);
    apr_interval_time_t left = 0;
    of->must_end = 1;
    signal_event(of->wake);
    do {
        left = end - fpmp_clock_now();
    } while (left > 0 && poll(&ended, 1, (int)apr_time_as_msec(left)) < 0 && errno == EINTR);
    if (ended.revents & POLLIN) {
        pthread_join(of->thread, NULL);
    }
    fpmp_share_end_lease(of->share, of->child);
    return APR_SUCCESS;
}

/* From now on this process never unmaps this module: a thread that is left behind returns to it.
 * Only in a child, or with -X: neither loads another configuration. */
static void pin_module(void)
{
    static const char here = 0;
    Dl_info self;
    if (dladdr(&here, &self) && self.dli_fname) {
        (void)dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
    }
}

static void add_targets(prober *of, const fpmp_global *global, const fpmp_pool *pool)
{
    uint64_t lease = (uint64_t)apr_time_as_msec(pool->check.interval) * 3 / 2;
    lease = lease > LEASE_LEAST ? lease : LEASE_LEAST;
    of->lease = !of->lease || lease < of->lease ? lease : of->lease;
    for (int i = 0; i < pool->server_count; i++) {
        target *at = &of->targets[of->count++];
        at->pool = pool;
        at->server = &pool->servers[i];
        at->record = global->records->servers[at->server->index];
        at->fd = -1;
        at->due = now_ms() + jitter(of, (uint64_t)apr_time_as_msec(pool->check.fast));
    }
}

/* Signals are for the threads that httpd made for them. */
static int create_thread(prober *of)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&of->thread, NULL, run, of);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static int begin(prober *of)
{
    of->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    of->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (of->wake < 0 || of->ended < 0) {
        return errno;
    }
    pin_module();
    return create_thread(of);
}

static void discard(prober *of)
{
    if (of->wake >= 0) {
        close(of->wake);
    }
    if (of->ended >= 0) {
        close(of->ended);
    }
    free(of->targets);
    free(of->polled);
    free(of);
}

apr_status_t fpmp_probe_start(const fpmp_global *global, server_rec *main, apr_pool_t *child)
{
    prober *of = calloc(1, sizeof(*of));
    size_t most = (size_t)global->server_count;
    if (!of) {
        return ENOMEM;
    }
    of->main = main;
    of->share = global->share;
    of->generation = fpmp_share_generation(global->share);
    of->child = getpid();
    of->random = (uint32_t)of->child;
    of->targets = calloc(most + 1, sizeof(*of->targets));
    of->polled = calloc(most + 1, sizeof(*of->polled));
    of->wake = of->ended = -1;
    for (apr_hash_index_t *at = apr_hash_first(child, global->pools); at && of->targets;
         at = apr_hash_next(at)) {
        const fpmp_pool *pool = apr_hash_this_val(at);
        if (pool->check.kind != FPMP_CHECK_OFF) {
            add_targets(of, global, pool);
        }
    }
    int error = of->targets && of->polled ? 0 : ENOMEM;
    if (!error && of->count) {
        error = begin(of);
    }
    if (error || !of->count) {
        discard(of);
        return error;
    }
    apr_pool_pre_cleanup_register(child, of, stop);
    return APR_SUCCESS;
}
