/* fpmp_client.c - is the client still there?
 *
 * Runs in an httpd child. Looks at the connection without reading from it.
 */
#include "fpmp_client.h"

#include <http_core.h>
#include <apr_poll.h>
#include <apr_portable.h>
#include <poll.h>
#include <string.h>

int fpmp_client_descriptor(conn_rec *connection)
{
    apr_pollfd_t wait;
    apr_os_sock_t socket = -1;
    apr_os_file_t file = -1;
    memset(&wait, 0, sizeof(wait));
    if (ap_get_pollfd_from_conn(connection, &wait, NULL) != APR_SUCCESS) {
        return -1;
    }
    if (wait.desc_type == APR_POLL_SOCKET && apr_os_sock_get(&socket, wait.desc.s) == APR_SUCCESS) {
        return socket;
    }
    if (wait.desc_type == APR_POLL_FILE && apr_os_file_get(&file, wait.desc.f) == APR_SUCCESS) {
        return file;
    }
    return -1;
}

int fpmp_client_has_left(short events)
{
    return (events & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
}

int fpmp_client_is_gone(const conn_rec *connection, int descriptor)
{
    struct pollfd polled = {.fd = descriptor, .events = POLLRDHUP};
    return connection->aborted ||
           (descriptor >= 0 && poll(&polled, 1, 0) > 0 && fpmp_client_has_left(polled.revents));
}
