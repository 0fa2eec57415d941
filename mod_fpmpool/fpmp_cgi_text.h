/* fpmp_cgi_text.h - names and values of CGI variables, out of a request's text (RFC 3875 4.1.18).
 *
 * Pure: no allocation, no httpd.
 */
#ifndef FPMP_CGI_TEXT_H
#define FPMP_CGI_TEXT_H

#include <stddef.h>

/* Room for a header's variable, beyond the header's own length: HTTP_ and NUL. */
#define FPMP_CGI_TEXT_MORE 6

/* Writes the variable of that header and NUL: HTTP_ and its letters as capitals, its digits, an
 * underscore for each hyphen. Returns its length, or 0 for a name with any other character, which
 * no script may see: X_Forwarded_For would pass for X-Forwarded-For. `to` then holds nothing. */
size_t fpmp_cgi_text_name(char *to, const char *header);

/* The target of a request line: a view into it, not ended by NUL. Empty where it has none. */
const char *fpmp_cgi_text_target(const char *request_line, size_t *length);

#endif
