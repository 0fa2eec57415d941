/* worker.c - the life of a worker: set-up, waiting on {channel, lane}, slot states, the end.
 *
 * Runs in a forked child of the pool process. Owns the channel's other end and the lane; what
 * happens on a connection is exchange.c's. Every slot state change here is a compare-and-swap as
 * dispatch.md 1 says.
 */
#include "worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/apparmor.h"
#include "base/channel.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/shortage.h"
#include "base/title.h"
#include "php/sapi.h"
#include "php/start.h"
#include "worker/exchange.h"
#include "worker/retirement.h"
#include "worker/slow_log.h"

#define EXIT_BROKEN 70
#define KEPT_MAX    32

typedef struct worker {
    const fpd_worker_setup *setup;
    fpd_slot *slot;
    int lane;                     /* -1: none */
    fpd_connection_id connection; /* of the lane */
    uint32_t log_generation;
    int access_log;
    uint64_t served;
    fpd_retirement retirement;
    fpd_exchange exchange;
    fpd_message_buffer buffer;
} worker;

/* The signal flag of this process. */
static volatile sig_atomic_t is_asked_to_quit;

static void note_quit(int signal_number)
{
    (void)signal_number;
    is_asked_to_quit = 1;
}

static void ignore_signal(int signal_number)
{
    (void)signal_number;
}

/* ---- set-up ------------------------------------------------------------------------------ */

static int set_handler(int signal_number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

    sigemptyset(&action.sa_mask);
    return sigaction(signal_number, &action, NULL);
}

/* Default dispositions and an empty mask, which programs started by PHP inherit. SIGPIPE gets a
 * handler instead of being ignored, because only that is not inherited by them. */
static int set_signals(void)
{
    sigset_t none;

    for (int number = 1; number < NSIG; number++) {
        if (number != SIGKILL && number != SIGSTOP) {
            set_handler(number, SIG_DFL, 0); /* fails for numbers that libc keeps */
        }
    }
    sigemptyset(&none);
    return set_handler(SIGPIPE, ignore_signal, SA_RESTART) != 0 ||
                   set_handler(SIGQUIT, note_quit, 0) != 0 ||
                   sigprocmask(SIG_SETMASK, &none, NULL) != 0
               ? -1
               : 0;
}

static int compare_descriptors(const void *left, const void *right)
{
    return *(const int *)left - *(const int *)right;
}

/* Closes everything but 0-2, the worker's own descriptors and PHP's (OPcache's lock file). */
static int close_others(const fpd_worker_setup *setup)
{
    int kept[KEPT_MAX];
    int count = 0;
    int php_count;
    const int *php = fpd_start_descriptors(&php_count);
    unsigned int next = 3;
    const int own[] = {setup->channel, setup->log, setup->access_log, setup->tracer};

    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        kept[count++] = own[i];
    }
    for (int i = 0; i < php_count && count < KEPT_MAX; i++) {
        kept[count++] = php[i];
    }
    qsort(kept, (size_t)count, sizeof(kept[0]), compare_descriptors);
    for (int i = 0; i < count; i++) {
        if (kept[i] < (int)next) {
            continue;
        }
        if ((unsigned int)kept[i] > next && close_range(next, (unsigned int)kept[i] - 1, 0) != 0) {
            return -1;
        }
        next = (unsigned int)kept[i] + 1;
    }
    return close_range(next, ~0u, 0);
}

/* stdin is /dev/null, stdout and stderr the pool process's pipes or /dev/null. */
static int set_output(const fpd_worker_setup *setup)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int output = setup->output >= 0 ? setup->output : null;
    int errors = setup->errors >= 0 ? setup->errors : null;

    /* In a chroot without /dev/null what is there stays; the pool process's is no secret. */
    if (null >= 0 && null != STDIN_FILENO && dup2(null, STDIN_FILENO) < 0) {
        return -1;
    }
    if ((output >= 0 && dup2(output, STDOUT_FILENO) < 0) ||
        (errors >= 0 && dup2(errors, STDERR_FILENO) < 0)) {
        return -1;
    }
    return 0;
}

/* What rlimit_files says is the hard limit too: nothing that PHP starts can raise it. */
static int set_file_limit(const fpd_worker_setup *setup)
{
    int limit = setup->file_limit;
    struct rlimit files;

    if (limit <= 0) {
        return 0;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) {
        return -1;
    }
    files.rlim_cur = (rlim_t)limit < files.rlim_max ? (rlim_t)limit : files.rlim_max;
    if (limit == setup->plan->rlimit_files) {
        files.rlim_max = files.rlim_cur;
    }
    return setrlimit(RLIMIT_NOFILE, &files);
}

/* Before PHP does anything, after everything that a profile may forbid. NULL: done. */
static const char *enter_hat(const fpd_worker_setup *setup)
{
    const char *failure = NULL;
    apr_status_t status;

    if (setup->plan->apparmor_hat == NULL) {
        return NULL;
    }
    status =
        fpd_apparmor_enter(setup->plan->apparmor_hat, &failure, FPD_APPARMOR_FOLDER, setup->pool);
    errno = status;
    return status == APR_SUCCESS ? NULL : failure;
}

/* Returns what failed, NULL if nothing. */
static const char *set_up(const fpd_worker_setup *setup)
{
    fpd_log_to_datagrams(setup->log);
    fpd_log_set_level((fpd_log_level)setup->plan->log_level);
    if (set_output(setup) != 0) {
        return "descriptors 0 to 2";
    }
    if (close_others(setup) != 0) {
        return "close_range";
    }
    if (set_signals() != 0) {
        return "signals";
    }
    if (setsid() < 0 && errno != EPERM) {
        return "setsid";
    }
    if (set_file_limit(setup) != 0) {
        return "setrlimit(RLIMIT_NOFILE)";
    }
    fpd_title_set("php-fpm: pool %s", setup->plan->name);
    return enter_hat(setup);
}

/* ---- talk with the pool process ---------------------------------------------------------- */

static void __attribute__((noreturn)) leave(worker *self, int code)
{
    (void)self;
    _exit(code);
}

static void say(worker *self, fpd_message_type type, const void *body, size_t length,
                const void *more, size_t more_length)
{
    apr_status_t status =
        fpd_channel_send(self->setup->channel, type, body, length, more, more_length, NULL, 0, 0);

    /* The pool process is gone, and with it everyone who could give work. */
    if (status != APR_SUCCESS) {
        leave(self, 0);
    }
}

/* Gives the connection back. It is not the worker's any more. */
static void give_back(worker *self, fpd_return_kind kind)
{
    fpd_message_return message = {.connection = self->connection, .kind = kind};
    const uint8_t *bytes = NULL;
    size_t length = 0;

    if (kind == FPD_RETURN_KEEP) {
        length = fpd_request_leftover(&self->exchange.request, &bytes);
        message.leftover = (uint32_t)length;
    }
    close(self->lane);
    self->lane = -1;
    say(self, FPD_MESSAGE_RETURN, &message, sizeof(message), bytes, length);
}

static void drop_lane(worker *self)
{
    if (self->lane >= 0) {
        close(self->lane);
        self->lane = -1;
    }
}

static void close_all(const fpd_message *message)
{
    for (int i = 0; i < message->fd_count; i++) {
        close(message->fds[i]);
    }
}

static void replace_log(int *log, int fd)
{
    if (*log >= 0) {
        close(*log);
    }
    *log = fd;
}

static void take_logs(worker *self, const fpd_message *message)
{
    const fpd_message_reopen *reopen = message->body;
    int used = 0;

    if (message->length < sizeof(*reopen)) {
        close_all(message);
        return;
    }
    if (reopen->has_access_log && used < message->fd_count) {
        replace_log(&self->access_log, message->fds[used++]);
    }
    for (; used < message->fd_count; used++) {
        close(message->fds[used]);
    }
}

/* ---- the end ----------------------------------------------------------------------------- */

static int must_leave(const worker *self)
{
    return self->exchange.must_end || is_asked_to_quit || atomic_load(&self->slot->retire) != 0 ||
           (self->retirement.requests > 0 && self->served >= self->retirement.requests);
}

/* ---- requests ---------------------------------------------------------------------------- */

static void release(void *context, fpd_return_kind kind)
{
    give_back(context, kind);
}

static int current_access_log(void *context)
{
    worker *self = context;
    uint32_t generation = atomic_load(&self->setup->board->log_generation);
    fpd_message message;

    /* While a worker is busy nothing but new logs is sent to it. */
    while (generation != self->log_generation) {
        if (fpd_channel_receive(self->setup->channel, &message, &self->buffer, MSG_DONTWAIT) !=
            APR_SUCCESS) {
            break;
        }
        if (message.type == FPD_MESSAGE_LOGS) {
            take_logs(self, &message);
        } else {
            close_all(&message);
        }
    }
    self->log_generation = generation;
    return self->access_log;
}

/* Is the next request already here, so that it is served before anything else? */
static int has_next(worker *self)
{
    const uint8_t *bytes;
    size_t length = fpd_request_leftover(&self->exchange.request, &bytes);

    return length >= WIRE_BEGIN_SIZE;
}

/* After DONE: waits without a lane, which only the worker's own message tells. */
static void become_idle_without_lane(worker *self, int is_told)
{
    uint64_t word = self->exchange.word;

    atomic_store(&self->slot->has_lane, 0);
    fpd_slot_move(self->slot, &word, FPD_SLOT_IDLE_NO_LANE);
    self->exchange.word = word;
    if (!is_told && atomic_load(&self->setup->board->queue_length) != 0) {
        say(self, FPD_MESSAGE_AVAILABLE, NULL, 0, NULL, 0);
    }
}

/* After DONE: keeps the connection as lane unless requests wait (dispatch.md 1; both fences are the
 * sequentially consistent operations). */
static void become_idle_with_lane(worker *self)
{
    uint64_t word = self->exchange.word;

    atomic_store(&self->slot->lane_index, self->connection.index);
    atomic_store(&self->slot->has_lane, 1);
    fpd_slot_move(self->slot, &word, FPD_SLOT_IDLE);
    self->exchange.word = word;
    if (atomic_load(&self->setup->board->queue_length) == 0) {
        return;
    }
    if (!fpd_slot_move(self->slot, &word, FPD_SLOT_IDLE_NO_LANE)) {
        drop_lane(self); /* claimed in this moment: the lane is the pool process's again */
        return;
    }
    atomic_store(&self->slot->has_lane, 0);
    self->exchange.word = word;
    give_back(self, FPD_RETURN_KEEP);
}

/* The connection's last request is answered: who has it next? */
static void part(worker *self, fpd_return_kind kind)
{
    const uint8_t *bytes;

    atomic_store_explicit(&self->slot->idle_since, fpd_monotonic_now(), memory_order_relaxed);
    if (must_leave(self) || fpd_retirement_pays_debt(self->setup->board) ||
        fpd_retirement_is_due(&self->retirement, self->served, self->exchange.sapi.memory_peak)) {
        if (self->lane >= 0) {
            give_back(self, kind);
        }
        leave(self, 0);
    }
    if (self->lane < 0) {
        become_idle_without_lane(self, 0);
    } else if (kind == FPD_RETURN_KEEP &&
               fpd_request_leftover(&self->exchange.request, &bytes) == 0) {
        become_idle_with_lane(self);
    } else {
        become_idle_without_lane(self, 1);
        give_back(self, kind);
    }
}

/* The slot is RUNNING and the connection open in the exchange: serves what has arrived on it. */
static void serve(worker *self, int is_lane)
{
    const uint8_t *bytes;
    fpd_return_kind kind;

    for (;;) {
        if (is_lane) {
            self->exchange.ready_at = 0;
        }
        kind = fpd_exchange_run(&self->exchange, is_lane);
        if (self->exchange.request.has_begun) {
            self->served++;
        }
        if (self->exchange.is_released || kind != FPD_RETURN_KEEP || !has_next(self)) {
            break;
        }
        if (must_leave(self) && fpd_request_leftover(&self->exchange.request, &bytes) <
                                    FPD_CHANNEL_BODY_MAX - sizeof(fpd_message_return)) {
            break;
        }
        is_lane = 1;
        fpd_slot_move(self->slot, &self->exchange.word, FPD_SLOT_RUNNING);
    }
    part(self, kind);
}

static void refuse(worker *self, const fpd_message_assign *assign)
{
    fpd_message_refused message = {.claimed_word = assign->claimed_word,
                                   .connection = assign->connection};

    say(self, FPD_MESSAGE_REFUSED, &message, sizeof(message), NULL, 0);
}

static void take_connection(worker *self, const fpd_message *message)
{
    fpd_message_assign assign;
    const uint8_t *leftover = (const uint8_t *)message->body + sizeof(assign);
    uint64_t word;

    if (message->length < sizeof(assign) || message->fd_count != 1) {
        close_all(message);
        return;
    }
    memcpy(&assign, message->body, sizeof(assign));
    /* The pool process has taken the lane back when it claimed this worker. */
    drop_lane(self);
    word = assign.claimed_word;
    if (assign.leftover != message->length - sizeof(assign) ||
        FPD_SLOT_STATE(word) != FPD_SLOT_CLAIMED ||
        !fpd_slot_move(self->slot, &word, FPD_SLOT_RUNNING)) {
        close_all(message);
        refuse(self, &assign);
        return;
    }
    self->exchange.word = word;
    self->exchange.ready_at = assign.ready_at;
    self->lane = message->fds[0];
    self->connection = assign.connection;
    atomic_store(&self->slot->has_lane, 0);
    atomic_store(&self->slot->lane_index, assign.connection.index);
    fpd_request_open(&self->exchange.request, self->lane, leftover, assign.leftover);
    serve(self, 0);
}

/* ---- waiting ----------------------------------------------------------------------------- */

static void read_channel(worker *self)
{
    fpd_message message;
    apr_status_t status =
        fpd_channel_receive(self->setup->channel, &message, &self->buffer, MSG_DONTWAIT);

    if (APR_STATUS_IS_EAGAIN(status) || status == EINTR) {
        return;
    }
    if (status != APR_SUCCESS) {
        leave(self, 0);
    }
    switch (message.type) {
    case FPD_MESSAGE_ASSIGN:
        take_connection(self, &message);
        break;
    case FPD_MESSAGE_LOGS:
        take_logs(self, &message);
        break;
    case FPD_MESSAGE_RETIRE:
        leave(self, 0);
    default:
        close_all(&message);
    }
}

/* The lane is readable: the next request, or its end. */
static void read_lane(worker *self)
{
    uint64_t word = self->exchange.word;

    /* Claimed meanwhile: the lane is the pool process's again, and so is what can be read on it. */
    if (!fpd_slot_move(self->slot, &word, FPD_SLOT_RUNNING)) {
        drop_lane(self);
        return;
    }
    self->exchange.word = word;
    serve(self, 1);
}

/* Asked to quit while idle: only if nobody has claimed this worker. */
static void quit_idle(worker *self)
{
    uint64_t word = atomic_load(&self->slot->word); /* after a refusal not the exchange's word */

    if (FPD_SLOT_STATE(word) == FPD_SLOT_IDLE || FPD_SLOT_STATE(word) == FPD_SLOT_IDLE_NO_LANE) {
        if (fpd_slot_move(self->slot, &word, FPD_SLOT_DONE)) {
            if (self->lane >= 0) {
                give_back(self, FPD_RETURN_KEEP);
            }
            leave(self, 0);
        }
    }
}

static void wait_for_work(worker *self)
{
    struct pollfd waits[2] = {{.fd = self->setup->channel, .events = POLLIN},
                              {.fd = self->lane, .events = POLLIN}};

    if (is_asked_to_quit) {
        quit_idle(self);
    }
    if (poll(waits, self->lane >= 0 ? 2 : 1, -1) < 0) {
        if (errno != EINTR) {
            leave(self, EXIT_BROKEN);
        }
        return;
    }
    if (waits[0].revents != 0) {
        read_channel(self);
        return;
    }
    if (self->lane >= 0 && waits[1].revents != 0) {
        read_lane(self);
    }
}

static int become_ready(worker *self)
{
    uint64_t word = atomic_load(&self->slot->word);

    if (FPD_SLOT_STATE(word) != FPD_SLOT_STARTING ||
        !fpd_slot_move(self->slot, &word, FPD_SLOT_IDLE_NO_LANE)) {
        return -1;
    }
    self->exchange.word = word;
    say(self, FPD_MESSAGE_READY_WORKER, NULL, 0, NULL, 0);
    return 0;
}

/* A worker without it serves as well as ever; the pool process sees the closed channel. */
static void start_tracer(const fpd_worker_setup *setup)
{
    char reason[FPD_SHORTAGE_MAX];
    int error = fpd_slow_log_start(setup);

    if (error != 0) {
        close(setup->tracer);
        fpd_log(FPD_LOG_WARNING,
                "child %d writes no traces to slowlog '%s': its thread cannot be made: %s",
                (int)getpid(), setup->plan->slowlog, fpd_shortage_describe(reason, error));
    }
}

void fpd_worker_run(const fpd_worker_setup *setup)
{
    worker *self = apr_pcalloc(setup->pool, sizeof(*self));
    const char *failure = set_up(setup);
    apr_status_t status;

    self->setup = setup;
    self->slot = &setup->board->slots[setup->slot];
    self->lane = -1;
    self->access_log = setup->access_log;
    fpd_retirement_set(&self->retirement, setup);
    self->log_generation = atomic_load(&setup->board->log_generation);
    if (failure != NULL) {
        fpd_log_errno(FPD_LOG_ERROR, errno, "child failed to initialize: %s", failure);
        leave(self, EXIT_BROKEN);
    }
    status = fpd_sapi_start_worker(setup->board, setup->plan);
    if (status != APR_SUCCESS) {
        fpd_log_errno(FPD_LOG_ERROR, status, "child failed to initialize: PHP's timer");
        leave(self, EXIT_BROKEN);
    }
    if (setup->tracer >= 0) {
        start_tracer(setup);
    }
    fpd_exchange_create(&self->exchange, setup, release, current_access_log, self);
    atomic_store_explicit(&self->slot->idle_since, fpd_monotonic_now(), memory_order_relaxed);
    if (become_ready(self) != 0) {
        fpd_log(FPD_LOG_ERROR, "child failed to initialize: its slot is not its own");
        leave(self, EXIT_BROKEN);
    }
    for (;;) {
        wait_for_work(self);
    }
}
