/* control_line.c - reads and makes the request line of the control socket.
 *
 * Runs in the master, on what a client sent, and in the client. Pure: bytes in, a small struct out;
 * t/fuzz/fuzz_control.c holds it to that.
 */
#include "master/control_line.h"

#include <stdio.h>
#include <string.h>

const fpd_control_field fpd_control_daemon_fields[] = {
    {"pid", 1},    {"version", 0},    {"state", 0},         {"up", 1},
    {"config", 0}, {"active", 1},     {"idle", 1},          {"requests", 1},
    {"slow", 1},   {"pool_count", 1}, {"serving_count", 1}, {NULL, 0},
};

const fpd_control_field fpd_control_pool_fields[] = {
    {"name", 0},   {"state", 0},   {"pid", 1},         {"up", 1},          {"active", 1},
    {"idle", 1},   {"max", 1},     {"queue", 1},       {"max_queue", 1},   {"requests", 1},
    {"slow", 1},   {"refused", 1}, {"connections", 1}, {"generations", 1}, {"draining", 1},
    {"listen", 0}, {"reason", 0},  {NULL, 0},
};

typedef struct verb_row {
    const char *name;
    int needs_pool;
} verb_row;

static const verb_row verbs[] = {
    [FPD_CONTROL_STATUS] = {"status", 0},   [FPD_CONTROL_READY] = {"ready", 0},
    [FPD_CONTROL_RELOAD] = {"reload", 0},   [FPD_CONTROL_DRAIN] = {"drain", 1},
    [FPD_CONTROL_RESTART] = {"restart", 0}, [FPD_CONTROL_OPCACHE_RESET] = {"opcache-reset", 0},
    [FPD_CONTROL_OUTCOME] = {"outcome", 0},
};

const char *fpd_control_line_verb(fpd_control_verb verb)
{
    return verbs[verb].name;
}

static int find_verb(fpd_control_verb *found, const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strlen(verbs[i].name) == length && memcmp(verbs[i].name, name, length) == 0) {
            *found = (fpd_control_verb)i;
            return 1;
        }
    }
    return 0;
}

/* Decimal, 1 to 19 digits: no overflow. */
static int read_number(uint64_t *number, const char *text, size_t length)
{
    *number = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return 0;
        }
        *number = *number * 10 + (uint64_t)(text[i] - '0');
    }
    return length > 0 && length <= 19;
}

static const char *take_pool(fpd_control_request *request, const char *name, size_t length)
{
    if (length == 0) {
        return "the name of the pool is empty";
    }
    if (length >= sizeof(request->pool)) {
        return "the name of the pool is longer than 255 bytes";
    }
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f) {
            return "the name of the pool has a control character in it";
        }
    }
    memcpy(request->pool, name, length);
    request->pool[length] = '\0';
    return NULL;
}

const char *fpd_control_line_read(fpd_control_request *request, const char *line, size_t length)
{
    const char *blank = memchr(line, ' ', length);
    size_t verb_length = blank != NULL ? (size_t)(blank - line) : length;
    const char *rest = blank != NULL ? blank + 1 : line + length;
    size_t left = (size_t)(line + length - rest);

    memset(request, 0, sizeof(*request));
    if (!find_verb(&request->verb, line, verb_length)) {
        return "no such command: status, ready, reload, drain, restart and opcache-reset are there";
    }
    if (request->verb == FPD_CONTROL_OUTCOME) {
        return read_number(&request->job, rest, left) ? NULL : "outcome needs the number of a job";
    }
    if (blank != NULL) {
        return take_pool(request, rest, left);
    }
    return verbs[request->verb].needs_pool ? "this command needs the name of a pool" : NULL;
}

const char *fpd_control_line_set(fpd_control_request *request, const char *verb, const char *pool)
{
    memset(request, 0, sizeof(*request));
    if (!find_verb(&request->verb, verb, strlen(verb)) || request->verb == FPD_CONTROL_OUTCOME) {
        return "no such command: status, ready, reload, drain, restart and opcache-reset are there";
    }
    if (pool != NULL) {
        return take_pool(request, pool, strlen(pool));
    }
    return verbs[request->verb].needs_pool ? "this command needs the name of a pool" : NULL;
}

size_t fpd_control_line_write(char line[FPD_CONTROL_LINE_MAX + 1],
                              const fpd_control_request *request)
{
    const char *verb = verbs[request->verb].name;
    int length;

    if (request->verb == FPD_CONTROL_OUTCOME) {
        length = snprintf(line, FPD_CONTROL_LINE_MAX + 1, "%s %llu\n", verb,
                          (unsigned long long)request->job);
    } else {
        length = snprintf(line, FPD_CONTROL_LINE_MAX + 1, "%s%s%s\n", verb,
                          request->pool[0] != '\0' ? " " : "", request->pool);
    }
    return (size_t)length;
}
