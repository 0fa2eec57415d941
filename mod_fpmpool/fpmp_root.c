/* fpmp_root.c - document roots with their symbolic links resolved.
 *
 * Owns the table of one httpd child. Runs in any thread of the child, for each request. Pure but
 * for looking at the file system; must not log and must not know requests.
 */
#include "fpmp_root.h"
#include "fpmp_clock.h"

#include <apr_hash.h>
#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ROOTS_MOST 1024
/* The same directory may have another path meanwhile, when one above it was renamed. */
#define TRUST_MOST apr_time_from_sec(2)

typedef struct entry {
    dev_t device;
    ino_t inode;
    struct timespec changed;
    apr_time_t seen;
    const char *resolved; /* the path itself, if it has no links */
} entry;

struct fpmp_roots {
    apr_pool_t *pool; /* of the entries; cleared as a whole */
    apr_thread_mutex_t *lock;
    apr_hash_t *entries;
    int added; /* texts that lie in the pool */
};

/* Not in memory of the child's pool: an HTTP/2 worker may still run a request when that is gone. */
apr_status_t fpmp_root_create(fpmp_roots **result, int is_threaded)
{
    apr_pool_t *pool = NULL;
    apr_status_t status = apr_pool_create_unmanaged_ex(&pool, NULL, NULL);
    if (status != APR_SUCCESS) {
        return status;
    }
    fpmp_roots *roots = apr_pcalloc(pool, sizeof(*roots));
    status = apr_pool_create(&roots->pool, pool);
    if (status == APR_SUCCESS && is_threaded) {
        status = apr_thread_mutex_create(&roots->lock, APR_THREAD_MUTEX_DEFAULT, pool);
    }
    if (status != APR_SUCCESS) {
        apr_pool_destroy(pool);
        return status;
    }
    roots->entries = apr_hash_make(roots->pool);
    *result = roots;
    return APR_SUCCESS;
}

static void lock_table(fpmp_roots *roots)
{
    if (roots->lock) {
        apr_thread_mutex_lock(roots->lock);
    }
}

static void unlock_table(fpmp_roots *roots)
{
    if (roots->lock) {
        apr_thread_mutex_unlock(roots->lock);
    }
}

static int is_current(const entry *known, const struct stat *found, apr_time_t now)
{
    return known && known->device == found->st_dev && known->inode == found->st_ino &&
           known->changed.tv_sec == found->st_ctim.tv_sec &&
           known->changed.tv_nsec == found->st_ctim.tv_nsec && now - known->seen < TRUST_MOST;
}

/* Call with the lock held. */
static void remember(fpmp_roots *roots, const char *path, const char *resolved,
                     const struct stat *found, apr_time_t now)
{
    if (roots->added >= ROOTS_MOST) {
        apr_pool_clear(roots->pool);
        roots->entries = apr_hash_make(roots->pool);
        roots->added = 0;
    }
    entry *known = apr_hash_get(roots->entries, path, APR_HASH_KEY_STRING);
    if (!known) {
        known = apr_pcalloc(roots->pool, sizeof(*known));
        apr_hash_set(roots->entries, apr_pstrdup(roots->pool, path), APR_HASH_KEY_STRING, known);
    }
    if (!known->resolved || strcmp(known->resolved, resolved)) {
        known->resolved = apr_pstrdup(roots->pool, resolved);
        roots->added++;
    }
    known->device = found->st_dev;
    known->inode = found->st_ino;
    known->changed = found->st_ctim;
    known->seen = now;
}

const char *fpmp_root_resolve(fpmp_roots *roots, const char *path, apr_pool_t *pool)
{
    struct stat found;
    char resolved[PATH_MAX];
    const char *result = NULL;
    apr_time_t now = fpmp_clock_now();
    /* Before the links are read: what moves in between is seen by the next request. */
    if (stat(path, &found) != 0) {
        return NULL;
    }
    lock_table(roots);
    const entry *known = apr_hash_get(roots->entries, path, APR_HASH_KEY_STRING);
    int is_known = is_current(known, &found, now);
    if (is_known && strcmp(known->resolved, path)) {
        result = apr_pstrdup(pool, known->resolved);
    }
    unlock_table(roots);
    if (is_known) {
        return result;
    }
    if (!realpath(path, resolved)) {
        return NULL;
    }
    lock_table(roots);
    remember(roots, path, resolved, &found, now);
    unlock_table(roots);
    return strcmp(resolved, path) ? apr_pstrdup(pool, resolved) : NULL;
}
