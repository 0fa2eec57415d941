/* shortage.c - says which limit an errno means and how it is raised. Runs in every process. */
#include "base/shortage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "apr_errno.h"

const char *fpd_shortage_describe(char to[FPD_SHORTAGE_MAX], int error)
{
    char *rest;
    size_t size;

    apr_strerror(error, to, FPD_SHORTAGE_MAX / 2);
    rest = to + strlen(to);
    size = FPD_SHORTAGE_MAX - (size_t)(rest - to);
    switch (error) {
    case EAGAIN: /* of fork */
        (void)snprintf(rest, size,
                       " (%d); raise the limit of processes of user %u (LimitNPROC, ulimit -u), or "
                       "TasksMax",
                       error, (unsigned)getuid());
        break;
    case EMFILE:
        (void)snprintf(rest, size, " (%d); raise the limit of open files (LimitNOFILE, ulimit -n)",
                       error);
        break;
    case ENFILE:
        (void)snprintf(rest, size, " (%d); raise the system's limit (sysctl fs.file-max)", error);
        break;
    case ENOMEM:
        (void)snprintf(rest, size, " (%d); give the service more memory (MemoryMax)", error);
        break;
    default:
        (void)snprintf(rest, size, " (%d)", error);
    }
    return to;
}
