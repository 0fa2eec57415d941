/* apparmor.c - reads and changes the AppArmor profile of this process.
 *
 * Runs in the pool process (reads) and in each worker before PHP does anything (changes). A kernel
 * with several security modules has a folder of its own for AppArmor; older ones one file for all.
 */
#include "base/apparmor.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "apr_strings.h"

#define PROFILE_MAX 4096 /* the kernel's limit is a page */

static int open_attribute(const char *folder, int flags, apr_pool_t *pool)
{
    int fd = open(apr_pstrcat(pool, folder, "/apparmor/current", NULL), flags | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT) {
        fd = open(apr_pstrcat(pool, folder, "/current", NULL), flags | O_CLOEXEC);
    }
    return fd;
}

/* "NAME (enforce)\n", "unconfined\n" */
static void cut_mode(char *text)
{
    size_t length = strlen(text);
    char *mode;

    if (length > 0 && text[length - 1] == '\n') {
        text[--length] = '\0';
    }
    mode = length > 0 && text[length - 1] == ')' ? strrchr(text, '(') : NULL;
    if (mode != NULL && mode > text && mode[-1] == ' ') {
        mode[-1] = '\0';
    }
}

apr_status_t fpd_apparmor_profile(const char **profile, const char **failure, const char *folder,
                                  apr_pool_t *pool)
{
    char *text = apr_pcalloc(pool, PROFILE_MAX + 1);
    int fd = open_attribute(folder, O_RDONLY, pool);
    ssize_t length = fd >= 0 ? read(fd, text, PROFILE_MAX) : -1;
    apr_status_t status = length < 0 ? errno : length == 0 ? ENODATA : APR_SUCCESS;

    if (fd >= 0) {
        close(fd);
    }
    if (status != APR_SUCCESS) {
        *failure = "failed to query apparmor confinement. Please check if \"/proc/*/attr/current\" "
                   "is read and writeable.";
        return status;
    }
    cut_mode(text);
    *profile = text;
    return APR_SUCCESS;
}

apr_status_t fpd_apparmor_enter(const char *hat, const char **failure, const char *folder,
                                apr_pool_t *pool)
{
    const char *profile;
    const char *order;
    ssize_t written;
    int fd;
    apr_status_t status = fpd_apparmor_profile(&profile, failure, folder, pool);

    if (status != APR_SUCCESS) {
        return status;
    }
    order = apr_pstrcat(pool, "changeprofile ", profile, "//", hat, NULL);
    fd = open_attribute(folder, O_WRONLY, pool);
    written = fd >= 0 ? write(fd, order, strlen(order)) : -1;
    status = written < 0 ? errno : written != (ssize_t)strlen(order) ? EIO : APR_SUCCESS;
    if (fd >= 0) {
        close(fd);
    }
    if (status != APR_SUCCESS) {
        *failure = apr_psprintf(
            pool,
            "failed to change to new confinement (%s//%s). Please check if "
            "\"/proc/*/attr/current\" is read and writeable and \"change_profile -> %s//*\" is "
            "allowed.",
            profile, hat, profile);
    }
    return status;
}
