/* fpmp_sendfile.c - files that a script names for httpd to send in place of its body.
 *
 * Runs in an httpd child for each answer with such a header. The name comes from a tenant: the file
 * is opened first, and then it is looked at what was opened, so that nothing can be exchanged
 * between.
 */
#include "fpmp_sendfile.h"

#include <http_core.h>
#include <http_log.h>
#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

APLOG_USE_MODULE(fpmpool);

/* Where the kernel says that an open file is; NULL: nowhere (any more). */
static const char *find_place(int fd, char *place, size_t size, const char *door)
{
    ssize_t length = readlink(door, place, size - 1);
    struct stat status;
    if (length <= 0 || fstat(fd, &status) != 0 || status.st_nlink == 0) {
        return NULL;
    }
    place[length] = '\0';
    return place;
}

static int is_below(const char *place, const char *directory)
{
    char root[PATH_MAX];
    if (!realpath(directory, root)) {
        return 0;
    }
    size_t length = strlen(root);
    return !strcmp(root, "/") || (!strncmp(place, root, length) && place[length] == '/');
}

static int is_allowed(request_rec *r, const fpmp_dir_conf *conf, const char *place)
{
    for (int i = 0; place && i < conf->send_roots->nelts; i++) {
        const char *root = APR_ARRAY_IDX(conf->send_roots, i, const char *);
        if (is_below(place, *root ? root : ap_document_root(r))) {
            return 1;
        }
    }
    return 0;
}

static int may_sendfile(const request_rec *r)
{
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);
    return core->enable_sendfile == ENABLE_SENDFILE_ON;
}

static int refuse(request_rec *r, const fpmp_pool *pool, const char *path)
{
    ap_log_rerror(
        APLOG_MARK, APLOG_WARNING, 0, r,
        "FPMP0031: pool %s: the script wants the file %s to be sent, which does not lie in a "
        "directory of FpmPoolSendfile or is no plain file: 403: %s",
        pool->name, ap_escape_logitem(r->pool, path), r->filename);
    return HTTP_FORBIDDEN;
}

static int miss(request_rec *r, const fpmp_pool *pool, const char *path, apr_status_t error)
{
    ap_log_rerror(
        APLOG_MARK, APLOG_WARNING, error, r,
        "FPMP0032: pool %s: the script wants the file %s to be sent, which httpd cannot open: "
        "404: %s",
        pool->name, ap_escape_logitem(r->pool, path), r->filename);
    return HTTP_NOT_FOUND;
}

int fpmp_sendfile_open(request_rec *r, const fpmp_dir_conf *conf, const fpmp_pool *pool,
                       const char *path, apr_file_t **file, apr_finfo_t *info)
{
    char place[PATH_MAX];
    if (path[0] != '/') {
        return refuse(r, pool, path);
    }
    /* O_PATH waits for nobody and starts nothing, whatever stands there. */
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) {
        return miss(r, pool, path, errno);
    }
    const char *door = apr_psprintf(r->pool, "/proc/self/fd/%d", fd);
    struct stat status;
    if (!is_allowed(r, conf, find_place(fd, place, sizeof(place), door)) ||
        fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        close(fd);
        return refuse(r, pool, path);
    }
    apr_int32_t flags = APR_FOPEN_READ | APR_FOPEN_BINARY;
    apr_status_t error = apr_file_open(
        file, door, may_sendfile(r) ? flags | APR_FOPEN_SENDFILE_ENABLED : flags, 0, r->pool);
    if (error == APR_SUCCESS) {
        error = apr_file_info_get(info, APR_FINFO_NORM, *file);
    }
    close(fd);
    return error == APR_SUCCESS || error == APR_INCOMPLETE ? OK : miss(r, pool, path, error);
}

int fpmp_sendfile_check_uri(request_rec *r, const fpmp_pool *pool, const char *uri)
{
    if (uri[0] == '/') {
        return OK;
    }
    ap_log_rerror(
        APLOG_MARK, APLOG_ERR, 0, r,
        "FPMP0033: pool %s: the script's X-Accel-Redirect \"%s\" is no path of this server: it "
        "must begin with /: %s",
        pool->name, ap_escape_logitem(r->pool, uri), r->filename);
    return HTTP_BAD_GATEWAY;
}
