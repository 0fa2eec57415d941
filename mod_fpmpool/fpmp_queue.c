/* fpmp_queue.c - places in a pool and the queue for them.
 *
 * Runs in every thread of the httpd children; the parent wakes when it has cleared the row of a
 * dead child. What is limited is counted first, then looked at: two at once cannot both take the
 * last place, however the looks overlap. Must not log and must not know requests.
 */
#include "fpmp_queue.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 16 /* of two who want the last one and both step back */

static uint64_t id_of(const fpmp_stay *stay)
{
    return fpmp_share_id(stay->share, stay->record);
}

static fpmp_cell *places(const fpmp_stay *stay)
{
    return fpmp_share_places(stay->share, stay->record);
}

static fpmp_cell *waiting(const fpmp_stay *stay)
{
    return fpmp_share_waiting(stay->share, stay->record);
}

/* ---- slots ----------------------------------------------------------------------------------- */

static int claim(fpmp_stay *stay)
{
    stay->slot = stay->slot ? stay->slot : fpmp_share_claim(stay->share, stay->row, id_of(stay));
    return stay->slot != NULL;
}

static void drop_unused(fpmp_stay *stay)
{
    if (stay->slot && !stay->is_waiting && !atomic_load(&stay->slot->address)) {
        fpmp_share_unclaim(stay->slot);
        stay->slot = NULL;
    }
}

/* ---- addresses ------------------------------------------------------------------------------- */

typedef struct sight {
    uint64_t pool;
    uint64_t address;
    const fpmp_slot *own;
    unsigned count;
} sight;

static void see_address(fpmp_slot *slot, void *data)
{
    sight *seen = data;
    if (slot != seen->own &&
        atomic_load_explicit(&slot->address, memory_order_acquire) == seen->address &&
        atomic_load_explicit(&slot->pool, memory_order_acquire) == seen->pool) {
        seen->count++;
    }
}

int fpmp_queue_count_address(fpmp_stay *stay, uint64_t address, unsigned *others)
{
    if (!claim(stay)) {
        return 0;
    }
    sight seen = {.pool = id_of(stay), .address = address, .own = stay->slot};
    atomic_store(&stay->slot->address, address);
    fpmp_share_each_slot(stay->share, see_address, &seen);
    *others = seen.count;
    return 1;
}

void fpmp_queue_forget_address(fpmp_stay *stay)
{
    if (stay->slot) {
        atomic_store(&stay->slot->address, 0);
        drop_unused(stay);
    }
}

/* ---- places ---------------------------------------------------------------------------------- */

unsigned fpmp_queue_in_flight(const fpmp_stay *stay)
{
    return fpmp_share_sum(stay->share, places(stay)) - (unsigned)stay->has_place;
}

unsigned fpmp_queue_waiting(const fpmp_stay *stay)
{
    return fpmp_share_sum(stay->share, waiting(stay)) - (unsigned)stay->is_waiting;
}

static int count(const fpmp_stay *stay, fpmp_cell *cells, unsigned most)
{
    for (int round = 0; round < ROUNDS; round++) {
        fpmp_share_count(cells, stay->row, 1);
        if (fpmp_share_sum(stay->share, cells) <= most) {
            return 1;
        }
        fpmp_share_count(cells, stay->row, -1);
        if (fpmp_share_sum(stay->share, cells) >= most) {
            return 0;
        }
        sched_yield();
    }
    return 0;
}

int fpmp_queue_take(fpmp_stay *stay, unsigned most)
{
    stay->has_place = count(stay, places(stay), most ? most : UINT32_MAX);
    if (!stay->has_place) {
        /* Whoever looked in between has seen one too many. */
        fpmp_queue_wake(stay->share, stay->record);
    }
    return stay->has_place;
}

void fpmp_queue_give_back(fpmp_stay *stay)
{
    if (stay->has_place) {
        stay->has_place = 0;
        fpmp_share_count(places(stay), stay->row, -1);
        fpmp_queue_wake(stay->share, stay->record);
    }
}

/* ---- the queue ------------------------------------------------------------------------------- */

int fpmp_queue_join(fpmp_stay *stay, unsigned most)
{
    if (!claim(stay)) {
        return 0;
    }
    stay->is_waiting = count(stay, waiting(stay), most);
    if (!stay->is_waiting) {
        drop_unused(stay);
        return 0;
    }
    if (!stay->ticket) {
        stay->ticket = atomic_fetch_add(&stay->record->ticket, 1) + 1;
    }
    atomic_store(&stay->slot->ticket, stay->ticket);
    return 1;
}

void fpmp_queue_leave(fpmp_stay *stay)
{
    if (stay->is_waiting) {
        stay->is_waiting = 0;
        atomic_store(&stay->slot->ticket, 0);
        fpmp_share_count(waiting(stay), stay->row, -1);
        drop_unused(stay);
        fpmp_queue_wake(stay->share, stay->record);
    }
}

typedef struct line {
    uint64_t pool;
    uint64_t before; /* only those with a lower ticket */
    unsigned count;
    uint64_t oldest;
    fpmp_slot *first;
} line;

static void see_waiting(fpmp_slot *slot, void *data)
{
    line *seen = data;
    uint64_t ticket = atomic_load(&slot->ticket);
    if (!ticket || ticket >= seen->before || atomic_load(&slot->pool) != seen->pool) {
        return;
    }
    seen->count++;
    if (!seen->first || ticket < seen->oldest) {
        seen->oldest = ticket;
        seen->first = slot;
    }
}

fpmp_queue_view fpmp_queue_look(const fpmp_stay *stay)
{
    line seen = {.pool = id_of(stay), .before = stay->ticket ? stay->ticket : UINT64_MAX};
    if (fpmp_queue_waiting(stay)) {
        fpmp_share_each_slot(stay->share, see_waiting, &seen);
    }
    return (fpmp_queue_view){seen.count, seen.oldest};
}

uint32_t fpmp_queue_listen(const fpmp_stay *stay)
{
    return atomic_load(&stay->slot->wakes);
}

int fpmp_queue_sleep(const fpmp_stay *stay, uint32_t heard, apr_interval_time_t longest)
{
    struct timespec time = {.tv_sec = (time_t)apr_time_sec(longest),
                            .tv_nsec = (long)apr_time_usec(longest) * 1000};
    (void)syscall(SYS_futex, &stay->slot->wakes, FUTEX_WAIT, heard, &time, NULL, 0);
    return atomic_load(&stay->slot->wakes) != heard;
}

void fpmp_queue_wake(const fpmp_share *share, fpmp_pool_record *record)
{
    if (!fpmp_share_sum(share, fpmp_share_waiting(share, record))) {
        return;
    }
    line seen = {.pool = fpmp_share_id(share, record), .before = UINT64_MAX};
    fpmp_share_each_slot(share, see_waiting, &seen);
    if (seen.first) {
        atomic_fetch_add(&seen.first->wakes, 1);
        (void)syscall(SYS_futex, &seen.first->wakes, FUTEX_WAKE, 1, NULL, NULL, 0);
    }
}

void fpmp_queue_end(fpmp_stay *stay)
{
    fpmp_queue_leave(stay);
    fpmp_queue_forget_address(stay);
    fpmp_queue_give_back(stay);
}
