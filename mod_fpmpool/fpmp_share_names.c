/* fpmp_share_names.c - the shared entries of pools whose names are found at run time.
 *
 * Runs in every thread of every child; the parent cleans up after those that are gone. A key is
 * taken and given by compare-and-swap, and a holder counts itself before it looks at the key: who
 * claims an entry sees him, or he sees the claim. No locks: a claim of a process that was killed is
 * undone by the parent, and until then holds up nobody but its one entry.
 */
#include "fpmp_share_private.h"

#include <stddef.h>
#include <string.h>

#define CLAIMED     (UINT64_C(1) << 63) /* in a key: with the pid of who is about to fill it */
#define FULL        (-1)                /* in place of an entry: there is none */
#define GONE        (-2)                /* the same: it was another's before it could be held */
#define ROUNDS_MOST 64 /* how often others may come first: then it counts as full */

static _Atomic(uint64_t) *key_at(const fpmp_share *share, int entry)
{
    char *first = (char *)(uintptr_t)share + share->names.keys;
    return (_Atomic(uint64_t) *)(void *)first + entry;
}

static _Atomic(uint64_t) *used_at(const fpmp_share *share, int entry)
{
    char *first = (char *)(uintptr_t)share + share->names.used;
    return (_Atomic(uint64_t) *)(void *)first + entry;
}

static char *text_at(const fpmp_share *share, int entry)
{
    return (char *)(uintptr_t)share + share->names.text + (apr_size_t)entry * FPMP_SHARE_TEXT;
}

fpmp_pool_record *fpmp_share_named_pool(const fpmp_share *share, int entry)
{
    return (fpmp_pool_record *)fpmp_share_record_at(share, &share->names.pools, entry);
}

fpmp_record *fpmp_share_named_server(const fpmp_share *share, int entry)
{
    return (fpmp_record *)fpmp_share_record_at(share, &share->names.servers, entry);
}

static fpmp_cell *holders_of(const fpmp_share *share, int entry)
{
    return fpmp_share_named_pool(share, entry)->in_flight + (ptrdiff_t)3 * share->rows;
}

static uint64_t key_of(const char *name)
{
    uint64_t key = fpmp_share_key(name, "") & ~CLAIMED;
    return key ? key : 1;
}

static int find(const fpmp_share *share, uint64_t key)
{
    int reached = atomic_load(&share->names.reached);
    for (int i = 0; i < reached; i++) {
        if (atomic_load_explicit(key_at(share, i), memory_order_relaxed) == key) {
            return i;
        }
    }
    return -1;
}

/* ---- taking an entry for a new name ---------------------------------------------------------- */

static void free_key(const fpmp_share *share, int entry, uint64_t key)
{
    (void)atomic_compare_exchange_strong(key_at(share, entry), &key, 0);
}

/* Two children may have made an entry for the same name at the same moment; the one who came last
 * sees both. The first stays, and who holds another one counts there until he lets go. */
static int keep_first(const fpmp_share *share, uint64_t key)
{
    int reached = atomic_load(&share->names.reached);
    int first = -1;
    for (int i = 0; i < reached; i++) {
        if (atomic_load(key_at(share, i)) == key) {
            if (first < 0) {
                first = i;
            } else {
                free_key(share, i, key);
            }
        }
    }
    return first;
}

/* Returns 1 if the entry is this child's now, and nobody holds it. */
static int claim(fpmp_share *share, int entry, uint64_t key, pid_t child)
{
    uint64_t mine = CLAIMED | (uint64_t)child;
    if (!atomic_compare_exchange_strong(key_at(share, entry), &key, mine)) {
        return 0;
    }
    if (fpmp_share_sum(share, holders_of(share, entry)) == 0) {
        return 1;
    }
    atomic_store(key_at(share, entry), key);
    if (key) {
        (void)keep_first(share, key); /* somebody may have missed it meanwhile */
    }
    return 0;
}

static int claim_free(fpmp_share *share, pid_t child)
{
    int reached = atomic_load(&share->names.reached);
    for (int i = 0; i < reached; i++) {
        if (!atomic_load_explicit(key_at(share, i), memory_order_relaxed) &&
            claim(share, i, 0, child)) {
            return i;
        }
    }
    while (reached < share->names.count) {
        if (atomic_compare_exchange_strong(&share->names.reached, &reached, reached + 1)) {
            if (claim(share, reached, 0, child)) {
                return reached;
            }
            reached++;
        }
    }
    return -1;
}

/* Of those that nobody holds the one that was not wanted for longest, or -1. */
static int find_oldest(const fpmp_share *share, uint64_t *key)
{
    uint64_t oldest = UINT64_MAX;
    int found = -1;
    for (int i = 0; i < share->names.count; i++) {
        uint64_t used = atomic_load_explicit(used_at(share, i), memory_order_relaxed);
        uint64_t here = atomic_load_explicit(key_at(share, i), memory_order_relaxed);
        if (used < oldest && !(here & CLAIMED) &&
            fpmp_share_sum(share, holders_of(share, i)) == 0) {
            oldest = used;
            found = i;
            *key = here;
        }
    }
    return found;
}

static int claim_any(fpmp_share *share, pid_t child)
{
    int entry = claim_free(share, child);
    for (int round = 0; entry < 0 && round < ROUNDS_MOST; round++) {
        uint64_t key = 0;
        int oldest = find_oldest(share, &key);
        if (oldest < 0) {
            return -1;
        }
        entry = claim(share, oldest, key, child) ? oldest : -1;
    }
    return entry;
}

static void fill(const fpmp_share *share, int entry, const char *name, uint64_t key)
{
    fpmp_pool_record *pool = fpmp_share_named_pool(share, entry);
    fpmp_record *server = fpmp_share_named_server(share, entry);
    memset(pool, 0, share->names.pools.fixed);
    memset(server, 0, share->names.servers.fixed);
    pool->head.key = key;
    server->head.key = key;
    memset(text_at(share, entry), 0, FPMP_SHARE_TEXT);
    memcpy(text_at(share, entry), name, strnlen(name, FPMP_POOL_NAME_MAX));
}

static int make_entry(fpmp_share *share, const char *name, uint64_t key, pid_t child, uint64_t now)
{
    int entry = claim_any(share, child);
    if (entry < 0) {
        return FULL;
    }
    int other = find(share, key);
    if (other >= 0) {
        atomic_store(key_at(share, entry), 0);
        return other;
    }
    fill(share, entry, name, key);
    atomic_store(used_at(share, entry), now);
    atomic_store(key_at(share, entry), key);
    int first = keep_first(share, key);
    return first >= 0 ? first : GONE;
}

/* ---- holding --------------------------------------------------------------------------------- */

static int try_to_hold(fpmp_share *share, int entry, uint64_t key, int row)
{
    fpmp_share_count(holders_of(share, entry), row, 1);
    if (atomic_load(key_at(share, entry)) == key) {
        return 1;
    }
    fpmp_share_count(holders_of(share, entry), row, -1);
    return 0;
}

int fpmp_share_hold(fpmp_share *share, const char *name, int row, pid_t child, uint64_t now,
                    int hint)
{
    uint64_t key = key_of(name);
    for (int round = 0; row != FPMP_NO_ROW && round < ROUNDS_MOST; round++) {
        int is_there = hint >= 0 && atomic_load(key_at(share, hint)) == key;
        int entry = is_there ? hint : find(share, key);
        entry = entry >= 0 ? entry : make_entry(share, name, key, child, now);
        if (entry == FULL) {
            return -1;
        }
        if (entry != GONE && try_to_hold(share, entry, key, row)) {
            atomic_store_explicit(used_at(share, entry), now, memory_order_relaxed);
            return entry;
        }
    }
    return -1;
}

int fpmp_share_is_of(const fpmp_share *share, int entry, const char *name)
{
    return atomic_load(key_at(share, entry)) == key_of(name);
}

void fpmp_share_let_go(fpmp_share *share, int entry, int row)
{
    fpmp_share_count(holders_of(share, entry), row, -1);
}

int fpmp_share_read_name(const fpmp_share *share, int entry, char *name)
{
    if (entry >= atomic_load(&share->names.reached)) {
        return 0;
    }
    uint64_t key = atomic_load(key_at(share, entry));
    memcpy(name, text_at(share, entry), FPMP_POOL_NAME_MAX);
    name[FPMP_POOL_NAME_MAX] = '\0';
    if (!key || key_of(name) != key) { /* free, or about to be another's */
        name[0] = '\0';
    }
    return 1;
}

/* ---- the parent ------------------------------------------------------------------------------ */

void fpmp_share_leave_names(fpmp_share *share, pid_t child, int row)
{
    int reached = atomic_load(&share->names.reached);
    fpmp_share_clear_row(share, &share->names.pools, reached, row);
    fpmp_share_clear_row(share, &share->names.servers, reached, row);
    for (int i = 0; i < reached; i++) {
        free_key(share, i, CLAIMED | (uint64_t)child);
    }
}

void fpmp_share_copy_names(fpmp_share *to, const fpmp_share *from)
{
    int known = atomic_load(&from->names.reached);
    int count = known < to->names.count ? known : to->names.count;
    for (int i = 0; i < count; i++) {
        uint64_t key = atomic_load(key_at(from, i));
        if (key & CLAIMED) {
            continue;
        }
        memcpy(fpmp_share_named_pool(to, i), fpmp_share_named_pool(from, i), to->names.pools.fixed);
        memcpy(fpmp_share_named_server(to, i), fpmp_share_named_server(from, i),
               to->names.servers.fixed);
        memcpy(text_at(to, i), text_at(from, i), FPMP_SHARE_TEXT);
        atomic_store(used_at(to, i), atomic_load(used_at(from, i)));
        atomic_store(key_at(to, i), key);
    }
    atomic_store(&to->names.reached, count);
}
