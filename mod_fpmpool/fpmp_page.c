/* fpmp_page.c - the handlers of the pages of figures: what is asked for, headers, which view.
 *
 * Runs in an httpd child. Takes the snapshot and lets a view write it; changes nothing (that is
 * fpmp_manager.c's).
 */
#include "fpmp_page.h"

#include "fpmp_auto.h"
#include "fpmp_clock.h"
#include "fpmp_html.h"
#include "fpmp_json.h"
#include "fpmp_manager.h"
#include "fpmp_metrics.h"
#include "fpmp_snapshot.h"

#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <apr_strings.h>
#include <string.h>

APLOG_USE_MODULE(fpmpool);

#define RETAINED_KEY "mod_fpmpool-pages"
#define NONCE_SIZE   16 /* random bytes */

/* Stays over graceful restarts. */
typedef struct retained {
    apr_time_t started; /* fpmp_clock_now() */
    char nonce[2 * NONCE_SIZE + 1];
} retained;

/* Random text, or "" if there is none to be had. */
static void draw(char nonce[2 * NONCE_SIZE + 1])
{
    unsigned char bytes[NONCE_SIZE];
    nonce[0] = '\0';
    if (apr_generate_random_bytes(bytes, sizeof(bytes)) == APR_SUCCESS) {
        ap_bin2hex(bytes, sizeof(bytes), nonce);
    }
}

int fpmp_page_prepare(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *main)
{
    (void)pconf;
    (void)plog;
    (void)ptemp;
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG ||
        ap_retained_data_get(RETAINED_KEY)) {
        return OK;
    }
    retained *kept = ap_retained_data_create(RETAINED_KEY, sizeof(*kept));
    kept->started = fpmp_clock_now();
    draw(kept->nonce);
    if (!*kept->nonce) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, main,
                     "FPMP0130: no random bytes: the handler fpmpool-manager will refuse changes "
                     "until httpd is started again");
    }
    return OK;
}

/* ---- headers --------------------------------------------------------------------------------- */

static void set_headers(request_rec *r)
{
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    /* Not no-referrer: browsers would then send `Origin: null` with the manager's forms. */
    apr_table_setn(r->headers_out, "Referrer-Policy", "same-origin");
}

static void set_policy(request_rec *r, const char *nonce)
{
    apr_table_setn(r->headers_out, "Content-Security-Policy",
                   apr_pstrcat(r->pool, "default-src 'none'; style-src 'nonce-", nonce,
                               "'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
                               NULL));
    apr_table_setn(r->headers_out, "X-Frame-Options", "DENY");
}

int fpmp_page_answer(request_rec *r, int status, const char *sentence)
{
    set_headers(r);
    r->status = status;
    ap_set_content_type(r, "text/plain; charset=utf-8");
    if (!r->header_only) {
        ap_rvputs(r, sentence, "\n", NULL);
    }
    return OK;
}

/* ---- views ----------------------------------------------------------------------------------- */

static void write_out(void *to, const char *bytes, apr_size_t length)
{
    if (length) {
        (void)ap_rwrite(bytes, (int)length, to);
    }
}

static void show_html(request_rec *r, fpmp_text *text, const fpmp_snapshot *snapshot,
                      const fpmp_query *query, const char *nonce)
{
    char style_nonce[2 * NONCE_SIZE + 1];
    draw(style_nonce);
    set_policy(r, apr_pstrdup(r->pool, style_nonce));
    ap_set_content_type(r, "text/html; charset=utf-8");
    if (!r->header_only) {
        const fpmp_page page = {snapshot, query, style_nonce, nonce};
        fpmp_html_show(text, &page);
    }
}

static void show(request_rec *r, const fpmp_snapshot *snapshot, const fpmp_query *query,
                 const char *nonce)
{
    fpmp_text text = {write_out, r};
    set_headers(r);
    switch (query->format) {
    case FPMP_FORMAT_HTML:
        show_html(r, &text, snapshot, query, nonce);
        return;
    case FPMP_FORMAT_JSON:
        ap_set_content_type(r, "application/json");
        if (!r->header_only) {
            fpmp_json_show(&text, snapshot, nonce);
        }
        return;
    case FPMP_FORMAT_AUTO:
        ap_set_content_type(r, "text/plain; charset=utf-8");
        if (!r->header_only) {
            fpmp_auto_show(&text, snapshot);
        }
        return;
    case FPMP_FORMAT_METRICS:
        ap_set_content_type(r, FPMP_METRICS_TYPE);
        if (!r->header_only) {
            fpmp_metrics_show(&text, snapshot);
        }
        return;
    }
}

static int show_page(request_rec *r, const fpmp_global *global, const fpmp_query *query,
                     const retained *kept, int is_manager)
{
    apr_time_t now = fpmp_clock_now();
    fpmp_snapshot *snapshot = fpmp_snapshot_take(global, query, now, r->pool);
    snapshot->wall = r->request_time;
    snapshot->up_for = (uint64_t)apr_time_sec(now - kept->started);
    snapshot->host = ap_get_server_name(r);
    if (query->pool && !snapshot->pool_count) {
        return fpmp_page_answer(r, HTTP_NOT_FOUND, "httpd has no pool of that name");
    }
    fpmp_seen_arrange(snapshot, query);
    show(r, snapshot, query, is_manager ? kept->nonce : NULL);
    return OK;
}

/* ---- the handler ----------------------------------------------------------------------------- */

static int has_method(request_rec *r, int is_manager)
{
    if (is_manager) {
        ap_allow_methods(r, REPLACE_ALLOW, "GET", "HEAD", "POST", NULL);
    } else {
        ap_allow_methods(r, REPLACE_ALLOW, "GET", "HEAD", NULL);
    }
    return r->method_number == M_GET || (is_manager && r->method_number == M_POST);
}

int fpmp_page_run(request_rec *r)
{
    int is_manager = r->handler && !strcmp(r->handler, "fpmpool-manager");
    if (!is_manager && (!r->handler || strcmp(r->handler, "fpmpool-status"))) {
        return DECLINED;
    }
    if (!has_method(r, is_manager)) {
        return r->method_number == M_OPTIONS ? DECLINED : HTTP_METHOD_NOT_ALLOWED;
    }
    const fpmp_global *global = fpmp_conf_global(r->server);
    const retained *kept = ap_retained_data_get(RETAINED_KEY);
    if (!kept || !global->share) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    fpmp_query query;
    const char *wrong = fpmp_query_parse(&query, r->args, r->pool);
    if (wrong) {
        return fpmp_page_answer(r, HTTP_BAD_REQUEST, wrong);
    }
    return r->method_number == M_POST ? fpmp_manager_change(r, global, &query, kept->nonce)
                                      : show_page(r, global, &query, kept, is_manager);
}
