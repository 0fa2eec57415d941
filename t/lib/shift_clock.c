/* shift_clock.c - preloaded: moves the time of day of one process tree by the seconds that stand in
 * the file $SHIFT_CLOCK, while CLOCK_MONOTONIC goes on as it was. As an administrator or an NTP
 * daemon that sets the clock. t/18-clock.t builds it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile long *shift;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("SHIFT_CLOCK");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *mapped = fd >= 0 ? mmap(NULL, sizeof(*shift), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

    if (mapped == MAP_FAILED) {
        static const char text[] = "shift_clock: $SHIFT_CLOCK cannot be read\n";
        (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
        _exit(99);
    }
    shift = mapped;
    close(fd);
}

int clock_gettime(clockid_t id, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, id, now);

    if (result == 0 && shift != NULL && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        now->tv_sec += *shift;
    }
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec exact;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *to)
{
    struct timespec exact;

    clock_gettime(CLOCK_REALTIME, &exact);
    if (to != NULL) {
        *to = exact.tv_sec;
    }
    return exact.tv_sec;
}
