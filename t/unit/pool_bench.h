/* pool_bench.h - a whole pool process in a test: listener, board, channel, log; and its clients.
 *
 * The test is the master and the web server; the pool process is a forked child that runs the real
 * pool code with fake workers (fake_worker.h).
 */
#ifndef POOL_BENCH_H
#define POOL_BENCH_H

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "apr_strings.h"
#include "base/log.h"
#include "fake_worker.h"
#include "pool/pool.h"
#include "unit.h"

#define PATIENCE (10 * INT64_C(1000000)) /* of a condition that must come true */

typedef struct bench {
    apr_pool_t *memory;
    fpd_plan_pool *plan;
    fpd_board *board;
    char directory[64];
    struct sockaddr_un address;
    int listener;
    int master; /* our end of the channel */
    int log;    /* our end of the log */
    int slow_log;
    pid_t pid;         /* of the pool process, 0: not running */
    rlim_t file_limit; /* of the pool process, 0: the test's */
    uid_t uid;         /* likewise, below root */
    const char *refusal;
    char log_text[65536];
    size_t log_length;
} bench;

static bench *bench_create(int max_children)
{
    static bench self;
    int fd;

    memset(&self, 0, sizeof(self));
    self.slow_log = -1;
    ck_assert_int_eq(apr_initialize(), APR_SUCCESS);
    ck_assert_int_eq(apr_pool_create(&self.memory, NULL), APR_SUCCESS);
    fake = mmap(NULL, sizeof(*fake), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(fake, MAP_FAILED);
    self.plan = fpd_plan_pool_create(self.memory);
    self.plan->name = "test";
    self.plan->pm = FPD_PM_STATIC;
    self.plan->max_children = max_children;
    self.plan->listen_backlog = 511;
    self.plan->ping_path = "/ping";
    self.plan->ping_response = "pong";
    self.plan->status_path = "/status";
    ck_assert_int_eq(fpd_board_create(&fd, "test", (uint32_t)max_children), APR_SUCCESS);
    ck_assert_int_eq(fpd_board_map(&self.board, fd, 1, self.memory), APR_SUCCESS);
    close(fd);
    strcpy(self.directory, "/tmp/fpmpool-test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(self.directory));
    self.address.sun_family = AF_UNIX;
    snprintf(self.address.sun_path, sizeof(self.address.sun_path), "%s/socket", self.directory);
    self.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(self.listener, (struct sockaddr *)&self.address, sizeof(self.address)),
                     0);
    ck_assert_int_eq(listen(self.listener, 511), 0);
    return &self;
}

static void bench_start(bench *self)
{
    fpd_pool_setup setup = {.plan = self->plan,
                            .board = self->board,
                            .access_log = -1,
                            .slow_log = self->slow_log,
                            .refusal = self->refusal,
                            .run_worker = fake_run};
    int channel[2];
    int log[2];
    fpd_message message;
    static fpd_message_buffer buffer;

    ck_assert_int_eq(fpd_channel_pair(channel), APR_SUCCESS);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, log), 0);
    self->pid = fork();
    ck_assert_int_ge(self->pid, 0);
    if (self->pid == 0) {
        fpd_pool *pool;
        apr_pool_t *memory;
        setpgid(0, 0); /* check's own: bench_stop looks whether anyone is left of it */
        for (int fd = 3; fd < 1024; fd++) { /* among them the clients' ends */
            if (fd != channel[1] && fd != log[1] && fd != self->listener && fd != self->slow_log) {
                close(fd);
            }
        }
        if (self->file_limit != 0) {
            struct rlimit limit = {.rlim_cur = self->file_limit, .rlim_max = self->file_limit};
            setrlimit(RLIMIT_NOFILE, &limit);
        }
        if (self->uid != 0 && geteuid() == 0 && setresuid(self->uid, self->uid, self->uid) != 0) {
            _exit(72);
        }
        fpd_log_to_datagrams(log[1]);
        fpd_log_set_level(FPD_LOG_DEBUG);
        setup.master = channel[1];
        setup.log = log[1];
        setup.listener = self->listener;
        setup.status_listener = -1;
        if (apr_pool_create(&memory, NULL) != APR_SUCCESS ||
            fpd_pool_create(&pool, &setup, memory) != APR_SUCCESS) {
            _exit(71);
        }
        _exit(fpd_pool_run(pool));
    }
    close(channel[1]);
    close(log[1]);
    self->master = channel[0];
    self->log = log[0];
    ck_assert_int_eq(fpd_channel_receive(self->master, &message, &buffer, 0), APR_SUCCESS);
    ck_assert_uint_eq(message.type, FPD_MESSAGE_READY);
}

static void bench_tell(bench *self, fpd_message_type type)
{
    ck_assert_int_eq(fpd_channel_send(self->master, type, NULL, 0, NULL, 0, NULL, 0, 0),
                     APR_SUCCESS);
}

/* Everything logged so far. */
static const char *bench_log(bench *self)
{
    ssize_t got;

    while ((got = recv(self->log, self->log_text + self->log_length,
                       sizeof(self->log_text) - self->log_length - 2, MSG_DONTWAIT)) > 0) {
        self->log_text[self->log_length] = (char)('0' + self->log_text[self->log_length]);
        self->log_length += (size_t)got;
        self->log_text[self->log_length++] = '\n';
        self->log_text[self->log_length] = '\0';
    }
    return self->log_text;
}

/* Waits until `condition` holds; fails the test after PATIENCE. */
#define BENCH_UNTIL(condition)                                                                     \
    do {                                                                                           \
        int64_t end = fpd_monotonic_now() + PATIENCE;                                              \
        while (!(condition)) {                                                                     \
            ck_assert_msg(fpd_monotonic_now() < end, "never came true: %s", #condition);           \
            usleep(2000);                                                                          \
        }                                                                                          \
    } while (0)

static int bench_has_ended(bench *self, int *status)
{
    return waitpid(self->pid, status, WNOHANG) == self->pid;
}

/* The pool process ends by itself with code 0 and leaves no process behind. */
static void bench_expect_end(bench *self)
{
    int status = -1;

    BENCH_UNTIL(bench_has_ended(self, &status));
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "pool process: status %d", status);
    BENCH_UNTIL(kill(-self->pid, 0) != 0);
    self->pid = 0;
}

/* Is nothing logged at warning or above, but for lines that contain `allowed` (or NULL)? */
static void bench_expect_calm(bench *self, const char *allowed)
{
    char *line = self->log_text;

    (void)bench_log(self);
    while (*line != '\0') {
        char *end = strchr(line, '\n');
        *end = '\0';
        if (line[0] >= '0' + FPD_LOG_WARNING) {
            ck_assert_msg(allowed != NULL && strstr(line, allowed) != NULL, "unexpected: %s", line);
        }
        *end = '\n';
        line = end + 1;
    }
}

/* Ends the process if it has not ended; what several generations share stays. */
static void bench_stop_generation(bench *self)
{
    if (self->pid != 0) {
        bench_tell(self, FPD_MESSAGE_STOP);
        bench_expect_end(self);
    }
    if (self->master >= 0) {
        close(self->master);
    }
    close(self->log);
}

static void bench_stop(bench *self)
{
    bench_stop_generation(self);
    if (self->listener >= 0) {
        close(self->listener);
    }
    unlink(self->address.sun_path);
    rmdir(self->directory);
    munmap(fake, sizeof(*fake));
    apr_pool_destroy(self->memory);
    apr_terminate();
}

/* ---- clients ------------------------------------------------------------------------------ */

static int client_connect(const bench *self)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = 15};

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&self->address, sizeof(self->address)),
                     0);
    return fd;
}

/* Writes a request of id 1 to `to`; returns its length. extra: a further parameter, or NULL. */
static size_t client_request(uint8_t *to, const char *script, int keep, const char *extra)
{
    uint8_t pairs[512];
    uint8_t *end = pairs;
    uint8_t *at = wire_begin_write(to, 1, WIRE_RESPONDER, keep ? WIRE_KEEP_CONN : 0);

    end = wire_pair_write(end, "SCRIPT_NAME", 11, script, strlen(script));
    end = wire_pair_write(end, "SCRIPT_FILENAME", 15, script, strlen(script));
    end = wire_pair_write(end, "REQUEST_METHOD", 14, "GET", 3);
    if (extra != NULL) {
        end = wire_pair_write(end, extra, strlen(extra), "1", 1);
    }
    wire_header_write(at, WIRE_PARAMS, 1, (uint16_t)(end - pairs), 0);
    memcpy(at + WIRE_HEADER_SIZE, pairs, (size_t)(end - pairs));
    at += WIRE_HEADER_SIZE + (end - pairs);
    wire_header_write(at, WIRE_PARAMS, 1, 0, 0);
    wire_header_write(at + WIRE_HEADER_SIZE, WIRE_STDIN, 1, 0, 0);
    return (size_t)(at + 2 * WIRE_HEADER_SIZE - to);
}

static void client_send(int fd, const char *script, int keep)
{
    uint8_t bytes[1024];
    size_t length = client_request(bytes, script, keep, NULL);

    ck_assert_int_eq(send(fd, bytes, length, MSG_NOSIGNAL), (ssize_t)length);
}

typedef struct client_reply {
    char out[16384];
    char error[2048];
    size_t out_length, error_length;
    int status;    /* protocolStatus of END_REQUEST, -1: none came */
    int is_closed; /* end of file came before END_REQUEST */
    const char *body;
} client_reply;

/* Reads one response, no byte more. */
static void client_read(int fd, client_reply *reply)
{
    memset(reply, 0, sizeof(*reply));
    reply->status = -1;
    for (;;) {
        uint8_t head[WIRE_HEADER_SIZE];
        uint8_t content[WIRE_RECORD_MAX];
        wire_header header;
        ssize_t got = recv(fd, head, sizeof(head), MSG_WAITALL);
        ck_assert_msg(got >= 0, "no answer came: %s", strerror(errno));
        if (got < (ssize_t)sizeof(head)) {
            reply->is_closed = 1;
            return;
        }
        wire_header_read(&header, head);
        size_t length = (size_t)header.content_length + header.padding_length;
        if (length > 0 && recv(fd, content, length, MSG_WAITALL) != (ssize_t)length) {
            reply->is_closed = 1;
            return;
        }
        if (header.type == WIRE_STDOUT) {
            memcpy(reply->out + reply->out_length, content, header.content_length);
            reply->out_length += header.content_length;
        } else if (header.type == WIRE_STDERR) {
            memcpy(reply->error + reply->error_length, content, header.content_length);
            reply->error_length += header.content_length;
        } else if (header.type == WIRE_END_REQUEST) {
            reply->status = content[4];
            break;
        }
    }
    reply->body = strstr(reply->out, "\r\n\r\n");
    reply->body = reply->body != NULL ? reply->body + 4 : "";
}

/* Sends, reads, expects success; returns the pid of the worker that answered. */
static int client_pid(int fd, int keep)
{
    client_reply reply;

    client_send(fd, "/pid", keep);
    client_read(fd, &reply);
    ck_assert_msg(reply.status == WIRE_REQUEST_COMPLETE, "no answer: closed %d, out '%s'",
                  reply.is_closed, reply.out);
    return atoi(reply.body);
}

/* The other side ends the connection, with nothing more to read. */
static void client_expect_end(int fd)
{
    char byte;

    ck_assert_int_le(recv(fd, &byte, 1, 0), 0);
    close(fd);
}

#endif
