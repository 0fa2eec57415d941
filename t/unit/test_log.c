/* test_log.c - lines have php-fpm's form, cannot be forged, and a slow reader never blocks. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_file.h"

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

/* Fills the pipe's buffer; returns how many bytes that took. */
static size_t fill(int fd)
{
    static const char bytes[4096];
    size_t total = 0;
    ssize_t written;

    ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    while ((written = write(fd, bytes, sizeof(bytes))) > 0) {
        total += (size_t)written;
    }
    ck_assert_int_eq(fcntl(fd, F_SETFL, 0), 0);
    return total;
}

static void empty(int fd, size_t length)
{
    char bytes[4096];

    while (length > 0) {
        ssize_t part = read(fd, bytes, length < sizeof(bytes) ? length : sizeof(bytes));
        ck_assert_int_gt(part, 0);
        length -= (size_t)part;
    }
}

START_TEST(a_pipe_that_nobody_reads_costs_lines_and_says_so_later)
{
    ck_assert_int_eq(pipe(ends), 0);
    fpd_log_to_descriptor(ends[1], -1);
    fpd_log_never_wait();
    size_t filled = fill(ends[1]);
    errno = 77;
    for (int i = 0; i < 100; i++) { /* would block for ever */
        fpd_log(FPD_LOG_NOTICE, "lost");
    }
    ck_assert_int_eq(errno, 77);
    empty(ends[0], filled);
    fpd_log(FPD_LOG_NOTICE, "read again");
    fpd_log(FPD_LOG_NOTICE, "and on");
    read_all();
    expect_match("^[^\n]* WARNING: lines lost from this log: 100 \\(Resource temporarily "
                 "unavailable\\); its reader does not read, restart that\n"
                 "[^\n]* NOTICE: read again\n[^\n]* NOTICE: and on\n$");
}
END_TEST

START_TEST(a_full_disk_costs_lines_and_says_so_later)
{
    int full = open("/dev/full", O_WRONLY);

    ck_assert_int_ge(full, 0);
    ck_assert_int_eq(pipe(ends), 0);
    fpd_log_to_descriptor(full, -1);
    fpd_log_never_wait();
    fpd_log(FPD_LOG_NOTICE, "lost");
    fpd_log_raw("lost too", 8);
    ck_assert_int_eq(dup2(ends[1], full), full);
    fpd_log(FPD_LOG_NOTICE, "room again");
    read_all();
    expect_match("^[^\n]* WARNING: lines lost from this log: 2 \\(No space left on device\\); "
                 "make room on its disk\n[^\n]* NOTICE: room again\n$");
}
END_TEST

/* A command's output: its reader decides how fast it goes. */
START_TEST(without_never_wait_a_slow_reader_gets_every_line)
{
    ck_assert_int_eq(pipe(ends), 0);
    fpd_log_to_descriptor(ends[1], -1);
    if (fork() == 0) {
        close(ends[0]);
        for (int i = 0; i < 5000; i++) {
            fpd_log(FPD_LOG_NOTICE, "line %d", i);
        }
        _exit(0);
    }
    close(ends[1]);
    FILE *reader = fdopen(ends[0], "r");
    ck_assert_ptr_nonnull(reader);
    int lines = 0;
    while (fgets(got, sizeof(got), reader) != NULL) {
        ck_assert_ptr_nonnull(strstr(got, "NOTICE: line "));
        lines++;
    }
    ck_assert_int_eq(lines, 5000);
    fclose(reader);
}
END_TEST

START_TEST(a_line_that_was_cut_by_a_full_disk_does_not_spoil_the_next)
{
    char path[] = "/tmp/fpmpool-test-XXXXXX";
    struct rlimit limit = {.rlim_cur = 10, .rlim_max = RLIM_INFINITY};
    fpd_log_file file = {0};
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(unlink(path), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0); /* stands for a disk of ten bytes */
    ck_assert_int_eq(fpd_log_file_write(&file, fd, "first\n", 6, 0), 0);
    ck_assert_int_eq(fpd_log_file_write(&file, fd, "second\n", 7, 0), ENOSPC);
    ck_assert_int_eq(fpd_log_file_write(&file, fd, "third\n", 6, 0), EFBIG);
    ck_assert_uint_eq(file.lost, 2);
    limit.rlim_cur = RLIM_INFINITY;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_int_eq(fpd_log_file_write(&file, fd, "fourth\n", 7, 0), 0);
    ssize_t length = pread(fd, got, sizeof(got) - 1, 0);
    ck_assert_int_ge(length, 0);
    got[length] = '\0';
    ck_assert_str_eq(got, "first\nseco\nfourth\n");
}
END_TEST

START_TEST(a_fifo_is_opened_without_its_reader)
{
    char folder[] = "/tmp/fpmpool-test-XXXXXX";
    char path[64];

    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/fifo", folder);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    fpd_log_file file = {0};
    int fd = fpd_log_file_open(path, O_NOFOLLOW);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fpd_log_file_write(&file, fd, "kept\n", 5, 0), 0);
    ends[0] = open(path, O_RDONLY | O_NONBLOCK);
    read_all();
    ck_assert_str_eq(got, "kept\n");
    close(ends[0]);
    ck_assert_int_eq(fpd_log_file_write(&file, fd, "no reader\n", 10, 0), 0);
    unlink(path);
    rmdir(folder);
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
    tcase_add_test(cases, a_pipe_that_nobody_reads_costs_lines_and_says_so_later);
    tcase_add_test(cases, a_full_disk_costs_lines_and_says_so_later);
    tcase_add_test(cases, without_never_wait_a_slow_reader_gets_every_line);
    tcase_add_test(cases, a_line_that_was_cut_by_a_full_disk_does_not_spoil_the_next);
    tcase_add_test(cases, a_fifo_is_opened_without_its_reader);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(log_suite)
