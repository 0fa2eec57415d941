/* sources.c - finding php.ini and conf.d where php-fpm finds them.
 *
 * Runs in the pool process as root, before the drop of privileges and before libphp, which would
 * start silently with its defaults if it could not read php.ini.
 */
#include "php/sources.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apr_strings.h"
#include "apr_tables.h"
#include "base/log.h"
#include "php.h"

#include "build-defs.h"

#define FILES_MAX     1024
#define FILE_SIZE_MAX (4 * 1024 * 1024)

/* Debian has one directory for each kind of PHP, and the headers name the one of whichever was
 * built last. The same path below the directory of `kind`; as it is where there is only one for
 * all. */
static const char *path_of(const char *kind, const char *path, apr_pool_t *pool)
{
    static const char *const kinds[] = {"/cli", "/embed", "/cgi", "/apache2", "/phpdbg"};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const char *part = strstr(path, kinds[i]);
        const char *rest = part != NULL ? part + strlen(kinds[i]) : NULL;
        if (rest != NULL && (*rest == '\0' || *rest == '/')) {
            return apr_pstrcat(pool, apr_pstrmemdup(pool, path, (apr_size_t)(part - path)), "/",
                               kind, rest, NULL);
        }
    }
    return path;
}

static int is_directory(const char *path)
{
    struct stat about;

    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

/* Is something there by this name? A link to nothing, or what may not be looked at, is: it was put
 * there to count. */
static int is_there(const char *path)
{
    struct stat about;

    return lstat(path, &about) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

/* The php.ini in a directory, or the path itself if it is a file; NULL: none. */
static const char *find_ini(const char *path, apr_pool_t *pool)
{
    static const char *const names[] = {"php-fpm-fcgi.ini", "php.ini"};

    if (!is_directory(path)) {
        return is_there(path) ? path : NULL;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *file = apr_pstrcat(pool, path, "/", names[i], NULL);
        if (is_there(file) && !is_directory(file)) {
            return file;
        }
    }
    return NULL;
}

/* PHP_INI_SCAN_DIR with its empty parts, which mean the default, written out. */
static const char *expand_scan_dirs(const char *list, const char *standard, apr_pool_t *pool)
{
    const char *result = NULL;

    if (*list == '\0') {
        return "";
    }
    while (list != NULL) {
        size_t length = strcspn(list, ":");
        const char *part = length > 0 ? apr_pstrmemdup(pool, list, length) : standard;
        result = result == NULL ? part : apr_pstrcat(pool, result, ":", part, NULL);
        list = list[length] == ':' ? list + length + 1 : NULL;
    }
    return result;
}

apr_status_t fpd_sources_find(fpd_sources *sources, const fpd_plan_pool *plan, apr_pool_t *pool,
                              const char **reason)
{
    const char *directory = path_of("fpm", PHP_CONFIG_FILE_PATH, pool);
    const char *scan_dir = path_of("fpm", PHP_CONFIG_FILE_SCAN_DIR, pool);
    const char *wanted = getenv("PHPRC");
    const char *scan_list = getenv("PHP_INI_SCAN_DIR");

    sources->ini = NULL;
    sources->scan_dir = NULL;
    sources->copy = -1;
    if (!is_directory(directory) && !is_there(directory)) {
        const char *other = path_of("embed", PHP_CONFIG_FILE_PATH, pool);
        fpd_log(FPD_LOG_NOTICE, "no directory '%s': PHP is configured by '%s'", directory, other);
        directory = other;
        scan_dir = path_of("embed", PHP_CONFIG_FILE_SCAN_DIR, pool);
    }
    sources->scan_dir = scan_list != NULL ? expand_scan_dirs(scan_list, scan_dir, pool) : scan_dir;
    if (plan->php_ini_ignore) {
        sources->scan_dir = "";
    }
    if (plan->php_ini_path != NULL) {
        sources->ini = find_ini(plan->php_ini_path, pool);
        if (sources->ini == NULL && !is_directory(plan->php_ini_path)) {
            *reason =
                apr_psprintf(pool, "php.ini '%s' (-c): %s", plan->php_ini_path, strerror(errno));
            return APR_ENOENT;
        }
        if (sources->ini == NULL) {
            sources->ini = plan->php_ini_path;
        }
        return APR_SUCCESS;
    }
    if (wanted != NULL && *wanted != '\0') {
        sources->ini = find_ini(wanted, pool);
    }
    if (sources->ini == NULL) {
        sources->ini = find_ini(directory, pool);
    }
    if (sources->ini == NULL) {
        sources->ini = directory;
    }
    return APR_SUCCESS;
}

/* php.ini and all files of the scan directories, in PHP's order. */
static apr_array_header_t *list_files(const fpd_sources *sources, apr_pool_t *pool)
{
    apr_array_header_t *files = apr_array_make(pool, 32, sizeof(const char *));
    const char *list = sources->scan_dir;

    if (sources->ini != NULL && !is_directory(sources->ini)) {
        APR_ARRAY_PUSH(files, const char *) = sources->ini;
    }
    while (list != NULL && *list != '\0') {
        size_t length = strcspn(list, ":");
        const char *pattern = apr_pstrcat(pool, apr_pstrmemdup(pool, list, length), "/*.ini", NULL);
        glob_t found;
        if (glob(pattern, 0, NULL, &found) == 0) {
            for (size_t i = 0; i < found.gl_pathc && files->nelts < FILES_MAX; i++) {
                APR_ARRAY_PUSH(files, const char *) = apr_pstrdup(pool, found.gl_pathv[i]);
            }
            globfree(&found);
        }
        list = list[length] == ':' ? list + length + 1 : NULL;
    }
    return files;
}

static int is_readable(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

/* A directory that is not there is no error, one that must not be listed is. */
static int is_listable(const char *directory)
{
    DIR *opened = opendir(directory);

    if (opened != NULL) {
        closedir(opened);
    }
    return opened != NULL || errno == ENOENT || errno == ENOTDIR;
}

/* The first that this process, as whoever it is now, cannot read; errno says why. NULL: none. */
static const char *find_unreadable(const fpd_sources *sources, const apr_array_header_t *files,
                                   apr_pool_t *pool)
{
    const char *list = sources->scan_dir;

    for (int i = 0; i < files->nelts; i++) {
        if (!is_readable(APR_ARRAY_IDX(files, i, const char *))) {
            return APR_ARRAY_IDX(files, i, const char *);
        }
    }
    while (list != NULL && *list != '\0') {
        size_t length = strcspn(list, ":");
        const char *directory = apr_pstrmemdup(pool, list, length);
        if (length > 0 && !is_listable(directory)) {
            return directory;
        }
        list = list[length] == ':' ? list + length + 1 : NULL;
    }
    return NULL;
}

/* Asks as the pool's user; identity of the process is the same afterwards. */
static apr_status_t are_readable(const fpd_sources *sources, const apr_array_header_t *files,
                                 const fpd_plan_pool *plan, apr_pool_t *pool, int *are_all)
{
    gid_t own_group = getegid();
    int group_count = getgroups(0, NULL);
    gid_t *groups;
    apr_status_t status = APR_SUCCESS;

    if (group_count < 0) {
        return errno;
    }
    groups = apr_pcalloc(pool, (size_t)(group_count + 1) * sizeof(gid_t));
    group_count = getgroups(group_count, groups);
    if (group_count < 0 ||
        (plan->user_name != NULL ? initgroups(plan->user_name, (gid_t)plan->gid)
                                 : setgroups(0, NULL)) != 0 ||
        setegid((gid_t)plan->gid) != 0 || seteuid((uid_t)plan->uid) != 0) {
        status = errno;
    }
    *are_all = status == APR_SUCCESS && find_unreadable(sources, files, pool) == NULL;
    if (seteuid(0) != 0 || setegid(own_group) != 0 ||
        setgroups((size_t)(group_count > 0 ? group_count : 0), groups) != 0) {
        return errno;
    }
    return status;
}

static apr_status_t write_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, bytes, length);
        if (written < 0) {
            return errno;
        }
        bytes += written;
        length -= (size_t)written;
    }
    return APR_SUCCESS;
}

static apr_status_t copy_file(int to, const char *path)
{
    /* A section of the file before must not go on in this one. */
    apr_status_t status = write_all(to, "\n[PHP]\n", 7);
    int from = open(path, O_RDONLY | O_CLOEXEC);
    size_t total = 0;
    char bytes[4096];
    ssize_t got = 1;

    if (from < 0) {
        return errno;
    }
    while (status == APR_SUCCESS && got > 0) {
        got = read(from, bytes, sizeof(bytes));
        if (got < 0) {
            status = errno;
        } else if ((total += (size_t)got) > FILE_SIZE_MAX) {
            status = EFBIG;
        } else {
            status = write_all(to, bytes, (size_t)got);
        }
    }
    close(from);
    return status;
}

apr_status_t fpd_sources_open(fpd_sources *sources, const fpd_plan_pool *plan, apr_pool_t *pool,
                              const char **reason)
{
    apr_array_header_t *files;
    apr_status_t status;
    int are_all = 0;
    int copy;

    if (plan->php_ini_ignore && plan->php_ini_path == NULL) {
        return APR_SUCCESS;
    }
    files = list_files(sources, pool);
    if (geteuid() != 0 || plan->uid <= 0) { /* PHP will read as we do */
        const char *file = find_unreadable(sources, files, pool);
        if (file != NULL) {
            status = errno;
            *reason = apr_psprintf(pool,
                                   "'%s' cannot be read by user %d: %s; PHP would run with its "
                                   "defaults: give that user the right to read it",
                                   file, (int)geteuid(), strerror(status));
            return status;
        }
        return APR_SUCCESS;
    }
    status = are_readable(sources, files, plan, pool, &are_all);
    if (status != APR_SUCCESS) {
        *reason = apr_psprintf(pool, "cannot look at php.ini as user %d: %s", plan->uid,
                               strerror(status));
        return status;
    }
    if (are_all) {
        return APR_SUCCESS;
    }
    copy = memfd_create("fpmpool-php-ini", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (copy < 0) {
        status = errno;
        *reason = apr_psprintf(pool, "memfd_create: %s", strerror(status));
        return status;
    }
    for (int i = 0; i < files->nelts; i++) {
        const char *file = APR_ARRAY_IDX(files, i, const char *);
        status = copy_file(copy, file);
        if (status != APR_SUCCESS) {
            *reason = apr_psprintf(pool, "cannot copy '%s' for user %d: %s", file, plan->uid,
                                   strerror(status));
            close(copy);
            return status;
        }
    }
    if (fcntl(copy, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        status = errno;
        *reason = apr_psprintf(pool, "cannot seal a copy of php.ini: %s", strerror(status));
        close(copy);
        return status;
    }
    fpd_log(FPD_LOG_NOTICE, "user %d cannot read all of PHP's ini files: PHP gets a copy",
            plan->uid);
    sources->ini = apr_psprintf(pool, "/proc/self/fd/%d", copy);
    sources->scan_dir = "";
    sources->copy = copy;
    return APR_SUCCESS;
}
