/* An interpreter host that a tenant has made: says READY, then sends the master a socket whose
 * close takes 20 seconds (SO_LINGER with unread data), on its channel and on its log. Prints for
 * both what came of it into the file that GIVE_DESCRIPTOR_RESULT names at build time. */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/channel.h"
#include "base/plan_format.h"

static int make_lingering(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct linger linger = {.l_onoff = 1, .l_linger = 20};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    char bytes[4096] = "";
    int server;

    if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0 ||
        connect(client, (struct sockaddr *)&address, size) != 0) {
        return -1;
    }
    server = accept(listener, NULL, NULL);
    while (send(server, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
    (void)setsockopt(server, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    return server;
}

/* The packet of a message, sent on a socket of any kind. */
static int give(int to, int fd)
{
    fpd_message_header header = {.type = FPD_MESSAGE_IDLE};
    struct iovec part = {&header, sizeof(header)};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = ""};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof(control.space)};

    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    return sendmsg(to, &message, MSG_NOSIGNAL) >= 0 ? 0 : errno;
}

int main(void)
{
    static const int targets[] = {FPD_FD_CHANNEL, FPD_FD_LOG};
    char path[PATH_MAX] = "";
    char result[PATH_MAX + 16];
    char draft[PATH_MAX + 16];
    FILE *file;
    char byte;

    if (readlink("/proc/self/exe", path, sizeof(path) - 1) <= 0) {
        return 1;
    }
    (void)snprintf(result, sizeof(result), "%s.result", path);
    (void)snprintf(draft, sizeof(draft), "%s.new", path);
    file = fopen(draft, "w");

    (void)fpd_channel_send(FPD_FD_CHANNEL, FPD_MESSAGE_READY, NULL, 0, NULL, 0, NULL, 0, 0);
    for (int i = 0; i < 2; i++) {
        int fd = make_lingering();
        int error = fd < 0 ? errno : give(targets[i], fd);
        if (error == 0) { /* else our own close would wait */
            close(fd);
        }
        if (file != NULL) {
            (void)fprintf(file, "%s\n", error == 0 ? "sent" : strerror(error));
        }
    }
    if (file != NULL && fclose(file) == 0) {
        (void)rename(draft, result);
    }
    while (recv(FPD_FD_CHANNEL, &byte, 1, 0) > 0) {
    }
    return 0;
}
