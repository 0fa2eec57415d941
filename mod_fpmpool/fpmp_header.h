/* fpmp_header.h - the header block of a CGI response, as text (RFC 3875 section 6).
 *
 * Pure: bytes in, views into the same bytes out; no allocation, no httpd. There is no limit on the
 * length of a line; the caller bounds the whole block.
 */
#ifndef FPMP_HEADER_H
#define FPMP_HEADER_H

#include <stddef.h>
#include <stdint.h>

/* One header line; neither part ends with NUL. The value is trimmed. */
typedef struct fpmp_header_line {
    const char *name;
    size_t name_length;
    const char *value;
    size_t value_length;
} fpmp_header_line;

/* Length of the block with its blank line, or 0 while that is not there yet. Lines end with LF or
 * CR LF. A block may be empty (blank line first). `searched`: bytes at the start that an earlier
 * call has seen without success (0 at first). */
size_t fpmp_header_length(const char *bytes, size_t length, size_t searched);

/* Next line at *cursor; moves it. Returns 1, 0 at the blank line or at `end`, -1 when the line is
 * malformed: no colon, a name that is not a token, a control character in the value (*cursor then
 * still points to the line). Folded lines (obs-fold) are skipped. */
int fpmp_header_next(const char **cursor, const char *end, fpmp_header_line *line);

/* Is it the header of that name (any case)? */
int fpmp_header_is(const fpmp_header_line *line, const char *name);

/* Value of a Status header: three digits 100 to 999, then the end or a space. -1: not one. */
int fpmp_header_status(const fpmp_header_line *line);

/* Value of a Content-Length header: digits only, no overflow. -1: not one. */
int64_t fpmp_header_number(const fpmp_header_line *line);

#endif
