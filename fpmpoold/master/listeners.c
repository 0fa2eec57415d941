/* listeners.c - spare listening sockets by address, and those that a service manager bound.
 *
 * Runs in the master. A socket is spare only while a reload is applied, within one turn of the
 * loop.
 */
#include "master/listeners.h"

#include <unistd.h>

#include "apr_hash.h"
#include "apr_strings.h"
#include "base/log.h"
#include "base/loop.h"
#include "master/listen.h"

#define LIVE_SOCKET_PATIENCE 5000000 /* microseconds */

typedef struct spare {
    const char *address;
    int fd;
} spare;

/* A socket of the service manager's, open as long as the daemon is. */
typedef struct inherited {
    int fd; /* -1: closed, nobody wanted it */
    int is_taken;
} inherited;

struct fpd_listeners {
    apr_pool_t *parent;
    inherited *inherited;
    int inherited_count;
    apr_pool_t *pool;   /* of the spares; NULL: there are none */
    apr_hash_t *spares; /* address -> spare */
    int64_t patient_until;
};

fpd_listeners *fpd_listeners_create(apr_pool_t *pool)
{
    fpd_listeners *listeners = apr_pcalloc(pool, sizeof(*listeners));

    listeners->parent = pool;
    listeners->patient_until = fpd_monotonic_now() + LIVE_SOCKET_PATIENCE;
    return listeners;
}

void fpd_listeners_never_wait(fpd_listeners *listeners)
{
    listeners->patient_until = 0;
}

/* ---- inherited ---------------------------------------------------------------------------- */

void fpd_listeners_inherit(fpd_listeners *listeners, const fpd_activation *activation)
{
    listeners->inherited_count = activation->count;
    listeners->inherited =
        apr_pcalloc(listeners->parent, sizeof(inherited) * (size_t)(activation->count + 1));
    for (int i = 0; i < activation->count; i++) {
        listeners->inherited[i].fd = activation->first + i;
    }
}

void fpd_listeners_save(const fpd_listeners *listeners, fpd_state *state)
{
    for (int i = 0; i < listeners->inherited_count; i++) {
        fpd_state_socket *saved = fpd_state_add_socket(state);
        saved->fd = listeners->inherited[i].fd;
        saved->is_taken = listeners->inherited[i].is_taken;
    }
}

void fpd_listeners_resume(fpd_listeners *listeners, const fpd_state *state)
{
    listeners->inherited_count = state->sockets->nelts;
    listeners->inherited =
        apr_pcalloc(listeners->parent, sizeof(inherited) * (size_t)(state->sockets->nelts + 1));
    for (int i = 0; i < state->sockets->nelts; i++) {
        const fpd_state_socket *saved = &APR_ARRAY_IDX(state->sockets, i, fpd_state_socket);
        listeners->inherited[i].fd = saved->fd;
        listeners->inherited[i].is_taken = saved->is_taken;
    }
}

static inherited *find_inherited(const fpd_listeners *listeners, int fd)
{
    for (int i = 0; i < listeners->inherited_count; i++) {
        if (listeners->inherited[i].fd == fd) {
            return &listeners->inherited[i];
        }
    }
    return NULL;
}

static inherited *match_inherited(const fpd_listeners *listeners, const char *address,
                                  apr_pool_t *scratch)
{
    for (int i = 0; i < listeners->inherited_count; i++) {
        inherited *candidate = &listeners->inherited[i];
        if (candidate->fd >= 0 && !candidate->is_taken &&
            fpd_activation_matches(candidate->fd, address, scratch)) {
            return candidate;
        }
    }
    return NULL;
}

void fpd_listeners_close_unclaimed(fpd_listeners *listeners)
{
    for (int i = 0; i < listeners->inherited_count; i++) {
        inherited *left = &listeners->inherited[i];
        char address[FPD_ACTIVATION_NAME];
        if (left->is_taken) {
            continue;
        }
        fpd_activation_name(left->fd, address);
        fpd_log(FPD_LOG_WARNING,
                "the service manager handed over a socket at '%s', but no pool has it as its "
                "'listen', or it is none for accepting: closed; change a pool or the .socket unit",
                address);
        close(left->fd);
        left->fd = -1;
    }
}

void fpd_listeners_adjust(const fpd_listeners *listeners, int fd, const fpd_plan_pool *plan)
{
    if (find_inherited(listeners, fd) == NULL) {
        (void)fpd_listen_adjust(fd, plan); /* logs what it could not do */
    }
}

/* ---- all ---------------------------------------------------------------------------------- */

apr_status_t fpd_listeners_open(fpd_listeners *listeners, int *fd, const fpd_plan_pool *plan,
                                apr_pool_t *scratch)
{
    spare *found = listeners->pool != NULL
                       ? apr_hash_get(listeners->spares, plan->listen, APR_HASH_KEY_STRING)
                       : NULL;

    inherited *passed = found == NULL ? match_inherited(listeners, plan->listen, scratch) : NULL;

    if (passed != NULL) {
        passed->is_taken = 1;
        *fd = passed->fd;
        return APR_SUCCESS;
    }
    if (found == NULL) {
        return fpd_listen_open(fd, plan, listeners->patient_until, scratch);
    }
    apr_hash_set(listeners->spares, plan->listen, APR_HASH_KEY_STRING, NULL);
    *fd = found->fd;
    fpd_listeners_adjust(listeners, *fd, plan);
    return APR_SUCCESS;
}

void fpd_listeners_spare(fpd_listeners *listeners, const char *address, int fd)
{
    inherited *passed = find_inherited(listeners, fd);
    spare *added;

    if (passed != NULL) {
        passed->is_taken = 0;
        return;
    }
    if (listeners->pool == NULL) {
        if (apr_pool_create(&listeners->pool, listeners->parent) != APR_SUCCESS) {
            listeners->pool = NULL;
            close(fd);
            fpd_listen_unlink(address);
            return;
        }
        listeners->spares = apr_hash_make(listeners->pool);
    }
    added = apr_palloc(listeners->pool, sizeof(*added));
    added->address = apr_pstrdup(listeners->pool, address);
    added->fd = fd;
    apr_hash_set(listeners->spares, added->address, APR_HASH_KEY_STRING, added);
}

void fpd_listeners_close_spares(fpd_listeners *listeners)
{
    if (listeners->pool == NULL) {
        return;
    }
    for (apr_hash_index_t *i = apr_hash_first(listeners->pool, listeners->spares); i != NULL;
         i = apr_hash_next(i)) {
        spare *left = apr_hash_this_val(i);
        close(left->fd);
        fpd_listen_unlink(left->address);
    }
    apr_pool_destroy(listeners->pool);
    listeners->pool = NULL;
}
