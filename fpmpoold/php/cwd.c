/* cwd.c - the working directory of scripts.
 *
 * Runs in workers. php-fpm pays one getcwd and two chdir for each request; a worker mostly runs
 * scripts of one directory.
 */
#include "php/cwd.h"

#include <string.h>
#include <unistd.h>

#include "base/loop.h"
#include "php.h"

#define TRUSTED_FOR 1000000 /* microseconds */

/* The process has one working directory. */
static struct {
    char directory[MAXPATHLEN]; /* "": not known */
    int64_t entered_at;
    zif_handler chdir_handler; /* what PHP's chdir() was */
} cwd;

static ZEND_FUNCTION(chdir_noticed)
{
    cwd.directory[0] = '\0';
    cwd.chdir_handler(INTERNAL_FUNCTION_PARAM_PASSTHRU);
}

void fpd_cwd_install(void)
{
    zend_function *function = zend_hash_str_find_ptr(CG(function_table), ZEND_STRL("chdir"));

    if (function != NULL && function->type == ZEND_INTERNAL_FUNCTION) {
        cwd.chdir_handler = function->internal_function.handler;
        function->internal_function.handler = ZEND_FN(chdir_noticed);
    }
}

void fpd_cwd_enter(const char *script)
{
    const char *slash = strrchr(script, '/');
    size_t length = slash == NULL ? 0 : (size_t)(slash - script);
    int64_t now;

    if (slash == NULL || length >= sizeof(cwd.directory)) {
        return;
    }
    if (length == 0) {
        length = 1;
    }
    now = fpd_monotonic_now();
    if (memcmp(cwd.directory, script, length) == 0 && cwd.directory[length] == '\0' &&
        now - cwd.entered_at < TRUSTED_FOR) {
        return;
    }
    memcpy(cwd.directory, script, length);
    cwd.directory[length] = '\0';
    cwd.entered_at = now;
    if (chdir(cwd.directory) != 0) {
        cwd.directory[0] = '\0';
    }
}
