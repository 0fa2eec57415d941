/* fpmp_select.c - which pool, which server, which time limits.
 *
 * Runs in an httpd child for each request. Pure: owns nothing, must not do I/O or log.
 */
#include "fpmp_select.h"

const fpmp_pool *fpmp_select_pool(apr_hash_t *pools, const char *name)
{
    return apr_hash_get(pools, name, APR_HASH_KEY_STRING);
}

const fpmp_server *fpmp_select_server(const fpmp_pool *pool)
{
    return &pool->server;
}

fpmp_timeouts fpmp_select_timeouts(const fpmp_timeouts *section, const fpmp_pool *pool,
                                   const fpmp_timeouts *server)
{
    fpmp_timeouts result = {.connect = FPMP_CONNECT_DEFAULT,
                            .first = FPMP_FIRST_DEFAULT,
                            .idle = FPMP_IDLE_DEFAULT,
                            .total = FPMP_TOTAL_DEFAULT,
                            .keep = FPMP_KEEP_DEFAULT,
                            .connect_set = 1,
                            .first_set = 1,
                            .idle_set = 1,
                            .total_set = 1,
                            .keep_set = 1};
    fpmp_pool_overlay(&result, server);
    fpmp_pool_overlay(&result, &pool->timeouts);
    fpmp_pool_overlay(&result, section);
    return result;
}

int fpmp_select_may_reuse(const fpmp_server *server, int is_idempotent, int has_body,
                          int is_streamed)
{
    if (!server->reuses || is_streamed) {
        return 0;
    }
    if (server->type == FPMP_TYPE_FPMPOOL && server->address.path) {
        return 1;
    }
    return is_idempotent && !has_body;
}
