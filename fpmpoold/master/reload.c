/* reload.c - a forked child reads and checks the configuration, the master reads its verdict.
 *
 * A file that makes the reader crash or hang then costs a child, not the daemon. The bytes come
 * from our own code of the same build, but every length is checked all the same.
 */
#include "master/reload.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apr_strings.h"
#include "base/bytes.h"
#include "master/known.h"

#define RESULT_MAX (256 * 1024 * 1024)
#define COUNT_MAX  1000000

/* ---- the child's side --------------------------------------------------------------------- */

static int put(int fd, const void *bytes, size_t length)
{
    const char *from = bytes;

    while (length > 0) {
        ssize_t written = write(fd, from, length);
        if (written < 0 && errno != EINTR) {
            return 0;
        }
        if (written > 0) {
            from += written;
            length -= (size_t)written;
        }
    }
    return 1;
}

static int put_number(int fd, uint32_t number)
{
    return put(fd, &number, sizeof(number));
}

static int put_item(int fd, const void *bytes, size_t length)
{
    return put_number(fd, (uint32_t)length) && put(fd, bytes, length);
}

static int put_text(int fd, const char *text)
{
    return text == NULL ? put_number(fd, FPD_BYTES_NULL) : put_item(fd, text, strlen(text));
}

static int put_messages(int fd, const apr_array_header_t *messages)
{
    int is_good = put_number(fd, (uint32_t)messages->nelts);

    for (int i = 0; is_good && i < messages->nelts; i++) {
        const fpd_conf_message *message = &APR_ARRAY_IDX(messages, i, fpd_conf_message);
        is_good = put_number(fd, message->severity) && put_text(fd, message->text);
    }
    return is_good;
}

/* The numbers of the global section travel as they are in memory, its texts behind them. */
static int put_global(int fd, const fpd_conf_global *global)
{
    return put_item(fd, global, sizeof(*global)) && put_text(fd, global->pid) &&
           put_text(fd, global->error_log) && put_text(fd, global->syslog_ident);
}

static int put_pools(int fd, const apr_array_header_t *pools, apr_pool_t *pool)
{
    int is_good = put_number(fd, (uint32_t)pools->nelts);

    for (int i = 0; is_good && i < pools->nelts; i++) {
        fpd_plan_bytes bytes = fpd_plan_pool_encode(APR_ARRAY_IDX(pools, i, fpd_plan_pool *), pool);
        is_good = put_item(fd, bytes.data, bytes.length);
    }
    return is_good;
}

/* In the forked child: never returns. Its own pool, left to the kernel. */
static void test_and_exit(int fd, const fpd_conf_options *options)
{
    fpd_conf_options asking = *options;
    apr_array_header_t *messages;
    fpd_conf *conf = NULL;
    apr_pool_t *pool;
    apr_status_t status;
    int is_good;

    if (apr_pool_create(&pool, NULL) != APR_SUCCESS) {
        _exit(1);
    }
    asking.ask = fpd_known_ask;
    asking.ask_context = fpd_known_create(options, pool);
    status = fpd_conf_load(&conf, &messages, &asking, pool);
    is_good = put_messages(fd, messages) && put_number(fd, status == APR_SUCCESS);
    if (is_good && status == APR_SUCCESS) {
        is_good = put_global(fd, &conf->global) && put_pools(fd, conf->pools, pool);
    }
    _exit(is_good ? 0 : 1);
}

apr_status_t fpd_reload_begin(fpd_reload *reload, const fpd_conf_options *options)
{
    sigset_t none;

    reload->fd = memfd_create("fpmpool-reload", MFD_CLOEXEC);
    if (reload->fd < 0) {
        return errno;
    }
    reload->pid = fork();
    if (reload->pid == 0) {
        sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        test_and_exit(reload->fd, options);
    }
    if (reload->pid < 0) {
        int error = errno;
        close(reload->fd);
        reload->pid = 0;
        return error;
    }
    return APR_SUCCESS;
}

/* ---- the master's side -------------------------------------------------------------------- */

static uint32_t take_count(fpd_bytes *in)
{
    uint32_t count = fpd_bytes_take_number(in);

    if (count > COUNT_MAX) {
        in->is_broken = 1;
        return 0;
    }
    return count;
}

static void take_messages(fpd_bytes *in, apr_array_header_t *messages)
{
    uint32_t count = take_count(in);

    for (uint32_t i = 0; i < count && !in->is_broken; i++) {
        fpd_conf_message *message = apr_array_push(messages);
        memset(message, 0, sizeof(*message));
        message->severity = fpd_bytes_take_number(in);
        message->text = fpd_bytes_take_text(in);
        if (message->text == NULL || message->severity > FPD_CONF_ALERT) {
            in->is_broken = 1;
            apr_array_pop(messages);
        }
    }
}

static void take_global(fpd_bytes *in, fpd_conf_global *global)
{
    const char *bytes;

    if (fpd_bytes_take_number(in) != sizeof(*global) ||
        (bytes = fpd_bytes_take(in, sizeof(*global))) == NULL) {
        in->is_broken = 1;
        return;
    }
    memcpy(global, bytes, sizeof(*global));
    global->events_mechanism = "epoll";
    global->pid = fpd_bytes_take_text(in);
    global->error_log = fpd_bytes_take_text(in);
    global->syslog_ident = fpd_bytes_take_text(in);
}

static void take_pools(fpd_bytes *in, apr_array_header_t *pools)
{
    uint32_t count = take_count(in);

    for (uint32_t i = 0; i < count && !in->is_broken; i++) {
        uint32_t length = fpd_bytes_take_number(in);
        const char *bytes = fpd_bytes_take(in, length);
        fpd_plan_pool *plan;
        if (bytes == NULL || fpd_plan_pool_decode(&plan, bytes, length, in->pool) != APR_SUCCESS) {
            in->is_broken = 1;
            return;
        }
        APR_ARRAY_PUSH(pools, fpd_plan_pool *) = plan;
    }
}

static apr_status_t read_result(fpd_bytes *in, fpd_conf **result, apr_array_header_t *messages)
{
    fpd_conf *conf = apr_pcalloc(in->pool, sizeof(*conf));

    take_messages(in, messages);
    if (fpd_bytes_take_number(in) == 0) {
        return APR_EGENERAL; /* the configuration is bad, or the result is */
    }
    conf->pools = apr_array_make(in->pool, 8, sizeof(fpd_plan_pool *));
    take_global(in, &conf->global);
    take_pools(in, conf->pools);
    if (in->is_broken || in->left != 0 || conf->pools->nelts == 0) {
        return APR_EGENERAL;
    }
    for (int i = 0; i < conf->pools->nelts; i++) {
        conf->has_failed_pools |= APR_ARRAY_IDX(conf->pools, i, fpd_plan_pool *)->failure != NULL;
    }
    *result = conf;
    return APR_SUCCESS;
}

apr_status_t fpd_reload_end(fpd_reload *reload, fpd_conf **conf, apr_array_header_t **messages,
                            apr_pool_t *pool)
{
    struct stat about;
    fpd_bytes in = {.pool = pool};
    apr_status_t status = APR_EGENERAL;
    int fd = reload->fd;

    reload->pid = 0;
    reload->fd = -1;
    *messages = apr_array_make(pool, 8, sizeof(fpd_conf_message));
    if (fstat(fd, &about) == 0 && about.st_size > 0 && about.st_size <= RESULT_MAX) {
        void *data = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data != MAP_FAILED) {
            in.data = data;
            in.left = (size_t)about.st_size;
            status = read_result(&in, conf, *messages);
            munmap(data, (size_t)about.st_size);
        }
    }
    close(fd);
    return status;
}
