/* fpmp_admit.h - a request is let in to its pool, or waits for that, or is refused (FpmPoolLimit).
 *
 * It has a place from then on until fpmp_admit_leave, over all its attempts in that pool. While the
 * client's body is waited for it has none, but keeps its turn.
 */
#ifndef FPMP_ADMIT_H
#define FPMP_ADMIT_H

#include "fpmp_balance.h"
#include "fpmp_limit.h"
#include "fpmp_queue.h"

#define FPMP_ADMIT_REFUSED (-3) /* by the limits: see fpmp_admission.answer */
#define FPMP_ADMIT_GONE    (-4) /* the client went away while it waited */

/* Zeroed: nowhere. */
typedef struct fpmp_admission {
    fpmp_limit limit;           /* of the pool where it is */
    fpmp_limit_answer answer;   /* why it was refused */
    apr_interval_time_t waited; /* in all queues */

    int is_limited; /* there is one */

    /* private */
    const fpmp_pool *pool; /* NULL: nowhere */
    int is_counted;        /* its client's address is */
    fpmp_stay stay;
} fpmp_admission;

/* It turns to this pool: what it had in another one is given back. total: of FpmPoolTimeout. */
void fpmp_admit_turn_to(fpmp_admission *admission, const request_rec *r, const fpmp_dir_conf *conf,
                        const fpmp_global *global, const fpmp_pool *pool,
                        apr_interval_time_t total);

/* A place and a server: fpmp_balance_take, or one of the above. Waits as long as the limit says,
 * unless the request had a place before. *now: when that was done. */
int fpmp_admit_take(fpmp_admission *admission, request_rec *r, const fpmp_global *global,
                    fpmp_wish *wish, uint64_t tried, apr_time_t *now);

/* The server is free of it: it may take one that waits because of max=. */
void fpmp_admit_release(const fpmp_global *global, const fpmp_pool *pool,
                        const fpmp_server *server);

/* Its client's body is waited for: the place is given back. */
void fpmp_admit_pause(fpmp_admission *admission);

/* It is over for the pool. */
void fpmp_admit_leave(fpmp_admission *admission);

#endif
