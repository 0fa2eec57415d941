/* pools_state.c - all pools as values that travel over an exec of the master, and back.
 *
 * Runs in the master, just before and just after it executes itself. It changes nothing: pools and
 * their processes are the same afterwards.
 */
#include <string.h>
#include <unistd.h>

#include "apr_strings.h"
#include "base/log.h"
#include "master/listen.h"
#include "master/pools_private.h"

/* ---- before ------------------------------------------------------------------------------- */

typedef struct saver {
    fpd_state *state;
    apr_hash_t *seen;     /* fpd_pool_record * -> itself */
    apr_hash_t *families; /* fpd_pool_record * -> its children, fpd_child * */
    apr_pool_t *scratch;
} saver;

static apr_hash_t *sort_children(const fpd_pools *pools, apr_pool_t *scratch)
{
    apr_hash_t *families = apr_hash_make(scratch);

    for (apr_hash_index_t *i = apr_hash_first(scratch, pools->children); i != NULL;
         i = apr_hash_next(i)) {
        fpd_child *child = apr_hash_this_val(i);
        apr_array_header_t *family = apr_hash_get(families, &child->owner, sizeof(child->owner));
        if (family == NULL) {
            family = apr_array_make(scratch, 2, sizeof(fpd_child *));
            apr_hash_set(families, &child->owner, sizeof(child->owner), family);
        }
        APR_ARRAY_PUSH(family, fpd_child *) = child;
    }
    return families;
}

static void save_child(const fpd_pool_record *record, const fpd_child *child, fpd_state_pool *pool)
{
    fpd_state_child *saved = fpd_state_add_child(pool);

    fpd_children_save(child, saved);
    saved->permits_held = (int32_t)child->permit.held;
    saved->permits_wanted = (int32_t)child->permit.wanted;
    saved->permits_owed = (int32_t)child->permit.owed;
    saved->needs_permits = child->permit.link != NULL;
    saved->is_urgent = child->permit.is_urgent;
    saved->role = child == record->current ? FPD_STATE_CURRENT
                  : child == record->next  ? FPD_STATE_NEXT
                                           : FPD_STATE_DRAINED;
}

static void save_record(saver *to, fpd_pool_record *record)
{
    const apr_array_header_t *family;
    fpd_state_pool *saved;
    void *key = record;

    if (record == NULL || apr_hash_get(to->seen, &key, sizeof(key)) != NULL) {
        return;
    }
    apr_hash_set(to->seen, apr_pmemdup(to->scratch, &key, sizeof(key)), sizeof(key), record);
    saved = fpd_state_add_pool(to->state, to->scratch);
    saved->plan = record->plan;
    saved->listener = record->listener;
    saved->status_listener = record->status_listener;
    saved->reason = record->reason;
    saved->backoff = record->backoff;
    saved->retry_at = fpd_loop_timer_when(record->retry);
    saved->is_asleep = record->sleep_id != 0;
    saved->is_removed = record->is_removed;
    saved->is_settled = record->is_settled;
    saved->orphans = (int32_t)record->orphans;
    saved->has_crashed = record->has_crashed;
    saved->is_changing = record->is_changing;
    saved->is_drained = record->is_drained;
    saved->failure = record->failure;
    family = apr_hash_get(to->families, &key, sizeof(key));
    for (int i = 0; family != NULL && i < family->nelts; i++) {
        save_child(record, APR_ARRAY_IDX(family, i, fpd_child *), saved);
    }
}

/* What tenants' numbers add up to may be anything. */
static int64_t limit(uint64_t count)
{
    return count > INT64_MAX ? INT64_MAX : (int64_t)count;
}

void fpd_pools_save(const fpd_pools *pools, const apr_array_header_t *plans, fpd_state *state,
                    apr_pool_t *scratch)
{
    saver to = {state, apr_hash_make(scratch), sort_children(pools, scratch), scratch};

    state->ended_requests = limit(pools->ended_requests);
    state->ended_slow_requests = limit(pools->ended_slow_requests);
    fpd_listeners_save(pools->listeners, state);
    state->orphans = (int32_t)pools->permits.orphaned;
    state->may_have_orphans = pools->may_have_orphans;
    for (int i = 0; i < plans->nelts; i++) {
        save_record(&to,
                    apr_hash_get(pools->records, APR_ARRAY_IDX(plans, i, fpd_plan_pool *)->name,
                                 APR_HASH_KEY_STRING));
    }
    for (apr_hash_index_t *i = apr_hash_first(scratch, pools->records); i != NULL;
         i = apr_hash_next(i)) {
        save_record(&to, apr_hash_this_val(i));
    }
    for (apr_hash_index_t *i = apr_hash_first(scratch, pools->children); i != NULL;
         i = apr_hash_next(i)) {
        fpd_child *child = apr_hash_this_val(i);
        save_record(&to, child->owner); /* of a pool that is gone */
    }
}

/* ---- after -------------------------------------------------------------------------------- */

static void resume_child(fpd_pool_record *record, const fpd_state_child *saved)
{
    fpd_pools *pools = record->pools;
    fpd_child *child;
    apr_status_t status = fpd_children_resume(&child, saved, record->name, pools->loop,
                                              fpd_pools_take_message, record, pools->pool);

    if (status != APR_SUCCESS) {
        fpd_log_errno(FPD_LOG_ERROR, status,
                      "[pool %s] pool process %d cannot be watched any more and is replaced",
                      record->name, (int)child->pid);
    }
    fpd_pools_resume_permits(child, saved);
    record->child_count++;
    apr_hash_set(pools->children, &child->pid, sizeof(pid_t), child);
    if (saved->role == FPD_STATE_CURRENT) {
        record->current = child;
    } else if (saved->role == FPD_STATE_NEXT) {
        record->next = child;
    }
    if (child->stop_by != 0) {
        fpd_pools_watch_limits(pools);
    }
}

static void say_inherited(int listener, apr_pool_t *scratch)
{
    if (listener >= 0) {
        fpd_log(FPD_LOG_NOTICE, "using inherited socket fd=%d, \"%s\"", listener,
                fpd_listen_describe(listener, scratch));
    }
}

static void resume_record(fpd_pools *pools, const fpd_state_pool *saved)
{
    fpd_pool_record *record = fpd_pools_make_record(pools, saved->plan);

    if (record == NULL) {
        fpd_log(FPD_LOG_ERROR, "[pool %s] no memory to go on with this pool", saved->plan->name);
        return;
    }
    record->listener = saved->listener;
    record->status_listener = saved->status_listener;
    if (saved->reason != NULL) {
        apr_cpystrn(record->reason, saved->reason, sizeof(record->reason));
    }
    record->backoff = saved->backoff;
    record->is_removed = saved->is_removed;
    record->is_settled = saved->is_settled;
    record->orphans = (uint32_t)saved->orphans;
    record->has_crashed = saved->has_crashed;
    record->is_drained = saved->is_drained;
    if (saved->is_changing) {
        fpd_pools_begin_change(record);
    }
    if (saved->failure != NULL) {
        apr_cpystrn(record->failure, saved->failure, sizeof(record->failure));
    }
    if (!record->is_removed) {
        apr_hash_set(pools->records, record->name, APR_HASH_KEY_STRING, record);
    }
    for (int i = 0; i < saved->children->nelts; i++) {
        resume_child(record, &APR_ARRAY_IDX(saved->children, i, fpd_state_child));
    }
    if (saved->is_asleep && record->listener >= 0) {
        fpd_pools_fall_asleep(record);
    } else if (saved->retry_at != 0 || saved->is_asleep) {
        fpd_loop_timer_set(record->retry, saved->retry_at);
    }
}

void fpd_pools_resume(fpd_pools *pools, const fpd_state *state)
{
    fpd_listeners_never_wait(pools->listeners);
    fpd_listeners_resume(pools->listeners, state);
    pools->ended_requests = (uint64_t)state->ended_requests;
    pools->ended_slow_requests = (uint64_t)state->ended_slow_requests;
    pools->permits.orphaned = (uint32_t)state->orphans;
    pools->may_have_orphans = state->may_have_orphans;
    for (int i = 0; i < state->pools->nelts; i++) {
        resume_record(pools, APR_ARRAY_IDX(state->pools, i, fpd_state_pool *));
    }
}

void fpd_pools_say_inherited(const fpd_state *state, apr_pool_t *scratch)
{
    for (int i = 0; i < state->pools->nelts; i++) {
        const fpd_state_pool *saved = APR_ARRAY_IDX(state->pools, i, fpd_state_pool *);
        say_inherited(saved->listener, scratch);
        say_inherited(saved->status_listener, scratch);
    }
}
