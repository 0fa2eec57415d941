/* fpmp_conf_health.c - when a server counts as down, and what then: FpmPoolHealth,
 * FpmPoolCheck, FpmPoolAllDown.
 *
 * Runs in the parent while the configuration is read. Refuses what it can see alone; must not keep
 * anything outside of httpd's configuration pools.
 */
#include "fpmp_conf_define.h"
#include "fpmp_expect.h"

#include <httpd.h>
#include <http_config.h>
#include <apr_strings.h>
#include <string.h>

#define FAILS_DEFAULT  3
#define STREAK_MAX     50 /* of fails=, rise= and fall= */
#define RATE_DEFAULT   50
#define WINDOW_DEFAULT 10000
#define STATUSES_MAX   16
#define FIRST_DEFAULT  1000
#define MOST_DEFAULT   60000
#define RISE_DEFAULT   2
#define FALL_DEFAULT   3

void fpmp_conf_init_pool(fpmp_pool *pool, const fpmp_pool *defaults)
{
    if (defaults) {
        *pool = *defaults;
        pool->inherits_checks = 1;
        /* It goes behind those of servers and virtual hosts, which a pool's own goes before. */
        memset(&pool->limit, 0, sizeof(pool->limit));
        return;
    }
    memset(pool, 0, sizeof(*pool));
    pool->health = (fpmp_health_rules){.fails = FAILS_DEFAULT,
                                       .rate = RATE_DEFAULT,
                                       .window = WINDOW_DEFAULT,
                                       .first = FIRST_DEFAULT,
                                       .most = MOST_DEFAULT};
}

/* ---- FpmPoolHealth --------------------------------------------------------------------------- */

static const char *set_pauses(cmd_parms *cmd, const char *word, fpmp_health_rules *health)
{
    const char *dots = strstr(word, "..");
    apr_interval_time_t first = 0;
    apr_interval_time_t most = 0;
    const char *from = apr_pstrmemdup(cmd->pool, word + 6, dots ? (size_t)(dots - word - 6) : 0);
    const char *wrong = fpmp_conf_read_time(cmd, word, from, apr_time_from_msec(100), &first);
    wrong = wrong || !dots ? wrong : fpmp_conf_read_time(cmd, word, dots + 2, first, &most);
    if (wrong || !dots) {
        return wrong && dots ? wrong : "retry= is two times: retry=1s..60s";
    }
    health->first = (unsigned)apr_time_as_msec(first);
    health->most = (unsigned)apr_time_as_msec(most);
    return NULL;
}

static const char *set_statuses(cmd_parms *cmd, const char *word, fpmp_pool *pool)
{
    int *statuses = apr_pcalloc(cmd->pool, (STATUSES_MAX + 1) * sizeof(*statuses));
    const char *list = word + 7;
    for (int count = 0; *list; count++) {
        const char *text = ap_getword(cmd->pool, &list, ',');
        if (count == STATUSES_MAX) {
            return apr_psprintf(cmd->pool, "\"%s\": at most %d statuses", word, STATUSES_MAX);
        }
        const char *wrong = fpmp_conf_read_number(cmd, word, text, 400, 599, &statuses[count]);
        if (wrong) {
            return wrong;
        }
    }
    pool->bad_statuses = statuses;
    return *statuses ? NULL : "status= is a list: status=500,502";
}

const char *fpmp_conf_read_health(cmd_parms *cmd, const char *arguments, fpmp_pool *pool)
{
    const char *wrong = *arguments ? NULL : "one of fails= rate= window= retry= status= is needed";
    while (!wrong && *arguments) {
        const char *word = ap_getword_conf(cmd->pool, &arguments);
        int number = 0;
        if (fpmp_conf_is_option(word, "fails=")) {
            wrong = fpmp_conf_read_number(cmd, word, word + 6, 1, STREAK_MAX, &number);
            pool->health.fails = (unsigned)number;
        } else if (fpmp_conf_is_option(word, "retry=")) {
            wrong = set_pauses(cmd, word, &pool->health);
        } else if (fpmp_conf_is_option(word, "rate=")) {
            wrong = fpmp_conf_read_number(cmd, word, word + 5, 0, 99, &number);
            pool->health.rate = (unsigned)number;
        } else if (fpmp_conf_is_option(word, "window=")) {
            apr_interval_time_t time = 0;
            wrong = fpmp_conf_read_time(cmd, word, word + 7, apr_time_from_sec(1), &time);
            pool->health.window = (unsigned)apr_time_as_msec(time);
        } else if (fpmp_conf_is_option(word, "status=")) {
            wrong = set_statuses(cmd, word, pool);
        } else {
            wrong = apr_psprintf(cmd->pool,
                                 "\"%s\": known are fails= rate= window= retry= and status=", word);
        }
    }
    return wrong ? apr_pstrcat(cmd->pool, "FpmPoolHealth: ", wrong, NULL) : NULL;
}

const char *fpmp_conf_read_all_down(cmd_parms *cmd, const char *arguments, fpmp_pool *pool)
{
    static const char *const choices[] = {"try", "refuse", NULL};
    const char *word = ap_getword_conf(cmd->pool, &arguments);
    int choice = fpmp_conf_read_choice(word, choices);
    if (choice < 0 || *arguments) {
        return "FpmPoolAllDown is try or refuse";
    }
    pool->refuses_down = choice;
    return NULL;
}

/* ---- FpmPoolCheck ---------------------------------------------------------------------------- */

/* What a script costs is asked for less often. */
static const fpmp_check usual[] = {
    [FPMP_CHECK_CONNECT] = {FPMP_CHECK_CONNECT, apr_time_from_sec(2), apr_time_from_msec(500),
                            apr_time_from_sec(2), apr_time_from_sec(1), NULL, NULL},
    [FPMP_CHECK_PING] = {FPMP_CHECK_PING, apr_time_from_sec(2), apr_time_from_msec(500),
                         apr_time_from_sec(2), apr_time_from_sec(1), NULL, NULL},
    [FPMP_CHECK_SCRIPT] = {FPMP_CHECK_SCRIPT, apr_time_from_sec(15), apr_time_from_sec(2),
                           apr_time_from_sec(5), apr_time_from_sec(5), NULL, NULL}};

static const char *set_expectation(cmd_parms *cmd, const char *text, fpmp_check *check)
{
    if (check->kind != FPMP_CHECK_SCRIPT) {
        return "expect= is for script= only";
    }
    return fpmp_expect_parse(cmd, text, &check->expectation);
}

static const char *set_check_word(cmd_parms *cmd, const char *word, fpmp_check *check,
                                  fpmp_health_rules *health)
{
    static const apr_interval_time_t least = apr_time_from_msec(50);
    int place = health->check_count - 1;
    const char *value = strchr(word, '=');
    int number = 0;
    value = value ? value + 1 : "";
    if (fpmp_conf_is_option(word, "interval=")) {
        return fpmp_conf_read_time(cmd, word, value, least, &check->interval);
    }
    if (fpmp_conf_is_option(word, "fast=")) {
        return fpmp_conf_read_time(cmd, word, value, least, &check->fast);
    }
    if (fpmp_conf_is_option(word, "down=")) {
        return fpmp_conf_read_time(cmd, word, value, least, &check->down);
    }
    if (fpmp_conf_is_option(word, "timeout=")) {
        return fpmp_conf_read_time(cmd, word, value, least, &check->timeout);
    }
    if (fpmp_conf_is_option(word, "rise=") || fpmp_conf_is_option(word, "fall=")) {
        unsigned *of = fpmp_conf_is_option(word, "rise=") ? health->rise : health->fall;
        const char *wrong = fpmp_conf_read_number(cmd, word, value, 1, STREAK_MAX, &number);
        of[place] = (unsigned)number;
        return wrong;
    }
    if (fpmp_conf_is_option(word, "expect=")) {
        return set_expectation(cmd, value, check);
    }
    return apr_psprintf(
        cmd->pool,
        "\"%s\": known are interval= fast= down= timeout= rise= fall= and expect=", word);
}

/* The next word; what stands behind its = may be quoted. */
static const char *read_word(cmd_parms *cmd, const char **arguments)
{
    const char *at = *arguments;
    size_t length = strcspn(at, "=\"' \t");
    if (at[length] != '=' || (at[length + 1] != '"' && at[length + 1] != '\'')) {
        return ap_getword_conf(cmd->pool, arguments);
    }
    const char *name = apr_pstrmemdup(cmd->pool, at, length + 1);
    *arguments = at + length + 1;
    return apr_pstrcat(cmd->pool, name, ap_getword_conf(cmd->pool, arguments), NULL);
}

/* Which check the first word names. */
static const char *choose_check(cmd_parms *cmd, const char *name, const fpmp_pool *pool,
                                fpmp_check *check)
{
    static const char *const kinds[] = {"connect", "ping", NULL};
    int is_script = fpmp_conf_is_option(name, "script=");
    int kind = is_script ? FPMP_CHECK_SCRIPT : fpmp_conf_read_choice(name, kinds);
    if (kind < 0) {
        return apr_psprintf(cmd->pool, "\"%s\": known are off, connect, ping and script=/PATH",
                            name);
    }
    *check = usual[kind];
    check->script = is_script ? name + 7 : NULL;
    if (is_script && *check->script != '/') {
        return apr_psprintf(cmd->pool, "\"%s\": the whole path of a script on the server is needed",
                            name);
    }
    for (int i = 0; i < pool->health.check_count; i++) {
        if ((pool->checks[i].kind == FPMP_CHECK_SCRIPT) == is_script) {
            return is_script ? "a pool has at most one check with script="
                             : "a pool has at most one check with connect or ping";
        }
    }
    return NULL;
}

const char *fpmp_conf_read_check(cmd_parms *cmd, const char *arguments, fpmp_pool *pool)
{
    const char *name = read_word(cmd, &arguments);
    if (pool->inherits_checks) { /* its own replace those of all pools */
        pool->health.check_count = 0;
        pool->inherits_checks = 0;
    }
    fpmp_check *check = &pool->checks[pool->health.check_count];
    const char *wrong = NULL;
    if (!strcasecmp(name, "off")) {
        wrong = pool->health.check_count || *arguments ? "\"off\" stands alone" : NULL;
        return wrong ? apr_pstrcat(cmd->pool, "FpmPoolCheck: ", wrong, NULL) : NULL;
    }
    if (pool->health.check_count == FPMP_CHECKS_MAX) {
        return "FpmPoolCheck: a pool has at most two: one with connect or ping, one with script=";
    }
    wrong = choose_check(cmd, name, pool, check);
    pool->health.rise[pool->health.check_count] = RISE_DEFAULT;
    pool->health.fall[pool->health.check_count] = FALL_DEFAULT;
    pool->health.check_count++;
    while (!wrong && *arguments) {
        wrong = set_check_word(cmd, read_word(cmd, &arguments), check, &pool->health);
    }
    return wrong ? apr_pstrcat(cmd->pool, "FpmPoolCheck: ", wrong, NULL) : NULL;
}
