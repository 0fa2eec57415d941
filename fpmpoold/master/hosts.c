/* hosts.c - finds interpreter hosts on disk. Runs in the master. */
#include "master/hosts.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apr_strings.h"

#ifndef FPD_LIBEXECDIR
#define FPD_LIBEXECDIR "/usr/local/libexec/fpmpool"
#endif
#ifndef FPD_DEFAULT_PHP
#define FPD_DEFAULT_PHP "8.2"
#endif

const char *const *fpd_hosts_directories(apr_pool_t *pool)
{
    const char **directories = apr_pcalloc(pool, 3 * sizeof(*directories));
    char own[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", own, sizeof(own) - 1);
    int count = 0;

    if (length > 0) {
        own[length] = '\0';
        *strrchr(own, '/') = '\0';
        directories[count++] = apr_pstrdup(pool, own);
    }
    directories[count] = FPD_LIBEXECDIR;
    return directories;
}

int fpd_hosts_find(char *path, size_t size, const char *const *directories, const char *version)
{
    for (; *directories != NULL; directories++) {
        int length = snprintf(path, size, "%s/fpmpool-php%s", *directories,
                              version != NULL ? version : FPD_DEFAULT_PHP);
        if (length > 0 && (size_t)length < size && access(path, X_OK) == 0) {
            return 1;
        }
    }
    return 0;
}

void fpd_hosts_add_ini_options(apr_array_header_t *argv, const fpd_conf_options *options,
                               apr_pool_t *pool)
{
    if (options->php_ini_path != NULL) {
        APR_ARRAY_PUSH(argv, const char *) = "-c";
        APR_ARRAY_PUSH(argv, const char *) = options->php_ini_path;
    }
    if (options->php_ini_ignore) {
        APR_ARRAY_PUSH(argv, const char *) = "-n";
    }
    for (int i = 0; i < options->defines->nelts; i++) {
        APR_ARRAY_PUSH(argv, const char *) = "-d";
        APR_ARRAY_PUSH(argv, const char *) =
            apr_pstrdup(pool, APR_ARRAY_IDX(options->defines, i, const char *));
    }
}

void fpd_hosts_clean_environment(void)
{
    static const char *const names[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
                                        "LISTEN_FDS",    "LISTEN_PID",    "LISTEN_FDNAMES"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        unsetenv(names[i]);
    }
}

const char *fpd_hosts_default_version(void)
{
    return FPD_DEFAULT_PHP;
}
