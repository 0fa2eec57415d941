/* test_fpmp_views.c - what operators see and say: query strings, orders, and how a snapshot looks
 * in each form, with names that try to break out.
 */
#include "unit.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <stdio.h>
#include <string.h>

#include "fpmp_admin.h"
#include "fpmp_auto.h"
#include "fpmp_html.h"
#include "fpmp_json.h"
#include "fpmp_metrics.h"
#include "fpmp_query.h"
#include "fpmp_seen.h"

#define HOSTILE "x\"><script>alert('1')</script>\\\n&\xff"

static apr_pool_t *memory;
static char *page;
static size_t page_length;
static size_t page_room;

static void collect(void *to, const char *bytes, apr_size_t length)
{
    (void)to;
    while (page_length + length + 1 > page_room) {
        page_room = page_room ? 2 * page_room : 65536;
        page = realloc(page, page_room);
    }
    memcpy(page + page_length, bytes, length);
    page_length += length;
    page[page_length] = '\0';
}

static fpmp_text text = {collect, NULL};

static void set_up(void)
{
    apr_initialize();
    apr_pool_create(&memory, NULL);
    page_length = 0;
    collect(NULL, "", 0);
}

static void tear_down(void)
{
    apr_pool_destroy(memory);
    apr_terminate();
}

static int occurs(const char *piece)
{
    int count = 0;
    for (const char *at = page; (at = strstr(at, piece)); at++) {
        count++;
    }
    return count;
}

#define ck_has(piece)     ck_assert_msg(occurs(piece) > 0, "no %s in:\n%.2000s", piece, page)
#define ck_has_not(piece) ck_assert_msg(occurs(piece) == 0, "%s in:\n%.2000s", piece, page)

/* ---- pieces of text -------------------------------------------------------------------------- */

START_TEST(test_escapes)
{
    static const struct {
        void (*put)(fpmp_text *to, const char *raw);
        const char *raw, *wanted;
    } cases[] = {
        {fpmp_text_html, "<a href=\"x\">&'", "&lt;a href=&quot;x&quot;&gt;&amp;&#39;"},
        {fpmp_text_html, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
         "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
        {fpmp_text_html, "a\xc3", "a\xef\xbf\xbd"},
        {fpmp_text_html, "\xc0\xbc\xed\xa0\x80",
         "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {fpmp_text_html, "a\nb\x01",
         "a\xef\xbf\xbd"
         "b\xef\xbf\xbd"},
        {fpmp_text_json, "a\"\\\n</x\x7f", "\"a\\u0022\\u005c\\u000a\\u003c/x\\u007f\""},
        {fpmp_text_json, "\xff", "\"\xef\xbf\xbd\""},
        {fpmp_text_label, "a\"\\\n\xff", "\"a\\\"\\\\\\n\xef\xbf\xbd\""},
        {fpmp_text_line, "a\r\nFpmPool_x_Up: 1", "a??FpmPool_x_Up: 1"},
        {fpmp_text_url, "a b&c=\"\xc3\xa4", "a%20b%26c%3D%22%C3%A4"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        page_length = 0;
        cases[i].put(&text, cases[i].raw);
        ck_assert_str_eq(page, cases[i].wanted);
    }
}
END_TEST

START_TEST(test_numbers_for_people)
{
    static const struct {
        void (*put)(fpmp_text *to, uint64_t number);
        uint64_t number;
        const char *wanted;
    } cases[] = {
        {fpmp_text_amount, 0, "0"},
        {fpmp_text_amount, 999, "999"},
        {fpmp_text_amount, 1000, "1.00k"},
        {fpmp_text_amount, 12345, "12.3k"},
        {fpmp_text_amount, 999950, "1.00M"},
        {fpmp_text_amount, UINT64_MAX, "18446744T"},
        {fpmp_text_bytes, 512, "512 B"},
        {fpmp_text_bytes, 731282311, "697 MiB"},
        {fpmp_text_duration, 0, "0"},
        {fpmp_text_duration, 80, "80 \xc2\xb5s"},
        {fpmp_text_duration, 3200, "3.20 ms"},
        {fpmp_text_duration, 999600, "1.00 s"},
        {fpmp_text_duration, 63000000, "63.0 s"},
        {fpmp_text_age, 0, "0 s"},
        {fpmp_text_age, 119, "119 s"},
        {fpmp_text_age, 7199, "119 min"},
        {fpmp_text_age, 7300, "2 h 1 min"},
        {fpmp_text_age, 200000, "2 d 7 h"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        page_length = 0;
        cases[i].put(&text, cases[i].number);
        ck_assert_str_eq(page, cases[i].wanted);
    }
}
END_TEST

/* ---- what is asked for ----------------------------------------------------------------------- */

START_TEST(test_good_queries)
{
    fpmp_query query;
    ck_assert_ptr_null(fpmp_query_parse(&query, NULL, memory));
    ck_assert(query.format == FPMP_FORMAT_HTML && query.page == 1 && !query.pool && !*query.name);
    ck_assert_ptr_null(fpmp_query_parse(&query, "json", memory));
    ck_assert_int_eq(query.format, FPMP_FORMAT_JSON);
    ck_assert_ptr_null(fpmp_query_parse(&query, "auto&pool=a.b", memory));
    ck_assert_int_eq(query.format, FPMP_FORMAT_AUTO);
    ck_assert_str_eq(query.pool, "a.b");
    ck_assert_ptr_null(fpmp_query_parse(
        &query, "name=a+%62%3c&state=problems&sort=errors&refresh=10&page=3&", memory));
    ck_assert_str_eq(query.name, "a b<");
    ck_assert(query.wants_trouble && query.sort == FPMP_SORT_ERRORS && query.refresh == 10);
    ck_assert_uint_eq(query.page, 3);
}
END_TEST

START_TEST(test_bad_queries)
{
    static const char *const bad[] = {"jsn",        "json=1",       "sort=",
                                      "sort=x",     "state=up",     "refresh=",
                                      "refresh=-1", "refresh=3601", "refresh=99999999999",
                                      "page=0",     "page=x",       "pool=%zz",
                                      "pool=%0",    "name=a%00b",   "%3cscript%3e",
                                      "Pool=a"};
    fpmp_query query;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *wrong = fpmp_query_parse(&query, bad[i], memory);
        ck_assert_msg(wrong && !strchr(wrong, '<'), "%s", bad[i]);
    }
    char large[300] = "name=";
    memset(large + 5, 'a', 200);
    ck_assert_ptr_nonnull(fpmp_query_parse(&query, large, memory));
}
END_TEST

START_TEST(test_orders)
{
    static const struct {
        fpmp_admin before;
        const char *action, *weight;
        fpmp_admin_mode mode;
        int weight_after; /* where 4 is configured */
    } good[] = {
        {0, "drain", NULL, FPMP_ADMIN_DRAIN, 4},     {0, "down", "7", FPMP_ADMIN_DOWN, 4},
        {1, "ready", NULL, FPMP_ADMIN_READY, 4},     {1, "weight", "9", FPMP_ADMIN_DRAIN, 9},
        {0x901, "weight", "0", FPMP_ADMIN_DRAIN, 4}, {0x902, "ready", NULL, FPMP_ADMIN_READY, 9},
        {0, "weight", "100", FPMP_ADMIN_READY, 100}};
    fpmp_order order;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_ptr_null(fpmp_admin_parse(&order, good[i].action, good[i].weight));
        _Atomic(uint32_t) word = good[i].before;
        ck_assert_uint_eq(fpmp_admin_apply(&word, &order), good[i].before);
        ck_assert_int_eq(fpmp_admin_mode_of(word), good[i].mode);
        ck_assert_int_eq(fpmp_admin_weight(word, 4), good[i].weight_after);
    }
    static const char *const bad[][2] = {{NULL, NULL},      {"", NULL},
                                         {"Drain", NULL},   {"weight", NULL},
                                         {"weight", ""},    {"weight", "101"},
                                         {"weight", "-1"},  {"weight", "1 "},
                                         {"weight", "1e1"}, {"weight", "00000000001"}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_ptr_nonnull(fpmp_admin_parse(&order, bad[i][0], bad[i][1]));
    }
}
END_TEST

/* ---- states and order ------------------------------------------------------------------------ */

static fpmp_seen_server server_of(char kind)
{
    fpmp_seen_server server = {.name = "a",
                               .address = "unix:/a",
                               .type = "fpmpool",
                               .weight = 1,
                               .weight_configured = 1,
                               .changed = FPMP_NEVER};
    server.count.requests = kind != '?';
    server.health = kind == 'd'   ? FPMP_HEALTH_DOWN
                    : kind == 't' ? FPMP_HEALTH_TRYING
                                  : FPMP_HEALTH_UP;
    server.mode = kind == 'o' ? FPMP_ADMIN_DRAIN : kind == 'O' ? FPMP_ADMIN_DOWN : FPMP_ADMIN_READY;
    return server;
}

static fpmp_seen_pool pool_of(const char *name, const char *kinds)
{
    fpmp_seen_pool pool = {.name = name, .balance = "least", .file = "a.conf", .line = 1};
    pool.server_count = (int)strlen(kinds);
    pool.servers = apr_pcalloc(memory, strlen(kinds) * sizeof(*pool.servers));
    for (int i = 0; kinds[i]; i++) {
        pool.servers[i] = server_of(kinds[i]);
    }
    return pool;
}

START_TEST(test_states_of_pools)
{
    static const struct {
        const char *servers;
        fpmp_seen_state state;
        int usable;
    } cases[] = {
        {"u", FPMP_SEEN_UP, 1},      {"?", FPMP_SEEN_UNASKED, 1},  {"u?", FPMP_SEEN_UP, 2},
        {"d", FPMP_SEEN_DOWN, 0},    {"ud", FPMP_SEEN_PARTLY, 1},  {"dt", FPMP_SEEN_TRYING, 0},
        {"ut", FPMP_SEEN_TRYING, 1}, {"uo", FPMP_SEEN_DRAINED, 1}, {"uO", FPMP_SEEN_DRAINED, 1},
        {"o", FPMP_SEEN_DOWN, 0},    {"od", FPMP_SEEN_DOWN, 0},    {"uod", FPMP_SEEN_PARTLY, 1},
        {"uuu", FPMP_SEEN_UP, 3}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fpmp_seen_pool pool = pool_of("a", cases[i].servers);
        fpmp_seen_sum(&pool);
        ck_assert_msg(pool.state == cases[i].state && pool.usable == cases[i].usable, "%s: %s",
                      cases[i].servers, fpmp_seen_state_name(pool.state));
    }
}
END_TEST

static const char *order_of(const char *arguments)
{
    static char names[16];
    fpmp_query query;
    ck_assert_ptr_null(fpmp_query_parse(&query, arguments, memory));
    fpmp_seen_pool pools[] = {pool_of("c", "u"), pool_of("b", "ud"), pool_of("a", "?"),
                              pool_of("d", "d")};
    pools[0].minutes[3].requests = 9;
    pools[1].minutes[3].requests = 5;
    pools[1].minutes[3].errors = 5;
    pools[2].servers[0].in_flight = 3;
    pools[3].servers[0].recent.buckets[9] = 1;
    for (int i = 0; i < 4; i++) {
        fpmp_seen_sum(&pools[i]);
    }
    fpmp_snapshot snapshot = {.pools = pools, .pool_count = 4};
    fpmp_seen_arrange(&snapshot, &query);
    for (int i = 0; i < snapshot.pool_count; i++) {
        names[i] = snapshot.pools[i].name[0];
    }
    names[snapshot.pool_count] = '\0';
    return names;
}

START_TEST(test_order_of_pools)
{
    ck_assert_str_eq(order_of(NULL), "dbac");
    ck_assert_str_eq(order_of("sort=name"), "abcd");
    ck_assert_str_eq(order_of("sort=flight"), "abcd");
    ck_assert_str_eq(order_of("sort=requests"), "cbad");
    ck_assert_str_eq(order_of("sort=errors"), "bacd");
    ck_assert_str_eq(order_of("sort=time"), "dabc");
    ck_assert_str_eq(order_of("state=problems"), "db");
}
END_TEST

/* ---- forms ----------------------------------------------------------------------------------- */

static fpmp_snapshot snapshot_of(fpmp_seen_pool *pools, int count)
{
    for (int i = 0; i < count; i++) {
        fpmp_seen_sum(&pools[i]);
    }
    fpmp_snapshot snapshot = {.pools = pools,
                              .pool_count = count,
                              .of_all = count,
                              .wall = apr_time_from_sec(1767225600),
                              .up_for = 7300,
                              .host = "www.example.org"};
    return snapshot;
}

static void show(const fpmp_snapshot *snapshot, const char *arguments, const char *nonce)
{
    fpmp_query query;
    ck_assert_ptr_null(fpmp_query_parse(&query, arguments, memory));
    const fpmp_page of = {snapshot, &query, "style", nonce};
    page_length = 0;
    fpmp_html_show(&text, &of);
}

START_TEST(test_a_card)
{
    fpmp_seen_pool pool = pool_of("shop", "ud");
    pool.servers[0].max = 40;
    pool.servers[0].in_flight = 3;
    pool.servers[0].count.states[4] = 1200;
    pool.servers[1].name = "b";
    pool.servers[1].changed = 312;
    pool.servers[1].reason = "no connection to it";
    pool.servers[1].failed = 2;
    pool.minutes[59].requests = 40;
    pool.minutes[59].errors = 10;
    pool.minutes[59].microseconds = 40 * 2500;
    fpmp_snapshot snapshot = snapshot_of(&pool, 1);
    show(&snapshot, NULL, NULL);
    ck_has("<title>(1) Pools &middot; www.example.org</title>");
    ck_has("<style nonce=\"style\">");
    ck_has("<time>2026-01-01T00:00:00Z</time> &middot; counting for 2 h 1 min");
    ck_has("<h2><a href=\"?pool=shop\">shop</a></h2>");
    ck_has("partly down</span>");
    ck_has("1 of 2 servers usable, balance least");
    ck_has("3 <small>of 40</small>");
    ck_has("timeout 1.20k");
    ck_has("down</span><span> for 5 min</span>");
    ck_has("last failure 2 s ago: no connection to it");
    ck_has("this minute: 40 requests, 10 failed, mean 2.50 ms");
    ck_has("10 <small>25.0%</small>");
    ck_has_not("<form method=\"post\"");
    ck_has_not("http-equiv");
    ck_has_not(" style=");
    ck_has_not("<script");
    show(&snapshot, "refresh=10", NULL);
    ck_has("<meta http-equiv=\"refresh\" content=\"10\">");
    ck_has("refresh=10\" aria-current=\"true\">10 s</a>");
}
END_TEST

START_TEST(test_controls)
{
    fpmp_seen_pool pool = pool_of("shop", "uo");
    pool.servers[1].weight = 7;
    fpmp_snapshot snapshot = snapshot_of(&pool, 1);
    show(&snapshot, NULL, "0123abcd");
    ck_assert_int_eq(occurs("<form method=\"post\">"), 4);
    ck_assert_int_eq(occurs("<input type=\"hidden\" name=\"nonce\" value=\"0123abcd\">"), 4);
    ck_assert_int_eq(occurs("value=\"drain\""), 1);
    ck_assert_int_eq(occurs("value=\"ready\""), 1);
    ck_assert_int_eq(occurs("value=\"down\""), 2);
    ck_has("7 <small>(was 1)</small>");
    ck_has("drained</span><span class=\"quiet\"> by the manager</span>");
}
END_TEST

START_TEST(test_many_pools_are_a_list)
{
    enum { MANY = 1000 };
    fpmp_seen_pool *pools = apr_pcalloc(memory, MANY * sizeof(*pools));
    for (int i = 0; i < MANY; i++) {
        pools[i] = pool_of(apr_psprintf(memory, "site%d", i), i == 7 ? "d" : "u");
    }
    fpmp_snapshot snapshot = snapshot_of(pools, MANY);
    show(&snapshot, "sort=name&name=s", NULL);
    ck_assert_int_eq(occurs("<tr role=\"row\"><th scope=\"row\""), FPMP_HTML_ROWS);
    ck_has("?sort=name&amp;name=s&amp;page=5\">5</a>");
    ck_assert_uint_lt(page_length, 300000);
    show(&snapshot, "page=5", NULL);
    ck_has("site999</a>");
    ck_has("aria-current=\"page\">5</a>");
    show(&snapshot, "page=6", NULL);
    ck_assert_int_eq(occurs("<tr role=\"row\"><th scope=\"row\""), 0);
}
END_TEST

START_TEST(test_hostile_names)
{
    fpmp_seen_pool pool = pool_of(HOSTILE, "u");
    pool.servers[0].name = pool.servers[0].address = pool.servers[0].reason = HOSTILE;
    pool.file = pool.balance = HOSTILE;
    fpmp_snapshot snapshot = snapshot_of(&pool, 1);
    snapshot.host = HOSTILE;
    snapshot.of_all = 2;
    show(&snapshot, "name=%22%3e%3cscript%3e&pool=%22%3e%3cscript%3e", "n");
    ck_has_not("<script");
    ck_has_not("\xff");
    ck_has_not("alert('");
    page_length = 0;
    fpmp_json_show(&text, &snapshot, NULL);
    ck_has_not("<script");
    ck_has("\"x\\u0022>\\u003cscript>alert('1')\\u003c/script>\\u005c\\u000a&\xef\xbf\xbd\"");
    page_length = 0;
    fpmp_metrics_show(&text, &snapshot);
    ck_has("{pool=\"x\\\"><script>alert('1')</script>\\\\\\n&\xef\xbf\xbd\",server=");
    page_length = 0;
    fpmp_auto_show(&text, &snapshot);
    ck_has("_Server: x\"><script>alert('1')</script>\\?&\xef\xbf\xbd\n");
}
END_TEST

START_TEST(test_metrics)
{
    fpmp_seen_pool pool = pool_of("shop", "uo");
    pool.servers[0].count.states[0] = 5;
    pool.servers[0].count.states[4] = 2;
    pool.servers[0].count.microseconds = 1234567;
    pool.servers[0].ever.buckets[0] = 4;
    pool.servers[0].ever.buckets[16] = 3;
    pool.servers[1].name = "b";
    fpmp_snapshot snapshot = snapshot_of(&pool, 1);
    fpmp_metrics_show(&text, &snapshot);
    ck_has("# TYPE fpmpool_requests counter\n# HELP fpmpool_requests ");
    ck_has("fpmpool_requests_total{pool=\"shop\",server=\"a\",state=\"ok\"} 5\n");
    ck_has("fpmpool_requests_total{pool=\"shop\",server=\"a\",state=\"timeout\"} 2\n");
    ck_has_not("server=\"a\",state=\"died\"");
    ck_has("# UNIT fpmpool_request_duration_seconds seconds\n");
    ck_has("_bucket{pool=\"shop\",server=\"a\",le=\"0.001\"} 4\n");
    ck_has("_bucket{pool=\"shop\",server=\"a\",le=\"0.02\"} 4\n");
    ck_has("_bucket{pool=\"shop\",server=\"a\",le=\"0.5\"} 4\n");
    ck_has("_bucket{pool=\"shop\",server=\"a\",le=\"100.0\"} 4\n");
    ck_has("_bucket{pool=\"shop\",server=\"a\",le=\"+Inf\"} 7\n");
    ck_has("_count{pool=\"shop\",server=\"a\"} 7\n");
    ck_has("_sum{pool=\"shop\",server=\"a\"} 1.234567\n");
    ck_has("server=\"b\",fpmpool_server_mode=\"drain\"} 1\n");
    ck_has_not("fpmpool_server_max{");
    ck_has("_count{pool=\"shop\",server=\"b\"} 0\n");
    pool.servers[1].count.requests = 0;
    page_length = 0;
    fpmp_metrics_show(&text, &snapshot);
    ck_has_not("_count{pool=\"shop\",server=\"b\"}");
    ck_assert_str_eq(page + page_length - 6, "# EOF\n");
}
END_TEST

static Suite *views_suite(void)
{
    Suite *suite = suite_create("fpmp_views");
    TCase *tests = tcase_create("views");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, test_escapes);
    tcase_add_test(tests, test_numbers_for_people);
    tcase_add_test(tests, test_good_queries);
    tcase_add_test(tests, test_bad_queries);
    tcase_add_test(tests, test_orders);
    tcase_add_test(tests, test_states_of_pools);
    tcase_add_test(tests, test_order_of_pools);
    tcase_add_test(tests, test_a_card);
    tcase_add_test(tests, test_controls);
    tcase_add_test(tests, test_many_pools_are_a_list);
    tcase_add_test(tests, test_hostile_names);
    tcase_add_test(tests, test_metrics);
    suite_add_tcase(suite, tests);
    return suite;
}

UNIT_MAIN(views_suite)
