/* fpmp_notes.c - what a request leaves for logs and headers.
 *
 * Runs in an httpd child for each request. Writes r->notes and the Server-Timing header; reads
 * everything else, decides nothing.
 */
#include "fpmp_notes.h"
#include "fpmp_clock.h"

#include <httpd.h>
#include <apr_strings.h>

static void note_number(request_rec *r, const char *name, apr_int64_t number)
{
    apr_table_setn(r->notes, name, apr_off_t_toa(r->pool, (apr_off_t)number));
}

/* A number that the daemon tells, or not. */
static void note_fact(request_rec *r, const char *name, apr_int64_t number)
{
    if (number >= 0) {
        note_number(r, name, number);
    }
}

void fpmp_notes_begin(request_rec *r, const fpmp_pool *pool, const fpmp_server *server)
{
    apr_table_setn(r->notes, "fpmpool-pool", pool->name);
    apr_table_setn(r->notes, "fpmpool-server", server->address.label);
}

static void note_known(request_rec *r, const fpmp_relay *relay, const fpmp_course *course)
{
    note_number(r, "fpmpool-attempts", course->attempts);
    note_number(r, "fpmpool-connect-us", course->connecting);
    if (relay->first_byte) {
        note_number(r, "fpmpool-ttfb-us", relay->first_byte - course->start);
        note_fact(r, "fpmpool-worker", relay->facts.worker);
        note_fact(r, "fpmpool-queue-us", relay->facts.queue);
    }
}

/* Milliseconds, as the header has them: "queue;dur=1.250". */
static const char *add_timing(apr_pool_t *pool, const char *before, const char *name,
                              apr_int64_t microseconds)
{
    if (microseconds < 0) {
        return before;
    }
    return apr_psprintf(pool, "%s%s%s;dur=%" APR_INT64_T_FMT ".%03d", before, *before ? ", " : "",
                        name, microseconds / 1000, (int)(microseconds % 1000));
}

static void add_server_timing(const fpmp_relay *relay)
{
    request_rec *r = relay->r;
    const fpmp_course *course = relay->course;
    const char *value = add_timing(r->pool, "", "connect", course->connecting);
    value = add_timing(r->pool, value, "queue", relay->facts.queue);
    value = add_timing(r->pool, value, "ttfb", relay->first_byte - course->start);
    value = add_timing(r->pool, value, "cpu", relay->facts.cpu);
    apr_table_mergen(r->err_headers_out, "Server-Timing", value);
}

void fpmp_notes_answer(const fpmp_relay *relay)
{
    note_known(relay->r, relay, relay->course);
    if (relay->conf->server_timing) {
        add_server_timing(relay);
    }
}

void fpmp_notes_end(request_rec *r, const fpmp_relay *relay, const fpmp_course *course,
                    const char *state)
{
    note_known(r, relay, course);
    apr_table_setn(r->notes, "fpmpool-state", state);
    note_number(r, "fpmpool-total-us", fpmp_clock_now() - course->start);
    if (!relay->first_byte) {
        return;
    }
    if (relay->has_ended) {
        note_number(r, "fpmpool-exit", relay->app_status);
    }
    note_fact(r, "fpmpool-cpu-us", relay->facts.cpu);
    if (relay->facts.memory >= 0) {
        note_number(r, "fpmpool-mem", relay->facts.memory);
        note_number(r, "mod_php_memory_usage", relay->facts.memory); /* of mod_php */
    }
}
