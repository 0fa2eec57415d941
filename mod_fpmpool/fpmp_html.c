/* fpmp_html.c - the figures for people: the page around the cards of pools, and the list of many.
 *
 * Runs in an httpd child for each page of figures. Pure: a snapshot to text. Whatever is no literal
 * of this file goes through fpmp_text_html or fpmp_text_url.
 */
#include "fpmp_html.h"

#include "fpmp_card.h"
#include "fpmp_chart.h"
#include "fpmp_json.h"
#include "fpmp_style.h"

#define NUMBER "%" APR_UINT64_T_FMT

/* ---- links ----------------------------------------------------------------------------------- */

/* The same page with another value of one of these. */
static void put_link(fpmp_text *text, const fpmp_query *query, unsigned refresh, unsigned page)
{
    fpmp_text_format(text, "?sort=%s", fpmp_query_sort_name((int)query->sort));
    if (query->pool) {
        fpmp_text_put(text, "&amp;pool=");
        fpmp_text_url(text, query->pool);
    }
    if (*query->name) {
        fpmp_text_put(text, "&amp;name=");
        fpmp_text_url(text, query->name);
    }
    fpmp_text_put(text, query->wants_trouble ? "&amp;state=problems" : "");
    if (refresh) {
        fpmp_text_format(text, "&amp;refresh=%u", refresh);
    }
    if (page > 1) {
        fpmp_text_format(text, "&amp;page=%u", page);
    }
}

static void put_refresh(fpmp_text *text, const fpmp_query *query)
{
    static const unsigned choices[] = {0, 2, 10, 60};
    fpmp_text_put(text, "<nav aria-label=\"Refresh\"><span>Refresh</span>");
    for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
        fpmp_text_put(text, "<a href=\"");
        put_link(text, query, choices[i], query->page);
        fpmp_text_put(text, query->refresh == choices[i] ? "\" aria-current=\"true\">" : "\">");
        if (choices[i]) {
            fpmp_text_format(text, "%u s</a>", choices[i]);
        } else {
            fpmp_text_put(text, "off</a>");
        }
    }
    fpmp_text_put(text, "</nav>");
}

/* ---- head ------------------------------------------------------------------------------------ */

typedef struct sums {
    int servers;
    int usable;
    int troubled; /* pools */
    uint64_t in_flight;
    uint64_t waiting;
    uint64_t minute; /* requests of the last whole minute */
    uint64_t hour_requests;
    uint64_t hour_errors;
} sums;

static sums add_up(const fpmp_snapshot *snapshot)
{
    sums all = {0};
    for (int i = 0; i < snapshot->pool_count; i++) {
        const fpmp_seen_pool *pool = &snapshot->pools[i];
        all.servers += pool->server_count;
        all.usable += pool->usable;
        all.troubled += pool->state < FPMP_SEEN_DRAINED;
        all.in_flight += pool->in_flight;
        all.waiting += pool->waiting;
        all.minute += pool->minutes[FPMP_HISTORY_MINUTES - 2].requests;
        all.hour_requests += pool->hour_requests;
        all.hour_errors += pool->hour_errors;
    }
    return all;
}

static void put_head(fpmp_text *text, const fpmp_page *page, const sums *all)
{
    fpmp_text_put(text, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                        "<meta name=\"color-scheme\" content=\"light dark\">\n"
                        "<meta name=\"robots\" content=\"noindex\">\n");
    if (page->query->refresh) {
        fpmp_text_format(text, "<meta http-equiv=\"refresh\" content=\"%u\">\n",
                         page->query->refresh);
    }
    fpmp_text_put(text, "<title>");
    if (all->troubled) {
        fpmp_text_format(text, "(%d) ", all->troubled);
    }
    fpmp_text_put(text, page->nonce ? "Pools: manager &middot; " : "Pools &middot; ");
    fpmp_text_html(text, page->snapshot->host);
    fpmp_text_format(text, "</title>\n<style nonce=\"%s\">\n", page->style_nonce);
    fpmp_text_put(text, fpmp_style_sheet);
    fpmp_text_put(text, "</style>\n</head>\n<body>\n");
}

static void put_header(fpmp_text *text, const fpmp_page *page)
{
    const fpmp_snapshot *snapshot = page->snapshot;
    fpmp_text_put(text, page->nonce ? "<header><div><h1>Pools: manager</h1><p class=\"quiet\">"
                                    : "<header><div><h1>Pools</h1><p class=\"quiet\">");
    fpmp_text_html(text, snapshot->host);
    fpmp_text_put(text, " &middot; <time>");
    fpmp_json_time(text, snapshot->wall);
    fpmp_text_put(text, "</time> &middot; counting for ");
    fpmp_text_age(text, snapshot->up_for);
    fpmp_text_put(text, "</p></div>");
    put_refresh(text, page->query);
    fpmp_text_put(text, "</header>\n");
}

static void put_tile(fpmp_text *text, const char *name, uint64_t number)
{
    fpmp_text_format(text, "<div><dt>%s</dt><dd>", name);
    fpmp_text_amount(text, number);
    fpmp_text_put(text, "</dd></div>\n");
}

static void put_tiles(fpmp_text *text, const fpmp_snapshot *snapshot, const sums *all)
{
    fpmp_text_put(text, "<dl class=\"tiles\">\n");
    fpmp_text_format(text, "<div><dt>Pools</dt><dd>%d", snapshot->pool_count);
    if (snapshot->pool_count != snapshot->of_all) {
        fpmp_text_format(text, " <small>of %d</small>", snapshot->of_all);
    }
    fpmp_text_format(text, "</dd></div>\n<div%s><dt>With problems</dt><dd>%d</dd></div>\n",
                     all->troubled ? " class=\"alarm\"" : "", all->troubled);
    fpmp_text_format(text, "<div><dt>Servers usable</dt><dd>%d <small>of %d</small></dd></div>\n",
                     all->usable, all->servers);
    put_tile(text, "In flight", all->in_flight);
    put_tile(text, "Waiting", all->waiting);
    put_tile(text, "Requests, 1 min", all->minute);
    fpmp_text_put(text, "<div><dt>Failed, 1 h</dt><dd>");
    fpmp_text_amount(text, all->hour_errors);
    fpmp_text_put(text, " <small>");
    fpmp_card_percent(text, all->hour_errors, all->hour_requests);
    fpmp_text_put(text, "</small></dd></div>\n</dl>\n");
}

/* ---- choice ---------------------------------------------------------------------------------- */

static void put_option(fpmp_text *text, const char *value, const char *name, int is_chosen)
{
    fpmp_text_format(text, "<option value=\"%s\"%s>%s</option>", value,
                     is_chosen ? " selected" : "", name);
}

static void put_filter(fpmp_text *text, const fpmp_query *query)
{
    static const char *const names[] = {"problems first", "name",          "most in flight",
                                        "most requests",  "most failures", "slowest"};
    fpmp_text_put(text, "<form class=\"filter\" method=\"get\">\n<label>Name has "
                        "<input type=\"search\" name=\"name\" maxlength=\"64\" value=\"");
    fpmp_text_html(text, query->name);
    fpmp_text_put(text, "\"></label>\n<label>Show <select name=\"state\">");
    put_option(text, "all", "all pools", !query->wants_trouble);
    put_option(text, "problems", "problems only", query->wants_trouble);
    fpmp_text_put(text, "</select></label>\n<label>Sort by <select name=\"sort\">");
    for (int i = 0; fpmp_query_sort_name(i); i++) {
        put_option(text, fpmp_query_sort_name(i), names[i], i == (int)query->sort);
    }
    fpmp_text_put(text, "</select></label>\n");
    if (query->refresh) {
        fpmp_text_format(text, "<input type=\"hidden\" name=\"refresh\" value=\"%u\">",
                         query->refresh);
    }
    fpmp_text_put(text, "<button>Show</button>");
    if (query->pool || *query->name || query->wants_trouble) {
        fpmp_text_put(text, " <a href=\"?\">All pools</a>");
    }
    fpmp_text_put(text, "\n</form>\n");
}

/* ---- many pools ------------------------------------------------------------------------------ */

/* The hour of a pool that an expression named is not kept. */
static void put_of_hour(fpmp_text *text, const fpmp_seen_pool *pool, uint64_t number)
{
    if (pool->is_found) {
        fpmp_text_put(text, "&ndash;");
    } else {
        fpmp_text_amount(text, number);
    }
}

static void put_row(fpmp_text *text, const fpmp_seen_pool *pool)
{
    fpmp_text_put(text, "<tr role=\"row\"><th scope=\"row\" role=\"rowheader\">");
    fpmp_card_link(text, pool->name);
    fpmp_text_put(text, "</th><td role=\"cell\" data-label=\"State\">");
    fpmp_card_badge(text, pool->state);
    fpmp_text_format(text, "</td><td role=\"cell\" data-label=\"Servers\">%d <small>of %d</small>",
                     pool->usable, pool->server_count);
    fpmp_text_format(text, "</td><td role=\"cell\" data-label=\"In flight\">" NUMBER,
                     pool->in_flight);
    fpmp_text_format(text, "</td><td role=\"cell\" data-label=\"Waiting\">%u", pool->waiting);
    fpmp_text_put(text, "</td><td role=\"cell\" data-label=\"Requests, 1 h\">");
    put_of_hour(text, pool, pool->hour_requests);
    fpmp_text_put(text, "</td><td role=\"cell\" data-label=\"Failed, 1 h\">");
    put_of_hour(text, pool, pool->hour_errors);
    fpmp_text_put(text, "</td><td role=\"cell\" data-label=\"Median\">");
    fpmp_text_duration(text, fpmp_latency_quantile(&pool->recent, 0.5));
    fpmp_text_put(text, "</td><td role=\"cell\" data-label=\"99% within\">");
    fpmp_text_duration(text, fpmp_latency_quantile(&pool->recent, 0.99));
    fpmp_text_put(text, "</td><td role=\"cell\" class=\"spark\" data-label=\"Last hour\">");
    if (pool->hour_requests) {
        fpmp_chart_spark(text, pool->minutes);
    }
    fpmp_text_put(text, "</td></tr>\n");
}

static void put_pager(fpmp_text *text, const fpmp_query *query, int pages)
{
    if (pages < 2) {
        return;
    }
    fpmp_text_put(text, "<nav class=\"pager\" aria-label=\"Pages\"><span>Page</span>");
    for (int i = 1; i <= pages; i++) {
        fpmp_text_put(text, "<a href=\"");
        put_link(text, query, query->refresh, (unsigned)i);
        fpmp_text_format(text, "\"%s>%d</a>", i == (int)query->page ? " aria-current=\"page\"" : "",
                         i);
    }
    fpmp_text_put(text, "</nav>\n");
}

static void put_list(fpmp_text *text, const fpmp_page *page)
{
    static const char *const columns[] = {"Pool",       "State",         "Servers",     "In flight",
                                          "Waiting",    "Requests, 1 h", "Failed, 1 h", "Median",
                                          "99% within", "Last hour"};
    const fpmp_snapshot *snapshot = page->snapshot;
    int from = ((int)page->query->page - 1) * FPMP_HTML_ROWS;
    fpmp_text_put(text, "<section class=\"card\"><table class=\"pools\" role=\"table\">"
                        "<caption>Pools</caption><thead role=\"rowgroup\"><tr role=\"row\">");
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
        fpmp_text_format(text, "<th scope=\"col\" role=\"columnheader\">%s</th>", columns[i]);
    }
    fpmp_text_put(text, "</tr></thead>\n<tbody role=\"rowgroup\">\n");
    for (int i = from; i < snapshot->pool_count && i < from + FPMP_HTML_ROWS; i++) {
        put_row(text, &snapshot->pools[i]);
    }
    fpmp_text_put(text, "</tbody></table></section>\n");
    put_pager(text, page->query, (snapshot->pool_count + FPMP_HTML_ROWS - 1) / FPMP_HTML_ROWS);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void put_pools(fpmp_text *text, const fpmp_page *page)
{
    const fpmp_snapshot *snapshot = page->snapshot;
    if (!snapshot->pool_count) {
        fpmp_text_put(text, snapshot->of_all ? "<p class=\"card\">No pool is like that.</p>\n"
                                             : "<p class=\"card\">httpd has no pool.</p>\n");
    } else if (snapshot->pool_count > FPMP_HTML_CARDS) {
        put_list(text, page);
    } else {
        fpmp_chart_define(text);
        for (int i = 0; i < snapshot->pool_count; i++) {
            fpmp_card_show(text, page, &snapshot->pools[i]);
        }
    }
}

void fpmp_html_show(fpmp_text *text, const fpmp_page *page)
{
    sums all = add_up(page->snapshot);
    put_head(text, page, &all);
    put_header(text, page);
    fpmp_text_put(text, "<main>\n");
    put_tiles(text, page->snapshot, &all);
    if (page->snapshot->of_all > 1) {
        put_filter(text, page->query);
    }
    put_pools(text, page);
    fpmp_text_put(text,
                  "</main>\n<footer class=\"quiet\">Times are those of the last 5 to 10 minutes; "
                  "what failed is everything but ok, abort and client. Requests, not ok and sent "
                  "are since httpd was started. For programs: <a href=\"?json\">json</a> <a "
                  "href=\"?auto\">auto</a> <a href=\"?metrics\">metrics</a></footer>\n</body>\n"
                  "</html>\n");
}
