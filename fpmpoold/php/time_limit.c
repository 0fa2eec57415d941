/* time_limit.c - the CPU timer of a worker, and when it stops a script.
 *
 * Runs in workers. The signal handler only reads numbers, sets PHP's flags and re-arms timers, all
 * of which is async-signal-safe.
 */
#include "php/time_limit.h"

#include <errno.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

#include "php.h"
#include "php_ini.h"
#include "php_main.h"

#define TICK_SIGNAL (SIGRTMIN + 4)

/* The handler's view of the current request: a process-wide thing, as signals are. */
static struct {
    timer_t timer;
    int has_timer;
    int period;                  /* seconds */
    volatile sig_atomic_t limit; /* seconds, 0: none of ours */
    volatile int64_t start;      /* CPU microseconds when the limit began to count */
    int64_t end;                 /* CPU microseconds at the end of the last request */
    int64_t measured;            /* ... of this one's response; 0: not measured */
    zend_ini_entry *execution;   /* max_execution_time */
    zend_ini_entry *input;       /* max_input_time */
} limits;

static int64_t cpu_now(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) != 0) {
        return 0;
    }
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void arm(int64_t microseconds)
{
    struct itimerspec when = {
        .it_interval = {.tv_sec = limits.period},
        .it_value = {.tv_sec = microseconds / 1000000, .tv_nsec = microseconds % 1000000 * 1000},
    };

    timer_settime(limits.timer, 0, &when, NULL);
}

/* The request is over its limit: what PHP's own handler would do. Its timer then guards against a
 * script that does not come back to the virtual machine. */
static void expire(int limit)
{
    struct itimerval hard = {.it_value = {.tv_sec = EG(hard_timeout)}};

    limits.limit = 0;
    PG(connection_status) |= PHP_CONNECTION_TIMEOUT;
    EG(timeout_seconds) = limit;
    zend_atomic_bool_store(&EG(timed_out), true);
    zend_atomic_bool_store(&EG(vm_interrupt), true);
    if (EG(hard_timeout) > 0) {
        setitimer(ITIMER_PROF, &hard, NULL);
    }
}

static void tick(int signal_number)
{
    int saved_errno = errno;
    int limit = limits.limit;

    (void)signal_number;
    if (limit > 0 && !limits.execution->modified) {
        int64_t left = (int64_t)limit * 1000000 - (cpu_now() - limits.start);
        if (left <= 0) {
            expire(limit);
        } else if (left < (int64_t)limits.period * 1000000) {
            arm(left);
        }
    }
    errno = saved_errno;
}

static int seconds_of(const zend_ini_entry *entry)
{
    zend_long seconds = entry != NULL && entry->value != NULL ? atol(ZSTR_VAL(entry->value)) : 0;

    return seconds < 0 ? 0 : seconds > 1000000 ? 1000000 : (int)seconds;
}

int fpd_time_limit_start(void)
{
    struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = TICK_SIGNAL};
    int execution;
    int input;

    limits.execution = zend_hash_str_find_ptr(EG(ini_directives), ZEND_STRL("max_execution_time"));
    limits.input = zend_hash_str_find_ptr(EG(ini_directives), ZEND_STRL("max_input_time"));
    limits.end = cpu_now();
    if (limits.execution == NULL || limits.input == NULL) {
        return ENOENT;
    }
    execution = seconds_of(limits.execution);
    input = seconds_of(limits.input);
    limits.period = execution > 0 && (input == 0 || execution < input) ? execution : input;
    if (limits.period == 0) {
        return 0;
    }
    sigemptyset(&action.sa_mask);
    if (sigaction(TICK_SIGNAL, &action, NULL) != 0 ||
        timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &limits.timer) != 0) {
        return errno;
    }
    limits.has_timer = 1;
    arm((int64_t)limits.period * 1000000);
    return 0;
}

void fpd_time_limit_begin(void)
{
    limits.limit = 0;
    if (limits.execution->modified || limits.input->modified) {
        EG(timeout_seconds) = atol(ZSTR_VAL(limits.execution->value));
        return;
    }
    /* PHP sets no timer for 0 and -1; ini_get() reads the entries and still shows their values. */
    EG(timeout_seconds) = 0;
    PG(max_input_time) = -1;
    limits.start = limits.end;
    if (limits.has_timer) {
        limits.limit = seconds_of(limits.input);
        if (limits.limit == 0 || strcmp(ZSTR_VAL(limits.input->value), "-1") == 0) {
            limits.limit = seconds_of(limits.execution);
        }
    }
}

void fpd_time_limit_execute(int had_body)
{
    if (limits.execution->modified || limits.input->modified) {
        return;
    }
    if (had_body && limits.has_timer) {
        limits.start = cpu_now();
    }
    limits.limit = limits.has_timer ? seconds_of(limits.execution) : 0;
}

int64_t fpd_time_limit_measure(void)
{
    limits.measured = cpu_now();
    return limits.measured - limits.end;
}

/* One look at the clock for each request: it is a system call. */
void fpd_time_limit_end(int goes_on)
{
    limits.limit = 0;
    limits.end = goes_on || limits.measured == 0 ? cpu_now() : limits.measured;
    limits.measured = 0;
}

int64_t fpd_time_limit_cpu(void)
{
    return limits.end;
}
