/* fpmp_balance.c - the servers of a pool as they are now: which of them gets a request.
 *
 * Runs in an httpd child for each attempt of a request. Reads the shared memory, lets fpmp_select
 * decide and counts the request there. Must not connect and must not log.
 */
#include "fpmp_balance.h"
#include "fpmp_clock.h"

#include <http_core.h>
#include <http_protocol.h>
#include <ap_expr.h>
#include <apr_strings.h>
#include <sched.h>
#include <string.h>

#define ROUNDS_MOST 64 /* how often others may come first: then it counts as full */

/* ---- what the request wants ------------------------------------------------------------------ */

static int is_cookie(const char *at, const char *name, size_t length)
{
    return !strncmp(at, name, length) && at[length] == '=';
}

/* The value of a cookie, or NULL. */
static const char *find_cookie(request_rec *r, const char *name)
{
    const char *at = apr_table_get(r->headers_in, "Cookie");
    size_t length = strlen(name);
    while (at && *at) {
        at += strspn(at, " ;");
        if (is_cookie(at, name, length)) {
            const char *value = at + length + 1;
            return apr_pstrmemdup(r->pool, value, strcspn(value, "; "));
        }
        at = strchr(at, ';');
    }
    return NULL;
}

/* A visitor's cookie names a server by this; it need not be secret: all it can choose is a server
 * of the same pool. */
static const char *tag_of(request_rec *r, const fpmp_pool *pool, const fpmp_server *server)
{
    return apr_psprintf(r->pool, "%016" APR_UINT64_T_HEX_FMT,
                        (apr_uint64_t)fpmp_share_key(pool->name, server->name));
}

static int find_wanted(request_rec *r, const fpmp_pool *pool)
{
    const char *value = find_cookie(r, pool->cookie);
    for (int i = 0; value && i < pool->server_count; i++) {
        if (!strcmp(value, tag_of(r, pool, &pool->servers[i]))) {
            return i;
        }
    }
    return -1;
}

void fpmp_balance_wish(request_rec *r, const fpmp_pool *pool, fpmp_wish *wish)
{
    *wish = (fpmp_wish){.balance = pool->balance, .wanted = -1, .is_strict = pool->is_strict};
    if (pool->balance == FPMP_BALANCE_HASH && pool->server_count > 1) {
        const char *wrong = NULL;
        const char *text = ap_expr_str_exec(r, pool->expression, &wrong);
        wish->key = !wrong && text && *text ? fpmp_share_key("", text) : 0;
    } else if (pool->balance == FPMP_BALANCE_STICKY) {
        wish->wanted = find_wanted(r, pool);
    }
}

void fpmp_balance_tie(request_rec *r, const fpmp_pool *pool, const fpmp_wish *wish, int index)
{
    if (pool->balance == FPMP_BALANCE_STICKY && wish->wanted != index) {
        apr_table_addn(r->err_headers_out, "Set-Cookie",
                       apr_pstrcat(r->pool, pool->cookie, "=",
                                   tag_of(r, pool, &pool->servers[index]),
                                   "; Path=/; HttpOnly; SameSite=Lax",
                                   !strcmp(ap_http_scheme(r), "https") ? "; Secure" : "", NULL));
    }
}

/* ---- the servers now ------------------------------------------------------------------------- */

static void look(const fpmp_global *global, const fpmp_pool *pool, uint64_t tried, uint64_t time,
                 fpmp_view *views)
{
    int counts = pool->server_count > 1 && pool->balance != FPMP_BALANCE_ROUNDROBIN &&
                 pool->balance != FPMP_BALANCE_FIRST;
    for (int i = 0; i < pool->server_count; i++) {
        const fpmp_server *server = &pool->servers[i];
        fpmp_record *record = fpmp_balance_record(global, server);
        fpmp_health health = atomic_load(&record->health);
        views[i].is_up = fpmp_health_state_of(health) == FPMP_HEALTH_UP;
        views[i].may_try = !views[i].is_up && fpmp_health_may_try(health, &pool->health, time);
        fpmp_admin admin = atomic_load_explicit(&record->admin, memory_order_relaxed);
        views[i].was_tried = (tried >> i) & 1;
        views[i].is_drained = fpmp_admin_mode_of(admin) != FPMP_ADMIN_READY;
        views[i].weight = (unsigned)fpmp_admin_weight(admin, server->weight);
        views[i].since = fpmp_health_since(health);
        views[i].cold = server->slowstart
                            ? fpmp_select_cold(server->slowstart, atomic_load(&record->risen), time)
                            : 0;
        views[i].in_flight =
            counts || server->max ? fpmp_share_sum(global->share, record->in_flight) : 0;
        views[i].key = record->head.key;
    }
}

/* Down, and this request is not its trial: another one was first. */
static int lost_trial(const fpmp_global *global, const fpmp_pool *pool, const fpmp_view *view,
                      const fpmp_server *server, uint64_t time)
{
    if (view->is_up || !view->may_try) {
        return 0;
    }
    return fpmp_health_report(&fpmp_balance_record(global, server)->health, FPMP_HEALTH_TRY,
                              &pool->health, time, time) != FPMP_HEALTH_TRIED;
}

int fpmp_balance_take(const fpmp_global *global, const fpmp_pool *pool, fpmp_wish *wish,
                      uint64_t tried, apr_time_t now)
{
    fpmp_view views[FPMP_SERVERS_MAX];
    uint64_t time = fpmp_health_time(now);
    if (pool->server_count > 1) {
        wish->turn = atomic_fetch_add(&fpmp_balance_pool_record(global, pool)->turn, 1);
    }
    for (int round = 0; round < ROUNDS_MOST; round++) {
        look(global, pool, tried, time, views);
        int index = fpmp_select_server(pool->servers, views, pool->server_count, wish);
        if (index < 0) {
            return index;
        }
        const fpmp_server *server = &pool->servers[index];
        fpmp_record *record = fpmp_balance_record(global, server);
        if (lost_trial(global, pool, &views[index], server, time) && !wish->takes_down) {
            continue;
        }
        fpmp_share_count(record->in_flight, global->row, 1);
        /* Counted first, then looked again: two at once cannot both take the last place. */
        if (!server->max || fpmp_share_sum(global->share, record->in_flight) <= server->max) {
            return index;
        }
        fpmp_share_count(record->in_flight, global->row, -1);
        sched_yield(); /* so that two who both want the last place do not meet again and again */
    }
    return FPMP_SELECT_FULL;
}

int fpmp_balance_has_room(const fpmp_global *global, const fpmp_pool *pool, const fpmp_wish *wish,
                          uint64_t tried)
{
    fpmp_view views[FPMP_SERVERS_MAX];
    look(global, pool, tried, fpmp_health_time(fpmp_clock_now()), views);
    return fpmp_select_server(pool->servers, views, pool->server_count, wish) != FPMP_SELECT_FULL;
}

void fpmp_balance_release(const fpmp_global *global, const fpmp_server *server)
{
    fpmp_share_count(fpmp_balance_record(global, server)->in_flight, global->row, -1);
}

void fpmp_balance_end(const fpmp_global *global, const fpmp_pool *const *pools, int pool_count,
                      const fpmp_server *server, const char *state, uint64_t bytes,
                      apr_time_t began, apr_time_t end)
{
    for (int i = 0; i < pool_count; i++) {
        const fpmp_pool *pool = pools[i];
        if (server >= pool->servers && server < pool->servers + pool->server_count) {
            fpmp_share_end(global->share, fpmp_balance_pool_record(global, pool),
                           fpmp_balance_record(global, server), state, bytes,
                           (uint64_t)(end - began), end);
            return;
        }
    }
}
