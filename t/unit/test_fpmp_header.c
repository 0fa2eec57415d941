/* test_fpmp_header.c - the header block of a CGI response. */
#include "unit.h"

#include "fpmp_header.h"

#include <string.h>

/* text, its length, where its header block ends (0: not yet) */
static const struct {
    const char *text;
    size_t length;
    size_t end;
} ends[] = {
    {"", 0, 0},
    {"\n", 1, 1},
    {"\nbody", 5, 1},
    {"\r", 1, 0},
    {"\r\nbody", 6, 2},
    {"A: b", 4, 0},
    {"A: b\n", 5, 0},
    {"A: b\n\n", 6, 6},
    {"A: b\r\n\r\n", 8, 8},
    {"A: b\r\n\nx", 8, 7},
    {"A: b\n\r\nx", 8, 7},
    {"A: b\n\r", 6, 0},
    {"A: b\nC: d\n\nbody\n\n", 17, 11},
    {"A:\0\n\n", 5, 5},
};

START_TEST(test_end)
{
    ck_assert_uint_eq(fpmp_header_length(ends[_i].text, ends[_i].length, 0), ends[_i].end);
}
END_TEST

START_TEST(test_end_is_found_byte_by_byte)
{
    size_t found = 0;
    for (size_t length = 1; length <= ends[_i].length && !found; length++) {
        found = fpmp_header_length(ends[_i].text, length, length - 1);
    }
    ck_assert_uint_eq(found, ends[_i].end);
}
END_TEST

START_TEST(test_lines)
{
    static const char text[] =
        "Status: 404 Not Found\r\nX-A:b\n folded\nX-Empty:\t \nX-C:  c : d \t\r\n\r\nX-D: e\n";
    static const char *const expected[][2] = {
        {"Status", "404 Not Found"}, {"X-A", "b"}, {"X-Empty", ""}, {"X-C", "c : d"}};
    const char *cursor = text;
    fpmp_header_line line;
    for (size_t i = 0; i < 4; i++) {
        ck_assert_int_eq(fpmp_header_next(&cursor, text + sizeof(text) - 1, &line), 1);
        ck_assert_uint_eq(line.name_length, strlen(expected[i][0]));
        ck_assert_mem_eq(line.name, expected[i][0], line.name_length);
        ck_assert_uint_eq(line.value_length, strlen(expected[i][1]));
        ck_assert_mem_eq(line.value, expected[i][1], line.value_length);
    }
    ck_assert_int_eq(fpmp_header_next(&cursor, text + sizeof(text) - 1, &line), 0);
}
END_TEST

static const struct {
    const char *text;
    size_t length;
} malformed[] = {
    {"no colon\n\n", 10}, {": no name\n\n", 11}, {"a name: x\n\n", 11}, {"A\t: x\n\n", 7},
    {"A: x\0y\n\n", 8},   {"A: x\ry\n\n", 8},    {"A: \x7f\n\n", 6},    {"\x80: x\n\n", 6},
    {"A(b): x\n\n", 9},   {"A: \x1b[0m\n\n", 9},
};

START_TEST(test_malformed_line)
{
    const char *cursor = malformed[_i].text;
    fpmp_header_line line;
    ck_assert_int_eq(fpmp_header_next(&cursor, cursor + malformed[_i].length, &line), -1);
    ck_assert_ptr_eq(cursor, malformed[_i].text);
}
END_TEST

START_TEST(test_high_bytes_in_a_value)
{
    static const char text[] = "A: \xc3\xa4\n\n";
    const char *cursor = text;
    fpmp_header_line line;
    ck_assert_int_eq(fpmp_header_next(&cursor, text + sizeof(text) - 1, &line), 1);
    ck_assert_uint_eq(line.value_length, 2);
}
END_TEST

static fpmp_header_line line_of(const char *value)
{
    fpmp_header_line line = {"X", 1, value, strlen(value)};
    return line;
}

static const struct {
    const char *value;
    int status;
    int64_t number;
} values[] = {
    {"200", 200, 200},
    {"404 Not Found", 404, -1},
    {"999 ", 999, -1},
    {"099", -1, 99},
    {"1000", -1, 1000},
    {"20", -1, 20},
    {"200x", -1, -1},
    {"", -1, -1},
    {"-1", -1, -1},
    {"+5", -1, -1},
    {"0", -1, 0},
    {"123456789012345678", -1, 123456789012345678},
    {"1234567890123456789", -1, -1},
    {"0x10", -1, -1},
};

START_TEST(test_values)
{
    fpmp_header_line line = line_of(values[_i].value);
    ck_assert_int_eq(fpmp_header_status(&line), values[_i].status);
    ck_assert_int_eq(fpmp_header_number(&line), values[_i].number);
}
END_TEST

START_TEST(test_names_have_any_case)
{
    fpmp_header_line line = {"content-TYPE", 12, "", 0};
    ck_assert(fpmp_header_is(&line, "Content-Type"));
    ck_assert(!fpmp_header_is(&line, "Content-Typ"));
    ck_assert(!fpmp_header_is(&line, "Content-Type2"));
}
END_TEST

/* RFC 9110 5.6.2 */
START_TEST(test_bytes_of_a_name)
{
    static const char allowed[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    char text[] = "Xx-y: 1\n\n";
    const char *cursor = text;
    fpmp_header_line line;
    text[1] = (char)_i;
    int is_allowed = _i != 0 && strchr(allowed, _i) != NULL;
    int result = fpmp_header_next(&cursor, text + sizeof(text) - 1, &line);
    if (_i == ':' || _i == '\n') { /* the name, or the line, ends there */
        ck_assert_int_eq(result, _i == ':' ? 1 : -1);
        return;
    }
    ck_assert_int_eq(result, is_allowed ? 1 : -1);
}
END_TEST

#define COUNT(table) (int)(sizeof(table) / sizeof((table)[0]))

static Suite *header_suite(void)
{
    Suite *suite = suite_create("fpmp_header");
    TCase *cases = tcase_create("header");
    tcase_add_loop_test(cases, test_end, 0, COUNT(ends));
    tcase_add_loop_test(cases, test_end_is_found_byte_by_byte, 0, COUNT(ends));
    tcase_add_test(cases, test_lines);
    tcase_add_loop_test(cases, test_malformed_line, 0, COUNT(malformed));
    tcase_add_test(cases, test_high_bytes_in_a_value);
    tcase_add_loop_test(cases, test_values, 0, COUNT(values));
    tcase_add_test(cases, test_names_have_any_case);
    tcase_add_loop_test(cases, test_bytes_of_a_name, 0, 256);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(header_suite)
