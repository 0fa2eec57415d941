/* fpmp_conf_member.c - what stands in <FpmPoolDefine>: servers, balance, health, checks, retries,
 * limits.
 *
 * Runs in the parent while the configuration is read. Refuses what it can see alone; must not keep
 * anything outside of httpd's configuration pools.
 */
#include "fpmp_conf_define.h"

#include <httpd.h>
#include <http_config.h>
#include <http_log.h>
#include <ap_expr.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

APLOG_USE_MODULE(fpmpool);

#define FAILS_DEFAULT 3
#define STREAK_MAX    50 /* of fails=, rise= and fall= */
#define FIRST_DEFAULT 1000
#define MOST_DEFAULT  60000
#define RISE_DEFAULT  2
#define FALL_DEFAULT  3

void fpmp_conf_init_pool(fpmp_pool *pool, const fpmp_pool *defaults)
{
    static const fpmp_health_rules health = {FAILS_DEFAULT, 0,           RISE_DEFAULT, FALL_DEFAULT,
                                             FIRST_DEFAULT, MOST_DEFAULT};
    static const fpmp_check check = {FPMP_CHECK_OFF, apr_time_from_sec(2), apr_time_from_msec(500),
                                     apr_time_from_sec(2), apr_time_from_sec(1)};
    if (defaults) {
        *pool = *defaults;
        /* It goes behind those of servers and virtual hosts, which a pool's own goes before. */
        memset(&pool->limit, 0, sizeof(pool->limit));
        return;
    }
    memset(pool, 0, sizeof(*pool));
    pool->health = health;
    pool->check = check;
}

/* ---- words ----------------------------------------------------------------------------------- */

static const char *read_number(cmd_parms *cmd, const char *word, const char *text, int least,
                               int most, int *number)
{
    size_t length = strlen(text);
    int value = length > 0 && length < 10 && strspn(text, "0123456789") == length ? atoi(text) : -1;
    if (value < least || value > most) {
        return apr_psprintf(cmd->pool, "\"%s\": a number from %d to %d is needed", word, least,
                            most);
    }
    *number = value;
    return NULL;
}

static const char *read_time(cmd_parms *cmd, const char *word, const char *text,
                             apr_interval_time_t least, apr_interval_time_t *time)
{
    apr_interval_time_t value = 0;
    if (!apr_isdigit(*text) || ap_timeout_parameter_parse(text, &value, "s") != APR_SUCCESS ||
        value < least || value > apr_time_from_sec(86400)) {
        return apr_psprintf(cmd->pool, "\"%s\": a time from %dms to 86400s is needed (2s, 500ms)",
                            word, (int)apr_time_as_msec(least));
    }
    *time = value;
    return NULL;
}

static int is_option(const char *word, const char *name)
{
    return !strncasecmp(word, name, strlen(name));
}

/* ---- FpmPoolServer --------------------------------------------------------------------------- */

static const char *set_server_type(cmd_parms *cmd, const char *value, fpmp_server *server)
{
    static const char *const types[] = {"fpmpool", "fpm", "generic", NULL};
    int type = fpmp_conf_read_choice(value, types);
    if (type < 0) {
        return apr_psprintf(cmd->pool, "type=%s: known are fpmpool, fpm, generic", value);
    }
    server->type = (fpmp_server_type)type;
    return NULL;
}

/* One word behind the address. reuses: -1 as long as nobody said. */
static const char *set_server_word(cmd_parms *cmd, const char *word, fpmp_server *server,
                                   int *reuses)
{
    static const char *const switches[] = {"off", "on", NULL};
    const char *value = strchr(word, '=');
    value = value ? value + 1 : "";
    if (is_option(word, "type=")) {
        return set_server_type(cmd, value, server);
    }
    if (is_option(word, "reuse=")) {
        *reuses = fpmp_conf_read_choice(value, switches);
        return *reuses < 0 ? "reuse= is on or off" : NULL;
    }
    if (is_option(word, "weight=")) {
        return read_number(cmd, word, value, 1, FPMP_WEIGHT_MAX, &server->weight);
    }
    if (is_option(word, "group=")) {
        return read_number(cmd, word, value, 0, 1000, &server->group);
    }
    if (is_option(word, "max=")) {
        int most = 0;
        const char *wrong = read_number(cmd, word, value, 1, 1000000, &most);
        server->max = (unsigned)most;
        return wrong;
    }
    if (is_option(word, "name=")) {
        server->name = value;
        return fpmp_conf_check_name(cmd, value)
                   ? apr_psprintf(cmd->pool, "\"%s\": a name has letters, digits, . _ and -", word)
                   : NULL;
    }
    if (!strcasecmp(word, "backup")) {
        server->is_backup = 1;
        return NULL;
    }
    return apr_psprintf(
        cmd->pool, "\"%s\": known are type= reuse= weight= max= group= name= and backup", word);
}

static const char *check_server(cmd_parms *cmd, const fpmp_server *server, const fpmp_pool *pool)
{
    for (int i = 0; i < pool->server_count; i++) {
        const fpmp_server *other = &pool->servers[i];
        if (!strcmp(other->address.label, server->address.label)) {
            return apr_psprintf(cmd->pool, "pool \"%s\" has %s twice: remove one of both",
                                pool->name, server->address.label);
        }
        if (!strcmp(other->name, server->name)) {
            return apr_psprintf(cmd->pool, "pool \"%s\" has two servers of the name \"%s\"",
                                pool->name, server->name);
        }
    }
    return NULL;
}

static const char *add_server(cmd_parms *cmd, const char *arguments, fpmp_pool *pool)
{
    int reuses = -1;
    if (pool->server_count == FPMP_SERVERS_MAX) {
        return apr_psprintf(cmd->pool, "a pool has at most %d servers", FPMP_SERVERS_MAX);
    }
    fpmp_server *grown = apr_pcalloc(cmd->pool, ((size_t)pool->server_count + 1) * sizeof(*grown));
    if (pool->server_count) {
        memcpy(grown, pool->servers, (size_t)pool->server_count * sizeof(*grown));
    }
    pool->servers = grown;
    fpmp_server *server = &grown[pool->server_count];
    server->weight = 1;
    const char *address = ap_getword_conf(cmd->pool, &arguments);
    const char *wrong = fpmp_address_parse(&server->address, address, cmd->pool);
    while (!wrong && *arguments) {
        wrong = set_server_word(cmd, ap_getword_conf(cmd->pool, &arguments), server, &reuses);
    }
    if (!wrong) {
        server->name = server->name ? server->name : server->address.label;
        server->reuses = reuses >= 0 ? reuses : server->type == FPMP_TYPE_FPMPOOL;
        wrong = check_server(cmd, server, pool);
    }
    pool->server_count++;
    return wrong ? apr_pstrcat(cmd->pool, "FpmPoolServer: ", wrong, NULL) : NULL;
}

/* ---- FpmPoolBalance, FpmPoolHealth, FpmPoolCheck --------------------------------------------- */

static int is_token(const char *text)
{
    size_t length = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                 "!#$%&'*+-.^_`|~");
    return length > 0 && !text[length];
}

static const char *set_balance(cmd_parms *cmd, const char *arguments, fpmp_pool *pool)
{
    static const char *const names[] = {"least", "roundrobin", "first", "hash", "sticky", NULL};
    const char *name = ap_getword_conf(cmd->pool, &arguments);
    int balance = fpmp_conf_read_choice(name, names);
    if (balance < 0) {
        return apr_psprintf(cmd->pool,
                            "FpmPoolBalance: \"%s\": known are least, roundrobin, first, hash EXPR "
                            "and sticky COOKIE",
                            name);
    }
    pool->balance = (fpmp_balance)balance;
    if (pool->balance == FPMP_BALANCE_HASH) {
        const char *text = ap_getword_conf(cmd->pool, &arguments);
        const char *wrong = NULL;
        pool->expression = ap_expr_parse_cmd(cmd, text, AP_EXPR_FLAG_STRING_RESULT, &wrong, NULL);
        if (wrong || !*text) {
            return apr_psprintf(cmd->pool, "FpmPoolBalance hash: \"%s\" is no expression: %s", text,
                                wrong ? wrong : "it is empty");
        }
    } else if (pool->balance == FPMP_BALANCE_STICKY) {
        pool->cookie = ap_getword_conf(cmd->pool, &arguments);
        if (!is_token(pool->cookie)) {
            return apr_psprintf(cmd->pool, "FpmPoolBalance sticky: \"%s\" is no cookie's name",
                                pool->cookie);
        }
        pool->is_strict = !strcasecmp(arguments, "strict");
        arguments += pool->is_strict ? strlen(arguments) : 0;
    }
    return *arguments
               ? apr_psprintf(cmd->pool, "FpmPoolBalance %s: \"%s\" is too much", name, arguments)
               : NULL;
}

static const char *set_pauses(cmd_parms *cmd, const char *word, fpmp_health_rules *health)
{
    const char *dots = strstr(word, "..");
    apr_interval_time_t first = 0;
    apr_interval_time_t most = 0;
    const char *from = apr_pstrmemdup(cmd->pool, word + 6, dots ? (size_t)(dots - word - 6) : 0);
    const char *wrong = read_time(cmd, word, from, apr_time_from_msec(100), &first);
    wrong = wrong || !dots ? wrong : read_time(cmd, word, dots + 2, first, &most);
    if (wrong || !dots) {
        return wrong && dots ? wrong : "retry= is two times: retry=1s..60s";
    }
    health->first = (unsigned)apr_time_as_msec(first);
    health->most = (unsigned)apr_time_as_msec(most);
    return NULL;
}

static const char *set_health(cmd_parms *cmd, const char *arguments, fpmp_pool *pool)
{
    const char *wrong = *arguments ? NULL : "fails= or retry= is needed";
    while (!wrong && *arguments) {
        const char *word = ap_getword_conf(cmd->pool, &arguments);
        int number = 0;
        if (is_option(word, "fails=")) {
            wrong = read_number(cmd, word, word + 6, 1, STREAK_MAX, &number);
            pool->health.fails = (unsigned)number;
        } else if (is_option(word, "retry=")) {
            wrong = set_pauses(cmd, word, &pool->health);
        } else {
            wrong = apr_psprintf(cmd->pool, "\"%s\": known are fails= and retry=", word);
        }
    }
    return wrong ? apr_pstrcat(cmd->pool, "FpmPoolHealth: ", wrong, NULL) : NULL;
}

static const char *set_check_word(cmd_parms *cmd, const char *word, fpmp_pool *pool)
{
    static const apr_interval_time_t least = apr_time_from_msec(50);
    fpmp_check *check = &pool->check;
    const char *value = strchr(word, '=');
    int number = 0;
    value = value ? value + 1 : "";
    if (is_option(word, "interval=")) {
        return read_time(cmd, word, value, least, &check->interval);
    }
    if (is_option(word, "fast=")) {
        return read_time(cmd, word, value, least, &check->fast);
    }
    if (is_option(word, "down=")) {
        return read_time(cmd, word, value, least, &check->down);
    }
    if (is_option(word, "timeout=")) {
        return read_time(cmd, word, value, least, &check->timeout);
    }
    if (is_option(word, "rise=") || is_option(word, "fall=")) {
        const char *wrong = read_number(cmd, word, value, 1, STREAK_MAX, &number);
        *(is_option(word, "rise=") ? &pool->health.rise : &pool->health.fall) = (unsigned)number;
        return wrong;
    }
    return apr_psprintf(cmd->pool,
                        "\"%s\": known are interval= fast= down= timeout= rise= and fall=", word);
}

static const char *set_check(cmd_parms *cmd, const char *arguments, fpmp_pool *pool)
{
    static const char *const kinds[] = {"off", "connect", "ping", NULL};
    const char *name = ap_getword_conf(cmd->pool, &arguments);
    int kind = fpmp_conf_read_choice(name, kinds);
    if (kind < 0) {
        return apr_psprintf(cmd->pool, "FpmPoolCheck: \"%s\": known are off, connect and ping",
                            name);
    }
    pool->check.kind = (fpmp_check_kind)kind;
    pool->health.has_check = kind != FPMP_CHECK_OFF;
    const char *wrong = NULL;
    while (!wrong && *arguments) {
        wrong = set_check_word(cmd, ap_getword_conf(cmd->pool, &arguments), pool);
    }
    return wrong ? apr_pstrcat(cmd->pool, "FpmPoolCheck: ", wrong, NULL) : NULL;
}

/* ---- FpmPoolRetry ---------------------------------------------------------------------------- */

static const char *set_retry_word(cmd_parms *cmd, const char *word, fpmp_retry *retry)
{
    if (is_option(word, "attempts=")) {
        return read_number(cmd, word, word + 9, 1, FPMP_ATTEMPTS_MAX, &retry->attempts);
    }
    if (is_option(word, "within=")) {
        return read_time(cmd, word, word + 7, apr_time_from_msec(1), &retry->within);
    }
    if (is_option(word, "body=")) {
        return fpmp_conf_read_size(cmd->pool, word + 5, 0, 64 * MEBIBYTE, &retry->body);
    }
    return apr_psprintf(cmd->pool, "\"%s\": known are attempts= within= and body=", word);
}

const char *fpmp_conf_read_retry(cmd_parms *cmd, const char *arguments, fpmp_retry *retry)
{
    static const char *const levels[] = {"off", "safe", "idempotent", NULL};
    const char *name = ap_getword_conf(cmd->pool, &arguments);
    int level = fpmp_conf_read_choice(name, levels);
    if (level < 0) {
        return apr_psprintf(cmd->pool, "FpmPoolRetry: \"%s\" is not off, safe or idempotent", name);
    }
    *retry = (fpmp_retry){1, (fpmp_retry_level)level, FPMP_ATTEMPTS_DEFAULT, FPMP_WITHIN_DEFAULT,
                          FPMP_RETRY_BODY_DEFAULT};
    const char *wrong = NULL;
    while (!wrong && *arguments) {
        wrong = set_retry_word(cmd, ap_getword_conf(cmd->pool, &arguments), retry);
    }
    return wrong ? apr_pstrcat(cmd->pool, "FpmPoolRetry: ", wrong, NULL) : NULL;
}

/* ---- FpmPoolLimit ---------------------------------------------------------------------------- */

static const char *set_count(cmd_parms *cmd, const char *word, unsigned *count)
{
    int number = 0;
    const char *wrong = read_number(cmd, word, strchr(word, '=') + 1, 0, FPMP_LIMIT_MAX, &number);
    *count = (unsigned)number;
    return wrong;
}

static const char *set_limit_word(cmd_parms *cmd, const char *word, fpmp_limit *limit)
{
    if (is_option(word, "requests=")) {
        limit->requests_set = 1;
        return set_count(cmd, word, &limit->requests);
    }
    if (is_option(word, "queue=")) {
        limit->queue_set = 1;
        return set_count(cmd, word, &limit->queue);
    }
    if (is_option(word, "perip=")) {
        limit->per_address_set = 1;
        return set_count(cmd, word, &limit->per_address);
    }
    if (is_option(word, "wait=")) {
        limit->wait_set = 1;
        return read_time(cmd, word, word + 5, apr_time_from_msec(1), &limit->wait);
    }
    if (is_option(word, "status=")) {
        limit->status_set = 1;
        return read_number(cmd, word, word + 7, 400, 599, &limit->status);
    }
    if (is_option(word, "retry-after=")) {
        limit->retry_after_set = 1;
        return read_number(cmd, word, word + 12, 0, 86400, &limit->retry_after);
    }
    return apr_psprintf(
        cmd->pool,
        "\"%s\": known are requests= queue= wait= perip= status= and retry-after=", word);
}

const char *fpmp_conf_read_limit(cmd_parms *cmd, const char *arguments, fpmp_limit *limit)
{
    const char *wrong =
        *arguments ? NULL : "one of requests= queue= wait= perip= status= retry-after= is needed";
    while (!wrong && *arguments) {
        wrong = set_limit_word(cmd, ap_getword_conf(cmd->pool, &arguments), limit);
    }
    return wrong ? apr_pstrcat(cmd->pool, "FpmPoolLimit: ", wrong, NULL) : NULL;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static const char *set_retry(cmd_parms *cmd, const char *arguments, fpmp_pool *pool)
{
    return fpmp_conf_read_retry(cmd, arguments, &pool->retry);
}

static const char *set_limit(cmd_parms *cmd, const char *arguments, fpmp_pool *pool)
{
    return fpmp_conf_read_limit(cmd, arguments, &pool->limit);
}

static const char *set_timeouts(cmd_parms *cmd, const char *arguments, fpmp_pool *pool)
{
    return fpmp_conf_read_timeouts(cmd, arguments, &pool->timeouts);
}

const char *fpmp_conf_read_member(cmd_parms *cmd, ap_directive_t *member, fpmp_pool *pool)
{
    static const struct {
        const char *name;
        const char *(*read)(cmd_parms *, const char *, fpmp_pool *);
    } known[] = {{"FpmPoolServer", add_server},   {"FpmPoolTimeout", set_timeouts},
                 {"FpmPoolBalance", set_balance}, {"FpmPoolHealth", set_health},
                 {"FpmPoolCheck", set_check},     {"FpmPoolRetry", set_retry},
                 {"FpmPoolLimit", set_limit}};
    ap_directive_t *outer = cmd->directive;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (!strcasecmp(member->directive, known[i].name)) {
            /* What is read names the line of the member, not of the section. */
            cmd->directive = member;
            const char *wrong = known[i].read(cmd, member->args, pool);
            cmd->directive = outer;
            return wrong;
        }
    }
    return apr_psprintf(
        cmd->pool,
        "%s is not allowed in <FpmPoolDefine>: only FpmPoolServer, FpmPoolTimeout, "
        "FpmPoolBalance, FpmPoolHealth, FpmPoolCheck, FpmPoolRetry and FpmPoolLimit "
        "are",
        member->directive);
}
