/* pools_permits.c - process.max over all pools: takes what pool processes ask, tells who got what.
 *
 * Runs in the master. Who is next is decided in permits.c. Nothing here costs anything while
 * process.max is 0: pool processes do not ask then.
 */
#include <string.h>

#include "base/log.h"
#include "master/daemon.h"
#include "master/pools_private.h"

/* Whether more are wanted than there are is said by pool processes, as often as they like. */
#define WARN_EVERY INT64_C(1000000)

static fpd_child *owner_of(fpd_permit_holder *holder)
{
    return (fpd_child *)(void *)((char *)holder - offsetof(fpd_child, permit));
}

/* Sends all grants that can be made; several to one pool process in a row are one message. */
static void send_grants(fpd_pools *pools, int64_t now)
{
    fpd_permit_holder *holder;
    fpd_permit_holder *last = NULL;
    uint32_t count;
    uint32_t sum = 0;

    do {
        holder = fpd_permits_grant(&pools->permits, &count, now);
        if (last != NULL && holder != last) {
            if (!fpd_children_tell_count(owner_of(last), FPD_MESSAGE_GRANT, sum)) {
                fpd_permits_give_back(&pools->permits, last, sum); /* it asks every second */
            }
            sum = 0;
        }
        last = holder;
        sum += holder != NULL ? count : 0;
    } while (holder != NULL);
}

static void reclaim(fpd_pools *pools, int64_t now)
{
    fpd_permit_holder *holder;

    while ((holder = fpd_permits_reclaim(&pools->permits, now)) != NULL) {
        fpd_log(FPD_LOG_DEBUG, "[pool %s] is asked to give a worker back (process.max)",
                owner_of(holder)->source.name);
        fpd_children_tell(owner_of(holder), FPD_MESSAGE_RECLAIM);
    }
    if (fpd_permits_is_starving(&pools->permits)) {
        fpd_loop_timer_set(pools->permit_timer, now + FPD_PERMITS_PATIENCE);
    }
}

static void serve(void *context)
{
    fpd_pools *pools = context;
    int64_t now = fpd_monotonic_now();

    send_grants(pools, now);
    if (fpd_permits_should_warn(&pools->permits) && !pools->is_finishing &&
        now - pools->permit_warned_at >= WARN_EVERY) {
        pools->permit_warned_at = now;
        fpd_log(
            FPD_LOG_WARNING,
            "The maximum number of processes has been reached. Please review your configuration "
            "and consider raising 'process.max'");
    }
    reclaim(pools, now);
}

/* A pool whose processes crash cannot collect orphans beyond its own size. */
static uint32_t most_of(const fpd_pool_record *record)
{
    uint32_t most = (uint32_t)record->plan->max_children;

    return most > record->orphans ? most - record->orphans : 1;
}

void fpd_pools_permit_child(fpd_child *child)
{
    fpd_pool_record *record = child->owner;

    if (!child->is_answering && record->plan->has_process_max) {
        fpd_permits_join(&record->pools->permits, &child->permit, most_of(record));
    }
}

/* The plan may be a newer one than the child's, with fewer workers or without process.max: what was
 * granted under the old one counts all the same. */
void fpd_pools_resume_permits(fpd_child *child, const fpd_state_child *saved)
{
    fpd_pool_record *record = child->owner;

    if (!saved->needs_permits) {
        return;
    }
    child->permit.held = (uint32_t)saved->permits_held;
    child->permit.owed = (uint32_t)saved->permits_owed;
    fpd_permits_join(&record->pools->permits, &child->permit, most_of(record));
    fpd_permits_want(&child->permit, (uint32_t)saved->permits_wanted, saved->is_urgent);
}

/* 1: the child takes part, and the message has this size. */
static int is_permitted(fpd_child *child, const fpd_message *message, size_t size)
{
    if (child->permit.link != NULL && message->length == size) {
        return 1;
    }
    if (fpd_logs_has_room(&child->source)) {
        fpd_log(FPD_LOG_WARNING, "[pool %s] message %u from pool process %d is malformed",
                child->source.name, message->type, (int)child->pid);
    }
    return 0;
}

void fpd_pools_take_want(fpd_child *child, const fpd_message *message)
{
    fpd_pool_record *record = child->owner;
    fpd_message_want want;

    if (is_permitted(child, message, sizeof(want))) {
        memcpy(&want, message->body, sizeof(want));
        fpd_permits_want(&child->permit, want.count, want.is_urgent != 0);
        serve(record->pools);
    }
}

void fpd_pools_take_permits_back(fpd_child *child, const fpd_message *message)
{
    fpd_pool_record *record = child->owner;
    fpd_message_count back;

    if (is_permitted(child, message, sizeof(back))) {
        memcpy(&back, message->body, sizeof(back));
        fpd_permits_give_back(&record->pools->permits, &child->permit, back.count);
        serve(record->pools);
    }
}

/* ---- workers without a pool process ------------------------------------------------------- */

/* Children of the master that are no hosts. Any process that a tenant has put into the background
 * may be among them, so they only bound what was known to be there. */
static unsigned count_strangers(const fpd_pools *pools, unsigned alive)
{
    unsigned hosts = apr_hash_count(pools->children);

    return alive > hosts ? alive - hosts : 0;
}

void fpd_pools_forget_permits(fpd_child *child)
{
    fpd_pool_record *record = child->owner;
    fpd_permits *permits = &record->pools->permits;
    uint32_t held = child->permit.held;
    uint32_t strangers;

    if (child->permit.link == NULL) {
        return;
    }
    fpd_permits_leave(permits, &child->permit);
    if (held > 0) {
        strangers = count_strangers(record->pools, fpd_daemon_count_children());
        strangers = strangers > permits->orphaned ? strangers - permits->orphaned : 0;
        held = held < strangers ? held : strangers;
        record->orphans += held;
        permits->orphaned += held;
    }
    serve(record->pools);
}

void fpd_pools_count_orphans(fpd_pools *pools, unsigned alive)
{
    uint32_t strangers = count_strangers(pools, alive);

    pools->may_have_orphans = pools->may_have_orphans && strangers > 0;
    for (apr_hash_index_t *i = apr_hash_first(NULL, pools->records);
         i != NULL && pools->permits.orphaned > strangers; i = apr_hash_next(i)) {
        fpd_pool_record *record = apr_hash_this_val(i);
        uint32_t excess = pools->permits.orphaned - strangers;
        excess = excess < record->orphans ? excess : record->orphans;
        record->orphans -= excess;
        pools->permits.orphaned -= excess;
        if (record->current != NULL) {
            record->current->permit.most = most_of(record);
        }
        if (record->next != NULL) {
            record->next->permit.most = most_of(record);
        }
    }
    if (pools->permits.orphaned > strangers) { /* of pools that were removed */
        pools->permits.orphaned = strangers;
    }
    serve(pools);
}

void fpd_pools_set_process_max(fpd_pools *pools, int process_max)
{
    pools->permits.limit = process_max > 0 ? (uint32_t)process_max : 0;
    serve(pools);
}

void fpd_pools_create_permits(fpd_pools *pools)
{
    pools->permit_timer = fpd_loop_timer_create(pools->loop, serve, pools);
}
