/* systemd.h - what the service manager is told (sd_notify's protocol), and how often.
 *
 * NOTIFY_SOCKET stays in the master's environment for its next image; hosts do not get it.
 */
#ifndef FPD_SYSTEMD_H
#define FPD_SYSTEMD_H

#include "apr_pools.h"
#include "base/loop.h"
#include "conf/conf.h"
#include "master/pools.h"
#include "master/state.h"

typedef struct fpd_systemd {
    const fpd_pools *pools;
    fpd_loop *loop;
    fpd_loop_timer *timer;
    int64_t interval; /* milliseconds between two reports; 0: none */
    int has_watchdog;
    int has_started;  /* READY was sent: reports may follow */
    int has_interval; /* which was logged */
    int is_reloading;
    int is_stopping;
    uint64_t last_requests;
    int64_t last_report; /* fpd_monotonic_now */
} fpd_systemd;

/* Reads WATCHDOG_USEC and the global section, says what follows from them in php-fpm's words.
 * Before the loop is there; says nothing to systemd. */
void fpd_systemd_init(fpd_systemd *systemd, const fpd_conf_global *global);

/* The daemon is ready: tells it, and reports every interval from now on. Logs the interval, and
 * what could not be told. */
void fpd_systemd_start(fpd_systemd *systemd, fpd_loop *loop, const fpd_pools *pools);

/* Over an exec of the master: after fpd_systemd_init of the new image, reports go on, and a reload
 * that systemd was told of. fpd_systemd_start then logs the interval alone. */
void fpd_systemd_save(const fpd_systemd *systemd, fpd_state *state);
void fpd_systemd_resume(fpd_systemd *systemd, const fpd_state *state, fpd_loop *loop,
                        const fpd_pools *pools);

/* A reload begins; it has ended (whatever came of it); the daemon ends. */
void fpd_systemd_begin_reload(fpd_systemd *systemd);
void fpd_systemd_end_reload(fpd_systemd *systemd);
void fpd_systemd_stop(fpd_systemd *systemd);

#endif
