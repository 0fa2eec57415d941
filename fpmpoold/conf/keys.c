/* keys.c - the table, and the conversion of each type between text and value.
 *
 * Pure. Order within a scope is php-fpm's -tt order (spec/php-fpm.md 1.5, 1.6); our own keys
 * follow.
 */
#include "conf/keys.h"

#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "apr_strings.h"
#include "base/log.h"
#include "conf/conf.h"

#define GLOBAL(name, type, member, preset, effect)                                                 \
    {                                                                                              \
        name, FPD_KEY_GLOBAL, type, offsetof(fpd_conf_global, member), preset, 0, effect           \
    }
#define OURS_GLOBAL(name, type, member, preset)                                                    \
    {                                                                                              \
        name, FPD_KEY_GLOBAL, type, offsetof(fpd_conf_global, member), preset, 1, 1                \
    }
#define POOL(name, type, member, preset, effect)                                                   \
    {                                                                                              \
        name, FPD_KEY_POOL, type, offsetof(fpd_plan_pool, member), preset, 0, effect               \
    }
#define OURS(name, type, member, preset)                                                           \
    {                                                                                              \
        name, FPD_KEY_POOL, type, offsetof(fpd_plan_pool, member), preset, 1, 1                    \
    }

const fpd_key fpd_keys[] = {
    GLOBAL("pid", FPD_KEY_PATH, pid, "", 1),
    GLOBAL("error_log", FPD_KEY_PATH, error_log, "log/php-fpm.log", 1),
    GLOBAL("syslog.ident", FPD_KEY_TEXT, syslog_ident, "php-fpm", 1),
    GLOBAL("syslog.facility", FPD_KEY_FACILITY, syslog_facility, "daemon", 1),
    GLOBAL("log_buffering", FPD_KEY_BOOLEAN, log_buffering, "yes", 1),
    GLOBAL("log_level", FPD_KEY_LEVEL, log_level, "notice", 1),
    GLOBAL("log_limit", FPD_KEY_NUMBER, log_limit, "1024", 1),
    GLOBAL("emergency_restart_interval", FPD_KEY_TIME, emergency_restart_interval, "0", 1),
    GLOBAL("emergency_restart_threshold", FPD_KEY_NUMBER, emergency_restart_threshold, "0", 1),
    GLOBAL("process_control_timeout", FPD_KEY_TIME, process_control_timeout, "30s", 1),
    GLOBAL("process.max", FPD_KEY_NUMBER, process_max, "0", 1),
    GLOBAL("process.priority", FPD_KEY_PRIORITY, process_priority, "", 1),
    GLOBAL("daemonize", FPD_KEY_BOOLEAN, daemonize, "yes", 1),
    GLOBAL("rlimit_files", FPD_KEY_NUMBER, rlimit_files, "0", 1),
    GLOBAL("rlimit_core", FPD_KEY_CORE, rlimit_core, "0", 1),
    GLOBAL("events.mechanism", FPD_KEY_TEXT, events_mechanism, "epoll", 1),
    GLOBAL("systemd_interval", FPD_KEY_TIME, systemd_interval, "10s", 1),
    OURS_GLOBAL("control_socket", FPD_KEY_PATH, control_socket, "the pid file's, with .ctl"),
    POOL("prefix", FPD_KEY_PATH, prefix, "", 1),
    POOL("user", FPD_KEY_TEXT, user, "", 1),
    POOL("group", FPD_KEY_TEXT, group, "", 1),
    POOL("listen", FPD_KEY_TEXT, listen, "", 1),
    POOL("listen.backlog", FPD_KEY_NUMBER, listen_backlog, "-1", 1),
    POOL("listen.acl_users", FPD_KEY_TEXT, listen_acl_users, "", 1),
    POOL("listen.acl_groups", FPD_KEY_TEXT, listen_acl_groups, "", 1),
    POOL("listen.owner", FPD_KEY_TEXT, listen_owner, "", 1),
    POOL("listen.group", FPD_KEY_TEXT, listen_group, "", 1),
    POOL("listen.mode", FPD_KEY_MODE, listen_mode, "0660", 1),
    POOL("listen.allowed_clients", FPD_KEY_TEXT, listen_allowed_clients, "", 1),
    POOL("process.priority", FPD_KEY_PRIORITY, process_priority, "", 1),
    POOL("process.dumpable", FPD_KEY_BOOLEAN, process_dumpable, "no", 1),
    POOL("pm", FPD_KEY_PM, pm, "", 1),
    POOL("pm.max_children", FPD_KEY_NUMBER, max_children, "", 1),
    POOL("pm.start_servers", FPD_KEY_NUMBER, start_servers, "min + (max - min) / 2", 1),
    POOL("pm.min_spare_servers", FPD_KEY_NUMBER, min_spare_servers, "", 1),
    POOL("pm.max_spare_servers", FPD_KEY_NUMBER, max_spare_servers, "", 1),
    POOL("pm.max_spawn_rate", FPD_KEY_NUMBER, max_spawn_rate, "32", 1),
    POOL("pm.process_idle_timeout", FPD_KEY_SCALE, process_idle_timeout, "10s", 1),
    POOL("pm.max_requests", FPD_KEY_NUMBER, max_requests, "0", 1),
    POOL("pm.status_path", FPD_KEY_TEXT, status_path, "", 1),
    POOL("pm.status_listen", FPD_KEY_TEXT, status_listen, "", 1),
    POOL("ping.path", FPD_KEY_TEXT, ping_path, "", 1),
    POOL("ping.response", FPD_KEY_TEXT, ping_response, "pong", 1),
    POOL("access.log", FPD_KEY_PATH, access_log, "", 1),
    POOL("access.format", FPD_KEY_TEXT, access_format, "%R - %u %t \"%m %r\" %s", 1),
    POOL("slowlog", FPD_KEY_PATH, slowlog, "", 1),
    POOL("request_slowlog_timeout", FPD_KEY_TIME, request_slowlog_timeout, "0", 1),
    POOL("request_slowlog_trace_depth", FPD_KEY_NUMBER, request_slowlog_trace_depth, "20", 1),
    POOL("request_terminate_timeout", FPD_KEY_TIME, request_terminate_timeout, "0", 1),
    POOL("request_terminate_timeout_track_finished", FPD_KEY_BOOLEAN,
         request_terminate_track_finished, "no", 1),
    POOL("rlimit_files", FPD_KEY_NUMBER, rlimit_files, "0", 1),
    POOL("rlimit_core", FPD_KEY_CORE, rlimit_core, "0", 1),
    POOL("chroot", FPD_KEY_TEXT, chroot, "", 1),
    POOL("chdir", FPD_KEY_TEXT, chdir, "", 1),
    POOL("catch_workers_output", FPD_KEY_BOOLEAN, catch_workers_output, "no", 1),
    POOL("decorate_workers_output", FPD_KEY_BOOLEAN, decorate_workers_output, "yes", 1),
    POOL("clear_env", FPD_KEY_BOOLEAN, clear_env, "yes", 1),
    POOL("security.limit_extensions", FPD_KEY_TEXT, limit_extensions, ".php .phar", 1),
    POOL("apparmor_hat", FPD_KEY_TEXT, apparmor_hat, "", 1),
    OURS("php", FPD_KEY_TEXT, php, "the first that configure found"),
    OURS("queue.max", FPD_KEY_NUMBER, queue_max, "listen.backlog"),
    OURS("queue.timeout", FPD_KEY_TIME, queue_timeout, "0"),
    OURS("pool_idle_timeout", FPD_KEY_TIME, pool_idle_timeout, "10m"),
    OURS("request_head_timeout", FPD_KEY_TIME, request_head_timeout, "60s"),
    OURS("pm.max_memory", FPD_KEY_BYTES, max_memory, "0"),
};

const size_t fpd_keys_count = sizeof(fpd_keys) / sizeof(fpd_keys[0]);

const fpd_key *fpd_keys_find(fpd_key_scope scope, const char *name)
{
    for (size_t i = 0; i < fpd_keys_count; i++) {
        if (fpd_keys[i].scope == scope && strcasecmp(fpd_keys[i].name, name) == 0) {
            return &fpd_keys[i];
        }
    }
    return NULL;
}

/* ---- text to value ------------------------------------------------------------------------ */

typedef struct word {
    const char *name;
    int value;
} word;

static const word levels[] = {
    {"DEBUG", FPD_LOG_DEBUG},
    {"NOTICE", FPD_LOG_NOTICE},
    {"WARNING", FPD_LOG_WARNING},
    {"warn", FPD_LOG_WARNING},
    {"ERROR", FPD_LOG_ERROR},
    {"ALERT", FPD_LOG_ALERT},
    {NULL, 0},
};

static const word managers[] = {
    {"static", FPD_PM_STATIC},
    {"dynamic", FPD_PM_DYNAMIC},
    {"ondemand", FPD_PM_ONDEMAND},
    {NULL, 0},
};

static const word facilities[] = {
    {"AUTH", LOG_AUTH},     {"AUTHPRIV", LOG_AUTHPRIV}, {"CRON", LOG_CRON},
    {"DAEMON", LOG_DAEMON}, {"FTP", LOG_FTP},           {"KERN", LOG_KERN},
    {"LPR", LOG_LPR},       {"MAIL", LOG_MAIL},         {"NEWS", LOG_NEWS},
    {"SYSLOG", LOG_SYSLOG}, {"USER", LOG_USER},         {"UUCP", LOG_UUCP},
    {"LOCAL0", LOG_LOCAL0}, {"LOCAL1", LOG_LOCAL1},     {"LOCAL2", LOG_LOCAL2},
    {"LOCAL3", LOG_LOCAL3}, {"LOCAL4", LOG_LOCAL4},     {"LOCAL5", LOG_LOCAL5},
    {"LOCAL6", LOG_LOCAL6}, {"LOCAL7", LOG_LOCAL7},     {NULL, 0},
};

static const word booleans[] = {
    {"1", 1},    {"yes", 1},   {"true", 1}, {"on", 1}, {"0", 0},  {"no", 0},
    {"none", 0}, {"false", 0}, {"off", 0},  {"", 0},   {NULL, 0},
};

static int find_word(const word *words, const char *name,
                     int (*compare)(const char *, const char *), int32_t *value)
{
    for (; words->name != NULL; words++) {
        if (compare(words->name, name) == 0) {
            *value = words->value;
            return 1;
        }
    }
    return 0;
}

static const char *store_number(int32_t *number, const char *from)
{
    const char *digits = *from == '-' ? from + 1 : from;
    long long value;

    if (digits[strspn(digits, "0123456789")] != '\0') {
        return "is not a valid number (greater or equal than zero)";
    }
    if (strlen(digits) > 10 || (value = atoll(from)) > INT32_MAX || value <= INT32_MIN) {
        return "is too large (at most 2147483647)";
    }
    *number = (int32_t)value;
    return NULL;
}

static const char *store_time(int32_t *seconds, const char *from)
{
    size_t length = strlen(from);
    long long factor = 1;
    long long value;
    char suffix;

    if (length == 0) {
        return "invalid time value";
    }
    suffix = from[length - 1];
    if (suffix == 'm') {
        factor = 60;
    } else if (suffix == 'h') {
        factor = 3600;
    } else if (suffix == 'd') {
        factor = 86400;
    } else if (suffix != 's' && (suffix < '0' || suffix > '9')) {
        return "unknown suffix used in time value";
    }
    value = length > 12 ? INT32_MAX : atoll(from) * factor;
    if (value > INT32_MAX || value <= INT32_MIN) {
        return "is too large (at most 2147483647 seconds)";
    }
    *seconds = (int32_t)value;
    return NULL;
}

/* Bytes are rounded up to KiB. */
static const char *store_bytes(int32_t *kibibytes, const char *from)
{
    size_t digits = strspn(from, "0123456789");
    long long unit = 1;
    long long value;

    switch (from[digits]) {
    case 'G':
    case 'g':
        unit *= 1024;
        /* fall through */
    case 'M':
    case 'm':
        unit *= 1024;
        /* fall through */
    case 'K':
    case 'k':
        unit *= 1024;
        digits++;
        break;
    default:
        break;
    }
    if (from[0] < '0' || from[0] > '9' || from[digits] != '\0') {
        return "is not a size: a number of bytes, or with K, M or G, such as 256M";
    }
    value = strlen(from) > 14 ? INT64_MAX / unit : atoll(from);
    if (value > (int64_t)INT32_MAX * 1024 / unit) {
        return "is too large (at most 2047G)";
    }
    value *= unit;
    *kibibytes = (int32_t)((value + 1023) / 1024);
    return NULL;
}

static const char *store_core(int32_t *limit, const char *from)
{
    const char *reason;

    if (strcasecmp(from, "unlimited") == 0) {
        *limit = -1;
        return NULL;
    }
    reason = store_number(limit, from);
    return reason == NULL && *limit < 0 ? "must be greater than zero or 'unlimited'" : reason;
}

static const char *store_mode(int32_t *mode, const char *from)
{
    char *end;
    long value = strtol(from, &end, 8);

    if (*from == '\0' || *end != '\0' || value < 0 || value > 0777) {
        return "is not an octal mode such as 0660";
    }
    *mode = (int32_t)value;
    return NULL;
}

const char *fpd_keys_store(const fpd_key *key, void *structure, const char *from)
{
    void *member = (char *)structure + key->offset;

    switch (key->type) {
    case FPD_KEY_TEXT:
    case FPD_KEY_PATH:
        *(const char **)member = from;
        return NULL;
    case FPD_KEY_NUMBER:
    case FPD_KEY_PRIORITY:
        return store_number(member, from);
    case FPD_KEY_TIME:
    case FPD_KEY_SCALE:
        return store_time(member, from);
    case FPD_KEY_BOOLEAN:
        return find_word(booleans, from, strcmp, member) ? NULL : "invalid boolean value";
    case FPD_KEY_LEVEL:
        return find_word(levels, from, strcasecmp, member) ? NULL : "invalid value for 'log_level'";
    case FPD_KEY_FACILITY:
        return find_word(facilities, from, strcasecmp, member) ? NULL : "invalid value";
    case FPD_KEY_BYTES:
        return store_bytes(member, from);
    case FPD_KEY_CORE:
        return store_core(member, from);
    case FPD_KEY_PM:
        return find_word(managers, from, strcasecmp, member)
                   ? NULL
                   : "invalid process manager (static, dynamic or ondemand)";
    case FPD_KEY_MODE:
        return store_mode(member, from);
    }
    return "has an unknown type";
}

/* ---- value to text ------------------------------------------------------------------------ */

static const char *find_name(const word *words, int value, const char *otherwise)
{
    for (; words->name != NULL; words++) {
        if (words->value == value) {
            return words->name;
        }
    }
    return otherwise;
}

const char *fpd_keys_print(const fpd_key *key, const void *structure, apr_pool_t *pool)
{
    const void *member = (const char *)structure + key->offset;
    const char *content;

    switch (key->type) {
    case FPD_KEY_TEXT:
    case FPD_KEY_PATH:
        content = *(const char *const *)member;
        return content != NULL ? content : "undefined";
    case FPD_KEY_BOOLEAN:
        return *(const int32_t *)member ? "yes" : "no";
    case FPD_KEY_TIME:
        return apr_psprintf(pool, "%ds", *(const int32_t *)member);
    case FPD_KEY_BYTES:
        return apr_psprintf(pool, "%dK", *(const int32_t *)member);
    case FPD_KEY_LEVEL: /* php-fpm's word for an unset level */
        return find_name(levels, *(const int32_t *)member, "unknown value");
    case FPD_KEY_PM:
        return find_name(managers, *(const int32_t *)member, "undefined");
    case FPD_KEY_MODE:
        return *(const int32_t *)member == FPD_PLAN_UNSET
                   ? "undefined"
                   : apr_psprintf(pool, "%04o", (unsigned)*(const int32_t *)member);
    case FPD_KEY_PRIORITY:
        if (*(const int32_t *)member == FPD_PLAN_UNSET) {
            return "undefined";
        }
        break;
    default:
        break;
    }
    return apr_psprintf(pool, "%d", *(const int32_t *)member);
}
