/* ini.c - the lexer behind ini.h: a cursor over one line, values built up in pieces.
 *
 * Runs in the master, or in the child that tests a configuration. Pure but for the caller's
 * look-ups. Its language, oddities included, is that of the living peer: t/12-config-peer.t holds
 * the two side by side.
 */
#include "conf/ini.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "apr_strings.h"

#define NESTING_MAX 100 /* parentheses and signs in an expression */

typedef struct cursor {
    const char *at;
    const char *end; /* where the NUL is */
    const fpd_ini_reader *reader;
    apr_pool_t *pool;
    const char *error; /* sticks */
    int nesting;
} cursor;

/* A text that grows piece by piece. */
typedef struct text {
    char *bytes;
    size_t length;
    size_t capacity;
} text;

static void append(text *to, const char *bytes, size_t length, apr_pool_t *pool)
{
    if (to->length + length + 1 > to->capacity) {
        size_t capacity = (to->length + length + 1) * 2;
        char *grown = apr_palloc(pool, capacity);
        if (to->length > 0) {
            memcpy(grown, to->bytes, to->length);
        }
        to->bytes = grown;
        to->capacity = capacity;
    }
    memcpy(to->bytes + to->length, bytes, length);
    to->length += length;
    to->bytes[to->length] = '\0';
}

static const char *finish(const text *made)
{
    return made->length > 0 ? made->bytes : "";
}

static int is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static const char *behind_blanks(const char *at)
{
    while (is_blank(*at)) {
        at++;
    }
    return at;
}

static int is_line_end(char c)
{
    return c == '\0' || c == '\r';
}

static void fail(cursor *in, const char *what)
{
    if (in->error == NULL) {
        in->error = apr_pstrcat(in->pool, "syntax error, ", what, NULL);
    }
    in->at = in->end;
}

static void fail_here(cursor *in)
{
    if (is_line_end(*in->at) || *in->at == ';') {
        fail(in, "unexpected end of the line");
    } else {
        fail(in,
             apr_psprintf(in->pool, "unexpected '%c' (quote a text that contains it)", *in->at));
    }
}

/* Can this byte be part of a name to the left of "=", or between "${" and "}"? */
static int is_label_byte(char c)
{
    return c != '\0' && strchr("=\n\r\t;&|^$~(){}![\"", c) == NULL;
}

static size_t label_length(const char *from)
{
    size_t length = 0;

    while (is_label_byte(from[length])) {
        length++;
    }
    return length;
}

static const char *trimmed(const cursor *in, const char *from, size_t length)
{
    while (length > 0 && is_blank(*from)) {
        from++;
        length--;
    }
    while (length > 0 && is_blank(from[length - 1])) {
        length--;
    }
    return apr_pstrmemdup(in->pool, from, length);
}

/* ---- pieces ------------------------------------------------------------------------------- */

/* At "${": appends the variable's value. */
static void read_variable(cursor *in, text *to)
{
    const char *name = in->at + 2;
    size_t length = label_length(name);
    const char *value;

    if (length == 0 || name[length] != '}') {
        fail(in, "\"${\" needs a name and \"}\"");
        return;
    }
    value = in->reader->variable(in->reader->context, trimmed(in, name, length));
    if (value != NULL) {
        append(to, value, strlen(value), in->pool);
    }
    in->at = name + length + 1;
}

/* At a double quote: appends the text, leaves the cursor behind the closing quote and blanks. A
 * backslash protects a quote, a backslash and a dollar; but a quote that ends the line is always
 * the closing one, so that "C:\" is a text. */
static void read_double_quoted(cursor *in, text *to)
{
    in->at++;
    while (*in->at != '"') {
        if (*in->at == '\0') {
            fail(in, "the closing '\"' is missing (values end with their line)");
            return;
        }
        if (*in->at == '\\' && in->at[1] == '"' && is_line_end(in->at[2])) {
            append(to, in->at++, 1, in->pool);
        } else if (*in->at == '\\' && in->at[1] != '\0' && strchr("\"\\$", in->at[1]) != NULL) {
            append(to, in->at + 1, 1, in->pool);
            in->at += 2;
        } else if (in->at[0] == '$' && in->at[1] == '{') {
            read_variable(in, to);
        } else {
            append(to, in->at++, 1, in->pool);
        }
        if (in->error != NULL) {
            return;
        }
    }
    in->at = behind_blanks(in->at + 1);
}

/* At a single quote that has a text and a closing one: appends the text as it is. Else 0. */
static int read_single_quoted(cursor *in, text *to)
{
    const char *close = strchr(in->at + 1, '\'');

    if (close == NULL || close == in->at + 1) {
        return 0;
    }
    append(to, in->at + 1, (size_t)(close - in->at - 1), in->pool);
    in->at = close + 1;
    return 1;
}

/* A "$" that starts no variable takes the byte behind it along, whatever that is. */
static size_t dollar_length(const char *at)
{
    if (at[1] == '\0') {
        return 1;
    }
    return at[1] == '\\' && at[2] != '\0' ? 3 : 2;
}

/* Length of the longest run of bytes that are text: not in `stops`, no "${". */
static size_t run_length(const char *from, const char *stops, int has_escapes)
{
    const char *at = from;

    while (*at != '\0' && strchr(stops, *at) == NULL) {
        if (*at == '$') {
            if (at[1] == '{') {
                break;
            }
            at += dollar_length(at);
        } else if (has_escapes && *at == '\\') {
            if (at[1] == '\0') {
                break;
            }
            at += 2;
        } else {
            at++;
        }
    }
    return (size_t)(at - from);
}

static int is_identifier(const char *word, size_t length)
{
    if (length == 0 || isdigit((unsigned char)word[0])) {
        return 0;
    }
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)word[i]) && word[i] != '_') {
            return 0;
        }
    }
    return 1;
}

/* Appends a word, or the value of the constant that it names. */
static void append_word(cursor *in, text *to, size_t length)
{
    const char *value = NULL;

    if (is_identifier(in->at, length)) {
        value = in->reader->constant(in->reader->context, apr_pstrmemdup(in->pool, in->at, length));
    }
    if (value != NULL) {
        append(to, value, strlen(value), in->pool);
    } else {
        append(to, in->at, length, in->pool);
    }
    in->at += length;
}

/* What a whole bare word means; NULL if it is no literal word. */
static const char *find_literal(const char *word, size_t length)
{
    static const struct {
        const char *word, *value;
    } literals[] = {{"true", "1"}, {"on", "1"}, {"yes", "1"}, {"false", ""},
                    {"off", ""},   {"no", ""},  {"none", ""}, {"null", ""}};

    for (size_t i = 0; i < sizeof(literals) / sizeof(literals[0]); i++) {
        if (strlen(literals[i].word) == length &&
            strncasecmp(word, literals[i].word, length) == 0) {
            return literals[i].value;
        }
    }
    return NULL;
}

/* ---- values ------------------------------------------------------------------------------- */

#define VALUE_STOPS "= \t\r;&|^~()!\"'"

/* One piece of a value is appended. 0: there is none here (an operator or the end), or an error. */
static int read_piece(cursor *in, text *to)
{
    const char *at = behind_blanks(in->at);
    size_t length;

    if (is_line_end(*at) || strchr(";&|^~()!", *at) != NULL) {
        in->at = at; /* blanks before an operator, a comment or the end are no text */
        return 0;
    }
    if (*at == '"') {
        in->at = at;
        read_double_quoted(in, to);
        return in->error == NULL;
    }
    if (at != in->at) {
        append(to, in->at, (size_t)(at - in->at), in->pool);
        in->at = at;
        return 1;
    }
    if (*at == '=') {
        return 0;
    }
    if (*at == '\'') {
        if (!read_single_quoted(in, to)) {
            in->at = at[1] == '\'' ? at : in->end; /* "it's": the rest of the line is lost */
            return 0;
        }
        return 1;
    }
    if (at[0] == '$' && at[1] == '{') {
        read_variable(in, to);
        return in->error == NULL;
    }
    length = run_length(at, VALUE_STOPS, 0);
    if (find_literal(at, length) != NULL) {
        fail(in,
             apr_psprintf(in->pool, "unexpected '%.*s' (quote it if it is text)", (int)length, at));
        return 0;
    }
    append_word(in, to, length);
    return 1;
}

static const char *read_expression(cursor *in);

static long number_of(const char *value)
{
    return (long)(int)strtol(value, NULL, 10);
}

/* Pieces, or "!", "~" or parentheses and what they are for. */
static const char *read_operand(cursor *in)
{
    text made = {NULL, 0, 0};
    const char *value;
    int count = 0;

    if (++in->nesting > NESTING_MAX) {
        fail(in, "too many parentheses");
        return "";
    }
    if (*in->at == '~' || *in->at == '!') {
        char operation = *in->at;
        in->at = behind_blanks(in->at + 1);
        value = read_operand(in);
        in->nesting--;
        return apr_psprintf(in->pool, "%d",
                            (int)(operation == '~' ? ~number_of(value) : !number_of(value)));
    }
    if (*in->at == '(') {
        in->at = behind_blanks(in->at + 1);
        value = read_expression(in);
        if (in->error == NULL && *in->at != ')') {
            fail(in, "the closing ')' is missing");
        }
        if (in->error == NULL) {
            in->at = behind_blanks(in->at + 1);
        }
        in->nesting--;
        return value;
    }
    in->nesting--;
    while (read_piece(in, &made)) {
        count++;
    }
    if (count == 0 && in->error == NULL) {
        fail_here(in);
    }
    return finish(&made);
}

/* The operators have one precedence, from left to right, and make 32-bit numbers. */
static const char *read_expression(cursor *in)
{
    const char *left = read_operand(in);

    while (in->error == NULL && *in->at != '\0' && strchr("|&^", *in->at) != NULL) {
        char operation = *in->at;
        long a = number_of(left);
        long b;
        in->at = behind_blanks(in->at + 1);
        b = number_of(read_operand(in));
        left = apr_psprintf(in->pool, "%d",
                            (int)(operation == '|'   ? (a | b)
                                  : operation == '&' ? (a & b)
                                                     : (a ^ b)));
    }
    return left;
}

/* Behind a value only the end of the line, a comment, a second "=" (which fails later) or '' may
 * come. */
static void expect_value_end(cursor *in)
{
    in->at = behind_blanks(in->at);
    if (in->at[0] == '\'' && in->at[1] == '\'') {
        in->at++;
    } else if (!is_line_end(*in->at) && *in->at != ';' && *in->at != '=') {
        if (*in->at == '\'' && strchr(in->at + 1, '\'') == NULL) {
            in->at = in->end;
        } else {
            fail_here(in);
        }
    }
}

/* Behind "=". */
static const char *read_value(cursor *in)
{
    size_t length;
    const char *value;

    in->at = behind_blanks(in->at);
    if (is_line_end(*in->at) || *in->at == ';' || *in->at == '=' ||
        (in->at[0] == '\'' && in->at[1] == '\'')) {
        in->at += *in->at == '\'';
        return "";
    }
    length = run_length(in->at, VALUE_STOPS, 0);
    value = find_literal(in->at, length);
    if (value != NULL) {
        in->at += length;
    } else {
        value = read_expression(in);
    }
    if (in->error == NULL) {
        expect_value_end(in);
    }
    return value;
}

/* ---- names in brackets -------------------------------------------------------------------- */

/* Up to "]": a section's name (blanks belong to it) or an array's key. */
static const char *read_bracketed(cursor *in, int is_key)
{
    text name = {NULL, 0, 0};

    in->at = is_key ? behind_blanks(in->at + 1) : in->at + 1;
    while (in->error == NULL && *in->at != ']') {
        const char *at = behind_blanks(in->at);
        if (*at == '"' || (is_key && *at == ']')) {
            in->at = at;
        }
        if (*in->at == ']') {
            break;
        }
        if (*in->at == '"') {
            read_double_quoted(in, &name);
        } else if (in->at[0] == '$' && in->at[1] == '{') {
            read_variable(in, &name);
        } else if (*in->at == '\'' && read_single_quoted(in, &name)) {
            continue;
        } else {
            size_t length = run_length(in->at, "\r;\"']", 1);
            if (length == 0) {
                fail(in, "the closing ']' is missing");
            } else if (is_key) {
                append_word(in, &name, length);
            } else {
                append(&name, in->at, length, in->pool);
                in->at += length;
            }
        }
    }
    in->at += in->error == NULL;
    in->at = behind_blanks(in->at);
    return finish(&name);
}

/* ---- statements --------------------------------------------------------------------------- */

static void give(cursor *in, const fpd_ini_statement *statement)
{
    if (in->error == NULL) {
        in->reader->statement(in->reader->context, statement);
    }
}

static void read_section(cursor *in)
{
    fpd_ini_statement statement = {.kind = FPD_INI_SECTION};

    statement.name = read_bracketed(in, 0);
    give(in, &statement);
}

/* A name, and what follows it. is_indented: blanks before it, which make a literal word a name. */
static void read_entry(cursor *in, int is_indented)
{
    fpd_ini_statement statement = {.kind = FPD_INI_LABEL};
    size_t length = label_length(in->at);

    if (length == 0) {
        fail_here(in);
        return;
    }
    statement.name = trimmed(in, in->at, length);
    in->at += length;
    if (*in->at == '[') {
        statement.kind = FPD_INI_ARRAY;
        statement.key = read_bracketed(in, 1);
        if (in->error == NULL && *in->at != '=') {
            fail(in, "'=' is missing behind ']'");
        }
    } else if (!is_indented && find_literal(statement.name, strlen(statement.name)) != NULL) {
        fail(in, apr_psprintf(in->pool, "'%s' cannot be a name", statement.name));
    } else {
        in->at = behind_blanks(in->at);
        statement.kind = *in->at == '=' ? FPD_INI_ENTRY : FPD_INI_LABEL;
    }
    if (in->error == NULL && *in->at == '=') {
        in->at++;
        statement.value = read_value(in);
    }
    give(in, &statement);
}

const char *fpd_ini_read(const fpd_ini_reader *reader, const char *line, size_t length,
                         apr_pool_t *pool)
{
    cursor in = {line, line + length, reader, pool, NULL, 0};

    if (memchr(line, '\0', length) != NULL) {
        fail(&in, "a NUL byte");
        return in.error;
    }
    if (length > 3 && memcmp(line, "\xEF\xBB\xBF", 3) == 0) {
        in.at += 3;
    }
    while (in.error == NULL) {
        const char *start = in.at;
        int is_indented;
        in.at = behind_blanks(start);
        is_indented = in.at != start && memchr(start, '\t', (size_t)(in.at - start)) == NULL;
        if (*in.at == '\0') {
            break;
        }
        if (*in.at == '\r') {
            in.at++;
        } else if (*in.at == ';') {
            in.at += strcspn(in.at, "\r");
        } else if (*in.at == '[') {
            read_section(&in);
        } else {
            read_entry(&in, is_indented);
        }
    }
    return in.error;
}
