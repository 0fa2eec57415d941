/* fpmp_notes.h - what a request leaves for logs and headers: notes (specification: apache.md 1.8).
 *
 * Every note is there whenever it is known, also after a failure: pool and server from the start;
 * worker, queue-us, connect-us, ttfb-us and attempts before the header goes out, so that
 * mod_headers can use them; the rest at the end.
 */
#ifndef FPMP_NOTES_H
#define FPMP_NOTES_H

#include "fpmp_relay.h"

/* Costs nothing for the server that is noted already. */
void fpmp_notes_begin(request_rec *r, fpmp_course *course, const fpmp_pool *pool,
                      const fpmp_server *server);

/* The header block of the answer is complete, and nothing of it has gone out. Adds the
 * Server-Timing header too where FpmPoolServerTiming is on. */
void fpmp_notes_answer(fpmp_relay *relay);

/* state: a literal. relay may be one that never ran, zeroed. Sets course->end. */
void fpmp_notes_end(request_rec *r, const fpmp_relay *relay, fpmp_course *course,
                    const char *state);

#endif
