/* slow_log.c - the tracer: one question of the pool process, one entry in the slow log.
 *
 * A thread in each worker of a pool with request_slowlog_timeout. The main thread runs PHP
 * meanwhile, and may fork: nothing here calls PHP, allocates, locks, logs or uses stdio.
 */
#include "worker/slow_log.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/channel.h"
#include "base/log_file.h"
#include "php/frames.h"

#define STACK_SIZE ((size_t)256 * 1024)
#define TRIES      8 /* a script that calls and returns all the time is met in between */

typedef struct tracer {
    const fpd_worker_setup *setup;
    pid_t pid;
    fpd_log_file file;
    fpd_message_buffer buffer;
    fpd_message_traced answer;
    fpd_frame frame;
    char script[FPD_FRAMES_FILE_SIZE];
    size_t length; /* of text */
    char text[FPD_SLOW_LOG_ENTRY];
} tracer;

/* ---- text -------------------------------------------------------------------------------- */

static void add_bytes(tracer *self, const char *text, size_t length)
{
    size_t room = sizeof(self->text) - self->length;

    length = length < room ? length : room;
    memcpy(self->text + self->length, text, length);
    self->length += length;
}

static void add_text(tracer *self, const char *text)
{
    add_bytes(self, text, strlen(text));
}

/* Names come from scripts: no line of theirs may look like one of ours. */
static void add_name(tracer *self, const char *name)
{
    for (; *name != '\0'; name++) {
        unsigned char c = (unsigned char)*name;
        add_bytes(self, c < 0x20 || c == 0x7f ? "." : name, 1);
    }
}

static void add_number(tracer *self, uint64_t number, unsigned base, int width)
{
    char digits[24];
    int at = sizeof(digits);

    do {
        digits[--at] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number > 0 || (int)sizeof(digits) - at < width);
    add_bytes(self, digits + at, sizeof(digits) - (size_t)at);
}

static void add_frame(tracer *self)
{
    const fpd_frame *frame = &self->frame;

    add_text(self, "[0x");
    add_number(self, frame->address, 16, 16);
    add_text(self, "] ");
    if (frame->class_name[0] != '\0') {
        add_name(self, frame->class_name);
        add_text(self, frame->is_static ? "::" : "->");
    }
    add_name(self, frame->function);
    add_text(self, "() ");
    add_name(self, frame->file);
    add_text(self, ":");
    add_number(self, frame->line, 10, 1);
    add_text(self, "\n");
}

static void add_head(tracer *self, const char *time)
{
    add_text(self, "\n[");
    add_text(self, time);
    add_text(self, "]  [pool ");
    add_text(self, self->setup->plan->name);
    add_text(self, "] pid ");
    add_number(self, (uint64_t)self->pid, 10, 1);
    add_text(self, "\nscript_filename = ");
    add_name(self, self->script);
    add_text(self, "\n");
}

/* ---- the trace --------------------------------------------------------------------------- */

static int add_frames(tracer *self, fpd_frames *frames)
{
    int more = 1;

    fpd_frames_begin(frames, self->pid);
    for (int depth = self->setup->plan->request_slowlog_trace_depth; depth > 0; depth--) {
        size_t before = self->length;
        more = fpd_frames_next(frames, &self->frame);
        if (more <= 0) {
            break;
        }
        add_frame(self);
        if (self->length == sizeof(self->text)) {
            self->length = before; /* whole lines */
            break;
        }
    }
    return more < 0 ? frames->error : 0;
}

static int is_final(int error)
{
    return error == EPERM || error == EACCES || error == ENOSYS;
}

/* The best of some tries: without an error, and with PHP in the same call behind it as before. */
static int add_trace(tracer *self)
{
    size_t start = self->length;
    fpd_frames frames;
    int error;

    for (int i = 0; i < TRIES; i++) {
        self->length = start;
        error = add_frames(self, &frames);
        if (is_final(error) || (error == 0 && fpd_frames_are_current(&frames))) {
            break;
        }
    }
    if (error != 0) {
        static const char failure[] = "+++ dump failed\n";
        size_t most = sizeof(self->text) - (sizeof(failure) - 1);
        self->length = self->length < most ? self->length : most;
        add_text(self, failure);
    }
    return error;
}

static int is_running(const tracer *self, int64_t request)
{
    const fpd_slot *slot = &self->setup->board->slots[self->setup->slot];

    return atomic_load(&slot->stage) == FPD_STAGE_RUNNING &&
           atomic_load(&slot->request_started) == request;
}

static void trace(tracer *self, const fpd_message_trace *question, int file)
{
    fpd_message_traced *answer = &self->answer;

    memset(answer, 0, sizeof(*answer));
    answer->outcome = FPD_TRACE_TOO_LATE;
    if (!is_running(self, question->request)) {
        return;
    }
    self->length = 0;
    (void)fpd_frames_script(self->pid, self->script, sizeof(self->script));
    add_head(self, question->time);
    answer->read_error = add_trace(self);
    fpd_board_read_slot(self->setup->board, self->setup->slot, &answer->view);
    if (is_running(self, question->request)) {
        answer->outcome = FPD_TRACE_WRITTEN;
        answer->write_error = fpd_log_file_write(&self->file, file, self->text, self->length, 0);
    }
}

/* No descriptor came with the question: the script has used them up. */
static void refuse(tracer *self)
{
    memset(&self->answer, 0, sizeof(self->answer));
    self->answer.outcome = FPD_TRACE_WRITTEN;
    self->answer.write_error = EMFILE;
    fpd_board_read_slot(self->setup->board, self->setup->slot, &self->answer.view);
}

/* ---- the thread -------------------------------------------------------------------------- */

static int serve(tracer *self)
{
    int channel = self->setup->tracer;
    fpd_message_trace question;
    fpd_message message;
    apr_status_t status = fpd_channel_receive(channel, &message, &self->buffer, 0);

    if (status != APR_SUCCESS && status != APR_EGENERAL) {
        return 0;
    }
    if (status == APR_SUCCESS && message.type == FPD_MESSAGE_TRACE &&
        message.length == sizeof(question) && message.fd_count == 1) {
        memcpy(&question, message.body, sizeof(question));
        question.time[sizeof(question.time) - 1] = '\0';
        trace(self, &question, message.fds[0]);
    } else {
        refuse(self);
    }
    for (int i = 0; status == APR_SUCCESS && i < message.fd_count; i++) {
        close(message.fds[i]);
    }
    return fpd_channel_send(channel, FPD_MESSAGE_TRACED, &self->answer, sizeof(self->answer), NULL,
                            0, NULL, 0, 0) == APR_SUCCESS;
}

static void *run(void *context)
{
    tracer *self = context;

    (void)prctl(PR_SET_NAME, "slow log", 0L, 0L, 0L);
    while (serve(self)) {
    }
    /* The pool process is gone. A thread that ends would free memory. */
    for (;;) {
        pause();
    }
    return NULL;
}

int fpd_slow_log_start(const fpd_worker_setup *setup)
{
    /* Not cleared: what is never used never becomes memory. */
    tracer *self = apr_palloc(setup->pool, sizeof(*self));
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all;
    sigset_t before;
    int error;

    self->setup = setup;
    self->pid = getpid();
    memset(&self->file, 0, sizeof(self->file));
    error = pthread_attr_init(&attributes);
    if (error != 0) {
        return error;
    }
    sigfillset(&all);
    error = pthread_attr_setstacksize(&attributes, STACK_SIZE);
    if (error == 0) {
        error = pthread_sigmask(SIG_SETMASK, &all, &before);
    }
    if (error == 0) {
        error = pthread_create(&thread, &attributes, run, self);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    (void)pthread_attr_destroy(&attributes);
    return error;
}
