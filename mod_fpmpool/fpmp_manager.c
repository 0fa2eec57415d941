/* fpmp_manager.c - changes of servers at run time.
 *
 * Runs in an httpd child. Checks who asks for what, changes the word of one server in shared memory
 * and logs it. What the word means is fpmp_admin.c's and fpmp_balance.c's.
 */
#include "fpmp_manager.h"

#include "fpmp_balance.h"
#include "fpmp_json.h"
#include "fpmp_names.h"
#include "fpmp_page.h"

#include <http_log.h>
#include <http_protocol.h>
#include <util_script.h>
#include <apr_strings.h>
#include <string.h>

APLOG_USE_MODULE(fpmpool);

#define FORM_MOST 4096 /* bytes */

/* What a form has; NULL: not there. */
typedef struct posted {
    const char *nonce;
    const char *pool;
    const char *server;
    const char *action;
    const char *weight;
} posted;

typedef struct edit {
    const char *pool;
    const char *server;
    int weight; /* as configured */
    fpmp_record *record;
    fpmp_order order;
    fpmp_admin before;
    fpmp_admin after;
} edit;

/* ---- who asks -------------------------------------------------------------------------------- */

int fpmp_manager_is_same(const char *one, const char *other)
{
    size_t length = strlen(one);
    unsigned char differs = 0;
    if (strlen(other) != length) {
        return 0; /* how long it is is no secret */
    }
    for (size_t i = 0; i < length; i++) {
        differs |= (unsigned char)(one[i] ^ other[i]);
    }
    return !differs;
}

/* "https://HOST[:PORT]" of this very host? Its scheme is not compared: something in front of httpd
 * may do TLS. */
static int is_own_origin(request_rec *r, const char *origin)
{
    const char *host = strstr(origin, "://");
    const char *own = apr_table_get(r->headers_in, "Host");
    return host && own && !strcasecmp(host + 3, own);
}

/* Browsers say where a request comes from; other clients need not. */
static int is_from_elsewhere(request_rec *r)
{
    const char *site = apr_table_get(r->headers_in, "Sec-Fetch-Site");
    const char *origin = apr_table_get(r->headers_in, "Origin");
    if (site && strcmp(site, "same-origin") && strcmp(site, "none")) {
        return 1;
    }
    return origin && !is_own_origin(r, origin);
}

static int refuse(request_rec *r, const char *why)
{
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r, "FPMP0131: fpmpool-manager: refused: %s", why);
    return fpmp_page_answer(r, HTTP_FORBIDDEN, why);
}

/* ---- what is asked --------------------------------------------------------------------------- */

static const char *read_value(request_rec *r, const ap_form_pair_t *pair)
{
    char *value = NULL;
    apr_size_t length = 0;
    if (apr_brigade_pflatten(pair->value, &value, &length, r->pool) != APR_SUCCESS) {
        return "";
    }
    return apr_pstrmemdup(r->pool, value, length);
}

static void take(posted *form, const char *name, const char *value)
{
    if (!strcmp(name, "nonce")) {
        form->nonce = value;
    } else if (!strcmp(name, "pool")) {
        form->pool = value;
    } else if (!strcmp(name, "server")) {
        form->server = value;
    } else if (!strcmp(name, "action")) {
        form->action = value;
    } else if (!strcmp(name, "weight")) {
        form->weight = value;
    }
}

/* OK, or a status. */
static int read_form(request_rec *r, posted *form)
{
    apr_array_header_t *pairs = NULL;
    memset(form, 0, sizeof(*form));
    int status = ap_parse_form_data(r, NULL, &pairs, (apr_size_t)-1, FORM_MOST);
    for (int i = 0; status == OK && pairs && i < pairs->nelts; i++) {
        const ap_form_pair_t *pair = &APR_ARRAY_IDX(pairs, i, ap_form_pair_t);
        take(form, pair->name, read_value(r, pair));
    }
    return status;
}

static void point_to(edit *change, const fpmp_server *server, fpmp_record *record)
{
    change->server = server->name;
    change->weight = server->weight;
    change->record = record;
}

/* A pool that an expression has named: its entry, if it has one now. */
static int find_name(request_rec *r, const fpmp_global *global, edit *change, const char *server)
{
    char name[FPMP_POOL_NAME_MAX + 1];
    for (int i = 0; fpmp_share_read_name(global->share, i, name); i++) {
        fpmp_pool pool;
        fpmp_server *of = apr_palloc(r->pool, sizeof(*of));
        if (!strcmp(name, change->pool) &&
            fpmp_names_describe(global->socket_dir, &global->defaults, change->pool,
                                apr_palloc(r->pool, sizeof(fpmp_names_label)), &pool, of)) {
            if (!strcmp(of->name, server)) {
                point_to(change, of, fpmp_share_named_server(global->share, i));
            }
            return 1;
        }
    }
    return 0;
}

static int find_configured(const fpmp_global *global, edit *change, const char *server)
{
    const fpmp_pool *pool = fpmp_select_pool(global->pools, change->pool);
    for (int i = 0; pool && i < pool->server_count; i++) {
        if (!strcmp(pool->servers[i].name, server)) {
            point_to(change, &pool->servers[i], fpmp_balance_record(global, &pool->servers[i]));
        }
    }
    return pool != NULL;
}

/* NULL, or what is wrong with it. */
static const char *find(request_rec *r, const fpmp_global *global, const posted *form, edit *change)
{
    const char *server = form->server ? form->server : "";
    change->pool = form->pool ? form->pool : "";
    if (!*change->pool ||
        (!find_configured(global, change, server) && !find_name(r, global, change, server))) {
        return "httpd has no pool of that name";
    }
    return change->record ? NULL : "the pool has no server of that name";
}

/* ---- the change ------------------------------------------------------------------------------ */

static const char *describe(request_rec *r, const edit *change, fpmp_admin word)
{
    return apr_psprintf(r->pool, "%s weight=%d", fpmp_admin_mode_name(fpmp_admin_mode_of(word)),
                        fpmp_admin_weight(word, change->weight));
}

static void apply(request_rec *r, edit *change)
{
    change->before = fpmp_admin_apply(&change->record->admin, &change->order);
    change->after = fpmp_admin_next(change->before, &change->order);
    ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, r,
                  "FPMP0132: fpmpool-manager: %s at %s: pool %s, server %s: %s, before: %s",
                  r->user ? r->user : "nobody", r->useragent_ip, change->pool, change->server,
                  describe(r, change, change->after), describe(r, change, change->before));
}

static void put_word(fpmp_text *text, const edit *change, fpmp_admin word)
{
    fpmp_text_format(text, "{\"mode\":\"%s\",\"weight\":%d}",
                     fpmp_admin_mode_name(fpmp_admin_mode_of(word)),
                     fpmp_admin_weight(word, change->weight));
}

static void write_out(void *to, const char *bytes, apr_size_t length)
{
    (void)ap_rwrite(bytes, (int)length, to);
}

static int answer_json(request_rec *r, const edit *change)
{
    fpmp_text text = {write_out, r};
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    ap_set_content_type(r, "application/json");
    fpmp_text_put(&text, "{\"pool\":");
    fpmp_text_json(&text, change->pool);
    fpmp_text_put(&text, ",\"server\":");
    fpmp_text_json(&text, change->server);
    fpmp_text_put(&text, ",\"before\":");
    put_word(&text, change, change->before);
    fpmp_text_put(&text, ",\"after\":");
    put_word(&text, change, change->after);
    fpmp_text_put(&text, "}\n");
    return OK;
}

/* Back to the page that the form was on. Only its query: what stands before it stays as it is, and
 * cannot lead elsewhere. */
static int answer_page(request_rec *r)
{
    apr_table_setn(r->headers_out, "Location",
                   apr_pstrcat(r->pool, "?", r->args ? r->args : "", NULL));
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    return HTTP_SEE_OTHER;
}

int fpmp_manager_change(request_rec *r, const fpmp_global *global, const fpmp_query *query,
                        const char *nonce)
{
    posted form;
    if (is_from_elsewhere(r)) {
        return refuse(r, "the request was made by a page of another site");
    }
    int status = read_form(r, &form);
    if (status != OK) {
        return status;
    }
    if (!*nonce || !form.nonce || !fpmp_manager_is_same(nonce, form.nonce)) {
        return refuse(r, "the nonce is missing or is not that of this httpd: load the page again");
    }
    edit change = {.pool = NULL};
    const char *wrong = find(r, global, &form, &change);
    if (wrong) {
        return fpmp_page_answer(r, HTTP_NOT_FOUND, wrong);
    }
    wrong = fpmp_admin_parse(&change.order, form.action, form.weight);
    if (wrong) {
        return fpmp_page_answer(r, HTTP_BAD_REQUEST, wrong);
    }
    apply(r, &change);
    return query->format == FPMP_FORMAT_JSON ? answer_json(r, &change) : answer_page(r);
}
