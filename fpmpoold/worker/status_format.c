/* status_format.c - the status page in php-fpm's five formats.
 *
 * Pure: runs in workers and in the pool process. Reads the board only through snapshots, since
 * tenants can write all of it. One list of fields serves every format.
 */
#include "worker/status_format.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/loop.h"
#include "worker/page.h"

#define SLOTS_MAX 65536

typedef enum format { FORMAT_TEXT, FORMAT_HTML, FORMAT_XML, FORMAT_JSON, FORMAT_METRICS } format;

typedef enum field_kind { FIELD_TEXT, FIELD_NUMBER, FIELD_TIME, FIELD_PERCENT } field_kind;

typedef struct field {
    const char *name;
    field_kind kind;
    const char *text; /* FIELD_TEXT; untrusted */
    uint64_t number;  /* FIELD_TIME: seconds since 1970; FIELD_PERCENT: hundredths */
} field;

#define POOL_FIELDS 14
#define SLOT_FIELDS 13

/* ---- values ------------------------------------------------------------------------------ */

static void put_date(fpd_page *out, uint64_t seconds)
{
    time_t when = (time_t)seconds;
    struct tm parts;
    char date[64];

    if (localtime_r(&when, &parts) == NULL ||
        strftime(date, sizeof(date), "%d/%b/%Y:%H:%M:%S %z", &parts) == 0) {
        strcpy(date, "-");
    }
    fpd_page_put(out, date);
}

static void put_value(fpd_page *out, format form, const field *of)
{
    char percent[32];

    switch (of->kind) {
    case FIELD_TEXT:
        (form == FORMAT_JSON   ? fpd_page_put_json
         : form == FORMAT_TEXT ? fpd_page_put
                               : fpd_page_put_markup)(out, of->text);
        break;
    case FIELD_TIME:
        if (form == FORMAT_TEXT || form == FORMAT_HTML) {
            put_date(out, of->number);
        } else {
            fpd_page_put_number(out, of->number);
        }
        break;
    case FIELD_PERCENT:
        snprintf(percent, sizeof(percent), "%" PRIu64 ".%02u", of->number / 100,
                 (unsigned)(of->number % 100));
        fpd_page_put(out, percent);
        break;
    case FIELD_NUMBER:
        fpd_page_put_number(out, of->number);
    }
}

/* ---- fields ------------------------------------------------------------------------------ */

static uint64_t since(int64_t now, int64_t then)
{
    return now > then ? (uint64_t)(now - then) : 0;
}

const char *fpd_status_format_manager(const fpd_plan_pool *plan)
{
    switch (plan->pm) {
    case FPD_PM_STATIC:
        return "static";
    case FPD_PM_DYNAMIC:
        return "dynamic";
    default:
        return "ondemand";
    }
}

static void list_pool_fields(field fields[POOL_FIELDS], const fpd_board_view *view,
                             const fpd_plan_pool *plan, const fpd_status_times *times)
{
    const field list[POOL_FIELDS] = {
        {"pool", FIELD_TEXT, plan->name, 0},
        {"process manager", FIELD_TEXT, fpd_status_format_manager(plan), 0},
        {"start time", FIELD_TIME, NULL, (uint64_t)view->started_at},
        {"start since", FIELD_NUMBER, NULL, since(times->wall / 1000000, view->started_at)},
        {"accepted conn", FIELD_NUMBER, NULL, view->requests},
        {"listen queue", FIELD_NUMBER, NULL, view->queue_length},
        {"max listen queue", FIELD_NUMBER, NULL, view->max_queue_length},
        {"listen queue len", FIELD_NUMBER, NULL, view->queue_limit},
        {"idle processes", FIELD_NUMBER, NULL, view->idle},
        {"active processes", FIELD_NUMBER, NULL, view->active},
        {"total processes", FIELD_NUMBER, NULL, view->total},
        {"max active processes", FIELD_NUMBER, NULL,
         view->max_active > view->active ? view->max_active : view->active},
        {"max children reached", FIELD_NUMBER, NULL, view->max_children_reached},
        {"slow requests", FIELD_NUMBER, NULL, view->slow_requests},
    };

    memcpy(fields, list, sizeof(list));
}

static const char *or_dash(const char *text)
{
    return text[0] != '\0' ? text : "-";
}

/* uri: room for uri and query of the view, joined. */
static void list_slot_fields(field fields[SLOT_FIELDS], const fpd_slot_view *view,
                             const fpd_status_times *times, char *uri, size_t uri_size)
{
    int is_idle = view->stage == FPD_STAGE_IDLE;
    int64_t started = view->started_at / 1000000;
    uint64_t duration = is_idle || view->request_started == 0
                            ? (uint64_t)view->last_duration
                            : since(times->monotonic, view->request_started);

    snprintf(uri, uri_size, "%s%s%s", or_dash(view->uri), view->query[0] != '\0' ? "?" : "",
             view->query);
    {
        const field list[SLOT_FIELDS] = {
            {"pid", FIELD_NUMBER, NULL, (uint64_t)(view->pid > 0 ? view->pid : 0)},
            {"state", FIELD_TEXT, fpd_board_stage_text(view->stage), 0},
            {"start time", FIELD_TIME, NULL, (uint64_t)started},
            {"start since", FIELD_NUMBER, NULL, since(times->wall / 1000000, started)},
            {"requests", FIELD_NUMBER, NULL, view->requests},
            {"request duration", FIELD_NUMBER, NULL, duration},
            {"request method", FIELD_TEXT, or_dash(view->method), 0},
            {"request uri", FIELD_TEXT, uri, 0},
            {"content length", FIELD_NUMBER, NULL, (uint64_t)view->content_length},
            {"user", FIELD_TEXT, or_dash(view->user), 0},
            {"script", FIELD_TEXT, or_dash(view->script), 0},
            {"last request cpu", FIELD_PERCENT, NULL, is_idle ? view->last_cpu_centi : 0},
            {"last request memory", FIELD_NUMBER, NULL, is_idle ? view->last_memory : 0},
        };
        memcpy(fields, list, sizeof(list));
    }
}

/* ---- formats ----------------------------------------------------------------------------- */

static void put_text_fields(fpd_page *out, const field *fields, int count)
{
    for (int i = 0; i < count; i++) {
        const char *name =
            strcmp(fields[i].name, "request uri") == 0 ? "request URI" : fields[i].name;
        char label[32];
        snprintf(label, sizeof(label), "%s:%*s", name, (int)(21 - strlen(name)), "");
        fpd_page_put(out, label);
        put_value(out, FORMAT_TEXT, &fields[i]);
        fpd_page_put(out, "\n");
    }
}

static void put_json_fields(fpd_page *out, const field *fields, int count)
{
    for (int i = 0; i < count; i++) {
        fpd_page_put(out, i == 0 ? "{\"" : ",\"");
        fpd_page_put(out, fields[i].name);
        fpd_page_put(out, "\":");
        put_value(out, FORMAT_JSON, &fields[i]);
    }
}

static void put_xml_fields(fpd_page *out, const field *fields, int count, const char *line_end)
{
    for (int i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof(name), "%s", fields[i].name);
        for (char *blank = name; (blank = strchr(blank, ' ')) != NULL; *blank = '-') {
        }
        fpd_page_put(out, "<");
        fpd_page_put(out, name);
        fpd_page_put(out, ">");
        put_value(out, FORMAT_XML, &fields[i]);
        fpd_page_put(out, "</");
        fpd_page_put(out, name);
        fpd_page_put(out, ">");
        fpd_page_put(out, line_end);
    }
}

static void put_html_pool(fpd_page *out, const field *fields)
{
    fpd_page_put(out, "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Strict//EN\" "
                      "\"http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd\">\n"
                      "<html xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" lang=\"en\">\n"
                      "<head><title>PHP-FPM Status Page</title></head>\n<body>\n<table>\n");
    for (int i = 0; i < POOL_FIELDS; i++) {
        fpd_page_put(out, "<tr><th>");
        fpd_page_put(out, fields[i].name);
        fpd_page_put(out, "</th><td>");
        put_value(out, FORMAT_HTML, &fields[i]);
        fpd_page_put(out, "</td></tr>\n");
    }
    fpd_page_put(out, "</table>\n");
}

static void put_html_slot(fpd_page *out, const field *fields, int is_first)
{
    if (is_first) {
        fpd_page_put(out, "<table border=\"1\">\n<tr>");
        for (int i = 0; i < SLOT_FIELDS; i++) {
            fpd_page_put(out, "<th>");
            fpd_page_put(out, fields[i].name);
            fpd_page_put(out, "</th>");
        }
        fpd_page_put(out, "</tr>\n");
    }
    fpd_page_put(out, "<tr>");
    for (int i = 0; i < SLOT_FIELDS; i++) {
        fpd_page_put(out, "<td>");
        put_value(out, FORMAT_HTML, &fields[i]);
        fpd_page_put(out, "</td>");
    }
    fpd_page_put(out, "</tr>\n");
}

/* Name, type, help of each number of the pool, in the page's order; index into the pool's fields.
 */
static const struct metric {
    const char *name;
    const char *type;
    const char *help;
    int field;
    int is_type_first;
} metrics[] = {
    {"start_since", "counter", "The number of seconds since FPM has started.", 3, 0},
    {"accepted_connections", "counter", "The number of requests accepted by the pool.", 4, 0},
    {"listen_queue", "gauge", "The number of requests in the queue of pending connections.", 5, 0},
    {"max_listen_queue", "counter",
     "The maximum number of requests in the queue of pending connections since FPM has started.", 6,
     0},
    {"listen_queue_length", "gauge", "The size of the socket queue of pending connections.", 7, 1},
    {"idle_processes", "gauge", "The number of idle processes.", 8, 0},
    {"active_processes", "gauge", "The number of active processes.", 9, 0},
    {"total_processes", "gauge", "The number of idle + active processes.", 10, 0},
    {"max_active_processes", "counter",
     "The maximum number of active processes since FPM has started.", 11, 0},
    {"max_children_reached", "counter",
     "The number of times, the process limit has been reached, when pm tries to start more "
     "children (works only for pm 'dynamic' and 'ondemand').",
     12, 0},
    {"slow_requests", "counter",
     "The number of requests that exceeded your 'request_slowlog_timeout' value.", 13, 0},
};

static void put_metric_line(fpd_page *out, const char *word, const struct metric *metric,
                            const char *text)
{
    fpd_page_put(out, "# ");
    fpd_page_put(out, word);
    fpd_page_put(out, " phpfpm_");
    fpd_page_put(out, metric->name);
    fpd_page_put(out, " ");
    fpd_page_put(out, text);
    fpd_page_put(out, "\n");
}

static void put_metrics(fpd_page *out, const field *fields)
{
    fpd_page_put(out, "# HELP phpfpm_up Could pool ");
    fpd_page_put(out, fields[0].text);
    fpd_page_put(out, " using a ");
    fpd_page_put(out, fields[1].text);
    fpd_page_put(out, " PM on PHP-FPM be reached?\n# TYPE phpfpm_up gauge\nphpfpm_up 1\n");
    for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
        const struct metric *metric = &metrics[i];
        if (metric->is_type_first) {
            put_metric_line(out, "TYPE", metric, metric->type);
        }
        put_metric_line(out, "HELP", metric, metric->help);
        if (!metric->is_type_first) {
            put_metric_line(out, "TYPE", metric, metric->type);
        }
        fpd_page_put(out, "phpfpm_");
        fpd_page_put(out, metric->name);
        fpd_page_put(out, " ");
        fpd_page_put_number(out, fields[metric->field].number);
        fpd_page_put(out, "\n");
    }
    fpd_page_put(out, "# EOF\n");
}

static void put_pool(fpd_page *out, format form, const field *fields)
{
    switch (form) {
    case FORMAT_TEXT:
        put_text_fields(out, fields, POOL_FIELDS);
        break;
    case FORMAT_HTML:
        put_html_pool(out, fields);
        break;
    case FORMAT_XML:
        fpd_page_put(out, "<?xml version=\"1.0\" ?>\n<status>\n");
        put_xml_fields(out, fields, POOL_FIELDS, "\n");
        break;
    case FORMAT_JSON:
        put_json_fields(out, fields, POOL_FIELDS);
        break;
    case FORMAT_METRICS:
        put_metrics(out, fields);
    }
}

static void put_slot(fpd_page *out, format form, const field *fields, int is_first)
{
    switch (form) {
    case FORMAT_TEXT:
        fpd_page_put(out, "\n************************\n");
        put_text_fields(out, fields, SLOT_FIELDS);
        break;
    case FORMAT_HTML:
        put_html_slot(out, fields, is_first);
        break;
    case FORMAT_XML:
        fpd_page_put(out, is_first ? "<processes>\n<process>" : "<process>");
        put_xml_fields(out, fields, SLOT_FIELDS, "");
        fpd_page_put(out, "</process>\n");
        break;
    case FORMAT_JSON:
        fpd_page_put(out, is_first ? ", \"processes\":[" : ",");
        put_json_fields(out, fields, SLOT_FIELDS);
        fpd_page_put(out, "}");
        break;
    case FORMAT_METRICS:
        break;
    }
}

static const char *end_of(format form, int has_slots)
{
    switch (form) {
    case FORMAT_HTML:
        return has_slots ? "</table></body></html>" : "</body></html>";
    case FORMAT_XML:
        return has_slots ? "</processes>\n</status>" : "</status>";
    case FORMAT_JSON:
        return has_slots ? "]}" : "}";
    default:
        return "";
    }
}

/* ---- the page ---------------------------------------------------------------------------- */

/* Is there a parameter of this name, with or without a value? */
static int is_asked(const char *query, const char *name)
{
    size_t length = strlen(name);

    while (query != NULL && *query != '\0') {
        size_t part = strcspn(query, "&");
        if (part >= length && memcmp(query, name, length) == 0 &&
            (part == length || query[length] == '=')) {
            return 1;
        }
        query = query[part] == '&' ? query + part + 1 : NULL;
    }
    return 0;
}

static format format_of(const char *query)
{
    if (is_asked(query, "html")) {
        return FORMAT_HTML;
    }
    if (is_asked(query, "xml")) {
        return FORMAT_XML;
    }
    if (is_asked(query, "json")) {
        return FORMAT_JSON;
    }
    return is_asked(query, "openmetrics") ? FORMAT_METRICS : FORMAT_TEXT;
}

static uint32_t slots_of(const fpd_board *board)
{
    return board->slot_count < SLOTS_MAX ? board->slot_count : SLOTS_MAX;
}

size_t fpd_status_format_size(const fpd_board *board, const char *query)
{
    return FPD_STATUS_PAGE_SIZE +
           (is_asked(query, "full") ? (size_t)slots_of(board) * FPD_STATUS_SLOT_SIZE : 0);
}

/* Returns whether there was a slot. */
static int put_slots(fpd_page *out, format form, const fpd_board *board,
                     const fpd_status_times *times)
{
    char uri[FPD_SLOT_URI_SIZE + FPD_SLOT_QUERY_SIZE + 2];
    int has_slots = 0;
    uint32_t count = slots_of(board);

    for (uint32_t i = 0; i < count; i++) {
        field fields[SLOT_FIELDS];
        size_t before = out->length;
        fpd_slot_view view;
        fpd_board_read_slot(board, i, &view);
        if (view.state == FPD_SLOT_FREE) {
            continue;
        }
        list_slot_fields(fields, &view, times, uri, sizeof(uri));
        put_slot(out, form, fields, !has_slots);
        if (out->is_full) {
            out->length = before;
            out->is_full = 0;
            break;
        }
        has_slots = 1;
    }
    return has_slots;
}

size_t fpd_status_format_write_at(char *to, size_t size, const fpd_board *board,
                                  const fpd_plan_pool *plan, const char *query,
                                  const fpd_status_times *times, const char **content_type)
{
    static const char *const types[] = {
        "text/plain;charset=UTF-8", "text/html;charset=UTF-8", "text/xml;charset=UTF-8",
        "application/json", "application/openmetrics-text; version=1.0.0; charset=utf-8"};
    static const size_t end_size = 32;
    format form = format_of(query);
    int has_slots = 0;
    fpd_page out = {to, size > end_size ? size - end_size : 0, 0, 0};
    field fields[POOL_FIELDS];
    fpd_board_view view;

    *content_type = types[form];
    fpd_board_read(board, &view);
    list_pool_fields(fields, &view, plan, times);
    put_pool(&out, form, fields);
    if (is_asked(query, "full") && form != FORMAT_METRICS && !out.is_full) {
        has_slots = put_slots(&out, form, board, times);
    }
    out.size = size;
    fpd_page_put(&out, end_of(form, has_slots));
    return out.length;
}

size_t fpd_status_format_write(char *to, size_t size, const fpd_board *board,
                               const fpd_plan_pool *plan, const char *query,
                               const char **content_type)
{
    struct timespec wall = {0, 0};
    fpd_status_times times;

    clock_gettime(CLOCK_REALTIME, &wall);
    times.wall = (int64_t)wall.tv_sec * 1000000 + wall.tv_nsec / 1000;
    times.monotonic = fpd_monotonic_now();
    return fpd_status_format_write_at(to, size, board, plan, query, &times, content_type);
}

const char *fpd_status_format_header_name(const char *content_type)
{
    return strncmp(content_type, "application/", 12) == 0 ? "Content-Type" : "Content-type";
}
