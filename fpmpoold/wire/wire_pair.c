/* wire_pair.c - name-value pairs (FastCGI specification 3.4).
 *
 * Compiled into both programs. A length below 128 takes one byte, any other four with the top bit
 * set; a decoder accepts the four-byte form for small lengths too.
 */
#include "wire/wire.h"

#include <string.h>

/* Reads one length at *cursor; 0 when the bytes end inside it. */
static int read_length(const uint8_t **cursor, const uint8_t *end, uint32_t *length)
{
    const uint8_t *at = *cursor;

    if (at == end) {
        return 0;
    }
    if ((at[0] & 0x80) == 0) {
        *length = at[0];
        *cursor = at + 1;
        return 1;
    }
    if (end - at < 4) {
        return 0;
    }
    *length = (uint32_t)(at[0] & 0x7f) << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    *cursor = at + 4;
    return 1;
}

int wire_pair_next(const uint8_t **cursor, const uint8_t *end, wire_pair *pair)
{
    const uint8_t *at = *cursor;
    size_t left;

    if (at == end) {
        return 0;
    }
    if (!read_length(&at, end, &pair->name_length) || !read_length(&at, end, &pair->value_length)) {
        return -1;
    }
    left = (size_t)(end - at);
    if (pair->name_length > left || pair->value_length > left - pair->name_length) {
        return -1;
    }
    pair->name = (const char *)at;
    pair->value = (const char *)at + pair->name_length;
    *cursor = at + pair->name_length + pair->value_length;
    return 1;
}

static uint8_t *write_length(uint8_t *to, size_t length)
{
    if (length < 128) {
        *to = (uint8_t)length;
        return to + 1;
    }
    to[0] = (uint8_t)(length >> 24 | 0x80);
    to[1] = (uint8_t)(length >> 16);
    to[2] = (uint8_t)(length >> 8);
    to[3] = (uint8_t)length;
    return to + 4;
}

uint8_t *wire_pair_write(uint8_t *to, const char *name, size_t name_length, const char *value,
                         size_t value_length)
{
    to = write_length(to, name_length);
    to = write_length(to, value_length);
    if (name_length > 0) {
        memcpy(to, name, name_length);
    }
    if (value_length > 0) {
        memcpy(to + name_length, value, value_length);
    }
    return to + name_length + value_length;
}
