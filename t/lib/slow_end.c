/* slow_end.c - preloaded into httpd: makes wide what is narrow when one of its processes ends.
 *
 * SLOW_END=connection: a worker of the event MPM that has closed a connection computes for half a
 *   second of processor time before it gives back its memory, and the main thread of the child
 *   rests for a second before it looks at one.
 * SLOW_END=name: the name server answers a thread that asks for host.invalid only when all exit
 *   handlers have run, and then the process stays for half a second.
 * Writes the file $SLOW_END_MARK when a thread is there. 02-harness.t, 56-module-processes.t.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define HALF_A_SECOND 500000000L

int apr_socket_close(void *of);
int apr_os_sock_get(int *descriptor, void *of);

static pid_t parent;
static atomic_int is_at_end;
static atomic_int waits;

static int is_wanted(const char *what)
{
    const char *wanted = getenv("SLOW_END");
    return wanted != NULL && strcmp(wanted, what) == 0;
}

static int is_main_thread(void)
{
    return syscall(SYS_gettid) == getpid();
}

static void mark(void)
{
    const char *path = getenv("SLOW_END_MARK");
    int fd = path != NULL ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666) : -1;
    if (fd >= 0) {
        close(fd);
    }
}

static void rest(void)
{
    struct timespec time = {.tv_nsec = HALF_A_SECOND};
    while (nanosleep(&time, &time) != 0) {
    }
}

static void compute(void)
{
    struct timespec used = {0};
    while (used.tv_sec == 0 && used.tv_nsec < HALF_A_SECOND) {
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    }
}

int apr_socket_close(void *of)
{
    int (*next)(void *) = dlsym(RTLD_NEXT, "apr_socket_close");
    Dl_info caller;
    int result = next(of);
    if (is_wanted("connection") && !is_main_thread() &&
        dladdr(__builtin_return_address(0), &caller) != 0 &&
        strstr(caller.dli_fname, "mod_mpm_event") != NULL) {
        mark();
        compute();
    }
    return result;
}

int apr_os_sock_get(int *descriptor, void *of)
{
    int (*next)(int *, void *) = dlsym(RTLD_NEXT, "apr_os_sock_get");
    if (is_wanted("connection") && is_main_thread() && getpid() != parent) {
        rest();
        rest();
    }
    return next(descriptor, of);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **result)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");
    if (node == NULL || strcmp(node, "host.invalid") != 0) {
        return next(node, service, hints, result);
    }
    if (is_wanted("name") && !is_main_thread()) {
        waits = 1;
        mark();
        while (!is_at_end) {
            usleep(1000);
        }
    }
    return EAI_NONAME;
}

__attribute__((constructor)) static void begin(void)
{
    parent = getpid();
}

/* Runs after what the program gave to atexit. */
__attribute__((destructor)) static void end(void)
{
    is_at_end = 1;
    if (waits) {
        rest();
    }
}
