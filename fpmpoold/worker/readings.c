/* readings.c - what two readings of the calls of a script that goes on have in common.
 *
 * Runs in the tracer, a thread of a worker. Pure; must not allocate, lock or call PHP.
 */
#include "worker/readings.h"

#include <string.h>

size_t fpd_readings_line(const char *text, size_t length)
{
    const char *end = length > 0 ? memchr(text, '\n', length) : NULL;

    return end != NULL ? (size_t)(end - text) + 1 : length;
}

size_t fpd_readings_count(const char *text, size_t length)
{
    size_t count = 0;

    for (size_t at = 0; at < length; at += fpd_readings_line(text + at, length - at)) {
        count++;
    }
    return count;
}

size_t fpd_readings_agree(const char *first, size_t first_length, const char *second,
                          size_t second_length, int is_cut, size_t *agreed)
{
    size_t at = 0;

    while (at < first_length) {
        size_t left = first_length - at;
        size_t other = 0;
        while (other < second_length) {
            size_t other_left = second_length - other;
            size_t least = left < other_left ? left : other_left;
            if ((is_cut || left == other_left) && memcmp(first + at, second + other, least) == 0) {
                *agreed = least;
                return at;
            }
            other += fpd_readings_line(second + other, other_left);
        }
        at += fpd_readings_line(first + at, left);
    }
    *agreed = 0;
    return at;
}
