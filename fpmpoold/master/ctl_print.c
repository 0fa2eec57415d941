/* ctl_print.c - status as a table for people and as JSON for programs.
 *
 * Runs in the client of the control socket, not in the daemon. Reasons may hold what a tenant's
 * script said: nothing of it reaches a terminal or a parser as more than text.
 */
#include "master/ctl_print.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apr_strings.h"

/* ---- text --------------------------------------------------------------------------------- */

/* The bytes of the character at `from`: 1 to 4, or 0 for what is no UTF-8. */
static int measure(const unsigned char *from, unsigned *code)
{
    static const unsigned smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    int length = *from < 0x80 ? 1 : *from < 0xc0 ? 0 : *from < 0xe0 ? 2 : *from < 0xf0 ? 3 : 4;

    *code = length == 1   ? *from
            : length == 2 ? *from & 0x1f
            : length == 3 ? *from & 0xf
                          : *from & 7;
    for (int i = 1; i < length; i++) {
        if ((from[i] & 0xc0) != 0x80) { /* also the NUL at the end */
            return 0;
        }
        *code = *code << 6 | (from[i] & 0x3f);
    }
    if (length == 0 || *from > 0xf7 || *code < smallest[length] || *code > 0x10ffff ||
        (*code >= 0xd800 && *code < 0xe000)) {
        return 0;
    }
    return length;
}

static int is_control(unsigned code)
{
    return code < ' ' || (code >= 0x7f && code < 0xa0);
}

const char *fpd_ctl_print_clean(const char *text, apr_pool_t *pool)
{
    const unsigned char *from = (const unsigned char *)text;
    char *clean = apr_palloc(pool, strlen(text) + 1);
    char *to = clean;

    while (*from != '\0') {
        unsigned code;
        int length = measure(from, &code);
        if (length == 0 || is_control(code)) {
            *to++ = '?';
            from += length > 0 ? length : 1;
            continue;
        }
        memcpy(to, from, (size_t)length);
        to += length;
        from += length;
    }
    *to = '\0';
    return clean;
}

/* With its quotes. A byte that is no UTF-8 becomes U+FFFD. */
static const char *quote(const char *text, apr_pool_t *pool)
{
    const unsigned char *from = (const unsigned char *)text;
    char *quoted = apr_palloc(pool, strlen(text) * 6 + 3);
    char *to = quoted;

    *to++ = '"';
    while (*from != '\0') {
        unsigned code;
        int length = measure(from, &code);
        if (length == 0) {
            memcpy(to, "\xef\xbf\xbd", 3);
            to += 3;
            from++;
            continue;
        }
        if (is_control(code)) {
            to += apr_snprintf(to, 7, "\\u%04x", code);
        } else {
            if (code == '"' || code == '\\') {
                *to++ = '\\';
            }
            memcpy(to, from, (size_t)length);
            to += length;
        }
        from += length;
    }
    memcpy(to, "\"", 2);
    return quoted;
}

void fpd_ctl_row_read(fpd_ctl_row *row, const char *line, apr_pool_t *pool)
{
    for (int i = 0; i < FPD_CONTROL_FIELDS_MAX; i++) {
        const char *tab = strchr(line, '\t');
        if (tab == NULL) {
            row->fields[i] = apr_pstrdup(pool, line);
            line = "";
        } else {
            row->fields[i] = apr_pstrmemdup(pool, line, (apr_size_t)(tab - line));
            line = tab + 1;
        }
    }
}

static const char *field(const fpd_control_field *fields, const fpd_ctl_row *row, const char *name)
{
    for (int i = 0; fields[i].name != NULL; i++) {
        if (strcmp(fields[i].name, name) == 0) {
            return row->fields[i];
        }
    }
    return "";
}

/* ---- JSON --------------------------------------------------------------------------------- */

static const char *print_object(const fpd_control_field *fields, const fpd_ctl_row *row,
                                apr_pool_t *pool)
{
    apr_array_header_t *parts = apr_array_make(pool, 64, sizeof(const char *));

    for (int i = 0; fields[i].name != NULL; i++) {
        const char *value = row->fields[i];
        int is_number =
            fields[i].is_number && value[0] != '\0' && value[strspn(value, "0123456789")] == '\0';
        APR_ARRAY_PUSH(parts, const char *) =
            apr_pstrcat(pool, i > 0 ? "," : "", "\"", fields[i].name,
                        "\":", is_number ? value : quote(value, pool), NULL);
    }
    return apr_array_pstrcat(pool, parts, '\0');
}

const char *fpd_ctl_print_json(const fpd_ctl_row *daemon, const apr_array_header_t *pools,
                               apr_pool_t *pool)
{
    apr_array_header_t *parts = apr_array_make(pool, pools->nelts + 4, sizeof(const char *));

    APR_ARRAY_PUSH(parts, const char *) = "{";
    APR_ARRAY_PUSH(parts, const char *) = print_object(fpd_control_daemon_fields, daemon, pool);
    APR_ARRAY_PUSH(parts, const char *) = ",\"pools\":[";
    for (int i = 0; i < pools->nelts; i++) {
        const fpd_ctl_row *row = &APR_ARRAY_IDX(pools, i, fpd_ctl_row);
        APR_ARRAY_PUSH(parts, const char *) = apr_pstrcat(
            pool, i > 0 ? ",{" : "{", print_object(fpd_control_pool_fields, row, pool), "}", NULL);
    }
    APR_ARRAY_PUSH(parts, const char *) = "]}\n";
    return apr_array_pstrcat(pool, parts, '\0');
}

/* ---- table -------------------------------------------------------------------------------- */

typedef struct column {
    const char *title;
    const char *name;
    int is_right; /* numbers */
} column;

static const column columns[] = {
    {"POOL", "name", 0}, {"STATE", "state", 0},   {"PID", "pid", 1},
    {"UP", "up", 1},     {"ACTIVE", "active", 1}, {"IDLE", "idle", 1},
    {"MAX", "max", 1},   {"QUEUE", "queue", 1},   {"REQUESTS", "requests", 1},
    {"SLOW", "slow", 1}, {"LISTEN", "listen", 0},
};
#define COLUMNS ((int)(sizeof(columns) / sizeof(columns[0])))

/* The two largest parts: "3d 4h", "12m 5s", "0s". */
static const char *print_age(const char *seconds, apr_pool_t *pool)
{
    long age = atol(seconds);

    if (age >= 86400) {
        return apr_psprintf(pool, "%ldd %ldh", age / 86400, age % 86400 / 3600);
    }
    if (age >= 3600) {
        return apr_psprintf(pool, "%ldh %ldm", age / 3600, age % 3600 / 60);
    }
    if (age >= 60) {
        return apr_psprintf(pool, "%ldm %lds", age / 60, age % 60);
    }
    return apr_psprintf(pool, "%lds", age);
}

static const char *print_cell(const fpd_ctl_row *row, const char *name, apr_pool_t *pool)
{
    const char *value = field(fpd_control_pool_fields, row, name);
    int has_process = strcmp(field(fpd_control_pool_fields, row, "pid"), "0") != 0;

    if (!has_process && (strcmp(name, "pid") == 0 || strcmp(name, "up") == 0)) {
        return "-";
    }
    return strcmp(name, "up") == 0 ? print_age(value, pool) : fpd_ctl_print_clean(value, pool);
}

/* Characters, not bytes. */
static int width_of(const char *text)
{
    int width = 0;

    for (; *text != '\0'; text++) {
        width += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return width;
}

static const char *pad(const char *text, int width, int is_right, apr_pool_t *pool)
{
    int blanks = width - width_of(text);

    return is_right ? apr_psprintf(pool, "%*s%s", blanks, "", text)
                    : apr_psprintf(pool, "%s%*s", text, blanks, "");
}

/* What does not fit into columns: behind the row. */
static const char *print_note(const fpd_ctl_row *row, apr_pool_t *pool)
{
    const char *reason = fpd_ctl_print_clean(field(fpd_control_pool_fields, row, "reason"), pool);
    int draining = atoi(field(fpd_control_pool_fields, row, "draining"));
    const char *drains =
        draining == 0 ? ""
                      : apr_psprintf(pool, "  [%d old generation%s still finish%s]", draining,
                                     draining == 1 ? "" : "s", draining == 1 ? "es" : "");

    return apr_pstrcat(pool, drains, reason[0] != '\0' ? "  " : "", reason, NULL);
}

static const char *daemon_field(const fpd_ctl_row *daemon, const char *name, apr_pool_t *pool)
{
    return fpd_ctl_print_clean(field(fpd_control_daemon_fields, daemon, name), pool);
}

static const char *print_head(const fpd_ctl_row *daemon, apr_pool_t *pool)
{
    return apr_psprintf(
        pool,
        "fpmpoold %s, pid %s, %s, up %s, %s\n"
        "pools: %s, serving or asleep: %s; workers active: %s, idle: %s; requests: %s, slow: "
        "%s\n\n",
        daemon_field(daemon, "version", pool), daemon_field(daemon, "pid", pool),
        daemon_field(daemon, "state", pool), print_age(daemon_field(daemon, "up", pool), pool),
        daemon_field(daemon, "config", pool), daemon_field(daemon, "pool_count", pool),
        daemon_field(daemon, "serving_count", pool), daemon_field(daemon, "active", pool),
        daemon_field(daemon, "idle", pool), daemon_field(daemon, "requests", pool),
        daemon_field(daemon, "slow", pool));
}

const char *fpd_ctl_print_table(const fpd_ctl_row *daemon, const apr_array_header_t *pools,
                                apr_pool_t *pool)
{
    apr_array_header_t *parts = apr_array_make(pool, 64, sizeof(const char *));
    int widths[COLUMNS];

    for (int c = 0; c < COLUMNS; c++) {
        widths[c] = (int)strlen(columns[c].title);
        for (int i = 0; i < pools->nelts; i++) {
            int width =
                width_of(print_cell(&APR_ARRAY_IDX(pools, i, fpd_ctl_row), columns[c].name, pool));
            widths[c] = width > widths[c] ? width : widths[c];
        }
    }
    APR_ARRAY_PUSH(parts, const char *) = print_head(daemon, pool);
    for (int i = -1; i < pools->nelts; i++) { /* -1: the titles */
        const fpd_ctl_row *row = i < 0 ? NULL : &APR_ARRAY_IDX(pools, i, fpd_ctl_row);
        for (int c = 0; c < COLUMNS; c++) {
            const char *cell =
                row == NULL ? columns[c].title : print_cell(row, columns[c].name, pool);
            APR_ARRAY_PUSH(parts, const char *) = c > 0 ? "  " : "";
            APR_ARRAY_PUSH(parts, const char *) =
                c == COLUMNS - 1 ? cell : pad(cell, widths[c], columns[c].is_right, pool);
        }
        APR_ARRAY_PUSH(parts, const char *) = row == NULL ? "" : print_note(row, pool);
        APR_ARRAY_PUSH(parts, const char *) = "\n";
    }
    return apr_array_pstrcat(pool, parts, '\0');
}
