/* test_readings.c - what two readings of the same calls have in common. A letter is a line. */
#include "unit.h"

#include <string.h>

#include "worker/readings.h"

static size_t write_lines(char *to, const char *letters)
{
    size_t length = 0;

    for (; *letters != '\0'; letters++) {
        to[length++] = *letters;
        to[length++] = '\n';
    }
    return length;
}

static const struct {
    const char *what;
    const char *first;
    const char *second;
    int is_cut;
    const char *agreed;
} cases[] = {
    {"a script that sleeps", "abc", "abc", 0, "abc"},
    {"the innermost call has returned", "abc", "bc", 0, "bc"},
    {"it has called another", "bc", "abc", 0, "bc"},
    {"another is there in its place", "abc", "xbc", 0, "bc"},
    {"one between has another line now", "abcd", "axcd", 0, "cd"},
    {"the outermost is another: nothing of it is of one moment", "abc", "abx", 0, ""},
    {"all but the script has changed", "ab", "xy", 0, ""},
    {"back in the script itself", "abc", "", 0, ""},
    {"the script itself, then calls", "", "abc", 0, ""},
    {"neither", "", "", 0, ""},
    {"a line is in both, what is outward of it not", "axc", "ayc", 0, "c"},
    {"two moments in one: inner calls of then, outer ones of now", "abyz", "xyz", 0, "yz"},
    {"cut, the same", "abc", "abc", 1, "abc"},
    {"cut, and deeper by one", "bcd", "abc", 1, "bc"},
    {"cut, and one has returned", "abc", "bcd", 1, "bc"},
    {"cut, and all is new", "abc", "xyz", 1, ""},
    {"cut, and one between is another", "abcd", "axcd", 1, "cd"},
};

START_TEST(calls_count_that_both_have_out_to_the_script)
{
    char first[64];
    char second[64];
    char expected[64];
    size_t wanted = write_lines(expected, cases[_i].agreed);
    size_t agreed = 99;
    size_t start =
        fpd_readings_agree(first, write_lines(first, cases[_i].first), second,
                           write_lines(second, cases[_i].second), cases[_i].is_cut, &agreed);

    ck_assert_msg(agreed == wanted, "%s: %zu bytes", cases[_i].what, agreed);
    ck_assert_msg(memcmp(first + start, expected, wanted) == 0, "%s", cases[_i].what);
    ck_assert_uint_eq(fpd_readings_count(first + start, agreed), strlen(cases[_i].agreed));
}
END_TEST

static Suite *readings_suite(void)
{
    Suite *suite = suite_create("readings");
    TCase *lines = tcase_create("agreement");

    tcase_add_loop_test(lines, calls_count_that_both_have_out_to_the_script, 0,
                        sizeof(cases) / sizeof(cases[0]));
    suite_add_tcase(suite, lines);
    return suite;
}

UNIT_MAIN(readings_suite)
