/* peer.c - clients on other hosts that vanish without a word.
 *
 * Runs in pool processes and workers. Must not decide what happens to a connection.
 */
#include "base/peer.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#define IDLE            30 /* seconds without traffic before the first question */
#define INTERVAL        5
#define QUESTIONS       4
#define UNANSWERED_MOST 7 /* from 0.2 s on each waits twice as long: 25 s */

_Static_assert(IDLE + INTERVAL * QUESTIONS == FPD_PEER_SILENCE, "what the header says");

/* A connection that cannot be watched serves all the same. */
static void set(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof(value));
}

void fpd_peer_watch(int fd)
{
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, IDLE);
    set(fd, IPPROTO_TCP, TCP_KEEPINTVL, INTERVAL);
    set(fd, IPPROTO_TCP, TCP_KEEPCNT, QUESTIONS);
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

int fpd_peer_is_silent(uint32_t unacknowledged, uint32_t repeated, uint32_t asked)
{
    return (unacknowledged > 0 && repeated >= UNANSWERED_MOST) || asked >= UNANSWERED_MOST;
}

/* TCP_USER_TIMEOUT would also end the connection of a client that reads slowly: it counts a closed
 * window whose owner answers. */
int fpd_peer_has_vanished(int fd)
{
    struct tcp_info info;
    socklen_t size = sizeof(info);

    memset(&info, 0, sizeof(info));
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
           fpd_peer_is_silent(info.tcpi_unacked, info.tcpi_retransmits, info.tcpi_probes);
}
