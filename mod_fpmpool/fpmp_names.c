/* fpmp_names.c - pools whose names are found at run time: those of one child.
 *
 * Runs in any thread of an httpd child. Owns the places of such pools in the child's tables, gives
 * them to other names when nobody uses them, and holds their entries in the shared memory while
 * somebody does. Must not log and must not know requests.
 */
#include "fpmp_names.h"

#include "fpmp_clock.h"

#include <apr_hash.h>
#include <apr_ring.h>
#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUCKETS 1024

typedef struct place place;
struct place {
    fpmp_pool pool; /* first: a pool is its place */
    fpmp_server server;
    char name[FPMP_POOL_NAME_MAX + 1];
    fpmp_names_label label;
    int entry;                  /* in the shared memory; what it had last while nobody holds it */
    int holders;                /* requests */
    int is_forgotten;           /* no longer found by its name: it ends with its last request */
    place *next;                /* of its bucket */
    APR_RING_ENTRY(place) link; /* of those that nobody uses, longest ago first */
};
APR_RING_HEAD(idle_ring, place);

struct fpmp_names {
    apr_pool_t *pool;
    apr_thread_mutex_t *lock; /* NULL: one thread */
    fpmp_names_base base;
    pid_t child;
    int count; /* places that were ever made */
    struct idle_ring idle;
    place *buckets[BUCKETS];
};

/* Not in memory of the child's pool: an HTTP/2 worker may still run a request when that is gone. */
apr_status_t fpmp_names_create(fpmp_names **result, const fpmp_names_base *base, int is_threaded)
{
    apr_pool_t *pool = NULL;
    apr_status_t status = apr_pool_create_unmanaged_ex(&pool, NULL, NULL);
    if (status != APR_SUCCESS) {
        return status;
    }
    fpmp_names *names = apr_pcalloc(pool, sizeof(*names));
    names->pool = pool;
    names->base = *base;
    names->child = getpid();
    APR_RING_INIT(&names->idle, place, link);
    if (is_threaded) {
        status = apr_thread_mutex_create(&names->lock, APR_THREAD_MUTEX_DEFAULT, pool);
    }
    if (status != APR_SUCCESS) {
        apr_pool_destroy(pool);
        return status;
    }
    *result = names;
    return APR_SUCCESS;
}

static void lock_names(fpmp_names *names)
{
    if (names->lock) {
        apr_thread_mutex_lock(names->lock);
    }
}

static void unlock_names(fpmp_names *names)
{
    if (names->lock) {
        apr_thread_mutex_unlock(names->lock);
    }
}

int fpmp_names_describe(const char *directory, const fpmp_pool *defaults, const char *name,
                        fpmp_names_label label, fpmp_pool *pool, fpmp_server *server)
{
    if (!fpmp_address_is_pool_name(name) ||
        strlen(directory) + strlen(name) + sizeof("/.sock") > FPMP_SOCKET_PATH_MAX + 1) {
        return 0;
    }
    apr_snprintf(label, sizeof(fpmp_names_label), "unix:%s/%s.sock", directory, name);
    memset(server, 0, sizeof(*server));
    (void)fpmp_address_set_label(&server->address, label);
    server->name = label;
    server->type = FPMP_TYPE_FPMPOOL;
    server->reuses = 1;
    server->weight = 1;
    *pool = *defaults;
    pool->name = name;
    pool->is_found = 1;
    memset(&pool->limit, 0, sizeof(pool->limit)); /* of "*": see fpmp_conf_init_pool */
    pool->health.check_count = 0; /* nobody could go through names that come and go */
    pool->servers = server;
    pool->server_count = 1;
    return 1;
}

/* ---- places (call with the lock held) -------------------------------------------------------- */

static place **bucket_of(fpmp_names *names, const char *name)
{
    apr_ssize_t length = APR_HASH_KEY_STRING;
    return &names->buckets[apr_hashfunc_default(name, &length) % BUCKETS];
}

static place *find(fpmp_names *names, const char *name)
{
    place *at = *bucket_of(names, name);
    while (at && strcmp(at->name, name)) {
        at = at->next;
    }
    return at;
}

static void forget(fpmp_names *names, place *old)
{
    place **from = bucket_of(names, old->name);
    while (*from != old) {
        from = &(*from)->next;
    }
    *from = old->next;
    old->is_forgotten = 1;
}

static void enter(fpmp_names *names, place *made, const char *name)
{
    place **to = bucket_of(names, name);
    apr_cpystrn(made->name, name, sizeof(made->name));
    made->is_forgotten = 0;
    made->entry = -1;
    made->next = *to;
    *to = made;
}

static place *make_place(fpmp_names *names)
{
    if (names->count >= names->base.most) {
        return NULL;
    }
    place *made = apr_pcalloc(names->pool, sizeof(*made));
    made->pool.index = names->base.pool_count + names->count;
    made->server.index = names->base.server_count + names->count;
    names->count++;
    return made;
}

/* More than FPMP_NAMES_KEPT only when so many are in use. */
static place *find_place(fpmp_names *names)
{
    place *oldest = APR_RING_EMPTY(&names->idle, place, link) ? NULL : APR_RING_FIRST(&names->idle);
    int kept = names->base.most < FPMP_NAMES_KEPT ? names->base.most : FPMP_NAMES_KEPT;
    if (oldest && (oldest->is_forgotten || names->count >= kept)) {
        APR_RING_REMOVE(oldest, link);
        if (!oldest->is_forgotten) {
            forget(names, oldest);
        }
        fpmp_conn_forget(names->base.connections, &oldest->server);
        return oldest;
    }
    return make_place(names);
}

static place *add(fpmp_names *names, const char *name)
{
    place *made = find_place(names);
    if (made) {
        int pool_index = made->pool.index;
        int server_index = made->server.index;
        enter(names, made, name);
        (void)fpmp_names_describe(names->base.directory, names->base.defaults, made->name,
                                  made->label, &made->pool, &made->server);
        made->pool.index = pool_index;
        made->server.index = server_index;
        APR_RING_INSERT_TAIL(&names->idle, made, place, link);
    }
    return made;
}

/* ---- taking and releasing -------------------------------------------------------------------- */

static fpmp_names_result hold(fpmp_names *names, place *wanted)
{
    const fpmp_names_base *base = &names->base;
    if (wanted->holders == 0) {
        uint64_t now = (uint64_t)fpmp_clock_now() / 1000;
        int entry =
            fpmp_share_hold(base->share, wanted->name, base->row, names->child, now, wanted->entry);
        if (entry < 0) {
            return FPMP_NAMES_FULL;
        }
        wanted->entry = entry;
        base->records->pools[wanted->pool.index] = fpmp_share_named_pool(base->share, entry);
        base->records->servers[wanted->server.index] = fpmp_share_named_server(base->share, entry);
        APR_RING_REMOVE(wanted, link);
    }
    wanted->holders++;
    return FPMP_NAMES_OK;
}

/* The place of a name, if its entry is good. */
static place *find_good(fpmp_names *names, const char *name)
{
    place *found = find(names, name);
    if (found && found->holders > 0 && !fpmp_share_is_of(names->base.share, found->entry, name)) {
        forget(names, found);
        return NULL;
    }
    return found;
}

static int is_socket(const char *path)
{
    struct stat found;
    return stat(path, &found) == 0 && S_ISSOCK(found.st_mode);
}

static fpmp_names_result look(const fpmp_names *names, const char *name)
{
    fpmp_names_label label;
    fpmp_pool pool;
    fpmp_server server;
    if (!fpmp_names_describe(names->base.directory, names->base.defaults, name, label, &pool,
                             &server)) {
        return FPMP_NAMES_INVALID;
    }
    return is_socket(server.address.path) ? FPMP_NAMES_OK : FPMP_NAMES_ABSENT;
}

fpmp_names_result fpmp_names_take(fpmp_names *names, const char *name, const fpmp_pool **pool)
{
    fpmp_names_result result = FPMP_NAMES_OK;
    lock_names(names);
    place *found = find_good(names, name);
    if (!found) {
        unlock_names(names); /* a file system may be slow */
        result = look(names, name);
        lock_names(names);
        found = result == FPMP_NAMES_OK ? find_good(names, name) : NULL;
        if (result == FPMP_NAMES_OK && !found) {
            found = add(names, name);
            result = found ? FPMP_NAMES_OK : FPMP_NAMES_FULL;
        }
    }
    result = found ? hold(names, found) : result;
    unlock_names(names);
    *pool = found ? &found->pool : NULL;
    return result;
}

void fpmp_names_release(fpmp_names *names, const fpmp_pool *pool)
{
    place *used = (place *)(uintptr_t)pool;
    lock_names(names);
    if (--used->holders == 0) {
        fpmp_share_let_go(names->base.share, used->entry, names->base.row);
        if (used->is_forgotten) {
            APR_RING_INSERT_HEAD(&names->idle, used, place, link);
        } else {
            APR_RING_INSERT_TAIL(&names->idle, used, place, link);
        }
    }
    unlock_names(names);
}
