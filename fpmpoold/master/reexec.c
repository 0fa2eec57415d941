/* reexec.c - finds this program's file and executes it again.
 *
 * Runs in the master and in the child that becomes a tester. It must not close, wait or decide.
 */
#include "master/reexec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apr_strings.h"
#include "base/log.h"

#define OPTION_TEST   "--reload-test="
#define OPTION_RESUME "--reload-resume="
#define ARGUMENT_MAX  64
#define SHOWN_MAX     10 /* arguments in the log, beside argv[0] */

/* ---- where it is -------------------------------------------------------------------------- */

static int is_running(const char *path)
{
    struct stat own;
    struct stat that;

    return stat("/proc/self/exe", &own) == 0 && stat(path, &that) == 0 &&
           own.st_dev == that.st_dev && own.st_ino == that.st_ino;
}

static const char *make_absolute(const char *path, apr_pool_t *pool)
{
    char directory[PATH_MAX];

    if (path[0] == '/' || getcwd(directory, sizeof(directory)) == NULL) {
        return path;
    }
    return apr_pstrcat(pool, directory, "/", path, NULL);
}

/* As execvp finds it. NULL: not there. */
static const char *find_in_path(const char *name, apr_pool_t *pool)
{
    const char *path = getenv("PATH");

    while (path != NULL && *path != '\0') {
        const char *colon = strchrnul(path, ':');
        const char *found = apr_psprintf(pool, "%.*s%s%s", (int)(colon - path), path,
                                         colon > path ? "/" : "./", name);
        if (is_running(found)) {
            return found;
        }
        path = *colon == ':' ? colon + 1 : NULL;
    }
    return NULL;
}

static const char *find_program(const char *name, apr_pool_t *pool)
{
    static const char deleted[] = " (deleted)";
    const char *found = strchr(name, '/') != NULL ? name : find_in_path(name, pool);
    char own[PATH_MAX];
    ssize_t length;

    if (found != NULL && is_running(found)) {
        return make_absolute(found, pool);
    }
    length = readlink("/proc/self/exe", own, sizeof(own) - 1);
    if (length <= 0) {
        return make_absolute(name, pool);
    }
    own[length] = '\0';
    if ((size_t)length > strlen(deleted) && strcmp(own + length - strlen(deleted), deleted) == 0 &&
        access(own, F_OK) != 0) {
        own[length - (ssize_t)strlen(deleted)] = '\0';
    }
    return apr_pstrdup(pool, own);
}

/* ---- arguments ---------------------------------------------------------------------------- */

static int is_memfd(int fd)
{
    return fd > STDERR_FILENO && fcntl(fd, F_GET_SEALS) >= 0;
}

/* Does argv[1] send us on an errand, with descriptors that are what they should be? */
static int take_errand(fpd_reexec *self, const char *argument)
{
    int state = -1;
    int verdict = -1;

    if (sscanf(argument, OPTION_RESUME "%d", &state) == 1 && is_memfd(state)) {
        self->errand = FPD_REEXEC_RESUME;
    } else if (sscanf(argument, OPTION_TEST "%d,%d", &state, &verdict) == 2 && is_memfd(state) &&
               is_memfd(verdict)) {
        self->errand = FPD_REEXEC_TEST;
        self->verdict_fd = verdict;
        (void)fcntl(verdict, F_SETFD, FD_CLOEXEC);
    } else {
        return 0;
    }
    self->state_fd = state;
    (void)fcntl(state, F_SETFD, FD_CLOEXEC);
    return 1;
}

void fpd_reexec_prepare(fpd_reexec *self, int *argc, char **argv, apr_pool_t *pool)
{
    const char **copy;

    memset(self, 0, sizeof(*self));
    self->state_fd = self->verdict_fd = -1;
    if (*argc > 1 && take_errand(self, argv[1])) {
        memmove(&argv[1], &argv[2], (size_t)(*argc - 1) * sizeof(*argv)); /* with the NULL */
        (*argc)--;
    }
    copy = apr_pcalloc(pool, ((size_t)*argc + 1) * sizeof(*copy));
    memcpy(copy, argv, (size_t)*argc * sizeof(*copy));
    self->argv = copy;
    self->program = find_program(*argc > 0 ? argv[0] : "", pool);
}

static void become(const fpd_reexec *self, const char *private_argument)
{
    size_t count = 0;
    char **argv;

    while (self->argv[count] != NULL) {
        count++;
    }
    argv = calloc(count + 2, sizeof(*argv));
    if (argv == NULL) {
        return;
    }
    argv[0] = (char *)(size_t)self->argv[0];
    argv[1] = (char *)(size_t)private_argument;
    memcpy(&argv[2], &self->argv[1], (count - 1) * sizeof(*argv));
    (void)execv(self->program, argv);
    free(argv);
}

/* ---- errands ------------------------------------------------------------------------------ */

int fpd_reexec_look(const fpd_reexec *self, fpd_reexec_stamp *stamp)
{
    struct stat about;

    memset(stamp, 0, sizeof(*stamp));
    if (stat(self->program, &about) != 0) {
        return 0;
    }
    stamp->device = about.st_dev;
    stamp->inode = about.st_ino;
    stamp->size = about.st_size;
    stamp->changed = about.st_mtim;
    return 1;
}

int fpd_reexec_is_same(const fpd_reexec_stamp *left, const fpd_reexec_stamp *right)
{
    return left->device == right->device && left->inode == right->inode &&
           left->size == right->size && left->changed.tv_sec == right->changed.tv_sec &&
           left->changed.tv_nsec == right->changed.tv_nsec;
}

int fpd_reexec_become_test(const fpd_reexec *self, int state_fd, int verdict_fd)
{
    char argument[ARGUMENT_MAX];

    apr_snprintf(argument, sizeof(argument), OPTION_TEST "%d,%d", state_fd, verdict_fd);
    if (fcntl(state_fd, F_SETFD, 0) == 0 && fcntl(verdict_fd, F_SETFD, 0) == 0) {
        become(self, argument);
    }
    return errno;
}

static void say_exec(const fpd_reexec *self)
{
    char list[FPD_LOG_MAX] = "";
    size_t used = 0;

    for (int i = 0; self->argv[i] != NULL && i <= SHOWN_MAX && used < sizeof(list); i++) {
        int more = snprintf(list + used, sizeof(list) - used, "%s\"%s\"", i > 0 ? ", " : "",
                            self->argv[i]);
        used += more > 0 ? (size_t)more : 0;
    }
    fpd_log(FPD_LOG_NOTICE, "reloading: execvp(\"%s\", {%s})", self->argv[0], list);
}

static void set_flags(const apr_array_header_t *descriptors, int flags)
{
    for (int i = 0; i < descriptors->nelts; i++) {
        (void)fcntl(APR_ARRAY_IDX(descriptors, i, int), F_SETFD, flags);
    }
}

apr_status_t fpd_reexec_resume(const fpd_reexec *self, int state_fd,
                               const apr_array_header_t *descriptors)
{
    char argument[ARGUMENT_MAX];
    sigset_t all;
    sigset_t before;
    int error;

    say_exec(self);
    apr_snprintf(argument, sizeof(argument), OPTION_RESUME "%d", state_fd);
    sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &before);
    set_flags(descriptors, 0);
    (void)fcntl(state_fd, F_SETFD, 0);
    become(self, argument);
    error = errno;
    set_flags(descriptors, FD_CLOEXEC);
    (void)fcntl(state_fd, F_SETFD, FD_CLOEXEC);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    fpd_log_errno(
        FPD_LOG_ERROR, error,
        "failed to reload: execvp() failed for '%s'; this process goes on and applies the "
        "new configuration itself",
        self->program);
    return error;
}
