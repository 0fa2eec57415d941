/* fpmp_admit.c - a request is let in to its pool, or waits for that, or is refused.
 *
 * Runs in an httpd child for each request. fpmp_limit decides, fpmp_queue counts; this looks at the
 * client and at the servers, and sleeps. A request of a pool without limits passes untouched. Must
 * not log, must not read from the client.
 */
#include "fpmp_admit.h"

#include "fpmp_client.h"
#include "fpmp_clock.h"

#include <httpd.h>
#include <apr_siphash.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>

#define ROUNDS 16 /* of a newcomer who always comes second: then he waits, or is refused */

/* ---- the client's address -------------------------------------------------------------------- */

/* An IPv6 client has a whole /64 network to choose addresses from. */
static uint64_t hash_address(const request_rec *r, const fpmp_share *share)
{
    const apr_sockaddr_t *from = r->useragent_addr;
    const unsigned char *bytes = from->ipaddr_ptr;
    apr_size_t length = (apr_size_t)from->ipaddr_len;
    if (from->family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&from->sa.sin6.sin6_addr)) {
        bytes += 12;
        length = 4;
    } else if (from->family == AF_INET6) {
        length = 8;
    }
    uint64_t hash = apr_siphash24(bytes, length, fpmp_share_secret(share));
    return hash ? hash : 1;
}

/* One too many of that address? Two at once may both see the other: they look again. */
static int is_one_too_many(fpmp_admission *admission, const request_rec *r)
{
    uint64_t address = hash_address(r, admission->stay.share);
    unsigned others = 0;
    for (int round = 0; round < ROUNDS; round++) {
        if (!fpmp_queue_count_address(&admission->stay, address, &others)) {
            return 1;
        }
        if (others < admission->limit.per_address) {
            admission->is_counted = 1;
            return 0;
        }
        fpmp_queue_forget_address(&admission->stay);
        sched_yield();
    }
    return 1;
}

/* ---- where it is ----------------------------------------------------------------------------- */

void fpmp_admit_leave(fpmp_admission *admission)
{
    if (admission->is_limited) {
        fpmp_queue_end(&admission->stay);
    }
    admission->is_limited = 0;
    admission->is_counted = 0;
    admission->pool = NULL;
}

void fpmp_admit_pause(fpmp_admission *admission)
{
    if (admission->is_limited) {
        fpmp_queue_give_back(&admission->stay);
    }
}

/* Its outer request has a place, and is not done before this one: it must not wait for it. */
static int is_part(const request_rec *r)
{
    for (const request_rec *outer = r->main; outer; outer = outer->main) {
        if (apr_table_get(outer->notes, "fpmpool-pool") &&
            !apr_table_get(outer->notes, "fpmpool-state")) {
            return 1;
        }
    }
    return 0;
}

/* Who waits longer than the request may last would be let in for nothing. */
static fpmp_limit find_limit(const fpmp_dir_conf *conf, const fpmp_global *global,
                             const fpmp_pool *pool, apr_interval_time_t total)
{
    fpmp_limit limit = fpmp_limit_resolve(&conf->section_limit, pool, &conf->server_limit,
                                          &global->defaults.limit, conf->retry_after);
    if (total > 0 && total < limit.wait) {
        limit.wait = total;
    }
    return limit;
}

void fpmp_admit_turn_to(fpmp_admission *admission, const request_rec *r, const fpmp_dir_conf *conf,
                        const fpmp_global *global, const fpmp_pool *pool, apr_interval_time_t total)
{
    if (admission->pool == pool) {
        return;
    }
    fpmp_admit_leave(admission);
    admission->pool = pool;
    admission->limit = find_limit(conf, global, pool, total);
    admission->is_limited =
        fpmp_limit_is_set(&admission->limit) && global->row != FPMP_NO_ROW && !is_part(r);
    admission->stay = (fpmp_stay){.share = global->share,
                                  .record = fpmp_balance_pool_record(global, pool),
                                  .row = global->row};
}

void fpmp_admit_release(const fpmp_global *global, const fpmp_pool *pool, const fpmp_server *server)
{
    fpmp_balance_release(global, server);
    if (server->max) {
        fpmp_queue_wake(global->share, fpmp_balance_pool_record(global, pool));
    }
}

/* ---- the wait -------------------------------------------------------------------------------- */

/* A request on its way in; lives while fpmp_admit_take runs. */
typedef struct entry {
    fpmp_admission *admission;
    request_rec *r;
    const fpmp_global *global;
    fpmp_wish *wish;
    uint64_t tried;
    fpmp_limit_view view;
    int client;       /* descriptor */
    apr_time_t began; /* to wait; 0: it has not */
    apr_interval_time_t before;
    uint64_t oldest; /* ticket that was first at the last look */
    int was_free;    /* and there was a place then */
    int was_woken;
} entry;

static void look(entry *of)
{
    fpmp_admission *admission = of->admission;
    fpmp_stay *stay = &admission->stay;
    fpmp_limit_view *view = &of->view;
    view->is_in_queue = stay->is_waiting;
    view->in_flight = admission->limit.requests ? fpmp_queue_in_flight(stay) : 0;
    view->waiting = fpmp_queue_waiting(stay);
    fpmp_queue_view queue = view->waiting ? fpmp_queue_look(stay) : (fpmp_queue_view){0, 0};
    view->elders = queue.elders;
    if (of->began) {
        admission->waited = of->before + fpmp_clock_now() - of->began;
    }
    view->waited = admission->waited;
    /* Whoever is first may be stopped (not dead): a place that nobody takes goes to the next. */
    int is_free = view->elders && view->is_in_queue && !of->was_woken &&
                  (!admission->limit.requests || view->in_flight < admission->limit.requests) &&
                  fpmp_balance_has_room(of->global, admission->pool, of->wish, of->tried);
    view->is_stalled = is_free && of->was_free && of->oldest == queue.oldest;
    of->was_free = is_free;
    of->oldest = queue.oldest;
}

/* Index of a server, FPMP_SELECT_DOWN, or FPMP_SELECT_FULL: then it has no place. */
static int try(entry *of)
{
    fpmp_admission *admission = of->admission;
    if (!fpmp_queue_take(&admission->stay, admission->limit.requests)) {
        return FPMP_SELECT_FULL;
    }
    int index =
        fpmp_balance_take(of->global, admission->pool, of->wish, of->tried, fpmp_clock_now());
    if (index == FPMP_SELECT_FULL) {
        of->view.has_server = 0;
        fpmp_queue_give_back(&admission->stay);
    }
    return index;
}

static void sleep_some(entry *of, uint32_t heard)
{
    fpmp_admission *admission = of->admission;
    apr_interval_time_t left = admission->limit.wait - admission->waited;
    of->was_woken =
        fpmp_queue_sleep(&admission->stay, heard, left < FPMP_QUEUE_LOOK ? left : FPMP_QUEUE_LOOK);
    of->view.has_server = 1;
}

static int refuse(entry *of, fpmp_limit_answer answer)
{
    of->admission->answer = answer;
    return answer == FPMP_LIMIT_FULL ? FPMP_SELECT_FULL : FPMP_ADMIT_REFUSED;
}

/* Only the server of his cookie will do: nobody shall wait behind one who waits for that. */
static int is_bound(const entry *of)
{
    return !of->view.has_server && of->wish->is_strict && of->wish->wanted >= 0;
}

/* It has tried and failed: what is known now. */
static fpmp_limit_answer think_again(entry *of)
{
    if (of->view.has_server) {
        of->view.in_flight = of->admission->limit.requests; /* others were first, again and again */
    }
    return is_bound(of) ? FPMP_LIMIT_FULL : fpmp_limit_decide(&of->admission->limit, &of->view);
}

static int join(entry *of)
{
    of->began = of->began ? of->began : fpmp_clock_now();
    of->client = fpmp_client_descriptor(of->r->connection);
    of->view.has_server = 1; /* one may have come free before it was in the queue */
    return fpmp_queue_join(&of->admission->stay, of->admission->limit.queue);
}

static int wait_for_turn(entry *of)
{
    fpmp_admission *admission = of->admission;
    fpmp_stay *stay = &admission->stay;
    int rounds = 0;
    for (;;) {
        uint32_t heard = stay->is_waiting ? fpmp_queue_listen(stay) : 0;
        look(of);
        if (stay->is_waiting && fpmp_client_is_gone(of->r->connection, of->client)) {
            return FPMP_ADMIT_GONE;
        }
        fpmp_limit_answer answer = fpmp_limit_decide(&admission->limit, &of->view);
        if (answer == FPMP_LIMIT_ENTER) {
            int index = try(of);
            if (index != FPMP_SELECT_FULL) {
                return index;
            }
            if (of->view.has_server && ++rounds < ROUNDS) {
                sched_yield();
                continue;
            }
            rounds = 0;
            answer = think_again(of);
        }
        if (answer != FPMP_LIMIT_WAIT) {
            return refuse(of, answer);
        }
        if (stay->is_waiting) {
            sleep_some(of, heard);
        } else if (!join(of)) {
            return refuse(of, FPMP_LIMIT_QUEUE_FULL);
        }
    }
}

int fpmp_admit_take(fpmp_admission *admission, request_rec *r, const fpmp_global *global,
                    fpmp_wish *wish, uint64_t tried, apr_time_t *now)
{
    fpmp_stay *stay = &admission->stay;
    *now = fpmp_clock_now();
    if (!admission->is_limited || (stay->has_place && tried)) {
        return fpmp_balance_take(global, admission->pool, wish, tried, *now);
    }
    entry of = {.admission = admission,
                .r = r,
                .global = global,
                .wish = wish,
                .tried = tried,
                .view = {.has_server = 1},
                .client = -1,
                .before = admission->waited};
    if (admission->limit.per_address && !admission->is_counted && is_one_too_many(admission, r)) {
        return refuse(&of, FPMP_LIMIT_PER_ADDRESS);
    }
    if (stay->has_place) {
        int index = fpmp_balance_take(global, admission->pool, wish, tried, *now);
        if (index != FPMP_SELECT_FULL) {
            return index;
        }
        fpmp_queue_give_back(stay);
    }
    int index = wait_for_turn(&of);
    fpmp_queue_leave(stay);
    *now = fpmp_clock_now();
    return index;
}
