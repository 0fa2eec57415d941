/* fpmp_notes.c - what a request leaves for logs and headers.
 *
 * Runs in an httpd child for each request. Writes r->notes and the Server-Timing header; reads
 * everything else, decides nothing.
 */
#include "fpmp_notes.h"
#include "fpmp_clock.h"

#include <httpd.h>
#include <apr_strings.h>

typedef enum note {
    NOTE_POOL,
    NOTE_SERVER,
    NOTE_ATTEMPTS,
    NOTE_WAIT,
    NOTE_CONNECT,
    NOTE_TTFB,
    NOTE_WORKER,
    NOTE_QUEUE,
    NOTE_STATE,
    NOTE_TOTAL,
    NOTE_EXIT,
    NOTE_CPU,
    NOTE_MEMORY
} note;

static const char *const names[] = {"fpmpool-pool",     "fpmpool-server",     "fpmpool-attempts",
                                    "fpmpool-wait-us",  "fpmpool-connect-us", "fpmpool-ttfb-us",
                                    "fpmpool-worker",   "fpmpool-queue-us",   "fpmpool-state",
                                    "fpmpool-total-us", "fpmpool-exit",       "fpmpool-cpu-us",
                                    "fpmpool-mem"};

/* The names begin alike, and APR's tables compare all that do: looking for one of them costs more
 * than the rest of a note. Only this module writes them, so it knows which ones are there. */
static void set(request_rec *r, fpmp_course *course, note which, const char *value)
{
    unsigned bit = 1U << which;
    if (course->noted & bit) {
        apr_table_setn(r->notes, names[which], value);
    } else {
        apr_table_addn(r->notes, names[which], value);
        course->noted |= bit;
    }
}

static void set_number(request_rec *r, fpmp_course *course, note which, apr_int64_t number)
{
    set(r, course, which, apr_off_t_toa(r->pool, (apr_off_t)number));
}

/* A number that the daemon tells, or not. */
static void set_fact(request_rec *r, fpmp_course *course, note which, apr_int64_t number)
{
    if (number >= 0) {
        set_number(r, course, which, number);
    }
}

void fpmp_notes_begin(request_rec *r, fpmp_course *course, const fpmp_pool *pool,
                      const fpmp_server *server)
{
    if (server != course->server) {
        course->server = server;
        /* A pool that was found may be another one when the log is written. */
        int lasts = !pool->is_found;
        set(r, course, NOTE_POOL, lasts ? pool->name : apr_pstrdup(r->pool, pool->name));
        set(r, course, NOTE_SERVER,
            lasts ? server->address.label : apr_pstrdup(r->pool, server->address.label));
    }
}

static void note_known(request_rec *r, const fpmp_relay *relay, fpmp_course *course)
{
    set_number(r, course, NOTE_ATTEMPTS, course->attempts);
    set_fact(r, course, NOTE_WAIT, course->waiting);
    set_number(r, course, NOTE_CONNECT, course->connecting);
    if (relay->first_byte) {
        set_number(r, course, NOTE_TTFB, relay->first_byte - course->start);
        set_fact(r, course, NOTE_WORKER, relay->facts.worker);
        set_fact(r, course, NOTE_QUEUE, relay->facts.queue);
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

void fpmp_notes_answer(fpmp_relay *relay)
{
    relay->is_noted = 1;
    note_known(relay->r, relay, relay->course);
    if (relay->conf->server_timing) {
        add_server_timing(relay);
    }
}

void fpmp_notes_end(request_rec *r, const fpmp_relay *relay, fpmp_course *course, const char *state)
{
    course->end = fpmp_clock_now();
    if (!relay->is_noted) {
        note_known(r, relay, course);
    }
    set(r, course, NOTE_STATE, state);
    set_number(r, course, NOTE_TOTAL, course->end - course->start);
    if (!relay->first_byte) {
        return;
    }
    if (relay->has_ended) {
        set_number(r, course, NOTE_EXIT, relay->app_status);
    }
    set_fact(r, course, NOTE_CPU, relay->facts.cpu);
    if (relay->facts.memory >= 0) {
        const char *memory = apr_off_t_toa(r->pool, (apr_off_t)relay->facts.memory);
        set(r, course, NOTE_MEMORY, memory);
        apr_table_setn(r->notes, "mod_php_memory_usage", memory); /* of mod_php */
    }
}
