/* fpmp_choice.c - which pool a name or an expression of FpmPool means for this request.
 *
 * Runs in an httpd child for each request. What an expression gives comes from outside: it is a
 * name of a defined pool or of a socket in FpmPoolSocketDir, or it is refused.
 */
#include "fpmp_choice.h"

#include "fpmp_clock.h"
#include "fpmp_names.h"
#include "fpmp_select.h"
#include "fpmp_share.h"

#include <http_log.h>
#include <ap_expr.h>
#include <apr_strings.h>
#include <string.h>

APLOG_USE_MODULE(fpmpool);

/* Is it worth a line? *others: what is said of those that were not. */
static int level_of(request_rec *r, const fpmp_global *global, int complaint, int level,
                    const char **others)
{
    unsigned suppressed = 0;
    int is_worth = fpmp_share_complain(fpmp_share_complaint(global->share, complaint),
                                       fpmp_clock_now(), &suppressed);
    *others = suppressed
                  ? apr_psprintf(r->pool, " (and %u times since the last such line)", suppressed)
                  : "";
    return is_worth ? level : APLOG_DEBUG;
}

static void log_error(request_rec *r, const fpmp_global *global, const fpmp_choice *choice,
                      const char *error)
{
    const char *others = NULL;
    int level = level_of(r, global, FPMP_SHARE_NO_EXPRESSION, APLOG_ERR, &others);
    ap_log_rerror(APLOG_MARK, level, 0, r,
                  "FPMP0100: FpmPool \"expr=%s\" could not be evaluated: %s: correct the "
                  "expression%s",
                  choice->text, error, others);
}

static void log_invalid(request_rec *r, const fpmp_global *global, const fpmp_choice *choice,
                        const char *name)
{
    const char *others = NULL;
    int level = level_of(r, global, FPMP_SHARE_NO_NAME, APLOG_ERR, &others);
    ap_log_rerror(APLOG_MARK, level, 0, r,
                  "FPMP0101: FpmPool \"expr=%s\" gives \"%s\", which cannot be a pool's name (1 to "
                  "%d letters, digits, dots, underscores and hyphens, no leading dot, and a path "
                  "in %s that is short enough for a socket): let the expression give a name%s",
                  choice->text, name, FPMP_POOL_NAME_MAX, global->socket_dir, others);
}

static void log_absent(request_rec *r, const fpmp_global *global, const fpmp_choice *choice,
                       const char *name)
{
    const char *others = NULL;
    int level = level_of(r, global, FPMP_SHARE_NO_POOL, APLOG_ERR, &others);
    ap_log_rerror(APLOG_MARK, level, 0, r,
                  "FPMP0102: FpmPool \"expr=%s\" gives \"%s\": there is no <FpmPoolDefine %s>, and "
                  "%s/%s.sock is no socket that httpd's user can see: start that pool, or define "
                  "it%s",
                  choice->text, name, name, global->socket_dir, name, others);
}

static void log_full(request_rec *r, const fpmp_global *global, const char *name)
{
    const char *others = NULL;
    int level = level_of(r, global, FPMP_SHARE_NO_ENTRY, APLOG_ERR, &others);
    ap_log_rerror(APLOG_MARK, level, 0, r,
                  "FPMP0103: pool %s: %d pools that expressions of FpmPool name have requests, and "
                  "there is no room for one more: raise FpmPoolMaxPools%s",
                  name, global->max_names, others);
}

static fpmp_choice_result find_name(request_rec *r, const fpmp_global *global,
                                    const fpmp_choice *choice, const char *name,
                                    const fpmp_pool **pool)
{
    switch (fpmp_names_take(global->names, name, pool)) {
    case FPMP_NAMES_OK:
        return FPMP_CHOICE_POOL;
    case FPMP_NAMES_INVALID:
        log_invalid(r, global, choice, name);
        return FPMP_CHOICE_WRONG;
    case FPMP_NAMES_ABSENT:
        log_absent(r, global, choice, name);
        return FPMP_CHOICE_ABSENT;
    case FPMP_NAMES_FULL:
        break;
    }
    log_full(r, global, name);
    return FPMP_CHOICE_BUSY;
}

static fpmp_choice_result evaluate(request_rec *r, const fpmp_global *global,
                                   const fpmp_choice *choice, const fpmp_pool **pool)
{
    const char *wrong = NULL;
    const char *name = ap_expr_str_exec(r, choice->expression, &wrong);
    if (wrong || !name) {
        log_error(r, global, choice, wrong ? wrong : "unknown error");
        return FPMP_CHOICE_WRONG;
    }
    if (!*name || !strcasecmp(name, "none")) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                      "FPMP0104: scripts are switched off here (FpmPool \"expr=%s\" gives \"%s\"): "
                      "%s",
                      choice->text, name, r->filename);
        return FPMP_CHOICE_NONE;
    }
    *pool = fpmp_select_pool(global->pools, name);
    return *pool ? FPMP_CHOICE_POOL : find_name(r, global, choice, name, pool);
}

fpmp_choice_result fpmp_choice_find(request_rec *r, const fpmp_global *global,
                                    const fpmp_choice *choice, const fpmp_pool **pool)
{
    int is_ready = global->connections && global->share;
    if (is_ready && choice->expression && global->names) {
        return evaluate(r, global, choice, pool);
    }
    *pool = is_ready ? fpmp_select_pool(global->pools, choice->text) : NULL;
    if (*pool) {
        return FPMP_CHOICE_POOL;
    }
    ap_log_rerror(APLOG_MARK, APLOG_CRIT, 0, r,
                  "FPMP0059: pool %s was not set up in this process: restart httpd", choice->text);
    return FPMP_CHOICE_WRONG;
}

void fpmp_choice_release(const fpmp_global *global, const fpmp_pool *pool)
{
    if (pool->is_found) {
        fpmp_names_release(global->names, pool);
    }
}
