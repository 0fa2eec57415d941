/* dispatch.c - claims workers, assigns connections, takes them back, settles after deaths.
 *
 * Runs in the pool process; the exact protocol is dispatch.md, the words are compare-and-swapped
 * through board.h. It must not write to a connection whose worker lives.
 */
#include "pool/dispatch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "pool/answer.h"
#include "pool/limits.h"

#define ASSIGN_TIME INT64_C(1000000) /* dispatch.md 1: not RUNNING after this: taken back */
#define LOOKS_MAX   16               /* looks at the head of one waiting request */

static fpd_slot *slot_of(const fpd_child *child)
{
    return &child->pool->board->slots[child->slot];
}

/* ---- the queue ---------------------------------------------------------------------------- */

static void arm_queue_timer(fpd_pool *pool)
{
    int64_t next = fpd_queue_next_expiry(pool->queue, pool->plan->queue_timeout * INT64_C(1000000));

    if (next == 0) {
        fpd_loop_timer_cancel(pool->queue_timer);
    } else {
        fpd_loop_timer_set(pool->queue_timer, next);
    }
}

/* Sequentially consistent: workers that become idle look at it (board.h). */
static void publish_length(fpd_pool *pool)
{
    uint32_t length = fpd_queue_length(pool->queue);

    atomic_store(&pool->board->queue_length, length);
    if (length > atomic_load(&pool->board->max_queue_length)) {
        atomic_store(&pool->board->max_queue_length, length);
    }
    arm_queue_timer(pool);
}

void fpd_dispatch_forget(fpd_connection *connection)
{
    if (fpd_queue_remove(connection->pool->queue, connection->index)) {
        publish_length(connection->pool);
    }
}

static void expire_queue(void *context)
{
    fpd_pool *pool = context;
    int64_t timeout = pool->plan->queue_timeout * INT64_C(1000000);
    uint32_t index;

    while ((index = fpd_queue_expired(pool->queue, fpd_loop_now(pool->loop), timeout)) !=
           FPD_QUEUE_NONE) {
        char reason[128];
        (void)snprintf(reason, sizeof(reason), "no worker became free within queue.timeout (%d s)",
                       (int)pool->plan->queue_timeout);
        fpd_answer_refuse(fpd_connections_at(pool, index), reason);
    }
    arm_queue_timer(pool);
}

void fpd_dispatch_refuse_all(fpd_pool *pool, const char *reason)
{
    uint32_t index;

    while ((index = fpd_queue_first(pool->queue)) != FPD_QUEUE_NONE) {
        fpd_answer_refuse(fpd_connections_at(pool, index), reason);
    }
}

/* ---- claiming ----------------------------------------------------------------------------- */

typedef struct candidate {
    fpd_child *child;
    uint64_t word;
    int has_lane;
    int64_t idle_since;
} candidate;

/* Without a lane first: nothing is taken from anyone; among these the last used (its caches are
 * warm). Then the lane that has been quiet for longest. */
static int is_better(const candidate *left, const candidate *right)
{
    if (right->child == NULL || left->has_lane != right->has_lane) {
        return right->child == NULL || !left->has_lane;
    }
    return left->has_lane ? left->idle_since < right->idle_since
                          : left->idle_since > right->idle_since;
}

static candidate choose(fpd_pool *pool)
{
    candidate best = {.child = NULL};
    uint32_t active = 1; /* the one that is about to be */

    for (uint32_t i = 0; i < pool->slot_count; i++) {
        fpd_child *child = fpd_spawn_child(pool, i);
        fpd_slot *slot = &pool->board->slots[i];
        candidate one = {.child = child, .word = atomic_load(&slot->word)};
        fpd_slot_state state = FPD_SLOT_STATE(one.word);
        active += state >= FPD_SLOT_CLAIMED;
        if ((state != FPD_SLOT_IDLE && state != FPD_SLOT_IDLE_NO_LANE) ||
            !fpd_spawn_is_usable(child)) {
            continue;
        }
        one.has_lane = state == FPD_SLOT_IDLE && atomic_load(&slot->has_lane) != 0;
        one.idle_since = atomic_load(&slot->idle_since);
        if (is_better(&one, &best)) {
            best = one;
        }
    }
    if (best.child != NULL && active > atomic_load(&pool->board->max_active)) {
        atomic_store(&pool->board->max_active, active);
    }
    return best;
}

/* A lane at a clean point, nothing of its next request was read: it is watched here again. What was
 * once read before it was assigned has been served. */
static void watch_lane(fpd_connection *lane)
{
    fpd_connections_drop_leftover(lane);
    fpd_connections_watch(lane);
}

/* The slot was IDLE and is ours now, and so is its lane. */
static void take_lane(fpd_child *child)
{
    fpd_slot *slot = slot_of(child);
    fpd_connection *lane;

    if (atomic_load(&slot->has_lane) == 0) {
        return;
    }
    lane = fpd_connections_at(child->pool, atomic_load(&slot->lane_index));
    if (lane != NULL && lane->state == FPD_CONNECTION_WORKER && lane->slot == child->slot) {
        watch_lane(lane);
    }
}

static int claim(fpd_child *child, uint64_t *word)
{
    fpd_slot_state before = FPD_SLOT_STATE(*word);

    if (!fpd_slot_move(slot_of(child), word, FPD_SLOT_CLAIMED)) {
        return 0;
    }
    if (before == FPD_SLOT_IDLE) {
        take_lane(child);
    }
    return 1;
}

static fpd_child *claim_any(fpd_pool *pool, uint64_t *word)
{
    for (uint32_t i = 0; i <= pool->slot_count; i++) {
        candidate best = choose(pool);
        if (best.child == NULL) {
            return NULL;
        }
        if (claim(best.child, &best.word)) { /* else its lane became readable: look again */
            *word = best.word;
            return best.child;
        }
    }
    return NULL;
}

int fpd_dispatch_retire(fpd_child *child)
{
    uint64_t word = atomic_load(&slot_of(child)->word);
    fpd_slot_state state = FPD_SLOT_STATE(word);

    if (!fpd_spawn_is_usable(child) || (state != FPD_SLOT_IDLE && state != FPD_SLOT_IDLE_NO_LANE) ||
        !claim(child, &word)) {
        return 0;
    }
    child->is_retiring = 1;
    if (fpd_channel_send(child->channel, FPD_MESSAGE_RETIRE, NULL, 0, NULL, 0, NULL, 0,
                         MSG_DONTWAIT) != APR_SUCCESS) {
        fpd_spawn_kill(child, SIGKILL); /* it does not read, and it has no request */
    }
    return 1;
}

/* ---- assigning ---------------------------------------------------------------------------- */

void fpd_dispatch_requeue(fpd_connection *connection)
{
    fpd_pool *pool = connection->pool;

    fpd_connections_hold(connection);
    if (pool->phase == FPD_POOL_STOPPING && !pool->is_giving) {
        fpd_answer_refuse(connection, "the pool stops");
        return;
    }
    if (fpd_connections_register(connection, FPD_CONNECTION_QUEUED, 0)) {
        fpd_queue_push_first(pool->queue, connection->index, connection->ready_at);
        publish_length(pool);
    }
}

/* connection is HELD, word is the child's slot, CLAIMED. Returns 0 when the child did not take it:
 * it is queued again. */
static int assign(fpd_child *child, fpd_connection *connection, uint64_t word)
{
    fpd_pool *pool = child->pool;
    fpd_message_assign message = {.claimed_word = word,
                                  .ready_at = connection->ready_at,
                                  .connection = fpd_connections_id(connection),
                                  .leftover = (uint32_t)connection->leftover_length};
    apr_status_t status = fpd_channel_send(
        child->channel, FPD_MESSAGE_ASSIGN, &message, sizeof(message), connection->leftover,
        connection->leftover_length, &connection->fd, 1, MSG_DONTWAIT);

    if (status != APR_SUCCESS) {
        /* dead, or it does not read: it holds no request, so it can go */
        fpd_log_errno(FPD_LOG_NOTICE, status, "child %d does not take messages, it is replaced",
                      (int)child->pid);
        child->is_parked = 1;
        fpd_spawn_kill(child, SIGKILL);
        fpd_dispatch_requeue(connection);
        return 0;
    }
    connection->state = FPD_CONNECTION_WORKER;
    connection->slot = child->slot;
    connection->claimed_word = word;
    connection->is_fresh = 0;
    child->assigned = message.connection;
    child->claimed_word = word;
    child->assigned_at = fpd_loop_now(pool->loop);
    if (!fpd_loop_timer_is_set(pool->assign_timer)) {
        fpd_loop_timer_set(pool->assign_timer, child->assigned_at + ASSIGN_TIME);
    }
    return 1;
}

static void take_back(fpd_child *child)
{
    fpd_connection *connection = fpd_connections_find(child->pool, child->assigned);
    uint64_t word = child->claimed_word;

    child->claimed_word = 0;
    if (!fpd_slot_move(slot_of(child), &word, FPD_SLOT_CLAIMED)) {
        return; /* it began in this moment */
    }
    fpd_log(FPD_LOG_NOTICE, "child %d did not begin a request within %d ms, another one gets it",
            (int)child->pid, (int)(ASSIGN_TIME / 1000));
    child->is_parked = 1;
    if (connection != NULL && connection->state == FPD_CONNECTION_WORKER &&
        connection->slot == child->slot) {
        fpd_dispatch_requeue(connection);
    }
}

static void check_assigned(void *context)
{
    fpd_pool *pool = context;
    int64_t now = fpd_loop_now(pool->loop);
    int64_t next = 0;
    int took_back = 0;

    for (uint32_t i = 0; i < pool->slot_count; i++) {
        fpd_child *child = fpd_spawn_child(pool, i);
        if (child->claimed_word == 0) {
            continue;
        }
        if (atomic_load(&pool->board->slots[i].word) != child->claimed_word) {
            child->claimed_word = 0; /* taken up */
        } else if (now - child->assigned_at >= ASSIGN_TIME) {
            take_back(child);
            took_back = 1;
        } else if (next == 0 || child->assigned_at + ASSIGN_TIME < next) {
            next = child->assigned_at + ASSIGN_TIME;
        }
    }
    if (next != 0) {
        fpd_loop_timer_set(pool->assign_timer, next);
    }
    if (took_back) {
        fpd_dispatch_run(pool);
    }
}

/* ---- requests ----------------------------------------------------------------------------- */

void fpd_dispatch_run(fpd_pool *pool)
{
    if (pool->is_giving) {
        fpd_pool_wake(pool); /* what waits is handed over */
        return;
    }
    while (fpd_queue_length(pool->queue) > 0) {
        fpd_connection *connection;
        uint64_t word;
        fpd_child *child = claim_any(pool, &word);
        if (child == NULL) {
            fpd_spawn_follow_queue(pool);
            return;
        }
        connection = fpd_connections_at(pool, fpd_queue_first(pool->queue));
        fpd_connections_hold(connection); /* out of the queue and out of epoll */
        (void)assign(child, connection, word);
    }
}

static void enqueue(fpd_connection *connection, fpd_answer_match match, int is_admitted)
{
    fpd_pool *pool = connection->pool;
    char reason[128];

    if (!is_admitted && fpd_queue_is_full(pool->queue)) {
        (void)snprintf(reason, sizeof(reason), "the queue is full: %u requests wait for a worker",
                       fpd_queue_length(pool->queue));
        fpd_answer_refuse(connection, reason);
        return;
    }
    fpd_connections_set_deadline(connection, FPD_DEADLINE_NONE);
    connection->looks = 1;
    if (!fpd_connections_register(connection, FPD_CONNECTION_QUEUED,
                                  match == FPD_ANSWER_INCOMPLETE ? EPOLLIN : 0)) {
        return;
    }
    if (is_admitted) {
        fpd_queue_insert(pool->queue, connection->index, connection->ready_at);
    } else {
        (void)fpd_queue_push(pool->queue, connection->index, connection->ready_at);
    }
    publish_length(pool);
    fpd_dispatch_run(pool); /* the second look at the slots, after the length was raised */
}

void fpd_dispatch_request(fpd_connection *connection)
{
    fpd_pool *pool = connection->pool;
    int is_admitted = connection->is_admitted;
    fpd_answer_match match;
    uint64_t word;

    connection->is_admitted = 0;
    if (!connection->is_status) {
        pool->busy_at = fpd_loop_now(pool->loop);
    }
    if (pool->setup.refusal != NULL || (pool->phase == FPD_POOL_STOPPING && !pool->is_giving)) {
        fpd_answer_refuse(connection,
                          pool->setup.refusal != NULL ? pool->setup.refusal : "the pool stops");
        return;
    }
    if (connection->is_status) { /* the only way to a worker goes on below */
        fpd_answer_page_only(connection);
        return;
    }
    if (pool->is_giving) {
        enqueue(connection, FPD_ANSWER_NOT_OURS, 1);
        return;
    }
    if (fpd_queue_length(pool->queue) == 0) {
        fpd_child *child = claim_any(pool, &word);
        if (child != NULL) {
            fpd_connections_hold(connection);
            if (!assign(child, connection, word)) {
                fpd_dispatch_run(pool);
            }
            return;
        }
    }
    match = fpd_answer_try(connection);
    if (match == FPD_ANSWER_GIVEN) {
        return;
    }
    if (fpd_spawn_is_failing(pool)) {
        fpd_answer_refuse(connection, "its workers die at once; see the pool's log");
        return;
    }
    enqueue(connection, match, is_admitted);
}

void fpd_dispatch_look_again(fpd_connection *connection)
{
    fpd_answer_match match = FPD_ANSWER_NOT_OURS;

    if (connection->looks++ < LOOKS_MAX) {
        match = fpd_answer_try(connection);
    }
    if (match == FPD_ANSWER_NOT_OURS) {
        (void)fpd_connections_register(connection, FPD_CONNECTION_QUEUED, 0);
    }
}

/* ---- messages ----------------------------------------------------------------------------- */

static fpd_connection *had_by(fpd_child *child, fpd_connection_id id)
{
    fpd_connection *connection = fpd_connections_find(child->pool, id);

    return connection != NULL && connection->state == FPD_CONNECTION_WORKER &&
                   connection->slot == child->slot
               ? connection
               : NULL;
}

static int take_return(fpd_child *child, const fpd_message *message)
{
    const char *bytes = message->body;
    fpd_message_return returned;
    fpd_connection *connection;

    if (message->length < sizeof(returned)) {
        return 0;
    }
    memcpy(&returned, bytes, sizeof(returned));
    if (returned.leftover != message->length - sizeof(returned) ||
        returned.leftover > FPD_CHANNEL_BODY_MAX - sizeof(fpd_message_assign)) {
        return 0;
    }
    connection = had_by(child, returned.connection);
    if (connection == NULL) {
        return 1; /* it was taken from it meanwhile */
    }
    fpd_connections_drop_leftover(connection);
    switch (returned.kind) {
    case FPD_RETURN_KEEP:
        fpd_connections_set_leftover(connection, bytes + sizeof(returned), returned.leftover);
        if (returned.leftover > 0 && child->pool->phase == FPD_POOL_SERVING) {
            fpd_connections_hold(connection);
            fpd_connections_reread(connection);
        } else {
            fpd_connections_watch(connection);
        }
        return 1;
    case FPD_RETURN_LINGER:
        fpd_connections_linger(connection);
        return 1;
    case FPD_RETURN_CLOSE:
        fpd_connections_close(connection);
        return 1;
    default:
        return 0;
    }
}

/* The slot stays CLAIMED by us after a refusal: the child, which waits on its channel only, is free
 * again. */
static int take_refusal(fpd_child *child, const fpd_message *message)
{
    fpd_message_refused refused;
    fpd_connection *connection;
    uint64_t word = atomic_load(&slot_of(child)->word);

    if (message->length != sizeof(refused)) {
        return 0;
    }
    memcpy(&refused, message->body, sizeof(refused));
    child->claimed_word = 0;
    connection = had_by(child, refused.connection);
    if (connection != NULL && connection->claimed_word == refused.claimed_word) {
        fpd_dispatch_requeue(connection);
    }
    child->is_parked = 0;
    if (!child->is_retiring && FPD_SLOT_STATE(word) == FPD_SLOT_CLAIMED) {
        (void)fpd_slot_move(slot_of(child), &word, FPD_SLOT_IDLE_NO_LANE);
    }
    return 1;
}

int fpd_dispatch_message(fpd_child *child, const fpd_message *message)
{
    int is_good;

    switch (message->type) {
    case FPD_MESSAGE_RETURN:
        is_good = take_return(child, message);
        break;
    case FPD_MESSAGE_REFUSED:
        is_good = take_refusal(child, message);
        break;
    case FPD_MESSAGE_AVAILABLE:
        is_good = message->length == 0;
        break;
    default:
        is_good = 0;
    }
    fpd_dispatch_run(child->pool);
    return is_good;
}

/* ---- deaths ------------------------------------------------------------------------------- */

static void answer_for(fpd_child *child, fpd_connection *connection, uint64_t word, const char *how)
{
    fpd_slot *slot = slot_of(child);
    uint32_t request_id = atomic_load(&slot->request_id);
    wire_facts facts;
    fpd_slot_view view;
    char cause[768];

    if (FPD_SLOT_WORD(connection->claimed_word, FPD_SLOT_RUNNING) == word) {
        request_id = connection->request_id; /* the request that was assigned: what we saw counts */
    }
    if (request_id == 0 || request_id > UINT16_MAX) {
        fpd_connections_linger(connection);
        return;
    }
    fpd_board_read_slot(child->pool->board, child->slot, &view);
    (void)snprintf(cause, sizeof(cause), "child %d %s%s%s", (int)child->pid, how,
                   view.script[0] != '\0' ? " while it ran " : "", view.script);
    wire_facts_init(&facts);
    facts.worker = child->pid;
    fpd_connections_hold(connection);
    fpd_answer_failed(connection, (uint16_t)request_id,
                      fpd_limits_has_ended(child) ? FPD_ANSWER_TIMED_OUT : FPD_ANSWER_DIED, cause,
                      atomic_load(&slot->peer) != 0 ? &facts : NULL);
}

static void settle(fpd_child *child, fpd_connection *connection, uint64_t word, const char *how)
{
    switch (FPD_SLOT_STATE(word)) {
    case FPD_SLOT_CLAIMED:
        if (connection->claimed_word == word) {
            fpd_dispatch_requeue(connection); /* untouched */
        } else {
            fpd_connections_linger(connection);
        }
        break;
    case FPD_SLOT_IDLE:
        watch_lane(connection);
        break;
    case FPD_SLOT_RUNNING:
        answer_for(child, connection, word, how);
        break;
    default:
        fpd_connections_linger(connection); /* response begun or complete, or not to be trusted */
    }
}

void fpd_dispatch_bury(fpd_child *child, const char *how)
{
    fpd_pool *pool = child->pool;
    uint64_t word = atomic_load(&slot_of(child)->word);

    child->claimed_word = 0;
    for (uint32_t i = 0; i < fpd_connections_bound(pool); i++) {
        fpd_connection *connection = fpd_connections_at(pool, i);
        if (connection->state == FPD_CONNECTION_WORKER && connection->slot == child->slot) {
            settle(child, connection, word, how);
        }
    }
}

void fpd_dispatch_create(fpd_pool *pool)
{
    pool->assign_timer = fpd_loop_timer_create(pool->loop, check_assigned, pool);
    pool->queue_timer = fpd_loop_timer_create(pool->loop, expire_queue, pool);
}
