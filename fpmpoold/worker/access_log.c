/* access_log.c - access.format compiled once, and lines made from it.
 *
 * Runs in workers, after the response and everything the script did behind it. No I/O.
 */
#include "worker/access_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "apr_strings.h"
#include "apr_tables.h"

#define DEFAULT_FORMAT "%R - %u %t \"%m %r\" %s"
#define DEFAULT_TIME   "%d/%b/%Y:%H:%M:%S %z"

typedef struct item {
    char token;       /* 0: literal text */
    const char *text; /* literal, or what stood in braces ("" if nothing) */
    size_t length;    /* of a literal */
} item;

struct fpd_access_log {
    const fpd_plan_pool *plan;
    apr_array_header_t *items; /* item */
    int wants_headers;
    int wants_cpu;
    int wants_remote;
};

typedef struct line {
    char *to;
    size_t size;
    size_t length;
    int is_cut;
} line;

/* ---- the format -------------------------------------------------------------------------- */

static void add_literal(fpd_access_log *log, const char *text, size_t length)
{
    if (length > 0) {
        item *literal = apr_array_push(log->items);
        literal->token = 0;
        literal->text = text;
        literal->length = length;
    }
}

/* At a '%': adds its token. Returns what stands behind it. */
static const char *add_token(fpd_access_log *log, const char *percent, apr_pool_t *pool)
{
    const char *at = percent + 1;
    const char *modifier = "";
    item *token;

    if (*at == '{') {
        const char *close = strchr(at, '}');
        if (close == NULL) {
            add_literal(log, percent, strlen(percent));
            return percent + strlen(percent);
        }
        modifier = apr_pstrmemdup(pool, at + 1, (apr_size_t)(close - at - 1));
        at = close + 1;
    }
    if (*at == '\0' || strchr("%CdefolmMnpPqQrRstTu", *at) == NULL) {
        size_t length = (size_t)(at - percent) + (*at != '\0');
        add_literal(log, percent, length);
        return percent + length;
    }
    token = apr_array_push(log->items);
    token->token = *at;
    token->text = modifier;
    token->length = 0;
    log->wants_headers |= *at == 'o';
    log->wants_cpu |= *at == 'C';
    log->wants_remote |= *at == 'R';
    return at + 1;
}

fpd_access_log *fpd_access_log_create(const fpd_plan_pool *plan, apr_pool_t *pool)
{
    fpd_access_log *log = apr_pcalloc(pool, sizeof(*log));
    const char *at = plan->access_format != NULL ? plan->access_format : DEFAULT_FORMAT;

    log->plan = plan;
    log->items = apr_array_make(pool, 16, sizeof(item));
    while (*at != '\0') {
        size_t literal = strcspn(at, "%");
        add_literal(log, at, literal);
        at += literal;
        if (*at == '%') {
            at = add_token(log, at, pool);
        }
    }
    return log;
}

int fpd_access_log_wants_headers(const fpd_access_log *log)
{
    return log->wants_headers;
}

int fpd_access_log_wants_cpu(const fpd_access_log *log)
{
    return log->wants_cpu;
}

int fpd_access_log_wants_remote(const fpd_access_log *log)
{
    return log->wants_remote;
}

int fpd_access_log_is_suppressed(const fpd_access_log *log, const fpd_access_entry *entry)
{
    const apr_array_header_t *paths = log->plan->suppress_paths;

    if (paths->nelts == 0 || entry->uri == NULL || entry->method == NULL ||
        (strcmp(entry->method, "GET") != 0 && strcmp(entry->method, "HEAD") != 0) ||
        entry->status < 200 || entry->status > 299 || entry->content_length != 0 ||
        (entry->query != NULL && entry->query[0] != '\0')) {
        return 0;
    }
    for (int i = 0; i < paths->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(paths, i, const char *), entry->uri) == 0) {
            return 1;
        }
    }
    return 0;
}

/* ---- a line ------------------------------------------------------------------------------ */

static void put_bytes(line *out, const char *bytes, size_t length)
{
    size_t room = out->size - out->length;

    if (length > room) {
        out->is_cut = 1;
        length = room;
    }
    memcpy(out->to + out->length, bytes, length);
    out->length += length;
}

/* A value that came from outside must not end the line. */
static void put_value(line *out, const char *value, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)value[i];
        if (byte < 0x20 || byte == 0x7f) {
            char escaped[8];
            snprintf(escaped, sizeof(escaped), "\\x%02X", byte);
            put_bytes(out, escaped, 4);
        } else {
            put_bytes(out, value + i, 1);
        }
    }
}

static void put_text(line *out, const char *value, const char *otherwise)
{
    if (value == NULL || *value == '\0') {
        value = otherwise;
    }
    put_value(out, value, strlen(value));
}

static void put_format(line *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put_format(line *out, const char *format, ...)
{
    char text[64];
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    put_bytes(out, text, length < (int)sizeof(text) ? (size_t)length : sizeof(text) - 1);
}

static void put_cpu(line *out, const char *modifier, const fpd_access_entry *entry)
{
    int64_t used = entry->cpu_user + entry->cpu_system;

    if (strcasecmp(modifier, "user") == 0) {
        used = entry->cpu_user;
    } else if (strcasecmp(modifier, "system") == 0) {
        used = entry->cpu_system;
    }
    put_format(out, "%.2f",
               entry->duration > 0 ? 100.0 * (double)used / (double)entry->duration : 0);
}

static int is_one_of(const char *word, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (strcasecmp(word, *words) == 0) {
            return 1;
        }
    }
    return 0;
}

static void put_duration(line *out, const char *modifier, int64_t duration)
{
    static const char *const milli[] = {"milli",       "milliseconds", "mili",
                                        "miliseconds", "millisecond",  NULL};
    static const char *const micro[] = {"micro", "microseconds", NULL};

    if (is_one_of(modifier, micro)) {
        put_format(out, "%" PRId64, duration);
    } else if (is_one_of(modifier, milli)) {
        put_format(out, "%.3f", (double)duration / 1000);
    } else {
        put_format(out, "%.3f", (double)duration / 1000000);
    }
}

static void put_memory(line *out, const char *modifier, uint64_t memory)
{
    static const char *const kilo[] = {"kilo", "kilobytes", NULL};
    static const char *const mega[] = {"mega", "megabytes", NULL};

    put_format(out, "%" PRIu64,
               is_one_of(modifier, mega)   ? memory / 1048576
               : is_one_of(modifier, kilo) ? memory / 1024
                                           : memory);
}

static void put_time(line *out, const char *modifier, int64_t when)
{
    const char *format = *modifier != '\0' ? modifier : DEFAULT_TIME;
    time_t seconds = (time_t)(when / 1000000);
    struct tm parts;
    char text[256];
    size_t length = 0;

    if (localtime_r(&seconds, &parts) != NULL) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        length = strftime(text, sizeof(text), format, &parts);
#pragma GCC diagnostic pop
    }
    put_value(out, text, length);
}

static void put_param(line *out, const char *name, const fpd_params *params)
{
    size_t length = 0;
    const char *value =
        params != NULL ? fpd_params_find(params, name, strlen(name), &length) : NULL;

    if (value == NULL) {
        put_bytes(out, "-", 1);
    } else {
        put_value(out, value, length);
    }
}

/* The value of a response header: exact name, blanks behind the colon dropped. */
static void put_header(line *out, const char *name, const fpd_access_entry *entry)
{
    const char *at = entry->headers;
    const char *end = at != NULL ? at + entry->headers_length : NULL;
    size_t name_length = strlen(name);

    while (at != NULL && at < end) {
        const char *stop = memchr(at, '\r', (size_t)(end - at));
        size_t length = (size_t)((stop != NULL ? stop : end) - at);
        if (length > name_length && memcmp(at, name, name_length) == 0 && at[name_length] == ':') {
            size_t start = name_length + 1;
            while (start < length && at[start] == ' ') {
                start++;
            }
            if (start < length) {
                put_value(out, at + start, length - start);
                return;
            }
        }
        at = stop != NULL ? stop + 2 : end;
    }
    put_bytes(out, "-", 1);
}

static void put_token(line *out, const fpd_access_log *log, const item *token,
                      const fpd_access_entry *entry)
{
    int has_query = entry->query != NULL && entry->query[0] != '\0';

    switch (token->token) {
    case '%':
        put_bytes(out, "%", 1);
        break;
    case 'C':
        put_cpu(out, token->text, entry);
        break;
    case 'd':
        put_duration(out, token->text, entry->duration);
        break;
    case 'e':
        put_param(out, token->text, entry->params);
        break;
    case 'f':
        put_text(out, entry->script, "-");
        break;
    case 'l':
        put_format(out, "%" PRId64, entry->content_length);
        break;
    case 'm':
        put_text(out, entry->method, "-");
        break;
    case 'M':
        put_memory(out, token->text, entry->memory);
        break;
    case 'n':
        put_text(out, log->plan->name, "-");
        break;
    case 'o':
        put_header(out, token->text, entry);
        break;
    case 'p':
        put_format(out, "%d", entry->pid);
        break;
    case 'P':
        put_format(out, "%d", log->plan->master_pid);
        break;
    case 'q':
        put_text(out, entry->query, "");
        break;
    case 'Q':
        put_text(out, has_query ? "?" : "", "");
        break;
    case 'r':
        put_text(out, entry->uri, "");
        break;
    case 'R':
        put_text(out, entry->remote, "-");
        break;
    case 's':
        put_format(out, "%d", entry->status);
        break;
    case 't':
        put_time(out, token->text, entry->started_wall);
        break;
    case 'T':
        put_time(out, token->text, entry->ended_wall);
        break;
    case 'u':
        put_text(out, entry->user, "");
        break;
    default:
        break;
    }
}

size_t fpd_access_log_format(const fpd_access_log *log, const fpd_access_entry *entry, char *to,
                             size_t size, int *is_cut)
{
    line out = {to, size - 1, 0, 0};

    for (int i = 0; i < log->items->nelts; i++) {
        const item *part = &APR_ARRAY_IDX(log->items, i, item);
        if (part->token == 0) {
            put_bytes(&out, part->text, part->length);
        } else {
            put_token(&out, log, part, entry);
        }
    }
    *is_cut = out.is_cut;
    out.to[out.length++] = '\n';
    return out.length;
}
