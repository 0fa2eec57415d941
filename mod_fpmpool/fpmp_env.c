/* fpmp_env.c - a request's environment, encoded in one pass straight into FastCGI bytes.
 *
 * Runs in an httpd child for each request. Owns the rules which variables a script may see. Must
 * not drop anything silently: what does not fit is a refused request.
 */
#include "fpmp_env.h"
#include "fpmp_cgi.h"
#include "fpmp_constant.h"
#include "fpmp_setenvif.h"

#include "wire/wire.h"

#include <http_core.h>
#include <http_log.h>
#include <util_script.h>
#include <apr_strings.h>
#include <string.h>

APLOG_USE_MODULE(fpmpool);

#define FIRST_SIZE 8000 /* more than most environments: no second allocation */

/* A directory that scripts shall see under another path. */
typedef struct relocation {
    const char *from; /* NULL: none */
    const char *to;
} relocation;

/* BEGIN_REQUEST, then PARAMS records one behind the other. */
typedef struct encoder {
    request_rec *r;
    const fpmp_pool *pool;
    const fpmp_server *server;
    uint8_t *start;
    uint8_t *next;
    uint8_t *limit;
    apr_size_t record; /* offset of the open record's header */
    apr_size_t total;  /* bytes of pairs */
    apr_size_t most;
    int is_too_large;
    const char *unreadable; /* name of a variable that the server could not read; NULL: none */
    apr_size_t unreadable_length;
    relocation relocations[2]; /* document root, context document root; or docroot= */
    const char *hidden[2];     /* values that are not sent; NULL: none */
    const char *self;          /* PHP_SELF, where our daemon would make another one; NULL: no */
} encoder;

static void enlarge(encoder *to, apr_size_t more)
{
    apr_size_t used = (apr_size_t)(to->next - to->start);
    apr_size_t size = 2 * (used + more);
    uint8_t *larger = apr_palloc(to->r->pool, size);
    memcpy(larger, to->start, used);
    to->start = larger;
    to->next = larger + used;
    to->limit = larger + size;
}

/* At least `more` bytes behind next; moves the buffer if needed. */
static inline void make_room(encoder *to, apr_size_t more)
{
    if ((apr_size_t)(to->limit - to->next) < more) {
        enlarge(to, more);
    }
}

static apr_size_t record_length(const encoder *to)
{
    return (apr_size_t)(to->next - to->start) - to->record - WIRE_HEADER_SIZE;
}

static void close_record(encoder *to)
{
    wire_header_write(to->start + to->record, WIRE_PARAMS, FPMP_REQUEST_ID,
                      (uint16_t)record_length(to), 0);
}

static void open_record(encoder *to)
{
    make_room(to, WIRE_HEADER_SIZE);
    to->record = (apr_size_t)(to->next - to->start);
    to->next += WIRE_HEADER_SIZE;
}

/* A pair that no record can hold goes over several. */
static void add_split(encoder *to, const uint8_t *bytes, apr_size_t length)
{
    while (length) {
        if (record_length(to) == WIRE_CONTENT_MAX) {
            close_record(to);
            open_record(to);
        }
        apr_size_t piece = WIRE_CONTENT_MAX - record_length(to);
        piece = piece < length ? piece : length;
        make_room(to, piece);
        memcpy(to->next, bytes, piece);
        to->next += piece;
        bytes += piece;
        length -= piece;
    }
}

/* php-fpm does not read a pair that is cut by the end of a record: where it fits it is not cut, and
 * where it cannot fit that server would drop the connection without a word. */
static void add_pair(encoder *to, const char *name, const char *value)
{
    size_t name_length = strlen(name);
    size_t value_length = strlen(value);
    size_t size = wire_pair_size(name_length, value_length);
    if (to->is_too_large || size > to->most - to->total) {
        to->is_too_large = 1;
        return;
    }
    to->total += size;
    if (size > WIRE_CONTENT_MAX && to->server->type == FPMP_TYPE_FPM) {
        to->unreadable = name;
        to->unreadable_length = value_length;
        return;
    }
    if (size > WIRE_CONTENT_MAX) {
        uint8_t *whole = apr_palloc(to->r->pool, size);
        (void)wire_pair_write(whole, name, name_length, value, value_length);
        add_split(to, whole, size);
        return;
    }
    if (record_length(to) + size > WIRE_CONTENT_MAX) {
        close_record(to);
        open_record(to);
    }
    make_room(to, size);
    to->next = wire_pair_write(to->next, name, name_length, value, value_length);
}

/* A pair that is encoded already. Returns 0 if it is to be added as any other. */
static int add_constant(encoder *to, const fpmp_constant *constant, const char *name)
{
    if (strcmp(name, constant->name) != 0 || constant->size > to->most - to->total ||
        record_length(to) + constant->size > WIRE_CONTENT_MAX) {
        return 0;
    }
    make_room(to, constant->size);
    memcpy(to->next, constant->pair, constant->size);
    to->next += constant->size;
    to->total += constant->size;
    return 1;
}

/* ---- symbolic links -------------------------------------------------------------------------- */

static void find_relocation(encoder *to, fpmp_roots *roots, relocation *place, const char *root)
{
    size_t length = root && root[0] == '/' ? strlen(root) : 0;
    while (length > 1 && root[length - 1] == '/') {
        length--; /* of an Alias, for instance */
    }
    if (length <= 1) {
        return;
    }
    if (root[length]) {
        root = apr_pstrmemdup(to->r->pool, root, length);
    }
    const char *resolved = fpmp_root_resolve(roots, root, to->r->pool);
    if (resolved) {
        place->from = root;
        place->to = resolved;
    }
}

static void find_relocations(encoder *to, fpmp_roots *roots)
{
    const char *root = ap_document_root(to->r);
    const char *context = ap_context_document_root(to->r);
    find_relocation(to, roots, &to->relocations[0], root);
    if (context && root && strcmp(context, root)) {
        find_relocation(to, roots, &to->relocations[1], context);
    }
}

static int is_place(const char *name)
{
    return !strcmp(name, "SCRIPT_FILENAME") || !strcmp(name, "DOCUMENT_ROOT") ||
           !strcmp(name, "PATH_TRANSLATED") || !strcmp(name, "CONTEXT_DOCUMENT_ROOT");
}

static const char *relocate(const encoder *to, const char *name, const char *value)
{
    for (int i = 1; i >= 0; i--) {
        const char *from = to->relocations[i].from;
        size_t length = from ? strlen(from) : 0;
        if (from && !strncmp(value, from, length) &&
            (value[length] == '/' || value[length] == '\0') && is_place(name)) {
            const char *mapped =
                apr_pstrcat(to->r->pool, to->relocations[i].to, value + length, NULL);
            return *mapped ? mapped : "/";
        }
    }
    return value;
}

static void add_script(encoder *to, const char *filename)
{
    if (to->server->type == FPMP_TYPE_FPM && strncmp(filename, "proxy:", 6) != 0) {
        filename = apr_pstrcat(to->r->pool, FPMP_FPM_PREFIX, filename, NULL);
    }
    add_pair(to, "SCRIPT_FILENAME", filename);
}

/* ---- which variables a script may see -------------------------------------------------------- */

static void warn_reserved(const encoder *to, const char *name)
{
    ap_log_rerror(
        APLOG_MARK, APLOG_WARNING, 0, to->r,
        "FPMP0010: pool %s: the variable %s is reserved and was not passed on: remove the "
        "SetEnv or RewriteRule that sets it (settings belong into the pool's file)",
        to->pool->name, name);
}

/* Variables that this module sends itself, or in its own form. Returns 1 if it took the name. */
static int handle_special(encoder *to, const char *name, const char *value)
{
    switch (name[0]) {
    case 'C':
        return !strcmp(name, "CONTENT_LENGTH");
    case 'R':
        /* After an internal redirect: what httpd had added to the first request. */
        return !strncmp(name, "REDIRECT_", 9) &&
               (!strcmp(name + 9, "PATH") || !strcmp(name + 9, "LD_LIBRARY_PATH"));
    case 'S':
        if (name[1] == 'C' && !strcmp(name, "SCRIPT_FILENAME")) {
            add_script(to, value);
            return 1;
        }
        return 0;
    case 'F':
    case 'f':
    case 'P':
    case 'p':
        break;
    default:
        return name[0] == '\0';
    }
    if (fpmp_setenvif_is_reserved(name)) {
        warn_reserved(to, name);
        return 1;
    }
    return 0;
}

/* Puts the client's login into the table, where FpmPoolSetEnvIf sees it. Returns the name, which
 * has to be taken out again: what httpd does later with the table is not for it; NULL: none was
 * put. A login that httpd has checked itself is told as a name only, without the password. */
static const char *add_login(request_rec *r, const fpmp_dir_conf *conf, const fpmp_server *server)
{
    const char *name = "HTTP_AUTHORIZATION";
    const char *value = apr_table_get(r->headers_in, "Authorization");
    if (conf->authorization == FPMP_AUTHORIZATION_OFF) {
        return NULL;
    }
    if (conf->authorization == FPMP_AUTHORIZATION_ON && r->user) {
        name = "PHP_AUTH_USER";
        value = server->type != FPMP_TYPE_GENERIC ? r->user : NULL;
    }
    if (!value || apr_table_get(r->subprocess_env, name)) {
        return NULL;
    }
    apr_table_setn(r->subprocess_env, name, value);
    return name;
}

static void add_body_facts(encoder *to, const fpmp_env_facts *facts)
{
    if (facts->has_body && facts->body_length < 0) {
        if (to->server->type == FPMP_TYPE_FPMPOOL) {
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

/* php-fpm keeps what it is told until its worker ends: one pool for one set of settings. */
static void add_fpm_settings(encoder *to, fpmp_ini *ini)
{
    int left_out = 0;
    const char *values = fpmp_ini_write_lines(to->r->pool, ini, 0, &left_out);
    const char *admin_values = fpmp_ini_write_lines(to->r->pool, ini, 1, &left_out);
    if (values) {
        add_pair(to, "PHP_VALUE", values);
    }
    if (admin_values) {
        add_pair(to, "PHP_ADMIN_VALUE", admin_values);
    }
    if (left_out) {
        ap_log_rerror(
            APLOG_MARK, APLOG_INFO, 0, to->r,
            "FPMP0012: pool %s: php_value and php_flag of .htaccess files are not sent to "
            "a server with type=fpm: use .user.ini, or fpmpoold",
            to->pool->name);
    }
}

/* httpd's own search paths are none of a script's business, unless PassEnv or SetEnv named them. To
 * take one out of the table costs as much as to put ten in: it is only passed over, where no rule
 * can see it. */
static const char *hide(request_rec *r, const char *name, const char *before, int has_rules)
{
    const char *added = apr_table_get(r->subprocess_env, name);
    if (before) {
        apr_table_setn(r->subprocess_env, name, before);
        return NULL;
    }
    if (added && has_rules) {
        apr_table_unset(r->subprocess_env, name);
        return NULL;
    }
    return added;
}

static void make_variables(encoder *to, int has_rules)
{
    request_rec *r = to->r;
    /* A subrequest that shares its parent's table would run the parent's SCRIPT_FILENAME. */
    if (r->main && r->subprocess_env == r->main->subprocess_env) {
        r->subprocess_env = apr_table_copy(r->pool, r->subprocess_env);
    }
    if (fpmp_cgi_add(r)) {
        return;
    }
    const char *path = apr_table_get(r->subprocess_env, "PATH");
    const char *library_path = apr_table_get(r->subprocess_env, "LD_LIBRARY_PATH");
    ap_add_common_vars(r);
    ap_add_cgi_vars(r);
    to->hidden[0] = hide(r, "PATH", path, has_rules);
    to->hidden[1] = hide(r, "LD_LIBRARY_PATH", library_path, has_rules);
}

static void encode_table(encoder *to)
{
    const apr_array_header_t *list = apr_table_elts(to->r->subprocess_env);
    const apr_table_entry_t *entry = (const apr_table_entry_t *)list->elts;
    const fpmp_constant *constant = fpmp_constant_list(to->r);
    int relocates = to->relocations[0].from || to->relocations[1].from;
    for (int i = 0; i < list->nelts; i++) {
        const char *value = entry[i].val ? entry[i].val : "";
        if (!entry[i].key || value == to->hidden[0] || value == to->hidden[1]) {
            continue;
        }
        if (relocates) {
            value = relocate(to, entry[i].key, value);
        }
        if (value == constant->value && add_constant(to, constant, entry[i].key)) {
            constant++;
        } else if (!handle_special(to, entry[i].key, value)) {
            add_pair(to, entry[i].key, value);
        }
    }
}

/* What PHP makes PHP_SELF of, wherever it speaks FastCGI. */
typedef struct self_parts {
    const char *name; /* NULL: not there */
    const char *info;
} self_parts;

static self_parts find_self(const request_rec *r)
{
    self_parts found = {apr_table_get(r->subprocess_env, "SCRIPT_NAME"),
                        apr_table_get(r->subprocess_env, "PATH_INFO")};
    return found;
}

static int is_path_of_url(const request_rec *r, const self_parts *parts)
{
    const char *name = parts->name ? parts->name : "";
    size_t length = strlen(name);
    return !strncmp(r->uri, name, length) &&
           !strcmp(r->uri + length, parts->info ? parts->info : "");
}

/* Returns OK or a status, as fpmp_setenvif_apply does. For mod_php PHP_SELF is the URL's path; the
 * parts are another one where httpd has changed the path info (SSI, AliasMatch, slashes that are
 * not merged). Where a rule sets one of them, PHP_SELF is what they make. */
static int apply_rules(encoder *to, const fpmp_dir_conf *conf)
{
    self_parts before = find_self(to->r);
    int status = fpmp_setenvif_apply(to->r, conf->setenvif);
    if (to->server->type == FPMP_TYPE_FPMPOOL && !is_path_of_url(to->r, &before)) {
        self_parts now = find_self(to->r);
        to->self = now.name == before.name && now.info == before.info ? to->r->uri : NULL;
    }
    return status;
}

/* What is no variable of the request: only this module can say it. */
static void add_facts(encoder *to, const fpmp_dir_conf *conf, const fpmp_env_facts *facts)
{
    add_body_facts(to, facts);
    if (to->server->type == FPMP_TYPE_FPMPOOL) {
        const char *settings = fpmp_ini_encode(to->r->pool, conf->ini);
        if (settings) {
            add_pair(to, WIRE_PARAM_INI, settings);
        }
        add_pair(to, WIRE_PARAM_PEER, "1");
        if (facts->wants_ack) {
            add_pair(to, WIRE_PARAM_ACK, "1");
        }
        if (to->self) {
            add_pair(to, WIRE_PARAM_SELF, to->self);
        }
    } else if (to->server->type == FPMP_TYPE_FPM && conf->ini) {
        add_fpm_settings(to, conf->ini);
    }
}

static int add_variables(encoder *to, const fpmp_dir_conf *conf, const fpmp_env_facts *facts)
{
    request_rec *r = to->r;
    make_variables(to, conf->setenvif != NULL);
    const char *login = add_login(r, conf, to->server);
    int status = apply_rules(to, conf);
    if (status == OK) {
        if (to->server->local_root) {
            to->relocations[0] = (relocation){to->server->local_root, to->server->remote_root};
        } else if (facts->roots) {
            find_relocations(to, facts->roots);
        }
        encode_table(to);
        add_facts(to, conf, facts);
    }
    if (login) {
        apr_table_unset(r->subprocess_env, login);
    }
    return status;
}

/* Returns OK, or the status of a request that its server could not be told. */
static int check_size(const encoder *to, const fpmp_dir_conf *conf)
{
    if (to->is_too_large) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, to->r,
                      "FPMP0011: pool %s: the request's parameters are larger than %" APR_SIZE_T_FMT
                      " bytes: raise FpmPoolMaxParams if such headers or variables are meant",
                      to->pool->name, conf->max_params);
        return HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
    }
    if (to->unreadable) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, to->r,
                      "FPMP0013: pool %s: the variable %s has %" APR_SIZE_T_FMT
                      " bytes: php-fpm reads none of more than 64 KiB; fpmpoold does",
                      to->pool->name, to->unreadable, to->unreadable_length);
        return HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
    }
    return OK;
}

int fpmp_env_encode(request_rec *r, const fpmp_dir_conf *conf, const fpmp_pool *pool,
                    const fpmp_server *server, const fpmp_env_facts *facts, struct iovec *head)
{
    encoder to = {.r = r, .pool = pool, .server = server, .most = conf->max_params};
    to.start = apr_palloc(r->pool, FIRST_SIZE);
    to.limit = to.start + FIRST_SIZE;
    to.next = wire_begin_write(to.start, FPMP_REQUEST_ID, WIRE_RESPONDER,
                               facts->keeps_connection ? WIRE_KEEP_CONN : 0);
    open_record(&to);
    int status = add_variables(&to, conf, facts);
    status = status == OK ? check_size(&to, conf) : status;
    if (status != OK) {
        return status;
    }
    close_record(&to);
    open_record(&to); /* the empty record */
    close_record(&to);
    head->iov_base = to.start;
    head->iov_len = (size_t)(to.next - to.start);
    return OK;
}
