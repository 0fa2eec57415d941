/* apache.h - mod_php's functions that reach httpd: apache_note() and its relatives (specification:
 * apache.md 3). Only for php/.
 *
 * What a script tells goes to mod_fpmpool as lines of the header block, WIRE_HEADER_NOTE and
 * WIRE_HEADER_ENV, so it must be told before the headers are sent. Other front ends get no such
 * lines; there the functions work on the script's own side only.
 */
#ifndef FPD_APACHE_H
#define FPD_APACHE_H

#include "php.h"
#include "php/sapi.h"
#include "zend_smart_str.h"

PHP_FUNCTION(apache_note);
PHP_FUNCTION(apache_getenv);
PHP_FUNCTION(apache_setenv);
PHP_FUNCTION(apache_response_headers);

/* Not mod_php's: the Link headers set so far go out as 103 Early Hints. Returns false, and sends
 * nothing, when there are none, when the headers are sent already, and for any front end but ours.
 */
PHP_FUNCTION(fpmpool_send_early_hints);

/* Adds the lines for our module, if there are any and it is the one who asks. */
void fpd_apache_append(smart_str *block, const fpd_sapi_request *request);

#endif
