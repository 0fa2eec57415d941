/* host.c - main of fpmpool-php<version>, the interpreter host.
 *
 * It becomes a pool process: does what needs root, drops root, starts PHP, runs the pool
 * (lifecycle.md 1). It also answers -v, -m, -i, --api and --constants, and serves 503 for a pool
 * that cannot start (--answer). It must not read anything of a client before root is dropped.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "apr_general.h"
#include "apr_strings.h"
#include "base/apparmor.h"
#include "base/channel.h"
#include "base/log.h"
#include "base/log_file.h"
#include "base/priv.h"
#include "base/title.h"
#include "php/start.h"
#include "pool/chroot.h"
#include "pool/pool.h"
#include "worker/worker.h"

#define EXIT_USAGE  64
#define EXIT_FAILED 70
#define NOBODY      65534

typedef struct host {
    apr_pool_t *memory;
    fpd_plan_pool *plan;
    fpd_pool_setup setup;
} host;

/* ---- failing ------------------------------------------------------------------------------ */

/* The master logs the reason and decides when to try again. */
static int report_failure(const char *reason)
{
    size_t length = strlen(reason);

    if (length > FPD_LOG_MAX) {
        length = FPD_LOG_MAX;
    }
    if (fpd_channel_send(FPD_FD_CHANNEL, FPD_MESSAGE_FAILED, reason, length, NULL, 0, NULL, 0, 0) !=
        APR_SUCCESS) {
        (void)fprintf(stderr, "%s\n", reason);
    }
    return EXIT_FAILED;
}

static int report_error(host *self, const char *what, int error)
{
    char text[256];

    apr_strerror(error, text, sizeof(text));
    return report_failure(apr_psprintf(self->memory, "%s: %s (%d)", what, text, error));
}

/* ---- as root ------------------------------------------------------------------------------ */

static int is_listening(int fd)
{
    int answer = 0;
    socklen_t size = sizeof(answer);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &answer, &size) == 0 && answer;
}

static int take_descriptors(host *self)
{
    fpd_pool_setup *setup = &self->setup;
    apr_status_t status;

    for (int fd = FPD_FD_CHANNEL; fd < FPD_FD_FIRST_FREE; fd++) {
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
            (void)fprintf(stderr,
                          "descriptor %d is not open: this program is started by fpmpoold\n", fd);
            return EXIT_USAGE;
        }
    }
    fpd_log_to_datagrams(FPD_FD_LOG);
    status = fpd_plan_pool_read(&self->plan, FPD_FD_PLAN, self->memory);
    if (status != APR_SUCCESS) {
        return report_error(self, "cannot read the plan of the pool", status);
    }
    fpd_log_set_level((fpd_log_level)self->plan->log_level);
    if (self->plan->unknown != NULL) {
        fpd_log(FPD_LOG_WARNING,
                "this interpreter host is older than fpmpoold: it does not know '%s' and serves "
                "without it; install both of one version",
                self->plan->unknown);
    }
    status = fpd_board_map(&setup->board, FPD_FD_BOARD, 1, self->memory);
    if (status != APR_SUCCESS) {
        return report_error(self, "cannot map the board of the pool", status);
    }
    close(FPD_FD_PLAN);
    close(FPD_FD_BOARD);
    setup->plan = self->plan;
    setup->master = FPD_FD_CHANNEL;
    setup->log = FPD_FD_LOG;
    setup->listener = FPD_FD_LISTENER;
    setup->status_listener = is_listening(FPD_FD_STATUS) ? FPD_FD_STATUS : -1;
    setup->access_log = -1;
    setup->slow_log = -1;
    setup->run_worker = fpd_worker_run;
    return 0;
}

/* The pool process may use what the hard limit allows; workers get what the plan says, or what was
 * usual before. php-fpm's rule: a limit that cannot be set is logged, not fatal. */
static void set_limits(host *self)
{
    struct rlimit limit;
    int wanted = self->plan->rlimit_files;

    if (wanted > 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < (rlim_t)wanted) {
        limit.rlim_max = (rlim_t)wanted;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
            fpd_log_errno(FPD_LOG_ERROR, errno,
                          "failed to set rlimit_files for this pool. Please check your system "
                          "limits or decrease rlimit_files. setrlimit(RLIMIT_NOFILE, %d)",
                          wanted);
            wanted = 0;
        }
    }
    self->setup.file_limit = fpd_priv_raise_files();
    if (wanted > 0) {
        self->setup.file_limit = wanted;
    }
    if (fpd_priv_limit_core(self->plan->rlimit_core) != APR_SUCCESS) {
        fpd_log_errno(FPD_LOG_ERROR, errno,
                      "failed to set rlimit_core for this pool. Please check your system limits or "
                      "decrease rlimit_core. setrlimit(RLIMIT_CORE, %d)",
                      self->plan->rlimit_core);
    }
    if (self->plan->process_priority != FPD_PLAN_UNSET && geteuid() == 0 &&
        setpriority(PRIO_PROCESS, 0, self->plan->process_priority) != 0) {
        fpd_log_errno(FPD_LOG_ERROR, errno,
                      "Unable to set priority for this new process (process.priority = %d)",
                      self->plan->process_priority);
    }
}

/* Containers name their own standard streams as log files; those are links that O_NOFOLLOW would
 * refuse, so they are recognized by name. */
static int open_log(const char *path)
{
    if (strcmp(path, "/dev/stderr") == 0 || strcmp(path, "/proc/self/fd/2") == 0 ||
        strcmp(path, "/dev/stdout") == 0 || strcmp(path, "/proc/self/fd/1") == 0) {
        int own = fpd_log_file_open_again(STDERR_FILENO);
        return own >= 0 ? own : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, FPD_FD_FIRST_FREE);
    }
    return fpd_log_file_open(path, O_NOFOLLOW);
}

static int open_logs(host *self)
{
    const fpd_plan_pool *plan = self->plan;

    if (plan->access_log != NULL) {
        self->setup.access_log = open_log(plan->access_log);
        if (self->setup.access_log < 0) {
            return report_error(
                self,
                apr_pstrcat(self->memory, "cannot open access.log '", plan->access_log, "'", NULL),
                errno);
        }
    }
    if (plan->slowlog != NULL && plan->request_slowlog_timeout > 0) {
        self->setup.slow_log = open_log(plan->slowlog);
        if (self->setup.slow_log < 0) {
            return report_error(
                self, apr_pstrcat(self->memory, "cannot open slowlog '", plan->slowlog, "'", NULL),
                errno);
        }
    }
    return 0;
}

static int drop_root(host *self, uid_t uid, gid_t gid, const char *user_name, int keeps_chroot)
{
    fpd_priv_failure failure = {.step = "", .error = 0};
    apr_status_t status = keeps_chroot ? fpd_chroot_prepare(&failure) : APR_SUCCESS;

    if (status == APR_SUCCESS) {
        status = fpd_priv_drop(uid, gid, user_name, &failure);
    }
    if (status == APR_SUCCESS && keeps_chroot) {
        status = fpd_chroot_shrink(&failure);
    }
    if (status != APR_SUCCESS) {
        return report_error(self,
                            apr_psprintf(self->memory, "%s to uid %d, gid %d failed", failure.step,
                                         (int)uid, (int)gid),
                            failure.error);
    }
    return 0;
}

/* ---- as the pool's user ------------------------------------------------------------------- */

static int enter_directories(host *self, int has_chroot)
{
    const fpd_plan_pool *plan = self->plan;
    fpd_priv_failure failure;

    if (has_chroot && fpd_chroot_enter(plan->chroot, &failure) != APR_SUCCESS) {
        return report_error(self,
                            apr_psprintf(self->memory, "entering chroot '%s' failed at %s",
                                         plan->chroot, failure.step),
                            failure.error);
    }
    if (plan->chdir != NULL && chdir(plan->chdir) != 0) {
        return report_error(self, apr_pstrcat(self->memory, "chdir to '", plan->chdir, "'", NULL),
                            errno);
    }
    if (prctl(PR_SET_DUMPABLE, plan->process_dumpable ? 1L : 0L, 0L, 0L, 0L) != 0) {
        return report_error(self, "prctl(PR_SET_DUMPABLE)", errno);
    }
    return 0;
}

/* Workers go into the hat; a kernel without AppArmor is told once, here, and not by each of them.
 */
static int check_hat(host *self)
{
    const char *profile;
    const char *failure;
    apr_status_t status;

    if (self->plan->apparmor_hat == NULL) {
        return 0;
    }
    status = fpd_apparmor_profile(&profile, &failure, FPD_APPARMOR_FOLDER, self->memory);
    if (status == APR_SUCCESS) {
        return 0;
    }
    return report_error(self,
                        apr_pstrcat(self->memory, "apparmor_hat = ", self->plan->apparmor_hat, ": ",
                                    failure,
                                    " Is AppArmor switched on in this kernel, and /proc in the "
                                    "pool's chroot? If not, remove 'apparmor_hat'",
                                    NULL),
                        status);
}

static int run(host *self)
{
    fpd_pool *pool;
    apr_status_t status = fpd_pool_create(&pool, &self->setup, self->memory);

    if (status != APR_SUCCESS) {
        return report_error(self, "cannot make the pool process", status);
    }
    return fpd_pool_run(pool);
}

static void name_process(host *self)
{
    /* Ctrl-C on the master's terminal is for the master; fails harmlessly for a session leader */
    (void)setsid();
    fpd_title_set("fpmpool-php%s: %s", fpd_start_version(), self->plan->name);
}

static int run_pool(host *self)
{
    int failed = take_descriptors(self);
    const char *reason = "unknown reason";
    const fpd_plan_pool *plan;
    int has_chroot;

    if (failed) {
        return failed;
    }
    plan = self->plan;
    name_process(self);
    if (plan->failure != NULL) {
        return report_failure(plan->failure);
    }
    has_chroot = plan->chroot != NULL && geteuid() == 0;
    set_limits(self);
    failed = open_logs(self);
    if (failed) {
        return failed;
    }
    if (fpd_start_prepare(plan, self->memory, &reason) != APR_SUCCESS) {
        return report_failure(reason);
    }
    failed = drop_root(self, (uid_t)plan->uid, (gid_t)plan->gid, plan->user_name,
                       has_chroot && plan->uid > 0);
    if (failed) {
        return failed;
    }
    if (fpd_start_php(plan, self->memory, &reason) != APR_SUCCESS) {
        return report_failure(reason);
    }
    failed = enter_directories(self, has_chroot);
    if (!failed) {
        failed = check_hat(self);
    }
    if (!failed) {
        failed = run(self);
        fpd_start_stop();
    }
    return failed;
}

static void find_nobody(int32_t *uid, int32_t *gid)
{
    const struct passwd *nobody = getpwnam("nobody");

    *uid = nobody != NULL ? (int32_t)nobody->pw_uid : NOBODY;
    *gid = nobody != NULL ? (int32_t)nobody->pw_gid : NOBODY;
}

/* Serves 503 with the reason. No PHP; the pool's user if there is one, else nobody. */
static int run_answer(host *self, const char *reason)
{
    int failed = take_descriptors(self);
    int32_t uid;
    int32_t gid;

    if (failed) {
        return failed;
    }
    name_process(self);
    self->setup.refusal = reason;
    set_limits(self);
    uid = self->plan->uid;
    gid = self->plan->gid;
    if (geteuid() == 0 && (uid <= 0 || gid < 0)) {
        find_nobody(&uid, &gid);
    }
    failed = drop_root(self, (uid_t)uid, (gid_t)gid, NULL, 0);
    return failed ? failed : run(self);
}

/* ---- command line ------------------------------------------------------------------------- */

static int usage(FILE *to, const char *name)
{
    (void)fprintf(to,
                  "Usage: %s --pool | --answer REASON   (started by fpmpoold, not by hand)\n"
                  "       %s -v | -m | -i [-c PATH] [-n] [-d KEY[=VALUE]]...\n"
                  "       %s --constants [-c PATH] [-n] [-d KEY[=VALUE]]...   (on descriptor 3)\n"
                  "       %s --api\n",
                  name, name, name, name);
    return EXIT_USAGE;
}

/* -c, -n and -d into a plan; any other option comes back in *what. 0: bad usage. */
static int read_ini_options(host *self, int argc, char **argv, char *what)
{
    int option;

    self->plan = fpd_plan_pool_create(self->memory);
    while ((option = getopt(argc, argv, "vmic:nd:")) != -1) {
        switch (option) {
        case 'c':
            self->plan->php_ini_path = optarg;
            break;
        case 'n':
            self->plan->php_ini_ignore = 1;
            break;
        case 'd':
            APR_ARRAY_PUSH(self->plan->defines, const char *) =
                strchr(optarg, '=') != NULL ? optarg
                                            : apr_pstrcat(self->memory, optarg, "=1", NULL);
            break;
        case '?':
            return 0;
        default:
            *what = (char)option;
        }
    }
    return optind == argc;
}

static int print_answer(host *self, int argc, char **argv)
{
    char what = '\0';

    if (!read_ini_options(self, argc, argv, &what) || what == '\0') {
        return usage(stderr, argv[0]);
    }
    return fpd_start_print(what, self->plan, self->memory);
}

/* What configuration files may name, for the master (master/known.c): as nobody, without preload.
 */
static int tell_constants(host *self, int argc, char **argv)
{
    const char *reason = "unknown reason";
    char what = '\0';

    if (!read_ini_options(self, argc, argv, &what) || what != '\0') {
        return usage(stderr, "fpmpool-php");
    }
    APR_ARRAY_PUSH(self->plan->defines, const char *) = "opcache.preload=\"\"";
    self->plan->clear_env = 0;
    if (geteuid() == 0) {
        find_nobody(&self->plan->uid, &self->plan->gid);
    }
    if (fpd_start_prepare(self->plan, self->memory, &reason) != APR_SUCCESS) {
        (void)fprintf(stderr, "%s\n", reason);
        return EXIT_FAILED;
    }
    if (geteuid() == 0 &&
        drop_root(self, (uid_t)self->plan->uid, (gid_t)self->plan->gid, NULL, 0)) {
        return EXIT_FAILED;
    }
    return fpd_start_tell(FPD_FD_ANSWER, self->plan, self->memory);
}

int main(int argc, char **argv)
{
    host self = {.plan = NULL};

    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&self.memory, NULL) != APR_SUCCESS) {
        (void)fprintf(stderr, "cannot start: APR does not initialize\n");
        return EXIT_FAILED;
    }
    fpd_title_prepare(argc, argv, self.memory);
    if (argc == 2 && strcmp(argv[1], "--pool") == 0) {
        return run_pool(&self);
    }
    if (argc == 3 && strcmp(argv[1], "--answer") == 0) {
        return run_answer(&self, argv[2]);
    }
    if (argc == 2 && strcmp(argv[1], "--api") == 0) {
        return printf("%s\n", fpd_start_version()) < 0 ? EXIT_FAILED : 0;
    }
    if (argc >= 2 && strcmp(argv[1], "--constants") == 0) {
        return tell_constants(&self, argc - 1, argv + 1);
    }
    return print_answer(&self, argc, argv);
}
