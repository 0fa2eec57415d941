/* fpmp_select.c - which pool, which server, which time limits.
 *
 * Runs in an httpd child for each request. Pure: owns nothing, must not do I/O or log.
 */
#include "fpmp_select.h"

const fpmp_pool *fpmp_select_pool(apr_hash_t *pools, const char *name)
{
    return apr_hash_get(pools, name, APR_HASH_KEY_STRING);
}

fpmp_retry fpmp_select_retry(const fpmp_retry *section, const fpmp_pool *pool,
                             const fpmp_retry *server)
{
    static const fpmp_retry usual = {1, FPMP_RETRY_SAFE, FPMP_ATTEMPTS_DEFAULT, FPMP_WITHIN_DEFAULT,
                                     FPMP_RETRY_BODY_DEFAULT};
    if (section->is_set) {
        return *section;
    }
    if (pool->retry.is_set) {
        return pool->retry;
    }
    return server->is_set ? *server : usual;
}

/* ---- one of several servers ------------------------------------------------------------------ */

static int is_full(const fpmp_server *server, const fpmp_view *view)
{
    return server->max && view->in_flight >= server->max;
}

static int is_usable(const fpmp_server *server, const fpmp_view *view)
{
    return view->is_up && !view->was_tried && !view->is_drained && !is_full(server, view);
}

static int is_trial(const fpmp_server *server, const fpmp_view *view)
{
    return view->may_try && !view->was_tried && !view->is_drained && !is_full(server, view);
}

/* Backups stand behind all groups of the others. */
static int64_t tier_of(const fpmp_server *server)
{
    return ((int64_t)server->is_backup << 32) + server->group;
}

unsigned fpmp_select_cold(unsigned slowstart, uint64_t risen, uint64_t now)
{
    if (!slowstart || !risen || now >= risen + slowstart) {
        return 0;
    }
    uint64_t age = now > risen ? now - risen : 0;
    unsigned cold = (unsigned)(100 - age * 100 / slowstart);
    return cold < 100 ? cold : 99; /* it gets something at once: else it never warms up */
}

/* The candidates: usable servers of one tier, with the weights that they carry now. */
typedef struct candidates {
    int index[FPMP_SERVERS_MAX];
    unsigned weights[FPMP_SERVERS_MAX];
    int count;
    unsigned weight; /* their sum */
    int is_cold;     /* at least one: weights are hundredths */
} candidates;

static void add(candidates *to, int index, unsigned weight)
{
    to->index[to->count] = index;
    to->weights[to->count++] = weight;
    to->weight += weight;
}

static unsigned weight_of(const fpmp_server *servers, const fpmp_view *views, int index)
{
    return views[index].weight ? views[index].weight : (unsigned)servers[index].weight;
}

/* While all are warm their weights stay as they are: small numbers make short rounds. */
static void weigh(candidates *of, const fpmp_server *servers, const fpmp_view *views)
{
    of->weight = 0;
    for (int i = 0; i < of->count; i++) {
        of->is_cold |= views[of->index[i]].cold > 0;
    }
    for (int i = 0; i < of->count; i++) {
        unsigned weight = weight_of(servers, views, of->index[i]);
        of->weights[i] = of->is_cold ? weight * (100 - views[of->index[i]].cold) : weight;
        of->weight += of->weights[i];
    }
}

static unsigned common_divisor(unsigned a, unsigned b)
{
    while (b) {
        unsigned rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* A step that visits every point of 0..total-1 once before it comes back, far from the last one: so
 * that a heavy server does not get its share in one run. */
static unsigned stride(unsigned total)
{
    unsigned step = total * 618 / 1000;
    while (step > 1 && common_divisor(step, total) != 1) {
        step--;
    }
    return step ? step : 1;
}

static int in_turn(const candidates *among, uint32_t turn)
{
    unsigned point = (unsigned)((uint64_t)turn * stride(among->weight) % among->weight);
    int at = 0;
    while (point >= among->weights[at]) {
        point -= among->weights[at++];
    }
    return among->index[at];
}

static int is_cold_and_idle(const fpmp_view *view)
{
    return view->cold && !view->in_flight;
}

/* A cold server that has nothing to do is always the one with the least: it is taken in its turn
 * only. */
static int with_least(const candidates *among, const fpmp_view *views, uint32_t turn)
{
    candidates least = {.count = 0};
    int next = among->is_cold ? in_turn(among, turn) : among->index[0];
    if (is_cold_and_idle(&views[next])) {
        return next;
    }
    for (int i = 0; i < among->count; i++) {
        int at = among->index[i];
        if (is_cold_and_idle(&views[at])) {
            continue;
        }
        int best = least.count ? least.index[0] : at;
        unsigned best_weight = least.count ? least.weights[0] : among->weights[i];
        uint64_t here = (uint64_t)views[at].in_flight * best_weight;
        uint64_t there = (uint64_t)views[best].in_flight * among->weights[i];
        if (here < there) {
            least = (candidates){.count = 0};
        }
        if (here <= there) {
            add(&least, at, among->weights[i]);
        }
    }
    for (int i = 0; among->is_cold && i < least.count; i++) {
        if (least.index[i] == next) {
            return next; /* whose turn it is in the whole round */
        }
    }
    return in_turn(&least, turn);
}

/* splitmix64's last steps: each bit of the result depends on each of the input. */
static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

/* A cold server gets its texts one after another: each comes at its own percent, and stays. */
static int has_text(const fpmp_view *view, uint64_t key)
{
    return mix(key + view->key) % 100 >= view->cold;
}

/* Rendezvous hashing: a server that leaves gives its texts to all the others, and nobody else's
 * move. A weight of n is n throws. */
static int by_hash(const candidates *among, const fpmp_server *servers, const fpmp_view *views,
                   uint64_t key)
{
    uint64_t highest = 0;
    int chosen = among->index[0];
    int is_found = 0;
    for (int i = 0; i < among->count; i++) {
        int at = among->index[i];
        int has_it = has_text(&views[at], key);
        for (int copy = 0; copy < (int)weight_of(servers, views, at); copy++) {
            uint64_t score = mix(key ^ mix(views[at].key + (uint64_t)copy));
            /* If nobody has it, who would have it. */
            if (has_it > is_found || (has_it == is_found && score >= highest)) {
                is_found = has_it;
                highest = score;
                chosen = at;
            }
        }
    }
    return chosen;
}

static int choose(const candidates *among, const fpmp_server *servers, const fpmp_view *views,
                  const fpmp_wish *wish)
{
    switch (wish->balance) {
    case FPMP_BALANCE_ROUNDROBIN:
        return in_turn(among, wish->turn);
    case FPMP_BALANCE_FIRST:
        return among->index[0];
    case FPMP_BALANCE_HASH:
        if (wish->key) {
            return by_hash(among, servers, views, wish->key);
        }
        break;
    case FPMP_BALANCE_LEAST:
    case FPMP_BALANCE_STICKY:
        break;
    }
    return with_least(among, views, wish->turn);
}

static int failed_longest_ago(const fpmp_server *servers, const fpmp_view *views, int count)
{
    int found = FPMP_SELECT_DOWN;
    for (int i = 0; i < count; i++) {
        if (!views[i].was_tried && !views[i].is_drained && !is_full(&servers[i], &views[i]) &&
            (found < 0 || views[i].since < views[found].since)) {
            found = i;
        }
    }
    return found;
}

static int of_tier(const fpmp_server *servers, const fpmp_view *views, int count, int64_t tier,
                   const fpmp_wish *wish)
{
    candidates usable = {.count = 0};
    int trial = FPMP_SELECT_DOWN;
    for (int i = 0; i < count; i++) {
        if (tier_of(&servers[i]) != tier) {
            continue;
        }
        if (is_usable(&servers[i], &views[i])) {
            add(&usable, i, 0);
        } else if (is_trial(&servers[i], &views[i]) && trial < 0) {
            trial = i;
        }
    }
    if (trial >= 0 && (!wish->avoids_trials || !usable.count)) {
        return trial;
    }
    weigh(&usable, servers, views);
    return usable.count ? choose(&usable, servers, views, wish) : FPMP_SELECT_DOWN;
}

/* The lowest tier above `below` (of any server), or -1. */
static int64_t next_tier(const fpmp_server *servers, int count, int64_t below)
{
    int64_t found = -1;
    for (int i = 0; i < count; i++) {
        int64_t tier = tier_of(&servers[i]);
        if (tier > below && (found < 0 || tier < found)) {
            found = tier;
        }
    }
    return found;
}

int fpmp_select_server(const fpmp_server *servers, const fpmp_view *views, int count,
                       const fpmp_wish *wish)
{
    int wanted = wish->wanted;
    if (wanted >= 0 && wanted < count &&
        (is_usable(&servers[wanted], &views[wanted]) ||
         is_trial(&servers[wanted], &views[wanted]))) {
        return wanted;
    }
    /* Who drains a server sends its visitors elsewhere. */
    int is_bound = wanted >= 0 && wish->is_strict && !(wanted < count && views[wanted].is_drained);
    int64_t tier = -1;
    while (!is_bound && (tier = next_tier(servers, count, tier)) >= 0) {
        int found = of_tier(servers, views, count, tier, wish);
        if (found >= 0) {
            return found;
        }
    }
    int found = FPMP_SELECT_DOWN;
    if (wish->takes_down && !is_bound) {
        found = failed_longest_ago(servers, views, count);
    } else if (wish->takes_down && wanted < count && !views[wanted].was_tried) {
        return wanted;
    }
    for (int i = 0; found < 0 && i < count; i++) {
        if (views[i].is_up && !views[i].was_tried && !views[i].is_drained &&
            is_full(&servers[i], &views[i])) {
            return FPMP_SELECT_FULL;
        }
    }
    return found;
}

/* ---- limits and connections ------------------------------------------------------------------ */

fpmp_timeouts fpmp_select_timeouts(const fpmp_timeouts *section, const fpmp_pool *pool,
                                   const fpmp_timeouts *server)
{
    fpmp_timeouts result = {.connect = FPMP_CONNECT_DEFAULT,
                            .first = FPMP_FIRST_DEFAULT,
                            .idle = FPMP_IDLE_DEFAULT,
                            .total = FPMP_TOTAL_DEFAULT,
                            .keep = FPMP_KEEP_DEFAULT,
                            .connect_set = 1,
                            .first_set = 1,
                            .idle_set = 1,
                            .total_set = 1,
                            .keep_set = 1};
    fpmp_pool_overlay(&result, server);
    fpmp_pool_overlay(&result, &pool->timeouts);
    fpmp_pool_overlay(&result, section);
    return result;
}

int fpmp_select_may_reuse(const fpmp_server *server, int is_idempotent, int has_body,
                          int is_streamed)
{
    if (!server->reuses || is_streamed) {
        return 0;
    }
    if (server->type == FPMP_TYPE_FPMPOOL && server->address.path) {
        return 1;
    }
    return is_idempotent && !has_body;
}
