/* fpmp_limit.c - how many requests of a pool are let in: the rules.
 *
 * Runs in an httpd child for each request of a pool with limits; the overlay also in the parent,
 * while the configuration is read. Pure: owns nothing, must not do I/O or log.
 */
#include "fpmp_limit.h"

int fpmp_limit_is_set(const fpmp_limit *limit)
{
    return limit->requests || limit->queue || limit->per_address;
}

static int may_enter(const fpmp_limit *limit, const fpmp_limit_view *view)
{
    if (view->elders && !view->is_stalled) {
        return 0;
    }
    return view->has_server && (!limit->requests || view->in_flight < limit->requests);
}

fpmp_limit_answer fpmp_limit_decide(const fpmp_limit *limit, const fpmp_limit_view *view)
{
    if (limit->per_address && view->of_address >= limit->per_address) {
        return FPMP_LIMIT_PER_ADDRESS;
    }
    if (may_enter(limit, view)) {
        return FPMP_LIMIT_ENTER;
    }
    if (!view->is_in_queue && !limit->queue) {
        return view->has_server ? FPMP_LIMIT_REQUESTS : FPMP_LIMIT_FULL;
    }
    if (!view->is_in_queue && view->waiting >= limit->queue) {
        return FPMP_LIMIT_QUEUE_FULL;
    }
    return view->waited >= limit->wait ? FPMP_LIMIT_QUEUE_TIMEOUT : FPMP_LIMIT_WAIT;
}

const char *fpmp_limit_state(fpmp_limit_answer answer)
{
    switch (answer) {
    case FPMP_LIMIT_FULL:
        return "full";
    case FPMP_LIMIT_REQUESTS:
        return "limit";
    case FPMP_LIMIT_QUEUE_FULL:
        return "queue-full";
    case FPMP_LIMIT_QUEUE_TIMEOUT:
        return "queue-timeout";
    case FPMP_LIMIT_PER_ADDRESS:
        return "perip";
    case FPMP_LIMIT_ENTER:
    case FPMP_LIMIT_WAIT:
        break;
    }
    return NULL;
}

void fpmp_limit_overlay(fpmp_limit *limit, const fpmp_limit *inner)
{
#define OVERLAY(field)                                                                             \
    if (inner->field##_set) {                                                                      \
        limit->field = inner->field;                                                               \
        limit->field##_set = 1;                                                                    \
    }
    OVERLAY(requests)
    OVERLAY(queue)
    OVERLAY(wait)
    OVERLAY(per_address)
    OVERLAY(status)
    OVERLAY(retry_after)
#undef OVERLAY
}

fpmp_limit fpmp_limit_resolve(const fpmp_limit *section, const fpmp_pool *pool,
                              const fpmp_limit *server, const fpmp_limit *any, int retry_after)
{
    fpmp_limit result = {.wait = FPMP_LIMIT_WAIT_DEFAULT,
                         .status = 503,
                         .retry_after = retry_after,
                         .requests_set = 1,
                         .queue_set = 1,
                         .wait_set = 1,
                         .per_address_set = 1,
                         .status_set = 1,
                         .retry_after_set = 1};
    if (any) {
        fpmp_limit_overlay(&result, any);
    }
    fpmp_limit_overlay(&result, server);
    fpmp_limit_overlay(&result, &pool->limit);
    fpmp_limit_overlay(&result, section);
    return result;
}
