/* fpmp_stderr.c - what a server writes to STDERR, as lines of httpd's error log.
 *
 * Runs in an httpd child. Owns one unfinished line per request. Loses nothing: long lines are
 * split; must not let a script forge log lines (httpd escapes what it logs).
 */
#include "fpmp_stderr.h"

#include <http_log.h>
#include <apr_strings.h>
#include <string.h>

APLOG_USE_MODULE(fpmpool);

static const char message_mark[] = "PHP message: ";

void fpmp_stderr_open(fpmp_stderr *log, request_rec *r, const fpmp_dir_conf *conf,
                      const fpmp_pool *pool)
{
    log->r = r;
    log->pool = pool;
    log->forced = conf->stderr_level;
    log->worker = -1;
    log->line = NULL;
    log->used = 0;
    log->level = APLOG_ERR;
}

static int begins_with(const char *text, const char *start)
{
    return !strncmp(text, start, strlen(start));
}

int fpmp_stderr_level(const char *line, int before)
{
    static const struct {
        const char *start;
        int level;
    } known[] = {{"PHP Fatal error", APLOG_ERR},
                 {"PHP Parse error", APLOG_ERR},
                 {"PHP Recoverable fatal error", APLOG_ERR},
                 {"PHP Warning", APLOG_WARNING},
                 {"PHP Notice", APLOG_NOTICE},
                 {"PHP Deprecated", APLOG_NOTICE},
                 {"PHP Strict Standards", APLOG_NOTICE},
                 {NULL, 0}};
    int is_message = begins_with(line, message_mark);
    if (is_message) {
        line += sizeof(message_mark) - 1;
    }
    for (int i = 0; known[i].start; i++) {
        if (begins_with(line, known[i].start)) {
            return known[i].level;
        }
    }
    /* error_log() of a script: mod_php logs it as a notice. */
    return is_message ? APLOG_NOTICE : before;
}

static void log_message(fpmp_stderr *log, const char *message)
{
    request_rec *r = log->r;
    log->level = fpmp_stderr_level(message, log->level);
    int level = log->forced >= 0 ? log->forced : log->level;
    if (!APLOG_R_IS_LEVEL(r, level)) {
        return;
    }
    if (begins_with(message, message_mark)) {
        message += sizeof(message_mark) - 1;
    }
    const char *worker =
        log->worker >= 0 ? apr_psprintf(r->pool, ", worker %" APR_INT64_T_FMT, log->worker) : "";
    ap_log_rerror(APLOG_MARK, level, 0, r, "FPMP0040: pool %s%s: %s", log->pool->name, worker,
                  message);
}

/* PHP joins the messages of a request with "; " instead of ending each with a newline. */
static void log_line(fpmp_stderr *log)
{
    static const char joint[] = "; PHP message: ";
    char *message = log->line;
    for (apr_size_t i = 0; i < log->used; i++) {
        if (!log->line[i]) {
            log->line[i] = ' '; /* it would hide the rest */
        }
    }
    log->line[log->used] = '\0';
    while (log->used && message) {
        char *next = strstr(message, joint);
        if (next) {
            *next = '\0';
            next += 2;
        }
        log_message(log, message);
        message = next;
    }
    log->used = 0;
}

static void add(fpmp_stderr *log, const char *bytes, apr_size_t length)
{
    while (length) {
        apr_size_t piece = FPMP_STDERR_LINE - log->used;
        piece = piece < length ? piece : length;
        memcpy(log->line + log->used, bytes, piece);
        log->used += piece;
        bytes += piece;
        length -= piece;
        if (log->used == FPMP_STDERR_LINE) {
            log_line(log);
        }
    }
}

void fpmp_stderr_feed(fpmp_stderr *log, const char *bytes, apr_size_t length)
{
    const char *end = bytes + length;
    if (log->forced == FPMP_STDERR_OFF) {
        return;
    }
    if (!log->line) {
        log->line = apr_palloc(log->r->pool, FPMP_STDERR_LINE + 1);
    }
    while (bytes < end) {
        const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));
        add(log, bytes, (apr_size_t)((newline ? newline : end) - bytes));
        if (newline) {
            log_line(log);
        }
        bytes = newline ? newline + 1 : end;
    }
}

void fpmp_stderr_flush(fpmp_stderr *log)
{
    if (log->used) {
        log_line(log);
    }
}
