/* activation.h - listening sockets that a service manager opened for us (LISTEN_FDS, LISTEN_PID).
 */
#ifndef FPD_ACTIVATION_H
#define FPD_ACTIVATION_H

#include "apr_pools.h"

#define FPD_ACTIVATION_NAME 160

/* Plain data. */
typedef struct fpd_activation {
    int first;
    int count; /* 0: none */
} fpd_activation;

/* Reads the environment and takes its variables away. The descriptors become close-on-exec and
 * non-blocking. Nothing when LISTEN_PID is another process's; a WARNING when a descriptor is not
 * there. */
void fpd_activation_read(fpd_activation *activation);

/* Is fd a listening stream socket at that address, as a pool's 'listen' writes it? */
int fpd_activation_matches(int fd, const char *listen, apr_pool_t *scratch);

/* Its address as text: a path, or IP:PORT. */
void fpd_activation_name(int fd, char name[FPD_ACTIVATION_NAME]);

#endif
