/* script.c - from the path parameters of a web server to the file that runs.
 *
 * Pure: runs in workers, looks at files only through the probe, knows nothing of PHP. Front ends
 * send these parameters in many shapes; the rules below are php-fpm's (spec/php-fpm.md 4.5), with
 * their order kept, because applications depend on what they leave in $_SERVER.
 */
#include "php/script.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What the rules work on: the values as sent, and as they are by now. */
typedef struct paths {
    fpd_params *params;
    const fpd_script_rules *rules;
    const char *sent_file;       /* SCRIPT_FILENAME */
    const char *sent_name;       /* SCRIPT_NAME */
    const char *sent_info;       /* PATH_INFO */
    const char *sent_translated; /* PATH_TRANSLATED */
    const char *file;            /* candidate for the script */
    const char *name;
    const char *info;
    const char *document_root;
    const char *redirect_url;
    int is_apache; /* SCRIPT_FILENAME was a proxy: URL */
} paths;

static int begins_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* A path with a ".." component is never run, even if it leads to a file. */
static int has_parent_component(const char *path)
{
    const char *part = path;

    while (part != NULL) {
        size_t length;
        part += *part == '/';
        length = strcspn(part, "/");
        if (length == 2 && part[0] == '.' && part[1] == '.') {
            return 1;
        }
        part = part[length] == '/' ? part + length : NULL;
    }
    return 0;
}

/* A copy of the first `length` bytes of text, joined with tail; from malloc, NULL without memory.
 */
static char *join(const char *text, size_t length, const char *tail)
{
    size_t tail_length = tail != NULL ? strlen(tail) : 0;
    char *joined = malloc(length + tail_length + 1);

    if (joined != NULL) {
        memcpy(joined, text, length);
        if (tail_length > 0) {
            memcpy(joined + length, tail, tail_length);
        }
        joined[length + tail_length] = '\0';
    }
    return joined;
}

/* Sets a parameter to the first `length` bytes of text and then tail. */
static const char *set_joined(paths *path, const char *name, const char *text, size_t length,
                              const char *tail)
{
    char *joined = join(text, length, tail);
    const char *value = NULL;

    if (joined != NULL) {
        value = fpd_params_set(path->params, name, joined);
        free(joined);
    }
    return value;
}

static void keep_original(paths *path, const char *name, const char *value)
{
    if (value != NULL) {
        fpd_params_set(path->params, name, value);
    }
}

/* IIS puts the script's name in front of PATH_INFO. */
static void repair_iis(paths *path)
{
    const char *software = fpd_params_get(path->params, "SERVER_SOFTWARE");
    const char *rest;

    if (software == NULL || path->name == NULL || path->info == NULL ||
        !begins_with(software, "Microsoft-IIS") || !begins_with(path->info, path->name)) {
        return;
    }
    rest = path->info + strlen(path->name);
    keep_original(path, "ORIG_PATH_INFO", path->info);
    path->info = fpd_params_set(path->params, "PATH_INFO", *rest != '\0' ? rest : NULL);
}

/* mod_proxy_fcgi sends its worker's URL: "proxy:fcgi://host:port/path?query". */
static void repair_proxy_url(paths *path)
{
    static const char *const prefixes[] = {"proxy:balancer://", "proxy:fcgi://"};

    if (path->sent_file == NULL) {
        return;
    }
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        size_t length = strlen(prefixes[i]);
        const char *start;
        if (strncasecmp(path->sent_file, prefixes[i], length) != 0) {
            continue;
        }
        start = strchr(path->sent_file + length, '/');
        if (start == NULL) {
            start = path->sent_file;
        } else {
            path->is_apache = 1;
        }
        path->sent_file = set_joined(path, "SCRIPT_FILENAME", start, strcspn(start, "?"), NULL);
        path->file = path->sent_file;
        return;
    }
}

/* Apache's Action: SCRIPT_FILENAME is the handler, the wanted file is in PATH_TRANSLATED. */
static void follow_action(paths *path)
{
    if (path->is_apache || path->rules->is_own_module || path->redirect_url == NULL ||
        path->sent_translated == NULL || strcmp(path->sent_translated, path->file) == 0) {
        return;
    }
    path->file = path->sent_translated;
    path->name = path->redirect_url;
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* Does text end with the %-decoded form of tail (and have something before it)? Sets where. */
static int ends_with_decoded(const char *text, const char *tail, size_t *where)
{
    char *decoded = join(tail, strlen(tail), NULL);
    size_t length = 0;
    size_t text_length = strlen(text);
    int does;

    if (decoded == NULL) {
        return 0;
    }
    for (const char *from = tail; *from != '\0'; from++) {
        if (from[0] == '%' && hex_value(from[1]) >= 0 && hex_value(from[2]) >= 0) {
            decoded[length++] = (char)(hex_value(from[1]) * 16 + hex_value(from[2]));
            from += 2;
        } else {
            decoded[length++] = *from == '+' ? ' ' : *from;
        }
    }
    does = text_length > length && memcmp(text + text_length - length, decoded, length) == 0;
    *where = text_length - length;
    free(decoded);
    return does;
}

/* Apache mode without PATH_INFO: the tail also stands at the end of SCRIPT_NAME; cut it off. */
static void cut_name(paths *path, const char *tail)
{
    size_t name_length = strlen(path->name);
    size_t tail_length = strlen(tail);
    size_t where = name_length - tail_length;

    if ((name_length > tail_length && strcmp(path->name + where, tail) == 0) ||
        (strchr(tail, '%') != NULL && ends_with_decoded(path->name, tail, &where))) {
        keep_original(path, "ORIG_SCRIPT_NAME", path->sent_name);
        path->name = set_joined(path, "SCRIPT_NAME", path->name, where, NULL);
    }
}

/* Apache mode: the tail is PATH_INFO. */
static void split_apache(paths *path, const char *tail)
{
    if (path->sent_info != NULL) {
        if (strcmp(path->sent_info, tail) == 0) {
            return;
        }
        keep_original(path, "ORIG_PATH_INFO", path->sent_info);
    } else if (path->name != NULL) {
        cut_name(path, tail);
    }
    path->info = fpd_params_set(path->params, "PATH_INFO", tail);
}

/* SCRIPT_NAME becomes the one that was found, if that is another. */
static void take_name(paths *path)
{
    if (path->name != path->sent_name) {
        keep_original(path, "ORIG_SCRIPT_NAME", path->sent_name);
        path->name = fpd_params_set(path->params, "SCRIPT_NAME", path->name);
    }
}

/* PATH_INFO holds the script's name and then the tail: each part goes where it belongs. Returns the
 * SCRIPT_NAME of the result. */
static const char *split_info(paths *path, const char *tail)
{
    size_t info_length = path->info != NULL ? strlen(path->info) : 0;
    size_t tail_length = strlen(tail);
    size_t head = info_length - tail_length;
    const char *name = path->sent_name;

    if (path->is_apache) {
        split_apache(path, tail);
        return path->name;
    }
    if (info_length <= tail_length) {
        take_name(path);
        return path->name;
    }
    keep_original(path, "ORIG_PATH_INFO", path->sent_info);
    if (name == NULL || strlen(name) != head || memcmp(name, path->info, head) != 0) {
        keep_original(path, "ORIG_SCRIPT_NAME", name);
        name = set_joined(path, "SCRIPT_NAME", path->info, head, NULL);
    }
    path->info = fpd_params_set(path->params, "PATH_INFO", path->info + head);
    return name;
}

/* PATH_TRANSLATED: where PATH_INFO would lead below the document root. */
static void translate(paths *path)
{
    const char *root = path->document_root;
    size_t length;

    if (root != NULL) {
        length = strlen(root);
        if (length > 0 && root[length - 1] == '/') {
            length--;
        }
    } else if (path->name != NULL && strstr(path->file, path->name) != NULL) {
        root = path->file;
        length = strlen(path->file) - strlen(path->name);
    } else {
        return;
    }
    keep_original(path, "ORIG_PATH_TRANSLATED", path->sent_translated);
    set_joined(path, "PATH_TRANSLATED", root, length, path->info);
}

/* The path leads nowhere: strip from the last slash until a file is found. */
static void walk_back(paths *path, fpd_script *script)
{
    char *head = join(path->file, strlen(path->file), NULL);
    char *slash;

    while (head != NULL &&
           ((slash = strrchr(head, '/')) != NULL || (slash = strrchr(head, '\\')) != NULL)) {
        *slash = '\0';
        if (path->rules->probe(path->rules->context, FPD_SCRIPT_IS_FILE, head)) {
            script->request_uri = split_info(path, path->file + strlen(head));
            if (path->sent_file == NULL || strcmp(path->sent_file, head) != 0) {
                keep_original(path, "ORIG_SCRIPT_FILENAME", path->sent_file);
                path->file = fpd_params_set(path->params, "SCRIPT_FILENAME", head);
            } else {
                path->file = path->sent_file;
            }
            if (path->file != NULL) {
                translate(path);
            }
            free(head);
            return;
        }
    }
    free(head);
    keep_original(path, "ORIG_SCRIPT_FILENAME", path->sent_file);
    fpd_params_set(path->params, "SCRIPT_FILENAME", NULL);
    path->file = NULL;
    script->request_uri = path->name;
}

/* The path is right as it is; tell what the web server's detour changed. */
static void take_direct(paths *path, fpd_script *script)
{
    if (path->sent_file == NULL || strcmp(path->file, path->sent_file) != 0) {
        keep_original(path, "ORIG_SCRIPT_FILENAME", path->sent_file);
        path->file = fpd_params_set(path->params, "SCRIPT_FILENAME", path->file);
    }
    if (!path->is_apache && !path->rules->is_own_module && path->redirect_url != NULL) {
        if (path->sent_info != NULL) {
            keep_original(path, "ORIG_PATH_INFO", path->sent_info);
            fpd_params_set(path->params, "PATH_INFO", NULL);
        }
        if (path->sent_translated != NULL) {
            keep_original(path, "ORIG_PATH_TRANSLATED", path->sent_translated);
            fpd_params_set(path->params, "PATH_TRANSLATED", NULL);
        }
    }
    take_name(path);
    script->request_uri = path->name;
}

static int is_direct(const paths *path)
{
    size_t length = strlen(path->file);

    return length == 0 ||
           (path->file[length - 1] != '/' &&
            path->rules->probe(path->rules->context, FPD_SCRIPT_RESOLVES, path->file));
}

static void fix_pathinfo(paths *path, fpd_script *script)
{
    path->redirect_url = fpd_params_get(path->params, "REDIRECT_URL");
    path->document_root = fpd_params_get(path->params, "DOCUMENT_ROOT");
    if (path->document_root == NULL && path->rules->doc_root != NULL) {
        path->document_root = fpd_params_set(path->params, "DOCUMENT_ROOT", path->rules->doc_root);
    }
    follow_action(path);
    if (is_direct(path)) {
        take_direct(path, script);
    } else {
        walk_back(path, script);
    }
}

void fpd_script_resolve(fpd_script *script, fpd_params *params, const fpd_script_rules *rules)
{
    paths path = {.params = params, .rules = rules};

    memset(script, 0, sizeof(*script));
    path.sent_file = fpd_params_get(params, "SCRIPT_FILENAME");
    path.sent_translated = fpd_params_get(params, "PATH_TRANSLATED");
    path.file = path.sent_file != NULL ? path.sent_file : path.sent_translated;
    if (path.file == NULL) {
        return;
    }
    script->is_named = 1;
    path.name = path.sent_name = fpd_params_get(params, "SCRIPT_NAME");
    path.info = fpd_params_get(params, "PATH_INFO");
    repair_iis(&path);
    path.sent_info = path.info;
    repair_proxy_url(&path);
    if (path.file == NULL) {
        return;
    }
    if (rules->fix_pathinfo) {
        fix_pathinfo(&path, script);
    } else {
        script->request_uri = path.info != NULL ? path.info : path.name;
        if (!rules->discard_path && path.sent_translated != NULL) {
            path.file = path.sent_translated;
        }
    }
    if (path.file != NULL && !has_parent_component(path.file)) {
        script->path = path.file;
    }
}

int fpd_script_is_allowed(const char *path, const char *extensions)
{
    size_t path_length = strlen(path);
    const char *extension = extensions;
    int is_limited = 0;

    while (extension != NULL && *extension != '\0') {
        size_t length = strcspn(extension, " \t");
        if (length > 0) {
            is_limited = 1;
            if (path_length > length &&
                memcmp(path + path_length - length, extension, length) == 0) {
                return 1;
            }
        }
        extension += length;
        extension += strspn(extension, " \t");
    }
    return !is_limited;
}
