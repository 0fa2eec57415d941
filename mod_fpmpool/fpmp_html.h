/* fpmp_html.h - the figures for people: one page without scripts, and the manager's controls on it.
 * Needs APR only.
 *
 * Few pools come as cards with everything that is known, many as a list of one line each, in pages.
 */
#ifndef FPMP_HTML_H
#define FPMP_HTML_H

#include "fpmp_query.h"
#include "fpmp_seen.h"
#include "fpmp_text.h"

typedef struct fpmp_page {
    const fpmp_snapshot *snapshot; /* arranged */
    const fpmp_query *query;
    const char *style_nonce; /* of this answer's Content-Security-Policy */
    const char *nonce;       /* what a change must carry; NULL: there are no controls */
} fpmp_page;

#define FPMP_HTML_CARDS 10  /* pools at most that are shown as cards */
#define FPMP_HTML_ROWS  200 /* of one page of the list */

void fpmp_html_show(fpmp_text *text, const fpmp_page *page);

#endif
