/* fpmp_cgi.c - the CGI variables of a usual request, put into its table.
 *
 * Runs in an httpd child for each request. Whoever reads r->subprocess_env after the handler (log
 * formats, Header, a redirect) finds there what any other handler would have left. Must not know
 * better than httpd: every value is asked of it, and what is not usual is left to it.
 */
#include "fpmp_cgi.h"
#include "fpmp_cgi_text.h"
#include "fpmp_constant.h"

#include <http_config.h>
#include <http_core.h>
#include <http_protocol.h>
#include <util_script.h>
#include <apr_strings.h>
#include <string.h>

#define OF_HTTPD   24   /* variables that are no headers, about */
#define NAMES_SIZE 1000 /* the names of most requests' headers: no second allocation */

/* Memory for the names of a request's headers. */
typedef struct names {
    apr_pool_t *pool;
    char *next;
    apr_size_t left;
} names;

static int is_usual(const request_rec *r, const core_dir_config *core)
{
    return !r->main && (!r->path_info || !*r->path_info) && !core->cgi_var_rules && r->filename &&
           !strchr(r->filename, '?') &&
           (!r->prev || core->qualify_redirect_url != AP_CORE_CONFIG_ON);
}

/* NULL: a header that no script may see. */
static const char *make_name(names *room, const char *header)
{
    apr_size_t most = strlen(header) + FPMP_CGI_TEXT_MORE;
    if (most > room->left) {
        room->left = most > NAMES_SIZE ? most : NAMES_SIZE;
        room->next = apr_palloc(room->pool, room->left);
    }
    char *name = room->next;
    apr_size_t used = fpmp_cgi_text_name(name, header);
    if (!used) {
        return NULL;
    }
    room->next += used + 1;
    room->left -= used + 1;
    return name;
}

/* Returns the variable of the headers that are no HTTP_*, "" for one that is not passed on; NULL:
 * it is as any other. Proxy would be taken for the configuration of a script's own requests. */
static const char *find_special(const char *header, int passes_login)
{
    switch (header[0] | 0x20) {
    case 'c':
        if (!ap_cstr_casecmp(header, "Content-Type")) {
            return "CONTENT_TYPE";
        }
        return !ap_cstr_casecmp(header, "Content-Length") ? "CONTENT_LENGTH" : NULL;
    case 'p':
        return !ap_cstr_casecmp(header, "Proxy") ||
                       (!passes_login && !ap_cstr_casecmp(header, "Proxy-Authorization"))
                   ? ""
                   : NULL;
    case 'a':
        return !passes_login && !ap_cstr_casecmp(header, "Authorization") ? "" : NULL;
    default:
        return NULL;
    }
}

static void add_headers(const request_rec *r, apr_table_t *to, int passes_login)
{
    names room = {.pool = r->pool};
    const apr_array_header_t *list = apr_table_elts(r->headers_in);
    const apr_table_entry_t *header = (const apr_table_entry_t *)list->elts;
    for (int i = 0; i < list->nelts; i++) {
        if (!header[i].key || !header[i].val) {
            continue;
        }
        const char *name = find_special(header[i].key, passes_login);
        name = name ? name : make_name(&room, header[i].key);
        if (name && *name) {
            apr_table_addn(to, name, header[i].val);
        }
    }
}

static void add_if(apr_table_t *to, const char *name, const char *value)
{
    if (value) {
        apr_table_addn(to, name, value);
    }
}

static const char *find_server_name(request_rec *r)
{
    const char *name = ap_get_server_name_for_url(r);
    return name && name[strcspn(name, "<>&\"")] ? ap_escape_html(r->pool, name) : name;
}

static void add_server(request_rec *r, apr_table_t *to)
{
    apr_table_addn(to, "SERVER_SIGNATURE", ap_psignature("", r));
    apr_table_addn(to, "SERVER_SOFTWARE", ap_get_server_banner());
    apr_table_addn(to, "SERVER_NAME", find_server_name(r));
    apr_table_addn(to, "SERVER_ADDR", r->connection->local_ip);
    apr_table_addn(to, "SERVER_PORT", apr_itoa(r->pool, ap_get_server_port(r)));
    apr_table_addn(to, "DOCUMENT_ROOT", ap_document_root(r));
    apr_table_addn(to, "REQUEST_SCHEME", ap_http_scheme(r));
    apr_table_addn(to, "CONTEXT_PREFIX", ap_context_prefix(r));
    apr_table_addn(to, "CONTEXT_DOCUMENT_ROOT", ap_context_document_root(r));
    apr_table_addn(to, "SERVER_ADMIN", r->server->server_admin);
    apr_table_addn(to, "GATEWAY_INTERFACE", fpmp_constant_interface);
    apr_table_addn(to, "SERVER_PROTOCOL", r->protocol);
}

static void add_client(request_rec *r, apr_table_t *to)
{
    add_if(to, "REMOTE_HOST", ap_get_useragent_host(r, REMOTE_HOST, NULL));
    apr_table_addn(to, "REMOTE_ADDR", r->useragent_ip);
    apr_table_addn(to, "REMOTE_PORT", apr_itoa(r->pool, r->connection->client_addr->port));
    add_if(to, "REMOTE_USER", r->user);
    add_if(to, "AUTH_TYPE", r->ap_auth_type);
    add_if(to, "REMOTE_IDENT", ap_get_remote_logname(r));
}

static void add_redirect(const request_rec *r, apr_table_t *to)
{
    const request_rec *before = r->prev;
    add_if(to, "REDIRECT_URL", before->uri);
    add_if(to, "REDIRECT_QUERY_STRING", before->args);
    while (!r->user && before && !before->user) {
        before = before->prev;
    }
    if (!r->user && before) {
        apr_table_addn(to, "REDIRECT_REMOTE_USER", before->user);
    }
}

static void add_target(const request_rec *r, apr_table_t *to)
{
    size_t length = 0;
    const char *target = r->the_request ? fpmp_cgi_text_target(r->the_request, &length) : "";
    apr_table_addn(to, "SCRIPT_FILENAME", r->filename);
    apr_table_addn(to, "REQUEST_METHOD", r->method);
    apr_table_addn(to, "QUERY_STRING", r->args ? r->args : "");
    apr_table_addn(to, "REQUEST_URI", apr_pstrmemdup(r->pool, target, length));
    apr_table_addn(to, "SCRIPT_NAME", r->uri);
}

int fpmp_cgi_add(request_rec *r)
{
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);
    if (!is_usual(r, core)) {
        return 0;
    }
    int is_alone = apr_is_empty_table(r->subprocess_env);
    apr_table_t *to =
        is_alone ? r->subprocess_env
                 : apr_table_make(r->pool, OF_HTTPD + apr_table_elts(r->headers_in)->nelts);
    add_headers(r, to, core->cgi_pass_auth == AP_CGI_PASS_AUTH_ON);
    add_server(r, to);
    add_client(r, to);
    if (r->prev) {
        add_redirect(r, to);
    }
    add_target(r, to);
    if (!is_alone) {
        apr_table_overlap(r->subprocess_env, to, APR_OVERLAP_TABLES_SET);
    }
    return 1;
}
