/* known.c - asks an interpreter host what it knows, and keeps the answer for one load.
 *
 * Runs in the master before it has pools, or in the child that tests a configuration. PHP's
 * extensions have run in whatever answers, so every byte of the answer is checked.
 */
#include "master/known.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apr_hash.h"
#include "apr_strings.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/plan_format.h"
#include "master/hosts.h"

#define ANSWER_MAX (8 * 1024 * 1024)
#define WORDS_MAX  1000     /* bytes of the child's own messages that are kept */
#define PATIENCE   10000000 /* microseconds */
#define FD_BASE    16       /* above every descriptor that the child keeps */

struct fpd_known {
    apr_pool_t *pool;
    const fpd_conf_options *options;
    int was_asked;
    const char *failure; /* NULL: the tables are good */
    apr_hash_t *constants;
    apr_hash_t *settings;
};

/* Bytes that grow; size is their bound. */
typedef struct answer {
    int fd; /* -1: at its end */
    char *bytes;
    size_t length;
    size_t capacity;
    size_t limit;
} answer;

fpd_known *fpd_known_create(const fpd_conf_options *options, apr_pool_t *pool)
{
    fpd_known *known = apr_pcalloc(pool, sizeof(*known));

    known->pool = pool;
    known->options = options;
    known->constants = apr_hash_make(pool);
    known->settings = apr_hash_make(pool);
    return known;
}

/* ---- the child ---------------------------------------------------------------------------- */

static char *const *make_argv(const fpd_known *known, const char *program)
{
    const fpd_conf_options *options = known->options;
    apr_array_header_t *argv = apr_array_make(known->pool, 8, sizeof(const char *));

    APR_ARRAY_PUSH(argv, const char *) = program;
    APR_ARRAY_PUSH(argv, const char *) = "--constants";
    fpd_hosts_add_ini_options(argv, options, known->pool);
    APR_ARRAY_PUSH(argv, const char *) = NULL;
    return (char *const *)argv->elts;
}

static void become_child(const char *program, char *const *argv, int answer_fd, int words_fd)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int sources[] = {null, words_fd, words_fd, answer_fd};
    sigset_t none;

    for (int number = 1; number < NSIG; number++) {
        (void)sigaction(number, &standard, NULL);
    }
    sigemptyset(&none);
    fpd_hosts_clean_environment();
    for (int i = 0; i <= FPD_FD_ANSWER; i++) {
        sources[i] = fcntl(sources[i], F_DUPFD_CLOEXEC, FD_BASE);
    }
    for (int i = 0; i <= FPD_FD_ANSWER; i++) {
        if (sources[i] < 0 || dup2(sources[i], i) < 0) {
            _exit(126);
        }
    }
    if (close_range(FPD_FD_ANSWER + 1, ~0u, 0) == 0 && sigprocmask(SIG_SETMASK, &none, NULL) == 0) {
        (void)execv(program, argv);
    }
    _exit(127);
}

/* ---- its answer --------------------------------------------------------------------------- */

/* Reads what is there; 0 when it is more than was bargained for. */
static int take_bytes(answer *from, apr_pool_t *pool)
{
    char bytes[16384];
    ssize_t got = read(from->fd, bytes, sizeof(bytes));

    if (got < 0) {
        return errno == EINTR || errno == EAGAIN;
    }
    if (got == 0) {
        close(from->fd);
        from->fd = -1;
        return 1;
    }
    if (from->length + (size_t)got > from->limit) {
        return from->limit == WORDS_MAX; /* too many words: the first ones say it */
    }
    if (from->length + (size_t)got > from->capacity) {
        size_t capacity = (from->length + (size_t)got) * 2;
        char *grown = apr_palloc(pool, capacity);
        if (from->length > 0) {
            memcpy(grown, from->bytes, from->length);
        }
        from->bytes = grown;
        from->capacity = capacity;
    }
    memcpy(from->bytes + from->length, bytes, (size_t)got);
    from->length += (size_t)got;
    return 1;
}

/* Until both are at their end. NULL, or what went wrong. */
static const char *read_both(answer *data, answer *words, apr_pool_t *pool)
{
    int64_t limit = fpd_monotonic_now() + PATIENCE;

    while (data->fd >= 0 || words->fd >= 0) {
        struct pollfd waited[] = {{data->fd, POLLIN, 0}, {words->fd, POLLIN, 0}};
        int64_t left = limit - fpd_monotonic_now();
        int ready = left > 0 ? poll(waited, 2, (int)(left / 1000) + 1) : 0;
        if (ready < 0 && errno != EINTR) {
            return strerror(errno);
        }
        if (ready == 0) {
            return "it does not answer";
        }
        if (ready > 0 && ((waited[0].revents != 0 && !take_bytes(data, pool)) ||
                          (waited[1].revents != 0 && !take_bytes(words, pool)))) {
            return "its answer is too long";
        }
    }
    return NULL;
}

static const char *take_word(const char **at, const char *end)
{
    const char *word = *at;
    const char *stop = memchr(word, '\0', (size_t)(end - word));

    *at = stop != NULL ? stop + 1 : end;
    return stop != NULL ? word : NULL;
}

static int read_tables(fpd_known *known, const answer *data)
{
    const char *at = data->bytes;
    const char *end = data->bytes + data->length;

    while (at < end) {
        char kind = *at++;
        const char *name;
        const char *value;
        if (kind == 'e') {
            return at == end;
        }
        name = take_word(&at, end);
        value = take_word(&at, end);
        if ((kind != 'c' && kind != 's') || name == NULL || value == NULL) {
            return 0;
        }
        apr_hash_set(kind == 'c' ? known->constants : known->settings, name, APR_HASH_KEY_STRING,
                     value);
    }
    return 0;
}

static const char *first_line(const answer *words, apr_pool_t *pool)
{
    size_t length = words->length;
    const char *stop = length > 0 ? memchr(words->bytes, '\n', length) : NULL;

    if (stop != NULL) {
        length = (size_t)(stop - words->bytes);
    }
    return length > 0 ? apr_pstrmemdup(pool, words->bytes, length) : "it said nothing";
}

static const char *finish(fpd_known *known, pid_t pid, int data_fd, int words_fd)
{
    answer data = {data_fd, NULL, 0, 0, ANSWER_MAX};
    answer words = {words_fd, NULL, 0, 0, WORDS_MAX};
    const char *failure = read_both(&data, &words, known->pool);
    int status = 0;

    if (data.fd >= 0) {
        close(data.fd);
    }
    if (words.fd >= 0) {
        close(words.fd);
    }
    if (failure != NULL) {
        (void)kill(pid, SIGKILL);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (failure != NULL) {
        return failure;
    }
    if (status != 0 || !read_tables(known, &data)) {
        return apr_psprintf(known->pool, "it ended with status %d: %s",
                            WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
                            first_line(&words, known->pool));
    }
    return NULL;
}

/* NULL, or why nothing is known. */
static const char *ask_child(fpd_known *known)
{
    char program[PATH_MAX];
    char *const *argv;
    int data[2];
    int words[2];
    pid_t pid;

    if (!fpd_hosts_find(program, sizeof(program), fpd_hosts_directories(known->pool), NULL)) {
        return apr_psprintf(known->pool, "no interpreter host fpmpool-php%s was found",
                            fpd_hosts_default_version());
    }
    argv = make_argv(known, program);
    if (pipe2(data, O_CLOEXEC) != 0) {
        return strerror(errno);
    }
    if (pipe2(words, O_CLOEXEC) != 0) {
        const char *reason = strerror(errno);
        close(data[0]);
        close(data[1]);
        return reason;
    }
    pid = fork();
    if (pid == 0) {
        become_child(program, argv, data[1], words[1]);
    }
    close(data[1]);
    close(words[1]);
    if (pid < 0) {
        const char *reason = strerror(errno);
        close(data[0]);
        close(words[0]);
        return reason;
    }
    return finish(known, pid, data[0], words[0]);
}

apr_status_t fpd_known_ask(void *context, fpd_conf_question question, const char *name,
                           const char **value, const char **reason)
{
    fpd_known *known = context;

    *value = NULL;
    if (!known->was_asked) {
        known->was_asked = 1;
        known->failure = ask_child(known);
    }
    if (known->failure != NULL) {
        *reason = known->failure;
        return APR_EGENERAL;
    }
    *value = apr_hash_get(question == FPD_CONF_CONSTANT ? known->constants : known->settings, name,
                          APR_HASH_KEY_STRING);
    return APR_SUCCESS;
}
