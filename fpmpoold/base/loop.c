/* loop.c - epoll, one heap of timers, one signalfd.
 *
 * Runs in the master and in pool processes, on one thread. It never touches the descriptors it
 * watches: owners add, remove and close them.
 */
#include "base/loop.h"

#include <errno.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_AT_ONCE 64

typedef struct watch {
    int fd; /* -1: unused, then next_free counts */
    uint32_t generation;
    uint32_t next_free;
    fpd_loop_event_fn *callback;
    void *context;
} watch;

struct fpd_loop_timer {
    fpd_loop *loop;
    fpd_loop_timer_fn *callback;
    void *context;
    int64_t when;
    size_t heap_index; /* 0: not set; the heap counts from 1 */
};

struct fpd_loop {
    apr_pool_t *pool;
    int epoll_fd;
    int signal_fd;
    int is_running;
    int64_t now;
    watch *watches; /* grows by doubling; entries are named by index, so it may move */
    uint32_t watch_count;
    uint32_t watch_capacity;
    uint32_t first_free;
    fpd_loop_timer **heap; /* 1-based binary heap by `when` */
    size_t heap_used;
    size_t heap_capacity;
    fpd_loop_signal_fn *signal_callback;
    void *signal_context;
};

#define NO_FREE UINT32_MAX

int64_t fpd_monotonic_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t fpd_loop_now(const fpd_loop *loop)
{
    return loop->now;
}

static apr_status_t close_loop(void *data)
{
    fpd_loop *loop = data;

    if (loop->signal_fd >= 0) {
        close(loop->signal_fd);
    }
    close(loop->epoll_fd);
    return APR_SUCCESS;
}

apr_status_t fpd_loop_create(fpd_loop **created, apr_pool_t *pool)
{
    fpd_loop *loop = apr_pcalloc(pool, sizeof(*loop));

    loop->pool = pool;
    loop->signal_fd = -1;
    loop->first_free = NO_FREE;
    loop->now = fpd_monotonic_now();
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        return errno;
    }
    apr_pool_cleanup_register(pool, loop, close_loop, apr_pool_cleanup_null);
    *created = loop;
    return APR_SUCCESS;
}

/* ---- descriptors -------------------------------------------------------------------------- */

static fpd_loop_id make_id(uint32_t index, uint32_t generation)
{
    return ((uint64_t)generation << 32) | index;
}

static watch *find_watch(fpd_loop *loop, fpd_loop_id id)
{
    uint32_t index = (uint32_t)id;
    watch *found;

    if (id == 0 || index >= loop->watch_count) {
        return NULL;
    }
    found = &loop->watches[index];
    return found->fd >= 0 && found->generation == (uint32_t)(id >> 32) ? found : NULL;
}

static uint32_t take_watch(fpd_loop *loop)
{
    uint32_t index = loop->first_free;

    if (index != NO_FREE) {
        loop->first_free = loop->watches[index].next_free;
        return index;
    }
    if (loop->watch_count == loop->watch_capacity) {
        uint32_t capacity = loop->watch_capacity ? loop->watch_capacity * 2 : 64;
        watch *grown = apr_pcalloc(loop->pool, capacity * sizeof(*grown));
        if (loop->watch_count > 0) {
            memcpy(grown, loop->watches, loop->watch_count * sizeof(*grown));
        }
        loop->watches = grown;
        loop->watch_capacity = capacity;
    }
    index = loop->watch_count++;
    loop->watches[index].generation = 1; /* so that no id is ever 0 */
    return index;
}

static void give_watch(fpd_loop *loop, uint32_t index)
{
    watch *freed = &loop->watches[index];

    freed->fd = -1;
    if (++freed->generation == 0) {
        freed->generation = 1;
    }
    freed->next_free = loop->first_free;
    loop->first_free = index;
}

apr_status_t fpd_loop_add(fpd_loop *loop, int fd, uint32_t events, fpd_loop_event_fn *callback,
                          void *context, fpd_loop_id *id)
{
    uint32_t index = take_watch(loop);
    watch *added = &loop->watches[index];
    struct epoll_event event = {.events = events, .data.u64 = make_id(index, added->generation)};

    added->fd = fd;
    added->callback = callback;
    added->context = context;
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        int error = errno;
        give_watch(loop, index);
        return error;
    }
    *id = event.data.u64;
    return APR_SUCCESS;
}

apr_status_t fpd_loop_modify(fpd_loop *loop, fpd_loop_id id, uint32_t events)
{
    watch *found = find_watch(loop, id);
    struct epoll_event event = {.events = events, .data.u64 = id};

    if (found == NULL) {
        return APR_NOTFOUND;
    }
    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, found->fd, &event) == 0 ? APR_SUCCESS : errno;
}

void fpd_loop_remove(fpd_loop *loop, fpd_loop_id id)
{
    watch *found = find_watch(loop, id);

    if (found == NULL) {
        return;
    }
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, found->fd, NULL);
    give_watch(loop, (uint32_t)id);
}

/* ---- timers ------------------------------------------------------------------------------- */

static void heap_put(fpd_loop *loop, size_t at, fpd_loop_timer *timer)
{
    loop->heap[at] = timer;
    timer->heap_index = at;
}

static void sift_up(fpd_loop *loop, size_t at)
{
    fpd_loop_timer *timer = loop->heap[at];

    for (; at > 1 && loop->heap[at / 2]->when > timer->when; at /= 2) {
        heap_put(loop, at, loop->heap[at / 2]);
    }
    heap_put(loop, at, timer);
}

static void sift_down(fpd_loop *loop, size_t at)
{
    fpd_loop_timer *timer = loop->heap[at];

    for (;;) {
        size_t child = at * 2;
        if (child > loop->heap_used) {
            break;
        }
        if (child < loop->heap_used && loop->heap[child + 1]->when < loop->heap[child]->when) {
            child++;
        }
        if (loop->heap[child]->when >= timer->when) {
            break;
        }
        heap_put(loop, at, loop->heap[child]);
        at = child;
    }
    heap_put(loop, at, timer);
}

fpd_loop_timer *fpd_loop_timer_create(fpd_loop *loop, fpd_loop_timer_fn *callback, void *context)
{
    fpd_loop_timer *timer = apr_pcalloc(loop->pool, sizeof(*timer));

    timer->loop = loop;
    timer->callback = callback;
    timer->context = context;
    return timer;
}

void fpd_loop_timer_set(fpd_loop_timer *timer, int64_t when)
{
    fpd_loop *loop = timer->loop;

    timer->when = when;
    if (timer->heap_index == 0) {
        if (loop->heap_used + 1 >= loop->heap_capacity) {
            size_t capacity = loop->heap_capacity ? loop->heap_capacity * 2 : 32;
            fpd_loop_timer **grown = apr_pcalloc(loop->pool, capacity * sizeof(*grown));
            if (loop->heap_used > 0) {
                memcpy(grown, loop->heap, (loop->heap_used + 1) * sizeof(*grown));
            }
            loop->heap = grown;
            loop->heap_capacity = capacity;
        }
        heap_put(loop, ++loop->heap_used, timer);
    }
    sift_up(loop, timer->heap_index);
    sift_down(loop, timer->heap_index);
}

void fpd_loop_timer_cancel(fpd_loop_timer *timer)
{
    fpd_loop *loop = timer->loop;
    size_t at = timer->heap_index;
    fpd_loop_timer *last;

    if (at == 0) {
        return;
    }
    timer->heap_index = 0;
    last = loop->heap[loop->heap_used--];
    if (last != timer) {
        heap_put(loop, at, last);
        sift_up(loop, at);
        sift_down(loop, last->heap_index);
    }
}

int fpd_loop_timer_is_set(const fpd_loop_timer *timer)
{
    return timer->heap_index != 0;
}

int64_t fpd_loop_timer_when(const fpd_loop_timer *timer)
{
    return timer->heap_index != 0 ? timer->when : 0;
}

/* Only timers that were due on entry fire: one that sets itself again to "now" cannot starve I/O.
 */
static void run_timers(fpd_loop *loop)
{
    int64_t due = loop->now;

    while (loop->is_running && loop->heap_used > 0 && loop->heap[1]->when <= due) {
        fpd_loop_timer *timer = loop->heap[1];
        fpd_loop_timer_cancel(timer);
        timer->callback(timer->context);
        if (timer->heap_index != 0 && timer->when <= due) {
            fpd_loop_timer_set(timer, due + 1);
        }
    }
}

/* ---- signals ------------------------------------------------------------------------------ */

static void read_signals(void *context, uint32_t events)
{
    fpd_loop *loop = context;
    struct signalfd_siginfo info;

    (void)events;
    while (read(loop->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        loop->signal_callback(loop->signal_context, (int)info.ssi_signo);
    }
}

apr_status_t fpd_loop_watch_signals(fpd_loop *loop, const sigset_t *set,
                                    fpd_loop_signal_fn *callback, void *context)
{
    fpd_loop_id id;

    if (loop->signal_fd >= 0) {
        return APR_EINVAL;
    }
    if (sigprocmask(SIG_BLOCK, set, NULL) != 0) {
        return errno;
    }
    /* a signal that our parent left ignored would never arrive */
    for (int number = 1; number < NSIG; number++) {
        if (sigismember(set, number) == 1) {
            (void)signal(number, SIG_DFL);
        }
    }
    loop->signal_callback = callback;
    loop->signal_context = context;
    loop->signal_fd = signalfd(-1, set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (loop->signal_fd < 0) {
        return errno;
    }
    return fpd_loop_add(loop, loop->signal_fd, EPOLLIN, read_signals, loop, &id);
}

/* ---- the loop ----------------------------------------------------------------------------- */

/* Milliseconds for epoll_wait, rounded up so that a timer is due when it wakes. */
static int wait_limit(const fpd_loop *loop)
{
    int64_t left;

    if (loop->heap_used == 0) {
        return -1;
    }
    left = loop->heap[1]->when - fpd_monotonic_now();
    if (left <= 0) {
        return 0;
    }
    left = (left + 999) / 1000;
    return left > 3600000 ? 3600000 : (int)left;
}

apr_status_t fpd_loop_run(fpd_loop *loop)
{
    struct epoll_event events[EVENTS_AT_ONCE];

    loop->is_running = 1;
    while (loop->is_running) {
        int count = epoll_wait(loop->epoll_fd, events, EVENTS_AT_ONCE, wait_limit(loop));
        if (count < 0 && errno != EINTR) {
            return errno;
        }
        loop->now = fpd_monotonic_now();
        for (int i = 0; i < count && loop->is_running; i++) {
            watch *found = find_watch(loop, events[i].data.u64);
            if (found != NULL) {
                found->callback(found->context, events[i].events);
            }
        }
        run_timers(loop);
    }
    return APR_SUCCESS;
}

void fpd_loop_stop(fpd_loop *loop)
{
    loop->is_running = 0;
}
