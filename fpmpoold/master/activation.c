/* activation.c - what a service manager passes at exec, and which pool it is for.
 *
 * Runs in the master. Names of descriptors (LISTEN_FDNAMES) mean nothing here: a socket belongs to
 * the pool that has its address.
 */
#include "master/activation.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "master/listen.h"

#define FIRST_FD 3
#define FDS_MAX  4096

/* A whole decimal number up to `most`, or -1. */
static long read_number(const char *text, long most)
{
    long number;

    if (text == NULL || *text == '\0' || strlen(text) > 10 ||
        text[strspn(text, "0123456789")] != '\0') {
        return -1;
    }
    number = atol(text);
    return number <= most ? number : -1;
}

static int prepare(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
           fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

void fpd_activation_read(fpd_activation *activation)
{
    long pid = read_number(getenv("LISTEN_PID"), 2147483647);
    long count = read_number(getenv("LISTEN_FDS"), FDS_MAX);
    int has_variables = getenv("LISTEN_FDS") != NULL && pid == (long)getpid();

    activation->first = FIRST_FD;
    activation->count = 0;
    if (has_variables && count < 0) {
        fpd_log(FPD_LOG_WARNING, "LISTEN_FDS='%s' is not a number from 0 to %d and was ignored",
                getenv("LISTEN_FDS"), FDS_MAX);
    }
    for (int fd = FIRST_FD; has_variables && fd < FIRST_FD + count; fd++) {
        if (!prepare(fd)) {
            fpd_log(FPD_LOG_WARNING,
                    "LISTEN_FDS='%ld', but descriptor %d is not open: it and later ones were "
                    "ignored",
                    count, fd);
            break;
        }
        activation->count++;
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

/* ---- addresses ---------------------------------------------------------------------------- */

typedef union address {
    struct sockaddr any;
    struct sockaddr_un path;
    struct sockaddr_storage storage;
} address;

/* The address of a stream socket that listens; 0: it is none. */
static int read_address(int fd, address *found, socklen_t *length)
{
    int is_listening = 0;
    int type = 0;
    socklen_t size = sizeof(int);

    memset(found, 0, sizeof(*found));
    *length = sizeof(*found);
    if (getsockname(fd, &found->any, length) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0) {
        return 0;
    }
    return is_listening && type == SOCK_STREAM;
}

static int is_at(const address *found, const char *host, const char *port, int flags)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *wanted;
    int is_same = 0;

    if (getaddrinfo(host, port, &hints, &wanted) != 0) {
        return 0;
    }
    for (const struct addrinfo *one = wanted; one != NULL && !is_same; one = one->ai_next) {
        is_same = one->ai_family == found->any.sa_family &&
                  memcmp(one->ai_addr, &found->any, one->ai_addrlen) == 0;
    }
    freeaddrinfo(wanted);
    return is_same;
}

int fpd_activation_matches(int fd, const char *listen, apr_pool_t *scratch)
{
    address found;
    socklen_t length;
    const char *host;
    const char *port;
    int flags;

    if (!read_address(fd, &found, &length)) {
        return 0;
    }
    if (!fpd_listen_is_tcp(listen)) {
        return found.any.sa_family == AF_UNIX && strcmp(found.path.sun_path, listen) == 0;
    }
    fpd_listen_split(listen, &host, &port, &flags, scratch);
    if (strchr(listen, ':') == NULL) { /* a port alone: any address, of either kind */
        return is_at(&found, host, port, flags) || is_at(&found, "0.0.0.0", port, flags);
    }
    return is_at(&found, host, port, flags);
}

void fpd_activation_name(int fd, char name[FPD_ACTIVATION_NAME])
{
    address found = {.any = {0}};
    socklen_t length = sizeof(found);
    char host[64];
    char port[16];

    snprintf(name, FPD_ACTIVATION_NAME, "descriptor %d", fd);
    if (getsockname(fd, &found.any, &length) != 0) {
        return;
    }
    if (found.any.sa_family == AF_UNIX && found.path.sun_path[0] == '/') {
        snprintf(name, FPD_ACTIVATION_NAME, "%s", found.path.sun_path);
    } else if (found.any.sa_family != AF_UNIX &&
               getnameinfo(&found.any, length, host, sizeof(host), port, sizeof(port),
                           NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
        snprintf(name, FPD_ACTIVATION_NAME, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host,
                 port);
    }
}
