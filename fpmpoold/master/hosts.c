/* hosts.c - finds interpreter hosts on disk. Runs in the master. */
#include "master/hosts.h"

#include <limits.h>
#include <stdio.h>
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

const char *fpd_hosts_default_version(void)
{
    return FPD_DEFAULT_PHP;
}
