/* verdict.h - what the child that tests a configuration leaves in a memfd (lifecycle.md 4.1).
 *
 * The child is the program that is on disk now, so it may be newer or older than the master that
 * reads this: a record (record.h), whose fields are known by their names. When all is well, the
 * master that is executed next reads the same memfd, and not the files again.
 */
#ifndef FPD_VERDICT_H
#define FPD_VERDICT_H

#include "apr_pools.h"
#include "base/record.h"
#include "conf/conf.h"

typedef struct fpd_verdict {
    apr_array_header_t *messages; /* fpd_conf_message; text and severity alone; never NULL */
    fpd_conf *conf;               /* file, global and pools; NULL: the configuration is bad */
    const char *version;          /* of the program that tested */
    const char *refusal;          /* why it cannot take the running pools over; NULL: it can */
    int exec_error;               /* errno: the program could not be run at all */
} fpd_verdict;

/* Nothing found, nothing said. From pool. */
void fpd_verdict_clear(fpd_verdict *verdict, apr_pool_t *pool);

/* Fills and seals fd, an empty memfd. */
apr_status_t fpd_verdict_write(const fpd_verdict *verdict, int fd, apr_pool_t *scratch);

/* Reads one back, all from pool; on an error *verdict is as fpd_verdict_clear leaves it. fd stays
 * the caller's. */
apr_status_t fpd_verdict_read(fpd_verdict *verdict, int fd, apr_pool_t *pool, apr_pool_t *scratch);

/* The global section as an entry of that name; the other way it must be preset. */
void fpd_verdict_put_global(fpd_record_writer *out, const char *name,
                            const fpd_conf_global *global);
void fpd_verdict_take_global(fpd_record_entry *entry, fpd_conf_global *global);

#endif
