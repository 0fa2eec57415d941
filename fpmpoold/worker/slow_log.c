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
#include "worker/readings.h"

#define STACK_SIZE ((size_t)256 * 1024)
#define TRIES      8  /* a script that calls and returns all the time is met in between */
#define TRIES_MOST 32 /* until one leads out to the script */
#define SPARE      64 /* calls that are read beyond those that are written: inner ones may fall out */
#define WHOLE      (INT64_C(1) << 32)

typedef struct text {
    size_t length;
    char bytes[FPD_SLOW_LOG_ENTRY];
} text;

typedef struct reading {
    fpd_frames frames;
    int is_cut; /* outer calls are left out */
    text lines; /* one for each call */
} reading;

typedef struct tracer {
    const fpd_worker_setup *setup;
    pid_t pid;
    fpd_log_file file;
    fpd_message_buffer buffer;
    fpd_message_traced answer;
    fpd_frame frame;
    char script[FPD_FRAMES_FILE_SIZE];
    text entry;
    reading first; /* two of the same calls */
    reading second;
} tracer;

/* ---- text -------------------------------------------------------------------------------- */

static void add_bytes(text *to, const char *bytes, size_t length)
{
    size_t room = sizeof(to->bytes) - to->length;

    length = length < room ? length : room;
    memcpy(to->bytes + to->length, bytes, length);
    to->length += length;
}

static void add_text(text *to, const char *from)
{
    add_bytes(to, from, strlen(from));
}

/* Names come from scripts: no line of theirs may look like one of ours. */
static void add_name(text *to, const char *name)
{
    for (; *name != '\0'; name++) {
        unsigned char c = (unsigned char)*name;
        add_bytes(to, c < 0x20 || c == 0x7f ? "." : name, 1);
    }
}

static void add_number(text *to, uint64_t number, unsigned base, int width)
{
    char digits[24];
    int at = sizeof(digits);

    do {
        digits[--at] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number > 0 || (int)sizeof(digits) - at < width);
    add_bytes(to, digits + at, sizeof(digits) - (size_t)at);
}

static void add_frame(text *to, const fpd_frame *frame)
{
    add_text(to, "[0x");
    add_number(to, frame->address, 16, 16);
    add_text(to, "] ");
    if (frame->class_name[0] != '\0') {
        add_name(to, frame->class_name);
        add_text(to, frame->is_static ? "::" : "->");
    }
    add_name(to, frame->function);
    add_text(to, "() ");
    add_name(to, frame->file);
    add_text(to, ":");
    add_number(to, frame->line, 10, 1);
    add_text(to, "\n");
}

static void add_head(tracer *self, const char *time)
{
    text *to = &self->entry;

    add_text(to, "\n[");
    add_text(to, time);
    add_text(to, "]  [pool ");
    add_text(to, self->setup->plan->name);
    add_text(to, "] pid ");
    add_number(to, (uint64_t)self->pid, 10, 1);
    add_text(to, "\nscript_filename = ");
    add_name(to, self->script);
    add_text(to, "\n");
}

/* Reads the calls, whole lines. Returns 0 or an errno. */
static int read_frames(tracer *self, reading *to)
{
    int more = 1;
    int64_t left = (int64_t)self->setup->plan->request_slowlog_trace_depth + SPARE;

    to->lines.length = 0;
    fpd_frames_begin(&to->frames, self->pid);
    for (; left > 0; left--) {
        size_t before = to->lines.length;
        more = fpd_frames_next(&to->frames, &self->frame);
        if (more <= 0) {
            break;
        }
        add_frame(&to->lines, &self->frame);
        if (to->lines.length == sizeof(to->lines.bytes)) {
            to->lines.length = before;
            break;
        }
    }
    to->is_cut = more > 0;
    return more < 0 ? to->frames.error : 0;
}

/* ---- the trace --------------------------------------------------------------------------- */

static int is_final(int error)
{
    return error == EPERM || error == EACCES || error == ENOSYS;
}

/* Puts lines that both readings have into the entry, no more than wanted. */
static void take_agreed(tracer *self, size_t start, const char *lines, size_t length)
{
    int left = self->setup->plan->request_slowlog_trace_depth;

    self->entry.length = start;
    for (; left > 0 && length > 0; left--) {
        size_t line = fpd_readings_line(lines, length);
        if (line > sizeof(self->entry.bytes) - self->entry.length) {
            break; /* whole lines */
        }
        add_bytes(&self->entry, lines, line);
        lines += line;
        length -= line;
    }
}

static void add_failure(text *to)
{
    static const char failure[] = "+++ dump failed\n";
    size_t most = sizeof(to->bytes) - (sizeof(failure) - 1);

    to->length = to->length < most ? to->length : most;
    add_text(to, failure);
}

static int leads_out(const reading *of)
{
    return of->frames.has_script || of->is_cut;
}

/* The script goes on while it is read, and one reading may mix two moments. What a second one finds
 * again is true of the time between both; the try of which most is left counts, and one that leads
 * out to the script before any other. */
static int add_trace(tracer *self)
{
    const text *first = &self->first.lines;
    const text *second = &self->second.lines;
    size_t start = self->entry.length;
    int64_t best = -1;
    int error = 0;

    for (int i = 0; i < (best >= WHOLE ? TRIES : TRIES_MOST) && !is_final(error); i++) {
        error = read_frames(self, &self->first);
        error = error == 0 ? read_frames(self, &self->second) : error;
        if (error != 0) {
            continue;
        }
        size_t agreed = 0;
        size_t at = fpd_readings_agree(first->bytes, first->length, second->bytes, second->length,
                                       self->first.is_cut || self->second.is_cut, &agreed);
        int is_whole = leads_out(&self->first) && leads_out(&self->second);
        int64_t worth = (int64_t)fpd_readings_count(first->bytes + at, agreed);
        worth += is_whole ? WHOLE : 0;
        if (worth > best) {
            best = worth;
            take_agreed(self, start, first->bytes + at, agreed);
        }
        if (is_whole && agreed == first->length && agreed == second->length &&
            fpd_frames_are_current(&self->second.frames)) {
            break;
        }
    }
    if (best >= 0) {
        return 0;
    }
    add_failure(&self->entry);
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
    self->entry.length = 0;
    (void)fpd_frames_script(self->pid, self->script, sizeof(self->script));
    add_head(self, question->time);
    answer->read_error = add_trace(self);
    fpd_board_read_slot(self->setup->board, self->setup->slot, &answer->view);
    if (is_running(self, question->request)) {
        answer->outcome = FPD_TRACE_WRITTEN;
        answer->write_error =
            fpd_log_file_write(&self->file, file, self->entry.bytes, self->entry.length, 0);
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
