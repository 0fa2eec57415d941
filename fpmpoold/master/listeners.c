/* listeners.c - spare listening sockets by address.
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

struct fpd_listeners {
    apr_pool_t *parent;
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

apr_status_t fpd_listeners_open(fpd_listeners *listeners, int *fd, const fpd_plan_pool *plan,
                                apr_pool_t *scratch)
{
    spare *found = listeners->pool != NULL
                       ? apr_hash_get(listeners->spares, plan->listen, APR_HASH_KEY_STRING)
                       : NULL;

    if (found == NULL) {
        return fpd_listen_open(fd, plan, listeners->patient_until, scratch);
    }
    apr_hash_set(listeners->spares, plan->listen, APR_HASH_KEY_STRING, NULL);
    *fd = found->fd;
    (void)fpd_listen_adjust(*fd, plan); /* logs what it could not do */
    return APR_SUCCESS;
}

void fpd_listeners_spare(fpd_listeners *listeners, const char *address, int fd)
{
    spare *added;

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
