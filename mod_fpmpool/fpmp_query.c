/* fpmp_query.c - what a page of figures is asked for.
 *
 * Runs in an httpd child. Pure: text to struct; must not do I/O or log.
 */
#include "fpmp_query.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MOST 128 /* bytes of a name that is looked for */

static const char *const sorts[] = {"state", "name", "flight", "requests", "errors", "time", NULL};
static const char *const formats[] = {"html", "json", "auto", "metrics", NULL};

const char *fpmp_query_sort_name(int sort)
{
    return sorts[sort];
}

static int find(const char *const *names, const char *name)
{
    for (int i = 0; names[i]; i++) {
        if (!strcmp(names[i], name)) {
            return i;
        }
    }
    return -1;
}

static int digit(char hex)
{
    return apr_isdigit(hex) ? hex - '0' : apr_tolower(hex) - 'a' + 10;
}

/* Decodes %XX and `+` in place; 0: it is malformed, or has a NUL. */
static int decode(char *text)
{
    char *to = text;
    for (const char *at = text; *at; at++, to++) {
        *to = *at == '+' ? ' ' : *at;
        if (*at == '%') {
            if (!apr_isxdigit(at[1]) || !apr_isxdigit(at[2])) {
                return 0;
            }
            *to = (char)(digit(at[1]) * 16 + digit(at[2]));
            at += 2;
            if (!*to) {
                return 0;
            }
        }
    }
    *to = '\0';
    return 1;
}

/* 0: no number from 0 to most */
static int take_number(const char *value, unsigned most, unsigned *number)
{
    size_t length = strlen(value);
    if (length == 0 || length > 5 || strspn(value, "0123456789") != length) {
        return 0;
    }
    *number = (unsigned)atoi(value);
    return *number <= most;
}

static const char *take_sort(fpmp_query *query, const char *value)
{
    int sort = find(sorts, value);
    if (sort < 0) {
        return "sort is one of state, name, flight, requests, errors and time";
    }
    query->sort = (fpmp_sort)sort;
    return NULL;
}

static const char *take_state(fpmp_query *query, const char *value)
{
    query->wants_trouble = !strcmp(value, "problems");
    return query->wants_trouble || !strcmp(value, "all") ? NULL
                                                         : "state is one of all and problems";
}

static const char *take(fpmp_query *query, const char *name, const char *value)
{
    int format = find(formats, name);
    if (format >= 0) {
        query->format = (fpmp_format)format;
        return *value ? "json, auto, metrics and html take no value" : NULL;
    }
    if (strlen(value) > VALUE_MOST) {
        return "a value is longer than 128 bytes";
    }
    if (!strcmp(name, "pool")) {
        query->pool = value;
        return NULL;
    }
    if (!strcmp(name, "name")) {
        query->name = value;
        return NULL;
    }
    if (!strcmp(name, "state")) {
        return take_state(query, value);
    }
    if (!strcmp(name, "sort")) {
        return take_sort(query, value);
    }
    if (!strcmp(name, "refresh")) {
        return take_number(value, FPMP_REFRESH_MOST, &query->refresh)
                   ? NULL
                   : "refresh is a number of seconds from 0 to 3600";
    }
    if (!strcmp(name, "page")) {
        return take_number(value, FPMP_PAGE_MOST, &query->page) && query->page
                   ? NULL
                   : "page is a number from 1 to 10000";
    }
    return "known are json, auto, metrics, html, pool=, name=, state=, sort=, refresh= and page=";
}

const char *fpmp_query_parse(fpmp_query *query, const char *arguments, apr_pool_t *memory)
{
    *query = (fpmp_query){.name = "", .page = 1};
    char *rest = apr_pstrdup(memory, arguments ? arguments : "");
    char *last = NULL;
    for (char *part = apr_strtok(rest, "&", &last); part; part = apr_strtok(NULL, "&", &last)) {
        char *value = strchr(part, '=');
        if (value) {
            *value++ = '\0';
        } else {
            value = part + strlen(part);
        }
        if (!decode(part) || !decode(value)) {
            return "the query string is malformed";
        }
        const char *wrong = take(query, part, value);
        if (wrong) {
            return wrong;
        }
    }
    return NULL;
}
