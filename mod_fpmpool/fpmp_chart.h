/* fpmp_chart.h - small charts of the last hour as SVG inside of HTML: no script, no style
 * attribute. Needs APR only.
 */
#ifndef FPMP_CHART_H
#define FPMP_CHART_H

#include "fpmp_latency.h"
#include "fpmp_text.h"

/* Requests of each minute, those that failed hatched at the foot of their bar. Each minute that had
 * some says so when it is pointed at. title: what it shows, for who cannot see it. */
void fpmp_chart_requests(fpmp_text *text, const fpmp_minute_counts *minutes, const char *title);

/* What a request took on average, minute by minute. */
void fpmp_chart_time(fpmp_text *text, const fpmp_minute_counts *minutes, const char *title);

/* The first one without words, for a row of a table. */
void fpmp_chart_spark(fpmp_text *text, const fpmp_minute_counts *minutes);

/* The pattern of what failed; once in a page, before the charts. */
void fpmp_chart_define(fpmp_text *text);

/* The highest values that the charts show. */
uint64_t fpmp_chart_most_requests(const fpmp_minute_counts *minutes);
uint64_t fpmp_chart_most_time(const fpmp_minute_counts *minutes);

#endif
