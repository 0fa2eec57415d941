/* test_fpmp_cgi_text.c - names and values of CGI variables. */
#include "unit.h"

#include "fpmp_cgi_text.h"

#include <string.h>

/* a header's name; its variable, NULL: none */
static const struct {
    const char *header;
    const char *variable;
} names[] = {
    {"Host", "HTTP_HOST"},   {"user-agent", "HTTP_USER_AGENT"},
    {"X-1-b", "HTTP_X_1_B"}, {"-", "HTTP__"},
    {"", "HTTP_"},           {"X_Forwarded_For", NULL},
    {"X.Y", NULL},           {"X Y", NULL},
    {"X-\xc3\xa4", NULL},
};

START_TEST(test_name)
{
    char to[64];
    size_t length = fpmp_cgi_text_name(to, names[_i].header);
    ck_assert_uint_eq(length, names[_i].variable ? strlen(names[_i].variable) : 0);
    ck_assert_str_eq(to, names[_i].variable ? names[_i].variable : "");
}
END_TEST

START_TEST(test_bytes_of_a_name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    static const char capitals[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    char header[] = {(char)_i, '\0'};
    char to[16];
    const char *letter = strchr(letters, _i);
    char expected = _i == '-' ? '_' : letter ? capitals[letter - letters] : (char)_i;
    int is_allowed = strchr("0123456789-", _i) || letter || strchr(capitals, _i);
    ck_assert_uint_eq(fpmp_cgi_text_name(to, header), is_allowed ? 6 : 0);
    if (is_allowed) {
        ck_assert_int_eq(to[5], expected);
    }
}
END_TEST

/* a request line and its target */
static const struct {
    const char *line;
    const char *target;
} lines[] = {
    {"GET /a?b=c HTTP/1.1", "/a?b=c"},
    {"GET /a", "/a"},
    {"GET  \t/a%20b  HTTP/1.0", "/a%20b"},
    {"GET http://site.test/a HTTP/1.1", "http://site.test/a"},
    {"OPTIONS * HTTP/1.1", "*"},
    {"GET", ""},
    {"GET ", ""},
    {"", ""},
};

START_TEST(test_target)
{
    size_t length = 99;
    const char *target = fpmp_cgi_text_target(lines[_i].line, &length);
    ck_assert_uint_eq(length, strlen(lines[_i].target));
    ck_assert_int_eq(strncmp(target, lines[_i].target, length), 0);
}
END_TEST

#define COUNT(table) (int)(sizeof(table) / sizeof((table)[0]))

static Suite *cgi_text_suite(void)
{
    Suite *suite = suite_create("fpmp_cgi_text");
    TCase *cases = tcase_create("text");
    tcase_add_loop_test(cases, test_name, 0, COUNT(names));
    tcase_add_loop_test(cases, test_bytes_of_a_name, 1, 256);
    tcase_add_loop_test(cases, test_target, 0, COUNT(lines));
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(cgi_text_suite)
