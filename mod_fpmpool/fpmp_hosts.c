/* fpmp_hosts.c - the addresses of servers that are given by a host name.
 *
 * The table is made by the parent, written by the child that looks names up, read by every thread
 * of every child. No locks: whoever is killed must not stop the others. Must not look anything up,
 * do I/O or log.
 */
#include "fpmp_hosts.h"

#include <apr_errno.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ADDRESS_WORDS 6 /* family, scope, four of the address */
#define LIST_WORDS    (1 + FPMP_ADDRESSES_MAX * ADDRESS_WORDS)
#define READS_MOST    100
#define LEASE_BITS    40
#define LEASE_MASK    ((UINT64_C(1) << LEASE_BITS) - 1)

/* Two halves: the one that the version's lowest bit names is valid. */
typedef struct entry {
    _Atomic(uint64_t) stamp; /* version, then a hash of that half; 0: nothing is known */
    _Atomic(uint64_t) looked;
    _Atomic(uint32_t) words[2][LIST_WORDS];
} entry;

struct fpmp_hosts {
    size_t size;
    pid_t parent;
    _Atomic(uint64_t) lease; /* pid in the upper 24 bits, end in ms in the lower 40 */
    entry entries[];
};

static apr_status_t unmap(void *data)
{
    fpmp_hosts *names = data;
    if (names->parent == getpid()) {
        munmap(names, names->size);
    }
    return APR_SUCCESS;
}

apr_status_t fpmp_hosts_open(fpmp_hosts **names, apr_pool_t *pconf, int count)
{
    size_t size = sizeof(fpmp_hosts) + (size_t)count * sizeof(entry);
    fpmp_hosts *made = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED) {
        return errno;
    }
    made->size = size;
    made->parent = getpid();
    apr_pool_cleanup_register(pconf, made, unmap, apr_pool_cleanup_null);
    *names = made;
    return APR_SUCCESS;
}

static entry *entry_of(const fpmp_hosts *names, const fpmp_server *server)
{
    return (entry *)(uintptr_t)&names->entries[server->name_place - 1];
}

static int is_name(const fpmp_hosts *names, const fpmp_server *server)
{
    return names && server->name_place > 0;
}

/* ---- lists as words -------------------------------------------------------------------------- */

static void pack(const fpmp_addresses *from, uint32_t *words)
{
    memset(words, 0, LIST_WORDS * sizeof(*words));
    words[0] = (uint32_t)from->count;
    for (int i = 0; i < from->count; i++) {
        const fpmp_socket *at = &from->sockets[i];
        uint32_t *to = words + 1 + i * ADDRESS_WORDS;
        to[0] = at->any.sa_family;
        if (at->any.sa_family == AF_INET6) {
            to[1] = at->six.sin6_scope_id;
            memcpy(to + 2, &at->six.sin6_addr, sizeof(at->six.sin6_addr));
        } else {
            memcpy(to + 2, &at->four.sin_addr, sizeof(at->four.sin_addr));
        }
    }
}

static void unpack(const uint32_t *words, uint16_t port, fpmp_addresses *to)
{
    to->count = words[0] <= FPMP_ADDRESSES_MAX ? (int)words[0] : 0;
    for (int i = 0; i < to->count; i++) {
        const uint32_t *from = words + 1 + i * ADDRESS_WORDS;
        fpmp_socket *at = &to->sockets[i];
        memset(at, 0, sizeof(*at));
        at->any.sa_family = (sa_family_t)from[0];
        if (from[0] == AF_INET6) {
            at->six.sin6_port = htons(port);
            at->six.sin6_scope_id = from[1];
            memcpy(&at->six.sin6_addr, from + 2, sizeof(at->six.sin6_addr));
        } else {
            at->four.sin_port = htons(port);
            memcpy(&at->four.sin_addr, from + 2, sizeof(at->four.sin_addr));
        }
    }
}

static uint32_t hash(const uint32_t *words)
{
    uint32_t sum = 2166136261U;
    for (int i = 0; i < LIST_WORDS; i++) {
        sum = (sum ^ words[i]) * 16777619U;
    }
    return sum | 1;
}

/* Reads the valid half. Returns its version; 0: nothing is known. */
static uint32_t read_words(const entry *from, uint32_t *words)
{
    for (int i = 0; i < READS_MOST; i++) {
        uint64_t stamp = atomic_load(&from->stamp);
        uint32_t version = (uint32_t)(stamp >> 32);
        for (int at = 0; at < LIST_WORDS; at++) {
            words[at] = atomic_load_explicit(&from->words[version & 1][at], memory_order_relaxed);
        }
        atomic_thread_fence(memory_order_acquire);
        if (!stamp || hash(words) == (uint32_t)stamp) {
            return version;
        }
    }
    return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

void fpmp_hosts_get(const fpmp_hosts *names, const fpmp_server *server, fpmp_addresses *found)
{
    const fpmp_address *own = &server->address;
    uint32_t words[LIST_WORDS];
    found->version = is_name(names, server) ? read_words(entry_of(names, server), words) : 0;
    if (found->version) {
        unpack(words, own->port, found);
        return;
    }
    found->count =
        own->host && own->socket_length > 0 && own->socket_length <= sizeof(found->sockets[0]);
    if (found->count) {
        memcpy(&found->sockets[0], &own->socket, own->socket_length);
    }
}

uint32_t fpmp_hosts_version(const fpmp_hosts *names, const fpmp_server *server)
{
    return is_name(names, server) ? (uint32_t)(atomic_load(&entry_of(names, server)->stamp) >> 32)
                                  : 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

static int compare(const void *left, const void *right)
{
    const fpmp_socket *a = left;
    const fpmp_socket *b = right;
    if (a->any.sa_family != b->any.sa_family) {
        return a->any.sa_family < b->any.sa_family ? -1 : 1;
    }
    if (a->any.sa_family == AF_INET6) {
        int order = memcmp(&a->six.sin6_addr, &b->six.sin6_addr, sizeof(a->six.sin6_addr));
        return order ? order
                     : (a->six.sin6_scope_id > b->six.sin6_scope_id) -
                           (a->six.sin6_scope_id < b->six.sin6_scope_id);
    }
    return memcmp(&a->four.sin_addr, &b->four.sin_addr, sizeof(a->four.sin_addr));
}

static void put_in_order(fpmp_addresses *found)
{
    int count = 0;
    qsort(found->sockets, (size_t)found->count, sizeof(found->sockets[0]), compare);
    for (int i = 0; i < found->count; i++) {
        if (!count || compare(&found->sockets[count - 1], &found->sockets[i])) {
            found->sockets[count++] = found->sockets[i];
        }
    }
    found->count = count;
}

int fpmp_hosts_publish(fpmp_hosts *names, const fpmp_server *server, fpmp_addresses *found)
{
    entry *to = entry_of(names, server);
    uint64_t before = atomic_load(&to->stamp);
    uint32_t words[LIST_WORDS];
    uint32_t known[LIST_WORDS];
    put_in_order(found);
    pack(found, words);
    if (before && read_words(to, known) && !memcmp(words, known, sizeof(words))) {
        return 0;
    }
    uint32_t version = (uint32_t)(before >> 32) + 1;
    version += !version; /* 0 means that nothing is known */
    for (int at = 0; at < LIST_WORDS; at++) {
        atomic_store_explicit(&to->words[version & 1][at], words[at], memory_order_relaxed);
    }
    uint64_t stamp = (uint64_t)version << 32 | hash(words);
    return atomic_compare_exchange_strong(&to->stamp, &before, stamp);
}

uint64_t fpmp_hosts_looked(const fpmp_hosts *names, const fpmp_server *server)
{
    return atomic_load(&entry_of(names, server)->looked);
}

void fpmp_hosts_note_look(fpmp_hosts *names, const fpmp_server *server, uint64_t now)
{
    atomic_store(&entry_of(names, server)->looked, now);
}

/* ---- who looks up ---------------------------------------------------------------------------- */

int fpmp_hosts_lease(fpmp_hosts *names, pid_t child, uint64_t now, uint64_t *until)
{
    uint64_t mine = (uint64_t)child << LEASE_BITS;
    uint64_t before = atomic_load(&names->lease);
    if (before >> LEASE_BITS != (uint64_t)child && (before & LEASE_MASK) > now) {
        *until = before & LEASE_MASK;
        return 0;
    }
    return atomic_compare_exchange_strong(&names->lease, &before, mine | (*until & LEASE_MASK));
}

void fpmp_hosts_end_lease(fpmp_hosts *names, pid_t child)
{
    uint64_t before = atomic_load(&names->lease);
    if (before >> LEASE_BITS == (uint64_t)child) {
        (void)atomic_compare_exchange_strong(&names->lease, &before, 0);
    }
}
