/* page.c - text for a page of limited size, escaped for its format.
 *
 * Pure: runs in workers and in the pool process. What is put in came from clients and tenants and
 * is untrusted.
 */
#include "worker/page.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void fpd_page_put_bytes(fpd_page *out, const char *bytes, size_t length)
{
    if (out->is_full || length > out->size - out->length) {
        out->is_full = 1;
        return;
    }
    memcpy(out->to + out->length, bytes, length);
    out->length += length;
}

void fpd_page_put(fpd_page *out, const char *text)
{
    fpd_page_put_bytes(out, text, strlen(text));
}

void fpd_page_put_number(fpd_page *out, uint64_t number)
{
    char digits[24];

    snprintf(digits, sizeof(digits), "%" PRIu64, number);
    fpd_page_put(out, digits);
}

/* Length of the UTF-8 character at text, 0 if there is none. */
static size_t character_length(const char *text)
{
    const unsigned char *byte = (const unsigned char *)text;
    size_t length = byte[0] >= 0xf0 ? 4 : byte[0] >= 0xe0 ? 3 : 2;

    if (byte[0] < 0x80) {
        return 1;
    }
    if (byte[0] < 0xc2 || byte[0] > 0xf4 || (byte[0] == 0xe0 && byte[1] < 0xa0) ||
        (byte[0] == 0xed && byte[1] > 0x9f) || (byte[0] == 0xf0 && byte[1] < 0x90) ||
        (byte[0] == 0xf4 && byte[1] > 0x8f)) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((byte[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

/* What XML allows in no form, and bytes that are not UTF-8, would make the whole page unreadable.
 */
static int is_markup_character(const char *text, size_t length)
{
    unsigned char byte = (unsigned char)*text;

    return length > 1 || (length == 1 && (byte >= 0x20 || strchr("\t\n\r", byte)));
}

void fpd_page_put_markup(fpd_page *out, const char *text)
{
    static const char special[] = "&<>\"";
    static const char *const entities[] = {"&amp;", "&lt;", "&gt;", "&quot;"};
    static const char replacement[] = "\xef\xbf\xbd";

    while (*text != '\0') {
        const char *found = strchr(special, *text);
        size_t length = character_length(text);
        if (found != NULL) {
            fpd_page_put(out, entities[found - special]);
        } else if (is_markup_character(text, length)) {
            fpd_page_put_bytes(out, text, length);
        } else {
            fpd_page_put(out, replacement);
        }
        text += length > 0 ? length : 1;
    }
}

/* The character at text, `length` bytes of UTF-8. */
static uint32_t character_at(const char *text, size_t length)
{
    static const unsigned char first_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t character = (unsigned char)text[0] & first_bits[length];

    for (size_t i = 1; i < length; i++) {
        character = character << 6 | ((unsigned char)text[i] & 0x3f);
    }
    return character;
}

/* As json_encode() does it: ASCII only, surrogates for what needs them. */
static void put_json_escape(fpd_page *out, uint32_t character)
{
    static const char special[] = "\"\\/\b\f\n\r\t";
    static const char letters[] = "\"\\/bfnrt";
    const char *found = character < 0x80 ? strchr(special, (int)character) : NULL;
    char escaped[16];

    if (found != NULL) {
        snprintf(escaped, sizeof(escaped), "\\%c", letters[found - special]);
    } else if (character < 0x10000) {
        snprintf(escaped, sizeof(escaped), "\\u%04x", (unsigned)character);
    } else {
        character -= 0x10000;
        snprintf(escaped, sizeof(escaped), "\\u%04x\\u%04x", (unsigned)(0xd800 | character >> 10),
                 (unsigned)(0xdc00 | (character & 0x3ff)));
    }
    fpd_page_put(out, escaped);
}

void fpd_page_put_json(fpd_page *out, const char *text)
{
    fpd_page_put(out, "\"");
    while (*text != '\0') {
        size_t length = character_length(text);
        if (length == 1 && (unsigned char)*text >= 0x20 && strchr("\"\\/", *text) == NULL) {
            fpd_page_put_bytes(out, text, 1);
        } else if (length > 0) {
            put_json_escape(out, character_at(text, length));
        }
        text += length > 0 ? length : 1;
    }
    fpd_page_put(out, "\"");
}
