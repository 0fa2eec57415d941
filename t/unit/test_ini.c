/* test_ini.c - the lexer of configuration lines: a table of lines, and bytes that nobody would
 * write.
 *
 * t/12-config-peer.t compares the same language with the living php-fpm; this runs without one, and
 * with sanitizers.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "apr_general.h"
#include "apr_strings.h"
#include "conf/ini.h"

static apr_pool_t *pool;
static char *seen; /* the statements of the last line, one behind the other */

static void set_up(void)
{
    ck_assert_int_eq(apr_initialize(), APR_SUCCESS);
    ck_assert_int_eq(apr_pool_create(&pool, NULL), APR_SUCCESS);
}

static void tear_down(void)
{
    apr_pool_destroy(pool);
}

static const char *variable(void *context, const char *name)
{
    (void)context;
    return strcmp(name, "HOME") == 0 ? "/srv" : NULL;
}

static const char *constant(void *context, const char *name)
{
    (void)context;
    return strcmp(name, "E_ALL") == 0 ? "32767" : strcmp(name, "E_NOTICE") == 0 ? "8" : NULL;
}

static void take(void *context, const fpd_ini_statement *statement)
{
    (void)context;
    switch (statement->kind) {
    case FPD_INI_SECTION:
        seen = apr_pstrcat(pool, seen, "[", statement->name, "]", NULL);
        break;
    case FPD_INI_LABEL:
        seen = apr_pstrcat(pool, seen, "<", statement->name, ">", NULL);
        break;
    case FPD_INI_ENTRY:
        seen = apr_pstrcat(pool, seen, "<", statement->name, "=", statement->value, ">", NULL);
        break;
    case FPD_INI_ARRAY:
        seen = apr_pstrcat(pool, seen, "<", statement->name, "[", statement->key,
                           "]=", statement->value, ">", NULL);
        break;
    }
}

static const fpd_ini_reader reader = {variable, constant, take, NULL};

static const struct {
    const char *line;
    const char *statements; /* ends in "!" when the line is wrong behind them */
} lines[] = {
    {"", ""},
    {"   ; comment", ""},
    {"a = b", "<a=b>"},
    {"  a=b ; c", "<a=b>"},
    {"a =", "<a=>"},
    {"a", "<a>"},
    {"#a = b", "<#a=b>"},
    {"a = b;c", "<a=b>"},
    {"a = \"b;c\" ; d", "<a=b;c>"},
    {"a = on", "<a=1>"},
    {"a = NONE ; c", "<a=>"},
    {"a = on off", "!"},
    {"a = on|1", "!"},
    {"on = a", "!"},
    {" on = a", "<on=a>"},
    {"a = b c", "<a=b c>"},
    {"a = b=c", "<a=b>!"},
    {"a = E_ALL", "<a=32767>"},
    {"a = \"E_ALL\"", "<a=E_ALL>"},
    {"a = E_ALL & ~E_NOTICE", "<a=32759>"},
    {"a = x E_ALL y", "<a=x 32767 y>"},
    {"a = 8|7&3", "<a=3>"},
    {"a = (1|2)&3", "<a=3>"},
    {"a = (1", "!"},
    {"a = 1)", "!"},
    {"a = ()", "!"},
    {"a = 1 |", "!"},
    {"a = !!5", "<a=1>"},
    {"a = 2147483648|0", "<a=-2147483648>"},
    {"a = ${HOME}/x", "<a=/srv/x>"},
    {"a = \"${HOME}\"", "<a=/srv>"},
    {"a = '${HOME}'", "<a=${HOME}>"},
    {"a = ${ HOME }", "<a=/srv>"},
    {"a = ${NONE}", "<a=>"},
    {"a = ${HOME", "!"},
    {"a = ${}", "!"},
    {"a = $HOME", "<a=$HOME>"},
    {"a = $${HOME}", "<a=$${HOME}>"},
    {"a = x$", "<a=x$>"},
    {"a = \"x\\\"y\"", "<a=x\"y>"},
    {"a = \"C:\\\"", "<a=C:\\>"},
    {"a = \"x\\ny\"", "<a=x\\ny>"},
    {"a = \"x", "!"},
    {"a = 'x", "!"},
    {"a = it's", "<a=it>"},
    {"a = ''", "<a=><'>"},
    {"a = \"x\" \"y\"", "<a=xy>"},
    {"a = x \"y\" z", "<a=xyz>"},
    {"a = x 'y'", "<a=x y>"},
    {"a = b\rc", "<a=b><c>"},
    {"[www]", "[www]"},
    {"[ w w ] ; c", "[ w w ]"},
    {"[\"w\"'v'${HOME}]", "[wv/srv]"},
    {"[www] a = b", "[www]<a=b>"},
    {"[www", "!"},
    {"[a;b]", "!"},
    {"[a]]", "[a]<]>"},
    {"env[A] = b", "<env[A]=b>"},
    {"env [ A ] = b", "<env[A ]=b>"},
    {"env[E_ALL] = b", "<env[32767]=b>"},
    {"env[] = b", "<env[]=b>"},
    {"env[A", "!"},
    {"env[A] x = b", "!"},
    {"env['x'\"y\"] = b", "<env[xy]=b>"},
    {"a{b = c", "<a>!"},
    {"= b", "!"},
    {"\xEF\xBB\xBF[www]", "[www]"},
};

START_TEST(every_line_is_read_as_php_reads_it)
{
    const char *error;

    seen = apr_pstrdup(pool, "");
    error = fpd_ini_read(&reader, lines[_i].line, strlen(lines[_i].line), pool);
    if (error != NULL) {
        ck_assert_msg(strncmp(error, "syntax error, ", 14) == 0, "%s", error);
        seen = apr_pstrcat(pool, seen, "!", NULL);
    }
    ck_assert_msg(strcmp(seen, lines[_i].statements) == 0, "<%s>: %s, not %s", lines[_i].line, seen,
                  lines[_i].statements);
}
END_TEST

/* In memory of its exact size, so that a byte too far is seen. */
static void read_exactly(const char *bytes, size_t length)
{
    char *copy = malloc(length + 1);

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, bytes, length);
    copy[length] = '\0';
    seen = apr_pstrdup(pool, "");
    (void)fpd_ini_read(&reader, copy, length, pool);
    free(copy);
}

START_TEST(no_beginning_of_a_line_reads_outside)
{
    size_t length = strlen(lines[_i].line);

    for (size_t end = 0; end <= length; end++) {
        read_exactly(lines[_i].line, end);
        read_exactly(lines[_i].line + end, length - end);
    }
}
END_TEST

START_TEST(no_mix_of_special_bytes_reads_outside)
{
    static const char bytes[] = "=[]\"'${};\\|&~!() \tonaE_1\r\xEF\0";
    char line[24];
    unsigned random = 12345;

    for (int round = 0; round < 200000; round++) {
        size_t length = 0;
        while (length < sizeof(line)) {
            random = random * 1103515245u + 12345u;
            line[length++] = bytes[(random >> 16) % sizeof(bytes)];
            if ((random >> 28) == 0) {
                break;
            }
        }
        read_exactly(line, length);
        if (round % 1000 == 0) {
            apr_pool_clear(pool);
        }
    }
}
END_TEST

START_TEST(a_million_parentheses_are_an_error)
{
    size_t length = 1000000;
    char *line = malloc(length + 1);

    ck_assert_ptr_nonnull(line);
    memset(line, '(', length);
    memcpy(line, "a=", 2);
    line[length] = '\0';
    seen = apr_pstrdup(pool, "");
    ck_assert_str_eq(fpd_ini_read(&reader, line, length, pool),
                     "syntax error, too many parentheses");
    memset(line + 2, '!', length - 2);
    ck_assert_str_eq(fpd_ini_read(&reader, line, length, pool),
                     "syntax error, too many parentheses");
    free(line);
}
END_TEST

START_TEST(a_nul_byte_is_an_error)
{
    ck_assert_str_eq(fpd_ini_read(&reader, "a = \0b", 6, pool), "syntax error, a NUL byte");
}
END_TEST

static Suite *ini_suite(void)
{
    Suite *suite = suite_create("ini");
    TCase *cases = tcase_create("lines");
    int count = (int)(sizeof(lines) / sizeof(lines[0]));

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, every_line_is_read_as_php_reads_it, 0, count);
    tcase_add_loop_test(cases, no_beginning_of_a_line_reads_outside, 0, count);
    tcase_add_test(cases, no_mix_of_special_bytes_reads_outside);
    tcase_add_test(cases, a_million_parentheses_are_an_error);
    tcase_add_test(cases, a_nul_byte_is_an_error);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(ini_suite)
