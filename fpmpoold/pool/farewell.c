/* farewell.c - the end of idle kept connections.
 *
 * Runs in the pool process: drain, idle exit, want of descriptors. It must not touch a connection
 * that a worker has.
 */
#include "pool/farewell.h"

#include <sys/socket.h>

#include "pool/answer.h"
#include "pool/dispatch.h"
#include "pool/head.h"

void fpd_farewell_say(fpd_connection *connection)
{
    fpd_pool *pool = connection->pool;
    fpd_head head;
    ssize_t length;

    fpd_connections_hold(connection);
    if (!connection->is_closing) {
        connection->is_closing = 1;
        (void)shutdown(connection->fd, SHUT_RD);
    }
    length = fpd_connections_peek(connection, pool->peek, FPD_POOL_PEEK_SIZE);
    if (length <= 0) {
        fpd_connections_close(connection);
        return;
    }
    (void)fpd_head_read(&head, pool->peek, (size_t)length, pool->params, FPD_POOL_PARAMS_SIZE);
    if (head.progress == FPD_HEAD_REQUEST && head.consumed <= (size_t)length) {
        connection->request_id = head.request_id;
        connection->ready_at = fpd_loop_now(pool->loop);
        fpd_dispatch_request(connection);
    } else if (head.request_id != 0) {
        fpd_answer_not_taken(connection, head.request_id);
    } else {
        fpd_connections_linger(connection);
    }
}

void fpd_farewell_oldest(fpd_pool *pool, int count)
{
    for (int i = 0; i < count; i++) {
        fpd_connection *oldest = fpd_connections_oldest_idle(pool);
        if (oldest == NULL) {
            return;
        }
        fpd_farewell_say(oldest);
    }
}
