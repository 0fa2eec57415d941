/* page.h - a page that is put together in memory: bytes, numbers, escaped text. */
#ifndef FPD_PAGE_H
#define FPD_PAGE_H

#include <stddef.h>
#include <stdint.h>

/* What does not fit is dropped, and everything after it; `is_full` tells. The memory is the
 * caller's. */
typedef struct fpd_page {
    char *to;
    size_t size;
    size_t length;
    int is_full;
} fpd_page;

void fpd_page_put_bytes(fpd_page *page, const char *bytes, size_t length);
void fpd_page_put(fpd_page *page, const char *text);
void fpd_page_put_number(fpd_page *page, uint64_t number);

/* For HTML and XML, as htmlspecialchars() does it outside of attributes in single quotes.
 * Characters that XML forbids and bytes that are not UTF-8 become U+FFFD. */
void fpd_page_put_markup(fpd_page *page, const char *text);

/* A JSON string with its quotes, ASCII only, as json_encode() writes it. Bytes that are not
 * UTF-8 are left out. */
void fpd_page_put_json(fpd_page *page, const char *text);

#endif
