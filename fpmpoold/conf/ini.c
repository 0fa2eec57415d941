/* ini.c - the lexer behind ini.h: a cursor over one line, values built up in pieces.
 *
 * Runs in the master, or in the child that tests a configuration. Pure but for the caller's
 * look-up of ${NAME}.
 */
#include "conf/ini.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "apr_strings.h"

typedef struct cursor {
    const char *at;
    fpd_ini_variable_fn *variable;
    void *context;
    apr_pool_t *pool;
    const char *error;
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

static void skip_blanks(cursor *in)
{
    while (*in->at == ' ' || *in->at == '\t') {
        in->at++;
    }
}

static void fail(cursor *in, const char *what)
{
    if (in->error == NULL) {
        in->error = what;
    }
}

/* "${NAME}" at the cursor; a "$" that starts no variable is itself. */
static void read_variable(cursor *in, text *to)
{
    const char *end;
    const char *value;

    if (in->at[1] != '{') {
        append(to, in->at++, 1, in->pool);
        return;
    }
    end = strchr(in->at, '}');
    if (end == NULL) {
        fail(in, "syntax error, \"${\" without \"}\"");
        in->at += strlen(in->at);
        return;
    }
    value = in->variable(in->context,
                         apr_pstrmemdup(in->pool, in->at + 2, (apr_size_t)(end - in->at - 2)));
    if (value != NULL) {
        append(to, value, strlen(value), in->pool);
    }
    in->at = end + 1;
}

static void read_double_quoted(cursor *in, text *to)
{
    in->at++;
    while (*in->at != '"') {
        if (*in->at == '\0') {
            fail(in, "syntax error, the closing '\"' is missing (values end with their line)");
            return;
        }
        if (*in->at == '\\' && (in->at[1] == '"' || in->at[1] == '\\' || in->at[1] == '$')) {
            append(to, in->at + 1, 1, in->pool);
            in->at += 2;
        } else if (*in->at == '$') {
            read_variable(in, to);
        } else {
            append(to, in->at++, 1, in->pool);
        }
    }
    in->at++;
}

static void read_single_quoted(cursor *in, text *to)
{
    const char *end = strchr(in->at + 1, '\'');

    if (end == NULL) {
        fail(in, "syntax error, the closing \"'\" is missing (values end with their line)");
        in->at += strlen(in->at);
        return;
    }
    append(to, in->at + 1, (size_t)(end - in->at - 1), in->pool);
    in->at = end + 1;
}

/* ---- words and expressions ---------------------------------------------------------------- */

static const struct {
    const char *name;
    const char *value;
} constants[] = {
    {"E_ERROR", "1"},          {"E_WARNING", "2"},
    {"E_PARSE", "4"},          {"E_NOTICE", "8"},
    {"E_CORE_ERROR", "16"},    {"E_CORE_WARNING", "32"},
    {"E_COMPILE_ERROR", "64"}, {"E_COMPILE_WARNING", "128"},
    {"E_USER_ERROR", "256"},   {"E_USER_WARNING", "512"},
    {"E_USER_NOTICE", "1024"}, {"E_STRICT", "2048"},
    {"E_DEPRECATED", "8192"},  {"E_USER_DEPRECATED", "16384"},
    {"E_ALL", "32767"},        {"E_RECOVERABLE_ERROR", "4096"},
    {"PHP_OS", "Linux"},       {"PHP_OS_FAMILY", "Linux"},
    {"PHP_SAPI", "fpm-fcgi"},  {"DIRECTORY_SEPARATOR", "/"},
    {"PATH_SEPARATOR", ":"},
};

static const char *find_constant(const char *word)
{
    for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++) {
        if (strcmp(word, constants[i].name) == 0) {
            return constants[i].value;
        }
    }
    return word;
}

/* What a whole bare value means; NULL if it is no literal word. */
static const char *find_literal(const char *word)
{
    static const char *const yes[] = {"true", "on", "yes"};
    static const char *const no[] = {"false", "off", "no", "none", "null"};

    for (size_t i = 0; i < 3; i++) {
        if (strcasecmp(word, yes[i]) == 0) {
            return "1";
        }
    }
    for (size_t i = 0; i < 5; i++) {
        if (strcasecmp(word, no[i]) == 0) {
            return "";
        }
    }
    return NULL;
}

static long read_alternative(cursor *in);

/* A number, a constant, "!", "~" or parentheses. */
static long read_operand(cursor *in)
{
    const char *start;
    const char *word;
    char *end;
    long number;

    skip_blanks(in);
    if (*in->at == '~' || *in->at == '!') {
        char operation = *in->at++;
        number = read_operand(in);
        return operation == '~' ? ~number : !number;
    }
    if (*in->at == '(') {
        in->at++;
        number = read_alternative(in);
        skip_blanks(in);
        if (*in->at != ')') {
            fail(in, "syntax error, unexpected end of the expression, expecting ')'");
            return 0;
        }
        in->at++;
        return number;
    }
    start = in->at;
    while (isalnum((unsigned char)*in->at) || *in->at == '_') {
        in->at++;
    }
    word = find_constant(apr_pstrmemdup(in->pool, start, (apr_size_t)(in->at - start)));
    number = strtol(word, &end, 10);
    if (*word == '\0' || *end != '\0') {
        fail(in, "syntax error, '|', '&', '^', '~', '!', '(' and ')' make an integer expression: "
                 "quote the value if it is text");
    }
    return number;
}

/* Zend gives the three operators one precedence, from left to right. */
static long read_alternative(cursor *in)
{
    long left = read_operand(in);

    for (;;) {
        char operation;
        long right;
        skip_blanks(in);
        operation = *in->at;
        if (in->error != NULL || (operation != '|' && operation != '&' && operation != '^')) {
            return left;
        }
        in->at++;
        right = read_operand(in);
        left = operation == '|' ? left | right : operation == '&' ? left & right : left ^ right;
    }
}

static int is_expression(const char *from)
{
    size_t length = strcspn(from, ";\"'");

    for (const char *c = from; c < from + length; c++) {
        if (*c == '$' && c[1] == '{') {
            const char *end = strchr(c, '}');
            if (end == NULL || end >= from + length) {
                return 0;
            }
            c = end;
        } else if (strchr("|&^~!()", *c) != NULL) {
            return 1;
        }
    }
    return 0;
}

static const char *read_expression(cursor *in)
{
    long number = read_alternative(in);

    skip_blanks(in);
    if (*in->at != '\0' && *in->at != ';') {
        fail(in, "syntax error, text behind an integer expression: quote the value if it is text");
    }
    return apr_psprintf(in->pool, "%ld", number);
}

static void trim_end(text *value)
{
    while (value->length > 0 &&
           (value->bytes[value->length - 1] == ' ' || value->bytes[value->length - 1] == '\t')) {
        value->bytes[--value->length] = '\0';
    }
}

/* Unquoted characters up to a quote, a comment or the end. */
static void read_bare(cursor *in, text *to)
{
    while (*in->at != '\0' && *in->at != ';' && *in->at != '"' && *in->at != '\'') {
        if (*in->at == '=') {
            fail(in, "syntax error, unexpected '=' (quote a value that contains it)");
            in->at += strlen(in->at);
        } else if (*in->at == '$') {
            read_variable(in, to);
        } else {
            append(to, in->at++, 1, in->pool);
        }
    }
}

/* What stands behind "=". NULL for the empty ''. */
static const char *read_value(cursor *in)
{
    text value = {NULL, 0, 0};
    int is_quoted = 0;
    int is_empty_single = 0;

    skip_blanks(in);
    if (is_expression(in->at)) {
        return read_expression(in);
    }
    while (*in->at != '\0' && *in->at != ';') {
        if (*in->at == '"') {
            is_quoted = 1;
            read_double_quoted(in, &value);
        } else if (*in->at == '\'') {
            is_quoted = 1;
            is_empty_single = in->at[1] == '\'';
            read_single_quoted(in, &value);
        } else {
            read_bare(in, &value);
            if (*in->at == '\0' || *in->at == ';') {
                trim_end(&value);
            }
        }
    }
    if (value.length == 0) {
        return is_empty_single ? NULL : "";
    }
    if (!is_quoted) {
        const char *literal = find_literal(value.bytes);
        return literal != NULL ? literal : find_constant(value.bytes);
    }
    return value.bytes;
}

/* A section name or an array key, up to "]". */
static const char *read_bracketed(cursor *in)
{
    text name = {NULL, 0, 0};
    int is_quoted = 0;

    in->at++;
    skip_blanks(in);
    while (*in->at != ']') {
        if (*in->at == '\0') {
            fail(in, "syntax error, unexpected end of line, expecting ']'");
            return "";
        }
        if (*in->at == '"') {
            is_quoted = 1;
            read_double_quoted(in, &name);
        } else if (*in->at == '\'') {
            is_quoted = 1;
            read_single_quoted(in, &name);
        } else if (*in->at == '$') {
            read_variable(in, &name);
        } else {
            append(&name, in->at++, 1, in->pool);
        }
    }
    in->at++;
    if (name.length == 0) {
        return "";
    }
    trim_end(&name);
    return is_quoted ? name.bytes : find_constant(name.bytes);
}

static const char *read_name(cursor *in)
{
    text name = {NULL, 0, 0};

    while (*in->at != '\0' && *in->at != '=' && *in->at != '[' && *in->at != ';') {
        if (*in->at == '$') {
            read_variable(in, &name);
        } else {
            append(&name, in->at++, 1, in->pool);
        }
    }
    if (name.length == 0) {
        return "";
    }
    trim_end(&name);
    return name.bytes;
}

static void read_entry(cursor *in, fpd_ini_line *line)
{
    line->kind = FPD_INI_ENTRY;
    line->name = read_name(in);
    if (*in->at == '[') {
        line->kind = FPD_INI_ARRAY;
        line->key = read_bracketed(in);
        skip_blanks(in);
    }
    if (*in->at == '=') {
        in->at++;
        line->value = read_value(in);
    }
}

void fpd_ini_read(fpd_ini_line *line, const char *text_line, fpd_ini_variable_fn *variable,
                  void *context, apr_pool_t *pool)
{
    cursor in = {text_line, variable, context, pool, NULL};

    memset(line, 0, sizeof(*line));
    skip_blanks(&in);
    if (*in.at == '\0' || *in.at == ';') {
        line->kind = FPD_INI_NOTHING;
        return;
    }
    if (*in.at == '[') {
        line->kind = FPD_INI_SECTION;
        line->name = read_bracketed(&in);
    } else {
        read_entry(&in, line);
    }
    if (in.error != NULL) {
        line->kind = FPD_INI_ERROR;
        line->error = in.error;
    }
}
