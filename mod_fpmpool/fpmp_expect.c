/* fpmp_expect.c - FpmPoolCheck expect=: is the answer of a check's script the right one?
 *
 * Parsed in the parent, evaluated in the thread that checks. Everything that an expression can name
 * is defined here, so that no code of another module runs in that thread; the request that httpd's
 * evaluator insists on is an empty one that logs nothing. Must not touch the child's pools.
 */
#include "fpmp_expect.h"
#include "fpmp_header.h"

#include <http_log.h>
#include <ap_expr.h>
#include <apr_strings.h>
#include <apr_tables.h>
#include <string.h>

APLOG_USE_MODULE(fpmpool);

struct fpmp_expect {
    const char *text;
    const ap_expr_info_t *expression;
};

/* ---- the vocabulary -------------------------------------------------------------------------- */

static const char *get_status(ap_expr_eval_ctx_t *context, const void *unused)
{
    const fpmp_expect_answer *answer = context->data;
    (void)unused;
    return apr_itoa(context->p, answer->status);
}

static const char *get_header(ap_expr_eval_ctx_t *context, const void *unused, const char *name)
{
    const fpmp_expect_answer *answer = context->data;
    const char *cursor = answer->header;
    fpmp_header_line line;
    (void)unused;
    while (fpmp_header_next(&cursor, answer->header + answer->header_length, &line) > 0) {
        if (fpmp_header_is(&line, name)) {
            return apr_pstrmemdup(context->p, line.value, line.value_length);
        }
    }
    return "";
}

static const char *get_body(ap_expr_eval_ctx_t *context, const void *unused, const char *name)
{
    const fpmp_expect_answer *answer = context->data;
    (void)unused;
    return strcasecmp(name, "body") ? ""
                                    : apr_pstrmemdup(context->p, answer->body, answer->body_length);
}

static const char *lower(ap_expr_eval_ctx_t *context, const void *unused, const char *text)
{
    char *copy = apr_pstrdup(context->p, text);
    (void)unused;
    ap_str_tolower(copy);
    return copy;
}

static const char *upper(ap_expr_eval_ctx_t *context, const void *unused, const char *text)
{
    char *copy = apr_pstrdup(context->p, text);
    (void)unused;
    ap_str_toupper(copy);
    return copy;
}

static int is_not_empty(ap_expr_eval_ctx_t *context, const void *unused, const char *text)
{
    (void)context;
    (void)unused;
    return *text != '\0';
}

static int is_empty(ap_expr_eval_ctx_t *context, const void *unused, const char *text)
{
    (void)context;
    (void)unused;
    return *text == '\0';
}

static int look_up(ap_expr_lookup_parms *wanted)
{
    static const struct {
        int type;
        const char *name;
        const void *function;
    } known[] = {{AP_EXPR_FUNC_VAR, "REQUEST_STATUS", (const void *)get_status},
                 {AP_EXPR_FUNC_STRING, "resp", (const void *)get_header},
                 {AP_EXPR_FUNC_STRING, "hc", (const void *)get_body},
                 {AP_EXPR_FUNC_STRING, "tolower", (const void *)lower},
                 {AP_EXPR_FUNC_STRING, "toupper", (const void *)upper},
                 {AP_EXPR_FUNC_OP_UNARY, "n", (const void *)is_not_empty},
                 {AP_EXPR_FUNC_OP_UNARY, "z", (const void *)is_empty}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].type == wanted->type && !strcasecmp(known[i].name, wanted->name)) {
            *wanted->func = known[i].function;
            *wanted->data = NULL;
            return OK;
        }
    }
    *wanted->err = apr_psprintf(wanted->ptemp,
                                "\"%s\" is not known in expect=: %%{REQUEST_STATUS}, resp('Name'), "
                                "hc('body'), tolower(), toupper(), -n and -z are",
                                wanted->name);
    return !OK;
}

const char *fpmp_expect_parse(cmd_parms *cmd, const char *text, const fpmp_expect **expectation)
{
    const char *wrong = NULL;
    fpmp_expect *made = apr_pcalloc(cmd->pool, sizeof(*made));
    made->text = text;
    made->expression = ap_expr_parse_cmd(
        cmd, text, AP_EXPR_FLAG_DONT_VARY | AP_EXPR_FLAG_RESTRICTED, &wrong, look_up);
    if (wrong || !*text) {
        return apr_psprintf(cmd->pool, "expect=\"%s\" is no expression: %s", text,
                            *text ? wrong : "it is empty");
    }
    *expectation = made;
    return NULL;
}

const char *fpmp_expect_text(const fpmp_expect *expectation)
{
    return expectation->text;
}

/* ---- evaluation ------------------------------------------------------------------------------ */

static request_rec *make_request(apr_pool_t *pool, server_rec *main)
{
    static const struct ap_logconf quiet = {NULL, APLOG_EMERG};
    request_rec *r = apr_pcalloc(pool, sizeof(*r));
    r->connection = apr_pcalloc(pool, sizeof(*r->connection));
    r->connection->pool = pool;
    r->connection->base_server = main;
    r->connection->log = &quiet;
    r->pool = pool;
    r->server = main;
    r->log = &quiet;
    r->headers_in = apr_table_make(pool, 1);
    r->headers_out = apr_table_make(pool, 1);
    r->err_headers_out = apr_table_make(pool, 1);
    r->subprocess_env = apr_table_make(pool, 1);
    r->notes = apr_table_make(pool, 1);
    return r;
}

static int evaluate(const ap_expr_info_t *expression, request_rec *r,
                    const fpmp_expect_answer *answer)
{
    fpmp_expect_answer copy = *answer;
    ap_regmatch_t matches[AP_MAX_REG_MATCH];
    const char *source = NULL;
    const char *wrong = NULL;
    ap_expr_eval_ctx_t context = {.r = r,
                                  .c = r->connection,
                                  .s = r->server,
                                  .p = r->pool,
                                  .err = &wrong,
                                  .info = expression,
                                  .re_pmatch = matches,
                                  .re_nmatch = AP_MAX_REG_MATCH,
                                  .re_source = &source,
                                  .data = &copy};
    memset(matches, 0, sizeof(matches));
    return ap_expr_exec_ctx(&context) > 0 && !wrong;
}

int fpmp_expect_is_met(const fpmp_expect *expectation, server_rec *main,
                       const fpmp_expect_answer *answer)
{
    apr_pool_t *pool = NULL;
    if (apr_pool_create_unmanaged_ex(&pool, NULL, NULL) != APR_SUCCESS) {
        return 0;
    }
    int is_met = evaluate(expectation->expression, make_request(pool, main), answer);
    apr_pool_destroy(pool);
    return is_met;
}
