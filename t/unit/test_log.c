/* test_log.c - lines have php-fpm's form, cannot be forged, and a slow reader never blocks. */
#include "unit.h"

#include <errno.h>
#include <regex.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

static int ends[2];
static char got[FPD_LOG_MAX * 3];

static void read_all(void)
{
    ssize_t length = read(ends[0], got, sizeof(got) - 1);

    ck_assert_int_ge(length, 0);
    got[length] = '\0';
}

static void expect_match(const char *pattern)
{
    regex_t compiled;

    ck_assert_int_eq(regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB), 0);
    ck_assert_msg(regexec(&compiled, got, 0, NULL, 0) == 0, "'%s' does not match '%s'", got,
                  pattern);
    regfree(&compiled);
}

START_TEST(line_has_time_level_and_errno_suffix)
{
    ck_assert_int_eq(pipe(ends), 0);
    fpd_log_to_descriptor(ends[1], -1);
    fpd_log_errno(FPD_LOG_ERROR, ENOENT, "cannot open %s", "/x");
    read_all();
    expect_match("^\\[[0-9]{2}-[A-Z][a-z]{2}-[0-9]{4} [0-9:]{8}\\] ERROR: cannot open /x: "
                 "No such file or directory \\(2\\)\n$");
}
END_TEST

START_TEST(levels_below_the_limit_are_dropped)
{
    ck_assert_int_eq(pipe(ends), 0);
    fpd_log_to_descriptor(ends[1], -1);
    fpd_log_set_level(FPD_LOG_ERROR);
    fpd_log(FPD_LOG_WARNING, "no");
    fpd_log(FPD_LOG_ALERT, "yes");
    read_all();
    expect_match("^[^\n]*ALERT: yes\n$");
}
END_TEST

START_TEST(line_breaks_in_a_message_are_escaped)
{
    ck_assert_int_eq(pipe(ends), 0);
    fpd_log_to_descriptor(ends[1], -1);
    fpd_log(FPD_LOG_NOTICE, "a\nb\033[1m");
    read_all();
    expect_match("NOTICE: a\\\\x0ab\\\\x1b\\[1m\n$");
}
END_TEST

START_TEST(long_messages_are_cut_and_say_so)
{
    static char text[FPD_LOG_MAX * 2];

    ck_assert_int_eq(pipe(ends), 0);
    memset(text, 'y', sizeof(text) - 1);
    fpd_log_to_descriptor(ends[1], -1);
    fpd_log(FPD_LOG_NOTICE, "%s", text);
    read_all();
    expect_match("yyy\\.\\.\\.\n$");
    ck_assert_uint_lt(strlen(got), FPD_LOG_MAX + 100);
}
END_TEST

START_TEST(datagrams_carry_level_and_text_and_never_block)
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
    fpd_log_to_datagrams(ends[1]);
    errno = 77;
    for (int i = 0; i < 5000; i++) { /* far more than the socket takes */
        fpd_log(FPD_LOG_WARNING, "message %d", i);
    }
    ck_assert_int_eq(errno, 77);
    read_all();
    ck_assert_int_eq(got[0], FPD_LOG_WARNING);
    ck_assert_str_eq(got + 1, "message 0");
}
END_TEST

static Suite *log_suite(void)
{
    Suite *suite = suite_create("log");
    TCase *cases = tcase_create("lines");

    tcase_add_test(cases, line_has_time_level_and_errno_suffix);
    tcase_add_test(cases, levels_below_the_limit_are_dropped);
    tcase_add_test(cases, line_breaks_in_a_message_are_escaped);
    tcase_add_test(cases, long_messages_are_cut_and_say_so);
    tcase_add_test(cases, datagrams_carry_level_and_text_and_never_block);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(log_suite)
