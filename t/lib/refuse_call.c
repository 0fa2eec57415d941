/* refuse_call.c - refuse_call (read|thread) PROGRAM ARGUMENT... : runs a program to which the
 * kernel refuses process_vm_readv (as containers with a strict seccomp profile do), or new threads
 * (as a limit of processes does). t/39-slow-log.t builds it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOAD(field)         BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (skip))
#define ANSWER(error)       BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))
#define ALLOW               BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

int main(int argc, char **argv)
{
    struct sock_filter read_filter[] = {
        LOAD(nr),
        UNLESS(SYS_process_vm_readv, 1),
        ANSWER(EPERM),
        ALLOW,
    };
    /* libc tries clone3, whose flags a filter cannot see, and then clone */
    struct sock_filter thread_filter[] = {
        LOAD(nr),       UNLESS(SYS_clone3, 1),
        ANSWER(ENOSYS), UNLESS(SYS_clone, 3),
        LOAD(args[0]),  BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1),
        ANSWER(EAGAIN), ALLOW,
    };
    struct sock_fprog program = {.len = sizeof(read_filter) / sizeof(read_filter[0]),
                                 .filter = read_filter};

    if (argc < 3) {
        return 64;
    }
    if (strcmp(argv[1], "thread") == 0) {
        program.len = sizeof(thread_filter) / sizeof(thread_filter[0]);
        program.filter = thread_filter;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0) {
        perror("refuse_call");
        return 70;
    }
    execv(argv[2], argv + 2);
    perror(argv[2]);
    return 71;
}
