/* safe_close.c - preloaded into httpd: keeps its event MPM from a defect of its own.
 *
 * At a stop or restart that is not graceful, the main thread of an event child closes the clients'
 * connections, and looks at the memory of one that a worker gives back in the same moment: the
 * child dies of SIGSEGV (in apr_os_sock_get; httpd 2.4.68 and 2.4.71, also without any module).
 * Here that thread reads through the kernel, which says when the memory is gone, and shuts the
 * connection down itself. Tests that restart httpd under load need it to see other crashes.
 * 56-module-lifecycle.t.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct head_of_socket { /* as libapr-1 has it since 1.0 */
    void *pool;
    int descriptor;
};

int apr_os_sock_get(int *descriptor, void *of);

static pid_t parent;

__attribute__((constructor)) static void begin(void)
{
    parent = getpid();
}

int apr_os_sock_get(int *descriptor, void *of)
{
    int (*next)(int *, void *) = dlsym(RTLD_NEXT, "apr_os_sock_get");
    if (getpid() == parent || syscall(SYS_gettid) != getpid()) {
        return next(descriptor, of);
    }
    struct head_of_socket head = {0};
    struct iovec local = {.iov_base = &head, .iov_len = sizeof(head)};
    struct iovec remote = {.iov_base = of, .iov_len = sizeof(head)};
    if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)sizeof(head) &&
        head.pool != NULL && head.descriptor > STDERR_FILENO) {
        (void)shutdown(head.descriptor, SHUT_RDWR);
    }
    *descriptor = -1; /* the caller takes it for closed */
    return 0;
}
