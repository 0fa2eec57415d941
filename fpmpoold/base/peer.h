/* peer.h - clients on other hosts that vanish without a word: no power, no cable, no route.
 *
 * Nothing closes their connections, so that the kernel has to be told to look. Both functions do
 * nothing for sockets that are not TCP. A client that is only slow is never taken for one that has
 * vanished: its kernel goes on acknowledging.
 */
#ifndef FPD_BASE_PEER_H
#define FPD_BASE_PEER_H

#include <stdint.h>

/* A TCP connection without traffic whose peer does not answer the kernel is closed after
 * FPD_PEER_SILENCE seconds. For a listening socket: all connections that it accepts later. */
#define FPD_PEER_SILENCE 50

void fpd_peer_watch(int fd);

/* Bytes are on their way, and nothing that the kernel sent since (at least 25 seconds, longer over
 * long distances) was acknowledged. */
int fpd_peer_has_vanished(int fd);

/* The decision alone: packets that wait to be acknowledged, transmissions repeated without an
 * acknowledgement, and questions to a closed window without one, as TCP_INFO counts them. */
int fpd_peer_is_silent(uint32_t unacknowledged, uint32_t repeated, uint32_t asked);

#endif
