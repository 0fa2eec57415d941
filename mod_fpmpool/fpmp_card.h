/* fpmp_card.h - one pool with its servers, for the page that fpmp_html.h makes. Needs APR only. */
#ifndef FPMP_CARD_H
#define FPMP_CARD_H

#include "fpmp_html.h"

/* A section of the page. */
void fpmp_card_show(fpmp_text *text, const fpmp_page *page, const fpmp_seen_pool *pool);

/* A pool's name, which leads to the page of that pool alone. */
void fpmp_card_link(fpmp_text *text, const char *pool);

/* The state as a sign, a word and a colour. */
void fpmp_card_badge(fpmp_text *text, fpmp_seen_state state);

/* "1.2%" of the last hour's requests; nothing where there were none. */
void fpmp_card_percent(fpmp_text *text, uint64_t part, uint64_t whole);

#endif
