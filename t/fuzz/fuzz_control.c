/* fuzz_control.c - libFuzzer target of the control socket's request line, which root reads, and of
 * what the client prints (make fuzz; build/test/fuzz_control t/corpus/control).
 *
 * The first byte chooses: bit 0 set: a status row as table and JSON; else a request line.
 * Invariants are checked with abort: a line that is taken has no control character in it and comes
 * back the same when it is written; what is printed has no byte that a terminal obeys.
 * With replay.c it is a program that runs the files it is given (part of every test run).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "apr_general.h"
#include "apr_strings.h"
#include "master/control_line.h"
#include "master/ctl_print.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_line(const char *line, size_t length)
{
    fpd_control_request request;
    fpd_control_request again;
    char written[FPD_CONTROL_LINE_MAX + 1];
    const char *wrong = fpd_control_line_read(&request, line, length);
    size_t written_length;

    if (wrong != NULL) {
        if (*wrong == '\0' || strchr(wrong, '\n') != NULL) {
            abort();
        }
        return;
    }
    for (const char *at = request.pool; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f) {
            abort();
        }
    }
    written_length = fpd_control_line_write(written, &request);
    if (written_length == 0 || written_length > FPD_CONTROL_LINE_MAX ||
        written[written_length - 1] != '\n' ||
        fpd_control_line_read(&again, written, written_length - 1) != NULL ||
        memcmp(&request, &again, sizeof(request)) != 0) {
        abort();
    }
}

static void check_printed(const char *text)
{
    for (; *text != '\0'; text++) {
        if (((unsigned char)*text < ' ' && *text != '\n') || *text == 0x7f) {
            abort();
        }
    }
}

/* Quotes and braces must pair up, whatever is between them. */
static void check_json(const char *text)
{
    int depth = 0;
    int is_text = 0;

    for (; *text != '\0'; text++) {
        if (is_text && *text == '\\') {
            text++;
        } else if (*text == '"') {
            is_text = !is_text;
        } else if (!is_text) {
            depth += (*text == '{' || *text == '[') - (*text == '}' || *text == ']');
        }
        if (depth < 0) {
            abort();
        }
    }
    if (depth != 0 || is_text) {
        abort();
    }
}

static void print_row(const char *bytes, size_t length)
{
    static apr_pool_t *pool;
    apr_array_header_t *pools;
    fpd_ctl_row daemon;
    const char *line;

    if (pool == NULL &&
        (apr_initialize() != APR_SUCCESS || apr_pool_create(&pool, NULL) != APR_SUCCESS)) {
        abort();
    }
    pools = apr_array_make(pool, 2, sizeof(fpd_ctl_row));
    line = apr_pstrmemdup(pool, bytes, length);
    fpd_ctl_row_read(&daemon, line, pool);
    fpd_ctl_row_read(apr_array_push(pools), line, pool);
    fpd_ctl_row_read(apr_array_push(pools), "www\tserving\t1", pool);
    check_printed(fpd_ctl_print_table(&daemon, pools, pool));
    check_printed(fpd_ctl_print_json(&daemon, pools, pool));
    check_json(fpd_ctl_print_json(&daemon, pools, pool));
    apr_pool_clear(pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    if ((data[0] & 1) != 0) {
        print_row((const char *)data + 1, size - 1);
    } else {
        read_line((const char *)data + 1, size - 1);
    }
    return 0;
}
