/* deaths.h - workers that have ended. */
#ifndef FPD_DEATHS_H
#define FPD_DEATHS_H

#include "pool/pool.h"

/* After SIGCHLD: takes every child that has ended. */
void fpd_deaths_reap(fpd_pool *pool);

#endif
