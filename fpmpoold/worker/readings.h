/* readings.h - what two readings of the calls of a script that goes on have in common.
 *
 * A reading is text: one line with its end for each call, from the innermost outward, each with the
 * address of PHP's structure, so that no line comes twice. Pure.
 */
#ifndef FPD_READINGS_H
#define FPD_READINGS_H

#include <stddef.h>

/* Bytes of the first line, with its end. */
size_t fpd_readings_line(const char *text, size_t length);

/* Lines of a reading. */
size_t fpd_readings_count(const char *text, size_t length);

/* The calls that both readings have, in a row and out to the script itself: the second was made
 * after the first, so they were under way between the two. is_cut: outer calls are left out of one
 * or both; then out to where the shorter is cut. Returns where they begin in the first, and *agreed
 * their bytes: 0 if there are none. */
size_t fpd_readings_agree(const char *first, size_t first_length, const char *second,
                          size_t second_length, int is_cut, size_t *agreed);

#endif
