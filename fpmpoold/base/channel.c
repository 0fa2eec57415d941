/* channel.c - one message, one packet, with descriptors.
 *
 * Runs in the master, pool processes and workers. It checks sizes and closes descriptors of packets
 * that are cut or malformed; what a message means is the caller's business.
 */
#include "base/channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

apr_status_t fpd_channel_pair(int fds[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0 ? APR_SUCCESS : errno;
}

apr_status_t fpd_channel_send(int channel, fpd_message_type type, const void *body, size_t length,
                              const void *more, size_t more_length, const int *fds, int fd_count,
                              int flags)
{
    fpd_message_header header = {.type = type, .length = (uint32_t)(length + more_length)};
    struct iovec parts[3] = {
        {&header, sizeof(header)}, {(void *)body, length}, {(void *)more, more_length}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(FPD_CHANNEL_FDS * sizeof(int))];
    } control;

    if (length + more_length > FPD_CHANNEL_BODY_MAX || fd_count > FPD_CHANNEL_FDS) {
        return APR_EINVAL;
    }
    if (fd_count > 0) {
        memset(&control, 0, sizeof(control));
        message.msg_control = control.space;
        message.msg_controllen = CMSG_SPACE((size_t)fd_count * sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN((size_t)fd_count * sizeof(int));
        memcpy(CMSG_DATA(&control.header), fds, (size_t)fd_count * sizeof(int));
    }
    for (;;) {
        if (sendmsg(channel, &message, flags | MSG_NOSIGNAL) >= 0) {
            return APR_SUCCESS;
        }
        if (errno != EINTR) {
            return errno;
        }
    }
}

/* Collects the descriptors of a packet; those beyond the limit are closed at once. */
static void take_descriptors(struct msghdr *packet, fpd_message *message)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(packet); part != NULL;
         part = CMSG_NXTHDR(packet, part)) {
        size_t count;
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(fd));
            if (message->fd_count < FPD_CHANNEL_FDS) {
                message->fds[message->fd_count++] = fd;
            } else {
                close(fd);
            }
        }
    }
}

static apr_status_t refuse(fpd_message *message)
{
    while (message->fd_count > 0) {
        close(message->fds[--message->fd_count]);
    }
    return APR_EGENERAL;
}

apr_status_t fpd_channel_receive(int channel, fpd_message *message, fpd_message_buffer *buffer,
                                 int flags)
{
    struct iovec part = {buffer->bytes, sizeof(buffer->bytes)};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(FPD_CHANNEL_FDS * sizeof(int))];
    } control;
    struct msghdr packet = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.space,
                            .msg_controllen = sizeof(control.space)};
    fpd_message_header header;
    ssize_t got;

    message->fd_count = 0;
    do {
        got = recvmsg(channel, &packet, flags | MSG_CMSG_CLOEXEC);
        /* The other side is gone and had not read everything: that is said once, and before the
         * packets that it had sent, which are still there. */
    } while (got < 0 && (errno == EINTR || errno == ECONNRESET));
    if (got < 0) {
        return errno;
    }
    take_descriptors(&packet, message);
    if (got == 0) {
        (void)refuse(message);
        return APR_EOF;
    }
    if ((size_t)got < sizeof(header) || (packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        return refuse(message);
    }
    memcpy(&header, buffer->bytes, sizeof(header));
    if (header.length != (size_t)got - sizeof(header)) {
        return refuse(message);
    }
    message->type = header.type;
    message->length = header.length;
    message->body = buffer->bytes + sizeof(header);
    return APR_SUCCESS;
}
