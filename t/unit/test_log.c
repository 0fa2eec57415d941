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

START_TEST(raw_lines_are_written_as_they_are)
{
    ck_assert_int_eq(pipe(ends), 0);
    fpd_log_to_descriptor(ends[1], -1);
    fpd_log_set_level(FPD_LOG_ALERT);
    ck_assert_int_eq(fpd_log_raw("a\0b\033[1m\r", 8), 1);
    ck_assert_int_eq(read(ends[0], got, sizeof(got)), 9);
    ck_assert_mem_eq(got, "a\0b\033[1m\r\n", 9);
}
END_TEST

START_TEST(line_of_a_worker_has_its_prefix_and_any_length)
{
    static char text[40000];

    ck_assert_int_eq(pipe(ends), 0);
    fpd_log_to_descriptor(ends[1], -1);
    memset(text, 'z', sizeof(text));
    ck_assert_int_eq(fpd_log_line(FPD_LOG_WARNING, "[pool a\nb] ", text, sizeof(text)), 1);
    ck_assert_int_eq(fpd_log_line(FPD_LOG_DEBUG, "", "below the level", 15), 1);
    static char line[sizeof(text) + 200];
    ssize_t length = read(ends[0], line, sizeof(line));
    ck_assert_int_eq(length, (ssize_t)(fpd_log_stamp_size(FPD_LOG_WARNING, 1) +
                                       strlen("[pool a\\x0ab] ") + sizeof(text) + 1));
    ck_assert_int_eq(line[length - 1], '\n');
    line[60] = '\0';
    ck_assert_ptr_nonnull(strstr(line, "WARNING: [pool a\\x0ab] zz"));
}
END_TEST

/* What is given up is told before the next that goes through. */
START_TEST(datagram_that_finds_no_room_stays_the_callers)
{
    int taken = 0;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
    fpd_log_to_datagrams(ends[1]);
    while (taken < 5000 && fpd_log_line(FPD_LOG_WARNING, "", "text", 4)) {
        taken++;
    }
    ck_assert_int_lt(taken, 5000);
    ck_assert_int_eq(fpd_log_raw("text", 4), 0);
    fpd_log_drop();
    fpd_log_drop();
    for (int i = 0; i < taken; i++) {
        read_all();
        ck_assert_str_eq(got + 1, "text");
    }
    ck_assert_int_eq(fpd_log_raw("bare", 4), 1);
    read_all();
    ck_assert_str_eq(got + 1, "2 log messages were dropped: the log is too slow");
    read_all();
    ck_assert_int_eq(got[0], FPD_LOG_RAW);
    ck_assert_str_eq(got + 1, "bare");
}
END_TEST

START_TEST(escape_says_how_much_found_room)
{
    static const struct {
        const char *text;
        size_t size;
        const char *escaped;
        size_t taken;
    } cases[] = {
        {"abc", 10, "abc", 3},  {"abc", 3, "abc", 3},        {"abc", 2, "ab", 2},
        {"a\tb", 3, "a\tb", 3}, {"a\033b", 6, "a\\x1bb", 3}, {"a\033b", 5, "a\\x1b", 2},
        {"a\033b", 4, "a", 1},  {"\x7f", 4, "\\x7f", 1},     {"\xc3\xa4", 2, "\xc3\xa4", 2},
        {"", 0, "", 0},
    };
    char to[16];
    size_t taken;
    size_t used =
        fpd_log_escape(to, cases[_i].size, cases[_i].text, strlen(cases[_i].text), &taken);

    ck_assert_uint_eq(taken, cases[_i].taken);
    ck_assert_uint_eq(used, strlen(cases[_i].escaped));
    ck_assert_mem_eq(to, cases[_i].escaped, used);
}
END_TEST

/* The reader is there and is only slower than the pipe is large. */
START_TEST(line_longer_than_the_pipe_arrives_whole)
{
    static char text[100000];
    static char read_text[sizeof(text)];
    size_t done = 0;

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(fcntl(ends[1], F_SETPIPE_SZ, 4096), 4096);
    ck_assert_int_eq(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    memset(text, 'l', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\n';
    if (fork() == 0) {
        fpd_log_file file = {0};
        _exit(fpd_log_file_write(&file, ends[1], text, sizeof(text), 20000));
    }
    close(ends[1]);
    while (done < sizeof(read_text)) {
        ssize_t part = read(ends[0], read_text + done, sizeof(read_text) - done);
        ck_assert_int_gt(part, 0);
        done += (size_t)part;
    }
    ck_assert_mem_eq(read_text, text, sizeof(text));
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
    tcase_add_test(cases, raw_lines_are_written_as_they_are);
    tcase_add_test(cases, line_of_a_worker_has_its_prefix_and_any_length);
    tcase_add_test(cases, datagram_that_finds_no_room_stays_the_callers);
    tcase_add_loop_test(cases, escape_says_how_much_found_room, 0, 10);
    tcase_add_test(cases, line_longer_than_the_pipe_arrives_whole);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(log_suite)
