/* daemon.h - background, pid file, standard descriptors, limits of the master itself. */
#ifndef FPD_DAEMON_H
#define FPD_DAEMON_H

#include "apr_pools.h"
#include "conf/conf.h"

/* Forks into the background; the caller of the program waits for the verdict (at most 10 s) and
 * exits with 0 or 70. Returns in the background process only: *verdict_fd is for fpd_daemon_report.
 * Returns an errno when it could not fork. */
apr_status_t fpd_daemon_detach(int *verdict_fd);

/* Tells the waiting caller how it went; closes the descriptor. -1 is ignored. */
void fpd_daemon_report(int *verdict_fd, int is_good);

/* stdin and stdout become /dev/null; with_stderr: stderr too. */
apr_status_t fpd_daemon_close_standard(int with_stderr);

/* Decimal, no line end, 0644 (spec/php-fpm.md 1.5). path NULL: nothing. Logs its failure. */
apr_status_t fpd_daemon_write_pid(const char *path);
void fpd_daemon_remove_pid(const char *path);

/* rlimits and priority of the global section. Logs and returns an error for a limit that cannot be
 * set. */
apr_status_t fpd_daemon_apply_limits(const fpd_conf_global *global, int is_root);

/* Has this process any child, dead or alive? */
int fpd_daemon_has_children(void);

/* Kills what is left of our descendants: workers whose pool process was killed (the master is child
 * subreaper). Returns how many there were. */
unsigned fpd_daemon_kill_orphans(void);
/* How many children there are. */
unsigned fpd_daemon_count_children(void);

#endif
