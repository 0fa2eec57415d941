/* title.c - writes the process title over the argument area that the kernel made at exec.
 *
 * Runs in every process. The area is file-scope state on purpose: there is one per process.
 */
#include "base/title.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "apr_strings.h"

static struct {
    char *start;
    size_t size;
} area;

void fpd_title_prepare(int argc, char **argv, apr_pool_t *pool)
{
    char *end;
    int count = 0;
    char **moved;

    if (argc < 1 || argv[0] == NULL) {
        return;
    }
    end = argv[argc - 1] + strlen(argv[argc - 1]) + 1;
    while (environ[count] != NULL) {
        if (environ[count] == end) { /* contiguous, as the kernel lays them out */
            end = environ[count] + strlen(environ[count]) + 1;
        }
        count++;
    }
    moved = apr_pcalloc(pool, ((size_t)count + 1) * sizeof(*moved));
    for (int i = 0; i < count; i++) {
        moved[i] = apr_pstrdup(pool, environ[i]);
    }
    environ = moved;
    area.start = argv[0];
    area.size = (size_t)(end - argv[0]);
    for (int i = 0; i < argc; i++) { /* later readers of argv see copies */
        argv[i] = apr_pstrdup(pool, argv[i]);
    }
}

void fpd_title_set(const char *format, ...)
{
    char title[256];
    va_list arguments;
    size_t length;

    if (area.size < 2) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(title, sizeof(title), format, arguments);
    va_end(arguments);
    length = strlen(title);
    if (length > area.size - 1) {
        length = area.size - 1;
    }
    memcpy(area.start, title, length);
    memset(area.start + length, 0, area.size - length);
}
