/* fpmp_choice.h - which pool a name or an expression of FpmPool means for this request. */
#ifndef FPMP_CHOICE_H
#define FPMP_CHOICE_H

#include "fpmp_conf.h"

typedef enum fpmp_choice_result {
    FPMP_CHOICE_POOL,
    FPMP_CHOICE_NONE,   /* the expression gives nothing, or `none`: scripts are switched off */
    FPMP_CHOICE_ABSENT, /* its name is no pool's, at least now */
    FPMP_CHOICE_BUSY,   /* no room for one more: FpmPoolMaxPools */
    FPMP_CHOICE_WRONG   /* it cannot be evaluated, or gives what can be no name */
} fpmp_choice_result;

/* Everything but a pool is logged. The pool stays until fpmp_choice_release. */
fpmp_choice_result fpmp_choice_find(request_rec *r, const fpmp_global *global,
                                    const fpmp_choice *choice, const fpmp_pool **pool);
void fpmp_choice_release(const fpmp_global *global, const fpmp_pool *pool);

#endif
