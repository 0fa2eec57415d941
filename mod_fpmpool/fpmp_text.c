/* fpmp_text.c - text that goes out piece by piece, escaped for where it lands.
 *
 * Runs in an httpd child for each page of figures. Pure but for the writer that it is given; must
 * not know what the text is about.
 */
#include "fpmp_text.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <stdarg.h>
#include <string.h>

#define PIECE 1024

void fpmp_text_put(fpmp_text *text, const char *plain)
{
    text->write(text->to, plain, strlen(plain));
}

void fpmp_text_format(fpmp_text *text, const char *format, ...)
{
    char piece[PIECE];
    va_list arguments;
    va_start(arguments, format);
    (void)apr_vsnprintf(piece, sizeof(piece), format, arguments);
    va_end(arguments);
    fpmp_text_put(text, piece);
}

/* ---- escaping -------------------------------------------------------------------------------- */

/* Bytes of the well-formed UTF-8 character at `at` (RFC 3629), 0: there is none. */
static size_t length_of(const unsigned char *at)
{
    static const struct {
        unsigned char first, last, low, high, length; /* low, high: of the second byte */
    } forms[] = {
        {0x01, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (at[0] < forms[i].first || at[0] > forms[i].last) {
            continue;
        }
        if (forms[i].length > 1 && (at[1] < forms[i].low || at[1] > forms[i].high)) {
            return 0;
        }
        for (size_t next = 2; next < forms[i].length; next++) {
            if ((at[next] & 0xc0) != 0x80) {
                return 0;
            }
        }
        return forms[i].length;
    }
    return 0;
}

/* What stands for a byte: NULL for itself. */
typedef const char *escape_fn(unsigned char byte, char *room);

#define ROOM 8

static void escape(fpmp_text *text, const char *raw, escape_fn *stands_for)
{
    const char *plain = raw;
    const char *at = raw;
    while (*at) {
        char room[ROOM];
        size_t length = length_of((const unsigned char *)at);
        const char *instead = length == 0   ? "\xef\xbf\xbd"
                              : length == 1 ? stands_for((unsigned char)*at, room)
                                            : NULL;
        length = length ? length : 1;
        if (instead) {
            text->write(text->to, plain, (apr_size_t)(at - plain));
            fpmp_text_put(text, instead);
            plain = at + length;
        }
        at += length;
    }
    text->write(text->to, plain, (apr_size_t)(at - plain));
}

static const char *in_html(unsigned char byte, char *room)
{
    (void)room;
    switch (byte) {
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '&':
        return "&amp;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return byte < 0x20 || byte == 0x7f ? "\xef\xbf\xbd" : NULL;
    }
}

static const char *in_json(unsigned char byte, char *room)
{
    if (byte >= 0x20 && byte != '"' && byte != '\\' && byte != '<' && byte != 0x7f) {
        return NULL;
    }
    (void)apr_snprintf(room, ROOM, "\\u%04x", byte);
    return room;
}

static const char *in_label(unsigned char byte, char *room)
{
    (void)room;
    switch (byte) {
    case '\\':
        return "\\\\";
    case '"':
        return "\\\"";
    case '\n':
        return "\\n";
    default:
        return NULL;
    }
}

static const char *in_line(unsigned char byte, char *room)
{
    (void)room;
    return byte < 0x20 || byte == 0x7f ? "?" : NULL;
}

static const char *in_url(unsigned char byte, char *room)
{
    if (apr_isalnum(byte) || strchr("-._~", byte)) {
        return NULL;
    }
    (void)apr_snprintf(room, ROOM, "%%%02X", byte);
    return room;
}

void fpmp_text_html(fpmp_text *text, const char *raw)
{
    escape(text, raw, in_html);
}

void fpmp_text_json(fpmp_text *text, const char *raw)
{
    fpmp_text_put(text, "\"");
    escape(text, raw, in_json);
    fpmp_text_put(text, "\"");
}

void fpmp_text_label(fpmp_text *text, const char *raw)
{
    fpmp_text_put(text, "\"");
    escape(text, raw, in_label);
    fpmp_text_put(text, "\"");
}

void fpmp_text_line(fpmp_text *text, const char *raw)
{
    escape(text, raw, in_line);
}

void fpmp_text_url(fpmp_text *text, const char *raw)
{
    for (const char *at = raw; *at; at++) {
        char room[ROOM];
        char one[2] = {*at, '\0'};
        const char *instead = in_url((unsigned char)*at, room);
        fpmp_text_put(text, instead ? instead : one);
    }
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* Three digits: 1.50, 12.3, 450. */
static void put_scaled(fpmp_text *text, double number, const char *unit)
{
    int digits = number < 9.995 ? 2 : number < 99.95 ? 1 : 0;
    fpmp_text_format(text, "%.*f%s", digits, number, unit);
}

/* Divides by `step` until the number is small enough for its unit. */
static void put_in_steps(fpmp_text *text, uint64_t number, unsigned step, const char *const *units)
{
    double rest = (double)number;
    int at = 0;
    while (rest >= step - 0.5 && units[at + 1]) {
        rest /= step;
        at++;
    }
    if (at) {
        put_scaled(text, rest, units[at]);
    } else {
        fpmp_text_format(text, "%" APR_UINT64_T_FMT "%s", number, units[0]);
    }
}

void fpmp_text_amount(fpmp_text *text, uint64_t number)
{
    static const char *const units[] = {"", "k", "M", "G", "T", NULL};
    put_in_steps(text, number, 1000, units);
}

void fpmp_text_bytes(fpmp_text *text, uint64_t bytes)
{
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB", NULL};
    put_in_steps(text, bytes, 1024, units);
}

void fpmp_text_duration(fpmp_text *text, uint64_t microseconds)
{
    if (microseconds < 1000) {
        fpmp_text_format(text, "%u%s", (unsigned)microseconds, microseconds ? " \xc2\xb5s" : "");
    } else if (microseconds < 999500) {
        put_scaled(text, (double)microseconds / 1e3, " ms");
    } else {
        put_scaled(text, (double)microseconds / 1e6, " s");
    }
}

void fpmp_text_age(fpmp_text *text, uint64_t seconds)
{
    uint64_t minutes = seconds / 60;
    uint64_t hours = minutes / 60;
    if (seconds < 120) {
        fpmp_text_format(text, "%u s", (unsigned)seconds);
    } else if (minutes < 120) {
        fpmp_text_format(text, "%u min", (unsigned)minutes);
    } else if (hours < 48) {
        fpmp_text_format(text, "%u h %u min", (unsigned)hours, (unsigned)(minutes % 60));
    } else {
        fpmp_text_format(text, "%" APR_UINT64_T_FMT " d %u h", hours / 24, (unsigned)(hours % 24));
    }
}
