/* fpmp_conf_member.c - what stands in <FpmPoolDefine>: servers, balance, retries, limits (health
 * and checks are fpmp_conf_health).
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
#include <apr_user.h>
#include <stdlib.h>
#include <string.h>

APLOG_USE_MODULE(fpmpool);

#define RESOLVE_DEFAULT 30000 /* ms */

const char *fpmp_conf_read_within(cmd_parms *cmd, const char *word, apr_interval_time_t *time)
{
    const char *wrong = fpmp_conf_read_time(cmd, word, word + 7, apr_time_from_msec(1), time);
    return wrong ? apr_pstrcat(cmd->pool, cmd->cmd->name, ": ", wrong, NULL) : NULL;
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

/* A path without a / at its end; NULL: it is none. */
static const char *trim_path(cmd_parms *cmd, const char *path)
{
    size_t length = strlen(path);
    if (*path != '/') {
        return NULL;
    }
    while (length && path[length - 1] == '/') {
        length--;
    }
    return apr_pstrmemdup(cmd->pool, path, length);
}

static const char *set_docroot(cmd_parms *cmd, const char *value, fpmp_server *server)
{
    const char *colon = strchr(value, ':');
    if (colon) {
        const char *local = apr_pstrmemdup(cmd->pool, value, (size_t)(colon - value));
        server->local_root = trim_path(cmd, local);
        server->remote_root = trim_path(cmd, colon + 1);
    }
    return server->local_root && server->remote_root
               ? NULL
               : "docroot= is a path here and one there: docroot=/srv/shop:/var/www/shop";
}

static const char *set_resolve(cmd_parms *cmd, const char *word, const char *value,
                               fpmp_server *server)
{
    apr_interval_time_t time = 0;
    const char *wrong = strcmp(value, "0")
                            ? fpmp_conf_read_time(cmd, word, value, apr_time_from_sec(1), &time)
                            : NULL;
    server->resolve = (unsigned)apr_time_as_msec(time);
    return wrong;
}

static const char *set_owner(cmd_parms *cmd, const char *name, fpmp_server *server)
{
    apr_gid_t group = 0;
    if (!server->address.path) {
        return "user= is for unix sockets: remove it";
    }
    server->owner = name;
    if (*name && strlen(name) < 10 && strspn(name, "0123456789") == strlen(name)) {
        server->owner_id = (uid_t)atoi(name);
        return NULL;
    }
    return !*name || apr_uid_get(&server->owner_id, &group, name, cmd->temp_pool) != APR_SUCCESS
               ? apr_psprintf(cmd->pool, "user=%s: there is no such user", name)
               : NULL;
}

/* One word behind the address. reuses: -1 as long as nobody said. */
static const char *set_server_word(cmd_parms *cmd, const char *word, fpmp_server *server,
                                   int *reuses)
{
    static const char *const switches[] = {"off", "on", NULL};
    const char *value = strchr(word, '=');
    value = value ? value + 1 : "";
    if (fpmp_conf_is_option(word, "type=")) {
        return set_server_type(cmd, value, server);
    }
    if (fpmp_conf_is_option(word, "reuse=")) {
        *reuses = fpmp_conf_read_choice(value, switches);
        return *reuses < 0 ? "reuse= is on or off" : NULL;
    }
    if (fpmp_conf_is_option(word, "weight=")) {
        return fpmp_conf_read_number(cmd, word, value, 1, FPMP_WEIGHT_MAX, &server->weight);
    }
    if (fpmp_conf_is_option(word, "group=")) {
        return fpmp_conf_read_number(cmd, word, value, 0, 1000, &server->group);
    }
    if (fpmp_conf_is_option(word, "max=")) {
        int most = 0;
        const char *wrong = fpmp_conf_read_number(cmd, word, value, 1, 1000000, &most);
        server->max = (unsigned)most;
        return wrong;
    }
    if (fpmp_conf_is_option(word, "name=")) {
        server->name = value;
        return fpmp_conf_check_name(cmd, value)
                   ? apr_psprintf(cmd->pool, "\"%s\": a name has letters, digits, . _ and -", word)
                   : NULL;
    }
    if (fpmp_conf_is_option(word, "slowstart=")) {
        apr_interval_time_t time = 0;
        const char *wrong = fpmp_conf_read_time(cmd, word, value, 0, &time);
        server->slowstart = (unsigned)apr_time_as_msec(time);
        return wrong;
    }
    if (fpmp_conf_is_option(word, "resolve=")) {
        return set_resolve(cmd, word, value, server);
    }
    if (fpmp_conf_is_option(word, "docroot=")) {
        return set_docroot(cmd, value, server);
    }
    if (fpmp_conf_is_option(word, "user=")) {
        return set_owner(cmd, value, server);
    }
    if (!strcasecmp(word, "backup")) {
        server->is_backup = 1;
        return NULL;
    }
    return apr_psprintf(cmd->pool,
                        "\"%s\": known are type= reuse= weight= max= group= name= resolve= "
                        "slowstart= docroot= user= and backup",
                        word);
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
    server->resolve = RESOLVE_DEFAULT;
    const char *address = ap_getword_conf(cmd->pool, &arguments);
    const char *wrong = fpmp_address_parse(&server->address, address, cmd->pool);
    while (!wrong && *arguments) {
        wrong = set_server_word(cmd, ap_getword_conf(cmd->pool, &arguments), server, &reuses);
    }
    if (!wrong) {
        server->is_number = server->address.socket_length > 0;
        server->name = server->name ? server->name : server->address.label;
        server->reuses = reuses >= 0 ? reuses : server->type == FPMP_TYPE_FPMPOOL;
        wrong = check_server(cmd, server, pool);
    }
    pool->server_count++;
    return wrong ? apr_pstrcat(cmd->pool, "FpmPoolServer: ", wrong, NULL) : NULL;
}

/* ---- FpmPoolBalance ------------------------------------------------------------------------- */

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

/* ---- FpmPoolRetry ---------------------------------------------------------------------------- */

static const char *set_retry_word(cmd_parms *cmd, const char *word, fpmp_retry *retry)
{
    if (fpmp_conf_is_option(word, "attempts=")) {
        return fpmp_conf_read_number(cmd, word, word + 9, 1, FPMP_ATTEMPTS_MAX, &retry->attempts);
    }
    if (fpmp_conf_is_option(word, "within=")) {
        return fpmp_conf_read_time(cmd, word, word + 7, apr_time_from_msec(1), &retry->within);
    }
    if (fpmp_conf_is_option(word, "body=")) {
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
    const char *wrong =
        fpmp_conf_read_number(cmd, word, strchr(word, '=') + 1, 0, FPMP_LIMIT_MAX, &number);
    *count = (unsigned)number;
    return wrong;
}

static const char *set_limit_word(cmd_parms *cmd, const char *word, fpmp_limit *limit)
{
    if (fpmp_conf_is_option(word, "requests=")) {
        limit->requests_set = 1;
        return set_count(cmd, word, &limit->requests);
    }
    if (fpmp_conf_is_option(word, "queue=")) {
        limit->queue_set = 1;
        return set_count(cmd, word, &limit->queue);
    }
    if (fpmp_conf_is_option(word, "perip=")) {
        limit->per_address_set = 1;
        return set_count(cmd, word, &limit->per_address);
    }
    if (fpmp_conf_is_option(word, "wait=")) {
        limit->wait_set = 1;
        return fpmp_conf_read_time(cmd, word, word + 5, apr_time_from_msec(1), &limit->wait);
    }
    if (fpmp_conf_is_option(word, "status=")) {
        limit->status_set = 1;
        return fpmp_conf_read_number(cmd, word, word + 7, 400, 599, &limit->status);
    }
    if (fpmp_conf_is_option(word, "retry-after=")) {
        limit->retry_after_set = 1;
        return fpmp_conf_read_number(cmd, word, word + 12, 0, 86400, &limit->retry_after);
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
    } known[] = {{"FpmPoolServer", add_server},
                 {"FpmPoolTimeout", set_timeouts},
                 {"FpmPoolBalance", set_balance},
                 {"FpmPoolHealth", fpmp_conf_read_health},
                 {"FpmPoolCheck", fpmp_conf_read_check},
                 {"FpmPoolRetry", set_retry},
                 {"FpmPoolLimit", set_limit},
                 {"FpmPoolAllDown", fpmp_conf_read_all_down}};
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
    return apr_psprintf(cmd->pool,
                        "%s is not allowed in <FpmPoolDefine>: only FpmPoolServer, FpmPoolTimeout, "
                        "FpmPoolBalance, FpmPoolHealth, FpmPoolCheck, FpmPoolRetry, FpmPoolLimit "
                        "and FpmPoolAllDown "
                        "are",
                        member->directive);
}
