/* fake_worker.h - a worker without PHP that keeps dispatch.md's protocol, and breaks at will.
 *
 * It answers every request with its pid as the body; SCRIPT_NAME says how: /pid, /wait (until
 * fake->release), /die-running, /die-sending, /die-done, /speak (on stderr), /trace...
 * (fake_trace). The shared struct `fake` makes it stop or die when it is CLAIMED.
 */
#ifndef FAKE_WORKER_H
#define FAKE_WORKER_H

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/channel.h"
#include "base/loop.h"
#include "pool/head.h"
#include "wire/wire.h"
#include "worker/worker.h"

#define FAKE_BUFFER   65536
#define FAKE_SEEN_MAX 256

typedef struct fake_control {
    atomic_int release;           /* /wait requests end */
    atomic_int stop_when_claimed; /* how many more workers stop themselves on ASSIGN */
    atomic_int die_when_claimed;
    atomic_int die_at_start;
    atomic_int requests_seen; /* by all workers, at RUNNING */
    atomic_int max_requests;  /* 0: none */
    atomic_int traces_asked;
    atomic_int stopped_pid;
    /* of the first requests, in the order of requests_seen */
    char names[FAKE_SEEN_MAX];             /* SCRIPT_NAME's second character */
    _Atomic int64_t waited[FAKE_SEEN_MAX]; /* since it was ready, microseconds */
} fake_control;

/* Shared by the test and every process it forks. */
static fake_control *fake;

typedef struct fake_worker {
    const fpd_worker_setup *setup;
    fpd_slot *slot;
    uint64_t word;
    int lane; /* -1: none; while it serves: the connection */
    fpd_connection_id id;
    int64_t ready_at; /* of the request that came with the connection */
    uint8_t bytes[FAKE_BUFFER];
    size_t length;
    uint8_t params[FAKE_BUFFER];
    int served;
} fake_worker;

static void fake_send(fake_worker *self, fpd_message_type type, const void *body, size_t length,
                      const void *more, size_t more_length)
{
    if (fpd_channel_send(self->setup->channel, type, body, length, more, more_length, NULL, 0, 0) !=
        APR_SUCCESS) {
        _exit(0); /* the pool process is gone */
    }
}

static void fake_move(fake_worker *self, fpd_slot_state state)
{
    if (!fpd_slot_move(self->slot, &self->word, state)) {
        _exit(99); /* nobody else may move this state */
    }
}

static void fake_return(fake_worker *self, fpd_return_kind kind)
{
    fpd_message_return message = {.connection = self->id,
                                  .kind = kind,
                                  .leftover = kind == FPD_RETURN_KEEP ? (uint32_t)self->length : 0};

    close(self->lane);
    self->lane = -1;
    atomic_store(&self->slot->has_lane, 0);
    fake_send(self, FPD_MESSAGE_RETURN, &message, sizeof(message), self->bytes, message.leftover);
    self->length = 0;
}

/* Reads until a whole request is there. Returns 0 at the end of input. */
static int fake_read(fake_worker *self, fpd_head *head)
{
    while (fpd_head_read(head, self->bytes, self->length, self->params, sizeof(self->params)) <
           FPD_HEAD_REQUEST) {
        struct pollfd wait = {.fd = self->lane, .events = POLLIN};
        ssize_t got;
        (void)poll(&wait, 1, 5000);
        got = recv(self->lane, self->bytes + self->length, sizeof(self->bytes) - self->length, 0);
        if (got <= 0) {
            return 0;
        }
        self->length += (size_t)got;
    }
    return head->progress == FPD_HEAD_REQUEST;
}

static void fake_write(fake_worker *self, const fpd_head *head)
{
    uint8_t reply[256];
    char text[128];
    int length = snprintf(text, sizeof(text), "Content-Type: text/plain\r\n\r\n%d", (int)getpid());
    uint8_t *end;

    wire_header_write(reply, WIRE_STDOUT, head->request_id, (uint16_t)length, 0);
    memcpy(reply + WIRE_HEADER_SIZE, text, (size_t)length);
    end = wire_end_write(reply + WIRE_HEADER_SIZE + length, head->request_id, 0, 0);
    fake_move(self, FPD_SLOT_SENDING);
    if (fpd_head_equals(&head->script_name, "/die-sending")) {
        (void)send(self->lane, reply, 20, MSG_NOSIGNAL);
        raise(SIGKILL);
    }
    (void)send(self->lane, reply, (size_t)(end - reply), MSG_NOSIGNAL);
    fake_move(self, FPD_SLOT_DONE);
    if (fpd_head_equals(&head->script_name, "/die-done")) {
        raise(SIGKILL);
    }
}

static void fake_note(const fake_worker *self, const fpd_head *head)
{
    int index = atomic_fetch_add(&fake->requests_seen, 1);

    if (index < FAKE_SEEN_MAX) {
        fake->names[index] = head->script_name.length > 1 ? head->script_name.bytes[1] : '?';
        atomic_store(&fake->waited[index], fpd_monotonic_now() - self->ready_at);
    }
}

/* A script that is slow until fake->release, and what the tracer makes of the question: /trace
 * answers with texts that have no end, /trace-late that it was over, /trace-cut with three bytes,
 * /trace-early before it is asked, /trace-mute never, /trace-gone is not there. */
static void fake_trace(fake_worker *self, const fpd_head *head)
{
    static fpd_message_buffer buffer;
    fpd_message_traced answer = {.outcome = FPD_TRACE_WRITTEN};
    int tracer = self->setup->tracer;
    fpd_message message = {.type = 0};

    atomic_store(&self->slot->stage, FPD_STAGE_RUNNING);
    memset(&answer.view, 'x', sizeof(answer.view));
    if (fpd_head_equals(&head->script_name, "/trace-early")) {
        (void)fpd_channel_send(tracer, FPD_MESSAGE_TRACED, &answer, sizeof(answer), NULL, 0, NULL,
                               0, 0);
    } else if (fpd_head_equals(&head->script_name, "/trace-gone")) {
        close(tracer);
    } else if (fpd_channel_receive(tracer, &message, &buffer, 0) != APR_SUCCESS ||
               message.type != FPD_MESSAGE_TRACE || message.fd_count != 1) {
        _exit(98);
    } else if (atomic_fetch_add(&fake->traces_asked, 1) > 0) {
        _exit(97);
    } else if (fpd_head_equals(&head->script_name, "/trace-cut")) {
        (void)!write(tracer, "abc", 3);
    } else if (!fpd_head_equals(&head->script_name, "/trace-mute")) {
        if (fpd_head_equals(&head->script_name, "/trace-late")) {
            answer.outcome = FPD_TRACE_TOO_LATE;
        }
        (void)!write(message.fds[0], "entry", 5);
        (void)fpd_channel_send(tracer, FPD_MESSAGE_TRACED, &answer, sizeof(answer), NULL, 0, NULL,
                               0, 0);
    }
    while (!atomic_load(&fake->release)) {
        usleep(1000);
    }
    atomic_store(&self->slot->stage, FPD_STAGE_IDLE);
}

/* RUNNING; the connection is in self->lane. Serves what is there; keeps it as lane or returns it.
 */
static void fake_serve(fake_worker *self)
{
    fpd_head head;

    atomic_store(&self->slot->lane_index, self->id.index);
    for (;;) {
        if (!fake_read(self, &head)) {
            fake_move(self, FPD_SLOT_DONE);
            fake_return(self, FPD_RETURN_CLOSE);
            return;
        }
        atomic_store(&self->slot->request_id, head.request_id);
        atomic_store(&self->slot->request_started, fpd_monotonic_now());
        atomic_fetch_add(&self->slot->requests, 1);
        fake_note(self, &head);
        if (fpd_head_equals(&head.script_name, "/die-running")) {
            raise(SIGKILL);
        }
        while (fpd_head_equals(&head.script_name, "/wait") && !atomic_load(&fake->release)) {
            usleep(1000);
        }
        if (head.script_name.length > 5 && memcmp(head.script_name.bytes, "/trace", 6) == 0) {
            fake_trace(self, &head);
        }
        if (fpd_head_equals(&head.script_name, "/speak") && self->setup->errors >= 0) {
            (void)!write(self->setup->errors, "first line\n\nsec", 15);
            (void)!write(self->setup->errors, "ond\n", 4);
        }
        fake_write(self, &head);
        self->length -= head.consumed;
        memmove(self->bytes, self->bytes + head.consumed, self->length);
        self->served++;
        atomic_store(&self->slot->request_id, 0);
        if (!head.keep) {
            fake_return(self, FPD_RETURN_LINGER);
            return;
        }
        if (fpd_head_read(&head, self->bytes, self->length, self->params, sizeof(self->params)) !=
            FPD_HEAD_REQUEST) {
            break; /* else a whole pipelined request: served here too */
        }
        fake_move(self, FPD_SLOT_RUNNING);
    }
    if (self->length > 0) {
        fake_return(self, FPD_RETURN_KEEP);
    }
}

static void fake_become_idle(fake_worker *self)
{
    int most = atomic_load(&fake->max_requests);

    if (atomic_load(&self->slot->retire) || (most > 0 && self->served >= most)) {
        if (self->lane >= 0) {
            fake_return(self, FPD_RETURN_KEEP);
        }
        _exit(0);
    }
    atomic_store(&self->slot->idle_since, fpd_monotonic_now());
    atomic_store(&self->slot->has_lane, self->lane >= 0);
    fake_move(self, FPD_SLOT_IDLE);
    if (atomic_load(&self->setup->board->queue_length) != 0 &&
        fpd_slot_move(self->slot, &self->word, FPD_SLOT_IDLE_NO_LANE)) {
        if (self->lane >= 0) {
            fake_return(self, FPD_RETURN_KEEP);
        } else {
            fake_send(self, FPD_MESSAGE_AVAILABLE, NULL, 0, NULL, 0);
        }
    }
}

static void fake_drop_lane(fake_worker *self)
{
    if (self->lane >= 0) {
        close(self->lane);
        self->lane = -1;
    }
    atomic_store(&self->slot->has_lane, 0);
}

static void fake_take_assign(fake_worker *self, const fpd_message *message)
{
    fpd_message_assign assign;

    memcpy(&assign, message->body, sizeof(assign));
    fake_drop_lane(self);
    if (atomic_fetch_sub(&fake->stop_when_claimed, 1) > 0) {
        atomic_store(&fake->stopped_pid, getpid());
        raise(SIGSTOP);
    }
    if (atomic_fetch_sub(&fake->die_when_claimed, 1) > 0) {
        raise(SIGKILL);
    }
    self->word = assign.claimed_word;
    if (!fpd_slot_move(self->slot, &self->word, FPD_SLOT_RUNNING)) {
        fpd_message_refused refused = {.claimed_word = assign.claimed_word,
                                       .connection = assign.connection};
        close(message->fds[0]);
        fake_send(self, FPD_MESSAGE_REFUSED, &refused, sizeof(refused), NULL, 0);
        return;
    }
    self->lane = message->fds[0];
    self->id = assign.connection;
    self->ready_at = assign.ready_at;
    self->length = assign.leftover;
    memcpy(self->bytes, (const char *)message->body + sizeof(assign), assign.leftover);
    fake_serve(self);
    fake_become_idle(self);
}

static void fake_wait(fake_worker *self, fpd_message_buffer *buffer)
{
    struct pollfd waits[2] = {{.fd = self->setup->channel, .events = POLLIN},
                              {.fd = self->lane, .events = POLLIN}};
    uint64_t now = atomic_load(&self->slot->word);
    fpd_message message;
    apr_status_t status;

    if (FPD_SLOT_STATE(now) != FPD_SLOT_IDLE) {
        waits[1].fd = -1; /* claimed: the message comes, the lane is not ours any more */
    }
    (void)poll(waits, 2, 1000);
    if (waits[1].fd >= 0 && waits[1].revents != 0) {
        if (fpd_slot_move(self->slot, &self->word, FPD_SLOT_RUNNING)) {
            atomic_fetch_add(&self->slot->lane_hits, 1);
            self->ready_at = fpd_monotonic_now();
            fake_serve(self);
            fake_become_idle(self);
        }
        return;
    }
    if (waits[0].revents == 0) {
        return;
    }
    status = fpd_channel_receive(self->setup->channel, &message, buffer, 0);
    if (status != APR_SUCCESS || message.type == FPD_MESSAGE_RETIRE) {
        _exit(0);
    }
    if (message.type == FPD_MESSAGE_ASSIGN) {
        fake_take_assign(self, &message);
    }
    for (int i = 0; i < message.fd_count && message.type != FPD_MESSAGE_ASSIGN; i++) {
        close(message.fds[i]);
    }
}

static void fake_run(const fpd_worker_setup *setup)
{
    static fake_worker self;
    static fpd_message_buffer buffer;
    sigset_t none;

    signal(SIGTERM, SIG_DFL); /* check has a handler of its own, which would end the test */
    signal(SIGQUIT, SIG_DFL);
    signal(FPD_CHANNEL_END_SIGNAL, SIG_IGN); /* never comes back by itself */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int fd = 3; fd < 256; fd++) { /* among them the other workers' channels */
        if (fd != setup->channel && fd != setup->log && fd != setup->output &&
            fd != setup->errors && fd != setup->tracer) {
            close(fd);
        }
    }
    if (atomic_load(&fake->die_at_start)) {
        _exit(70);
    }
    self.setup = setup;
    self.slot = &setup->board->slots[setup->slot];
    self.word = atomic_load(&self.slot->word);
    self.lane = -1;
    fake_move(&self, FPD_SLOT_IDLE_NO_LANE);
    fake_send(&self, FPD_MESSAGE_READY_WORKER, NULL, 0, NULL, 0);
    for (;;) {
        fake_wait(&self, &buffer);
    }
}

#endif
