/* terminate.c - how a request that has run for too long ends from inside.
 *
 * Runs in workers. The signal handler only reads a clock, sets flags and, after a while, shuts down
 * the sockets that the request may be waiting for: all of it async-signal-safe. What ends the
 * request is PHP's virtual machine at its next interrupt check.
 */
#include "php/terminate.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include "base/channel.h"
#include "base/loop.h"
#include "php.h"
#include "php/current.h"
#include "zend_exceptions.h"

#define UNBLOCK_AFTER INT64_C(1000000) /* of waiting in vain for the virtual machine */
#define SOCKETS_SCAN  4096

/* The handler's view of the current request: a process-wide thing, as signals are. */
static struct {
    volatile sig_atomic_t is_wanted;
    volatile sig_atomic_t connection;
    volatile int64_t started;
    volatile int64_t asked_at; /* 0: not yet */
    void (*next)(zend_execute_data *frame);
} end;

static int is_stream(int fd)
{
    int type;
    socklen_t length = sizeof(type);

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM;
}

/* PHP and client libraries go on waiting for a database or an HTTP server after a signal. When its
 * socket is at its end they come back. The worker's own sockets are no streams, but for the
 * connection. */
static void shut_sockets(void)
{
    struct rlimit files;
    int bound = SOCKETS_SCAN;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < SOCKETS_SCAN) {
        bound = (int)files.rlim_cur;
    }
    for (int fd = 3; fd < bound; fd++) {
        if (fd != end.connection && is_stream(fd)) {
            (void)shutdown(fd, SHUT_RDWR);
        }
    }
}

static void on_signal(int signal_number, siginfo_t *about, void *context)
{
    int saved_errno = errno;
    int64_t now;

    (void)signal_number;
    (void)context;
    if (about->si_code != SI_QUEUE || end.started == 0 ||
        (uintptr_t)about->si_value.sival_ptr != (uintptr_t)end.started) {
        return; /* of an earlier request, or not from the pool process */
    }
    now = fpd_monotonic_now();
    end.asked_at = end.asked_at != 0 ? end.asked_at : now;
    end.is_wanted = 1;
    zend_atomic_bool_store(&EG(vm_interrupt), true);
    if (now - end.asked_at >= UNBLOCK_AFTER) {
        shut_sockets();
    }
    errno = saved_errno;
}

/* As exit() does it: neither `catch` nor `finally` sees it, shutdown functions and destructors run.
 */
static void unwind(void)
{
    zend_execute_data *frame = EG(current_execute_data);

    EG(exception) = zend_create_unwind_exit();
    if (frame != NULL && frame->func != NULL && ZEND_USER_CODE(frame->func->type) &&
        frame->opline->opcode != ZEND_HANDLE_EXCEPTION) {
        EG(opline_before_exception) = frame->opline;
        frame->opline = EG(exception_op);
    }
}

static void interrupt(zend_execute_data *frame)
{
    if (end.next != NULL) {
        end.next(frame);
    }
    if (!end.is_wanted || !fpd_current_time_out()) {
        return;
    }
    if (EG(exception) != NULL) {
        if (zend_is_unwind_exit(EG(exception)) || zend_is_graceful_exit(EG(exception))) {
            return; /* it is at its end already */
        }
        OBJ_RELEASE(EG(exception));
        EG(exception) = NULL;
    }
    unwind();
}

void fpd_terminate_install(void)
{
    end.next = zend_interrupt_function;
    zend_interrupt_function = interrupt;
}

int fpd_terminate_start(void)
{
    /* no SA_RESTART: a system call that waits shall return */
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};

    sigemptyset(&action.sa_mask);
    return sigaction(FPD_CHANNEL_END_SIGNAL, &action, NULL) == 0 ? 0 : errno;
}

void fpd_terminate_watch(int64_t started, int connection)
{
    end.started = 0;
    end.is_wanted = 0;
    end.asked_at = 0;
    end.connection = connection;
    end.started = started;
}

const volatile sig_atomic_t *fpd_terminate_flag(void)
{
    return &end.is_wanted;
}
