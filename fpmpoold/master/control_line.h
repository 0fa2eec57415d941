/* control_line.h - the one line that a client of the control socket sends. Pure.
 *
 *   VERB [POOL] LF         "status", "ready", "reload shop", "drain shop", "restart",
 * "opcache-reset shop" outcome NUMBER LF      how that job went (a client that lost its connection
 * asks this)
 *
 * The name of a pool goes to the end of the line and may have blanks in it. The answer is lines,
 * each with a word and a blank in front; after "done", "failed" or "again" the
 * server closes:
 *
 *   job NUMBER SECONDS     the command is under way under this number, its end follows within that
 *   daemon FIELD TAB ...   of status: fpd_control_daemon_fields
 *   pool FIELD TAB ...     of status: fpd_control_pool_fields
 *   text TEXT              for people
 *   done TEXT              it went well
 *   failed TEXT            it did not, and why
 *   again                  it was not looked at (the daemon is executed anew): connect once more
 */
#ifndef FPD_CONTROL_LINE_H
#define FPD_CONTROL_LINE_H

#include <stddef.h>
#include <stdint.h>

#define FPD_CONTROL_POOL_MAX 256 /* with its NUL */
#define FPD_CONTROL_LINE_MAX 300 /* with its line end */

/* The fields of a "daemon" and of a "pool" line, in order, with tabs between them. Ended by a NULL
 * name. Ages are seconds. */
typedef struct fpd_control_field {
    const char *name;
    int is_number;
} fpd_control_field;

extern const fpd_control_field fpd_control_daemon_fields[];
extern const fpd_control_field fpd_control_pool_fields[];
#define FPD_CONTROL_FIELDS_MAX 24

typedef enum fpd_control_verb {
    FPD_CONTROL_STATUS,
    FPD_CONTROL_READY,
    FPD_CONTROL_RELOAD,
    FPD_CONTROL_DRAIN,
    FPD_CONTROL_RESTART,
    FPD_CONTROL_OPCACHE_RESET,
    FPD_CONTROL_OUTCOME
} fpd_control_verb;

typedef struct fpd_control_request {
    fpd_control_verb verb;
    char pool[FPD_CONTROL_POOL_MAX]; /* "": all of them */
    uint64_t job;                    /* OUTCOME */
} fpd_control_request;

/* Reads a line without its LF. Returns NULL, or what is wrong with it. */
const char *fpd_control_line_read(fpd_control_request *request, const char *line, size_t length);

/* Makes the line, with its LF and a NUL behind it; returns its length without the NUL. */
size_t fpd_control_line_write(char line[FPD_CONTROL_LINE_MAX + 1],
                              const fpd_control_request *request);

/* Fills verb and pool (NULL: all) from a command line; returns NULL, or what is wrong with it.
 * Never OUTCOME. */
const char *fpd_control_line_set(fpd_control_request *request, const char *verb, const char *pool);

const char *fpd_control_line_verb(fpd_control_verb verb);

#endif
