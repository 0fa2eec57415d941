/* control.c - clients of the control socket: accept, check, read a line, answer, close.
 *
 * Runs in the master. Reads at most one short line of a client whose user is root's or the
 * master's own. Every descriptor is non-blocking; a client that does not keep up is closed.
 */
#include "master/control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "apr_strings.h"
#include "base/log.h"
#include "master/control_line.h"

#define CLIENTS_MAX    16
#define BACKLOG        16
#define ASK_PATIENCE   5000000  /* microseconds until the line is whole */
#define TELL_PATIENCE  10000000 /* microseconds until the answer is taken */
#define OUTCOME_MARGIN 1000000  /* after the job itself gives up */

typedef struct client {
    fpd_control *control;
    int fd; /* -1: free */
    fpd_loop_id id;
    fpd_loop_timer *deadline;
    apr_pool_t *pool; /* of its answer */
    struct ucred peer;
    char line[FPD_CONTROL_LINE_MAX];
    size_t line_length;
    uint64_t job; /* its outcome is waited for; 0: none */
    int has_asked;
    int is_last; /* close when the answer is out */
    const char *answer;
    size_t answer_left;
} client;

struct fpd_control {
    apr_pool_t *pool;
    fpd_loop *loop;
    fpd_commands *commands;
    const char *path;
    int fd;
    fpd_loop_id id;
    client clients[CLIENTS_MAX];
};

/* ---- one client --------------------------------------------------------------------------- */

static void close_client(client *self)
{
    fpd_loop_remove(self->control->loop, self->id);
    fpd_loop_timer_cancel(self->deadline);
    close(self->fd);
    apr_pool_destroy(self->pool);
    self->fd = -1;
}

static void give_up(client *self)
{
    fpd_log(FPD_LOG_DEBUG, "control: the client of uid %d, pid %d took too long",
            (int)self->peer.uid, (int)self->peer.pid);
    close_client(self);
}

/* Sends what can be sent now. When all is out: closes, or waits for the end of the job. */
static void send_answer(client *self)
{
    while (self->answer_left > 0) {
        ssize_t sent = send(self->fd, self->answer, self->answer_left, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0 && errno == EAGAIN) {
            (void)fpd_loop_modify(self->control->loop, self->id, EPOLLOUT);
            return;
        }
        if (sent < 0) {
            close_client(self);
            return;
        }
        self->answer += sent;
        self->answer_left -= (size_t)sent;
    }
    if (self->is_last) {
        close_client(self);
        return;
    }
    (void)fpd_loop_modify(self->control->loop, self->id, 0); /* its end is told all the same */
}

static void answer(client *self, const char *text, int is_last)
{
    self->answer = text;
    self->answer_left = strlen(text);
    self->is_last = is_last;
    if (is_last) {
        fpd_loop_timer_set(self->deadline, fpd_monotonic_now() + TELL_PATIENCE);
    }
    send_answer(self);
}

/* Tells the end of the job, if it has ended and what was said before is out. */
static void tell_outcome(client *self)
{
    const char *text;

    if (self->fd < 0 || self->job == 0 || self->answer_left > 0 || self->is_last) {
        return;
    }
    text = fpd_commands_outcome(self->control->commands, self->job, self->pool);
    if (text != NULL) {
        answer(self, text, 1);
    }
}

static int only_asks(fpd_control_verb verb)
{
    return verb == FPD_CONTROL_STATUS || verb == FPD_CONTROL_READY || verb == FPD_CONTROL_OUTCOME;
}

static void take_line(client *self, size_t length)
{
    fpd_control_request request;
    const char *wrong = fpd_control_line_read(&request, self->line, length);
    const char *text;
    uint64_t job;
    int64_t until = 0;

    self->has_asked = 1;
    if (wrong == NULL && length + 1 < self->line_length) {
        wrong = "one command for each connection";
    }
    if (wrong != NULL) {
        fpd_log(FPD_LOG_NOTICE, "control: a request of uid %d, pid %d was refused: %s",
                (int)self->peer.uid, (int)self->peer.pid, wrong);
        answer(self, apr_pstrcat(self->pool, "failed ", wrong, "\n", NULL), 1);
        return;
    }
    /* who looks every few seconds does not fill the log */
    fpd_log(only_asks(request.verb) ? FPD_LOG_DEBUG : FPD_LOG_NOTICE,
            "control: %s%s%s by uid %d, pid %d", fpd_control_line_verb(request.verb),
            request.pool[0] != '\0' ? " " : "", request.pool, (int)self->peer.uid,
            (int)self->peer.pid);
    text = fpd_commands_take(self->control->commands, &request, &job, &until, self->pool);
    if (job != 0) {
        fpd_loop_timer_set(self->deadline, until + OUTCOME_MARGIN);
    }
    answer(self, text, job == 0);
    self->job = job; /* not before: pools that change at once make us tell outcomes meanwhile */
    fpd_commands_check(self->control->commands);
    fpd_control_check(self->control);
}

static void read_line(client *self)
{
    ssize_t got = recv(self->fd, self->line + self->line_length,
                       sizeof(self->line) - self->line_length, MSG_DONTWAIT);
    const char *end;

    if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
        return;
    }
    if (got <= 0) {
        close_client(self);
        return;
    }
    self->line_length += (size_t)got;
    end = memchr(self->line, '\n', self->line_length);
    if (end != NULL) {
        take_line(self, (size_t)(end - self->line));
    } else if (self->line_length == sizeof(self->line)) {
        fpd_log(FPD_LOG_NOTICE, "control: a request of uid %d, pid %d was refused: it is too long",
                (int)self->peer.uid, (int)self->peer.pid);
        answer(self, "failed the request is longer than a line may be\n", 1);
    }
}

static void on_client(void *context, uint32_t events)
{
    client *self = context;

    if (!self->has_asked && (events & EPOLLIN)) {
        read_line(self);
    } else if (events & (EPOLLHUP | EPOLLERR)) {
        close_client(self);
    } else if (events & EPOLLOUT) {
        send_answer(self);
        tell_outcome(self);
    }
}

static void on_deadline(void *context)
{
    client *self = context;

    if (self->job == 0 || self->is_last) {
        give_up(self);
        return;
    }
    fpd_commands_check(self->control->commands); /* the job gave up before: it has its outcome */
    fpd_control_check(self->control);
}

/* ---- the listener ------------------------------------------------------------------------- */

static client *find_free(fpd_control *control)
{
    for (int i = 0; i < CLIENTS_MAX; i++) {
        if (control->clients[i].fd < 0) {
            return &control->clients[i];
        }
    }
    return NULL;
}

/* Says no and forgets: whether the client hears it is its own affair. */
static void turn_away(int fd, const char *text)
{
    (void)!send(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
    close(fd);
}

static int may_ask(int fd, struct ucred *peer)
{
    socklen_t length = sizeof(*peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &length) != 0) {
        return 0;
    }
    if (peer->uid == 0 || peer->uid == geteuid()) {
        return 1;
    }
    fpd_log(FPD_LOG_NOTICE,
            "control: uid %d, pid %d was refused: only root and the daemon's user may",
            (int)peer->uid, (int)peer->pid);
    return 0;
}

static void admit(fpd_control *control, int fd)
{
    client *added = find_free(control);
    struct ucred peer;

    if (!may_ask(fd, &peer)) {
        turn_away(fd, "failed only root and the daemon's own user may ask\n");
        return;
    }
    if (added == NULL || apr_pool_create(&added->pool, control->pool) != APR_SUCCESS) {
        turn_away(fd, "failed too many clients are connected: try again\n");
        return;
    }
    added->fd = fd;
    added->peer = peer;
    added->line_length = 0;
    added->job = 0;
    added->has_asked = added->is_last = 0;
    added->answer_left = 0;
    if (fpd_loop_add(control->loop, fd, EPOLLIN, on_client, added, &added->id) != APR_SUCCESS) {
        added->id = 0;
        close_client(added);
        return;
    }
    fpd_loop_timer_set(added->deadline, fpd_monotonic_now() + ASK_PATIENCE);
}

static void on_listener(void *context, uint32_t events)
{
    fpd_control *control = context;
    int fd;

    (void)events;
    for (int i = 0; i < CLIENTS_MAX; i++) { /* others have their turn too */
        fd = accept4(control->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        admit(control, fd);
    }
}

/* ---- open and close ----------------------------------------------------------------------- */

/* 1: the path is free now. */
static int clear_path(const char *path, const struct sockaddr_un *address)
{
    struct stat about;
    int fd;
    int is_live;

    if (lstat(path, &about) != 0) {
        return 1;
    }
    if (!S_ISSOCK(about.st_mode)) {
        fpd_log(FPD_LOG_WARNING,
                "no control socket: '%s' exists and is not a socket; move it away or change "
                "'control_socket'",
                path);
        return 0;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    is_live = fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
                          errno == EAGAIN);
    if (fd >= 0) {
        close(fd);
    }
    if (is_live) {
        fpd_log(FPD_LOG_WARNING,
                "no control socket: another daemon answers on '%s'; end it, or give this one "
                "another 'pid' or 'control_socket'",
                path);
        return 0;
    }
    (void)unlink(path);
    return 1;
}

/* From its first moment on nobody else can connect. */
static int bind_socket(const char *path, const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t old_mask;
    int error = errno;

    if (fd >= 0) {
        old_mask = umask(0177);
        error = bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : errno;
        umask(old_mask);
    }
    if (error == 0 && listen(fd, BACKLOG) != 0) {
        error = errno;
    }
    if (fd >= 0 && error == 0) {
        return fd;
    }
    fpd_log_errno(FPD_LOG_WARNING, error,
                  "no control socket: '%s' cannot be bound; make its directory, or change "
                  "'control_socket'",
                  path);
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

fpd_control *fpd_control_adopt(int fd, const char *path, fpd_commands *commands, fpd_loop *loop,
                               apr_pool_t *pool)
{
    fpd_control *control = apr_pcalloc(pool, sizeof(*control));
    apr_status_t status;

    control->pool = pool;
    control->loop = loop;
    control->commands = commands;
    control->path = apr_pstrdup(pool, path);
    control->fd = fd;
    for (int i = 0; i < CLIENTS_MAX; i++) {
        client *prepared = &control->clients[i];
        prepared->control = control;
        prepared->fd = -1;
        prepared->deadline = fpd_loop_timer_create(loop, on_deadline, prepared);
    }
    status = fpd_loop_add(loop, fd, EPOLLIN, on_listener, control, &control->id);
    if (status != APR_SUCCESS) {
        fpd_log_errno(FPD_LOG_WARNING, status, "no control socket: '%s' cannot be watched", path);
        close(fd);
        (void)unlink(path);
        return NULL;
    }
    return control;
}

fpd_control *fpd_control_open(const char *path, fpd_commands *commands, fpd_loop *loop,
                              apr_pool_t *pool)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof(address.sun_path)) {
        fpd_log(FPD_LOG_WARNING,
                "no control socket: its path '%s' is longer than %d bytes; set a shorter "
                "'control_socket'",
                path, (int)sizeof(address.sun_path) - 1);
        return NULL;
    }
    strcpy(address.sun_path, path); /* fits: checked above */
    if (!clear_path(path, &address)) {
        return NULL;
    }
    fd = bind_socket(path, &address);
    return fd >= 0 ? fpd_control_adopt(fd, path, commands, loop, pool) : NULL;
}

int fpd_control_descriptor(const fpd_control *control)
{
    return control != NULL ? control->fd : -1;
}

const char *fpd_control_path(const fpd_control *control)
{
    return control != NULL ? control->path : NULL;
}

int fpd_control_is_at(const fpd_control *control, const char *path)
{
    return control != NULL && strcmp(control->path, path) == 0;
}

void fpd_control_check(fpd_control *control)
{
    for (int i = 0; control != NULL && i < CLIENTS_MAX; i++) {
        tell_outcome(&control->clients[i]);
    }
}

void fpd_control_leave(fpd_control *control)
{
    for (int i = 0; control != NULL && i < CLIENTS_MAX; i++) {
        client *self = &control->clients[i];
        if (self->fd >= 0 && !self->has_asked) {
            (void)!recv(self->fd, self->line, sizeof(self->line), MSG_DONTWAIT);
            answer(self, "again \n", 1);
        }
    }
}

void fpd_control_close(fpd_control *control)
{
    if (control == NULL) {
        return;
    }
    fpd_control_check(control);
    for (int i = 0; i < CLIENTS_MAX; i++) {
        if (control->clients[i].fd >= 0) {
            close_client(&control->clients[i]);
        }
    }
    fpd_loop_remove(control->loop, control->id);
    close(control->fd);
    (void)unlink(control->path);
}
