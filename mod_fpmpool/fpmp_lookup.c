/* fpmp_lookup.c - host names of servers are looked up again and again.
 *
 * Runs in a thread of its own in each child; who has the lease works. A name server that does not
 * answer holds up nothing but other names. Owns memory that is never freed, and the module stays
 * mapped: the process may end while getaddrinfo waits, and must not wait for it. Behind must_end
 * nothing else is touched. Must not touch the child's APR pools.
 */
#include "fpmp_lookup.h"

#include "fpmp_clock.h"
#include "fpmp_hosts.h"

#include <http_log.h>
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

APLOG_USE_MODULE(fpmpool);

#define LEASE_LEAST 1000 /* ms */
#define SLEEP_MOST  60000
#define RETRY_MOST  2000 /* ms to the next look at a name that was not found */
#define WAIT_STEP   20
#define WAIT_MOST   50 /* steps that the end of a child waits for the thread */

typedef struct target {
    const fpmp_pool *pool;
    const fpmp_server *server;
    char *host; /* a copy: the configuration may be gone when the look-up ends */
    int error;  /* of the last one */
} target;

typedef struct finder {
    server_rec *main;
    fpmp_hosts *names;
    pid_t child;
    int wake; /* eventfd: readable when the thread shall end */
    _Atomic(int) must_end;
    _Atomic(int) is_looking;
    _Atomic(int) has_ended;
    uint64_t lease;
    int count;
    target targets[];
} finder;

static uint64_t now_ms(void)
{
    return (uint64_t)fpmp_clock_now() / 1000;
}

/* ---- one name -------------------------------------------------------------------------------- */

static void collect(const struct addrinfo *list, fpmp_addresses *found)
{
    found->count = 0;
    for (; list && found->count < FPMP_ADDRESSES_MAX; list = list->ai_next) {
        if (list->ai_addrlen <= sizeof(found->sockets[0]) &&
            (list->ai_family == AF_INET || list->ai_family == AF_INET6)) {
            memset(&found->sockets[found->count], 0, sizeof(found->sockets[0]));
            memcpy(&found->sockets[found->count++], list->ai_addr, list->ai_addrlen);
        }
    }
}

static void describe(const fpmp_addresses *found, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < found->count && used + INET6_ADDRSTRLEN + 3 < size; i++) {
        const fpmp_socket *at = &found->sockets[i];
        const void *bytes = at->any.sa_family == AF_INET6 ? (const void *)&at->six.sin6_addr
                                                          : (const void *)&at->four.sin_addr;
        if (i) {
            memcpy(text + used, ", ", 3);
            used += 2;
        }
        inet_ntop(at->any.sa_family, bytes, text + used, INET6_ADDRSTRLEN);
        used += strlen(text + used);
    }
}

static void take(finder *of, target *at, fpmp_addresses *found)
{
    char text[512];
    int is_first = !fpmp_hosts_version(of->names, at->server);
    if (fpmp_hosts_publish(of->names, at->server, found)) {
        describe(found, text, sizeof(text));
        ap_log_error(APLOG_MARK, is_first ? APLOG_INFO : APLOG_NOTICE, 0, of->main,
                     "FPMP0122: pool %s: the addresses of %s are %s%s", at->pool->name,
                     at->server->address.label, is_first ? "" : "now ", text);
    }
}

/* What is known stays: a name server that has failed is no reason to stop. */
static void complain(finder *of, const target *at, int error)
{
    if (error != at->error) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, of->main,
                     "FPMP0123: pool %s: the host of %s cannot be looked up (%s); the addresses "
                     "that were known stay: look at the name and its name server",
                     at->pool->name, at->server->address.label, gai_strerror(error));
    }
}

/* Returns 0 when the thread shall end. */
static int look_up(finder *of, target *at)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    fpmp_addresses found;
    of->is_looking = 1;
    if (of->must_end) {
        return 0;
    }
    int error = getaddrinfo(at->host, NULL, &hints, &list);
    of->is_looking = 0;
    if (of->must_end) {
        return 0; /* the list is left to the end of the process */
    }
    collect(list, &found);
    if (list) {
        freeaddrinfo(list);
    }
    error = error || found.count ? error : EAI_NONAME;
    if (error) {
        complain(of, at, error);
    } else {
        take(of, at, &found);
    }
    at->error = error;
    fpmp_hosts_note_look(of->names, at->server, now_ms());
    return 1;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static uint64_t due_of(const finder *of, const target *at)
{
    uint64_t looked = fpmp_hosts_looked(of->names, at->server);
    uint64_t pause = at->server->resolve;
    if (at->error && pause > RETRY_MOST) {
        pause = RETRY_MOST;
    }
    return looked ? looked + pause : 0;
}

/* The names that are due. *next becomes when the next one is. Returns 0 when the thread shall end.
 */
static int look_up_due(finder *of, uint64_t *next)
{
    for (int i = 0; i < of->count; i++) {
        if (due_of(of, &of->targets[i]) <= now_ms() && !look_up(of, &of->targets[i])) {
            return 0;
        }
        uint64_t due = due_of(of, &of->targets[i]);
        *next = due < *next ? due : *next;
    }
    return !of->must_end;
}

static int sleep_until(finder *of, uint64_t end)
{
    struct pollfd polled = {.fd = of->wake, .events = POLLIN};
    uint64_t now = now_ms();
    uint64_t time = end > now ? end - now : 0;
    (void)poll(&polled, 1, (int)(time < SLEEP_MOST ? time : SLEEP_MOST));
    return !of->must_end;
}

static void *run(void *data)
{
    finder *of = data;
    int goes_on = 1;
    while (goes_on) {
        uint64_t now = now_ms();
        uint64_t until = now + of->lease;
        if (fpmp_hosts_lease(of->names, of->child, now, &until)) {
            uint64_t next = now + of->lease / 3;
            goes_on = look_up_due(of, &next) && sleep_until(of, next);
        } else {
            goes_on = sleep_until(of, until + 20 + (uint64_t)of->child % 50);
        }
    }
    of->has_ended = 1;
    return NULL;
}

/* ---- start and end --------------------------------------------------------------------------- */

static void wake(const finder *of)
{
    uint64_t one = 1;
    (void)!write(of->wake, &one, sizeof(one)); /* can fail only when it is readable already */
}

/* prefork runs this in a handler of SIGTERM, hence poll. */
static apr_status_t stop(void *data)
{
    finder *of = data;
    of->must_end = 1;
    wake(of);
    for (int i = 0; i < WAIT_MOST && !of->has_ended && !of->is_looking; i++) {
        (void)poll(NULL, 0, WAIT_STEP);
    }
    fpmp_hosts_end_lease(of->names, of->child);
    return APR_SUCCESS;
}

void fpmp_lookup_pin_module(void)
{
    static const char here = 0;
    Dl_info self;
    if (dladdr(&here, &self) && self.dli_fname) {
        (void)dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
    }
}

/* Signals are for the threads that httpd made for them. */
static int create_thread(finder *of)
{
    sigset_t all;
    sigset_t before;
    pthread_t thread;
    sigfillset(&all);
    fpmp_lookup_pin_module();
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, NULL, run, of);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!error) {
        pthread_detach(thread);
    }
    return error;
}

static void add_targets(finder *of, const fpmp_pool *pool)
{
    for (int i = 0; i < pool->server_count; i++) {
        const fpmp_server *server = &pool->servers[i];
        char *host = server->name_place ? strdup(server->address.host) : NULL;
        if (host) {
            of->targets[of->count++] = (target){pool, server, host, 0};
            uint64_t lease = server->resolve * 3 / 2;
            lease = lease > LEASE_LEAST ? lease : LEASE_LEAST;
            of->lease = !of->lease || lease < of->lease ? lease : of->lease;
        }
    }
}

apr_status_t fpmp_lookup_start(const fpmp_global *global, server_rec *main, apr_pool_t *child)
{
    if (!global->hosts) {
        return APR_SUCCESS;
    }
    finder *of = calloc(1, sizeof(*of) + (size_t)global->name_count * sizeof(target));
    if (!of) {
        return ENOMEM;
    }
    of->main = main;
    of->names = global->hosts;
    of->child = getpid();
    of->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (apr_hash_index_t *at = apr_hash_first(child, global->pools); at; at = apr_hash_next(at)) {
        add_targets(of, apr_hash_this_val(at));
    }
    int error = of->wake < 0 ? errno : create_thread(of);
    if (!error) {
        apr_pool_pre_cleanup_register(child, of, stop);
    }
    return error;
}
