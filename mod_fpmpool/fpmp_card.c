/* fpmp_card.c - one pool with its servers, as HTML.
 *
 * Runs in an httpd child for each page of figures. Pure: a snapshot to text. Whatever is no literal
 * of this file goes through fpmp_text_html.
 */
#include "fpmp_card.h"

#include "fpmp_chart.h"

#include <string.h>

#define NUMBER "%" APR_UINT64_T_FMT

/* ---- small parts ----------------------------------------------------------------------------- */

void fpmp_card_badge(fpmp_text *text, fpmp_seen_state state)
{
    static const struct {
        const char *class;
        const char *sign;
    } looks[] = {{"bad", "&#9632;"}, {"warn", "&#9650;"}, {"warn", "&#9680;"},
                 {"off", "&#9671;"}, {"good", "&#9679;"}, {"off", "&#9675;"}};
    fpmp_text_format(text,
                     "<span class=\"badge %s\"><span aria-hidden=\"true\">%s</span> %s</span>",
                     looks[state].class, looks[state].sign, fpmp_seen_state_name(state));
}

void fpmp_card_percent(fpmp_text *text, uint64_t part, uint64_t whole)
{
    if (part && whole) {
        double percent = 100.0 * (double)part / (double)whole;
        if (percent < 0.1) {
            fpmp_text_put(text, "&lt;0.1%");
        } else {
            fpmp_text_format(text, "%.1f%%", percent);
        }
    }
}

typedef void number_fn(fpmp_text *text, uint64_t number);

static void put_fact(fpmp_text *text, const char *name, number_fn *put, uint64_t number)
{
    fpmp_text_format(text, "<div><dt>%s</dt><dd>", name);
    put(text, number);
    fpmp_text_put(text, "</dd></div>");
}

void fpmp_card_link(fpmp_text *text, const char *pool)
{
    fpmp_text_put(text, "<a href=\"?pool=");
    fpmp_text_url(text, pool);
    fpmp_text_put(text, "\">");
    fpmp_text_html(text, pool);
    fpmp_text_put(text, "</a>");
}

/* ---- the pool -------------------------------------------------------------------------------- */

static void put_head(fpmp_text *text, const fpmp_seen_pool *pool)
{
    fpmp_text_put(text, "<section class=\"card\" id=\"pool-");
    fpmp_text_html(text, pool->name);
    fpmp_text_put(text, "\">\n<div class=\"head\"><h2>");
    fpmp_card_link(text, pool->name);
    fpmp_text_put(text, "</h2>");
    fpmp_card_badge(text, pool->state);
    fpmp_text_put(text, "<p class=\"quiet\">");
    if (pool->server_count > 1) {
        fpmp_text_format(text, "%d of %d servers usable, balance ", pool->usable,
                         pool->server_count);
        fpmp_text_html(text, pool->balance);
        fpmp_text_put(text, " &middot; ");
    }
    if (pool->is_found) {
        fpmp_text_put(text, "named by an expression");
    } else {
        fpmp_text_put(text, pool->is_implied ? "named in " : "defined in ");
        fpmp_text_html(text, pool->file ? pool->file : "?");
        fpmp_text_format(text, ":%d", pool->line);
    }
    fpmp_text_put(text, "</p></div>\n");
}

static void put_queue(fpmp_text *text, const fpmp_seen_pool *pool)
{
    if (!pool->limit_queue && !pool->waiting) {
        return;
    }
    fpmp_text_format(text, "<div><dt>Waiting</dt><dd>%u", pool->waiting);
    if (pool->limit_queue) {
        fpmp_text_format(text, " <small>of %u</small>", pool->limit_queue);
    }
    fpmp_text_put(text, "</dd></div>");
}

static void put_hour(fpmp_text *text, const fpmp_seen_pool *pool)
{
    if (pool->is_found) {
        return; /* it is not kept */
    }
    put_fact(text, "Requests, 1 h", fpmp_text_amount, pool->hour_requests);
    fpmp_text_put(text, "<div><dt>Failed, 1 h</dt><dd>");
    fpmp_text_amount(text, pool->hour_errors);
    fpmp_text_put(text, " <small>");
    fpmp_card_percent(text, pool->hour_errors, pool->hour_requests);
    fpmp_text_put(text, "</small></dd></div>");
}

static void put_facts(fpmp_text *text, const fpmp_seen_pool *pool)
{
    fpmp_text_put(text, "<dl class=\"facts\"><div><dt>In flight</dt><dd>");
    fpmp_text_format(text, NUMBER, pool->in_flight);
    if (pool->limit_requests) {
        fpmp_text_format(text, " <small>of %u</small>", pool->limit_requests);
    }
    fpmp_text_put(text, "</dd></div>");
    put_queue(text, pool);
    put_hour(text, pool);
    put_fact(text, "Median", fpmp_text_duration, fpmp_latency_quantile(&pool->recent, 0.5));
    put_fact(text, "90% within", fpmp_text_duration, fpmp_latency_quantile(&pool->recent, 0.9));
    put_fact(text, "99% within", fpmp_text_duration, fpmp_latency_quantile(&pool->recent, 0.99));
    fpmp_text_put(text, "</dl>\n");
}

static void put_figure(fpmp_text *text, const char *name, number_fn *put, uint64_t most)
{
    fpmp_text_format(text, "<figcaption>%s, most ", name);
    put(text, most);
    fpmp_text_put(text, "</figcaption>");
}

static void put_charts(fpmp_text *text, const fpmp_seen_pool *pool)
{
    static const char axis[] =
        "<div class=\"axis\" aria-hidden=\"true\"><span>1 h ago</span><span>now</span></div>";
    if (pool->is_found) {
        fpmp_text_put(text, "<p class=\"quiet\">The last hour is not kept for pools that "
                            "expressions name.</p>\n");
        return;
    }
    if (!pool->hour_requests) {
        fpmp_text_put(text, "<p class=\"quiet\">No request has ended within the last hour.</p>\n");
        return;
    }
    fpmp_text_put(text, "<div class=\"charts\"><figure>");
    put_figure(text, "Requests per minute", fpmp_text_amount,
               fpmp_chart_most_requests(pool->minutes));
    fpmp_chart_requests(text, pool->minutes, "Requests of each minute of the last hour");
    fpmp_text_put(text, axis);
    fpmp_text_put(text, "</figure><figure>");
    put_figure(text, "Mean time", fpmp_text_duration, fpmp_chart_most_time(pool->minutes));
    fpmp_chart_time(text, pool->minutes, "Mean time of requests of each minute of the last hour");
    fpmp_text_put(text, axis);
    fpmp_text_put(text, "</figure></div>\n");
}

/* ---- its servers ----------------------------------------------------------------------------- */

static void put_failures(fpmp_text *text, const fpmp_count *count)
{
    const char *before = "";
    for (int i = 1; fpmp_counters_state_name(i); i++) {
        if (count->states[i]) {
            fpmp_text_format(text, "%s<span class=\"pair\">%s ", before,
                             fpmp_counters_state_name(i));
            fpmp_text_amount(text, count->states[i]);
            fpmp_text_put(text, "</span>");
            before = ", ";
        }
    }
    fpmp_text_put(text, *before ? "" : "<span class=\"quiet\">none</span>");
}

static void put_name(fpmp_text *text, const fpmp_seen_server *server)
{
    fpmp_text_put(text, "<th scope=\"row\" role=\"rowheader\"><span class=\"name\">");
    fpmp_text_html(text, server->name);
    fpmp_text_put(text, "</span>");
    fpmp_text_put(text, "<span class=\"quiet\">");
    if (strcmp(server->name, server->address)) {
        fpmp_text_html(text, server->address);
        fpmp_text_put(text, " &middot; ");
    }
    fpmp_text_html(text, server->type);
    if (server->is_backup) {
        fpmp_text_put(text, " &middot; backup");
    }
    if (server->group) {
        fpmp_text_format(text, " &middot; group %d", server->group);
    }
    fpmp_text_put(text, "</span></th>");
}

static void put_cell(fpmp_text *text, const char *label)
{
    fpmp_text_format(text, "<td role=\"cell\" data-label=\"%s\">", label);
}

/* One whose text may have several lines. */
static void put_wide_cell(fpmp_text *text, const char *label)
{
    fpmp_text_format(text, "<td role=\"cell\" class=\"wide\" data-label=\"%s\">", label);
}

/* Why it is so, and since when. */
static void put_state(fpmp_text *text, const fpmp_seen_server *server)
{
    put_wide_cell(text, "State");
    if (server->mode == FPMP_ADMIN_DOWN) {
        fpmp_text_put(text, "<span class=\"badge off\"><span aria-hidden=\"true\">&#9633;</span> "
                            "taken down</span>");
    } else {
        fpmp_card_badge(text, fpmp_seen_server_state(server));
    }
    if (server->mode != FPMP_ADMIN_READY) {
        fpmp_text_put(text, "<span class=\"quiet\"> by the manager");
        fpmp_text_put(text,
                      server->health == FPMP_HEALTH_UP ? "</span>" : ", does not answer</span>");
    }
    if (server->changed != FPMP_NEVER) {
        fpmp_text_put(text, server->health == FPMP_HEALTH_UP ? "<span class=\"quiet\"> since "
                                                             : "<span> for ");
        fpmp_text_age(text, server->changed);
        fpmp_text_put(text, "</span>");
    }
    if (server->reason) {
        fpmp_text_put(text, server->health == FPMP_HEALTH_UP
                                ? "<span class=\"why quiet\">last failure "
                                : "<span class=\"why\">last failure ");
        fpmp_text_age(text, server->failed);
        fpmp_text_put(text, " ago: ");
        fpmp_text_html(text, server->reason);
        fpmp_text_put(text, "</span>");
    }
    fpmp_text_put(text, "</td>");
}

static void put_numbers(fpmp_text *text, const fpmp_seen_server *server)
{
    put_cell(text, "Weight");
    fpmp_text_format(text, "%d", server->weight);
    if (server->weight != server->weight_configured) {
        fpmp_text_format(text, " <small>(was %d)</small>", server->weight_configured);
    }
    fpmp_text_put(text, "</td>");
    put_cell(text, "In flight");
    fpmp_text_format(text, "%u", server->in_flight);
    if (server->max) {
        fpmp_text_format(text, " <small>of %u</small>", server->max);
    }
    fpmp_text_put(text, "</td>");
    put_cell(text, "Requests");
    fpmp_text_amount(text, server->count.requests);
    fpmp_text_put(text, "</td>");
    put_wide_cell(text, "Not ok");
    put_failures(text, &server->count);
    fpmp_text_put(text, "</td>");
}

static void put_times(fpmp_text *text, const fpmp_seen_server *server)
{
    static const struct {
        const char *label;
        double part;
    } columns[] = {{"Median", 0.5}, {"90% within", 0.9}, {"99% within", 0.99}};
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
        put_cell(text, columns[i].label);
        fpmp_text_duration(text, fpmp_latency_quantile(&server->recent, columns[i].part));
        fpmp_text_put(text, "</td>");
    }
    put_cell(text, "Sent");
    fpmp_text_bytes(text, server->count.bytes);
    fpmp_text_put(text, "</td>");
}

/* ---- controls -------------------------------------------------------------------------------- */

static void put_hidden(fpmp_text *text, const char *name, const char *value)
{
    fpmp_text_format(text, "<input type=\"hidden\" name=\"%s\" value=\"", name);
    fpmp_text_html(text, value);
    fpmp_text_put(text, "\">");
}

static void open_form(fpmp_text *text, const fpmp_page *page, const fpmp_seen_pool *pool,
                      const fpmp_seen_server *server)
{
    fpmp_text_put(text, "<form method=\"post\">");
    put_hidden(text, "nonce", page->nonce);
    put_hidden(text, "pool", pool->name);
    put_hidden(text, "server", server->name);
}

static void put_button(fpmp_text *text, const char *action, const char *name, const char *server)
{
    fpmp_text_format(text, "<button name=\"action\" value=\"%s\" aria-label=\"%s: ", action, name);
    fpmp_text_html(text, server);
    fpmp_text_format(text, "\">%s</button>", name);
}

/* Two forms: Enter in the field must set the weight and nothing else. */
static void put_controls(fpmp_text *text, const fpmp_page *page, const fpmp_seen_pool *pool,
                         const fpmp_seen_server *server)
{
    static const char *const names[] = {"Ready", "Drain", "Take down"};
    put_wide_cell(text, "Change");
    fpmp_text_put(text, "<div class=\"controls\">");
    open_form(text, page, pool, server);
    for (int mode = FPMP_ADMIN_READY; mode <= FPMP_ADMIN_DOWN; mode++) {
        if (mode != (int)server->mode) {
            put_button(text, fpmp_admin_mode_name((fpmp_admin_mode)mode), names[mode],
                       server->name);
        }
    }
    fpmp_text_put(text, "</form>");
    open_form(text, page, pool, server);
    fpmp_text_format(text,
                     "<input type=\"number\" name=\"weight\" min=\"0\" max=\"100\" value=\"%d\" "
                     "title=\"1 to 100; 0: as configured (%d)\" aria-label=\"Weight: ",
                     server->weight, server->weight_configured);
    fpmp_text_html(text, server->name);
    fpmp_text_put(text, "\">");
    put_button(text, "weight", "Set weight", server->name);
    fpmp_text_put(text, "</form></div></td>");
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void put_columns(fpmp_text *text, const fpmp_page *page)
{
    static const char *const names[] = {"Server", "State",  "Weight",     "In flight",  "Requests",
                                        "Not ok", "Median", "90% within", "99% within", "Sent"};
    fpmp_text_put(text, "<thead role=\"rowgroup\"><tr role=\"row\">");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        fpmp_text_format(text, "<th scope=\"col\" role=\"columnheader\">%s</th>", names[i]);
    }
    if (page->nonce) {
        fpmp_text_put(text, "<th scope=\"col\" role=\"columnheader\">Change</th>");
    }
    fpmp_text_put(text, "</tr></thead>\n");
}

void fpmp_card_show(fpmp_text *text, const fpmp_page *page, const fpmp_seen_pool *pool)
{
    put_head(text, pool);
    put_facts(text, pool);
    put_charts(text, pool);
    fpmp_text_put(text, "<table class=\"servers\" role=\"table\"><caption>Servers of ");
    fpmp_text_html(text, pool->name);
    fpmp_text_put(text, "</caption>\n");
    put_columns(text, page);
    fpmp_text_put(text, "<tbody role=\"rowgroup\">\n");
    for (int i = 0; i < pool->server_count; i++) {
        const fpmp_seen_server *server = &pool->servers[i];
        fpmp_text_put(text, "<tr role=\"row\">");
        put_name(text, server);
        put_state(text, server);
        put_numbers(text, server);
        put_times(text, server);
        if (page->nonce) {
            put_controls(text, page, pool, server);
        }
        fpmp_text_put(text, "</tr>\n");
    }
    fpmp_text_put(text, "</tbody></table>\n</section>\n");
}
