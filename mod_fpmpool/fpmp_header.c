/* fpmp_header.c - the header block of a CGI response, as text.
 *
 * Runs in an httpd child for each response. Reads bytes that any script can choose; must not
 * allocate, log or know httpd.
 */
#include "fpmp_header.h"

#include <string.h>
#include <strings.h>

size_t fpmp_header_length(const char *bytes, size_t length, size_t searched)
{
    const char *end = bytes + length;
    /* A blank line may have been cut behind its first or second byte. */
    const char *from = searched > 3 ? bytes + searched - 3 : bytes;
    if (from == bytes) {
        if (length >= 1 && bytes[0] == '\n') {
            return 1;
        }
        if (length >= 2 && bytes[0] == '\r' && bytes[1] == '\n') {
            return 2;
        }
    }
    while (from < end) {
        const char *newline = memchr(from, '\n', (size_t)(end - from));
        if (!newline) {
            return 0;
        }
        if (end - newline >= 2 && newline[1] == '\n') {
            return (size_t)(newline + 2 - bytes);
        }
        if (end - newline >= 3 && newline[1] == '\r' && newline[2] == '\n') {
            return (size_t)(newline + 3 - bytes);
        }
        from = newline + 1;
    }
    return 0;
}

/* Letters, digits and !#$%&'*+-.^_`|~ (RFC 9110 5.6.2): one bit for each byte. */
static const uint32_t token_bytes[8] = {0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff};

static int is_token(const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (!(token_bytes[byte / 32] & UINT32_C(1) << byte % 32)) {
            return 0;
        }
    }
    return length > 0;
}

static int has_control(const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
            return 1;
        }
    }
    return 0;
}

static int is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

static int split_line(const char *start, const char *end, fpmp_header_line *line)
{
    const char *colon = memchr(start, ':', (size_t)(end - start));
    if (!colon) {
        return -1;
    }
    line->name = start;
    line->name_length = (size_t)(colon - start);
    const char *value = colon + 1;
    while (value < end && is_blank(*value)) {
        value++;
    }
    while (end > value && is_blank(end[-1])) {
        end--;
    }
    line->value = value;
    line->value_length = (size_t)(end - value);
    if (!is_token(line->name, line->name_length) || has_control(value, line->value_length)) {
        return -1;
    }
    return 1;
}

int fpmp_header_next(const char **cursor, const char *end, fpmp_header_line *line)
{
    while (*cursor < end) {
        const char *start = *cursor;
        const char *newline = memchr(start, '\n', (size_t)(end - start));
        const char *next = newline ? newline + 1 : end;
        const char *stop = newline ? newline : end;
        if (stop > start && stop[-1] == '\r') {
            stop--;
        }
        if (stop == start) {
            return 0;
        }
        if (!is_blank(*start)) {
            int result = split_line(start, stop, line);
            if (result > 0) {
                *cursor = next;
            }
            return result;
        }
        *cursor = next;
    }
    return 0;
}

/* Most names differ in their first letter. */
int fpmp_header_is(const fpmp_header_line *line, const char *name)
{
    return (line->name[0] | 0x20) == (name[0] | 0x20) && strlen(name) == line->name_length &&
           !strncasecmp(line->name, name, line->name_length);
}

int fpmp_header_status(const fpmp_header_line *line)
{
    const char *text = line->value;
    if (line->value_length < 3 || (line->value_length > 3 && text[3] != ' ')) {
        return -1;
    }
    int status = 0;
    for (int i = 0; i < 3; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return -1;
        }
        status = status * 10 + (text[i] - '0');
    }
    return status >= 100 ? status : -1;
}

int64_t fpmp_header_number(const fpmp_header_line *line)
{
    int64_t number = 0;
    if (!line->value_length || line->value_length > 18) {
        return -1;
    }
    for (size_t i = 0; i < line->value_length; i++) {
        if (line->value[i] < '0' || line->value[i] > '9') {
            return -1;
        }
        number = number * 10 + (line->value[i] - '0');
    }
    return number;
}
