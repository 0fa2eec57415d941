/* fpmp_setenvif.c - FpmPoolSetEnvIf: reading rules, merging, applying them to a request.
 *
 * Rules are read while a configuration or an .htaccess file is, and applied in children, last of
 * all that makes a request's variables. Must not let a rule set what changes the meaning of the
 * request for its server: PHP's settings, our own parameters, the length of the body.
 */
#include "fpmp_setenvif.h"

#include <ap_expr.h>
#include <http_log.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <string.h>

APLOG_USE_MODULE(fpmpool);

/* Of an .htaccess file: a tenant's rule must not read what only httpd's user can. */
#ifdef AP_EXPR_FLAG_RESTRICTED_FILE_FUNC
#define HTACCESS_FLAGS AP_EXPR_FLAG_RESTRICTED_FILE_FUNC
#else
#define HTACCESS_FLAGS AP_EXPR_FLAG_RESTRICTED
#endif

typedef struct rule {
    const char *name;
    const ap_expr_info_t *condition;
    const ap_expr_info_t *value; /* NULL: the empty value */
    int removes;
} rule;

int fpmp_setenvif_is_reserved(const char *name)
{
    return !strcasecmp(name, "PHP_VALUE") || !strcasecmp(name, "PHP_ADMIN_VALUE") ||
           !strncasecmp(name, "FPMPOOL_", 8);
}

/* ---- reading --------------------------------------------------------------------------------- */

static const char *check_name(cmd_parms *cmd, const char *name)
{
    if (!strncasecmp(name, "FPMPOOL_", 8)) {
        return apr_psprintf(cmd->pool,
                            "FpmPoolSetEnvIf: the name \"%s\" is reserved for mod_fpmpool itself: "
                            "choose one that does not begin with FPMPOOL_",
                            name);
    }
    if (fpmp_setenvif_is_reserved(name)) {
        return apr_psprintf(cmd->pool,
                            "FpmPoolSetEnvIf: \"%s\" is reserved: write the settings as php_value "
                            "or php_admin_value",
                            name);
    }
    if (!strcasecmp(name, "CONTENT_LENGTH")) {
        return "FpmPoolSetEnvIf: CONTENT_LENGTH is the length of the body that is sent and cannot "
               "be chosen: remove the line";
    }
    for (const char *at = name; *at; at++) {
        if (*at == '=' || apr_isspace(*at) || apr_iscntrl(*at)) {
            return apr_psprintf(cmd->pool,
                                "FpmPoolSetEnvIf: \"%s\" is no variable's name: write it as "
                                "\"CONDITION\" NAME \"VALUE\"",
                                name);
        }
    }
    return *name ? NULL
                 : "FpmPoolSetEnvIf: a variable's name is missing: write NAME, or !NAME to remove "
                   "the variable";
}

static const char *parse(cmd_parms *cmd, const char *what, const char *text, unsigned int flags,
                         const ap_expr_info_t **expression)
{
    const char *wrong = NULL;
    if (!(cmd->override & (RSRC_CONF | ACCESS_CONF))) {
        flags |= HTACCESS_FLAGS;
    }
    *expression = ap_expr_parse_cmd(cmd, text, flags, &wrong, NULL);
    return wrong ? apr_psprintf(cmd->pool,
                                "FpmPoolSetEnvIf: the %s \"%s\" is no expression of httpd: %s: "
                                "correct it (one argument, in quotes)",
                                what, text, wrong)
                 : NULL;
}

const char *fpmp_setenvif_add(cmd_parms *cmd, fpmp_setenvif **rules, const char *condition,
                              const char *name, const char *value)
{
    rule added = {.removes = name[0] == '!'};
    added.name = name + added.removes;
    const char *wrong = check_name(cmd, added.name);
    if (!wrong && added.removes && value) {
        wrong = apr_psprintf(cmd->pool,
                             "FpmPoolSetEnvIf: %s removes the variable and takes no value: remove "
                             "\"%s\"",
                             name, value);
    }
    wrong = wrong ? wrong : parse(cmd, "condition", condition, 0, &added.condition);
    if (!wrong && value) {
        wrong = parse(cmd, "value", value, AP_EXPR_FLAG_STRING_RESULT, &added.value);
    }
    if (wrong) {
        return wrong;
    }
    if (!*rules) {
        *rules = apr_array_make(cmd->pool, 2, sizeof(rule));
    }
    *(rule *)apr_array_push(*rules) = added;
    return NULL;
}

fpmp_setenvif *fpmp_setenvif_merge(apr_pool_t *pool, fpmp_setenvif *outer, fpmp_setenvif *inner)
{
    if (!outer || !inner) {
        return inner ? inner : outer;
    }
    return apr_array_append(pool, outer, inner);
}

/* ---- applying -------------------------------------------------------------------------------- */

static int apply(request_rec *r, const rule *one)
{
    ap_regmatch_t matches[AP_MAX_REG_MATCH];
    const char *source = NULL;
    const char *wrong = NULL;
    memset(matches, 0, sizeof(matches));
    int is_true = ap_expr_exec_re(r, one->condition, AP_MAX_REG_MATCH, matches, &source, &wrong);
    if (is_true > 0 && one->removes) {
        apr_table_unset(r->subprocess_env, one->name);
    } else if (is_true > 0) {
        const char *value = one->value ? ap_expr_str_exec_re(r, one->value, AP_MAX_REG_MATCH,
                                                             matches, &source, &wrong)
                                       : "";
        if (value && !wrong) {
            apr_table_setn(r->subprocess_env, one->name, value);
        }
    }
    if (is_true >= 0 && !wrong) {
        return OK;
    }
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                  "FPMP0014: FpmPoolSetEnvIf for %s could not be evaluated at line %u of %s: %s: "
                  "correct the expression",
                  one->name, one->condition->line_number, one->condition->filename,
                  wrong ? wrong : "unknown error");
    return HTTP_INTERNAL_SERVER_ERROR;
}

int fpmp_setenvif_apply(request_rec *r, const fpmp_setenvif *rules)
{
    int status = OK;
    for (int i = 0; rules && i < rules->nelts && status == OK; i++) {
        status = apply(r, &APR_ARRAY_IDX(rules, i, const rule));
    }
    return status;
}
