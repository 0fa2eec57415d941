/* test_fpmp_select.c - names, addresses, and which limits and connections a request gets. */
#include "unit.h"

#include "fpmp_select.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static apr_pool_t *memory;

static void set_up(void)
{
    ck_assert_int_eq(apr_initialize(), APR_SUCCESS);
    ck_assert_int_eq(apr_pool_create(&memory, NULL), APR_SUCCESS);
}

static void tear_down(void)
{
    apr_pool_destroy(memory);
    apr_terminate();
}

START_TEST(test_pool_names)
{
    static const char *const good[] = {"www", "a", "A-b_c.9", "0", "example.org"};
    static const char *const bad[] = {"", ".", "..", ".a", "a/b", "a b", "a\n", "\xc3\xa4", "a:b"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_msg(fpmp_address_is_pool_name(good[i]), "%s", good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(!fpmp_address_is_pool_name(bad[i]), "%s", bad[i]);
    }
    char name[FPMP_POOL_NAME_MAX + 2];
    memset(name, 'n', sizeof(name));
    name[FPMP_POOL_NAME_MAX + 1] = '\0';
    ck_assert(!fpmp_address_is_pool_name(name));
    name[FPMP_POOL_NAME_MAX] = '\0';
    ck_assert(fpmp_address_is_pool_name(name));
}
END_TEST

START_TEST(test_unix_address)
{
    fpmp_address address;
    ck_assert_ptr_null(fpmp_address_parse(&address, "unix:/run/a.sock", memory));
    ck_assert_str_eq(address.label, "unix:/run/a.sock");
    ck_assert_str_eq(address.path, "/run/a.sock");
    const struct sockaddr_un *name = (const struct sockaddr_un *)&address.socket;
    ck_assert_int_eq(name->sun_family, AF_UNIX);
    ck_assert_str_eq(name->sun_path, "/run/a.sock");
    ck_assert_ptr_null(fpmp_address_imply(&address, "/run/fpmpool", "www", memory));
    ck_assert_str_eq(address.path, "/run/fpmpool/www.sock");
}
END_TEST

START_TEST(test_tcp_address)
{
    fpmp_address address;
    ck_assert_ptr_null(fpmp_address_parse(&address, "tcp://127.0.0.1:9000", memory));
    const struct sockaddr_in *four = (const struct sockaddr_in *)&address.socket;
    ck_assert_int_eq(four->sin_family, AF_INET);
    ck_assert_int_eq(ntohs(four->sin_port), 9000);
    ck_assert_ptr_null(fpmp_address_parse(&address, "tcp://[::1]:80", memory));
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address.socket;
    ck_assert_int_eq(six->sin6_family, AF_INET6);
    ck_assert_int_eq(ntohs(six->sin6_port), 80);
    ck_assert_ptr_null(fpmp_address_parse(&address, "TCP://php.example:9000", memory));
    ck_assert_str_eq(address.host, "php.example");
    ck_assert_int_eq((int)address.socket_length, 0);
    ck_assert_ptr_null(address.path);
}
END_TEST

START_TEST(test_bad_address)
{
    static const char *const bad[] = {"",          "unix:",         "unix:a",     "/run/a",
                                      "tcp://",    "tcp://host",    "tcp://:90",  "tcp://h:0",
                                      "tcp://h:x", "tcp://h:70000", "http://h:1", "tcp://::1",
                                      "9000",      "tcp://[::1]:"};
    fpmp_address address;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(fpmp_address_parse(&address, bad[i], memory) != NULL, "%s", bad[i]);
    }
    char *path = apr_palloc(memory, 200);
    memset(path, 'p', 199);
    path[199] = '\0';
    memcpy(path, "unix:/", 6);
    ck_assert_ptr_nonnull(strstr(fpmp_address_parse(&address, path, memory), "107"));
}
END_TEST

START_TEST(test_selects_by_name)
{
    apr_hash_t *pools = apr_hash_make(memory);
    fpmp_pool pool = {.name = "www"};
    apr_hash_set(pools, "www", APR_HASH_KEY_STRING, &pool);
    ck_assert_ptr_eq(fpmp_select_pool(pools, "www"), &pool);
    ck_assert_ptr_null(fpmp_select_pool(pools, "ww"));
}
END_TEST

START_TEST(test_most_specific_limit_counts)
{
    fpmp_timeouts server = {
        .connect = 11, .connect_set = 1, .first = 12, .first_set = 1, .idle = 13, .idle_set = 1};
    fpmp_timeouts section = {.idle = 33, .idle_set = 1};
    fpmp_pool pool = {.timeouts = {.first = 22, .first_set = 1, .idle = 23, .idle_set = 1}};
    fpmp_timeouts result = fpmp_select_timeouts(&section, &pool, &server);
    ck_assert_int_eq(result.connect, 11);
    ck_assert_int_eq(result.first, 22);
    ck_assert_int_eq(result.idle, 33);
    ck_assert_int_eq(result.keep, FPMP_KEEP_DEFAULT);
}
END_TEST

/* type, is it TCP, reuse=, idempotent, body, streamed -> may it go on a kept connection? */
static const struct {
    fpmp_server_type type;
    int is_tcp, reuses, is_idempotent, has_body, is_streamed, expected;
} reuse[] = {
    {FPMP_TYPE_FPMPOOL, 0, 1, 1, 0, 0, 1}, {FPMP_TYPE_FPMPOOL, 0, 1, 0, 1, 0, 1},
    {FPMP_TYPE_FPMPOOL, 0, 1, 0, 1, 1, 0}, {FPMP_TYPE_FPMPOOL, 0, 0, 1, 0, 0, 0},
    {FPMP_TYPE_FPMPOOL, 1, 1, 1, 0, 0, 1}, {FPMP_TYPE_FPMPOOL, 1, 1, 0, 0, 0, 0},
    {FPMP_TYPE_FPMPOOL, 1, 1, 1, 1, 0, 0}, {FPMP_TYPE_FPM, 0, 1, 1, 0, 0, 1},
    {FPMP_TYPE_FPM, 0, 1, 0, 0, 0, 0},     {FPMP_TYPE_FPM, 0, 1, 1, 1, 0, 0},
    {FPMP_TYPE_FPM, 0, 0, 1, 0, 0, 0},     {FPMP_TYPE_GENERIC, 0, 1, 0, 1, 0, 0},
};

START_TEST(test_reuse)
{
    fpmp_server server = {.type = reuse[_i].type, .reuses = reuse[_i].reuses};
    server.address.path = reuse[_i].is_tcp ? NULL : "/run/a.sock";
    ck_assert_int_eq(fpmp_select_may_reuse(&server, reuse[_i].is_idempotent, reuse[_i].has_body,
                                           reuse[_i].is_streamed),
                     reuse[_i].expected);
}
END_TEST

/* ---- one of several servers ------------------------------------------------------------------ */

#define UP  1
#define TRY 2 /* down, and a trial is due */
#define DN  0

/* A pool of up to four servers, what it looks like, and who gets the request. */
typedef struct case_server {
    int state, weight;
    unsigned in_flight, max;
    int group, is_backup, was_tried;
    uint64_t since;
    int is_drained;
    unsigned weight_now;
} case_server;

static const struct {
    const char *what;
    case_server servers[4];
    fpmp_wish wish;
    int expected;
} choices[] = {
    {"the idle one",
     {{.state = UP, .weight = 1, .in_flight = 1}, {.state = UP, .weight = 1}},
     {.wanted = -1},
     1},
    {"a weight of 3 carries 3",
     {{.state = UP, .weight = 3, .in_flight = 2}, {.state = UP, .weight = 1, .in_flight = 1}},
     {.wanted = -1},
     0},
    {"who is down gets nothing",
     {{.state = DN, .weight = 1}, {.state = UP, .weight = 1, .in_flight = 9}},
     {.wanted = -1},
     1},
    {"who had it gets it no more",
     {{.state = UP, .weight = 1, .was_tried = 1}, {.state = UP, .weight = 1, .in_flight = 9}},
     {.wanted = -1},
     1},
    {"a full one gets nothing",
     {{.state = UP, .weight = 1, .in_flight = 5, .max = 5},
      {.state = UP, .weight = 1, .in_flight = 9}},
     {.wanted = -1},
     1},
    {"all are full",
     {{.state = UP, .weight = 1, .in_flight = 5, .max = 5},
      {.state = UP, .weight = 1, .in_flight = 9, .max = 9}},
     {.wanted = -1},
     FPMP_SELECT_FULL},
    {"all are down",
     {{.state = DN, .weight = 1}, {.state = DN, .weight = 1}},
     {.wanted = -1},
     FPMP_SELECT_DOWN},
    {"down or full is full",
     {{.state = DN, .weight = 1}, {.state = UP, .weight = 1, .in_flight = 5, .max = 5}},
     {.wanted = -1},
     FPMP_SELECT_FULL},
    {"the lowest group",
     {{.state = UP, .weight = 1, .group = 1}, {.state = UP, .weight = 1, .in_flight = 9}},
     {.wanted = -1},
     1},
    {"the next group",
     {{.state = UP, .weight = 1, .group = 1}, {.state = DN, .weight = 1}},
     {.wanted = -1},
     0},
    {"no backup",
     {{.state = UP, .weight = 1, .is_backup = 1},
      {.state = UP, .weight = 1, .in_flight = 9, .group = 7}},
     {.wanted = -1},
     1},
    {"the backup",
     {{.state = UP, .weight = 1, .is_backup = 1}, {.state = DN, .weight = 1, .group = 7}},
     {.wanted = -1},
     0},
    {"the backup when all are full",
     {{.state = UP, .weight = 1, .in_flight = 3, .max = 3},
      {.state = UP, .weight = 1, .is_backup = 1}},
     {.wanted = -1},
     1},
    {"a trial comes first",
     {{.state = UP, .weight = 1}, {.state = TRY, .weight = 1}},
     {.wanted = -1},
     1},
    {"no trial in a later group",
     {{.state = UP, .weight = 1}, {.state = TRY, .weight = 1, .group = 1}},
     {.wanted = -1},
     0},
    {"no trial after a failure",
     {{.state = UP, .weight = 1}, {.state = TRY, .weight = 1}},
     {.wanted = -1, .avoids_trials = 1},
     0},
    {"... but rather than nothing",
     {{.state = DN, .weight = 1}, {.state = TRY, .weight = 1}},
     {.wanted = -1, .avoids_trials = 1},
     1},
    {"the one that failed longest ago",
     {{.state = DN, .weight = 1, .since = 30},
      {.state = DN, .weight = 1, .since = 10},
      {.state = DN, .weight = 1, .since = 20}},
     {.wanted = -1, .takes_down = 1},
     1},
    {"... and was not tried",
     {{.state = DN, .weight = 1, .since = 30},
      {.state = DN, .weight = 1, .since = 10, .was_tried = 1},
      {.state = DN, .weight = 1, .since = 20}},
     {.wanted = -1, .takes_down = 1},
     2},
    {"first in the list",
     {{.state = UP, .weight = 1, .in_flight = 9}, {.state = UP, .weight = 1}},
     {.wanted = -1, .balance = FPMP_BALANCE_FIRST},
     0},
    {"the next in the list",
     {{.state = UP, .weight = 1, .in_flight = 9, .max = 9}, {.state = UP, .weight = 1}},
     {.wanted = -1, .balance = FPMP_BALANCE_FIRST},
     1},
    {"the visitor's own",
     {{.state = UP, .weight = 1}, {.state = UP, .weight = 1, .in_flight = 9}},
     {.wanted = 1},
     1},
    {"his own is down",
     {{.state = UP, .weight = 1}, {.state = DN, .weight = 1, .in_flight = 9}},
     {.wanted = 1},
     0},
    {"strictly his own",
     {{.state = UP, .weight = 1}, {.state = DN, .weight = 1, .in_flight = 9}},
     {.wanted = 1, .is_strict = 1},
     FPMP_SELECT_DOWN},
    {"... even if it is down",
     {{.state = UP, .weight = 1}, {.state = DN, .weight = 1, .in_flight = 9}},
     {.wanted = 1, .is_strict = 1, .takes_down = 1},
     1},
    {"not a drained one",
     {{.state = UP, .weight = 1, .is_drained = 1}, {.state = UP, .weight = 1, .in_flight = 9}},
     {.wanted = -1},
     1},
    {"... nor for its trial",
     {{.state = TRY, .weight = 1, .is_drained = 1}, {.state = UP, .weight = 1}},
     {.wanted = -1},
     1},
    {"... nor as the last that is left",
     {{.state = DN, .weight = 1, .is_drained = 1}, {.state = UP, .weight = 1, .is_drained = 1}},
     {.wanted = -1, .takes_down = 1},
     FPMP_SELECT_DOWN},
    {"... nor as a full one",
     {{.state = UP, .weight = 1, .max = 1, .in_flight = 1, .is_drained = 1}},
     {.wanted = -1},
     FPMP_SELECT_DOWN},
    {"a backup for a drained one",
     {{.state = UP, .weight = 1, .is_drained = 1}, {.state = UP, .weight = 1, .is_backup = 1}},
     {.wanted = -1},
     1},
    {"its visitors go elsewhere",
     {{.state = UP, .weight = 1, .is_drained = 1}, {.state = UP, .weight = 1}},
     {.wanted = 0},
     1},
    {"... strict or not",
     {{.state = UP, .weight = 1, .is_drained = 1}, {.state = UP, .weight = 1}},
     {.wanted = 0, .is_strict = 1},
     1},
    {"the weight in force",
     {{.state = UP, .weight = 1, .in_flight = 9, .weight_now = 10},
      {.state = UP, .weight = 1, .in_flight = 1}},
     {.wanted = -1},
     0},
    {"... which may be smaller",
     {{.state = UP, .weight = 10, .in_flight = 2, .weight_now = 1},
      {.state = UP, .weight = 1, .in_flight = 1}},
     {.wanted = -1},
     1},
};

static int set_views(const case_server *from, fpmp_server *servers, fpmp_view *views)
{
    int count = 0;
    memset(servers, 0, 4 * sizeof(*servers));
    memset(views, 0, 4 * sizeof(*views));
    for (; count < 4 && from[count].weight; count++) {
        servers[count].weight = from[count].weight;
        servers[count].max = from[count].max;
        servers[count].group = from[count].group;
        servers[count].is_backup = from[count].is_backup;
        views[count].is_up = from[count].state == UP;
        views[count].may_try = from[count].state == TRY;
        views[count].was_tried = from[count].was_tried;
        views[count].is_drained = from[count].is_drained;
        views[count].weight = from[count].weight_now;
        views[count].in_flight = from[count].in_flight;
        views[count].since = from[count].since;
        views[count].key = ((uint64_t)count + 1) * 0xd1342543de82ef95;
    }
    return count;
}

START_TEST(test_chooses)
{
    fpmp_server servers[4];
    fpmp_view views[4];
    int count = set_views(choices[_i].servers, servers, views);
    for (uint32_t turn = 0; turn < 7; turn++) {
        fpmp_wish wish = choices[_i].wish;
        wish.turn = turn;
        int chosen = fpmp_select_server(servers, views, count, &wish);
        ck_assert_msg(chosen == choices[_i].expected, "%s: %d, not %d (turn %u)", choices[_i].what,
                      chosen, choices[_i].expected, turn);
    }
}
END_TEST

/* Each round of as many turns as there is weight gives everybody his share exactly, also to servers
 * that are all idle; nobody gets his in one run. */
START_TEST(test_weights_in_turn)
{
    static const case_server idle[4] = {
        {.state = UP, .weight = 5}, {.state = UP, .weight = 2}, {.state = UP, .weight = 1}};
    fpmp_server servers[4];
    fpmp_view views[4];
    int count = set_views(idle, servers, views);
    fpmp_wish wish = {.wanted = -1, .balance = _i ? FPMP_BALANCE_ROUNDROBIN : FPMP_BALANCE_LEAST};
    int run = 0;
    for (uint32_t start = 0; start < 80; start += 8) {
        int got[4] = {0};
        int last = -1;
        for (uint32_t turn = start; turn < start + 8; turn++) {
            wish.turn = turn;
            int chosen = fpmp_select_server(servers, views, count, &wish);
            run = chosen == last ? run + 1 : 1;
            last = chosen;
            ck_assert_int_lt(run, 4);
            got[chosen]++;
        }
        ck_assert_int_eq(got[0], 5);
        ck_assert_int_eq(got[1], 2);
        ck_assert_int_eq(got[2], 1);
    }
}
END_TEST

/* slowstart, came up at, now -> percent that is missing */
static const struct {
    unsigned slowstart;
    uint64_t risen, now;
    unsigned cold;
} ramps[] = {{30000, 0, 5, 0},           {30000, 1000, 1000, 99}, {30000, 1000, 1001, 99},
             {30000, 1000, 16000, 50},   {30000, 1000, 30999, 1}, {30000, 1000, 31000, 0},
             {0, 1000, 1000, 0},         {30000, 1000, 900, 99},  {100, 1000, 1025, 75},
             {86400000, 1, 43200001, 50}};

START_TEST(test_slow_start)
{
    ck_assert_uint_eq(fpmp_select_cold(ramps[_i].slowstart, ramps[_i].risen, ramps[_i].now),
                      ramps[_i].cold);
}
END_TEST

/* The share of a server of weight 1 beside two of weight 2, while it has 0, 1, 50, 90, 99 percent
 * of its weight missing: exact in each full round. */
START_TEST(test_cold_gets_less)
{
    static const case_server three[4] = {
        {.state = UP, .weight = 2}, {.state = UP, .weight = 2}, {.state = UP, .weight = 1}};
    static const unsigned colds[] = {0, 1, 50, 90, 99};
    unsigned cold = colds[_i % 5];
    fpmp_server servers[4];
    fpmp_view views[4];
    int count = set_views(three, servers, views);
    views[2].cold = cold;
    fpmp_wish wish = {.wanted = -1,
                      .balance = _i < 5 ? FPMP_BALANCE_ROUNDROBIN : FPMP_BALANCE_LEAST};
    unsigned round = cold ? 400 + 100 - cold : 5;
    unsigned got[4] = {0};
    for (wish.turn = 0; wish.turn < round; wish.turn++) {
        got[fpmp_select_server(servers, views, count, &wish)]++;
    }
    ck_assert_uint_eq(got[2], cold ? 100 - cold : 1);
    ck_assert_uint_eq(got[0], got[1]);
}
END_TEST

/* Requests that stay: an idle server that is cold is not simply the one with the least. */
START_TEST(test_cold_is_not_flooded)
{
    static const case_server two[4] = {{.state = UP, .weight = 1}, {.state = UP, .weight = 1}};
    fpmp_server servers[4];
    fpmp_view views[4];
    int count = set_views(two, servers, views);
    views[1].cold = 90;
    fpmp_wish wish = {.wanted = -1, .balance = FPMP_BALANCE_LEAST};
    int to_cold = 0;
    for (int i = 0; i < 1100; i++) { /* always ten under way, of which the oldest ends */
        int chosen = fpmp_select_server(servers, views, count, &wish);
        wish.turn++;
        to_cold += chosen == 1;
        views[0].in_flight = 9;
        views[1].in_flight = 0;
    }
    ck_assert_msg(to_cold >= 90 && to_cold <= 110, "%d of 1100", to_cold);
    views[0].in_flight = 55; /* under load by its weight of the moment */
    views[1].in_flight = 5;
    ck_assert_int_eq(fpmp_select_server(servers, views, count, &wish), 1);
    views[1].in_flight = 6;
    ck_assert_int_eq(fpmp_select_server(servers, views, count, &wish), 0);
}
END_TEST

/* Texts come to a cold server one after another and stay; those of others do not move. */
START_TEST(test_cold_gets_texts_one_by_one)
{
    static const case_server three[4] = {
        {.state = UP, .weight = 1}, {.state = UP, .weight = 1}, {.state = UP, .weight = 1}};
    enum { TEXTS = 3000 };
    fpmp_server servers[4];
    fpmp_view views[4];
    int count = set_views(three, servers, views);
    fpmp_wish wish = {.wanted = -1, .balance = FPMP_BALANCE_HASH};
    int before[TEXTS] = {0};
    for (int cold = 99; cold >= 0; cold -= 11) {
        int has = 0;
        int whole = 0;
        for (int i = 0; i < TEXTS; i++) {
            wish.key = ((uint64_t)i + 1) * 0x9e3779b97f4a7c15;
            views[2].cold = 0;
            int at_last = fpmp_select_server(servers, views, count, &wish);
            views[2].cold = (unsigned)cold;
            int chosen = fpmp_select_server(servers, views, count, &wish);
            ck_assert(chosen == at_last || at_last == 2);
            ck_assert(before[i] != 2 || chosen == 2);
            before[i] = chosen;
            has += chosen == 2;
            whole += at_last == 2;
        }
        int expected = whole * (100 - cold) / 100;
        ck_assert_msg(abs(has - expected) < 60, "%d of %d, %d%% cold", has, whole, cold);
    }
    views[0].is_up = views[1].is_up = 0; /* nobody else: all of them */
    views[2].cold = 99;
    for (wish.key = 1; wish.key < 100; wish.key++) {
        ck_assert_int_eq(fpmp_select_server(servers, views, count, &wish), 2);
    }
}
END_TEST

/* The same with weights that an operator gave. */
START_TEST(test_other_weights_in_turn)
{
    static const case_server idle[4] = {{.state = UP, .weight = 5, .weight_now = 1},
                                        {.state = UP, .weight = 2},
                                        {.state = UP, .weight = 1, .weight_now = 5}};
    fpmp_server servers[4];
    fpmp_view views[4];
    int got[4] = {0};
    int count = set_views(idle, servers, views);
    for (uint32_t turn = 0; turn < 8; turn++) {
        fpmp_wish wish = {.wanted = -1, .balance = FPMP_BALANCE_ROUNDROBIN, .turn = turn};
        got[fpmp_select_server(servers, views, count, &wish)]++;
    }
    ck_assert_int_eq(got[0], 1);
    ck_assert_int_eq(got[1], 2);
    ck_assert_int_eq(got[2], 5);
    int before = 0;
    int after = 0;
    for (uint64_t key = 1; key <= 8000; key++) {
        fpmp_wish wish = {.wanted = -1, .balance = FPMP_BALANCE_HASH, .key = key};
        after += fpmp_select_server(servers, views, count, &wish) == 2;
        fpmp_view configured[4];
        memcpy(configured, views, sizeof(configured));
        configured[0].weight = configured[2].weight = 0;
        before += fpmp_select_server(servers, configured, count, &wish) == 2;
    }
    ck_assert_int_lt(before, 1300);
    ck_assert_int_gt(after, 4500);
}
END_TEST

START_TEST(test_hash_is_consistent)
{
    static const case_server equal[4] = {{.state = UP, .weight = 1},
                                         {.state = UP, .weight = 1},
                                         {.state = UP, .weight = 2},
                                         {.state = UP, .weight = 1}};
    enum { TEXTS = 20000 };
    fpmp_server servers[4];
    fpmp_view views[4];
    int count = set_views(equal, servers, views);
    int got[4] = {0};
    int moved = 0;
    fpmp_wish wish = {.wanted = -1, .balance = FPMP_BALANCE_HASH};
    for (uint64_t key = 1; key <= TEXTS; key++) {
        wish.key = key * 0x9e3779b97f4a7c15;
        int before = fpmp_select_server(servers, views, count, &wish);
        wish.turn++;
        ck_assert_int_eq(fpmp_select_server(servers, views, count, &wish), before);
        got[before]++;
        views[1].is_up = 0;
        int after = fpmp_select_server(servers, views, count, &wish);
        views[1].is_up = 1;
        ck_assert_int_ne(after, 1);
        moved += after != before;
        ck_assert(after == before || before == 1);
    }
    ck_assert_int_eq(moved, got[1]);
    for (int i = 0; i < 4; i++) {
        int share = TEXTS / 5 * servers[i].weight;
        ck_assert_msg(abs(got[i] - share) < share / 10, "server %d: %d of %d", i, got[i], share);
    }
}
END_TEST

START_TEST(test_most_specific_retry_counts)
{
    fpmp_pool pool = {.retry = {.is_set = 0}};
    fpmp_retry section = {.is_set = 0};
    fpmp_retry server = {.is_set = 0};
    ck_assert_int_eq(fpmp_select_retry(&section, &pool, &server).level, FPMP_RETRY_SAFE);
    server = (fpmp_retry){.is_set = 1, .level = FPMP_RETRY_OFF};
    ck_assert_int_eq(fpmp_select_retry(&section, &pool, &server).level, FPMP_RETRY_OFF);
    pool.retry = (fpmp_retry){.is_set = 1, .level = FPMP_RETRY_IDEMPOTENT, .attempts = 3};
    ck_assert_int_eq(fpmp_select_retry(&section, &pool, &server).attempts, 3);
    section = (fpmp_retry){.is_set = 1, .level = FPMP_RETRY_SAFE, .attempts = 4};
    ck_assert_int_eq(fpmp_select_retry(&section, &pool, &server).attempts, 4);
}
END_TEST

static Suite *select_suite(void)
{
    Suite *suite = suite_create("fpmp_select");
    TCase *cases = tcase_create("select");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, test_pool_names);
    tcase_add_test(cases, test_unix_address);
    tcase_add_test(cases, test_tcp_address);
    tcase_add_test(cases, test_bad_address);
    tcase_add_test(cases, test_selects_by_name);
    tcase_add_test(cases, test_most_specific_limit_counts);
    tcase_add_loop_test(cases, test_reuse, 0, (int)(sizeof(reuse) / sizeof(reuse[0])));
    tcase_add_loop_test(cases, test_chooses, 0, (int)(sizeof(choices) / sizeof(choices[0])));
    tcase_add_loop_test(cases, test_weights_in_turn, 0, 2);
    tcase_add_test(cases, test_other_weights_in_turn);
    tcase_add_test(cases, test_hash_is_consistent);
    tcase_add_loop_test(cases, test_slow_start, 0, (int)(sizeof(ramps) / sizeof(ramps[0])));
    tcase_add_loop_test(cases, test_cold_gets_less, 0, 10);
    tcase_add_test(cases, test_cold_is_not_flooded);
    tcase_add_test(cases, test_cold_gets_texts_one_by_one);
    tcase_add_test(cases, test_most_specific_retry_counts);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(select_suite)
