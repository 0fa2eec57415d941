/* reexec.h - this program as a file: where it is, and how it is executed again (lifecycle.md 4).
 *
 * A reload runs the file that is there now twice, as a child that tests the configuration and as
 * the master itself. Both get the arguments of the first start and one private argument before
 * them.
 */
#ifndef FPD_REEXEC_H
#define FPD_REEXEC_H

#include <sys/types.h>

#include "apr_pools.h"
#include "apr_tables.h"

typedef enum fpd_reexec_errand {
    FPD_REEXEC_NONE,  /* started by somebody */
    FPD_REEXEC_TEST,  /* test the configuration, and whether the state can be read; then exit */
    FPD_REEXEC_RESUME /* be the master that wrote the state */
} fpd_reexec_errand;

typedef struct fpd_reexec {
    const char *program;     /* absolute */
    const char *const *argv; /* of the first start, NULL-ended; argv[0] as given */
    fpd_reexec_errand errand;
    int state_fd;   /* TEST, RESUME; else -1 */
    int verdict_fd; /* TEST; else -1 */
} fpd_reexec;

/* Once, early in main, after fpd_title_prepare: takes the private argument out of argv, if there is
 * one, and remembers the rest. `program` is argv[0], made absolute but with its symbolic links, so
 * that a changed link leads to the new version; where that is another file than this process runs,
 * the file itself. From pool. */
void fpd_reexec_prepare(fpd_reexec *self, int *argc, char **argv, apr_pool_t *pool);

/* What the file was at one time: another one, if it is not equal later. */
typedef struct fpd_reexec_stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
} fpd_reexec_stamp;

/* 0: there is no such file. */
int fpd_reexec_look(const fpd_reexec *self, fpd_reexec_stamp *stamp);
int fpd_reexec_is_same(const fpd_reexec_stamp *left, const fpd_reexec_stamp *right);

/* In a forked child: becomes the program, with errand TEST. Returns the errno of the failure. */
int fpd_reexec_become_test(const fpd_reexec *self, int state_fd, int verdict_fd);

/* In the master: becomes the program, with errand RESUME and these descriptors (int) and state_fd
 * open. All signals are blocked then; those that arrive wait. Returns only when it failed, with the
 * errno, and everything as before. Logs both. */
apr_status_t fpd_reexec_resume(const fpd_reexec *self, int state_fd,
                               const apr_array_header_t *descriptors);

#endif
