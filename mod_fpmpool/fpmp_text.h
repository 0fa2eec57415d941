/* fpmp_text.h - text that goes out piece by piece: escaped for HTML, JSON or OpenMetrics, numbers
 * as people read them. Needs APR only.
 *
 * Nothing is collected: each piece goes to `write`, so that a page of any length needs no memory.
 */
#ifndef FPMP_TEXT_H
#define FPMP_TEXT_H

#include <apr.h>
#include <stdint.h>

typedef struct fpmp_text {
    void (*write)(void *to, const char *bytes, apr_size_t length);
    void *to;
} fpmp_text;

/* As it is. */
void fpmp_text_put(fpmp_text *text, const char *plain);

/* apr_vsnprintf's formats. At most 1023 bytes, the rest is cut: for numbers and literals; names go
 * through one of the functions below. */
void fpmp_text_format(fpmp_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Between tags and inside of quoted attributes. */
void fpmp_text_html(fpmp_text *text, const char *raw);

/* A JSON string, with its quotes. Bytes that are not UTF-8 become U+FFFD. */
void fpmp_text_json(fpmp_text *text, const char *raw);

/* The value of a label of OpenMetrics, with its quotes; other bytes as with JSON. */
void fpmp_text_label(fpmp_text *text, const char *raw);

/* One line of `key: value`: control characters become `?`. */
void fpmp_text_line(fpmp_text *text, const char *raw);

/* Part of a query string. */
void fpmp_text_url(fpmp_text *text, const char *raw);

/* For people: "950", "12.3k", "4.1M", "2.0G". */
void fpmp_text_amount(fpmp_text *text, uint64_t number);
/* "340 B", "12.3 KiB", "4.1 MiB" */
void fpmp_text_bytes(fpmp_text *text, uint64_t bytes);
/* "0", "80 µs", "3.2 ms", "450 ms", "1.50 s", "63 s" */
void fpmp_text_duration(fpmp_text *text, uint64_t microseconds);
/* "12 s", "5 min", "3 h 20 min", "4 d 2 h" */
void fpmp_text_age(fpmp_text *text, uint64_t seconds);

#endif
