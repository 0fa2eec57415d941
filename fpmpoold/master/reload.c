/* reload.c - a child runs the program that is on disk, which tests; the master reads its verdict.
 *
 * A file that makes the reader crash or hang, and a program that is broken, then cost a child, not
 * the daemon.
 */
#include "master/reload.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apr_strings.h"
#include "base/log.h"
#include "master/known.h"
#include "master/logs.h"
#include "master/state.h"

#define WORDS_MAX 4096 /* bytes of what the child printed that are told */

/* ---- the tester --------------------------------------------------------------------------- */

/* NULL, or why this program could not go on where the master is. */
static const char *try_state(int fd, apr_pool_t *pool)
{
    char reason[128];
    fpd_state *state;
    apr_status_t status = fpd_state_read(&state, fd, pool);

    if (status != APR_SUCCESS) {
        return apr_psprintf(pool, "it cannot read the state of the running daemon: %s",
                            status == APR_EGENERAL ? "another format"
                                                   : apr_strerror(status, reason, sizeof(reason)));
    }
    return state->pid == (int32_t)getppid() ? NULL : "the state is another process's";
}

/* Where relative paths begin is where the daemon was started. */
static void look_at_directory(apr_array_header_t *messages)
{
    char directory[PATH_MAX];
    fpd_conf_message *message;

    if (getcwd(directory, sizeof(directory)) != NULL) {
        return;
    }
    message = apr_array_push(messages);
    memset(message, 0, sizeof(*message));
    message->severity = FPD_CONF_ERROR;
    message->text = "the directory in which fpmpoold was started is gone, and with it everything "
                    "that a relative path names: start it again with absolute paths";
}

int fpd_reload_test(const fpd_argv *arguments, apr_pool_t *pool)
{
    fpd_conf_options options = arguments->options;
    fpd_verdict verdict;

    fpd_verdict_clear(&verdict, pool);
    options.ask = fpd_known_ask;
    options.ask_context = fpd_known_create(&arguments->options, pool);
    if (fpd_conf_load(&verdict.conf, &verdict.messages, &options, pool) != APR_SUCCESS) {
        verdict.conf = NULL;
        look_at_directory(verdict.messages);
    }
    verdict.version = FPD_VERSION;
    verdict.refusal = try_state(arguments->self.state_fd, pool);
    return fpd_verdict_write(&verdict, arguments->self.verdict_fd, pool) == APR_SUCCESS ? 0 : 1;
}

/* In the forked child: never returns. What it allocates is left to the kernel. */
static void become_tester(const fpd_reload *reload, const fpd_reexec *self, int state_fd)
{
    fpd_verdict verdict;
    apr_pool_t *pool;
    sigset_t none;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (apr_pool_create(&pool, NULL) != APR_SUCCESS || dup2(reload->words_fd, STDOUT_FILENO) < 0 ||
        dup2(reload->words_fd, STDERR_FILENO) < 0) {
        _exit(1);
    }
    fpd_verdict_clear(&verdict, pool);
    verdict.exec_error = fpd_reexec_become_test(self, state_fd, reload->verdict_fd);
    (void)fpd_verdict_write(&verdict, reload->verdict_fd, pool);
    _exit(127);
}

/* ---- the master --------------------------------------------------------------------------- */

void fpd_reload_close(fpd_reload *reload)
{
    if (reload->verdict_fd >= 0) {
        close(reload->verdict_fd);
        reload->verdict_fd = -1;
    }
}

apr_status_t fpd_reload_begin(fpd_reload *reload, const fpd_reexec *self, int state_fd)
{
    int error;

    reload->is_late = 0;
    (void)fpd_reexec_look(self, &reload->stamp);
    reload->verdict_fd = memfd_create("fpmpool-verdict", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (reload->verdict_fd < 0) {
        return errno;
    }
    reload->words_fd = memfd_create("fpmpool-words", MFD_CLOEXEC);
    reload->pid = reload->words_fd < 0 ? -1 : fork();
    if (reload->pid == 0) {
        become_tester(reload, self, state_fd);
    }
    if (reload->pid > 0) {
        return APR_SUCCESS;
    }
    error = errno;
    if (reload->words_fd >= 0) {
        close(reload->words_fd);
    }
    fpd_reload_close(reload);
    reload->pid = 0;
    return error;
}

void fpd_reload_give_up(fpd_reload *reload)
{
    if (reload->pid > 0) {
        reload->is_late = 1;
        (void)kill(reload->pid, SIGKILL);
    }
}

/* What the loader, a sanitizer or the program itself printed. */
static void say_words(const fpd_reload *reload, const fpd_reexec *self)
{
    char words[WORDS_MAX + 1];
    ssize_t length = pread(reload->words_fd, words, WORDS_MAX, 0);
    char *next = words;

    words[length > 0 ? length : 0] = '\0';
    while (*next != '\0') {
        char *line = strsep(&next, "\n");
        if (*line != '\0') {
            fpd_log(FPD_LOG_WARNING, "reload: %s said: \"%s\"", self->program, line);
        }
        if (next == NULL) {
            break;
        }
    }
}

/* Why there is no new configuration. */
static void say_failure(const fpd_reload *reload, const fpd_reexec *self, int wait_status,
                        const fpd_verdict *verdict, int has_verdict)
{
    if (reload->is_late) {
        fpd_log(FPD_LOG_ERROR,
                "reload: %s did not test the configuration within %d seconds and was killed, the "
                "old configuration serves on (run it with -t and see what it waits for: an "
                "include, the user database)",
                self->program, FPD_RELOAD_PATIENCE);
    } else if (verdict->exec_error != 0) {
        fpd_log_errno(
            FPD_LOG_ERROR, verdict->exec_error,
            "reload: cannot run %s, the old configuration serves on (install fpmpoold there again)",
            self->program);
    } else if (WIFSIGNALED(wait_status)) {
        fpd_log(FPD_LOG_ERROR,
                "reload: %s ended on signal %d (SIG%s) while it tested the configuration, the old "
                "configuration serves on (run it with -t)",
                self->program, WTERMSIG(wait_status), sigabbrev_np(WTERMSIG(wait_status)));
    } else if (!has_verdict) {
        fpd_log(FPD_LOG_ERROR,
                "reload: %s ended with code %d and gave no verdict on the configuration, the old "
                "configuration serves on (is it an fpmpoold that can reload? run it with -t, "
                "install it again)",
                self->program, WEXITSTATUS(wait_status));
    } else {
        fpd_log(FPD_LOG_ERROR,
                "reload: the new configuration has errors, the old one serves on (test it with "
                "fpmpoold -t)");
    }
}

void fpd_reload_end(fpd_reload *reload, const fpd_reexec *self, int wait_status,
                    fpd_verdict *verdict, apr_pool_t *pool)
{
    apr_pool_t *scratch;
    int has_verdict = 0;

    fpd_verdict_clear(verdict, pool);
    if (apr_pool_create(&scratch, pool) == APR_SUCCESS) {
        has_verdict = fpd_verdict_read(verdict, reload->verdict_fd, pool, scratch) == APR_SUCCESS;
        apr_pool_destroy(scratch);
    }
    if (!WIFEXITED(wait_status) || WEXITSTATUS(wait_status) != 0) {
        verdict->conf = NULL;
    }
    say_words(reload, self);
    fpd_logs_say(verdict->messages);
    if (verdict->conf == NULL) {
        say_failure(reload, self, wait_status, verdict, has_verdict);
    }
    close(reload->words_fd);
    reload->pid = 0;
}
