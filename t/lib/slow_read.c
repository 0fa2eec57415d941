/* slow_read.c - preloaded into the daemon: whoever reads the memory of a process is put off between
 * two reads, now and then, as on a busy machine. t/39-slow-log.t.
 */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

ssize_t process_vm_readv(pid_t pid, const struct iovec *local, unsigned long local_count,
                         const struct iovec *remote, unsigned long remote_count,
                         unsigned long flags)
{
    static unsigned random = 1; /* one thread of a process reads */
    random = random * 1664525 + 1013904223;
    if ((random >> 16) % 8 == 0) {
        struct timespec time = {.tv_nsec = 1000 + (random >> 20) % 4096 * 25};
        nanosleep(&time, NULL);
    }
    return syscall(SYS_process_vm_readv, pid, local, local_count, remote, remote_count, flags);
}
