/* fpmp_env.c - a request's environment, encoded in one pass straight into FastCGI bytes.
 *
 * Runs in an httpd child for each request. Owns the rules which variables a script may see. Must not
 * drop anything silently: what does not fit is a refused request.
 */
#include "fpmp_env.h"

#include "wire/wire.h"

#include <http_core.h>
#include <http_log.h>
#include <util_script.h>
#include <apr_strings.h>
#include <string.h>

APLOG_USE_MODULE(fpmpool);

#define FIRST_SIZE 8000 /* more than most environments: no second allocation */
#define FPM_PREFIX "proxy:fcgi://fpmpool"

typedef struct encoder {
    request_rec *r;
    const fpmp_pool *pool;
    uint8_t *start; /* room for BEGIN and a record header, then the pairs */
    uint8_t *next;
    uint8_t *limit;
    apr_size_t most; /* bytes of pairs */
    int is_too_large;
} encoder;

#define PAIRS_AT (WIRE_BEGIN_SIZE + WIRE_HEADER_SIZE)

static apr_size_t pairs_length(const encoder *to)
{
    return (apr_size_t)(to->next - to->start) - PAIRS_AT;
}

/* Room for `more` bytes, or 0 when the limit is passed. */
static int make_room(encoder *to, apr_size_t more)
{
    if (to->is_too_large || more > to->most || pairs_length(to) > to->most - more) {
        to->is_too_large = 1;
        return 0;
    }
    if ((apr_size_t)(to->limit - to->next) < more) {
        apr_size_t used = (apr_size_t)(to->next - to->start);
        apr_size_t size = 2 * (used + more);
        uint8_t *larger = apr_palloc(to->r->pool, size);
        memcpy(larger, to->start, used);
        to->start = larger;
        to->next = larger + used;
        to->limit = larger + size;
    }
    return 1;
}

static void add_pair(encoder *to, const char *name, const char *value)
{
    size_t name_length = strlen(name);
    size_t value_length = strlen(value);
    if (make_room(to, wire_pair_size(name_length, value_length))) {
        to->next = wire_pair_write(to->next, name, name_length, value, value_length);
    }
}

/* php-fpm takes a plain name together with REDIRECT_URL for an old mod_fastcgi request and runs
 * PATH_TRANSLATED instead; it strips this prefix and then takes the name as it is. */
static void add_script(encoder *to, const fpmp_server *server, const char *filename)
{
    if (server->type == FPMP_TYPE_FPM) {
        filename = apr_pstrcat(to->r->pool, FPM_PREFIX, filename, NULL);
    }
    add_pair(to, "SCRIPT_FILENAME", filename);
}

/* ---- which variables a script may see -------------------------------------------------------- */

/* Names that change what a daemon does: only directives of this module may set them. */
static int is_reserved(const char *name)
{
    return !strcasecmp(name, "PHP_VALUE") || !strcasecmp(name, "PHP_ADMIN_VALUE") ||
           !strncasecmp(name, "FPMPOOL_", 8);
}

static void warn_reserved(const encoder *to, const char *name)
{
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, to->r,
                  "FPMP0010: pool %s: the variable %s is reserved and was not passed on: remove the "
                  "SetEnv or RewriteRule that sets it (settings belong into the pool's file)",
                  to->pool->name, name);
}

/* httpd's own search paths are none of a script's business, unless PassEnv or SetEnv named them:
 * then they were in the table before httpd added its own. */
typedef struct own_paths {
    const char *path;
    const char *library_path;
} own_paths;

/* Variables that this module sends itself, or in its own form. Returns 1 if it took the name. */
static int handle_special(encoder *to, const fpmp_server *server, const own_paths *own,
                          const char *name, const char *value)
{
    switch (name[0]) {
    case 'C':
        return !strcmp(name, "CONTENT_LENGTH");
    case 'L':
        if (!strcmp(name, "LD_LIBRARY_PATH")) {
            if (own->library_path) {
                add_pair(to, name, own->library_path);
            }
            return 1;
        }
        return 0;
    case 'P':
        if (!strcmp(name, "PATH")) {
            if (own->path) {
                add_pair(to, name, own->path);
            }
            return 1;
        }
        break;
    case 'S':
        if (!strcmp(name, "SCRIPT_FILENAME")) {
            add_script(to, server, value);
            return 1;
        }
        return 0;
    case 'F':
    case 'f':
    case 'p':
        break;
    default:
        return name[0] == '\0';
    }
    if (is_reserved(name)) {
        warn_reserved(to, name);
        return 1;
    }
    return 0;
}

static void add_authorization(encoder *to, const fpmp_dir_conf *conf)
{
    request_rec *r = to->r;
    if (conf->authorization == FPMP_AUTHORIZATION_OFF ||
        (conf->authorization == FPMP_AUTHORIZATION_ON && r->user)) {
        return;
    }
    const char *value = apr_table_get(r->headers_in, "Authorization");
    if (value && !apr_table_get(r->subprocess_env, "HTTP_AUTHORIZATION")) {
        add_pair(to, "HTTP_AUTHORIZATION", value);
    }
}

static void add_body_facts(encoder *to, const fpmp_server *server, const fpmp_env_facts *facts)
{
    if (facts->has_body && facts->body_length < 0) {
        if (server->type == FPMP_TYPE_FPMPOOL) {
            add_pair(to, WIRE_PARAM_BODY, "stream");
        }
        return;
    }
    if (facts->has_body) {
        add_pair(to, "CONTENT_LENGTH", apr_off_t_toa(to->r->pool, facts->body_length));
        return;
    }
    const char *announced = apr_table_get(to->r->headers_in, "Content-Length");
    if (announced && !strcmp(announced, "0")) {
        add_pair(to, "CONTENT_LENGTH", announced);
    }
}

static void add_common_variables(request_rec *r)
{
    /* A subrequest that shares its parent's table would run the parent's SCRIPT_FILENAME. */
    if (r->main && r->subprocess_env == r->main->subprocess_env) {
        r->subprocess_env = apr_table_copy(r->pool, r->subprocess_env);
    }
    ap_add_common_vars(r);
    ap_add_cgi_vars(r);
}

static void add_variables(encoder *to, const fpmp_dir_conf *conf, const fpmp_server *server,
                          const fpmp_env_facts *facts)
{
    request_rec *r = to->r;
    own_paths own = {apr_table_get(r->subprocess_env, "PATH"),
                     apr_table_get(r->subprocess_env, "LD_LIBRARY_PATH")};
    add_common_variables(r);
    const apr_array_header_t *list = apr_table_elts(r->subprocess_env);
    const apr_table_entry_t *entry = (const apr_table_entry_t *)list->elts;
    for (int i = 0; i < list->nelts; i++) {
        const char *value = entry[i].val ? entry[i].val : "";
        if (entry[i].key && !handle_special(to, server, &own, entry[i].key, value)) {
            add_pair(to, entry[i].key, value);
        }
    }
    add_authorization(to, conf);
    add_body_facts(to, server, facts);
    if (server->type == FPMP_TYPE_FPMPOOL) {
        add_pair(to, WIRE_PARAM_PEER, "1");
        if (facts->wants_ack) {
            add_pair(to, WIRE_PARAM_ACK, "1");
        }
    }
}

/* ---- records --------------------------------------------------------------------------------- */

static void set_part(struct iovec *part, void *bytes, size_t length)
{
    part->iov_base = bytes;
    part->iov_len = length;
}

/* Cuts the pairs into records. The common case is one record and one part. */
static void frame(encoder *from, fpmp_head *head)
{
    apr_pool_t *pool = from->r->pool;
    uint8_t *pairs = from->start + PAIRS_AT;
    apr_size_t left = pairs_length(from);
    apr_size_t records = left ? (left + WIRE_CONTENT_MAX - 1) / WIRE_CONTENT_MAX : 1;
    /* Behind the pairs is room for the empty record (make_room left it). */
    uint8_t *last = from->next;
    wire_header_write(last, WIRE_PARAMS, FPMP_REQUEST_ID, 0, 0);
    apr_size_t content = left > WIRE_CONTENT_MAX ? WIRE_CONTENT_MAX : left;
    wire_header_write(from->start + WIRE_BEGIN_SIZE, WIRE_PARAMS, FPMP_REQUEST_ID,
                      (uint16_t)content, 0);
    head->parts = apr_palloc(pool, 2 * (records + 1) * sizeof(struct iovec));
    if (records == 1) {
        set_part(&head->parts[0], from->start, PAIRS_AT + left + WIRE_HEADER_SIZE);
        head->count = 1;
        return;
    }
    set_part(&head->parts[0], from->start, PAIRS_AT + content);
    head->count = 1;
    for (pairs += content, left -= content; left; pairs += content, left -= content) {
        uint8_t *header = apr_palloc(pool, WIRE_HEADER_SIZE);
        content = left > WIRE_CONTENT_MAX ? WIRE_CONTENT_MAX : left;
        wire_header_write(header, WIRE_PARAMS, FPMP_REQUEST_ID, (uint16_t)content, 0);
        set_part(&head->parts[head->count++], header, WIRE_HEADER_SIZE);
        set_part(&head->parts[head->count++], pairs, content);
    }
    set_part(&head->parts[head->count++], last, WIRE_HEADER_SIZE);
}

int fpmp_env_encode(request_rec *r, const fpmp_dir_conf *conf, const fpmp_pool *pool,
                    const fpmp_server *server, const fpmp_env_facts *facts, fpmp_head *head)
{
    encoder to = {.r = r, .pool = pool, .most = conf->max_params};
    to.start = apr_palloc(r->pool, FIRST_SIZE);
    to.limit = to.start + FIRST_SIZE;
    to.next = to.start + PAIRS_AT;
    add_variables(&to, conf, server, facts);
    to.most += WIRE_HEADER_SIZE; /* the empty record does not count */
    if (to.is_too_large || !make_room(&to, WIRE_HEADER_SIZE)) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "FPMP0011: pool %s: the request's parameters are larger than %" APR_SIZE_T_FMT
                      " bytes: raise FpmPoolMaxParams if such headers or variables are meant",
                      pool->name, conf->max_params);
        return HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
    }
    wire_begin_write(to.start, FPMP_REQUEST_ID, WIRE_RESPONDER,
                     facts->keeps_connection ? WIRE_KEEP_CONN : 0);
    frame(&to, head);
    return OK;
}
