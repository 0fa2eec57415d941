/* ctl_client.c - one command to the control socket of a running daemon.
 *
 * Runs as a program of its own, for an operator. A daemon that re-executes itself closes the
 * connection: the client comes again and asks for the outcome of its job by number.
 */
#include "master/ctl_client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "apr_strings.h"
#include "base/loop.h"
#include "master/ctl_print.h"
#include "master/master.h"

#define SECOND          1000000
#define ANSWER_PATIENCE 15 /* seconds; a job says itself how long it may take */
#define JOB_RESERVE     10
#define AGAIN_PATIENCE  30  /* seconds for a daemon that went away to come again */
#define AGAIN_PAUSE     100 /* milliseconds */
#define AGAIN_MOST      20  /* connections for one job */
#define ANSWER_MAX      (64 * 1024 * 1024)

/* What one connection brought. */
typedef enum ending { ENDED_WELL, ENDED_BADLY, ENDED_AGAIN, CUT, SILENT } ending;

typedef struct talk {
    apr_pool_t *pool;
    const char *path;
    int is_json;
    unsigned long long job; /* 0: none yet */
    int64_t until;          /* when we stop waiting */
    fpd_ctl_row daemon;
    int has_status;
    apr_array_header_t *pools; /* fpd_ctl_row */
} talk;

/* Returns a descriptor, or -1 with errno. */
static int open_connection(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address.sun_path, path); /* fits: checked above */
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static int send_request(int fd, const fpd_control_request *request)
{
    char line[FPD_CONTROL_LINE_MAX + 1];
    size_t length = fpd_control_line_write(line, request);

    return send(fd, line, length, MSG_NOSIGNAL) == (ssize_t)length;
}

/* ---- the answer --------------------------------------------------------------------------- */

static void print_status(talk *self)
{
    if (self->has_status) {
        fputs(self->is_json ? fpd_ctl_print_json(&self->daemon, self->pools, self->pool)
                            : fpd_ctl_print_table(&self->daemon, self->pools, self->pool),
              stdout);
    }
}

/* One line. Returns 1 when it is the last, with *end. */
static int take_line(talk *self, char *line, ending *end)
{
    char *rest = strchr(line, ' ');
    int seconds;

    if (rest == NULL) {
        return 0;
    }
    *rest++ = '\0';
    if (strcmp(line, "job") == 0 && sscanf(rest, "%llu %d", &self->job, &seconds) == 2) {
        self->until = fpd_monotonic_now() + ((int64_t)seconds + JOB_RESERVE) * SECOND;
    } else if (strcmp(line, "daemon") == 0) {
        fpd_ctl_row_read(&self->daemon, rest, self->pool);
        self->has_status = 1;
    } else if (strcmp(line, "pool") == 0) {
        fpd_ctl_row_read(apr_array_push(self->pools), rest, self->pool);
    } else if (strcmp(line, "text") == 0) {
        puts(fpd_ctl_print_clean(rest, self->pool));
    } else if (strcmp(line, "done") == 0) {
        print_status(self);
        if (*rest != '\0') {
            puts(fpd_ctl_print_clean(rest, self->pool));
        }
        *end = ENDED_WELL;
        return 1;
    } else if (strcmp(line, "failed") == 0) {
        fflush(stdout);
        fprintf(stderr, "fpmpoold: %s\n", fpd_ctl_print_clean(rest, self->pool));
        *end = ENDED_BADLY;
        return 1;
    } else if (strcmp(line, "again") == 0) {
        *end = ENDED_AGAIN;
        return 1;
    }
    return 0;
}

static ending read_answer(talk *self, int fd)
{
    char *bytes = malloc(65536);
    size_t capacity = 65536;
    size_t used = 0;
    ending end = CUT;
    int is_last = 0;

    while (bytes != NULL && !is_last) {
        struct pollfd waited = {.fd = fd, .events = POLLIN};
        int64_t left = self->until - fpd_monotonic_now();
        ssize_t got;
        char *line = bytes;
        char *line_end;
        if (left <= 0 || poll(&waited, 1, (int)(left / 1000) + 1) == 0) {
            end = SILENT;
            break;
        }
        got = read(fd, bytes + used, capacity - used);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            break;
        }
        used += (size_t)got;
        while (!is_last && (line_end = memchr(line, '\n', used - (size_t)(line - bytes))) != NULL) {
            *line_end = '\0';
            is_last = take_line(self, line, &end);
            line = line_end + 1;
        }
        used -= (size_t)(line - bytes);
        memmove(bytes, line, used);
        if (used == capacity) {
            char *grown = capacity < ANSWER_MAX ? realloc(bytes, capacity * 2) : NULL;
            if (grown == NULL) {
                break;
            }
            bytes = grown;
            capacity *= 2;
        }
    }
    free(bytes);
    return end;
}

/* ---- the whole command -------------------------------------------------------------------- */

static int say_unreachable(const talk *self, int error)
{
    const char *next = "is fpmpoold running? Name its configuration with -y, or the socket with "
                       "--ctl-socket";

    if (error == EACCES || error == EPERM) {
        next = "only root and the daemon's own user may ask";
    }
    fprintf(stderr, "fpmpoold: nobody answers at the control socket '%s': %s; %s\n", self->path,
            strerror(error), next);
    return FPD_EXIT_NO_DAEMON;
}

/* The daemon closed before it had said how it went: again, until it is there. */
static int open_again(const talk *self)
{
    int64_t until = fpd_monotonic_now() + AGAIN_PATIENCE * (int64_t)SECOND;
    int fd;

    while ((fd = open_connection(self->path)) < 0 && fpd_monotonic_now() < until) {
        (void)poll(NULL, 0, AGAIN_PAUSE);
    }
    return fd;
}

static ending ask(talk *self, int fd, const fpd_control_request *request)
{
    ending end = CUT;

    self->until = fpd_monotonic_now() + ANSWER_PATIENCE * (int64_t)SECOND;
    /* a daemon that turns us away closes before it has read, but not before it has said why */
    if (send_request(fd, request) || errno == EPIPE) {
        end = read_answer(self, fd);
    }
    close(fd);
    return end;
}

/* What may have been taken is not asked for twice: then its job has a number, or it is lost. */
static int may_ask_again(const talk *self, const fpd_control_request *request, ending end)
{
    return end == ENDED_AGAIN ||
           (end == CUT && (self->job != 0 || request->verb == FPD_CONTROL_STATUS ||
                           request->verb == FPD_CONTROL_READY));
}

int fpd_ctl_client_run(const char *path, const fpd_control_request *request, int is_json,
                       apr_pool_t *pool)
{
    talk self = {.pool = pool,
                 .path = path,
                 .is_json = is_json,
                 .pools = apr_array_make(pool, 16, sizeof(fpd_ctl_row))};
    fpd_control_request outcome = {.verb = FPD_CONTROL_OUTCOME};
    int fd = open_connection(path);
    ending end;

    if (fd < 0) {
        return say_unreachable(&self, errno);
    }
    end = ask(&self, fd, request);
    for (int i = 0; i < AGAIN_MOST && may_ask_again(&self, request, end); i++) {
        if (i > 0) {
            (void)poll(NULL, 0, AGAIN_PAUSE);
        }
        fd = open_again(&self);
        if (fd < 0) {
            return say_unreachable(&self, errno);
        }
        outcome.job = self.job;
        apr_array_clear(self.pools);
        end = ask(&self, fd, self.job != 0 ? &outcome : request);
    }
    if (end != ENDED_WELL && end != ENDED_BADLY) {
        fprintf(stderr,
                "fpmpoold: the daemon at '%s' %s: look into its error_log, and at fpmpoold --ctl "
                "status\n",
                path,
                end != SILENT ? "closed the connection without an answer" : "does not answer");
    }
    return end == ENDED_WELL ? FPD_EXIT_OK : FPD_EXIT_FAILED;
}
