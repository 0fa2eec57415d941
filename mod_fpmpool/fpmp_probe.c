/* fpmp_probe.c - active checks: one thread of one httpd child asks all servers in turn.
 *
 * Runs in a thread of its own in each child; who has the lease works. All checks are under way at
 * once in one poll loop, so that a silent server holds up no other. A thread rather than
 * mod_watchdog, which would wake up in each child ten times a second and may not be loaded. The
 * child waits for its end, but not for ever: one that is left behind may go on when all pools and
 * the shared memory are gone, and then touches its own memory only, which is never freed. Names are
 * looked up elsewhere (fpmp_lookup). Must not touch the child's APR pools.
 */
#include "fpmp_probe.h"

#include "fpmp_check.h"
#include "fpmp_clock.h"
#include "fpmp_conn.h"
#include "fpmp_expect.h"
#include "fpmp_failure.h"
#include "fpmp_health.h"
#include "fpmp_lookup.h"
#include "fpmp_hosts.h"
#include "fpmp_share.h"

#include <http_log.h>
#include <apr_strings.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

APLOG_USE_MODULE(fpmpool);

#define LEASE_LEAST 100 /* ms */
#define REASON_MOST 400
#define ASLEEP_MOST 60000
#define BUSY_TIMES  10   /* time limits of checks without an answer to any request */
#define WAIT_MOST   1000 /* ms that the end of a child waits for the thread */

typedef enum stage { WAITING, CONNECTING, ASKED } stage;

/* A server and one of its checks. Times are milliseconds of fpmp_health_time. */
typedef struct target {
    const fpmp_pool *pool;
    const fpmp_server *server;
    fpmp_record *record;
    const fpmp_check *check;
    int place; /* of the check in its pool */
    fpmp_check_talk talk;
    fpmp_check_talk ping; /* of a script: is its server dead, or too busy to begin? */
    int asks_pulse;       /* that is what runs now */
    stage stage;
    int fd;
    uint64_t due; /* the next check */
    uint64_t began;
    uint64_t asked;           /* this connection */
    fpmp_addresses addresses; /* of a server that is a name */
    int tried;                /* which of them */
    char reason[REASON_MOST];
} target;

typedef struct prober {
    server_rec *main;
    fpmp_share *share;
    const fpmp_hosts *names;
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
    fpmp_health word = atomic_load(&at->record->health);
    apr_interval_time_t pause = at->check->interval;
    if (fpmp_health_is_changing(word, at->place)) {
        pause = at->check->fast;
    } else if (fpmp_health_state_of(word) != FPMP_HEALTH_UP) {
        pause = at->check->down;
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
    at->asks_pulse = 0;
    schedule(of, at, now);
}

/* Busy is not dead. */
static void leave_busy(prober *of, target *at, const char *reason)
{
    fpmp_failure_log_busy(of->main, at->pool, at->server, reason);
    finish(of, at, now_ms());
}

static void tell(prober *of, target *at, int is_good, const char *reason)
{
    uint64_t now = now_ms();
    if (is_good && at->asks_pulse) {
        leave_busy(of, at, "the check waits for a worker");
        return;
    }
    fpmp_health_change change =
        fpmp_health_report(&at->record->health, fpmp_health_checked(at->place, is_good),
                           &at->pool->health, at->began, now);
    if (!is_good) {
        fpmp_trouble_note(&at->record->trouble, reason, now);
    }
    if (change == FPMP_HEALTH_WENT_DOWN || change == FPMP_HEALTH_CAME_UP) {
        atomic_store(&at->record->changed, now);
    }
    if (change == FPMP_HEALTH_WENT_DOWN) {
        fpmp_failure_log_down(of->main, at->pool, at->server, reason);
    } else if (change == FPMP_HEALTH_CAME_UP) {
        (void)fpmp_share_calm(&at->record->failure);
        fpmp_share_note_rise(at->record, fpmp_clock_now());
        fpmp_failure_log_up(of->main, at->pool, at->server, at->pool->health.rise[at->place]);
    }
    finish(of, at, now);
}

static fpmp_check_talk *talk_of(target *at)
{
    return at->asks_pulse ? &at->ping : &at->talk;
}

static void ask(prober *of, target *at)
{
    fpmp_check_talk *talk = talk_of(at);
    if (at->check->kind == FPMP_CHECK_CONNECT) {
        tell(of, at, 1, NULL);
        return;
    }
    fpmp_check_begin(talk);
    if (send(at->fd, talk->question, talk->question_length, MSG_DONTWAIT | MSG_NOSIGNAL) !=
        (ssize_t)talk->question_length) {
        tell(of, at, 0, fpmp_check_reason(FPMP_CHECK_CLOSED));
        return;
    }
    at->stage = ASKED;
}

static int open_socket(const target *at, const struct sockaddr **name, socklen_t *length)
{
    const fpmp_socket *to = &at->addresses.sockets[at->tried];
    *name = &to->any;
    *length = to->any.sa_family == AF_INET6 ? sizeof(to->six) : sizeof(to->four);
    if (at->server->address.path) {
        *name = (const struct sockaddr *)&at->server->address.socket;
        *length = at->server->address.socket_length;
    }
    return socket((*name)->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* The address that is tried does not take the connection. Returns 1 if there is another one. */
static int try_next(target *at)
{
    if (at->fd >= 0) {
        close(at->fd);
        at->fd = -1;
    }
    at->tried++;
    return at->tried < at->addresses.count;
}

/* A server is well if one of its addresses is. */
static void connect_by(prober *of, target *at, const struct sockaddr_un *pinned)
{
    const struct sockaddr *name = NULL;
    socklen_t length = 0;
    do {
        at->asked = now_ms();
        at->fd = open_socket(at, &name, &length);
        if (at->fd < 0) {
            finish(of, at, at->asked); /* a lack of this process says nothing of the server */
            return;
        }
        if (pinned) {
            name = (const struct sockaddr *)pinned;
            length = sizeof(*pinned);
        }
        at->stage = CONNECTING;
        if (connect(at->fd, name, length) == 0) {
            ask(of, at);
            return;
        }
        if (errno == EAGAIN) {
            leave_busy(of, at, "its listen queue is full");
            return;
        }
        if (errno == EINPROGRESS) {
            return;
        }
    } while (try_next(at));
    tell(of, at, 0, "no connection for a check");
}

static void connect_to(prober *of, target *at)
{
    struct sockaddr_un pinned;
    int pin = -1;
    apr_status_t error = fpmp_conn_pin(at->server, &pinned, &pin);
    if (error == EMFILE || error == ENFILE || error == ENOMEM) {
        finish(of, at, now_ms());
        return;
    }
    if (error != APR_SUCCESS) {
        tell(of, at, 0, "its socket is not there, or does not belong to its user=");
        return;
    }
    connect_by(of, at, pin >= 0 ? &pinned : NULL);
    if (pin >= 0) {
        close(pin);
    }
}

static void start(prober *of, target *at)
{
    at->tried = 0;
    at->addresses.count = 0;
    if (!at->server->address.path) {
        fpmp_hosts_get(of->names, at->server, &at->addresses);
    }
    if (at->server->address.path || at->addresses.count) {
        connect_to(of, at);
    } else {
        tell(of, at, 0, "its host is not known");
    }
}

static void take_connection(prober *of, target *at)
{
    int error = 0;
    socklen_t length = sizeof(error);
    if (!getsockopt(at->fd, SOL_SOCKET, SO_ERROR, &error, &length) && !error) {
        ask(of, at);
    } else if (try_next(at)) {
        connect_to(of, at);
    } else {
        tell(of, at, 0, "no connection for a check");
    }
}

/* A script's answer is there: is it the one that was expected? */
static void judge(prober *of, target *at)
{
    const fpmp_check_talk *talk = &at->talk;
    const fpmp_expect_answer answer = {.status = talk->status,
                                       .header = talk->answer,
                                       .header_length = talk->header_length,
                                       .body = talk->answer + talk->header_length,
                                       .body_length = talk->answer_length - talk->header_length};
    const fpmp_expect *expectation = at->check->expectation;
    int is_good = expectation ? fpmp_expect_is_met(expectation, of->main, &answer)
                              : talk->status >= 200 && talk->status < 400;
    apr_snprintf(at->reason, sizeof(at->reason),
                 "the script %s of its check answers with status %d%s", at->check->script,
                 talk->status, expectation ? ", and not as expected" : "");
    tell(of, at, is_good, at->reason);
}

static void take_answer(prober *of, target *at)
{
    uint8_t bytes[4096];
    ssize_t got = recv(at->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    fpmp_check_word word = fpmp_check_take(talk_of(at), bytes, got > 0 ? (size_t)got : 0);
    if (word == FPMP_CHECK_BUSY) {
        leave_busy(of, at, "it refuses the check's request (OVERLOADED)");
    } else if (word == FPMP_CHECK_GOOD && talk_of(at)->is_script) {
        judge(of, at);
    } else if (word != FPMP_CHECK_MORE) {
        tell(of, at, word == FPMP_CHECK_GOOD, fpmp_check_reason(word));
    }
}

/* Does it answer requests, or has it some of ours and did not long ago? Then it is busy, as far as
 * it needs a worker for the check. */
static int is_busy(const prober *of, const target *at, uint64_t now)
{
    uint64_t answered = atomic_load(&at->record->answered);
    uint64_t patience = BUSY_TIMES * (uint64_t)apr_time_as_msec(at->check->timeout);
    if (at->asks_pulse || at->talk.has_started ||
        (at->check->kind != FPMP_CHECK_SCRIPT && at->server->type == FPMP_TYPE_FPMPOOL)) {
        return 0;
    }
    return answered >= at->began ||
           (now < answered + patience && fpmp_share_sum(of->share, at->record->in_flight) > 0);
}

static void expire(prober *of, target *at, uint64_t now)
{
    int is_waiting = at->stage == ASKED;
    if (is_waiting && is_busy(of, at, now)) {
        leave_busy(of, at, "no answer to the check, but to requests");
    } else if (is_waiting && at->talk.is_script && !at->talk.has_started && !at->asks_pulse &&
               at->server->type == FPMP_TYPE_FPMPOOL) {
        /* Our daemon has not begun the script: no worker is free, or nobody is there. It answers a
         * ping without a worker. */
        close(at->fd);
        at->fd = -1;
        at->asks_pulse = 1;
        start(of, at);
    } else if (is_waiting && at->talk.is_script && at->talk.has_started) {
        apr_snprintf(at->reason, sizeof(at->reason),
                     "the script %s of its check does not end in time", at->check->script);
        tell(of, at, 0, at->reason);
    } else if (!is_waiting && try_next(at)) {
        connect_to(of, at);
    } else {
        tell(of, at, 0, is_waiting ? "no answer to a check in time" : "no connection for a check");
    }
}

/* ---- all of them ----------------------------------------------------------------------------- */

static uint64_t deadline_of(const target *at)
{
    return at->stage == WAITING ? at->due
                                : at->asked + (uint64_t)apr_time_as_msec(at->check->timeout);
}

/* Returns 0 when the thread shall end. */
static int begin_due(prober *of, uint64_t now)
{
    for (int i = 0; i < of->count && !of->must_end; i++) {
        target *at = &of->targets[i];
        if (now < deadline_of(at)) {
            continue;
        }
        if (fpmp_admin_mode_of(atomic_load(&at->record->admin)) == FPMP_ADMIN_DOWN) {
            finish(of, at, now);
        } else if (at->stage == WAITING) {
            at->began = now;
            start(of, at);
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

/* Returns 0 if there is no memory. */
static int add_target(prober *of, const fpmp_global *global, const fpmp_pool *pool,
                      const fpmp_server *server, int place)
{
    static const fpmp_check ping = {.kind = FPMP_CHECK_PING};
    target *at = &of->targets[of->count++];
    at->pool = pool;
    at->server = server;
    at->record = global->records->servers[server->index];
    at->check = &pool->checks[place];
    at->place = place;
    at->fd = -1;
    at->due = now_ms() + jitter(of, (uint64_t)apr_time_as_msec(at->check->fast));
    return fpmp_check_prepare(&at->talk, at->check, server->type) &&
           (!at->talk.is_script || fpmp_check_prepare(&at->ping, &ping, server->type));
}

static int add_targets(prober *of, const fpmp_global *global, const fpmp_pool *pool)
{
    int is_good = 1;
    for (int place = 0; place < pool->health.check_count; place++) {
        uint64_t lease = (uint64_t)apr_time_as_msec(pool->checks[place].interval) * 3 / 2;
        lease = lease > LEASE_LEAST ? lease : LEASE_LEAST;
        of->lease = !of->lease || lease < of->lease ? lease : of->lease;
        for (int i = 0; is_good && i < pool->server_count; i++) {
            is_good = add_target(of, global, pool, &pool->servers[i], place);
        }
    }
    return is_good;
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
    fpmp_lookup_pin_module();
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
    size_t most = (size_t)global->server_count * FPMP_CHECKS_MAX;
    int is_good = 1;
    if (!of) {
        return ENOMEM;
    }
    of->main = main;
    of->share = global->share;
    of->names = global->hosts;
    of->generation = fpmp_share_generation(global->share);
    of->child = getpid();
    of->random = (uint32_t)of->child;
    of->targets = calloc(most + 1, sizeof(*of->targets));
    of->polled = calloc(most + 1, sizeof(*of->polled));
    of->wake = of->ended = -1;
    for (apr_hash_index_t *at = apr_hash_first(child, global->pools); at && of->targets;
         at = apr_hash_next(at)) {
        const fpmp_pool *pool = apr_hash_this_val(at);
        is_good &= of->polled && add_targets(of, global, pool);
    }
    int error = of->targets && of->polled && is_good ? 0 : ENOMEM;
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
